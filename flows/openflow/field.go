package openflow

import (
	"fmt"
	"strconv"
)

// A Field names a packet or metadata field by its OXM header (OpenFlow 1.5.1
// §7.2.3.2): class in bits 48-63, number in bits 9-15, length of a value in bytes
// in bits 0-7. The experimenter id, where the class is 0xffff, is in bits 16-47.
// The has-mask bit (8) is always zero.
//
// A Field not declared here can still come out of a dump; it keeps its bytes.
type Field uint64

// OXM classes.
const (
	classNXM0         Field = 0x0000 << 48
	classNXM1         Field = 0x0001 << 48
	classEricsson     Field = 0x1000 << 48
	classBasic        Field = 0x8000 << 48
	classRegisters    Field = 0x8001 << 48
	classExperimenter Field = 0xffff << 48
)

// The fields, named as OpenFlow names them; Open vSwitch's extensions as
// ovs-fields(7) does.
const (
	InPort        = classBasic | 0<<9 | 4
	Metadata      = classBasic | 2<<9 | 8
	EthDst        = classBasic | 3<<9 | 6
	EthSrc        = classBasic | 4<<9 | 6
	EthType       = classBasic | 5<<9 | 2
	VlanVID       = classBasic | 6<<9 | 2 // with VIDPresent: 0x1000|vid; 0 is "no tag"
	VlanPCP       = classBasic | 7<<9 | 1
	IPDSCP        = classBasic | 8<<9 | 1
	IPECN         = classBasic | 9<<9 | 1
	IPProto       = classBasic | 10<<9 | 1
	IPv4Src       = classBasic | 11<<9 | 4
	IPv4Dst       = classBasic | 12<<9 | 4
	TCPSrc        = classBasic | 13<<9 | 2
	TCPDst        = classBasic | 14<<9 | 2
	UDPSrc        = classBasic | 15<<9 | 2
	UDPDst        = classBasic | 16<<9 | 2
	SCTPSrc       = classBasic | 17<<9 | 2
	SCTPDst       = classBasic | 18<<9 | 2
	ICMPv4Type    = classBasic | 19<<9 | 1
	ICMPv4Code    = classBasic | 20<<9 | 1
	ARPOp         = classBasic | 21<<9 | 2
	ARPSpa        = classBasic | 22<<9 | 4
	ARPTpa        = classBasic | 23<<9 | 4
	ARPSha        = classBasic | 24<<9 | 6
	ARPTha        = classBasic | 25<<9 | 6
	IPv6Src       = classBasic | 26<<9 | 16
	IPv6Dst       = classBasic | 27<<9 | 16
	IPv6Label     = classBasic | 28<<9 | 4
	ICMPv6Type    = classBasic | 29<<9 | 1
	ICMPv6Code    = classBasic | 30<<9 | 1
	NDTarget      = classBasic | 31<<9 | 16
	NDSll         = classBasic | 32<<9 | 6
	NDTll         = classBasic | 33<<9 | 6
	TunID         = classBasic | 38<<9 | 8
	TCPFlags      = classBasic | 42<<9 | 2
	ActsetOutput  = classBasic | 43<<9 | 4
	PacketType    = classBasic | 44<<9 | 4
	VlanTCI       = classNXM0 | 4<<9 | 2 // matched as VlanVID and VlanPCP
	IPFrag        = classNXM1 | 26<<9 | 1
	IPTTL         = classNXM1 | 29<<9 | 1
	TunSrc        = classNXM1 | 31<<9 | 4
	TunDst        = classNXM1 | 32<<9 | 4
	PktMark       = classNXM1 | 33<<9 | 4
	ConjID        = classNXM1 | 37<<9 | 4
	TunFlags      = classNXM1 | 104<<9 | 2
	CtState       = classNXM1 | 105<<9 | 4
	CtZone        = classNXM1 | 106<<9 | 2
	CtMark        = classNXM1 | 107<<9 | 4
	CtLabel       = classNXM1 | 108<<9 | 16
	TunIPv6Src    = classNXM1 | 109<<9 | 16
	TunIPv6Dst    = classNXM1 | 110<<9 | 16
	NDReserved    = classEricsson | 1<<9 | 4
	NDOptionsType = classEricsson | 2<<9 | 1
)

