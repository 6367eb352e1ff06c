package flows

import (
	"math/bits"

	"github.com/tunbridge/tunbridge/flows/openflow"
)

// A group's description is one message of at most 64 KiB: a group of 1,750 buckets can be made but not
// read back. Beyond maxBuckets members a flood set is a group of groups.
const (
	maxBuckets = 250
	partSize   = maxBuckets / 2 // members of a part on average, so that none exceeds maxBuckets
)

// FloodGroup is the group that broadcast and multicast of a network go to, on either bridge.
func FloodGroup(localVLAN uint16) uint32 { return uint32(localVLAN) }

// UnknownGroup is the group that unicast to an unknown MAC goes to where a port has no port security.
func UnknownGroup(localVLAN uint16) uint32 { return 0x2000 | uint32(localVLAN) }

// Flood is a network's flood set on one bridge: a group of type all or, when it is big, groups of such
// a kind that the members are spread over. It is comparable, to be among the deps of a member's scope.
type Flood struct {
	Bridge Bridge
	Group  uint32 // what a flow hands a packet to
	parts  uint32 // 0, or how many groups hold the members: a power of two
}

// Flood wants the groups of a flood set of so many members. group is below 1<<16. The members
// themselves are wanted with Member, each by whoever knows it.
func (e *Emitter) Flood(b Bridge, group uint32, members int) Flood {
	f := Flood{Bridge: b, Group: group}
	if members > maxBuckets {
		f.parts = 1 << bits.Len(uint(members-1)/partSize)
	}
	e.Group(b, f.Group)
	for i := range f.parts {
		e.Group(b, f.part(i))
		e.Bucket(b, f.Group, i+1, openflow.MustActions(openflow.Group{ID: f.part(i)}))
	}
	return f
}

// Member wants a member of the flood set. id is a port key or a remote address, unique in the set and
// at most 0xffffff00.
func (e *Emitter) Member(f Flood, id uint32, actions openflow.Actions) {
	group := f.Group
	if f.parts > 0 {
		group = f.part(id * 0x9e3779b1 >> 16 % f.parts) // spread, whatever the ids have in common
	}
	e.Bucket(f.Bridge, group, id, actions)
}

// part is the id of the i-th group that holds members.
func (f Flood) part(i uint32) uint32 { return (i+1)<<16 | f.Group }
