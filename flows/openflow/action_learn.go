package openflow

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Learn adds a flow to a table, made from the packet, or changes the one with the same
// match (NXAST_LEARN; NXAST_LEARN2 with a Limit). ovs-actions(7), "The learn action".
//
// Loads of constants and outputs in the learnt flow are not covered; a dump that has
// them yields a RawAction.
type Learn struct {
	Table       uint8
	Priority    uint16
	IdleTimeout uint16 // seconds; 0 is none, here and below
	HardTimeout uint16 // seconds
	Cookie      uint64
	// Limit is how many flows with the Cookie the table may hold before no more are
	// learnt; 0 is any number.
	Limit uint32
	// DeleteLearned deletes the table's flows with the Cookie as soon as no flow is left
	// with a Learn for that Table and Cookie.
	DeleteLearned bool
	Specs         []LearnSpec
}

// A LearnSpec is a part of the learnt flow. Src is read when the packet passes.
type LearnSpec struct {
	Kind LearnKind
	Dst  Subfield
	Src  Subfield // as wide as Dst
}

// LearnKind is what a LearnSpec puts into the learnt flow.
type LearnKind uint16

const (
	LearnMatch LearnKind = 0 << 11 // a match: Dst is what Src is now
	LearnLoad  LearnKind = 1 << 11 // an action: what Src is now goes into Dst
)

// Parts of a Learn on the wire. A spec begins with its kind and the width in bits, 16
// bits together; its source is then a header and an offset, as is its destination.
const (
	learnWidth         = 0x7ff
	learnDeleteLearned = 2
	learnLen           = 32
	learn2Len          = 40
)

func (a Learn) check() error {
	for i, s := range a.Specs {
		if err := s.check(); err != nil {
			return fmt.Errorf("learn: spec %d: %w", i+1, err)
		}
	}
	return nil
}

func (s LearnSpec) check() error {
	if s.Kind != LearnMatch && s.Kind != LearnLoad {
		return fmt.Errorf("%#x is no kind", uint16(s.Kind))
	}
	return Move{s.Src, s.Dst}.check()
}

func (a Learn) appendTo(b []byte) []byte {
	start, subtype, flags := len(b), uint16(niciraLearn), byte(0)
	if a.Limit != 0 {
		subtype = niciraLearn2
	}
	if a.DeleteLearned {
		flags = learnDeleteLearned
	}
	b = appendNicira(b, 0, subtype)
	b = binary.BigEndian.AppendUint16(b, a.IdleTimeout)
	b = binary.BigEndian.AppendUint16(b, a.HardTimeout)
	b = binary.BigEndian.AppendUint16(b, a.Priority)
	b = binary.BigEndian.AppendUint64(b, a.Cookie)
	b = append(b, 0, flags, a.Table, 0, 0, 0, 0, 0) // no timeouts for a TCP connection that ends
	if a.Limit != 0 {
		b = binary.BigEndian.AppendUint32(b, a.Limit)
		b = pad(b, 4)
	}
	for _, s := range a.Specs {
		b = binary.BigEndian.AppendUint16(b, uint16(s.Kind)|uint16(s.Dst.Width))
		b = s.Src.appendTo(b)
		b = s.Dst.appendTo(b)
	}
	return setActionLen(b, start)
}

// nxm are the headers that fields had in the Nicira Extended Match. In a Learn Open
// vSwitch goes on writing them.
var nxm = [...]struct{ field, header Field }{
	{EthDst, classNXM0 | 1<<9 | 6}, {EthSrc, classNXM0 | 2<<9 | 6}, {EthType, classNXM0 | 3<<9 | 2}, {IPProto, classNXM0 | 6<<9 | 1},
	{IPv4Src, classNXM0 | 7<<9 | 4}, {IPv4Dst, classNXM0 | 8<<9 | 4}, {TCPSrc, classNXM0 | 9<<9 | 2}, {TCPDst, classNXM0 | 10<<9 | 2},
	{UDPSrc, classNXM0 | 11<<9 | 2}, {UDPDst, classNXM0 | 12<<9 | 2}, {ICMPv4Type, classNXM0 | 13<<9 | 1}, {ICMPv4Code, classNXM0 | 14<<9 | 1},
	{ARPOp, classNXM0 | 15<<9 | 2}, {ARPSpa, classNXM0 | 16<<9 | 4}, {ARPTpa, classNXM0 | 17<<9 | 4}, {TunID, classNXM1 | 16<<9 | 8},
	{ARPSha, classNXM1 | 17<<9 | 6}, {ARPTha, classNXM1 | 18<<9 | 6}, {IPv6Src, classNXM1 | 19<<9 | 16}, {IPv6Dst, classNXM1 | 20<<9 | 16},
	{ICMPv6Type, classNXM1 | 21<<9 | 1}, {ICMPv6Code, classNXM1 | 22<<9 | 1}, {NDTarget, classNXM1 | 23<<9 | 16}, {NDSll, classNXM1 | 24<<9 | 6},
	{NDTll, classNXM1 | 25<<9 | 6}, {IPv6Label, classNXM1 | 27<<9 | 4}, {IPECN, classNXM1 | 28<<9 | 1}, {TCPFlags, classNXM1 | 34<<9 | 2},
}

