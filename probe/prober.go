package probe

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// framesPerSecond is how many probes one host sends at most. With more paths than that leaves time for,
// each has its turn later than the interval.
const framesPerSecond = 20

// Prober measures the paths from one host. It does no I/O and has no clock; it is not safe for
// concurrent use.
type Prober struct {
	interval time.Duration
	send     func(*of.PacketOut) error
	changed  func(Result)
	seal     *seal
	paths    map[pathKey]*target
	byID     map[uint32]*target
	last     uint32        // id given to a path
	quiet    time.Time     // nothing is sent before
	channel  time.Duration // what the control channel takes at best; 0: not known
	frame    []byte
}

type pathKey struct{ peer, networkType string }

// target is a path with where it leads.
type target struct {
	path
	tunnel
	id      uint32
	actions of.Actions // that send a probe there
	peer    *model.Host
	wants   int       // bytes of the largest frame, from the next round on
	network string    // that needs it
	due     time.Time // of the next round, between two rounds
	doubt   bool      // the last round left something to find out
	told    verdict
}

// tunnel is what a path's probes are sent by.
type tunnel struct {
	networkType string
	port        uint32
	to          netip.Addr
}

// verdict is what is worth telling when it changes.
type verdict struct {
	alive bool
	short int // bytes of the largest frame that comes back, if guests may send larger ones; else 0
}

// Result is what is known of a path.
type Result struct {
	Peer  string // hostname
	Type  string // of the tunnel: vxlan, gre or geneve
	Alive bool   // frames come back; false without a Note: not asked often enough yet
	Seen  time.Time
	RTT   time.Duration // of the least frame, without the control channel's part; 0: not measured
	MTU   int           // largest guest packet, in bytes, that comes back, of those that guests may send; 0: not known
	Note  string        // what is wrong, and what to do
}

// New makes a prober that asks each path once per interval. send sends a packet-out to the host's br-tun,
// or says that it cannot. changed is called when a path went down, or came back, or does not carry what
// guests may send, or does again.
func New(interval time.Duration, send func(*of.PacketOut) error, changed func(Result)) *Prober {
	return &Prober{interval: interval, send: send, changed: changed, seal: newSeal(), paths: map[pathKey]*target{}, byID: map[uint32]*target{}}
}

// Want makes the paths those to the hosts that share an overlay network with v's; nil for none, which
// also forgets what was found.
func (p *Prober) Want(v *flows.View, now time.Time) {
	wanted := map[pathKey]bool{}
	if v != nil {
		for _, n := range v.Networks {
			p.network(v, n, wanted, now)
		}
	}
	for k, t := range p.paths {
		if !wanted[k] {
			delete(p.paths, k)
			delete(p.byID, t.id)
		}
	}
}

// network wants the paths to the hosts of one network.
func (p *Prober) network(v *flows.View, n *flows.Network, wanted map[pathKey]bool, now time.Time) {
	port := v.Ports.Tunnel(n.Segment.NetworkType)
	if port == 0 {
		return
	}
	full := min(max(n.MTU+ethernetLen, least), most)
	seen := map[*model.Host]bool{}
	for _, r := range n.Remote {
		if seen[r.Host] {
			continue
		}
		seen[r.Host] = true
		if r.Host.EncapIP.Is6() != v.Host.EncapIP.Is6() || r.Host.Reaches(n.Network) != nil {
			continue // there is no way, and the network's port there says so
		}
		k := pathKey{r.Host.ID, n.Segment.NetworkType}
		through := tunnel{n.Segment.NetworkType, port, r.Host.EncapIP}
		t := p.paths[k]
		if t == nil || t.tunnel != through {
			if t != nil {
				delete(p.byID, t.id)
			}
			p.last++
			t = &target{id: p.last, tunnel: through, actions: through.actions(), told: verdict{alive: true},
				due: now.Add(rand.N(p.interval/4 + 1))} // not all hosts at once when one is new
			p.paths[k], p.byID[t.id] = t, t
		}
		t.peer = r.Host
		if name := cmp.Or(n.Name, n.ID.String()); !wanted[k] || full > t.wants || full == t.wants && name < t.network {
			t.wants, t.network = full, name
		}
		wanted[k] = true
	}
}

// Step ends the rounds whose time is up and begins the next that is due. It returns when to be called
// again.
func (p *Prober) Step(now time.Time) (again time.Time) {
	var next *target
	again = now.Add(time.Hour)
	for _, t := range p.paths {
		if t.phase != idle && !now.Before(t.sent.Add(patience)) {
			p.end(t, now)
		}
		switch {
		case t.phase != idle:
			again = earlier(again, t.sent.Add(patience))
		case next == nil || t.before(next, now):
			next = t
		}
	}
	if next == nil {
		return again
	}
	if at := later(next.due, p.quiet); now.Before(at) {
		return earlier(again, at)
	}
	next.need(next.wants)
	next.begin(now)
	p.ask(next, now, 0)
	return now // another may be due
}

