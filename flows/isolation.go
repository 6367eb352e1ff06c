package flows

import (
	"cmp"
	"fmt"
	"maps"
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
}

// Isolation proves that what a bridge holds, whoever put it there, keeps the view's networks apart, and returns
// where it does not. in must hold the learned tables too.
//
// On br-int it follows the values that REG_NET may have from table to table: classify gives each port's frames
// its own network, nothing else writes REG_NET, and whatever is sent under a network goes to one of its VIFs or
// to its uplink, with its tag. On br-tun the local VLAN tag is the network: a frame enters the tunnel of its
// network's type with its network's key, and leaves one with the VLAN of the network that has the key.
func Isolation(v *View, b Bridge, in Installed) []Leak {
	c := &isolation{view: v, bridge: b, groups: map[uint32]*openflow.GroupDesc{}, byVLAN: map[uint32]*Network{}, members: map[uint32]map[uint32]bool{}}
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
		c.byVLAN[uint32(n.LocalVLAN)] = n
		m := map[uint32]bool{}
		for _, p := range n.Local {
			m[p.Key] = true
		}
		if up := c.uplink(n); up != 0 {
			m[up] = true
		}
		c.members[uint32(n.LocalVLAN)] = m
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
	view    *View
	bridge  Bridge
	tables  [256][]*openflow.FlowStats // by falling priority
	groups  map[uint32]*openflow.GroupDesc
	byVLAN  map[uint32]*Network
	members map[uint32]map[uint32]bool // keys of VIFs and uplink of each network
	reach   [256]map[uint32]bool       // networks whose frames get to a table of br-int
	out     map[[2]uint32]bool         // network and REG_OUT
	leaks   []Leak
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
	}
	for _, n := range c.view.Networks {
		for _, p := range n.Local {
			if c.bridge == BrInt && p.Key == number {
				return fmt.Sprintf("port %s (%s) of network %s (%s)", cmp.Or(p.Name, p.MACAddress.String()), p.ID, n.Name, n.ID)
			}
		}
		if c.bridge == BrInt && n.Uplink == number && number != 0 {
			return "physical network " + n.Segment.PhysicalNetwork
		}
	}
	return "port " + string(openflow.Output{Port: number}.AppendText(nil))
}

// frame is what is known of the frames that a list of actions is applied to.
type frame struct {
	flow   *openflow.FlowStats
	bucket string
	net    uint32
	out    uint32 // REG_OUT, if outSet
	outSet bool
	tag    tagState
	vid    uint32 // if tag is tagKnown; or the one that came, on br-tun
	key    uint64 // tun_id, if keySet
	keySet bool
	every  bool // it stands for the frames of every overlay network
	depth  int  // of groups
}

type tagState uint8

const (
	untagged  tagState = iota
	tagKnown           // its VLAN ID is vid
	tagOfNet           // its VLAN ID was copied from REG_NET
	tagForced          // it cannot be said
)

func (c *isolation) leak(f *frame, format string, args ...any) {
	c.leaks = append(c.leaks, Leak{Bridge: c.bridge, Flow: f.flow, Bucket: f.bucket, Text: fmt.Sprintf(format, args...)})
}

// sole is the value of a field that a match requires in full, in the bits of mask.
func sole(m openflow.Match, f openflow.Field, mask uint64) (uint32, bool) {
	v, ok := m.Get(f)
	return uint32(v.Value.Lo & mask), ok && v.Mask.Lo&mask == mask
}

const vidMask = openflow.VIDPresent - 1

// integration examines br-int. Tables come in order, so that all that gets to one is known before it.
func (c *isolation) integration() {
	for i := range c.reach {
		c.reach[i] = map[uint32]bool{}
	}
	c.out = map[[2]uint32]bool{}
	for _, f := range c.tables[Classify.Number] {
		c.apply(&frame{flow: f}, f.Instructions)
	}
	for t := int(Classify.Number) + 1; t < len(c.tables); t++ {
		if t == int(Output.Number) {
			c.outputs()
			continue
		}
		if t == int(TapOut.Number) {
			continue // entered from output, and left out here
		}
		for _, f := range c.tables[t] {
			want, matches := f.Match.Get(RegNet.Field)
			for _, net := range slices.Sorted(maps.Keys(c.reach[t])) {
				if !matches || uint64(net)&want.Mask.Lo == want.Value.Lo {
					c.apply(&frame{flow: f, net: net}, f.Instructions)
				}
			}
		}
	}
}

