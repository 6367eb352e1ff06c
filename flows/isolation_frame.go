package flows

import (
	"fmt"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// frame is frames that a list of actions is applied to.
type frame struct {
	flow   *openflow.FlowStats
	group  uint32           // if member is not nil
	member *openflow.Bucket // that does it
	from   string           // what they are instead of a network's
	frameState
}

// frameState is what is known of frames.
type frameState struct {
	net    uint32
	port   uint32 // REG_PORT, if classify has just written it
	out    uint32 // REG_OUT, if outSet
	outSet bool
	tag    tagState
	vid    uint32 // if tag is tagKnown; or the one that came, on br-tun
	key    uint64 // tun_id, if keySet
	keySet bool
	every  bool // they are those of every overlay network
	depth  int  // of groups
}

// bucket is the bucket that does it, as ovs-ofctl has it.
func (f *frame) bucket() string {
	if f.member == nil {
		return ""
	}
	return fmt.Sprintf("group_id=%d,bucket=bucket_id:%d,actions=%s", f.group, f.member.ID, f.member.Actions)
}

// origin says whose the frames are.
func (c *isolation) origin(f *frame) string {
	if f.from != "" {
		return f.from
	}
	return c.network(f.net)
}

type tagState uint8

const (
	untagged  tagState = iota
	tagKnown           // its VLAN ID is vid
	tagOfNet           // its VLAN ID was copied from REG_NET
	tagForced          // it cannot be said
)

// sole is the value of a field that a match requires in full, in the bits of mask.
func sole(m openflow.Match, f openflow.Field, mask uint64) (uint32, bool) {
	v, ok := m.Get(f)
	return uint32(v.Value.Lo & mask), ok && v.Mask.Lo&mask == mask
}

const vidMask = openflow.VIDPresent - 1

// isTag says whether a field is of the VLAN tag.
func isTag(f openflow.Field) bool { return f == openflow.VlanVID || f == openflow.VlanTCI }

// alike says where instructions lead frames, if that is all they do that matters here: whichever network's
// the frames are.
func (c *isolation) alike(do openflow.Instructions) (leads []uint8, ok bool) {
	for i := range do.All() {
		switch i := i.(type) {
		case openflow.GotoTable:
			leads = append(leads, i.Table)
			continue
		case openflow.ApplyActions:
			for a := range i.Actions.All() {
				switch a := a.(type) {
				case openflow.Controller, openflow.Meter, openflow.Note, openflow.DecTTL, openflow.PopVLAN:
					continue
				case openflow.Output:
					if a.Port == openflow.PortInPort {
						continue
					}
				case openflow.SetField:
					if !isTag(a.Field) && writes(a.Field, 0, a.Field.Width(), a.Mask) == nil {
						continue
					}
				case openflow.Move:
					if !isTag(a.Dst.Field) && writes(a.Dst.Field, a.Dst.Offset, a.Dst.Width, allBits) == nil {
						continue
					}
				case openflow.Resubmit:
					if a.Port == 0 && a.Table != Classify.Number {
						leads = append(leads, a.Table)
						continue
					}
				case openflow.Learn:
					if c.keeps(a) {
						continue
					}
				}
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return leads, true
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
	if f.port != 0 && !c.members[netPort{f.net, f.port}] {
		c.leak(f, "frames of %s are taken for those of %s", c.network(f.net), c.port(f.port))
	}
	if c.bridge == BrInt && f.tag != untagged && table != TapOut.Number { // which sends it nowhere else
		c.leak(f, "frames of %s go on to table %d %s", c.network(f.net), table, f.tagged())
	}
	switch {
	case c.bridge == BrTun:
		if table == TunClassify.Number || arrivalOf(table) != "" {
			c.leak(f, "frames of %s go to table %d, as if a tunnel had brought them", c.origin(f), table)
		}
	case table == Classify.Number:
		if f.flow.Table != Classify.Number || f.net != 0 || f.every {
			c.leak(f, "frames of %s are classified once more, as those of any network", c.network(f.net))
		}
	case table == Output.Number && f.outSet:
		c.sends(f.net, f.out)
	case !f.every:
		c.reaches(table, f.net)
	default:
		for _, n := range c.view.Networks {
			if c.uplink(n) == c.view.Ports.PatchTun {
				c.reaches(table, uint32(n.LocalVLAN))
			}
		}
	}
}

func (c *isolation) actions(f *frame, list openflow.Actions) {
	for a := range list.All() {
		switch a := a.(type) {
		case openflow.Output:
			c.output(f, a.Port)
		case openflow.OutputReg:
			switch {
			case a.Src != RegOut.Low(16):
				c.leak(f, "frames of %s go to a port that %s says", c.network(f.net), a.Src)
			case !f.outSet:
				c.leak(f, "frames of %s go to a port that %s says, not as %s sends them", c.network(f.net), RegOut.Name, Output)
			case f.out != 0: // there is no port 0
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
			if !c.keeps(a) {
				c.leak(f, "what is learned from frames of %s is not for that network alone", c.network(f.net))
			}
		case openflow.Controller, openflow.Meter, openflow.Note, openflow.DecTTL, openflow.SetQueue:
		default:
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
	use := groupUse{id, f.frameState}
	if c.used[use] {
		return
	}
	c.used[use] = true
	for i := range g.Buckets {
		given := *f
		given.depth++
		given.group, given.member = id, &g.Buckets[i]
		c.actions(&given, g.Buckets[i].Actions)
	}
}

// keeps says whether the flows that a learn makes are for the network alone that they were learned in.
func (c *isolation) keeps(a openflow.Learn) bool {
	net := RegNet.All()
	if c.bridge == BrTun {
		net = openflow.VlanTCI.Bits(0, 11)
	}
	kept := false
	for _, s := range a.Specs {
		kept = kept || s.Kind == openflow.LearnMatch && s.Dst == net && s.Src == net
		if bits, ok := bitsOf(s.Dst.Field, s.Dst.Offset, s.Dst.Width); ok && s.Kind == openflow.LearnLoad && bits.overlaps(RegNet.bits()) {
			return false
		}
	}
	return kept
}

// set examines a field's being written.
func (c *isolation) set(f *frame, v openflow.FieldValue) {
	switch {
	case isTag(v.Field):
		f.tag, f.vid = tagForced, uint32(v.Value.Lo&vidMask)
		if v.Mask.Lo&vidMask == vidMask && (v.Field == openflow.VlanVID || v.Value.Lo&v.Mask.Lo&openflow.VIDPresent != 0) {
			f.tag = tagKnown
		}
		if c.bridge == BrTun && (f.vid != f.net || f.tag != tagKnown) {
			c.leak(f, "frames of %s become those of %s", c.origin(f), c.network(f.vid))
		}
	case v.Field == openflow.TunID:
		f.key, f.keySet = v.Value.Lo, v.Exact()
	case c.bridge == BrTun:
	case v.Field == RegNet.Field && v.Exact() && f.flow.Table == Classify.Number && f.member == nil:
		f.net = uint32(v.Value.Lo)
		if n := c.byVLAN[f.net]; n == nil || !c.admits(f.flow.Match, n) {
			who := "some port"
			if p, ok := sole(f.flow.Match, openflow.InPort, 0xffffffff); ok {
				who = c.port(p)
			}
			c.leak(f, "frames of %s become those of %s", who, c.network(f.net))
		}
	case v.Field == RegPort.Field && v.Exact() && f.flow.Table == Classify.Number && f.member == nil:
		f.port = uint32(v.Value.Lo)
	case v.Field == RegOut.Field && v.Exact():
		f.out, f.outSet = uint32(v.Value.Lo), true
		if f.out == 0 {
			return // not known yet
		}
		if !c.members[netPort{f.net, f.out}] {
			c.leak(f, "frames of %s go to %s", c.network(f.net), c.port(f.out))
			return
		}
		c.sends(f.net, f.out)
	default:
		c.written(f, v.Field, 0, v.Field.Width(), v.Mask)
	}
}

var allBits = openflow.Uint128{Hi: ^uint64(0), Lo: ^uint64(0)}

// written examines the writing of what may be a part of REG_NET, REG_PORT or REG_OUT.
func (c *isolation) written(f *frame, field openflow.Field, offset, width int, mask openflow.Uint128) {
	if r := writes(field, offset, width, mask); r != nil {
		c.leak(f, "%s of frames of %s is written where it must not be", r.Name, c.network(f.net))
	}
}

// writes says which of REG_NET, REG_PORT and REG_OUT the bits of a field are in; nil for none.
func writes(field openflow.Field, offset, width int, mask openflow.Uint128) *Reg {
	written, register := bitsOf(field, offset, width)
	if !register {
		return nil
	}
	for i := offset; i < offset+width; i++ {
		if half := [2]uint64{mask.Lo, mask.Hi}[i/64]; half>>(i%64)&1 == 0 {
			left, _ := bitsOf(field, i, 1)
			written = written.without(left)
		}
	}
	for _, r := range []*Reg{RegNet, RegPort, RegOut} {
		if written.overlaps(r.bits()) {
			return r
		}
	}
	return nil
}

// move examines a field's being copied to another.
func (c *isolation) move(f *frame, a openflow.Move) {
	switch {
	case isTag(a.Dst.Field):
		if c.bridge == BrTun {
			c.leak(f, "frames of %s become those of another, as %s says", c.network(f.net), a.Src)
		}
		if f.tag = tagForced; a.Src == RegNet.Low(12) && a.Dst == openflow.VlanVID.Bits(0, 11) {
			f.tag = tagOfNet
		}
	case a.Dst.Field == openflow.TunID:
		f.keySet = false
	case c.bridge == BrTun:
	case a.Dst == RegNet.Low(12) && (a.Src == openflow.VlanVID.Bits(0, 11) || a.Src == openflow.VlanTCI.Bits(0, 11)) && f.flow.Table == Classify.Number && f.member == nil:
		if port, ok := sole(f.flow.Match, openflow.InPort, 0xffffffff); !ok || port != c.view.Ports.PatchTun {
			c.leak(f, "frames of %s become those of any network, as they are tagged", c.port(port))
			return
		}
		f.every = true
	default:
		c.written(f, a.Dst.Field, a.Dst.Offset, a.Dst.Width, allBits)
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
	case !c.members[netPort{f.net, port}]:
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
