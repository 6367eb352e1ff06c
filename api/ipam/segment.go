package ipam

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// Range is the segmentation ids from First to Last, both included. The zero value has none.
type Range struct{ First, Last uint32 }

// UnmarshalText reads "LOW:HIGH", two decimal numbers of which the first is at least 1.
func (r *Range) UnmarshalText(text []byte) error {
	low, high, _ := strings.Cut(string(text), ":")
	first, err1 := strconv.ParseUint(low, 10, 32)
	last, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil || first < 1 || first > last {
		return fmt.Errorf("%q: want LOW:HIGH, with LOW from 1", text)
	}
	*r = Range{uint32(first), uint32(last)}
	return nil
}

func (r Range) size() uint64 {
	if r == (Range{}) || r.Last < r.First {
		return 0
	}
	return uint64(r.Last) - uint64(r.First) + 1
}

// VLANRange is the VLAN IDs to choose from on a physical network. Without any, networks on it have
// the VLAN ID that their creator names.
type VLANRange struct {
	PhysicalNetwork string
	IDs             Range
}

// UnmarshalText reads Neutron's "PHYSNET" or "PHYSNET:LOW:HIGH".
func (v *VLANRange) UnmarshalText(text []byte) error {
	name, ids, ranged := strings.Cut(string(text), ":")
	out := VLANRange{PhysicalNetwork: name}
	if ranged {
		if err := out.IDs.UnmarshalText([]byte(ids)); err != nil {
			return fmt.Errorf("%q: want PHYSNET or PHYSNET:LOW:HIGH", text)
		}
	}
	if name == "" || out.IDs.Last > model.MaxVLAN {
		return fmt.Errorf("%q: want PHYSNET or PHYSNET:LOW:HIGH, with HIGH up to %d", text, model.MaxVLAN)
	}
	*v = out
	return nil
}

// Segment chooses a free segmentation id out of ranges for a network of the type ("vxlan", "gre",
// "geneve", "vlan") on the physical network ("" but for vlan). Without one it is [ErrExhausted].
func Segment(tx *store.Tx, networkType, physicalNetwork string, ranges []Range) (model.Segment, error) {
	segment := model.Segment{NetworkType: networkType, PhysicalNetwork: physicalNetwork}
	var size uint64
	for _, r := range ranges {
		size += r.size()
	}
	at := func(n uint64) model.Segment {
		for _, r := range ranges {
			if n < r.size() {
				segment.SegmentationID = r.First + uint32(n)
				break
			}
			n -= r.size()
		}
		return segment
	}
	n, ok := choose(size, func(n uint64) bool { return !tx.SegmentTaken(at(n)) })
	if !ok {
		return model.Segment{}, fmt.Errorf("%s segments %s: %w", networkType, physicalNetwork, ErrExhausted)
	}
	return at(n), nil
}
