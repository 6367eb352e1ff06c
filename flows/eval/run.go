package eval

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Open vSwitch stops after as many lookups for a packet, and at as deep a nesting (ovs-actions(7), "resubmit").
// The number of actions is bounded because frames may go round between hosts.
const (
	maxLookups = 4096
	maxDepth   = 64
	maxActions = 1 << 20
)

// Step is one thing that happens to a packet, and what follows from it within.
type Step struct {
	Kind   StepKind
	Host   *Host
	Bridge flows.Bridge
	Port   Port          // of Entered
	Table  uint8         // of Looked
	Flow   *of.FlowStats // of Looked: the flow that matched; nil: none
	Text   string        // of Did: in words
	End    *End          // of Ended
	Steps  []*Step
}

// StepKind is the kind of a step.
type StepKind uint8

const (
	Entered StepKind = iota // the packet comes into a bridge
	Looked                  // it is looked up in a table
	Did                     // an action, or a copy for a bucket
	Ended                   // it leaves the switches, or is dropped
)

// End is what became of the packet, or of one copy.
type End struct {
	Kind   EndKind
	Host   *Host
	Bridge flows.Bridge
	Port   Port    // where it was sent to
	Last   *Step   // the last lookup, of kind Looked; nil: there was none
	Packet *Packet // as it was then
	Why    string  // in words
}

// EndKind is what became of a packet.
type EndKind uint8

const (
	Delivered EndKind = iota // to Port, a VIF's or another's
	Answered                 // made into an answer, and sent back where it came from
	Punted                   // handed to the controller
	Left                     // to a physical network; those of our hosts that it may come to there have ends of their own
	Taken                    // by the host's own network stack (LOCAL), or by a switch that learns by itself (NORMAL)
	Dropped
	Lost    // between two hosts
	Unknown // what becomes of it cannot be told
)

// Result is all that happens to a packet.
type Result struct {
	Start *Step
	Ends  []*End // in the order in which the switches come to them
}

// Run follows a packet that a bridge of a host receives by a port.
func Run(fabric Fabric, h *Host, b flows.Bridge, port uint32, p *Packet) *Result {
	r := &run{fabric: fabric, lookups: maxLookups, actions: maxActions, result: &Result{}}
	p = p.clone()
	p.set(of.InPort.Is(uint64(port)))
	var root Step
	r.enter(&root, h, b, port, p, 0)
	r.result.Start = root.Steps[0]
	return r.result
}

// run is one evaluation.
type run struct {
	fabric           Fabric
	lookups, actions int // that there may be: of lookups on this host
	over             bool
	result           *Result
}

// pass is a packet's way through one bridge.
type pass struct {
	host   *Host
	bridge flows.Bridge
	packet *Packet
	depth  int
	set    []of.Actions // the action set, as far as it was written
	last   *Step
}

func (a *pass) step(parent *Step, kind StepKind) *Step {
	s := &Step{Kind: kind, Host: a.host, Bridge: a.bridge}
	parent.Steps = append(parent.Steps, s)
	return s
}

func (a *pass) did(parent *Step, format string, args ...any) *Step {
	s := a.step(parent, Did)
	s.Text = fmt.Sprintf(format, args...)
	return s
}

func (r *run) end(a *pass, parent *Step, kind EndKind, port Port, why string, args ...any) {
	e := &End{Kind: kind, Host: a.host, Bridge: a.bridge, Port: port, Last: a.last, Packet: a.packet.clone(), Why: fmt.Sprintf(why, args...)}
	a.step(parent, Ended).End = e
	r.result.Ends = append(r.result.Ends, e)
}

// enter takes the packet into a bridge. If nothing becomes of it there, it is dropped.
func (r *run) enter(parent *Step, h *Host, b flows.Bridge, port uint32, p *Packet, depth int) {
	a := &pass{host: h, bridge: b, packet: p, depth: depth}
	s := a.step(parent, Entered)
	s.Port = h.Bridges[b].ports[port]
	s.Port.Number = port
	before := len(r.result.Ends)
	r.lookup(a, s, 0)
	for _, actions := range a.set {
		r.apply(a, s, actions)
	}
	if len(r.result.Ends) > before {
		return
	}
	why := "no flow matches"
	if a.last != nil && a.last.Flow != nil {
		if why = "its flow drops it"; a.last.Flow.Instructions != of.Drop {
			why = "its flow sends it nowhere"
		}
	}
	r.end(a, s, Dropped, Port{}, "%s", why)
}

// spend takes one off what there may be, and says whether that was left.
func (r *run) spend(a *pass, s *Step, of *int) bool {
	if r.over {
		return false
	}
	if *of--; *of < 0 || a.depth > maxDepth {
		r.over = true
		r.end(a, s, Unknown, Port{}, "the flows go round in circles: a switch gives up")
	}
	return !r.over
}

