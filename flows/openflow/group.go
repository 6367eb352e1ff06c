package openflow

import (
	"encoding/binary"
	"fmt"
)

// GroupCommand is what a GroupMod does.
type GroupCommand uint16

const (
	GroupAdd           GroupCommand = 0
	GroupModify        GroupCommand = 1
	GroupDelete        GroupCommand = 2 // with its flows; all groups for GroupAll
	GroupInsertBuckets GroupCommand = 3
	GroupRemoveBuckets GroupCommand = 5
)

// GroupType says which buckets of a group get the packet.
type GroupType uint8

const (
	GroupTypeAll      GroupType = iota // each
	GroupTypeSelect                    // one, chosen by hash
	GroupTypeIndirect                  // the only one
	GroupTypeFailover                  // the first that is alive
)

var groupTypeNames = [...]string{"all", "select", "indirect", "ff"}

func (t GroupType) String() string {
	if int(t) < len(groupTypeNames) {
		return groupTypeNames[t]
	}
	return "unknown"
}

// Positions for CommandBucketID.
const (
	BucketFirst uint32 = 0xfffffffd
	BucketLast  uint32 = 0xfffffffe
	BucketAll   uint32 = 0xffffffff

	bucketMax = 0xffffff00 // the highest bucket id
)

// Bucket is one list of actions of a group. It is comparable.
type Bucket struct {
	ID         uint32 // unique in its group, at most 0xffffff00
	Weight     uint16 // of GroupTypeSelect; 0 is never chosen
	WatchPort  uint32 // of GroupTypeFailover: alive while this port is; 0 is none
	WatchGroup uint32 // of GroupTypeFailover: alive while this group is; 0 is none
	Actions    Actions
}

// GroupMod adds, changes or deletes a group (OpenFlow 1.5.1 §7.3.4.3). One message
// holds at most 64 KiB, and so does the group's description: a group that grows past
// it by inserts can no longer be read back.
type GroupMod struct {
	Command         GroupCommand
	Type            GroupType
	ID              uint32
	CommandBucketID uint32 // of inserts: after which one; of removes: which one
	Buckets         []Bucket
	Properties      string // of the group, in wire form
}

func (m GroupMod) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeGroupMod, xid)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Command))
	b = append(b, byte(m.Type), 0)
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = append(b, 0, 0, 0, 0)
	position := m.CommandBucketID
	if m.Command != GroupInsertBuckets && m.Command != GroupRemoveBuckets {
		position = BucketAll
	}
	b = binary.BigEndian.AppendUint32(b, position)
	buckets := len(b)
	for i := range m.Buckets {
		bucket := &m.Buckets[i]
		if bucket.ID > bucketMax {
			return b[:start], fmt.Errorf("openflow: group_mod: group %d: bucket id 0x%x is above 0x%x", m.ID, bucket.ID, uint32(bucketMax))
		}
		b = bucket.appendTo(b, m.Type)
		if len(b)-start > MaxMessage {
			break
		}
	}
	binary.BigEndian.PutUint16(b[buckets-8:], uint16(len(b)-buckets))
	b = append(b, m.Properties...)
	if n := len(b) - start; n > MaxMessage {
		return b[:start], fmt.Errorf("openflow: group_mod: group %d with %d buckets: %w", m.ID, len(m.Buckets), ErrTooLong)
	}
	return end(b, start)
}

// Properties of a bucket.
const (
	bucketWeight     = 0
	bucketWatchPort  = 1
	bucketWatchGroup = 2
)

