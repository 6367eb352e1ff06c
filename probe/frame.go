package probe

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Userdata is that of the packet-ins that bring probes.
var Userdata = []byte("probe")

// etherType is IEEE 802's first for local experiments (IEEE 802a).
const etherType = 0x88b5

// Locally administered addresses: the destination says which way a probe goes, its source is homebound.
var (
	outbound  = of.MAC{0x02, 't', 'b', 0, 0, 1}
	homebound = of.MAC{0x02, 't', 'b', 0, 0, 2}
)

// probe is what a frame says, most significant byte first. The rest of it is zeros.
//
//	0  destination, 6 source MAC address
//	12 EtherType
//	14 path: a number of the prober's
//	18 round of that path
//	22 size of the frame, bytes; 0 if it goes no further than this host's switch
//	24 tag: the first 16 bytes of the HMAC-SHA256 of bytes 14 to 23 with the prober's key
type probe struct {
	path, round uint32
	size        uint16
}

const (
	ethernetLen = 14
	tagAt       = 24
	tagLen      = 16
	headLen     = tagAt + tagLen

	least = 64    // bytes of the smallest frame: an Ethernet's
	most  = 65000 // of the largest that fits into OpenFlow messages
)

// seal is the prober's key: a guest or a stranger cannot make a probe that it takes for its own.
type seal struct {
	mac hash.Hash
	sum []byte
}

func newSeal() *seal {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &seal{mac: hmac.New(sha256.New, key)}
}

// tag is that of bytes 14 to 23; valid until the next.
func (s *seal) tag(b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	s.sum = s.mac.Sum(s.sum[:0])
	return s.sum[:tagLen]
}

// appendFrame appends a frame.
func (s *seal) appendFrame(b []byte, p probe) []byte {
	start := len(b)
	b = append(b, outbound[:]...)
	b = append(b, homebound[:]...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	b = binary.BigEndian.AppendUint32(b, p.path)
	b = binary.BigEndian.AppendUint32(b, p.round)
	b = binary.BigEndian.AppendUint16(b, p.size)
	b = append(b, s.tag(b[start+ethernetLen:])...)
	rest := max(int(p.size), least) - headLen
	b = slices.Grow(b, rest)[:len(b)+rest]
	clear(b[len(b)-rest:])
	return b
}

var errForged = errors.New("probe: the tag is not this host's")

// parse reads a frame of which only the head need be there; length is the whole frame's.
func (s *seal) parse(head []byte, length int) (p probe, err error) {
	if len(head) < headLen {
		return p, fmt.Errorf("probe: %d bytes, need %d", len(head), headLen)
	}
	if t := binary.BigEndian.Uint16(head[12:]); t != etherType {
		return p, fmt.Errorf("probe: EtherType %#04x", t)
	}
	if !hmac.Equal(s.tag(head[ethernetLen:tagAt]), head[tagAt:headLen]) {
		return p, errForged
	}
	p = probe{binary.BigEndian.Uint32(head[14:]), binary.BigEndian.Uint32(head[18:]), binary.BigEndian.Uint16(head[22:])}
	if p.size != 0 && int(p.size) != length {
		return p, fmt.Errorf("probe: %d bytes of %d came back", length, p.size)
	}
	return p, nil
}
