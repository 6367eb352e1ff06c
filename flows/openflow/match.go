package openflow

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
)

// Match is the fields of a flow's match as OXM TLVs, without the ofp_match header
// (OpenFlow 1.5.1 §7.2.3). "" matches all packets.
//
// A Match that NewMatch made is canonical, that is byte for byte what Open vSwitch
// gives back in a flow dump, so that == tells whether two flows have the same match:
// fields in Open vSwitch's order, no mask that is all ones, no field that is wholly
// masked, registers as the XRegs they are halves of, VlanTCI as VlanVID and VlanPCP.
// A Match read from a message is kept as it came.
type Match string

// placed is a field value at its place in fieldTable.
type placed struct {
	position int
	FieldValue
}

// NewMatch makes a match. It is an error to name a field or register bit twice, to
// leave out a prerequisite ("arp_tpa needs arp or rarp"), to mask a field that takes
// no mask, or to give a value that the field or the mask does not have.
func NewMatch(values ...FieldValue) (Match, error) {
	var room [16]placed
	list := room[:0]
	var err error
	for _, v := range values {
		if list, err = place(list, v); err != nil {
			return "", fmt.Errorf("match: %w", err)
		}
	}
	if err := checkPrerequisites(list); err != nil {
		return "", fmt.Errorf("match: %w", err)
	}
	var wire [256]byte
	b := wire[:0]
	for i := range list {
		b = list[i].appendOXM(b, list[i].FieldValue.masked())
	}
	return Match(b), nil
}

// MustMatch is NewMatch for matches fixed in code: it panics where that errs.
func MustMatch(values ...FieldValue) Match {
	m, err := NewMatch(values...)
	if err != nil {
		panic("openflow: " + err.Error())
	}
	return m
}

// place adds v to list in the form in which it is matched.
func place(list []placed, v FieldValue) ([]placed, error) {
	if err := v.check(); err != nil {
		return list, err
	}
	switch {
	case v.Field == VlanTCI:
		if pcp := v.Mask.Lo >> 13; pcp == 7 {
			var err error
			if list, err = insert(list, VlanPCP.Is(v.Value.Lo>>13)); err != nil {
				return list, err
			}
		} else if pcp != 0 {
			return list, fmt.Errorf("vlan_tci: a mask of 0x%04x cannot be expressed in OpenFlow 1.5: it has a part of the priority", v.Mask.Lo)
		}
		v = VlanVID.Masked(v.Value.Lo&0x1fff, v.Mask.Lo&0x1fff)
	case v.Field >= Reg0 && v.Field <= Reg15 && v.Field.Bytes() == 4:
		whole, shift := v.Field.xreg()
		v = FieldValue{whole, Uint128{Lo: v.Value.Lo << shift}, Uint128{Lo: v.Mask.Lo << shift}}
	case v.Field >= XXReg0 && v.Field <= XXReg3:
		high, low := v.Field.xregs()
		var err error
		if list, err = insert(list, FieldValue{high, Uint128{Lo: v.Value.Hi}, Uint128{Lo: v.Mask.Hi}}); err != nil {
			return list, err
		}
		v = FieldValue{low, Uint128{Lo: v.Value.Lo}, Uint128{Lo: v.Mask.Lo}}
	}
	return insert(list, v)
}

// insert adds v to list at its place, unless it is wholly masked.
func insert(list []placed, v FieldValue) ([]placed, error) {
	position := v.Field.position()
	switch {
	case position < 0:
		return list, fmt.Errorf("%v: unknown field", v.Field)
	case v.Mask.isZero():
		return list, nil
	}
	at := len(list)
	for at > 0 && list[at-1].position >= position {
		at--
	}
	if at < len(list) && list[at].position == position {
		have := &list[at]
		if v.Field < XReg0 || v.Field > XReg7 || !have.Mask.and(v.Mask).isZero() {
			return list, fmt.Errorf("%v: given twice", v.Field)
		}
		have.Value, have.Mask = have.Value.or(v.Value), have.Mask.or(v.Mask)
		return list, nil
	}
	list = append(list, placed{})
	copy(list[at+1:], list[at:])
	list[at] = placed{position, v}
	return list, nil
}

