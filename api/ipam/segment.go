package ipam

import (
	"fmt"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// Range is the segmentation ids from First to Last, both included.
type Range struct{ First, Last uint32 }

// Segment chooses a free segmentation id out of ranges for a network of the type ("vxlan", "gre",
// "geneve", "vlan") on the physical network ("" but for vlan).
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

// SpecificSegment checks that a segment is free.
func SpecificSegment(tx *store.Tx, segment model.Segment) error {
	if tx.SegmentTaken(segment) {
		return fmt.Errorf("%s segment %d %s: %w", segment.NetworkType, segment.SegmentationID, segment.PhysicalNetwork, ErrInUse)
	}
	return nil
}

func (r Range) size() uint64 {
	if r.Last < r.First {
		return 0
	}
	return uint64(r.Last) - uint64(r.First) + 1
}
