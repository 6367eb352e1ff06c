package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func blocks(text string) (list []netip.Prefix) {
	for word := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParsePrefix(word))
	}
	return list
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"10.71.0.0/16 10.70.0.0/16", "[10.70.0.0/15]"},
		{"10.0.0.0/8 10.1.0.0/16 11.0.0.0/8", "[10.0.0.0/7]"},
		{"10.0.1.0/24 10.0.2.0/24", "[10.0.1.0/24 10.0.2.0/24]"},
		{"0.0.0.0/1 128.0.0.0/1", "[0.0.0.0/0]"},
		{"fd00::/65 fd00:0:0:0:8000::/65 fd00::1/128", "[fd00::/64]"},
		{"", "[]"},
	} {
		if got := fmt.Sprint(Compact(blocks(c.given))); got != c.want {
			t.Errorf("%s are %s, not %s", c.given, got, c.want)
		}
	}
	for _, c := range []struct {
		of, taken string
		bits      int
		want      string
	}{
		{"10.70.0.0/15", "", 25, "10.70.0.0/25"},
		{"10.70.0.0/15", "10.70.0.0/25", 28, "10.70.0.128/28"},
		{"10.70.0.0/15", "10.70.0.0/25 10.70.0.128/28", 24, "10.70.1.0/24"},
		{"10.0.0.0/24 10.9.0.0/30", "", 30, "10.9.0.0/30"},
		{"10.0.0.0/24", "10.0.0.0/25", 24, "invalid Prefix"},
		{"10.0.0.0/24", "10.0.0.0/8", 32, "invalid Prefix"},
		{"fd00::/48", "fd00::/64", 64, "fd00:0:0:1::/64"},
	} {
		if got, ok := Block(blocks(c.of), blocks(c.taken), c.bits); got.String() != c.want || ok != got.IsValid() {
			t.Errorf("a /%d of %s without %s: %s, not %s", c.bits, c.of, c.taken, got, c.want)
		}
	}
}

// Blocks have the addresses they should, one by one, and could not be fewer.
func TestBlocksHaveTheirAddresses(t *testing.T) {
	draw := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "address")})
		return netip.PrefixFrom(a, rapid.IntRange(24, 32).Draw(t, "bits")).Masked()
	}), 0, 6)
	has := func(list []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	rapid.Check(t, func(t *rapid.T) {
		given, taken, bits := draw.Draw(t, "blocks"), draw.Draw(t, "taken"), rapid.IntRange(24, 32).Draw(t, "bits")
		compact, rest := Compact(given), Without(given, taken)
		for i := range 256 {
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			if has(compact, a) != has(given, a) {
				t.Fatalf("%s: %v became %v", a, given, compact)
			}
			if has(rest, a) != (has(given, a) && !has(taken, a)) {
				t.Fatalf("%s: %v without %v is %v", a, given, taken, rest)
			}
		}
		if again := Compact(append(slices.Clone(rest), compact...)); !slices.Equal(again, compact) {
			t.Fatalf("%v and %v are %v", rest, compact, again)
		}
		b, ok := Block(given, taken, bits)
		room := slices.ContainsFunc(rest, func(p netip.Prefix) bool { return p.Bits() <= bits })
		if ok != room || ok && (b.Bits() != bits || b.Masked() != b || len(Without([]netip.Prefix{b}, rest)) > 0) {
			t.Fatalf("a /%d out of %v: %s, %v", bits, rest, b, ok)
		}
	})
}
