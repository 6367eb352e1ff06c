package openflow

import (
	"strconv"
)

// matchText is the order in which ovs-ofctl prints the fields of a match. Registers,
// the 802.1Q header and the words that stand for prerequisites have places of their
// own, marked by the fields XReg0, VlanVID and EthType.
var matchText = [...]Field{
	PktMark, ConjID, ActsetOutput, CtState, CtZone, CtMark, CtLabel, PacketType, EthType, XReg0,
	TunID, TunSrc, TunDst, TunIPv6Src, TunIPv6Dst, TunFlags, Metadata, InPort, VlanVID, EthSrc, EthDst,
}

// matchTextLater follows dl_type, where no word stood for it.
var matchTextLater = [...]Field{
	IPv6Src, IPv6Dst, IPv6Label, ARPSpa, ARPTpa, IPv4Src, IPv4Dst, IPProto, ARPOp, ARPSha, ARPTha, IPDSCP, IPECN, IPTTL,
	IPFrag, ICMPv4Type, ICMPv4Code, ICMPv6Type, ICMPv6Code, NDTarget, NDSll, NDTll, NDReserved, NDOptionsType,
	TCPSrc, TCPDst, UDPSrc, UDPDst, SCTPSrc, SCTPDst, TCPFlags,
}

// AppendText appends the match as ovs-ofctl prints it: "arp,in_port=1,dl_vlan=7".
// Fields it doesn't know come last, in hexadecimal.
func (m Match) AppendText(b []byte) []byte {
	var room [24]FieldValue
	t := matchPrinter{b: b, start: len(b), fields: room[:0]}
	for v := range m.Fields() {
		t.fields = append(t.fields, v)
	}
	for _, f := range matchText {
		switch f {
		case EthType:
			t.word()
		case XReg0:
			t.registers()
		case VlanVID:
			t.vlan()
		default:
			t.field(f)
		}
	}
	if !t.typeSaid {
		t.field(EthType)
	}
	for _, f := range matchTextLater {
		if f != IPProto || !t.protoSaid {
			t.field(f)
		}
	}
	for _, v := range t.fields {
		if v.Field.info() == nil {
			t.b = append(v.AppendText(append(append(t.b, v.Field.String()...), '=')), ',')
		}
	}
	if len(t.b) > t.start {
		t.b = t.b[:len(t.b)-1]
	}
	return t.b
}

func (m Match) String() string { return string(m.AppendText(nil)) }

// matchPrinter holds a match while it is printed; a comma follows all it prints.
type matchPrinter struct {
	b                   []byte
	start               int
	fields              []FieldValue
	typeSaid, protoSaid bool // a word stands for dl_type, for nw_proto
}

func (t *matchPrinter) get(f Field) (v FieldValue, ok bool) {
	for _, v := range t.fields {
		if v.Field == f {
			return v, true
		}
	}
	return v, false
}

// word prints what ovs-ofctl abbreviates: "arp", "udp6" …
func (t *matchPrinter) word() {
	v, ok := t.get(EthType)
	if !ok {
		return
	}
	word, six := "", ""
	switch v.Value.Lo {
	case EthTypeIPv4:
		word = "ip"
	case EthTypeIPv6:
		word, six = "ipv6", "6"
	case EthTypeARP:
		word = "arp"
	case EthTypeRARP:
		word = "rarp"
	case 0x8847:
		word = "mpls"
	case 0x8848:
		word = "mplsm"
	default:
		return
	}
	t.typeSaid = true
	if proto, ok := t.get(IPProto); ok && (word == "ip" || six != "") {
		t.protoSaid = true
		switch p := proto.Value.Lo; {
		case p == IPProtoTCP:
			word = "tcp" + six
		case p == IPProtoUDP:
			word = "udp" + six
		case p == IPProtoSCTP:
			word = "sctp" + six
		case p == IPProtoICMP && six == "":
			word = "icmp"
		case p == IPProtoICMPv6 && six != "":
			word = "icmp6"
		default:
			t.protoSaid = false
		}
	}
	t.b = append(append(t.b, word...), ',')
}

// registers prints the XRegs as the registers they consist of.
func (t *matchPrinter) registers() {
	for n := range 16 {
		v, ok := t.get(XReg0 + Field(n/2)<<9)
		shift := 32 * (1 - n%2)
		mask := uint32(v.Mask.Lo >> shift)
		if !ok || mask == 0 {
			continue
		}
		t.b = strconv.AppendInt(append(t.b, "reg"...), int64(n), 10)
		t.b = appendHexNumber(append(t.b, '='), v.Value.Lo>>shift&0xffffffff)
		if mask != 0xffffffff {
			t.b = appendHexNumber(append(t.b, '/'), uint64(mask))
		}
		t.b = append(t.b, ',')
	}
}