// xreg is the XReg that a register is a half of, and how far left in it.
func (f Field) xreg() (whole Field, shift int) {
	n := f.number()
	return XReg0 + Field(n/2)<<9, 32 * (1 - n%2)
}

// xregs are the XRegs that an XXReg consists of.
func (f Field) xregs() (high, low Field) {
	high = XReg0 + Field(f.number()-XXReg0.number())*2<<9
	return high, high + 1<<9
}

// packet is what a match says of the kind of packet. -1 is "nothing".
type packet struct {
	ethType, ipProto, icmpType int
	tagged                     bool
	noNeighbour                bool // icmpv6_code is something else than 0
	laterFragment              bool // of such, the transport's header is elsewhere
}

var anyPacket = packet{ethType: -1, ipProto: -1, icmpType: -1}

func (p *packet) add(v FieldValue) {
	switch v.Field {
	case EthType:
		p.ethType = int(v.Value.Lo)
	case VlanVID:
		p.tagged = v.Value.Lo&VIDPresent != 0
	case IPProto:
		p.ipProto = int(v.Value.Lo)
	case ICMPv6Type:
		p.icmpType = int(v.Value.Lo)
	case ICMPv6Code:
		p.noNeighbour = v.Value.Lo != 0
	case IPFrag:
		p.laterFragment = v.Value.Lo&fragmentLater != 0
	}
}

// has reports whether the packets are of the kind r asks for.
func (p *packet) has(r prerequisite) bool {
	ip := p.ethType == EthTypeIPv4 || p.ethType == EthTypeIPv6
	icmp6 := p.ethType == EthTypeIPv6 && p.ipProto == IPProtoICMPv6
	nd := icmp6 && !p.noNeighbour
	switch r {
	case always:
		return true
	case vlanTag:
		return p.tagged
	case ipv4Packet:
		return p.ethType == EthTypeIPv4
	case ipv6Packet:
		return p.ethType == EthTypeIPv6
	case ipPacket:
		return ip
	case arpPacket:
		return p.ethType == EthTypeARP || p.ethType == EthTypeRARP
	case tcpPacket:
		return ip && p.ipProto == IPProtoTCP && !p.laterFragment
	case udpPacket:
		return ip && p.ipProto == IPProtoUDP && !p.laterFragment
	case sctpPacket:
		return ip && p.ipProto == IPProtoSCTP && !p.laterFragment
	case icmpv4Packet:
		return p.ethType == EthTypeIPv4 && p.ipProto == IPProtoICMP
	case icmpv6Packet:
		return icmp6
	case neighbour:
		return nd && (p.icmpType == 135 || p.icmpType == 136)
	case solicitation:
		return nd && p.icmpType == 135
	case advertisement:
		return nd && p.icmpType == 136
	}
	return false
}

// needs says in words what has asks for.
var needs = [...]string{
	vlanTag: "a vlan_vid with the tag present", ipv4Packet: "eth_type=0x0800", ipv6Packet: "eth_type=0x86dd",
	ipPacket: "eth_type=0x0800 or 0x86dd", arpPacket: "eth_type=0x0806 or 0x8035", tcpPacket: "ip, nw_proto=6 and no later fragment",
	udpPacket: "ip, nw_proto=17 and no later fragment", sctpPacket: "ip, nw_proto=132 and no later fragment",
	icmpv4Packet: "ip and nw_proto=1", icmpv6Packet: "ipv6 and nw_proto=58",
	neighbour:    "icmp6, icmpv6_type=135 or 136 and no icmpv6_code but 0",
	solicitation: "icmp6, icmpv6_type=135 and no icmpv6_code but 0", advertisement: "icmp6, icmpv6_type=136 and no icmpv6_code but 0",
}

// checkPrerequisites wants list in fieldTable's order: what is needed comes first.
func checkPrerequisites(list []placed) error {
	p := anyPacket
	for i := range list {
		if r := fieldTable[list[i].position].requires; !p.has(r) {
			return fmt.Errorf("%v needs %s", list[i].Field, needs[r])
		}
		p.add(list[i].FieldValue)
	}
	return nil
}

