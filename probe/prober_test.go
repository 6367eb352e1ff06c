package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

func hostN(n int, types ...string) *model.Host {
	return &model.Host{ID: fmt.Sprintf("id%d", n), Hostname: fmt.Sprintf("compute%02d", n), EncapIP: netip.AddrFrom4([4]byte{172, 31, byte(n >> 8), byte(n)}), EncapTypes: types}
}

// network of a type with ports on hosts.
func network(name, kind string, mtu int, on ...*model.Host) *flows.Network {
	n := &flows.Network{Network: &model.Network{Common: model.Common{Name: name}, MTU: mtu, Segment: model.Segment{NetworkType: kind, SegmentationID: 7}}, LocalVLAN: 1}
	for i, h := range on {
		n.Remote = append(n.Remote, &flows.RemotePort{Port: &model.Port{Common: model.Common{ID: uuid.UUID{15: byte(i)}}}, Host: h})
	}
	return n
}

func viewOf(networks ...*flows.Network) *flows.View {
	return &flows.View{Host: hostN(1, "vxlan", "gre"), Ports: flows.BridgePorts{PatchInt: 1, VXLAN: 4, GRE: 5}, Networks: networks}
}

// lab is a prober with an underlay and a clock.
type lab struct {
	t      *testing.T
	p      *Prober
	now    time.Time
	wires  map[string]*wire // by the text of a packet-out's actions
	told   []string
	sent   int
	fails  error
	flight []flying
}

type flying struct {
	at time.Time
	a  Arrival
}

func newLab(t *testing.T, interval time.Duration) *lab {
	l := &lab{t: t, now: time.Unix(1_000_000, 0), wires: map[string]*wire{}}
	l.p = New(interval, l.send, func(r Result) {
		l.told = append(l.told, fmt.Sprintf("%s %s %t %d %s", r.Peer, r.Type, r.Alive, r.MTU, r.Note))
	})
	return l
}

func (l *lab) send(out *of.PacketOut) error {
	if l.fails != nil {
		return l.fails
	}
	l.sent++
	text := out.Actions.String()
	delay := time.Millisecond
	if !strings.Contains(text, "controller") {
		if w := l.wires[text]; w == nil || !w.passes(len(out.Data)) {
			return nil
		}
		delay = 3 * time.Millisecond
	}
	in := of.PacketIn{UserData: Userdata, Packet: out.Data}
	a, ok := ArrivalOf(&in, l.now.Add(delay))
	if !ok {
		l.t.Fatalf("%x is no probe", out.Data)
	}
	l.flight = append(l.flight, flying{a.At, a})
	return nil
}

// run lets time pass.
func (l *lab) run(d time.Duration) {
	l.t.Helper()
	for end := l.now.Add(d); l.now.Before(end); {
		next := end
		if again := l.p.Step(l.now); again.Before(next) {
			next = again
		}
		if len(l.flight) > 0 && !l.flight[0].at.After(next) {
			f := l.flight[0]
			l.flight = l.flight[1:]
			l.now = later(l.now, f.at)
			if err := l.p.Arrived(&f.a); err != nil {
				l.t.Fatal(err)
			}
			continue
		}
		l.now = later(next, l.now)
	}
}