func (k *Bucket) appendTo(b []byte, t GroupType) []byte {
	start := len(b)
	b = append(b, 0, 0, byte(len(k.Actions)>>8), byte(len(k.Actions)))
	b = binary.BigEndian.AppendUint32(b, k.ID)
	b = append(b, k.Actions...)
	if t == GroupTypeSelect || k.Weight != 0 {
		b = append(b, 0, bucketWeight, 0, 8, byte(k.Weight>>8), byte(k.Weight), 0, 0)
	}
	if k.WatchPort != 0 {
		b = binary.BigEndian.AppendUint32(append(b, 0, bucketWatchPort, 0, 8), k.WatchPort)
	}
	if k.WatchGroup != 0 {
		b = binary.BigEndian.AppendUint32(append(b, 0, bucketWatchGroup, 0, 8), k.WatchGroup)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

// GroupDescRequest asks for groups; the replies are read by ParseGroupDesc.
type GroupDescRequest struct{ ID uint32 } // GroupAll for all

func (m GroupDescRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = beginMultipart(b, MultipartGroupDesc, xid)
	return end(pad(binary.BigEndian.AppendUint32(b, m.ID), 4), start)
}

// GroupDesc is one installed group (OpenFlow 1.5.1 §7.3.5.10).
type GroupDesc struct {
	Type       GroupType
	ID         uint32
	Buckets    []Bucket
	Properties string // in wire form
}

// ParseGroupDesc reads the group at the start of a GROUP_DESC reply's body and
// returns what follows it.
func ParseGroupDesc(b []byte) (g GroupDesc, rest []byte, err error) {
	e, rest, err := entry("group_desc", b, 16)
	if err != nil {
		return g, nil, err
	}
	g.Type, g.ID = GroupType(e[2]), binary.BigEndian.Uint32(e[4:])
	n := int(binary.BigEndian.Uint16(e[8:]))
	if 16+n > len(e) {
		return g, nil, errShort(fmt.Sprintf("group_desc: group %d", g.ID), len(e), 16+n)
	}
	g.Properties = string(e[16+n:])
	for list := string(e[16 : 16+n]); list != ""; {
		var k Bucket
		if k, list, err = parseBucket(list); err != nil {
			return g, nil, fmt.Errorf("openflow: group_desc: group %d: bucket %d: %w", g.ID, len(g.Buckets)+1, err)
		}
		g.Buckets = append(g.Buckets, k)
	}
	return g, rest, nil
}

func parseBucket(s string) (k Bucket, rest string, err error) {
	if len(s) < 8 {
		return k, "", errShort("bucket", len(s), 8)
	}
	n, actions := int(s[0])<<8|int(s[1]), int(s[2])<<8|int(s[3])
	if n < 8 || n > len(s) || 8+actions > n {
		return k, "", fmt.Errorf("openflow: bucket: length %d with %d of actions, %d bytes are left", n, actions, len(s))
	}
	k.ID, k.Actions = uint32(bigString(s[4:8]).Lo), Actions(s[8:8+actions])
	if err := k.Actions.check(); err != nil {
		return k, "", err
	}
	err = properties("bucket", []byte(s[8+actions:n]), func(typ uint16, value []byte) error {
		switch {
		case typ == bucketWeight && len(value) == 4:
			k.Weight = binary.BigEndian.Uint16(value)
		case typ == bucketWatchPort && len(value) == 4:
			k.WatchPort = orZero(binary.BigEndian.Uint32(value))
		case typ == bucketWatchGroup && len(value) == 4:
			k.WatchGroup = orZero(binary.BigEndian.Uint32(value))
		}
		return nil
	})
	return k, s[n:], err
}

// String is the group as "ovs-ofctl -O OpenFlow15 --no-names dump-groups" prints it,
// the selection method left out.
func (g GroupDesc) String() string {
	b := fmt.Appendf(nil, "group_id=%d,type=%v", g.ID, g.Type)
	for i := range g.Buckets {
		k := &g.Buckets[i]
		b = fmt.Appendf(b, ",bucket=bucket_id:%d,", k.ID)
		if g.Type == GroupTypeSelect && k.Weight != 1 || g.Type != GroupTypeSelect && k.Weight != 0 {
			b = fmt.Appendf(b, "weight:%d,", k.Weight)
		}
		if k.WatchPort != 0 {
			b = append(appendPort(append(b, "watch_port:"...), k.WatchPort), ',')
		}
		if k.WatchGroup != 0 {
			b = fmt.Appendf(b, "watch_group:%d,", k.WatchGroup)
		}
		b = k.Actions.AppendText(append(b, "actions="...))
	}
	return string(b)
}