// vlan prints vlan_vid and vlan_pcp as the parts of the 802.1Q header they are.
func (t *matchPrinter) vlan() {
	vid, ok := t.get(VlanVID)
	if !ok {
		return
	}
	tci, mask := vid.Value.Lo&0x1fff, vid.Mask.Lo&0x1fff
	if pcp, ok := t.get(VlanPCP); ok {
		tci, mask = tci|pcp.Value.Lo&7<<13, mask|0xe000
	}
	vidMask, pcpMask := mask&0xfff, mask&0xe000
	if tci&mask&VIDPresent != 0 && (vidMask == 0 || vidMask == 0xfff) && vidMask|pcpMask != 0 {
		if vidMask != 0 {
			t.b = append(strconv.AppendUint(append(t.b, "dl_vlan="...), tci&0xfff, 10), ',')
		}
		if pcpMask != 0 {
			t.b = append(strconv.AppendUint(append(t.b, "dl_vlan_pcp="...), tci>>13, 10), ',')
		}
		return
	}
	t.b = appendHex4(append(t.b, "vlan_tci="...), tci)
	if mask != 0xffff {
		t.b = appendHex4(append(t.b, '/'), mask)
	}
	t.b = append(t.b, ',')
}

// appendHex4 appends "0x0800".
func appendHex4(b []byte, v uint64) []byte {
	return append(b, '0', 'x', hexDigits[v>>12&15], hexDigits[v>>8&15], hexDigits[v>>4&15], hexDigits[v&15])
}

// field prints a field that the match has, as ovs-ofctl does in a match: some are
// printed otherwise than in set_field.
func (t *matchPrinter) field(f Field) {
	v, ok := t.get(f)
	if !ok {
		return
	}
	info := f.info()
	if f == PacketType && v.Value.Lo == 0 { // Ethernet, as always
		return
	}
	t.b = append(append(t.b, info.match...), '=')
	switch f {
	case EthType:
		t.b = appendHex4(t.b, v.Value.Lo)
	case PacketType: // namespace and type
		t.b = strconv.AppendUint(append(t.b, '('), v.Value.Lo>>16, 10)
		t.b = append(appendHexNumber(append(t.b, ','), v.Value.Lo&0xffff), ')')
	case IPDSCP:
		t.b = strconv.AppendUint(t.b, v.Value.Lo<<2, 10)
	case IPFrag:
		t.b = append(t.b, fragmentName(v)...)
	case TCPFlags:
		t.b = appendFlags(t.b, v, tcpFlagNames[:], v.Exact())
	case CtState:
		t.b = appendFlags(t.b, v, ctStateNames[:], v.Exact())
	case TunFlags:
		t.b = appendFlags(t.b, v, tunnelFlagNames[:], false)
	case InPort, ActsetOutput:
		t.b = appendPort(t.b, uint32(v.Value.Lo))
	case CtLabel:
		t.b = v.AppendText(t.b)
	case CtZone:
		t.b = strconv.AppendUint(t.b, v.Value.Lo, 10)
	case IPv6Label:
		t.b = appendHex5(t.b, v.Value.Lo)
		if !v.Exact() {
			t.b = appendHex5(append(t.b, '/'), v.Mask.Lo)
		}
	default:
		t.b = t.number(v, info.format)
	}
	t.b = append(t.b, ',')
}

func (t *matchPrinter) number(v FieldValue, f format) []byte {
	switch {
	case f == hexadecimal:
		b := appendHexNumber(t.b, v.Value.Lo)
		if !v.Exact() {
			b = appendHexNumber(append(b, '/'), v.Mask.Lo)
		}
		return b
	case f == decimal && !v.Exact():
		b := strconv.AppendUint(append(t.b, "0x"...), v.Value.Lo, 16)
		return strconv.AppendUint(append(b, "/0x"...), v.Mask.Lo, 16)
	}
	return v.AppendText(t.b)
}

// appendHex5 appends "0x00800".
func appendHex5(b []byte, v uint64) []byte {
	return append(b, '0', 'x', hexDigits[v>>16&15], hexDigits[v>>12&15], hexDigits[v>>8&15], hexDigits[v>>4&15], hexDigits[v&15])
}

// fragmentName is how ovs-ofctl names a match on ip_frag.
func fragmentName(v FieldValue) string {
	switch value := v.Value.Lo & v.Mask.Lo & 3; v.Mask.Lo & 3 {
	case 3:
		return [...]string{"no", "first", "<error>", "later"}[value]
	case 1:
		return [...]string{"no", "yes"}[value]
	default:
		return [...]string{"not_later", "later"}[value>>1]
	}
}
