package model

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// MAC is an Ethernet address in network order.
type MAC [6]byte

// ParseMAC reads an Ethernet address: six octets in hexadecimal, separated by colons or hyphens, in
// three groups separated by dots, or not separated at all.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	var sep string
	octets := 1 // between separators
	switch {
	case len(s) == 17 && (s[2] == ':' || s[2] == '-'):
		sep = s[2:3]
	case len(s) == 14 && s[4] == '.':
		sep, octets = ".", 2
	case len(s) == 12:
		octets = 6
	default:
		return m, fmt.Errorf("%q is not a MAC address", s)
	}
	for i, at := 0, 0; i < len(m); i++ {
		if i > 0 && i%octets == 0 {
			if s[at:at+1] != sep {
				return MAC{}, fmt.Errorf("%q is not a MAC address", s)
			}
			at++
		}
		if _, err := hex.Decode(m[i:i+1], []byte(s[at:at+2])); err != nil {
			return MAC{}, fmt.Errorf("%q is not a MAC address", s)
		}
		at += 2
	}
	return m, nil
}

// String is the form fa:16:3e:00:00:01.
func (m MAC) String() string { return string(m.append(nil)) }

func (m MAC) append(b []byte) []byte {
	const digits = "0123456789abcdef"
	for i, o := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[o>>4], digits[o&15])
	}
	return b
}

// IsZero reports whether all octets are zero: no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsUnicast reports whether one station can own the address.
func (m MAC) IsUnicast() bool { return m[0]&1 == 0 && !m.IsZero() }

// MarshalText is the form of String; the zero MAC is empty.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return []byte{}, nil
	}
	return m.append(nil), nil
}

// UnmarshalText reads what MarshalText wrote, and what ParseMAC reads.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	parsed, err := ParseMAC(strings.ToLower(string(text)))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}