// admits says whether frames of the port that f matches, tagged as it demands, are the network's.
func (c *isolation) admits(m openflow.Match, n *Network) bool {
	port, isPort := sole(m, openflow.InPort, 0xffffffff)
	tag, isTag := sole(m, openflow.VlanVID, openflow.VIDPresent|vidMask)
	if !isPort || !isTag {
		return false
	}
	for _, p := range n.Local {
		if p.OFPort == port && tag == 0 {
			return true
		}
	}
	if port != c.uplink(n) || port == 0 {
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

// outputs examines the table that sends: for each network and REG_OUT, the flows down to the one that is sure
// to match.
func (c *isolation) outputs() {
	pairs := make([][2]uint32, 0, len(c.out))
	for p := range c.out {
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) })
	for _, p := range pairs {
		net, out := p[0], p[1]
		for _, f := range c.tables[Output.Number] {
			known, fits := true, true
			for v := range f.Match.Fields() {
				if v.Field != openflow.XReg3 { // reg6 and reg7
					known = false
				}
			}
			for reg, value := range map[*Reg]uint32{RegNet: net, RegOut: out} {
				if want, ok := f.Match.Get(reg.Field); ok && uint64(value)&want.Mask.Lo != want.Value.Lo {
					fits = false
				}
			}
			if !fits {
				continue
			}
			c.apply(&frame{flow: f, net: net, out: out, outSet: true}, f.Instructions)
			if known {
				break
			}
		}
	}
}

// apply examines what a flow does.
func (c *isolation) apply(f *frame, do openflow.Instructions) {
	for i := range do.All() {
		switch i := i.(type) {
		case openflow.ApplyActions:
			c.actions(f, i.Actions)
		case openflow.GotoTable:
			c.enter(f, i.Table)
		default:
			c.leak(f, "%s is none of ours: what becomes of frames of %s cannot be said", i.AppendText(nil), c.network(f.net))
		}
	}
}

// enter records that the frame gets to a table.
func (c *isolation) enter(f *frame, table uint8) {
	if c.bridge != BrInt || table == Classify.Number && f.flow.Table == Classify.Number {
		return // classified again, with nothing known
	}
	for _, n := range c.view.Networks {
		if f.every && c.uplink(n) == c.view.Ports.PatchTun {
			c.reach[table][uint32(n.LocalVLAN)] = true
		}
	}
	if !f.every {
		c.reach[table][f.net] = true
	}
}

func (c *isolation) actions(f *frame, list openflow.Actions) {
	for a := range list.All() {
		switch a := a.(type) {
		case openflow.Output:
			c.output(f, a.Port)
		case openflow.OutputReg:
			if a.Src != RegOut.Low(16) {
				c.leak(f, "frames of %s go to a port that %s says", c.network(f.net), a.Src)
			} else if f.outSet {
				c.output(f, f.out)
			}
		case openflow.SetField:
			c.set(f, a.FieldValue)
		case openflow.Move:
			c.move(f, a)
		case openflow.PushVLAN:
			f.tag, f.vid = tagKnown, 0
		case openflow.PopVLAN:
			f.tag = untagged
		case openflow.Resubmit:
			if a.Port != 0 {
				c.leak(f, "frames of %s go on as those of %s", c.network(f.net), c.port(a.Port))
			}
			c.enter(f, a.Table)
		case openflow.Group:
			c.group(f, a.ID)
		case openflow.Clone:
			copied := *f
			c.actions(&copied, a.Actions)
		case openflow.Learn:
			c.learn(f, a)
		case openflow.RawAction:
			c.leak(f, "%s is none of ours: what becomes of frames of %s cannot be said", a.AppendText(nil), c.network(f.net))
		}
	}
}