// The registers. XRegN is Reg2N (high half) and Reg2N+1, XXRegN is Reg4N to
// Reg4N+3. Open vSwitch matches them as XRegs in OpenFlow 1.5, and so does Match.
const (
	Reg0   = classNXM1 | 0<<9 | 4
	Reg1   = classNXM1 | 1<<9 | 4
	Reg2   = classNXM1 | 2<<9 | 4
	Reg3   = classNXM1 | 3<<9 | 4
	Reg4   = classNXM1 | 4<<9 | 4
	Reg5   = classNXM1 | 5<<9 | 4
	Reg6   = classNXM1 | 6<<9 | 4
	Reg7   = classNXM1 | 7<<9 | 4
	Reg8   = classNXM1 | 8<<9 | 4
	Reg9   = classNXM1 | 9<<9 | 4
	Reg10  = classNXM1 | 10<<9 | 4
	Reg11  = classNXM1 | 11<<9 | 4
	Reg12  = classNXM1 | 12<<9 | 4
	Reg13  = classNXM1 | 13<<9 | 4
	Reg14  = classNXM1 | 14<<9 | 4
	Reg15  = classNXM1 | 15<<9 | 4
	XReg0  = classRegisters | 0<<9 | 8
	XReg1  = classRegisters | 1<<9 | 8
	XReg2  = classRegisters | 2<<9 | 8
	XReg3  = classRegisters | 3<<9 | 8
	XReg4  = classRegisters | 4<<9 | 8
	XReg5  = classRegisters | 5<<9 | 8
	XReg6  = classRegisters | 6<<9 | 8
	XReg7  = classRegisters | 7<<9 | 8
	XXReg0 = classNXM1 | 111<<9 | 16
	XXReg1 = classNXM1 | 112<<9 | 16
	XXReg2 = classNXM1 | 113<<9 | 16
	XXReg3 = classNXM1 | 114<<9 | 16
)

// Values with a meaning of their own.
const (
	VIDPresent = 0x1000 // in VlanVID: there is a tag

	fragmentLater = 2 // in IPFrag: not the first; 1 is any fragment

	EthTypeIPv4 = 0x0800
	EthTypeARP  = 0x0806
	EthTypeRARP = 0x8035
	EthTypeVLAN = 0x8100
	EthTypeIPv6 = 0x86dd

	IPProtoICMP   = 1
	IPProtoTCP    = 6
	IPProtoUDP    = 17
	IPProtoICMPv6 = 58
	IPProtoSCTP   = 132
)

// format is how ovs-ofctl prints a field's value.
type format uint8

const (
	decimal format = iota
	hexadecimal
	ethernet
	ipv4
	ipv6
	port
	fragment
	tunnelFlags
	tcpFlags
	ctState
)

// A prerequisite is what a match must also contain for a field to exist in the packet.
type prerequisite uint8

const (
	always prerequisite = iota
	vlanTag
	ipv4Packet
	ipv6Packet
	ipPacket // IPv4 or IPv6
	arpPacket
	tcpPacket
	udpPacket
	sctpPacket
	icmpv4Packet
	icmpv6Packet
	neighbour // solicitation or advertisement
	solicitation
	advertisement
)

// A fieldInfo is all the package knows of a field.
type fieldInfo struct {
	field    Field
	bits     uint8  // significant bits of the value
	mask     uint8  // one of the three below
	name     string // as in set_field and ovs-fields(7)
	nxm      string // as in move, output
	match    string // as in a match
	format   format
	requires prerequisite
	readOnly bool // not a destination; of conntrack's fields: not outside ct(exec(…))
}

const (
	exact      uint8 = iota // never a mask
	maskable                // a mask on the wire unless it is all ones
	maskAlways              // a mask on the wire always
)