// lookup looks the packet up in a table and does what the flow says.
func (r *run) lookup(a *pass, parent *Step, table uint8) {
	if !r.spend(a, parent, &r.lookups) {
		return
	}
	s := a.step(parent, Looked)
	s.Table = table
	s.Flow = a.host.Bridges[a.bridge].lookup(table, a.packet)
	a.last = s
	if s.Flow == nil {
		return
	}
	for i := range s.Flow.Instructions.All() {
		switch i := i.(type) {
		case of.ApplyActions:
			r.apply(a, s, i.Actions)
		case of.ClearActions:
			a.set = nil
		case of.WriteActions:
			a.set = append(a.set, i.Actions)
		case of.WriteMetadata:
			a.packet.set(of.Metadata.Masked(i.Value, i.Mask))
		case of.GotoTable:
			if i.Table <= table { // no switch takes such a flow
				r.end(a, s, Unknown, Port{}, "goto_table goes back")
				return
			}
			r.lookup(a, parent, i.Table)
		default:
			r.end(a, s, Unknown, Port{}, "what %s does is not known here", i.AppendText(nil))
		}
	}
}

// apply does the actions, one after the other.
func (r *run) apply(a *pass, s *Step, actions of.Actions) {
	for action := range actions.All() {
		if !r.spend(a, s, &r.actions) {
			return
		}
		switch action := action.(type) {
		case of.SetField:
			if a.packet.has(action.Field) {
				a.packet.set(action.FieldValue)
			}
		case of.Move:
			if a.packet.has(action.Src.Field) && a.packet.has(action.Dst.Field) {
				a.packet.write(action.Dst, a.packet.read(action.Src))
			}
		case of.PushVLAN:
			a.packet.pushVLAN()
		case of.PopVLAN:
			a.packet.popVLAN()
		case of.DecTTL:
			ttl := a.packet.get(of.IPTTL).Lo
			if ttl <= 1 {
				r.end(a, s, Punted, Port{}, "its TTL has come to its end")
				return
			}
			a.packet.set(of.IPTTL.Is(ttl - 1))
		case of.Resubmit:
			r.resubmit(a, s, action)
		case of.Group:
			r.group(a, s, action.ID)
		case of.Output:
			r.output(a, s, action.Port)
		case of.OutputReg:
			r.output(a, s, uint32(a.packet.read(action.Src).Lo))
		case of.Controller:
			r.end(a, s, Punted, Port{}, "handed to the controller")
		case of.Clone:
			r.copied(a, s, action.Actions)
		case of.Learn:
			a.did(s, "would learn into table %d: %s", action.Table, learnt(a.packet, action))
		case of.Meter:
			a.did(s, "counted against meter %d: dropped if it is one too many", action.ID)
		case of.SetQueue, of.Note:
		default:
			r.end(a, s, Unknown, Port{}, "what %s does is not known here", action.AppendText(nil))
		}
	}
}

// copied does the actions to a copy of the packet.
func (r *run) copied(a *pass, s *Step, actions of.Actions) {
	c := *a
	c.packet, c.depth = a.packet.clone(), a.depth+1
	r.apply(&c, s, actions)
	a.last = c.last
}

// learnt is the match and the actions of the flow that a learn action makes of the packet.
func learnt(p *Packet, l of.Learn) string {
	var b []byte
	for _, spec := range l.Specs {
		if len(b) > 0 {
			b = append(b, ',')
		}
		v := spec.Dst.Field.Wide(shiftLeft(p.read(spec.Src), spec.Dst.Offset), shiftLeft(low(spec.Dst.Width), spec.Dst.Offset))
		if spec.Kind == of.LearnLoad {
			b = of.SetField{FieldValue: v}.AppendText(b)
		} else {
			b = append(b, v.String()...)
		}
	}
	return string(b)
}

// resubmit looks the packet up in another table; what that changes in the packet stays.
func (r *run) resubmit(a *pass, s *Step, action of.Resubmit) {
	table := action.Table
	if table == of.TableAll && s.Kind == Looked {
		table = s.Table
	}
	port := a.packet.Get(of.InPort)
	if action.Port != 0 {
		a.packet.set(of.InPort.Is(uint64(action.Port)))
	}
	a.depth++
	r.lookup(a, s, table)
	a.depth--
	a.packet.set(port)
}

// group gives copies of the packet to the buckets.
func (r *run) group(a *pass, s *Step, id uint32) {
	g := a.host.Bridges[a.bridge].groups[id]
	if g == nil {
		a.did(s, "group %d is not there", id)
		return
	}
	if len(g.Buckets) == 0 {
		a.did(s, "group %d is empty", id)
	}
	for i := range g.Buckets {
		k := &g.Buckets[i]
		what := "group %d, bucket %d"
		switch g.Type {
		case of.GroupTypeSelect:
			if k.Weight == 0 {
				continue
			}
			what = "group %d, bucket %d, which is one to choose from by hash"
		case of.GroupTypeFailover:
			if p, ok := a.host.Bridges[a.bridge].ports[k.WatchPort]; k.WatchPort != 0 && (!ok || p.Down) {
				continue
			}
		}
		r.copied(a, a.did(s, what, id, k.ID), k.Actions)
		if g.Type == of.GroupTypeFailover || g.Type == of.GroupTypeIndirect {
			return
		}
	}
}