// maxGroups is how deep groups of groups are: one of groups that hold members.
const maxGroups = 2

func (c *isolation) group(f *frame, id uint32) {
	g := c.groups[id]
	if g == nil || f.depth == maxGroups {
		c.leak(f, "what becomes of frames of %s in group %d cannot be said: there is none, or groups are nested deeper than ours", c.network(f.net), id)
		return
	}
	for _, k := range g.Buckets {
		member := *f
		member.depth++
		member.bucket = fmt.Sprintf("group_id=%d,bucket=bucket_id:%d,actions=%s", id, k.ID, k.Actions)
		c.actions(&member, k.Actions)
	}
}

// learn examines what flows a learn makes: they must be for the network that they were learned in.
func (c *isolation) learn(f *frame, a openflow.Learn) {
	net := RegNet.All()
	if c.bridge == BrTun {
		net = openflow.VlanTCI.Bits(0, 11)
	}
	kept := false
	for _, s := range a.Specs {
		kept = kept || s.Kind == openflow.LearnMatch && s.Dst == net && s.Src == net
		if bits, ok := bitsOf(s.Dst.Field, s.Dst.Offset, s.Dst.Width); ok && s.Kind == openflow.LearnLoad && bits.overlaps(RegNet.bits()) {
			kept = false
			break
		}
	}
	if !kept {
		c.leak(f, "what is learned from frames of %s is not for that network alone", c.network(f.net))
	}
}

// set examines a field's being written.
func (c *isolation) set(f *frame, v openflow.FieldValue) {
	switch {
	case v.Field == openflow.VlanVID:
		if f.tag, f.vid = tagForced, uint32(v.Value.Lo&vidMask); v.Mask.Lo&vidMask == vidMask {
			f.tag = tagKnown
		}
		if c.bridge == BrTun && f.net != 0 && f.vid != f.net {
			c.leak(f, "frames of %s become those of %s", c.network(f.net), c.network(f.vid))
		}
	case v.Field == openflow.TunID:
		f.key, f.keySet = v.Value.Lo, v.Exact()
	case c.bridge == BrTun:
	case v.Field == RegNet.Field && v.Exact() && f.flow.Table == Classify.Number && f.bucket == "":
		f.net = uint32(v.Value.Lo)
		if n := c.byVLAN[f.net]; n == nil || !c.admits(f.flow.Match, n) {
			who := "some port"
			if p, ok := sole(f.flow.Match, openflow.InPort, 0xffffffff); ok {
				who = c.port(p)
			}
			c.leak(f, "frames of %s become those of %s", who, c.network(f.net))
		}
	case v.Field == RegOut.Field && v.Exact():
		f.out, f.outSet = uint32(v.Value.Lo), true
		if f.out == 0 {
			return // not known yet
		}
		if !c.members[f.net][f.out] {
			c.leak(f, "frames of %s go to %s", c.network(f.net), c.port(f.out))
			return
		}
		c.out[[2]uint32{f.net, f.out}] = true
	default:
		c.written(f, v.Field, 0, v.Field.Width(), v.Mask)
	}
}

// written examines the writing of what may be a part of REG_NET or REG_OUT.
func (c *isolation) written(f *frame, field openflow.Field, offset, width int, mask openflow.Uint128) {
	for _, r := range []*Reg{RegNet, RegOut} {
		for i := offset; i < offset+width; i++ {
			if half := [2]uint64{mask.Lo, mask.Hi}[i/64]; half>>(i%64)&1 == 0 {
				continue
			}
			if bits, ok := bitsOf(field, i, 1); ok && bits.overlaps(r.bits()) {
				c.leak(f, "%s of frames of %s is written where it must not be", r.Name, c.network(f.net))
				break
			}
		}
	}
}

