package l2pop

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// An address has the same id in every set, but for one whose id a lower address has; no two have the same.
func TestBucketIDs(t *testing.T) {
	if got := bucketIDs([]netip.Addr{netip.MustParseAddr("172.31.0.3"), netip.MustParseAddr("255.255.255.0")}); got[0] != 2887712771 || got[1] != maxBucketID {
		t.Errorf("IPv4: %d", got)
	}
	addr := func(n uint32) netip.Addr {
		b := [16]byte{0: 0xfd}
		binary.BigEndian.PutUint32(b[8:], n)
		binary.BigEndian.PutUint32(b[12:], n*2654435761)
		return netip.AddrFrom16(b)
	}
	alone := func(n uint32) uint32 { return bucketIDs([]netip.Addr{addr(n)})[0] }
	first := map[uint32]uint32{}
	for n := range uint32(1 << 20) {
		id := alone(n)
		if id > maxBucketID {
			t.Fatalf("%s: %#x", addr(n), id)
		}
		m, collides := first[id]
		if !collides {
			first[id] = n
			continue
		}
		if got := bucketIDs([]netip.Addr{addr(m), addr(n)}); got[0] != id || got[1] != id+1 {
			t.Errorf("%s and %s: %#x, alone both are %#x", addr(m), addr(n), got, id)
		}
		if got := bucketIDs([]netip.Addr{addr(m), addr(1 << 30), addr(n)}); got[0] != id || got[1] != alone(1<<30) {
			t.Errorf("with another between them: %#x", got)
		}
		return
	}
	t.Fatal("no collision was tested")
}