// fieldTable is in the order in which Open vSwitch puts the fields of a match on
// the wire: two matches for the same packets are then the same bytes. Prerequisites
// come before what needs them. Fields after the first blank line never stand in a
// match; NewMatch turns them into those that do.
var fieldTable = [...]fieldInfo{
	{PacketType, 32, exact, "packet_type", "OXM_OF_PACKET_TYPE", "packet_type", hexadecimal, always, true},
	{ConjID, 32, exact, "conj_id", "NXM_NX_CONJ_ID", "conj_id", decimal, always, true},
	{InPort, 32, exact, "in_port", "OXM_OF_IN_PORT", "in_port", port, always, true},
	{ActsetOutput, 32, exact, "actset_output", "ONFOXM_ET_ACTSET_OUTPUT", "actset_output", port, always, true},
	{EthSrc, 48, maskable, "eth_src", "NXM_OF_ETH_SRC", "dl_src", ethernet, always, false},
	{EthDst, 48, maskable, "eth_dst", "NXM_OF_ETH_DST", "dl_dst", ethernet, always, false},
	{EthType, 16, exact, "eth_type", "NXM_OF_ETH_TYPE", "dl_type", hexadecimal, always, true},
	{VlanVID, 12, maskable, "vlan_vid", "OXM_OF_VLAN_VID", "vlan_vid", decimal, always, false},
	{VlanPCP, 3, exact, "vlan_pcp", "OXM_OF_VLAN_PCP", "dl_vlan_pcp", decimal, vlanTag, false},
	{IPv4Src, 32, maskable, "ip_src", "NXM_OF_IP_SRC", "nw_src", ipv4, ipv4Packet, false},
	{IPv4Dst, 32, maskable, "ip_dst", "NXM_OF_IP_DST", "nw_dst", ipv4, ipv4Packet, false},
	{IPv6Src, 128, maskable, "ipv6_src", "NXM_NX_IPV6_SRC", "ipv6_src", ipv6, ipv6Packet, false},
	{IPv6Dst, 128, maskable, "ipv6_dst", "NXM_NX_IPV6_DST", "ipv6_dst", ipv6, ipv6Packet, false},
	{IPFrag, 2, maskable, "ip_frag", "NXM_NX_IP_FRAG", "nw_frag", fragment, ipPacket, true},
	{IPDSCP, 6, exact, "ip_dscp", "OXM_OF_IP_DSCP", "nw_tos", decimal, ipPacket, false},
	{IPECN, 2, exact, "nw_ecn", "NXM_NX_IP_ECN", "nw_ecn", decimal, ipPacket, false},
	{IPTTL, 8, exact, "nw_ttl", "NXM_NX_IP_TTL", "nw_ttl", decimal, ipPacket, false},
	{IPv6Label, 20, maskable, "ipv6_label", "NXM_NX_IPV6_LABEL", "ipv6_label", hexadecimal, ipv6Packet, false},
	{IPProto, 8, exact, "nw_proto", "NXM_OF_IP_PROTO", "nw_proto", decimal, ipPacket, true},
	{TCPSrc, 16, maskable, "tcp_src", "NXM_OF_TCP_SRC", "tp_src", decimal, tcpPacket, false},
	{TCPDst, 16, maskable, "tcp_dst", "NXM_OF_TCP_DST", "tp_dst", decimal, tcpPacket, false},
	{TCPFlags, 12, maskable, "tcp_flags", "NXM_NX_TCP_FLAGS", "tcp_flags", tcpFlags, tcpPacket, true},
	{UDPSrc, 16, maskable, "udp_src", "NXM_OF_UDP_SRC", "tp_src", decimal, udpPacket, false},
	{UDPDst, 16, maskable, "udp_dst", "NXM_OF_UDP_DST", "tp_dst", decimal, udpPacket, false},
	{SCTPSrc, 16, maskable, "sctp_src", "OXM_OF_SCTP_SRC", "tp_src", decimal, sctpPacket, false},
	{SCTPDst, 16, maskable, "sctp_dst", "OXM_OF_SCTP_DST", "tp_dst", decimal, sctpPacket, false},
	{ICMPv4Type, 8, exact, "icmp_type", "NXM_OF_ICMP_TYPE", "icmp_type", decimal, icmpv4Packet, false},
	{ICMPv4Code, 8, exact, "icmp_code", "NXM_OF_ICMP_CODE", "icmp_code", decimal, icmpv4Packet, false},
	{ICMPv6Type, 8, exact, "icmpv6_type", "NXM_NX_ICMPV6_TYPE", "icmp_type", decimal, icmpv6Packet, false},
	{ICMPv6Code, 8, exact, "icmpv6_code", "NXM_NX_ICMPV6_CODE", "icmp_code", decimal, icmpv6Packet, false},
	{NDReserved, 32, exact, "nd_reserved", "ERICOXM_OF_ICMPV6_ND_RESERVED", "nd_reserved", decimal, neighbour, false},
	{NDTarget, 128, maskable, "nd_target", "NXM_NX_ND_TARGET", "nd_target", ipv6, neighbour, false},
	{NDOptionsType, 8, exact, "nd_options_type", "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", "nd_options_type", decimal, neighbour, false},
	{NDSll, 48, maskable, "nd_sll", "NXM_NX_ND_SLL", "nd_sll", ethernet, solicitation, false},
	{NDTll, 48, maskable, "nd_tll", "NXM_NX_ND_TLL", "nd_tll", ethernet, advertisement, false},
	{ARPOp, 16, exact, "arp_op", "NXM_OF_ARP_OP", "arp_op", decimal, arpPacket, false},
	{ARPSpa, 32, maskable, "arp_spa", "NXM_OF_ARP_SPA", "arp_spa", ipv4, arpPacket, false},
	{ARPTpa, 32, maskable, "arp_tpa", "NXM_OF_ARP_TPA", "arp_tpa", ipv4, arpPacket, false},
	{ARPSha, 48, maskable, "arp_sha", "NXM_NX_ARP_SHA", "arp_sha", ethernet, arpPacket, false},
	{ARPTha, 48, maskable, "arp_tha", "NXM_NX_ARP_THA", "arp_tha", ethernet, arpPacket, false},
	{TunID, 64, maskable, "tun_id", "NXM_NX_TUN_ID", "tun_id", hexadecimal, always, false},
	{TunFlags, 1, maskAlways, "tun_flags", "NXM_NX_TUN_FLAGS", "tun_flags", tunnelFlags, always, false},
	{TunSrc, 32, maskable, "tun_src", "NXM_NX_TUN_IPV4_SRC", "tun_src", ipv4, always, false},
	{TunDst, 32, maskable, "tun_dst", "NXM_NX_TUN_IPV4_DST", "tun_dst", ipv4, always, false},
	{TunIPv6Src, 128, maskable, "tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC", "tun_ipv6_src", ipv6, always, false},
	{TunIPv6Dst, 128, maskable, "tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST", "tun_ipv6_dst", ipv6, always, false},
	{XReg0, 64, maskable, "xreg0", "OXM_OF_PKT_REG0", "xreg0", hexadecimal, always, false},
	{XReg1, 64, maskable, "xreg1", "OXM_OF_PKT_REG1", "xreg1", hexadecimal, always, false},
	{XReg2, 64, maskable, "xreg2", "OXM_OF_PKT_REG2", "xreg2", hexadecimal, always, false},
	{XReg3, 64, maskable, "xreg3", "OXM_OF_PKT_REG3", "xreg3", hexadecimal, always, false},
	{XReg4, 64, maskable, "xreg4", "OXM_OF_PKT_REG4", "xreg4", hexadecimal, always, false},
	{XReg5, 64, maskable, "xreg5", "OXM_OF_PKT_REG5", "xreg5", hexadecimal, always, false},
	{XReg6, 64, maskable, "xreg6", "OXM_OF_PKT_REG6", "xreg6", hexadecimal, always, false},
	{XReg7, 64, maskable, "xreg7", "OXM_OF_PKT_REG7", "xreg7", hexadecimal, always, false},
	{PktMark, 32, maskable, "pkt_mark", "NXM_NX_PKT_MARK", "pkt_mark", hexadecimal, always, false},
	{CtState, 8, maskAlways, "ct_state", "NXM_NX_CT_STATE", "ct_state", ctState, always, true},
	{CtZone, 16, exact, "ct_zone", "NXM_NX_CT_ZONE", "ct_zone", hexadecimal, always, true},
	{CtMark, 32, maskable, "ct_mark", "NXM_NX_CT_MARK", "ct_mark", hexadecimal, always, true},
	{CtLabel, 128, maskable, "ct_label", "NXM_NX_CT_LABEL", "ct_label", hexadecimal, always, true},
	{Metadata, 64, maskable, "metadata", "OXM_OF_METADATA", "metadata", hexadecimal, always, false},

	{VlanTCI, 16, maskable, "vlan_tci", "NXM_OF_VLAN_TCI", "vlan_tci", hexadecimal, always, false},
	{Reg0, 32, maskable, "reg0", "NXM_NX_REG0", "reg0", hexadecimal, always, false},
	{Reg1, 32, maskable, "reg1", "NXM_NX_REG1", "reg1", hexadecimal, always, false},
	{Reg2, 32, maskable, "reg2", "NXM_NX_REG2", "reg2", hexadecimal, always, false},
	{Reg3, 32, maskable, "reg3", "NXM_NX_REG3", "reg3", hexadecimal, always, false},
	{Reg4, 32, maskable, "reg4", "NXM_NX_REG4", "reg4", hexadecimal, always, false},
	{Reg5, 32, maskable, "reg5", "NXM_NX_REG5", "reg5", hexadecimal, always, false},
	{Reg6, 32, maskable, "reg6", "NXM_NX_REG6", "reg6", hexadecimal, always, false},
	{Reg7, 32, maskable, "reg7", "NXM_NX_REG7", "reg7", hexadecimal, always, false},
	{Reg8, 32, maskable, "reg8", "NXM_NX_REG8", "reg8", hexadecimal, always, false},
	{Reg9, 32, maskable, "reg9", "NXM_NX_REG9", "reg9", hexadecimal, always, false},
	{Reg10, 32, maskable, "reg10", "NXM_NX_REG10", "reg10", hexadecimal, always, false},
	{Reg11, 32, maskable, "reg11", "NXM_NX_REG11", "reg11", hexadecimal, always, false},
	{Reg12, 32, maskable, "reg12", "NXM_NX_REG12", "reg12", hexadecimal, always, false},
	{Reg13, 32, maskable, "reg13", "NXM_NX_REG13", "reg13", hexadecimal, always, false},
	{Reg14, 32, maskable, "reg14", "NXM_NX_REG14", "reg14", hexadecimal, always, false},
	{Reg15, 32, maskable, "reg15", "NXM_NX_REG15", "reg15", hexadecimal, always, false},
	{XXReg0, 128, maskable, "xxreg0", "NXM_NX_XXREG0", "xxreg0", hexadecimal, always, false},
	{XXReg1, 128, maskable, "xxreg1", "NXM_NX_XXREG1", "xxreg1", hexadecimal, always, false},
	{XXReg2, 128, maskable, "xxreg2", "NXM_NX_XXREG2", "xxreg2", hexadecimal, always, false},
	{XXReg3, 128, maskable, "xxreg3", "NXM_NX_XXREG3", "xxreg3", hexadecimal, always, false},
}

