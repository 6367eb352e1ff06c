package openflow

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Reserved port numbers (OpenFlow 1.5.1 §7.2.1.1).
const (
	PortInPort     uint32 = 0xfffffff8
	PortTable      uint32 = 0xfffffff9
	PortNormal     uint32 = 0xfffffffa
	PortFlood      uint32 = 0xfffffffb
	PortAll        uint32 = 0xfffffffc
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff

	portMax = 0xff00 // the first number that is no port's in Open vSwitch
)

// Groups, meters and tables that are none or all of them.
const (
	GroupAll uint32 = 0xfffffffc
	GroupAny uint32 = 0xffffffff
	MeterAll uint32 = 0xffffffff
	TableAll uint8  = 0xff
)

// An Action is one action of OpenFlow 1.5.1 §7.2.6 or of Open vSwitch's extensions
// (ovs-actions(7)). The set is closed: Output, OutputReg, Group, Meter, SetField,
// Move, PushVLAN, PopVLAN, DecTTL, SetQueue, Resubmit, Controller, Learn, Note, Clone,
// and RawAction for all others.
type Action interface {
	// AppendText appends the action as ovs-ofctl prints it.
	AppendText(b []byte) []byte
	check() error
}

// Actions is a list of actions in wire form. "" is none.
type Actions string

// NewActions makes a list. An error names the action that cannot be: a field that is
// not writable, subfields that do not fit, a mask or value that the field does not have.
func NewActions(list ...Action) (Actions, error) {
	var room [512]byte
	b, err := appendActions(room[:0], list)
	return Actions(b), err
}

// MustActions is NewActions for lists fixed in code: it panics where that errs.
func MustActions(list ...Action) Actions {
	a, err := NewActions(list...)
	if err != nil {
		panic("openflow: " + err.Error())
	}
	return a
}

func appendActions(b []byte, list []Action) ([]byte, error) {
	for i, a := range list {
		if err := checkAction(a); err != nil {
			return nil, fmt.Errorf("action %d: %w", i+1, err)
		}
		b = appendAction(b, a)
	}
	return b, nil
}

// Action types of OpenFlow 1.5 and Nicira's subtypes.
const (
	actionOutput       = 0
	actionPushVLAN     = 17
	actionPopVLAN      = 18
	actionSetQueue     = 21
	actionGroup        = 22
	actionDecTTL       = 24
	actionSetField     = 25
	actionCopyField    = 28
	actionMeter        = 29
	actionExperimenter = 0xffff

	niciraNote          = 8
	niciraResubmitTable = 14
	niciraOutputReg     = 15
	niciraLearn         = 16
	niciraController    = 20
	niciraController2   = 37
	niciraClone         = 42
	niciraLearn2        = 45
)

// checkAction and appendAction name each type rather than call through the
// interface: so the compiler sees that the caller's actions need not be on the heap.
func checkAction(a Action) error {
	switch a := a.(type) {
	case Output:
		return a.check()
	case OutputReg:
		return a.check()
	case SetField:
		return a.check()
	case Move:
		return a.check()
	case Controller:
		return a.check()
	case Learn:
		return a.check()
	case Note:
		return a.check()
	case Clone:
		return a.check()
	case RawAction:
		return a.check()
	}
	return nil
}

func appendAction(b []byte, a Action) []byte {
	switch a := a.(type) {
	case Output:
		return a.appendTo(b)
	case OutputReg:
		return a.appendTo(b)
	case Group:
		return appendAction32(b, actionGroup, a.ID)
	case Meter:
		return appendAction32(b, actionMeter, a.ID)
	case SetQueue:
		return appendAction32(b, actionSetQueue, a.ID)
	case SetField:
		return a.appendTo(b)
	case Move:
		return a.appendTo(b)
	case PushVLAN:
		return appendAction32(b, actionPushVLAN, uint32(a.EtherType)<<16)
	case PopVLAN:
		return appendAction32(b, actionPopVLAN, 0)
	case DecTTL:
		return appendAction32(b, actionDecTTL, 0)
	case Resubmit:
		return a.appendTo(b)
	case Controller:
		return a.appendTo(b)
	case Learn:
		return a.appendTo(b)
	case Note:
		return a.appendTo(b)
	case Clone:
		return a.appendTo(b)
	case RawAction:
		return append(b, a...)
	}
	return b
}