// move examines a field's being copied to another.
func (c *isolation) move(f *frame, a openflow.Move) {
	all := openflow.Uint128{Hi: ^uint64(0), Lo: ^uint64(0)}
	switch {
	case a.Dst.Field == openflow.VlanVID || a.Dst.Field == openflow.VlanTCI:
		if c.bridge == BrTun {
			c.leak(f, "frames of %s become those of another, as %s says", c.network(f.net), a.Src)
		}
		if f.tag = tagForced; a.Src == RegNet.Low(12) && a.Dst == openflow.VlanVID.Bits(0, 11) {
			f.tag = tagOfNet
		}
	case a.Dst.Field == openflow.TunID:
		f.keySet = false
	case c.bridge == BrTun:
	case a.Dst == RegNet.Low(12) && (a.Src == openflow.VlanVID.Bits(0, 11) || a.Src == openflow.VlanTCI.Bits(0, 11)) && f.flow.Table == Classify.Number && f.bucket == "":
		if port, ok := sole(f.flow.Match, openflow.InPort, 0xffffffff); !ok || port != c.view.Ports.PatchTun {
			c.leak(f, "frames of %s become those of any network, as they are tagged", c.port(port))
			return
		}
		f.every = true
	default:
		c.written(f, a.Dst.Field, a.Dst.Offset, a.Dst.Width, all)
	}
}

// output examines a frame's being sent to a port.
func (c *isolation) output(f *frame, port uint32) {
	switch {
	case port == openflow.PortInPort || port == openflow.PortController:
		return
	case c.bridge == BrTun:
		c.tunnelOutput(f, port)
		return
	case !c.members[f.net][port]:
		c.leak(f, "frames of %s go to %s", c.network(f.net), c.port(port))
		return
	}
	n := c.byVLAN[f.net]
	right := f.tag == untagged
	switch {
	case port != c.uplink(n):
	case n.Segment.NetworkType == model.TypeVLAN:
		right = f.tag == tagKnown && f.vid == n.Segment.SegmentationID
	case n.Segment.NetworkType != model.TypeFlat:
		right = f.tag == tagOfNet || f.tag == tagKnown && f.vid == f.net
	}
	if !right {
		c.leak(f, "frames of %s go to %s %s", c.network(f.net), c.port(port), f.tagged())
	}
}

// tagged says how the frame is.
func (f *frame) tagged() string {
	switch f.tag {
	case untagged:
		return "untagged"
	case tagKnown:
		return fmt.Sprintf("tagged %d", f.vid)
	case tagOfNet:
		return "tagged with the local VLAN"
	}
	return "with another tag"
}

// tunnels examines br-tun, flow by flow: each says itself which network it is about.
func (c *isolation) tunnels() {
	for _, list := range c.tables {
		for _, f := range list {
			switch t := TableOf(BrTun, f.Table); {
			case t == nil:
				// Nothing leads there, or the flow that does is wrong: a wrong goto is found below.
			case t == TunClassify:
				c.arrival(f)
			case slices.Contains([]*Table{TunFromGRE, TunFromVXLAN, TunFromGeneve}, t):
				c.fromTunnel(f, t)
			default:
				vid, _ := sole(f.Match, openflow.VlanVID, vidMask)
				c.apply(&frame{flow: f, net: vid, tag: tagKnown, vid: vid}, f.Instructions)
			}
		}
	}
}

// arrival examines a flow of the first table: frames of a tunnel go to the table of its type, and only those
// of an enrolled host.
func (c *isolation) arrival(f *openflow.FlowStats) {
	if f.Instructions == openflow.Drop {
		return
	}
	fr := &frame{flow: f}
	if tapped(f.Instructions) {
		return
	}
	port, isPort := sole(f.Match, openflow.InPort, 0xffffffff)
	to := TunFromInt
	if port != c.view.Ports.PatchInt {
		to = nil
		for networkType, table := range Arrivals {
			if isPort && c.view.Ports.Tunnel(networkType) == port && port != 0 {
				to = table
			}
		}
		if to == nil {
			c.leak(fr, "frames of %s come in", c.port(port))
			return
		}
		if peer, from := c.peer(f.Match); peer == "" {
			c.leak(fr, "frames come in through a tunnel from %s, which is no enrolled host's", from)
		}
	}
	for i := range f.Instructions.All() {
		if g, ok := i.(openflow.GotoTable); !ok || g.Table != to.Number {
			c.leak(fr, "frames of %s go past %s: %s", c.port(port), to, i.AppendText(nil))
		}
	}
}