// appendTo appends the field's header and the lowest bit's number.
func (s Subfield) appendTo(b []byte) []byte {
	header := s.Field
	for i := range nxm {
		if nxm[i].field == s.Field {
			header = nxm[i].header
		}
	}
	return binary.BigEndian.AppendUint16(header.appendHeader(b, false), uint16(s.Offset))
}

func decodeLearn(subtype uint16, b []byte) (Action, bool) {
	n := learnLen
	if subtype == niciraLearn2 {
		n = learn2Len
	}
	if len(b) < n {
		return nil, false
	}
	a := Learn{
		IdleTimeout: binary.BigEndian.Uint16(b[10:]), HardTimeout: binary.BigEndian.Uint16(b[12:]), Priority: binary.BigEndian.Uint16(b[14:]),
		Cookie: binary.BigEndian.Uint64(b[16:]), DeleteLearned: b[25] == learnDeleteLearned, Table: b[26],
	}
	if subtype == niciraLearn2 {
		a.Limit = binary.BigEndian.Uint32(b[32:])
	}
	for b = b[n:]; len(b) >= 2; {
		head := binary.BigEndian.Uint16(b)
		if head == 0 { // padding
			break
		}
		s := LearnSpec{Kind: LearnKind(head &^ learnWidth)}
		var ok bool
		if s.Src, b, ok = decodeSubfield(b[2:], int(head&learnWidth)); !ok {
			return nil, false
		}
		if s.Dst, b, ok = decodeSubfield(b, int(head&learnWidth)); !ok {
			return nil, false
		}
		a.Specs = append(a.Specs, s)
	}
	return a, true
}

// decodeSubfield reads what appendTo appended.
func decodeSubfield(b []byte, width int) (s Subfield, rest []byte, ok bool) {
	f, _, head, _, err := oxmHeader(b)
	if err != nil || len(b) < head+2 {
		return s, nil, false
	}
	for i := range nxm {
		if nxm[i].header == f {
			f = nxm[i].field
		}
	}
	return Subfield{f, int(binary.BigEndian.Uint16(b[head:])), width}, b[head+2:], true
}

func (a Learn) AppendText(b []byte) []byte {
	number := func(name string, v uint64, base int) {
		if v != 0 {
			b = append(append(b, ','), name...)
			b = strconv.AppendUint(b, v, base)
		}
	}
	b = strconv.AppendUint(append(b, "learn(table="...), uint64(a.Table), 10)
	number("idle_timeout=", uint64(a.IdleTimeout), 10)
	number("hard_timeout=", uint64(a.HardTimeout), 10)
	if a.Priority != defaultPriority {
		b = strconv.AppendUint(append(b, ",priority="...), uint64(a.Priority), 10)
	}
	if a.DeleteLearned {
		b = append(b, ",delete_learned"...)
	}
	number("cookie=0x", a.Cookie, 16)
	number("limit=", uint64(a.Limit), 10)
	for _, s := range a.Specs {
		b = append(b, ',')
		switch {
		case s.Kind == LearnLoad:
			b = s.Dst.AppendText(append(s.Src.AppendText(append(b, "load:"...)), "->"...))
		case s.Src == s.Dst:
			b = s.Dst.AppendText(b)
		default:
			b = s.Src.AppendText(append(s.Dst.AppendText(b), '='))
		}
	}
	return append(b, ')')
}
