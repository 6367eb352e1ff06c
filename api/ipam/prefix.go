package ipam

import (
	"cmp"
	"net/netip"
	"slices"
)

// Compact is the fewest blocks with the same addresses, in order.
func Compact(blocks []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(blocks)
	slices.SortFunc(sorted, compareBlocks)
	var out []netip.Prefix
	for _, b := range sorted {
		if n := len(out); n > 0 && out[n-1].Overlaps(b) {
			continue // the larger one comes first
		}
		out = append(out, b)
		for n := len(out); n > 1; n-- { // two halves are one block
			x, y := out[n-2], out[n-1]
			whole := netip.PrefixFrom(x.Addr(), x.Bits()-1).Masked()
			if x.Bits() != y.Bits() || x.Bits() == 0 || whole.Addr() != x.Addr() || !whole.Contains(y.Addr()) {
				break
			}
			out = append(out[:n-2], whole)
		}
	}
	return out
}

// Without is what remains of blocks when others are taken out, as the fewest blocks, in order.
func Without(blocks, others []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, b := range blocks {
		out = without(out, b, others)
	}
	return Compact(out)
}

func without(out []netip.Prefix, b netip.Prefix, others []netip.Prefix) []netip.Prefix {
	var inside []netip.Prefix
	for _, o := range others {
		if !o.Overlaps(b) {
			continue
		}
		if o.Bits() <= b.Bits() {
			return out
		}
		inside = append(inside, o)
	}
	if inside == nil {
		return append(out, b)
	}
	low, high := split(b)
	return without(without(out, low, inside), high, inside)
}

// split halves a block of more than one address.
func split(b netip.Prefix) (low, high netip.Prefix) {
	a := b.Addr().AsSlice()
	a[b.Bits()/8] |= 0x80 >> (b.Bits() % 8)
	middle, _ := netip.AddrFromSlice(a)
	return netip.PrefixFrom(b.Addr(), b.Bits()+1), netip.PrefixFrom(middle, b.Bits()+1)
}

// Block chooses a block of that prefix length out of blocks, none of whose addresses is taken: at the
// beginning of the smallest gap that is large enough, so that the large ones last.
func Block(blocks, taken []netip.Prefix, bits int) (netip.Prefix, bool) {
	gaps := Without(blocks, taken)
	slices.SortStableFunc(gaps, func(x, y netip.Prefix) int { return cmp.Compare(y.Bits(), x.Bits()) })
	for _, g := range gaps {
		if g.Bits() <= bits {
			return netip.PrefixFrom(g.Addr(), bits), true
		}
	}
	return netip.Prefix{}, false
}

func compareBlocks(x, y netip.Prefix) int {
	return cmp.Or(x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
}
