package openflow

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// generator makes random flows that a switch could hold: fields with their
// prerequisites, actions that fit the match.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 5))} }

// kinds are the packets that a flow may be about; each is what the rest needs.
var kinds = [][]FieldValue{
	{}, {}, ARP(), RARP(), IPv4(), IPv6(), ICMP(), ICMP6(), TCP(), TCP6(), UDP(), UDP6(),
	transport(EthTypeIPv4, IPProtoSCTP), transport(EthTypeIPv6, IPProtoSCTP), transport(EthTypeIPv4, 47),
	{EthType.Is(0x88cc)}, {EthType.Is(0x88cc), VlanVID.Is(VIDPresent | 5)}, {VlanVID.Masked(VIDPresent, VIDPresent)}, {VlanVID.Is(VIDPresent)},
	append(ICMP6(), ICMPv6Type.Is(135)), append(ICMP6(), ICMPv6Type.Is(136)), append(UDP(), VlanVID.Is(0)),
}

// value is a random value of the field, masked where that may be.
func (g generator) value(info *fieldInfo) FieldValue {
	full := info.field.fullMask()
	v := FieldValue{info.field, Uint128{g.Uint64(), g.Uint64()}.and(full), full}
	switch g.IntN(4) {
	case 0: // small numbers, and zero
		v.Value = Uint128{Lo: g.Uint64N(4)}.and(full)
	case 1:
		v.Value = v.Value.and(Uint128{g.Uint64(), g.Uint64()})
	}
	switch info.field {
	case ARPOp:
		v.Value.Lo &= 0xff
	case InPort, ActsetOutput:
		v.Value.Lo = []uint64{1, 2, 4, 1000, uint64(PortLocal)}[g.IntN(5)]
	}
	if info.mask != exact && g.IntN(3) == 0 {
		v.Mask = Uint128{g.Uint64(), g.Uint64()}.and(full)
		if g.IntN(2) == 0 { // a prefix
			v.Mask = full.andNot(ones(g.IntN(int(info.bits))))
		}
		if v.Mask.isZero() {
			v.Mask = full
		}
		v.Value = v.Value.and(v.Mask)
	}
	return v
}

// match is a random match; kind is what is known of its packets.
func (g generator) match() (m Match, kind packet) {
	values := append([]FieldValue(nil), kinds[g.IntN(len(kinds))]...)
	kind = anyPacket
	for _, v := range values {
		kind.add(v)
	}
	var used [len(fieldTable)]bool
	for _, v := range values {
		used[v.Field.position()] = true
	}
	for range g.IntN(6) {
		info := &fieldTable[g.IntN(len(fieldTable))]
		overlap := info.field >= Reg0 && info.field <= Reg15 && info.field.Bytes() == 4 || info.field >= XXReg0 && info.field <= XXReg3 || info.field >= XReg0 && info.field <= XReg7
		switch {
		case used[info.field.position()] || !kind.has(info.requires) || info.field == EthType || info.field == IPProto || info.field == ICMPv6Type || info.field == VlanVID || info.field == PacketType:
			continue
		case overlap && used[XReg0.position()]: // one kind of register is enough
			continue
		case info.field == VlanTCI && (used[VlanVID.position()] || used[VlanPCP.position()]):
			continue
		}
		used[info.field.position()] = true
		if overlap {
			used[XReg0.position()] = true
		}
		v := g.value(info)
		switch info.field {
		case IPFrag:
			v = []FieldValue{IPFrag.Is(0), IPFrag.Is(1), IPFrag.Masked(0, 2), IPFrag.Masked(1, 1)}[g.IntN(4)]
		case ICMPv6Code:
			v = ICMPv6Code.Is(0)
		case VlanTCI:
			v = VlanTCI.Masked([]uint64{0, 0x1000, 0x1007, 0x5007}[g.IntN(4)], 0xffff)
			if v.Value.Lo&0x1000 == 0 || g.IntN(2) == 0 {
				v = VlanTCI.Masked(v.Value.Lo&0x1fff, 0x1fff)
			}
			kind.tagged = v.Value.Lo&0x1000 != 0
			used[VlanVID.position()], used[VlanPCP.position()] = true, true
		}
		values = append(values, v)
	}
	g.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	return MustMatch(values...), kind
}

// subfield is n bits of a field.
func (g generator) subfield(info *fieldInfo, n int) Subfield {
	lo := g.IntN(int(info.bits) - n + 1)
	return info.field.Bits(lo, lo+n-1)
}