// before says whose turn comes first: of those that are due, one that is in doubt, so that however many
// there are it is soon known to be down.
func (t *target) before(u *target, now time.Time) bool {
	if t.doubt != u.doubt && !now.Before(t.due) && !now.Before(u.due) {
		return t.doubt
	}
	return t.due.Before(u.due)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ask sends probes of a path: size 0 goes no further than this host's switch.
func (p *Prober) ask(t *target, now time.Time, sizes ...int) {
	p.quiet = later(p.quiet, now).Add(time.Duration(len(sizes)) * time.Second / framesPerSecond)
	for _, size := range sizes {
		actions := t.actions
		if size == 0 {
			actions = toController
		}
		p.frame = p.seal.appendFrame(p.frame[:0], probe{t.id, t.round, uint16(size)})
		if p.send(&of.PacketOut{InPort: of.PortController, Actions: actions, Data: p.frame}) != nil {
			t.phase, t.due = idle, now.Add(patience) // not asked: that says nothing of the path
			return
		}
	}
}

// toController goes no further than the switch.
var toController = of.MustActions(of.Controller{MaxLen: 0xffff, UserData: Userdata})

// actions send a frame through the tunnel.
func (t tunnel) actions() of.Actions {
	dst := of.TunDst
	if t.to.Is6() {
		dst = of.TunIPv6Dst
	}
	return of.MustActions(of.SetField{FieldValue: of.TunID.Is(0)}, of.SetField{FieldValue: dst.Addr(t.to)}, of.Output{Port: t.port})
}

// Arrival is a probe that came back.
type Arrival struct {
	Head   [headLen]byte // of the frame
	Length int           // of the whole frame, bytes
	At     time.Time
}

// ArrivalOf keeps what is needed of a packet-in; ok is false if it is no probe.
func ArrivalOf(in *of.PacketIn, at time.Time) (a Arrival, ok bool) {
	if string(in.UserData) != string(Userdata) || len(in.Packet) < headLen {
		return a, false
	}
	copy(a.Head[:], in.Packet)
	a.Length, a.At = len(in.Packet), at
	return a, true
}

// Arrived takes a probe that came back. Its error says why it is not one of the prober's; one that is
// too late is no error.
func (p *Prober) Arrived(a *Arrival) error {
	got, err := p.seal.parse(a.Head[:], a.Length)
	if err != nil {
		return err
	}
	t := p.byID[got.path]
	switch size := int(got.size); {
	case t == nil || got.round != t.round:
	case t.phase == checking && size == 0:
		sizes := t.try(a.At)
		t.control = p.best(t.control)
		p.ask(t, a.At, sizes...)
	case t.phase == trying && t.arrive(size, a.At):
		p.end(t, a.At)
	}
	return nil
}

// best takes a time of the control channel, and says what it takes at best: what is more is the switch's,
// which was busy or asleep, and need not be so again a moment later. One that gets slower is followed
// within minutes.
func (p *Prober) best(control time.Duration) time.Duration {
	if p.channel == 0 || control < p.channel {
		p.channel = control
	}
	p.channel += (control - p.channel) / 64
	return p.channel
}

// end finishes a path's round, says when the next is due and tells of changes.
func (p *Prober) end(t *target, now time.Time) {
	wait := p.interval*9/10 + rand.N(p.interval/5+1)
	if t.doubt = t.path.end(); t.doubt {
		wait = min(wait, rand.N(patience/4))
	}
	t.due = now.Add(wait)
	v := t.told
	if t.state != unknown {
		v.alive = t.state == up
	}
	if t.found != 0 {
		v.short = 0
		if t.found < t.full {
			v.short = t.found
		}
	}
	if v != t.told {
		t.told = v
		p.changed(t.result())
	}
}

// result is what is known of a path, in words for the operator.
func (t *target) result() Result {
	r := Result{Peer: t.peer.Hostname, Type: t.networkType, Alive: t.state == up, Seen: t.seen, RTT: t.rtt, MTU: max(t.found-ethernetLen, 0)}
	switch {
	case t.state == down:
		r.Note = fmt.Sprintf("no frame comes back from %s through %s: check the underlay between the hosts and its firewalls", t.to, t.networkType)
	case t.found != 0 && t.found < t.full:
		needs := t.full - ethernetLen
		r.Note = fmt.Sprintf("carries guest packets of up to %d bytes, network %s needs %d: raise the underlay MTU to %d, or lower the mtu of the network",
			r.MTU, t.network, needs, needs+model.TunnelOverhead(t.networkType, t.to.Is6()))
	}
	return r
}

// Results are all paths, by hostname and type.
func (p *Prober) Results() []Result {
	list := make([]Result, 0, len(p.paths))
	for _, t := range p.paths {
		list = append(list, t.result())
	}
	slices.SortFunc(list, func(a, b Result) int { return cmp.Or(strings.Compare(a.Peer, b.Peer), strings.Compare(a.Type, b.Type)) })
	return list
}
