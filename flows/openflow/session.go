package openflow

import (
	"encoding/binary"
	"fmt"
)

// Hello opens a connection. It offers this package's version alone, in the
// version bitmap of OpenFlow 1.3.1 §7.5.1.
type Hello struct{}

func (Hello) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeHello, xid)
	b = append(b, 0, 1, 0, 8) // OFPHET_VERSIONBITMAP, 8 bytes
	b = binary.BigEndian.AppendUint32(b, 1<<Version)
	return end(b, start)
}

// OffersVersion reports whether the peer whose HELLO is f speaks OpenFlow 1.5: its
// bitmap says so, or, without a bitmap, its header's version is at least 1.5. The
// header may carry any version.
func OffersVersion(f Frame) bool {
	offers, bitmap := f.Version() >= Version, false
	for b := f.Body(); len(b) >= 4; {
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			break
		}
		if typ == 1 && n >= 8 && !bitmap {
			bitmap, offers = true, binary.BigEndian.Uint32(b[4:])&(1<<Version) != 0
		}
		b = b[min(n+align8(n), len(b)):]
	}
	return offers
}

// Echo asks whether the peer is alive; Reply true answers it with the same data.
type Echo struct {
	Reply bool
	Data  []byte
}

func (m Echo) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start, t := len(b), TypeEchoRequest
	if m.Reply {
		t = TypeEchoReply
	}
	return end(append(begin(b, t, xid), m.Data...), start)
}

// FeaturesRequest asks for the switch's Features.
type FeaturesRequest struct{}

func (FeaturesRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	return end(begin(b, TypeFeaturesRequest, xid), start)
}

// Features is the reply to FeaturesRequest (OpenFlow 1.5.1 §7.3.1).
type Features struct {
	DatapathID   uint64
	Buffers      uint32 // packets the switch can hold; 0 with Open vSwitch
	Tables       uint8
	AuxiliaryID  uint8 // 0 for the main connection
	Capabilities uint32
}

// Decode reads a FEATURES_REPLY.
func (m *Features) Decode(f Frame) error {
	b, err := f.expect(TypeFeaturesReply, 24)
	if err != nil {
		return err
	}
	*m = Features{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), b[12], b[13], binary.BigEndian.Uint32(b[16:])}
	return nil
}

// SetConfig sets the fragment handling (Flags, 0 is normal) and how many bytes of
// a packet a table miss sends to the controller.
type SetConfig struct {
	Flags       uint16
	MissSendLen uint16
}

func (m SetConfig) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeSetConfig, xid)
	b = binary.BigEndian.AppendUint16(b, m.Flags)
	return end(binary.BigEndian.AppendUint16(b, m.MissSendLen), start)
}

// Barrier asks the switch to finish what came before it and then reply.
type Barrier struct{}

func (Barrier) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	return end(begin(b, TypeBarrierRequest, xid), start)
}

// Role is a controller's role on a connection (OpenFlow 1.5.1 §6.3.6).
type Role uint32

const (
	RoleNoChange  Role = 0 // in a request: only tell me
	RoleEqual     Role = 1 // the role of a fresh connection: may write
	RolePrimary   Role = 2 // may write, makes the former primary secondary
	RoleSecondary Role = 3 // may only read
)

func (r Role) String() string {
	switch r {
	case RoleNoChange:
		return "nochange"
	case RoleEqual:
		return "equal"
	case RolePrimary:
		return "primary"
	case RoleSecondary:
		return "secondary"
	}
	return fmt.Sprintf("role %d", uint32(r))
}

// RoleRequest asks for a role. GenerationID fences primaries: the switch refuses one
// lower than the highest it has seen (error ROLE_REQUEST_FAILED, STALE).
type RoleRequest struct {
	Role         Role
	ShortID      uint16 // 1.5's controller id; 0xffff is "undefined"
	GenerationID uint64
}

func (m RoleRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeRoleRequest, xid)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Role))
	b = binary.BigEndian.AppendUint16(b, m.ShortID)
	b = pad(b, 2)
	return end(binary.BigEndian.AppendUint64(b, m.GenerationID), start)
}

// RoleReply answers RoleRequest. GenerationID is all ones before any was set.
type RoleReply struct {
	Role         Role
	ShortID      uint16
	GenerationID uint64
}

