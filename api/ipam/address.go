package ipam

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
)

// span is how many addresses a pool has, at most math.MaxUint64.
func span(p model.Pool) uint64 {
	if !p.Start.IsValid() || p.Start.BitLen() != p.End.BitLen() || p.End.Less(p.Start) {
		return 0
	}
	startHigh, startLow := halves(p.Start)
	endHigh, endLow := halves(p.End)
	low, borrow := bits.Sub64(endLow, startLow, 0)
	high, _ := bits.Sub64(endHigh, startHigh, borrow)
	if high != 0 {
		return math.MaxUint64
	}
	return addSaturated(low, 1)
}

// offset is the address n after another.
func offset(a netip.Addr, n uint64) netip.Addr {
	high, low := halves(a)
	low, carry := bits.Add64(low, n, 0)
	high += carry
	if a.Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(low))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}

// halves is an address as a number.
func halves(a netip.Addr) (high, low uint64) {
	if a.Is4() {
		b := a.As4()
		return 0, uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func addSaturated(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

// valid reports whether a port of the subnet may have the address.
func valid(subnet *model.Subnet, ip netip.Addr) bool {
	if !subnet.CIDR.Contains(ip) {
		return false
	}
	size := ip.BitLen() - subnet.CIDR.Bits()
	if size <= 1 {
		return true // a /31 or /32 has no addresses of its own (RFC 3021)
	}
	if ip == subnet.CIDR.Masked().Addr() {
		return false // IPv4: the network's; IPv6: the subnet-router anycast address (RFC 4291 2.6.1)
	}
	return !ip.Is4() || subnet.CIDR.Contains(ip.Next())
}

// AutoAddress is the address that a host with the MAC makes for itself in a subnet of automatic addresses.
func AutoAddress(s *model.Subnet, mac model.MAC) netip.Addr { return eui64(s.CIDR, mac) }

// eui64 is the address that a host with the MAC makes for itself in a prefix of 64 bits
// (RFC 4291 appendix A).
func eui64(prefix netip.Prefix, mac model.MAC) netip.Addr {
	b := prefix.Masked().Addr().As16()
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b)
}