// tapped says whether a flow only shows a frame to the tap, to be classified afterwards.
func tapped(do openflow.Instructions) bool {
	if do != openflow.Apply(slices.Collect(do.Applied().All())...) {
		return false
	}
	for a := range do.Applied().All() {
		switch a := a.(type) {
		case openflow.SetField:
			if a.Field != RegTun.Field {
				return false
			}
		case openflow.Resubmit:
			if a.Port != 0 || a.Table != TunTap.Number && a.Table != TunClassify.Number {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// peer is the enrolled host whose tunnel address a match demands.
func (c *isolation) peer(m openflow.Match) (hostname, address string) {
	for _, field := range []openflow.Field{openflow.TunSrc, openflow.TunIPv6Src} {
		if v, ok := m.Get(field); ok && v.Exact() {
			for _, h := range c.view.Peers {
				if h.EncapIP == v.Addr() {
					return h.Hostname, ""
				}
			}
			return "", v.Addr().String()
		}
	}
	return "", netip.IPv4Unspecified().String() + "/0"
}

// fromTunnel examines a flow for a tunnel's key.
func (c *isolation) fromTunnel(f *openflow.FlowStats, t *Table) {
	if f.Instructions == openflow.Drop {
		return
	}
	fr := &frame{flow: f}
	key, ok := f.Match.Get(openflow.TunID)
	if !ok || !key.Exact() {
		c.leak(fr, "frames of any tun_id come in: %s", f.Instructions)
		return
	}
	if key.Value.Lo != 0 { // 0 is the probes': they go back, or to the controller
		for _, n := range c.view.Networks {
			if Arrivals[n.Segment.NetworkType] == t && uint64(n.Segment.SegmentationID) == key.Value.Lo {
				fr.net = uint32(n.LocalVLAN)
			}
		}
	}
	if c.apply(fr, f.Instructions); fr.net == 0 && fr.tag != untagged {
		c.leak(fr, "frames of tun_id %d, which is that of no network here, become those of %s", key.Value.Lo, c.network(fr.vid))
	}
}

// tunnelOutput examines a frame's leaving br-tun.
func (c *isolation) tunnelOutput(f *frame, port uint32) {
	n, p := c.byVLAN[f.net], c.view.Ports
	switch {
	case n == nil:
		c.leak(f, "frames of %s go to %s", c.network(f.net), c.port(port))
	case port == p.PatchInt:
		if f.tag != tagKnown || f.vid != f.net {
			c.leak(f, "frames of %s go to br-int %s, which is %s", c.network(f.net), f.tagged(), c.network(f.vid))
		}
	case port != p.Tunnel(n.Segment.NetworkType):
		c.leak(f, "frames of %s, which is %s, go to %s", c.network(f.net), n.Segment.NetworkType, c.port(port))
	case !f.keySet || f.key != uint64(n.Segment.SegmentationID):
		c.leak(f, "frames of %s, whose segmentation_id is %d, go to %s with %s", c.network(f.net), n.Segment.SegmentationID, c.port(port), f.keyed(c))
	}
}

// keyed says which key the frame has, and whose that is.
func (f *frame) keyed(c *isolation) string {
	if !f.keySet {
		return "no tun_id of ours"
	}
	for _, n := range c.view.Networks {
		if uint64(n.Segment.SegmentationID) == f.key && c.view.Ports.Tunnel(n.Segment.NetworkType) != 0 {
			return fmt.Sprintf("tun_id %d, that of %s", f.key, c.network(uint32(n.LocalVLAN)))
		}
	}
	return fmt.Sprintf("tun_id %d, that of no network here", f.key)
}