// fieldIndex finds a field's place in fieldTable, plus one, by class and number.
var fieldIndex = func() (index [6][128]uint8) {
	for i, info := range fieldTable {
		index[info.field.classIndex()][info.field.number()] = uint8(i + 1)
	}
	return index
}()

// classIndex numbers the classes of fieldTable; 5 is any other.
func (f Field) classIndex() int {
	switch f >> 48 << 48 {
	case classNXM0:
		return 0
	case classNXM1:
		return 1
	case classBasic:
		return 2
	case classRegisters:
		return 3
	case classEricsson:
		return 4
	}
	return 5
}

func (f Field) number() int { return int(f >> 9 & 0x7f) }

// position is the field's place in fieldTable, or -1.
func (f Field) position() int {
	i := int(fieldIndex[f.classIndex()][f.number()]) - 1
	if i >= 0 && fieldTable[i].field != f {
		return -1
	}
	return i
}

// info returns what is known of f, or nil.
func (f Field) info() *fieldInfo {
	if i := f.position(); i >= 0 {
		return &fieldTable[i]
	}
	return nil
}

// Bytes returns the length of a value on the wire.
func (f Field) Bytes() int { return int(f & 0xff) }

// Width returns the number of significant bits of a value.
func (f Field) Width() int {
	if info := f.info(); info != nil {
		return int(info.bits)
	}
	return 8 * f.Bytes()
}

