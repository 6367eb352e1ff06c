package openflow

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Output sends the packet to a port. MaxLen is how many of its bytes go to
// PortController, and zero for other ports.
type Output struct {
	Port   uint32
	MaxLen uint16
}

func (a Output) check() error {
	if a.Port == 0 || a.Port >= portMax && a.Port < 0xffffff00 {
		return fmt.Errorf("output: no port has the number %d", a.Port)
	}
	return nil
}

func (a Output) appendTo(b []byte) []byte {
	b = append(b, 0, actionOutput, 0, 16)
	b = binary.BigEndian.AppendUint32(b, a.Port)
	b = binary.BigEndian.AppendUint16(b, a.MaxLen)
	return pad(b, 6)
}

func (a Output) AppendText(b []byte) []byte {
	if a.Port < portMax {
		b = append(b, "output:"...)
	}
	b = appendPort(b, a.Port)
	if a.Port == PortController {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(a.MaxLen), 10)
	}
	return b
}

// portNames are those that ovs-ofctl prints, from PortInPort up.
var portNames = [...]string{"IN_PORT", "TABLE", "NORMAL", "FLOOD", "ALL", "CONTROLLER", "LOCAL", "ANY"}

// appendPort appends a port number, or its name if it is a reserved one.
func appendPort(b []byte, p uint32) []byte {
	switch {
	case p >= PortInPort:
		return append(b, portNames[p-PortInPort]...)
	case p == 0xfffffff7:
		return append(b, "UNSET"...)
	}
	return strconv.AppendUint(b, uint64(p&0xffff), 10)
}

// OutputReg sends the packet to the port whose number Src holds. Src is in a
// register; MaxLen is as in Output and 0 means 65535.
type OutputReg struct {
	Src    Subfield
	MaxLen uint16
}

func (a OutputReg) check() error {
	if err := a.Src.check(); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if a.Src.Width > 64 || a.Src.Offset > 0x3ff {
		return fmt.Errorf("output: %v is wider than 64 bits", a.Src)
	}
	switch a.Src.Field >> 48 << 48 {
	case classNXM0, classNXM1, classRegisters:
		return nil
	}
	return fmt.Errorf("output: the port must come from a register, not from %v", a.Src.Field)
}

func (a OutputReg) appendTo(b []byte) []byte {
	maxLen := a.MaxLen
	if maxLen == 0 {
		maxLen = 0xffff
	}
	bits := uint16(a.Src.Offset)<<6 | uint16(a.Src.Width-1)
	b = appendNicira(b, 24, niciraOutputReg)
	b = binary.BigEndian.AppendUint16(b, bits)
	b = a.Src.Field.appendHeader(b, false)
	b = binary.BigEndian.AppendUint16(b, maxLen)
	return pad(b, 6)
}

func decodeOutputReg(b []byte) (Action, bool) {
	if len(b) != 24 {
		return nil, false
	}
	bits, maxLen := binary.BigEndian.Uint16(b[10:]), binary.BigEndian.Uint16(b[16:])
	f, _, _, _, err := oxmHeader(b[12:16])
	if maxLen == 0xffff {
		maxLen = 0
	}
	return OutputReg{Subfield{f, int(bits >> 6), int(bits&0x3f) + 1}, maxLen}, err == nil
}

func (a OutputReg) AppendText(b []byte) []byte {
	return a.Src.AppendText(append(b, "output:"...))
}

// Group hands the packet to a group.
type Group struct{ ID uint32 }

func (a Group) check() error { return nil }

func (a Group) AppendText(b []byte) []byte {
	return strconv.AppendUint(append(b, "group:"...), uint64(a.ID), 10)
}

// Meter drops the packet if it exceeds the meter's rate.
type Meter struct{ ID uint32 }

func (a Meter) check() error { return nil }

func (a Meter) AppendText(b []byte) []byte {
	return strconv.AppendUint(append(b, "meter:"...), uint64(a.ID), 10)
}

// SetQueue chooses the queue for later outputs.
type SetQueue struct{ ID uint32 }

func (a SetQueue) check() error { return nil }

func (a SetQueue) AppendText(b []byte) []byte {
	return strconv.AppendUint(append(b, "set_queue:"...), uint64(a.ID), 10)
}

// PushVLAN adds an 802.1Q tag with VID 0, which SetField{VlanVID.Is(VIDPresent|vid)} sets.
type PushVLAN struct{ EtherType uint16 }

func (a PushVLAN) check() error { return nil }

func (a PushVLAN) AppendText(b []byte) []byte {
	return appendHexNumber(append(b, "push_vlan:"...), uint64(a.EtherType))
}