// Decode reads a ROLE_REPLY.
func (m *RoleReply) Decode(f Frame) error {
	b, err := f.expect(TypeRoleReply, 16)
	if err != nil {
		return err
	}
	*m = RoleReply{Role(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint64(b[8:])}
	return nil
}

// RoleStatus tells a controller that its role was changed by another's request or
// by the switch.
type RoleStatus struct {
	Role         Role
	Reason       uint8 // 0 another controller became primary, 1 the switch's configuration, 2 an experimenter's
	GenerationID uint64
}

// Decode reads a ROLE_STATUS.
func (m *RoleStatus) Decode(f Frame) error {
	b, err := f.expect(TypeRoleStatus, 16)
	if err != nil {
		return err
	}
	*m = RoleStatus{Role(binary.BigEndian.Uint32(b)), b[4], binary.BigEndian.Uint64(b[8:])}
	return nil
}

// BundleCommand is what a BundleControl asks for or, one higher, replies
// (OpenFlow 1.5.1 §7.3.9.2).
type BundleCommand uint16

const (
	BundleOpen    BundleCommand = 0
	BundleClose   BundleCommand = 2
	BundleCommit  BundleCommand = 4
	BundleDiscard BundleCommand = 6
)

// Bundle flags.
const (
	BundleAtomic  uint16 = 1 // all of it or nothing, also for packets
	BundleOrdered uint16 = 2 // in the order added
)

// BundleControl opens, closes, commits or discards a bundle.
type BundleControl struct {
	ID      uint32
	Command BundleCommand
	Flags   uint16 // must be the same in all messages of the bundle
}

func (m BundleControl) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeBundleControl, xid)
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Command))
	return end(binary.BigEndian.AppendUint16(b, m.Flags), start)
}

// Decode reads a BUNDLE_CONTROL, request or reply; a reply's command is the
// request's plus 1.
func (m *BundleControl) Decode(f Frame) error {
	b, err := f.expect(TypeBundleControl, 8)
	if err != nil {
		return err
	}
	*m = BundleControl{binary.BigEndian.Uint32(b), BundleCommand(binary.BigEndian.Uint16(b[4:])), binary.BigEndian.Uint16(b[6:])}
	return nil
}

// BundleAdd adds a message to an open bundle. Both carry the same xid, as OpenFlow
// demands, and an error about the inner message names it.
type BundleAdd struct {
	ID      uint32
	Flags   uint16
	Message Message
}

func (m BundleAdd) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeBundleAdd, xid)
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = pad(b, 2)
	b = binary.BigEndian.AppendUint16(b, m.Flags)
	b, err := m.Message.AppendTo(b, xid)
	if err != nil {
		return b[:start], err
	}
	return end(b, start)
}

// SetPacketInFormat chooses the form of packet-ins; Nicira's version 2 is what
// PacketIn decodes.
type SetPacketInFormat struct{}

func (SetPacketInFormat) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = beginNicira(b, niciraSetPacketInFormat, xid)
	return end(binary.BigEndian.AppendUint32(b, 2), start)
}

// SetControllerID sets the id that controller actions may name (NXT_SET_CONTROLLER_ID).
type SetControllerID struct{ ID uint16 }

func (m SetControllerID) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = pad(beginNicira(b, niciraSetControllerID, xid), 6)
	return end(binary.BigEndian.AppendUint16(b, m.ID), start)
}

// AsyncProperty names one event type for one role in SetAsync (OpenFlow 1.5.1
// §7.3.10): an odd number is for the roles that may write, the even one below it
// for the secondary role.
type AsyncProperty uint16

const (
	AsyncPacketInSecondary    AsyncProperty = 0
	AsyncPacketIn             AsyncProperty = 1
	AsyncPortStatusSecondary  AsyncProperty = 2
	AsyncPortStatus           AsyncProperty = 3
	AsyncFlowRemovedSecondary AsyncProperty = 4
	AsyncFlowRemoved          AsyncProperty = 5
	AsyncRoleStatusSecondary  AsyncProperty = 6
	AsyncRoleStatus           AsyncProperty = 7
)

// SetAsync says which events this connection receives: for each property named, a
// bit mask of reasons. Properties that are not named stay as they are.
type SetAsync []AsyncReasons

// AsyncReasons is the reasons (bit n for reason n) for which an event is sent.
type AsyncReasons struct {
	Property AsyncProperty
	Reasons  uint32
}

func (m SetAsync) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeSetAsync, xid)
	for _, p := range m {
		b = binary.BigEndian.AppendUint16(b, uint16(p.Property))
		b = binary.BigEndian.AppendUint16(b, 8)
		b = binary.BigEndian.AppendUint32(b, p.Reasons)
	}
	return end(b, start)
}