// masked reports whether the value has a mask on the wire.
func (v *FieldValue) masked() bool {
	if info := v.Field.info(); info != nil && info.mask == maskAlways {
		return true
	}
	return !v.Exact()
}

// appendHeader appends the field's OXM header for a value with or without a mask.
func (f Field) appendHeader(b []byte, masked bool) []byte {
	n, hasMask := f.Bytes(), byte(0)
	if masked {
		n, hasMask = 2*n, 1
	}
	if f>>48<<48 != classExperimenter {
		return append(b, byte(f>>56), byte(f>>48), byte(f>>8)|hasMask, byte(n))
	}
	b = append(b, byte(f>>56), byte(f>>48), byte(f>>8)|hasMask, byte(n+4))
	return binary.BigEndian.AppendUint32(b, uint32(f>>16))
}

// appendOXM appends the value as an OXM TLV.
func (v *FieldValue) appendOXM(b []byte, masked bool) []byte {
	b = v.Field.appendHeader(b, masked)
	b = v.Value.appendBig(b, v.Field.Bytes())
	if masked {
		b = v.Mask.appendBig(b, v.Field.Bytes())
	}
	return b
}

// oxm is one OXM TLV as it stands on the wire.
type oxm struct {
	field       Field
	masked      bool
	value, mask string // mask is "" unless masked
}

// nextOXM takes the first TLV off s.
func nextOXM(s string) (o oxm, rest string, err error) {
	f, masked, head, n, err := oxmHeader(s)
	if err != nil {
		return oxm{}, "", err
	}
	if head+n > len(s) {
		return oxm{}, "", errShort(f.String(), len(s), head+n)
	}
	o = oxm{field: f, masked: masked, value: s[head : head+f.Bytes()], mask: s[head+f.Bytes() : head+n]}
	return o, s[head+n:], nil
}

// oxmHeader reads an OXM header: the field, whether it is masked, the header's
// length and that of what follows, value and mask.
func oxmHeader[B string | []byte](s B) (f Field, masked bool, head, n int, err error) {
	if len(s) < 4 {
		return 0, false, 0, 0, errShort("oxm header", len(s), 4)
	}
	head, n = 4, int(s[3])
	f = Field(s[0])<<56 | Field(s[1])<<48 | Field(s[2]&^1)<<8
	masked = s[2]&1 != 0
	if f>>48<<48 == classExperimenter {
		if n < 4 || len(s) < 8 {
			return 0, false, 0, 0, errShort("oxm experimenter header", min(n+4, len(s)), 8)
		}
		f |= Field(s[4])<<40 | Field(s[5])<<32 | Field(s[6])<<24 | Field(s[7])<<16
		head, n = 8, n-4
	}
	length := n
	if masked {
		if n%2 != 0 {
			return 0, false, 0, 0, fmt.Errorf("openflow: %v: a value and mask of %d bytes", f, n)
		}
		length = n / 2
	}
	return f | Field(length), masked, head, n, nil
}

// fieldValue is the TLV's meaning. Of a value longer than 16 bytes (tunnel options)
// it has the last 16.
func (o oxm) fieldValue() FieldValue {
	v := FieldValue{Field: o.field, Value: bigString(o.value), Mask: o.field.fullMask()}
	if o.masked {
		v.Mask = bigString(o.mask)
	}
	return v
}

func bigString(s string) (u Uint128) {
	for i := range len(s) {
		u.Hi = u.Hi<<8 | u.Lo>>56
		u.Lo = u.Lo<<8 | uint64(s[i])
	}
	return u
}

// Fields yields the match's fields in order. Registers come as XRegs, see Match.
func (m Match) Fields() iter.Seq[FieldValue] {
	return func(yield func(FieldValue) bool) {
		for s := string(m); s != ""; {
			o, rest, err := nextOXM(s)
			if err != nil || !yield(o.fieldValue()) {
				return
			}
			s = rest
		}
	}
}