// PopVLAN removes the outer 802.1Q tag. The switch refuses it in a flow whose match
// doesn't say that there is one.
type PopVLAN struct{}

func (a PopVLAN) check() error { return nil }

func (a PopVLAN) AppendText(b []byte) []byte { return append(b, "pop_vlan"...) }

// DecTTL decrements the IPv4 TTL or IPv6 hop limit; a packet that reaches 0 goes to
// the controller.
type DecTTL struct{}

func (a DecTTL) check() error { return nil }

func (a DecTTL) AppendText(b []byte) []byte { return append(b, "dec_ttl"...) }

// SetField writes a value into a field, in the bits of its mask.
type SetField struct{ FieldValue }

// Load is the SetField that writes v into dst, ovs-ofctl's "load:v->dst".
func Load(v uint64, dst Subfield) SetField {
	mask, value := ones(dst.Width), Uint128{Lo: v}
	if dst.Offset > 0 {
		mask, value = mask.shiftLeft(dst.Offset), value.shiftLeft(dst.Offset)
	}
	return SetField{dst.Field.Wide(value, mask)}
}

func (a SetField) check() error {
	if err := a.FieldValue.check(); err != nil {
		return fmt.Errorf("set_field: %w", err)
	}
	info := a.Field.info()
	switch {
	case info == nil:
		return fmt.Errorf("set_field: %v: unknown field", a.Field)
	case info.readOnly:
		return fmt.Errorf("set_field: %v is not writable", a.Field)
	case a.Mask.isZero():
		return fmt.Errorf("set_field: %v: an empty mask", a.Field)
	case a.Field == VlanVID && a.Value.Lo&VIDPresent == 0:
		return fmt.Errorf("set_field: vlan_vid: the value needs the bit 0x1000")
	}
	return nil
}

func (a SetField) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, 0, actionSetField, 0, 0)
	b = a.appendOXM(b, !a.Exact())
	return setActionLen(b, start)
}

func decodeSetField(b []byte) (Action, bool) {
	f, masked, head, n, err := oxmHeader(b)
	if err != nil || head+n > len(b) || f.Bytes() > 16 {
		return nil, false
	}
	v := FieldValue{f, bigUint(b[head : head+f.Bytes()]), f.fullMask()}
	if masked {
		v.Mask = bigUint(b[head+f.Bytes() : head+n])
	}
	return SetField{v}, true
}

func (a SetField) AppendText(b []byte) []byte {
	b = append(b, "set_field:"...)
	b = a.FieldValue.AppendText(b)
	b = append(b, "->"...)
	return append(b, a.Field.String()...)
}

// Move copies bits between fields. OpenFlow 1.5 calls it copy-field.
type Move struct{ Src, Dst Subfield }

func (a Move) check() error {
	if err := a.Src.check(); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	if err := a.Dst.check(); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	if a.Src.Width != a.Dst.Width {
		return fmt.Errorf("move: %v has %d bits, %v %d", a.Src, a.Src.Width, a.Dst, a.Dst.Width)
	}
	if info := a.Dst.Field.info(); info == nil || info.readOnly || a.Src.Field.info() == nil {
		return fmt.Errorf("move: %v cannot be copied to %v", a.Src.Field, a.Dst.Field)
	}
	return nil
}

func (a Move) appendTo(b []byte) []byte {
	b = append(b, 0, actionCopyField, 0, 24)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Dst.Width))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Src.Offset))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Dst.Offset))
	b = pad(b, 2)
	b = a.Src.Field.appendHeader(b, false)
	b = a.Dst.Field.appendHeader(b, false)
	return pad(b, 4)
}

func decodeMove(b []byte) (Action, bool) {
	if len(b) != 24 {
		return nil, false
	}
	src, _, _, _, err := oxmHeader(b[12:16])
	if err != nil {
		return nil, false
	}
	dst, _, _, _, err := oxmHeader(b[16:20])
	width := int(binary.BigEndian.Uint16(b[4:]))
	return Move{
		Subfield{src, int(binary.BigEndian.Uint16(b[6:])), width},
		Subfield{dst, int(binary.BigEndian.Uint16(b[8:])), width},
	}, err == nil
}

func (a Move) AppendText(b []byte) []byte {
	b = a.Src.AppendText(append(b, "move:"...))
	return a.Dst.AppendText(append(b, "->"...))
}

// Resubmit looks the packet up in another table and then goes on with the next
// action. Port replaces in_port for that lookup, 0 keeps it; Table TableAll is the
// current one.
type Resubmit struct {
	Port  uint32
	Table uint8
}