// field is a random field that the packets have, writable where asked.
func (g generator) field(kind packet, write bool) *fieldInfo {
	for {
		info := &fieldTable[g.IntN(len(fieldTable))]
		if kind.has(info.requires) && !(write && info.readOnly) && info.field != PacketType && info.field != CtState && info.field != InPort && info.field != ActsetOutput {
			return info
		}
	}
}

func (g generator) actions(kind packet, depth int) (list []Action) {
	for range g.IntN(5) {
		list = append(list, g.action(&kind, depth))
	}
	return list
}

// action is an action for packets of the kind, which it updates.
func (g generator) action(kind *packet, depth int) Action {
	ports := []uint32{1, 2, 3, 4, PortInPort, PortNormal, PortFlood, PortAll, PortLocal}
	switch g.IntN(15) {
	case 0:
		return Output{Port: ports[g.IntN(len(ports))]}
	case 1:
		return Output{PortController, uint16(g.Uint32())}
	case 2:
		return OutputReg{Src: g.subfield(fieldTable[Reg0.position()+g.IntN(16)].field.info(), 16)}
	case 3:
		return Group{uint32(g.IntN(3) + 1)}
	case 4:
		return Meter{uint32(g.IntN(3) + 1)}
	case 5, 6:
		v := g.value(g.field(*kind, true))
		switch v.Field {
		case VlanVID, VlanTCI:
			if !kind.tagged {
				kind.tagged = true
				return PushVLAN{EthTypeVLAN}
			}
			v = VlanVID.Is(VIDPresent | v.Value.Lo&0xfff)
		case ARPOp:
			v.Value.Lo &= 3
		}
		return SetField{v}
	case 7, 8:
		src, dst := g.field(*kind, false), g.field(*kind, true)
		n := 1 + g.IntN(int(min(src.bits, dst.bits)))
		return Move{g.subfield(src, n), g.subfield(dst, n)}
	case 9:
		return SetQueue{g.Uint32N(1000)}
	case 10:
		return Resubmit{[]uint32{0, 2, PortLocal}[g.IntN(3)], uint8(g.IntN(254))}
	case 11:
		c := Controller{MaxLen: uint16(g.IntN(3) * 64), ControllerID: uint16(g.IntN(2)), Pause: g.IntN(2) == 0, MeterID: g.Uint32N(2)}
		c.UserData = make([]byte, g.IntN(12))
		for i := range c.UserData {
			c.UserData[i] = byte(g.Uint32())
		}
		if g.IntN(4) == 0 {
			c.Reason = ReasonInvalidTTL
		}
		return c
	case 12:
		if kind.tagged {
			kind.tagged = false
			return PopVLAN{}
		}
		return Note{[]byte{byte(g.IntN(256)), 1, 2}}
	case 13:
		return g.learn(*kind)
	}
	if depth > 1 || g.IntN(2) == 0 {
		if kind.has(ipPacket) {
			return DecTTL{}
		}
		return SetQueue{1}
	}
	return Clone{MustActions(g.actions(*kind, depth+1)...)}
}

// learn copies what packets of the kind have into fields that every packet has.
func (g generator) learn(kind packet) Learn {
	a := Learn{Table: uint8(g.IntN(254)), Priority: []uint16{1, defaultPriority}[g.IntN(2)], IdleTimeout: uint16(g.IntN(3)), HardTimeout: uint16(g.IntN(3)),
		Cookie: g.Uint64N(3), Limit: g.Uint32N(3), DeleteLearned: g.IntN(2) == 0}
	for range g.IntN(4) {
		dst := g.field(anyPacket, true)
		src := dst
		if g.IntN(2) == 0 {
			src = g.field(kind, false)
		}
		n := 1 + g.IntN(int(min(src.bits, dst.bits)))
		a.Specs = append(a.Specs, LearnSpec{[]LearnKind{LearnMatch, LearnLoad}[g.IntN(2)], g.subfield(dst, n), g.subfield(src, n)})
	}
	return a
}