// String returns the field's name as in ovs-fields(7), "reg6" or "eth_dst".
func (f Field) String() string {
	if info := f.info(); info != nil {
		return info.name
	}
	if f>>48<<48 == classExperimenter {
		return fmt.Sprintf("oxm_experimenter_%#x_%d", uint32(f>>16), f>>9&0x7f)
	}
	return fmt.Sprintf("oxm_%#04x_%d", uint16(f>>48), f>>9&0x7f)
}

// fullMask is the mask under which all of a value counts. The VID's includes
// VIDPresent, which is no bit of the VID to Open vSwitch's eyes.
func (f Field) fullMask() Uint128 {
	if f == VlanVID {
		return Uint128{Lo: 0x1fff}
	}
	return ones(f.Width())
}

// Is is the field with exactly the value v.
func (f Field) Is(v uint64) FieldValue { return FieldValue{f, Uint128{Lo: v}, f.fullMask()} }

// Masked is the field with the value v in the bits of mask, whatever the others.
func (f Field) Masked(v, mask uint64) FieldValue {
	return FieldValue{f, Uint128{Lo: v}, Uint128{Lo: mask}}
}

// Wide is Masked for fields of more than 64 bits.
func (f Field) Wide(v, mask Uint128) FieldValue { return FieldValue{f, v, mask} }