// Get returns what the match says of f; ok is false if nothing. A register is found
// in the XReg it is a part of.
func (m Match) Get(f Field) (v FieldValue, ok bool) {
	whole, shift, mask := f, 0, f.fullMask()
	switch {
	case f >= Reg0 && f <= Reg15 && f.Bytes() == 4:
		whole, shift = f.xreg()
	case f >= XXReg0 && f <= XXReg3:
		high, low := f.xregs()
		hi, okHi := m.Get(high)
		lo, okLo := m.Get(low)
		return FieldValue{f, Uint128{hi.Value.Lo, lo.Value.Lo}, Uint128{hi.Mask.Lo, lo.Mask.Lo}}, okHi || okLo
	}
	for v := range m.Fields() {
		if v.Field == whole {
			if shift != 0 {
				v.Value.Lo, v.Mask.Lo = v.Value.Lo>>shift, v.Mask.Lo>>shift
			}
			v = FieldValue{f, v.Value.and(mask), v.Mask.and(mask)}
			return v, !v.Mask.isZero()
		}
	}
	return FieldValue{}, false
}

// appendMatch appends the ofp_match of OpenFlow 1.5.1 §7.2.3.1: header, TLVs, padding.
func appendMatch(b []byte, m Match) []byte {
	n := 4 + len(m)
	b = append(b, 0, 1, byte(n>>8), byte(n))
	b = append(b, m...)
	return pad(b, align8(n))
}

// parseMatch reads an ofp_match at the start of s and returns what follows its padding.
func parseMatch(s string) (m Match, rest string, err error) {
	if len(s) < 4 {
		return "", "", errShort("match", len(s), 4)
	}
	typ, n := int(s[0])<<8|int(s[1]), int(s[2])<<8|int(s[3])
	padded := n + align8(n)
	switch {
	case typ != 1:
		return "", "", fmt.Errorf("openflow: match: type %d is not OXM", typ)
	case n < 4 || padded > len(s):
		return "", "", fmt.Errorf("openflow: match: length %d, %d bytes are left", n, len(s))
	case strings.Trim(s[n:padded], "\x00") != "":
		return "", "", fmt.Errorf("openflow: match: padding is not zero")
	}
	m = Match(s[4:n])
	return m, s[padded:], m.check()
}

// check says whether the TLVs are well formed.
func (m Match) check() error {
	for s := string(m); s != ""; {
		_, rest, err := nextOXM(s)
		if err != nil {
			return fmt.Errorf("match: %w", err)
		}
		s = rest
	}
	return nil
}

// The values below are the prerequisites that ovs-ofctl abbreviates to a word; use
// them as NewMatch(append(UDP(), UDPDst.Is(67))...).

// ARP is "arp" in ovs-ofctl.
func ARP() []FieldValue { return []FieldValue{EthType.Is(EthTypeARP)} }

// RARP is "rarp" in ovs-ofctl.
func RARP() []FieldValue { return []FieldValue{EthType.Is(EthTypeRARP)} }

// IPv4 is "ip" in ovs-ofctl.
func IPv4() []FieldValue { return []FieldValue{EthType.Is(EthTypeIPv4)} }

// IPv6 is "ipv6" in ovs-ofctl.
func IPv6() []FieldValue { return []FieldValue{EthType.Is(EthTypeIPv6)} }

// ICMP is "icmp" in ovs-ofctl.
func ICMP() []FieldValue { return transport(EthTypeIPv4, IPProtoICMP) }

// ICMP6 is "icmp6" in ovs-ofctl.
func ICMP6() []FieldValue { return transport(EthTypeIPv6, IPProtoICMPv6) }

// TCP is "tcp" in ovs-ofctl.
func TCP() []FieldValue { return transport(EthTypeIPv4, IPProtoTCP) }

// TCP6 is "tcp6" in ovs-ofctl.
func TCP6() []FieldValue { return transport(EthTypeIPv6, IPProtoTCP) }

// UDP is "udp" in ovs-ofctl.
func UDP() []FieldValue { return transport(EthTypeIPv4, IPProtoUDP) }

// UDP6 is "udp6" in ovs-ofctl.
func UDP6() []FieldValue { return transport(EthTypeIPv6, IPProtoUDP) }

func transport(ethType, ipProto uint64) []FieldValue {
	return []FieldValue{EthType.Is(ethType), IPProto.Is(ipProto)}
}