func (g generator) flow() FlowMod {
	m, kind := g.match()
	f := FlowMod{Table: uint8(g.IntN(60)), Priority: uint16(g.Uint32()), Cookie: g.Uint64(), Match: m}
	if g.IntN(8) == 0 {
		f.IdleTimeout, f.HardTimeout, f.Importance = 3000, 4000, 5
		f.Flags = []FlowFlags{FlowSendRemoved, FlowResetCounts, FlowNoByteCount | FlowNoPacketCount}[g.IntN(3)]
	}
	var list []Instruction
	list = append(list, ApplyActions{MustActions(g.actions(kind, 0)...)})
	if g.IntN(8) == 0 {
		list = append(list, ClearActions{}, WriteActions{MustActions(Output{Port: 1})})
	}
	if g.IntN(8) == 0 {
		mask := g.Uint64() | 1
		list = append(list, WriteMetadata{g.Uint64() & mask, mask})
	}
	if g.IntN(2) == 0 {
		list = append(list, GotoTable{60 + uint8(g.IntN(10))})
	}
	f.Instructions = must(NewInstructions(list...))
	return f
}

func TestTextIsThatOfOvsOfctl(t *testing.T) {
	const n = 20000
	g := newGenerator(1)
	flows := make([]FlowMod, n)
	var wire []byte
	for i := range flows {
		flows[i] = g.flow()
		wire = mustAppend(t, wire, flows[i], 1)
	}
	var lines []string
	for _, line := range printed(t, wire) {
		if strings.HasPrefix(line, "OFPT_FLOW_MOD ") { // a message it refuses is followed by its bytes
			lines = append(lines, line)
		}
	}
	if len(lines) != n {
		t.Fatalf("%d lines for %d flows", len(lines), n)
	}
	wrong := 0
	for i, line := range lines {
		want, ok := strings.CutPrefix(line, "OFPT_FLOW_MOD (OF1.5) (xid=0x1): ")
		if got := flows[i].String(); !ok || got != want {
			if wrong++; wrong <= 10 {
				t.Errorf("\n got %s\nwant %s\n%x", got, line, string(flows[i].Match))
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d differ", wrong, n)
	}
}

func TestSwitchGivesBackRandomFlows(t *testing.T) {
	const n = 4000
	s := startBridge(t)
	var setup []Message
	for id := uint32(1); id <= 3; id++ {
		setup = append(setup, MeterMod{ID: id, Flags: MeterPktps, Bands: []MeterBand{{Rate: 10}}}, GroupMod{ID: id})
	}
	s.mustDo(setup...)
	g := newGenerator(2)
	type key struct {
		table    uint8
		priority uint16
		match    Match
	}
	seen := map[key]bool{}
	var flows []FlowMod
	var messages []Message
	for len(flows) < n {
		f := g.flow()
		if k := (key{f.Table, f.Priority, f.Match}); !seen[k] {
			seen[k] = true
			flows, messages = append(flows, f), append(messages, f)
		}
	}
	refused := s.do(messages...)
	var sent []FlowMod
	why := map[string]int{}
	for i, f := range flows {
		if e := refused[i]; e != nil {
			why[e.Name()]++
			t.Logf("%v: %v", e, f)
			continue
		}
		sent = append(sent, f)
	}
	if len(refused) > n/50 {
		t.Errorf("refused: %v", why)
	}
	dumped := s.flows()
	sameFlows(t, sent, dumped)
	var texts []string
	for _, f := range dumped {
		texts = append(texts, f.String())
	}
	sameText(t, texts, s.ofctl("dump-flows"))
	t.Logf("%d flows given back as they were sent, %d refused: %v", len(sent), len(refused), why)
}

// What All yields must encode to the bytes it came from.
func TestActionsRoundTrip(t *testing.T) {
	g := newGenerator(3)
	for range 5000 {
		f := g.flow()
		var again []Instruction
		for i := range f.Instructions.All() {
			switch i := i.(type) {
			case RawInstruction:
				t.Fatalf("%v: a raw instruction", f)
			case ApplyActions:
				var list []Action
				for a := range i.Actions.All() {
					if _, raw := a.(RawAction); raw {
						t.Fatalf("%v: a raw action", f)
					}
					list = append(list, a)
				}
				again = append(again, ApplyActions{MustActions(list...)})
			default:
				again = append(again, i)
			}
		}
		if got := must(NewInstructions(again...)); got != f.Instructions {
			t.Fatalf("%v\nagain %v", f, got)
		}
		var values []FieldValue
		for v := range f.Match.Fields() {
			values = append(values, v)
		}
		if got := MustMatch(values...); got != f.Match {
			t.Fatalf("%v\nagain %v", f.Match, got)
		}
		b := mustAppend(t, nil, f, 9)
		var decoded FlowMod
		if err := decoded.Decode(b); err != nil || decoded != f || !bytes.Equal(mustAppend(t, nil, decoded, 9), b) {
			t.Fatalf("%v: decoded as %v, %v", f, decoded, err)
		}
	}
}
