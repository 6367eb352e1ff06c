package flows

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// Leak is an installed flow, or a bucket of a group that it uses, which takes frames of a network to where they
// do not belong, or may.
type Leak struct {
	Bridge Bridge
	Flow   *openflow.FlowStats
	Bucket string // of a group, as ovs-ofctl has it; "" if the flow itself does it
	Text   string // which network's frames, and to whom: both by name and ID
	More   int    // how many more leaks the flow is; only the last that is told of a flow has some
}

// mostLeaks is how many leaks are told of one flow: one that is for all networks has as many as there are.
const mostLeaks = 4

// Isolation proves that what a bridge holds, whoever put it there, keeps the view's networks apart, and returns
// where it does not. in must hold the learned tables too.
//
// On br-int it follows the values that REG_NET may have from table to table: classify gives each port's frames
// its own network, nothing else writes REG_NET or REG_PORT, and whatever is sent under a network goes to one of its VIFs or
// to its uplink, with its tag. On br-tun the local VLAN tag is the network: a frame enters the tunnel of its
// network's type with its network's key, and leaves one with the VLAN of the network that has the key.
//
// It takes time in proportion to flows, buckets, ports and networks: a flow is looked at with the networks that
// it matches, and what does the same to the frames of all is looked at once.
func Isolation(v *View, b Bridge, in Installed) []Leak {
	c := &isolation{
		view: v, bridge: b, groups: map[uint32]*openflow.GroupDesc{},
		byVLAN: map[uint32]*Network{}, byKey: map[tunnelKey]uint32{}, owners: map[uint32]owner{}, members: map[netPort]bool{}, peers: map[netip.Addr]bool{},
		out: map[netPort]bool{}, used: map[groupUse]bool{}, told: map[*openflow.FlowStats][]int{},
	}
	for i := range in.Groups {
		c.groups[in.Groups[i].ID] = &in.Groups[i]
	}
	for i := range in.Flows {
		f := &in.Flows[i]
		c.tables[f.Table] = append(c.tables[f.Table], f)
	}
	for _, list := range c.tables {
		slices.SortStableFunc(list, func(x, y *openflow.FlowStats) int {
			return cmp.Or(cmp.Compare(y.Priority, x.Priority), cmp.Compare(x.Match, y.Match))
		})
	}
	for _, n := range v.Networks {
		vlan := uint32(n.LocalVLAN)
		c.byVLAN[vlan] = n
		c.byKey[tunnelKey{n.Segment.NetworkType, uint64(n.Segment.SegmentationID)}] = vlan
		for _, p := range n.Local {
			c.members[netPort{vlan, p.Key}] = true
			c.owners[p.Key] = owner{n, p}
		}
		if up := c.uplink(n); up != 0 {
			c.members[netPort{vlan, up}] = true
			if n.Uplink == up {
				c.owners[up] = owner{n, nil}
			}
		}
	}
	for _, h := range v.Peers {
		c.peers[h.EncapIP] = true
	}
	if b == BrInt {
		c.integration()
	} else {
		c.tunnels()
	}
	return c.leaks
}

// isolation is one bridge under examination. A network is known by its local VLAN; 0 is none.
type isolation struct {
	view   *View
	bridge Bridge
	tables [256][]*openflow.FlowStats // by falling priority
	groups map[uint32]*openflow.GroupDesc

	// What the view says, to be looked up.
	byVLAN  map[uint32]*Network
	byKey   map[tunnelKey]uint32
	owners  map[uint32]owner // of br-int's ports
	members map[netPort]bool // VIFs and uplink of each network
	peers   map[netip.Addr]bool

	reach [256]reached     // what gets to each table of br-int
	out   map[netPort]bool // the values of REG_NET and REG_OUT that get to output
	outs  []netPort        // those of them that are still to be followed there
	used  map[groupUse]bool
	leaks []Leak
	told  map[*openflow.FlowStats][]int // places in leaks
}

// netPort is a network and a port's number on br-int.
type netPort struct{ net, port uint32 }

// tunnelKey is what a network's frames are known by in tunnels.
type tunnelKey struct {
	networkType string
	key         uint64
}

// owner is whose a port of br-int is: a VIF's, or without a port that of the network's physical network.
type owner struct {
	network *Network
	port    *LocalPort
}

