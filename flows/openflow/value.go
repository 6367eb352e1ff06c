package openflow

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/netip"
)

// Uint128 is a number of up to 128 bits, as wide as the widest field.
type Uint128 struct{ Hi, Lo uint64 }

func (u Uint128) and(v Uint128) Uint128    { return Uint128{u.Hi & v.Hi, u.Lo & v.Lo} }
func (u Uint128) or(v Uint128) Uint128     { return Uint128{u.Hi | v.Hi, u.Lo | v.Lo} }
func (u Uint128) andNot(v Uint128) Uint128 { return Uint128{u.Hi &^ v.Hi, u.Lo &^ v.Lo} }
func (u Uint128) isZero() bool             { return u == Uint128{} }

// shiftLeft shifts by n, 1 to 127.
func (u Uint128) shiftLeft(n int) Uint128 {
	if n >= 64 {
		return Uint128{u.Lo << (n - 64), 0}
	}
	return Uint128{u.Hi<<n | u.Lo>>(64-n), u.Lo << n}
}

// ones is the number whose n lowest bits are set, all of them for n > 128.
func ones(n int) Uint128 {
	n = min(n, 128)
	if n > 64 {
		return Uint128{^uint64(0) >> (128 - n), ^uint64(0)}
	}
	return Uint128{Lo: ^uint64(0) >> (64 - n)}
}

// appendBig appends the n low bytes of u, most significant first.
func (u Uint128) appendBig(b []byte, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		if i >= 8 {
			b = append(b, byte(u.Hi>>(8*(i-8))))
		} else {
			b = append(b, byte(u.Lo>>(8*i)))
		}
	}
	return b
}

// bigUint reads up to 16 bytes, most significant first; of more it keeps the last 16.
func bigUint(b []byte) (u Uint128) {
	for _, c := range b {
		u.Hi = u.Hi<<8 | u.Lo>>56
		u.Lo = u.Lo<<8 | uint64(c)
	}
	return u
}

// leadingOnes returns the length of the prefix that the mask is, in a field of
// width bits, or -1 if it has holes.
func (u Uint128) leadingOnes(width int) int {
	n := bits.OnesCount64(u.Hi) + bits.OnesCount64(u.Lo)
	if u != ones(width).andNot(ones(width-n)) {
		return -1
	}
	return n
}

// FieldValue is a field with a value, for a match or a set_field. It is
// comparable. In a valid one no bit of Value is outside Mask and none of Mask is
// outside the field; the constructors (Is, Masked, Addr …) don't check, NewMatch
// and NewActions do.
type FieldValue struct {
	Field Field
	Value Uint128
	Mask  Uint128 // the bits that count
}

// invalid is what the constructors give for a value that is none of the field's:
// a value bit outside the mask, which NewMatch and NewActions refuse.
func (f Field) invalid() FieldValue { return FieldValue{Field: f, Value: Uint128{Lo: 1}} }

// Exact reports whether all the field's bits count.
func (v FieldValue) Exact() bool { return v.Mask == v.Field.fullMask() }

// Uint returns the low 64 bits of the value.
func (v FieldValue) Uint() uint64 { return v.Value.Lo }

// Addr returns the value of an IPv4 or IPv6 address field, the zero Addr for others.
func (v FieldValue) Addr() netip.Addr {
	switch v.Field.Bytes() {
	case 4:
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(v.Value.Lo))))
	case 16:
		return netip.AddrFrom16([16]byte(v.Value.appendBig(nil, 16)))
	}
	return netip.Addr{}
}

// MAC returns the low 48 bits of the value.
func (v FieldValue) MAC() MAC { return macOf(v.Value.Lo) }

