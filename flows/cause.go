package flows

import (
	"fmt"

	"github.com/google/uuid"
)

// Owner is the part of the program that emits a flow; the first byte of its cookie.
type Owner uint8

const (
	OwnerController Owner = 1
	OwnerL2         Owner = 2
	OwnerL2Pop      Owner = 3
	OwnerDHCP       Owner = 4
	OwnerProbe      Owner = 5
	OwnerMetadata   Owner = 6
	OwnerCapture    Owner = 7
)

var ownerNames = map[Owner]string{OwnerController: "controller", OwnerL2: "l2", OwnerL2Pop: "l2pop", OwnerDHCP: "dhcp", OwnerProbe: "probe", OwnerMetadata: "metadata", OwnerCapture: "capture"}

// String is the owner's package name.
func (o Owner) String() string {
	if n, ok := ownerNames[o]; ok {
		return n
	}
	return fmt.Sprintf("owner(%d)", uint8(o))
}

// Kind is the kind of object that caused a flow; the second byte of its cookie.
type Kind uint8

const (
	KindHost    Kind = 1 // the host itself: its fixed flows
	KindPeer    Kind = 2 // another host
	KindNetwork Kind = 3
	KindPort    Kind = 4
)

var kindNames = map[Kind]string{KindHost: "host", KindPeer: "peer", KindNetwork: "network", KindPort: "port"}

// String is the kind as the API names it.
func (k Kind) String() string {
	if n, ok := kindNames[k]; ok {
		return n
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Object is what a flow is there for.
type Object struct {
	Kind Kind
	ID   uuid.UUID
}

// Cookie is owner 8 | kind 8 | the first 48 bits of the object's UUID, so that the flows of port
// a1b2c3d4-e5f6-… carry 0x….a1b2c3d4e5f6: readable by eye, without an allocator, the same after a
// restart. It is attribution only; nothing is selected by it.
func (o Object) Cookie(owner Owner) uint64 {
	c := uint64(owner)<<56 | uint64(o.Kind)<<48
	for i := range 6 {
		c |= uint64(o.ID[i]) << (8 * (5 - i))
	}
	return c
}

// CookieParts reads a cookie back. prefix is the object's first 48 bits.
func CookieParts(cookie uint64) (owner Owner, kind Kind, prefix uint64) {
	return Owner(cookie >> 56), Kind(cookie >> 48), cookie & (1<<48 - 1)
}

// HostID is a host's system-id as the UUID of an Object: Open vSwitch makes it a UUID, but an operator
// may have chosen any string.
func HostID(systemID string) uuid.UUID {
	if id, err := uuid.Parse(systemID); err == nil {
		return id
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(systemID))
}