// groupUse is a group that is given frames, of which all this is known.
type groupUse struct {
	id    uint32
	state frameState
}

// uplink is br-int's port to where a network goes on; 0: nowhere.
func (c *isolation) uplink(n *Network) uint32 {
	switch n.Segment.NetworkType {
	case model.TypeFlat, model.TypeVLAN:
		return n.Uplink
	case model.TypeVXLAN, model.TypeGRE, model.TypeGeneve:
		return c.view.Ports.PatchTun
	}
	return 0
}

// network names a network by its local VLAN.
func (c *isolation) network(vlan uint32) string {
	n := c.byVLAN[vlan]
	switch {
	case vlan == 0:
		return "no network"
	case n == nil:
		return fmt.Sprintf("local VLAN %d, which no network has", vlan)
	}
	return fmt.Sprintf("network %s (%s)", n.Name, n.ID)
}

// port names a port of the bridge.
func (c *isolation) port(number uint32) string {
	if p := c.view.Ports; c.bridge == BrTun {
		switch number {
		case p.PatchInt:
			return "br-int"
		case p.VXLAN, p.GRE, p.Geneve:
			return fmt.Sprintf("the tunnels of port %d", number)
		}
	} else if number == p.PatchTun {
		return "br-tun"
	} else if o, ok := c.owners[number]; ok {
		n, p := o.network, o.port
		if p == nil {
			return "physical network " + n.Segment.PhysicalNetwork
		}
		return fmt.Sprintf("port %s (%s) of network %s (%s)", cmp.Or(p.Name, p.MACAddress.String()), p.ID, n.Name, n.ID)
	}
	return "port " + string(openflow.Output{Port: number}.AppendText(nil))
}

func (c *isolation) leak(f *frame, format string, args ...any) {
	told := c.told[f.flow]
	if len(told) == mostLeaks {
		c.leaks[told[mostLeaks-1]].More++
		return
	}
	l := Leak{Bridge: c.bridge, Flow: f.flow, Bucket: f.bucket(), Text: fmt.Sprintf(format, args...)}
	if slices.ContainsFunc(told, func(i int) bool { return c.leaks[i] == l }) {
		return
	}
	c.told[f.flow] = append(told, len(c.leaks))
	c.leaks = append(c.leaks, l)
}

// reached is the networks whose frames get to a table, and the table's flows by which of them they match.
type reached struct {
	networks map[uint32]bool
	fresh    []uint32 // those of networks that have not been taken through the table yet

	sorted bool                             // what follows is made
	of     map[uint32][]*openflow.FlowStats // that are for one network
	each   []*openflow.FlowStats            // that may be for several, and do not do the same to all
	leads  []uint8                          // where the others lead all frames
}

// integration examines br-int. The networks that get to a table are taken through it until no more come;
// mostly tables come in order.
func (c *isolation) integration() {
	for _, f := range c.tables[Classify.Number] {
		c.apply(&frame{flow: f}, f.Instructions)
	}
	output := c.sending()
	for more := true; more; {
		more = false
		for t := range c.reach {
			if len(c.reach[t].fresh) > 0 {
				more = true
				c.through(uint8(t))
			}
		}
		for ; len(c.outs) > 0; c.outs = c.outs[1:] {
			more = true
			c.send(output, c.outs[0])
		}
	}
}

// through takes what is fresh through a table.
func (c *isolation) through(t uint8) {
	r := &c.reach[t]
	if !r.sorted {
		r.sorted, r.of = true, map[uint32][]*openflow.FlowStats{}
		for _, f := range c.tables[t] {
			if net, ok := c.demands(f.Match); ok {
				r.of[net] = append(r.of[net], f)
			} else if leads, alike := c.alike(f.Instructions); alike {
				r.leads = append(r.leads, leads...)
			} else {
				r.each = append(r.each, f)
			}
		}
		slices.Sort(r.leads)
		r.leads = slices.Compact(r.leads)
	}
	fresh := r.fresh
	r.fresh = nil
	for _, net := range fresh {
		for _, f := range r.of[net] {
			c.apply(&frame{flow: f, frameState: frameState{net: net}}, f.Instructions)
		}
		for _, f := range r.each {
			if matches(f.Match, RegNet, net) {
				c.apply(&frame{flow: f, frameState: frameState{net: net}}, f.Instructions)
			}
		}
		for _, to := range r.leads {
			c.reaches(to, net)
		}
	}
}