func (l *lab) heard(want ...string) {
	l.t.Helper()
	if got := strings.Join(l.told, "\n"); got != strings.Join(want, "\n") {
		l.t.Errorf("told:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	l.told = nil
}

const to2, to3 = "set_field:0->tun_id,set_field:172.31.0.2->tun_dst,output:4", "set_field:0->tun_id,set_field:172.31.0.3->tun_dst,output:4"

// The life of two paths: what is told, and only once.
func TestProber(t *testing.T) {
	l := newLab(t, 10*time.Second)
	two, three := hostN(2, "vxlan"), hostN(3, "vxlan", "gre")
	l.wires[to2], l.wires[to3] = &wire{carries: 1464}, &wire{carries: 1464}
	l.p.Want(viewOf(network("blue", "vxlan", 1450, two, three, two), network("red", "vxlan", 1400, three), network("wire", "vlan", 1500, two)), l.now)
	if got := l.p.Results(); len(got) != 2 || got[0].Peer != "compute02" || got[1].Peer != "compute03" || got[0].Alive || got[0].Note != "" {
		t.Fatalf("at first: %+v", got)
	}
	l.run(10 * time.Second)
	l.heard()
	for _, r := range l.p.Results() {
		if !r.Alive || r.MTU != 1450 || r.RTT != 2*time.Millisecond || l.now.Sub(r.Seen) > 11*time.Second || r.Note != "" {
			t.Errorf("%+v", r)
		}
	}

	l.wires[to3].cut = true
	l.run(11*time.Second + enough*patience*5/4)
	l.heard("compute03 vxlan false 1450 no frame comes back from 172.31.0.3 through vxlan: check the underlay between the hosts and its firewalls")
	l.run(time.Minute)
	l.heard()
	l.wires[to3].cut = false
	l.run(12 * time.Second)
	l.heard("compute03 vxlan true 1450 ")

	l.wires[to2].carries = 1414
	l.run(20 * time.Second)
	l.heard("compute02 vxlan true 1400 carries guest packets of up to 1400 bytes, network blue needs 1450: raise the underlay MTU to 1500, or lower the mtu of the network")
	l.run(time.Minute)
	l.heard()
	if r := l.p.Results(); r[0].MTU != 1400 || r[0].Note == "" || r[1].Note != "" {
		t.Errorf("%+v", r)
	}
	l.wires[to2].carries = 2000
	l.run(20 * time.Second)
	l.heard("compute02 vxlan true 1450 ")

	// A larger network asks for more; one that goes takes its paths along.
	l.p.Want(viewOf(network("blue", "vxlan", 1600, two)), l.now)
	l.run(20 * time.Second)
	l.heard()
	if r := l.p.Results(); len(r) != 1 || r[0].MTU != 1600 {
		t.Errorf("%+v", r)
	}
	l.p.Want(nil, l.now)
	if r := l.p.Results(); len(r) != 0 || len(l.p.byID) != 0 {
		t.Errorf("%+v", r)
	}
}

// Which hosts are asked: those that frames of the network can reach.
func TestPaths(t *testing.T) {
	six := hostN(6, "vxlan")
	six.EncapIP = netip.MustParseAddr("2001:db8::6")
	nowhere := hostN(7, "vxlan")
	nowhere.EncapIP = netip.Addr{}
	l := newLab(t, 10*time.Second)
	v := viewOf(network("a", "vxlan", 1450, hostN(2, "vxlan"), hostN(3, "gre"), six, nowhere), network("b", "gre", 1458, hostN(3, "gre")), network("c", "geneve", 1450, hostN(4, "geneve")))
	l.p.Want(v, l.now)
	var got []string
	for _, r := range l.p.Results() {
		got = append(got, r.Peer+" "+r.Type)
	}
	if s := strings.Join(got, ","); s != "compute02 vxlan,compute03 gre" {
		t.Errorf("paths: %s", s)
	}
	moved := hostN(2, "vxlan")
	moved.EncapIP = netip.MustParseAddr("172.31.0.3")
	l.wires[to3] = &wire{carries: 1464}
	l.p.Want(viewOf(network("a", "vxlan", 1450, moved)), l.now)
	l.run(5 * time.Second)
	if r := l.p.Results(); len(r) != 1 || !r[0].Alive {
		t.Errorf("after its address changed: %+v", r)
	}
}

// However many peers there are, a host sends so much and no more, and each peer has its turn.
func TestRate(t *testing.T) {
	l := newLab(t, 10*time.Second)
	var hosts []*model.Host
	for i := range 300 {
		h := hostN(2+i, "vxlan")
		hosts = append(hosts, h)
		if i%3 != 0 { // a third of them is down, and asked more often at first
			l.wires[tunnel{"vxlan", 4, h.EncapIP}.actions().String()] = &wire{carries: 1464}
		}
	}
	l.p.Want(viewOf(network("all", "vxlan", 1450, hosts...)), l.now)
	l.run(time.Second)
	if l.sent > framesPerSecond+3 {
		t.Errorf("%d frames in the first second", l.sent)
	}
	l.run(89 * time.Second)
	if l.sent < 80*framesPerSecond || l.sent > 90*framesPerSecond+3 {
		t.Errorf("%d frames in 90 s", l.sent)
	}
	alive, lost := 0, 0
	for _, r := range l.p.Results() {
		if r.Alive {
			alive++
		} else if r.Note != "" {
			lost++
		}
	}
	if alive != 200 || lost != 100 || len(l.told) != 100 {
		t.Errorf("after 90 s %d are up, %d down, %d told", alive, lost, len(l.told))
	}
}

// A switch that takes nothing says nothing of a path.
func TestNotSent(t *testing.T) {
	l := newLab(t, time.Second)
	l.p.Want(viewOf(network("a", "vxlan", 1450, hostN(2, "vxlan"))), l.now)
	l.fails = errors.New("backlog")
	l.run(time.Minute)
	l.heard()
	if r := l.p.Results(); r[0].Alive || r[0].Note != "" {
		t.Errorf("%+v", r)
	}
}

// What is not the prober's is refused.
func TestStrangers(t *testing.T) {
	l, other := newLab(t, time.Second), newSeal()
	l.p.Want(viewOf(network("a", "vxlan", 1450, hostN(2, "vxlan"))), l.now)
	l.run(500 * time.Millisecond)
	in := of.PacketIn{UserData: Userdata, Packet: other.appendFrame(nil, probe{1, 1, least})}
	a, ok := ArrivalOf(&in, l.now)
	if err := l.p.Arrived(&a); !ok || !errors.Is(err, errForged) {
		t.Errorf("a forged probe: %t, %v", ok, err)
	}
	for _, in := range []of.PacketIn{{UserData: []byte("prob"), Packet: in.Packet}, {UserData: Userdata, Packet: in.Packet[:headLen-1]}, {UserData: Userdata}} {
		if _, ok := ArrivalOf(&in, l.now); ok {
			t.Errorf("%s is taken for a probe", &in)
		}
	}
	if r := l.p.Results(); r[0].Alive {
		t.Errorf("%+v", r)
	}
}

// A host with 300 peers: one turn, frames made and taken back.
func BenchmarkRound(b *testing.B) {
	var hosts []*model.Host
	for i := range 300 {
		hosts = append(hosts, hostN(2+i, "vxlan"))
	}
	now := time.Now()
	var flight []Arrival
	p := New(10*time.Second, func(out *of.PacketOut) error {
		a, _ := ArrivalOf(&of.PacketIn{UserData: Userdata, Packet: out.Data}, now)
		flight = append(flight, a)
		return nil
	}, func(Result) {})
	p.Want(viewOf(network("all", "vxlan", 1450, hosts...)), now)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		flight = flight[:0]
		p.Step(now)
		for i := 0; i < len(flight); i++ {
			if err := p.Arrived(&flight[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A control channel is as fast as it can be, and may become slower.
func TestControlChannel(t *testing.T) {
	p := New(time.Second, nil, nil)
	for _, c := range []struct{ control, want time.Duration }{{1000, 1000}, {6400, 1084}, {500, 500}} {
		if got := p.best(c.control); got != c.want {
			t.Errorf("after %d: %d, want %d", c.control, got, c.want)
		}
	}
	for range 500 {
		p.best(5000)
	}
	if p.channel < 4900 {
		t.Errorf("after 500 times 5000: %d", p.channel)
	}
}