// output sends the packet to a port.
func (r *run) output(a *pass, s *Step, number uint32) {
	from := uint32(a.packet.get(of.InPort).Lo)
	ports := a.host.Bridges[a.bridge].ports
	switch number {
	case from:
		a.did(s, "not sent back through the port that it came by")
		return
	case of.PortInPort:
		if p := ports[from]; p.Peer == 0 && p.Tunnel == "" && p.Physical == "" {
			p.Number = from
			r.end(a, s, Answered, p, "sent back as the answer")
			return
		}
		number = from
	case of.PortController:
		r.end(a, s, Punted, Port{}, "handed to the controller")
		return
	case of.PortLocal:
		r.end(a, s, Taken, Port{Number: number, Name: a.bridge.String()}, "taken by the host itself (LOCAL)")
		return
	case of.PortNormal, of.PortFlood, of.PortAll, of.PortTable:
		r.end(a, s, Unknown, Port{}, "switched by %s: where to is not in the flows", of.Output{Port: number}.AppendText(nil))
		return
	}
	p, ok := ports[number]
	switch {
	case !ok:
		a.did(s, "port %d is not there", number)
	case p.Peer != 0:
		other := flows.BrTun
		if a.bridge == flows.BrTun {
			other = flows.BrInt
		}
		r.enter(s, a.host, other, p.Peer, a.packet.enters(p.Peer), a.depth+1)
	case p.Tunnel != "":
		r.tunnel(a, s, p)
	case p.Physical != "":
		r.wire(a, s, p)
	default:
		r.end(a, s, Delivered, p, "sent to it")
	}
}

// tunnel sends the packet to another host, which tun_dst names.
func (r *run) tunnel(a *pass, s *Step, p Port) {
	src, dst, to := of.TunSrc, of.TunDst, a.packet.Get(of.TunDst).Addr()
	if to.IsUnspecified() {
		src, dst, to = of.TunIPv6Src, of.TunIPv6Dst, a.packet.Get(of.TunIPv6Dst).Addr()
	}
	if to.IsUnspecified() {
		a.did(s, "port %s: no flow said to which host", p.Name)
		return
	}
	key := a.packet.Get(of.TunID)
	via := a.did(s, "%s tunnel to %s, key %d", p.Tunnel, to, key.Uint())
	h, err := r.fabric.Peer(a.host, p.Tunnel, to)
	if err != nil {
		kind := Lost
		if errors.Is(err, ErrUnread) {
			kind = Unknown
		}
		r.end(a, via, kind, p, "%s", err)
		return
	}
	in, ok := h.Bridges[flows.BrTun].port(func(q Port) bool { return q.Tunnel == p.Tunnel })
	if !ok {
		r.end(a, via, Lost, p, "host %s has no %s port on br-tun", h.Name, p.Tunnel)
		return
	}
	frame := a.packet.enters(in.Number)
	frame.set(key)
	frame.set(src.Addr(a.host.Encap))
	frame.set(dst.Addr(to))
	r.crosses(via, h, flows.BrTun, in.Number, frame, a.depth+1)
}

// wire sends the packet to a physical network, and so perhaps to other hosts of it.
func (r *run) wire(a *pass, s *Step, p Port) {
	how := "untagged"
	if tci := a.packet.tci(); tci&of.VIDPresent != 0 {
		how = fmt.Sprintf("with VLAN %d", tci&0xfff)
	}
	r.end(a, s, Left, p, "leaves through bridge %s to physical network %s, %s", p.Provider, p.Physical, how)
	hosts, err := r.fabric.Wire(a.host, p.Physical)
	if err != nil {
		r.end(a, s, Unknown, p, "%s", err)
	}
	for _, h := range hosts {
		if in, ok := h.Bridges[flows.BrInt].port(func(q Port) bool { return q.Physical == p.Physical }); ok {
			r.crosses(s, h, flows.BrInt, in.Number, a.packet.enters(in.Number), a.depth+1)
		}
	}
}

// crosses enters another host, whose switch counts anew.
func (r *run) crosses(s *Step, h *Host, b flows.Bridge, port uint32, p *Packet, depth int) {
	left := r.lookups
	r.lookups = maxLookups
	r.enter(s, h, b, port, p, depth)
	r.lookups = left
}

// Alone is the fabric of a host that is looked at by itself: what leaves it is lost.
type Alone struct{}

// Peer says that nothing is known of other hosts.
func (Alone) Peer(_ *Host, _ string, to netip.Addr) (*Host, error) {
	return nil, fmt.Errorf("the host with tunnel address %s is not looked at", to)
}

// Wire is no host.
func (Alone) Wire(*Host, string) ([]*Host, error) { return nil, nil }
