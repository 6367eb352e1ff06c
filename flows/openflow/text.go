package openflow

import (
	"encoding/hex"
	"net/netip"
	"strconv"
)

// AppendText appends the value as ovs-ofctl writes it in set_field: "5/0xfff".
func (v FieldValue) AppendText(b []byte) []byte {
	info := v.Field.info()
	f := hexadecimal
	if info != nil {
		f = info.format
	}
	switch f {
	case ethernet:
		return appendMasked(b, v, FieldValue.appendMAC)
	case ipv4, ipv6:
		return v.appendAddr(b)
	case tunnelFlags:
		return appendFlags(b, v, tunnelFlagNames[:], true)
	}
	if f == decimal {
		b = strconv.AppendUint(b, v.Value.Lo, 10)
	} else {
		b = appendHex(b, v.Value)
	}
	if !v.Exact() {
		b = appendHex(append(b, '/'), v.Mask)
	}
	return b
}

// String is the field, an equals sign and the value.
func (v FieldValue) String() string {
	return string(v.AppendText([]byte(v.Field.String() + "=")))
}

// appendHex appends "0x1f", and "0" for 0.
func appendHex(b []byte, u Uint128) []byte {
	if u.Hi == 0 {
		return appendHexNumber(b, u.Lo)
	}
	b = strconv.AppendUint(append(b, "0x"...), u.Hi, 16)
	return hex.AppendEncode(b, Uint128{Lo: u.Lo}.appendBig(nil, 8))
}

// appendMasked appends the value and, unless it is exact, a slash and the mask.
func appendMasked(b []byte, v FieldValue, one func(v FieldValue, b []byte) []byte) []byte {
	b = one(v, b)
	if !v.Exact() {
		b = one(FieldValue{Field: v.Field, Value: v.Mask}, append(b, '/'))
	}
	return b
}

func (v FieldValue) appendMAC(b []byte) []byte {
	b, _ = v.MAC().AppendText(b)
	return b
}

// appendAddr appends an address, with a prefix length where the mask is one.
func (v FieldValue) appendAddr(b []byte) []byte {
	b = appendIP(b, v.Addr())
	if v.Exact() {
		return b
	}
	b = append(b, '/')
	if n := v.Mask.leadingOnes(v.Field.Width()); n >= 0 {
		return strconv.AppendInt(b, int64(n), 10)
	}
	return appendIP(b, FieldValue{Field: v.Field, Value: v.Mask}.Addr())
}

// appendIP differs from netip in the IPv4-compatible addresses, which C's inet_ntop
// writes as ::1.2.3.4.
func appendIP(b []byte, a netip.Addr) []byte {
	if raw := a.As16(); a.Is6() && !a.Is4In6() && allZero(raw[:12]) && raw[12]|raw[13] != 0 {
		return netip.AddrFrom4([4]byte(raw[12:])).AppendTo(append(b, "::"...))
	}
	return a.AppendTo(b)
}

var (
	tunnelFlagNames = [...]string{"oam"}
	tcpFlagNames    = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"}
	ctStateNames    = [...]string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}
)

// appendFlags appends "+syn-ack", or, where full says that the mask is whole and the
// value's bits alone are wanted, "syn|ack" or "0".
func appendFlags(b []byte, v FieldValue, names []string, full bool) []byte {
	if full {
		if v.Value.Lo == 0 {
			return append(b, '0')
		}
		start := len(b)
		for i, name := range names {
			if v.Value.Lo>>i&1 != 0 {
				if len(b) != start {
					b = append(b, '|')
				}
				b = append(b, name...)
			}
		}
		return b
	}
	for i, name := range names {
		if v.Mask.Lo>>i&1 != 0 {
			if v.Value.Lo>>i&1 != 0 {
				b = append(b, '+')
			} else {
				b = append(b, '-')
			}
			b = append(b, name...)
		}
	}
	return b
}