// check says whether the value fits the field.
func (v FieldValue) check() error {
	full := v.Field.fullMask()
	if !v.Mask.andNot(full).isZero() {
		return fmt.Errorf("%v: mask 0x%x is wider than %d bits", v.Field, v.Mask.appendBig(nil, 16), v.Field.Width())
	}
	if !v.Value.andNot(v.Mask).isZero() {
		return fmt.Errorf("%v: value has bits outside the field or its mask", v.Field)
	}
	info := v.Field.info()
	if info == nil {
		return nil
	}
	if info.mask == exact && v.Mask != full && !v.Mask.isZero() {
		return fmt.Errorf("%v: takes no mask", v.Field)
	}
	switch v.Field {
	case ARPOp: // Open vSwitch keeps eight bits of it
		if v.Value.Lo > 0xff {
			return fmt.Errorf("arp_op: %d is more than 255", v.Value.Lo)
		}
	case IPFrag:
		if v.Mask == full && v.Value.Lo == fragmentLater {
			return fmt.Errorf("ip_frag: a later fragment that is no fragment")
		}
	case InPort, ActsetOutput:
		if p := v.Value.Lo; p >= portMax && p < 0xffffff00 {
			return fmt.Errorf("%v: no port has the number %d", v.Field, p)
		}
	}
	return nil
}

// Addr is the field with exactly the address a. An IPv4 address given for a 128-bit
// field is its IPv4-mapped form, ::ffff:a.b.c.d.
func (f Field) Addr(a netip.Addr) FieldValue {
	if !a.IsValid() {
		return f.invalid()
	}
	return f.Prefix(netip.PrefixFrom(a.WithZone(""), a.BitLen()))
}

// Prefix is the field with any address of p; bits outside the prefix are ignored.
func (f Field) Prefix(p netip.Prefix) FieldValue {
	a, n := p.Addr(), p.Bits()
	var v Uint128
	switch {
	case n < 0:
		return f.invalid()
	case f.Bytes() == 4 && a.Is4():
		b := a.As4()
		v = bigUint(b[:])
	case f.Bytes() == 4 && a.Is4In6() && n >= 96:
		b := a.As16()
		v, n = bigUint(b[12:]), n-96
	case f.Bytes() == 16:
		b := a.As16()
		v = bigUint(b[:])
		if a.Is4() {
			n += 96
		}
	default:
		return f.invalid()
	}
	width := 8 * f.Bytes()
	mask := ones(width)
	if n < width {
		mask = mask.andNot(ones(width - n))
	}
	return f.Wide(v.and(mask), mask)
}

// MAC is the field with exactly the address m.
func (f Field) MAC(m MAC) FieldValue {
	return f.Is(m.uint())
}

// MACMasked is the field with the bits of m that are set in mask.
func (f Field) MACMasked(m, mask MAC) FieldValue {
	return f.Masked(m.uint()&mask.uint(), mask.uint())
}

// MAC is an Ethernet address.
type MAC [6]byte

// BroadcastMAC is ff:ff:ff:ff:ff:ff.
var BroadcastMAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ParseMAC reads "fa:16:3e:00:00:01", in either case.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	bad := len(s) != 17
	for i := 0; i < 6 && !bad; i++ {
		_, err := hex.Decode(m[i:i+1], []byte(s[3*i:3*i+2]))
		bad = err != nil || i < 5 && s[3*i+2] != ':'
	}
	if bad {
		return MAC{}, fmt.Errorf("%q is not an Ethernet address", s)
	}
	return m, nil
}

func (m MAC) uint() uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

func macOf(v uint64) MAC {
	return MAC{byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

// AppendText appends "fa:16:3e:00:00:01".
func (m MAC) AppendText(b []byte) ([]byte, error) {
	for i, c := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b, nil
}

const hexDigits = "0123456789abcdef"

func (m MAC) String() string {
	b, _ := m.AppendText(nil)
	return string(b)
}

// MarshalText and UnmarshalText are encoding's: "fa:16:3e:00:00:01".
func (m MAC) MarshalText() ([]byte, error) { return m.AppendText(nil) }

func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}