// demands is the network that a match demands, by itself or by the port that frames come from: nothing but
// classify writes REG_PORT either.
func (c *isolation) demands(m openflow.Match) (net uint32, ok bool) {
	if net, ok = sole(m, RegNet.Field, 0xffffffff); ok {
		return net, true
	}
	port, ok := sole(m, RegPort.Field, 0xffffffff)
	o := c.owners[port]
	if !ok || o.port == nil {
		return 0, false
	}
	return uint32(o.network.LocalVLAN), true
}

// matches says whether frames with a value in a register may be matched.
func matches(m openflow.Match, r *Reg, value uint32) bool {
	want, demanded := m.Get(r.Field)
	return !demanded || uint64(value)&want.Mask.Lo == want.Value.Lo
}

// reaches records that frames of a network get to a table.
func (c *isolation) reaches(t uint8, net uint32) {
	if t == Output.Number {
		c.sends(net, 0)
		return
	}
	r := &c.reach[t]
	if r.networks[net] {
		return
	}
	if r.networks == nil {
		r.networks = map[uint32]bool{}
	}
	r.networks[net] = true
	r.fresh = append(r.fresh, net)
}

// sends records that frames of a network get to output with this in REG_OUT.
func (c *isolation) sends(net, out uint32) {
	if pair := (netPort{net, out}); !c.out[pair] {
		c.out[pair] = true
		c.outs = append(c.outs, pair)
	}
}

// sending is the flows of output by what they demand of REG_NET and REG_OUT, as places in the table.
type sending struct {
	both map[netPort][]int
	out  map[uint32][]int
	net  map[uint32][]int
	rest []int
}

func (c *isolation) sending() *sending {
	s := &sending{both: map[netPort][]int{}, out: map[uint32][]int{}, net: map[uint32][]int{}}
	for i, f := range c.tables[Output.Number] {
		net, ofNet := sole(f.Match, RegNet.Field, 0xffffffff)
		out, to := sole(f.Match, RegOut.Field, 0xffffffff)
		switch {
		case ofNet && to:
			s.both[netPort{net, out}] = append(s.both[netPort{net, out}], i)
		case to:
			s.out[out] = append(s.out[out], i)
		case ofNet:
			s.net[net] = append(s.net[net], i)
		default:
			s.rest = append(s.rest, i)
		}
	}
	return s
}

// send follows frames of a network through output: by each flow down to the one that is sure to match.
func (c *isolation) send(s *sending, pair netPort) {
	places := slices.Concat(s.both[pair], s.out[pair.port], s.net[pair.net], s.rest)
	slices.Sort(places)
	for _, i := range places {
		f := c.tables[Output.Number][i]
		known := true
		for v := range f.Match.Fields() {
			if v.Field != openflow.XReg3 { // reg6 and reg7
				known = false
			}
		}
		if !matches(f.Match, RegNet, pair.net) || !matches(f.Match, RegOut, pair.port) {
			continue
		}
		c.apply(&frame{flow: f, frameState: frameState{net: pair.net, out: pair.port, outSet: true}}, f.Instructions)
		if known {
			break
		}
	}
}

// admits says whether frames of the port that f matches, tagged as it demands, are the network's.
func (c *isolation) admits(m openflow.Match, n *Network) bool {
	port, isPort := sole(m, openflow.InPort, 0xffffffff)
	tag, isTag := sole(m, openflow.VlanVID, openflow.VIDPresent|vidMask)
	if !isPort || !isTag || port == 0 {
		return false
	}
	if o := c.owners[port]; o.port != nil && o.network == n {
		return tag == 0
	}
	if port != c.uplink(n) {
		return false
	}
	switch n.Segment.NetworkType {
	case model.TypeFlat:
		return tag == 0
	case model.TypeVLAN:
		return tag == openflow.VIDPresent|n.Segment.SegmentationID
	}
	return tag == openflow.VIDPresent|uint32(n.LocalVLAN)
}