func (a Resubmit) check() error { return nil }

func (a Resubmit) port() uint32 {
	if a.Port == 0 {
		return PortInPort
	}
	return a.Port
}

func (a Resubmit) appendTo(b []byte) []byte {
	b = appendNicira(b, 16, niciraResubmitTable)
	b = binary.BigEndian.AppendUint16(b, uint16(a.port()))
	return append(b, a.Table, 0, 0, 0)
}

func decodeResubmit(b []byte) (Action, bool) {
	a := Resubmit{port16(binary.BigEndian.Uint16(b[10:])), b[12]}
	if a.Port == PortInPort {
		a.Port = 0
	}
	return a, true
}

// port16 is the 32-bit number of a port that stands in 16 bits, as in Nicira's actions.
func port16(p uint16) uint32 {
	if p >= portMax {
		return 0xffff0000 | uint32(p)
	}
	return uint32(p)
}

func (a Resubmit) AppendText(b []byte) []byte {
	if a.port() != PortInPort && a.Table == TableAll {
		return appendPort(append(b, "resubmit:"...), a.Port)
	}
	b = append(b, "resubmit("...)
	if a.port() != PortInPort {
		b = appendPort(b, a.Port)
	}
	b = append(b, ',')
	if a.Table != TableAll {
		b = strconv.AppendUint(b, uint64(a.Table), 10)
	}
	return append(b, ')')
}

// Note does nothing; it carries data, padded with zeros to 6 plus a multiple of 8 bytes.
type Note struct{ Data []byte }

func (a Note) check() error {
	if len(a.Data) > 0x7fff {
		return fmt.Errorf("note: %d bytes", len(a.Data))
	}
	return nil
}

func (a Note) appendTo(b []byte) []byte {
	start := len(b)
	b = append(appendNicira(b, 0, niciraNote), a.Data...)
	if len(a.Data) < 6 {
		b = pad(b, 6-len(a.Data))
	}
	return setActionLen(b, start)
}

func (a Note) AppendText(b []byte) []byte {
	return appendDottedHex(append(b, "note:"...), a.appendTo(nil)[10:])
}

// Clone applies the actions to a copy of the packet.
type Clone struct{ Actions Actions }

func (a Clone) check() error {
	if 16+len(a.Actions) > MaxMessage {
		return fmt.Errorf("clone: actions of %d bytes", len(a.Actions))
	}
	return a.Actions.check()
}

func (a Clone) appendTo(b []byte) []byte {
	return append(pad(appendNicira(b, 16+len(a.Actions), niciraClone), 6), a.Actions...)
}

func (a Clone) AppendText(b []byte) []byte {
	return append(a.Actions.AppendText(append(b, "clone("...)), ')')
}

// RawAction is an action in wire form, header included, that this package doesn't
// interpret. Its text names it and shows the bytes; ovs-ofctl would print it otherwise.
type RawAction string

func (a RawAction) check() error {
	if _, rest, err := nextTLV("action", string(a)); err != nil {
		return err
	} else if rest != "" {
		return fmt.Errorf("raw action: %d bytes after it", len(rest))
	}
	return nil
}

// rawNames are the Nicira actions that a dump may well hold.
var rawNames = map[uint16]string{
	7: "load", 10: "multipath", 12: "bundle", 13: "bundle_load", 16: "learn", 17: "exit", 19: "fin_timeout", 21: "dec_ttl",
	27: "push", 28: "pop", 29: "sample", 34: "conjunction", 35: "ct", 36: "nat", 39: "output_trunc", 43: "ct_clear",
	44: "resubmit", 45: "learn", 46: "encap", 47: "decap", 49: "check_pkt_larger", 50: "delete_field",
}

func (a RawAction) AppendText(b []byte) []byte {
	b = append(b, "raw("...)
	if len(a) >= 16 && a[:2] == "\xff\xff" && a[4:8] == "\x00\x00\x23\x20" {
		if name, ok := rawNames[uint16(a[8])<<8|uint16(a[9])]; ok {
			b = append(append(b, name...), ',')
		}
	}
	return append(hex.AppendEncode(b, []byte(a)), ')')
}

// appendDottedHex appends "01.02.ff".
func appendDottedHex(b, data []byte) []byte {
	for i, c := range data {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}

// appendHexNumber appends v as C's %#x: "0x1f", and "0" for 0.
func appendHexNumber(b []byte, v uint64) []byte {
	if v == 0 {
		return append(b, '0')
	}
	return strconv.AppendUint(append(b, "0x"...), v, 16)
}