// appendAction32 appends an action of 8 bytes: type, length, 32 bits.
func appendAction32(b []byte, typ uint16, v uint32) []byte {
	b = binary.BigEndian.AppendUint16(b, typ)
	b = append(b, 0, 8)
	return binary.BigEndian.AppendUint32(b, v)
}

// appendNicira appends the header of a Nicira action: type, length, experimenter, subtype.
func appendNicira(b []byte, length int, subtype uint16) []byte {
	b = append(b, 0xff, 0xff, byte(length>>8), byte(length))
	b = binary.BigEndian.AppendUint32(b, experimenterNicira)
	return binary.BigEndian.AppendUint16(b, subtype)
}

// setActionLen pads the action that begins at start to 8 bytes and sets its length.
func setActionLen(b []byte, start int) []byte {
	b = pad(b, align8(len(b)-start))
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}

// All yields the actions in order. One that this package does not know, or that it
// would encode otherwise, comes as a RawAction, so that encoding what All yields
// gives the same bytes.
func (a Actions) All() iter.Seq[Action] {
	return func(yield func(Action) bool) {
		for rest := string(a); rest != ""; {
			wire, tail, err := nextTLV("action", rest)
			if err != nil || !yield(parseAction(wire)) {
				return
			}
			rest = tail
		}
	}
}

// AppendText appends the list as ovs-ofctl prints it, "drop" when empty.
func (a Actions) AppendText(b []byte) []byte {
	if a == "" {
		return append(b, "drop"...)
	}
	first := true
	for action := range a.All() {
		if !first {
			b = append(b, ',')
		}
		b, first = action.AppendText(b), false
	}
	return b
}

func (a Actions) String() string { return string(a.AppendText(nil)) }

// check says whether the list is well formed.
func (a Actions) check() error {
	for rest := string(a); rest != ""; {
		_, tail, err := nextTLV("action", rest)
		if err != nil {
			return err
		}
		rest = tail
	}
	return nil
}

// nextTLV takes an action or instruction off s: type and length, 16 bits each, the
// length a multiple of 8 that counts both.
func nextTLV(what, s string) (tlv, rest string, err error) {
	if len(s) < 8 {
		return "", "", errShort(what, len(s), 8)
	}
	n := int(s[2])<<8 | int(s[3])
	if n < 8 || n%8 != 0 || n > len(s) {
		return "", "", fmt.Errorf("openflow: %s of type %d: length %d, %d bytes are left", what, int(s[0])<<8|int(s[1]), n, len(s))
	}
	return s[:n], s[n:], nil
}

// parseAction returns the action that wire, one well-formed action, is.
func parseAction(wire string) Action {
	b := []byte(wire)
	a, ok := decodeAction(b)
	if ok && checkAction(a) == nil && string(appendAction(make([]byte, 0, len(b)), a)) == wire {
		return a
	}
	return RawAction(wire)
}

// decodeAction reads an action of at least 8 bytes. Padding and lengths that are
// fixed are left to parseAction, which compares.
func decodeAction(b []byte) (Action, bool) {
	v := binary.BigEndian.Uint32(b[4:])
	switch binary.BigEndian.Uint16(b) {
	case actionOutput:
		if len(b) == 16 {
			return Output{v, binary.BigEndian.Uint16(b[8:])}, true
		}
	case actionGroup:
		return Group{v}, true
	case actionMeter:
		return Meter{v}, true
	case actionSetQueue:
		return SetQueue{v}, true
	case actionPushVLAN:
		return PushVLAN{uint16(v >> 16)}, true
	case actionPopVLAN:
		return PopVLAN{}, true
	case actionDecTTL:
		return DecTTL{}, true
	case actionSetField:
		return decodeSetField(b[4:])
	case actionCopyField:
		return decodeMove(b)
	case actionExperimenter:
		if v == experimenterNicira && len(b) >= 16 {
			return decodeNicira(binary.BigEndian.Uint16(b[8:]), b)
		}
	}
	return nil, false
}

func decodeNicira(subtype uint16, b []byte) (Action, bool) {
	switch subtype {
	case niciraResubmitTable:
		return decodeResubmit(b)
	case niciraNote:
		return Note{b[10:]}, true
	case niciraOutputReg:
		return decodeOutputReg(b)
	case niciraController, niciraController2:
		return decodeController(subtype, b)
	case niciraLearn, niciraLearn2:
		return decodeLearn(subtype, b)
	case niciraClone:
		return Clone{Actions(b[16:])}, true
	}
	return nil, false
}