// A Subfield is some adjacent bits of a field, the operand of Move and OutputReg.
type Subfield struct {
	Field  Field
	Offset int // of the lowest bit, 0 is the field's least significant one
	Width  int // in bits
}

// Bits is the bits lo to hi, both included, counted from the least significant one,
// written "field[lo..hi]" in ovs-ofctl.
func (f Field) Bits(lo, hi int) Subfield { return Subfield{f, lo, hi - lo + 1} }

// All is all the field's bits, "field[]".
func (f Field) All() Subfield { return Subfield{f, 0, f.Width()} }

// check says whether the subfield lies in its field.
func (s Subfield) check() error {
	if s.Width < 1 || s.Offset < 0 || s.Offset+s.Width > s.Field.Width() {
		return fmt.Errorf("%v[%d..%d] is not in the field's %d bits", s.Field, s.Offset, s.Offset+s.Width-1, s.Field.Width())
	}
	return nil
}

// AppendText appends the subfield as ovs-ofctl writes it: "NXM_NX_REG6[0..11]".
func (s Subfield) AppendText(b []byte) []byte {
	if info := s.Field.info(); info != nil {
		b = append(b, info.nxm...)
	} else {
		b = append(b, s.Field.String()...)
	}
	b = append(b, '[')
	switch {
	case s.Offset == 0 && s.Width == s.Field.Width():
	case s.Width == 1:
		b = strconv.AppendInt(b, int64(s.Offset), 10)
	default:
		b = strconv.AppendInt(b, int64(s.Offset), 10)
		b = append(b, ".."...)
		b = strconv.AppendInt(b, int64(s.Offset+s.Width-1), 10)
	}
	return append(b, ']')
}

func (s Subfield) String() string { return string(s.AppendText(nil)) }
