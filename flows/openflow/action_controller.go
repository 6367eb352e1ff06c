package openflow

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Controller sends the packet to the controllers as a PacketIn (NXAST_CONTROLLER2;
// NXAST_CONTROLLER where that can express it).
type Controller struct {
	MaxLen       uint16 // bytes of the packet; 0 is 65535. Open vSwitch sends a PacketIn all of them anyway
	ControllerID uint16 // see SetControllerID; 0 is all that did not set one
	Reason       Reason // 0 is ReasonAction
	UserData     []byte // comes back in the PacketIn
	Pause        bool   // keep the packet's state for a resume
	MeterID      uint32 // limits what reaches the controller, but not with Pause; 0 is none
}

// Reason says why a packet was sent to the controller.
type Reason uint8

const (
	ReasonNoMatch    Reason = 0
	ReasonAction     Reason = 1
	ReasonInvalidTTL Reason = 2
	ReasonActionSet  Reason = 3
	ReasonGroup      Reason = 4
	ReasonPacketOut  Reason = 5
)

var reasonNames = [...]string{"no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return strconv.Itoa(int(r))
}

// Properties of NXAST_CONTROLLER2.
const (
	controllerMaxLen = iota
	controllerID
	controllerReason
	controllerUserData
	controllerPause
	controllerMeterID
)

func (a Controller) check() error {
	if len(a.UserData) > 0x7fff {
		return fmt.Errorf("controller: userdata of %d bytes", len(a.UserData))
	}
	return nil
}

func (a Controller) maxLen() uint16 {
	if a.MaxLen == 0 {
		return 0xffff
	}
	return a.MaxLen
}

func (a Controller) reason() Reason {
	if a.Reason == ReasonNoMatch {
		return ReasonAction
	}
	return a.Reason
}

func (a Controller) appendTo(b []byte) []byte {
	if len(a.UserData) == 0 && !a.Pause && a.MeterID == 0 {
		b = appendNicira(b, 16, niciraController)
		b = binary.BigEndian.AppendUint16(b, a.maxLen())
		b = binary.BigEndian.AppendUint16(b, a.ControllerID)
		return append(b, byte(a.reason()), 0)
	}
	start := len(b)
	b = pad(appendNicira(b, 0, niciraController2), 6)
	if a.maxLen() != 0xffff {
		b = append(b, 0, controllerMaxLen, 0, 8, byte(a.MaxLen>>8), byte(a.MaxLen), 0, 0)
	}
	if a.ControllerID != 0 {
		b = append(b, 0, controllerID, 0, 8, byte(a.ControllerID>>8), byte(a.ControllerID), 0, 0)
	}
	if a.reason() != ReasonAction {
		b = append(b, 0, controllerReason, 0, 5, byte(a.Reason), 0, 0, 0)
	}
	if n := len(a.UserData); n != 0 {
		b = append(b, 0, controllerUserData, byte((n+4)>>8), byte(n+4))
		b = append(b, a.UserData...)
		b = pad(b, align8(n+4))
	}
	if a.Pause {
		b = append(b, 0, controllerPause, 0, 4, 0, 0, 0, 0)
	}
	if a.MeterID != 0 {
		b = append(b, 0, controllerMeterID, 0, 8)
		b = binary.BigEndian.AppendUint32(b, a.MeterID)
	}
	return setActionLen(b, start)
}

func decodeController(subtype uint16, b []byte) (Action, bool) {
	if subtype == niciraController {
		a := Controller{ControllerID: binary.BigEndian.Uint16(b[12:]), Reason: Reason(b[14])}
		a.setMaxLen(binary.BigEndian.Uint16(b[10:]))
		a.setReason(Reason(b[14]))
		return a, true
	}
	var a Controller
	err := properties("controller", b[16:], func(typ uint16, value []byte) error {
		switch {
		case typ == controllerMaxLen && len(value) == 4:
			a.setMaxLen(binary.BigEndian.Uint16(value))
		case typ == controllerID && len(value) == 4:
			a.ControllerID = binary.BigEndian.Uint16(value)
		case typ == controllerReason && len(value) == 1:
			a.setReason(Reason(value[0]))
		case typ == controllerUserData:
			a.UserData = value
		case typ == controllerPause:
			a.Pause = true
		case typ == controllerMeterID && len(value) == 4:
			a.MeterID = binary.BigEndian.Uint32(value)
		}
		return nil
	})
	return a, err == nil
}

func (a *Controller) setMaxLen(n uint16) {
	if n != 0xffff {
		a.MaxLen = n
	}
}

func (a *Controller) setReason(r Reason) {
	if r != ReasonAction {
		a.Reason = r
	}
}

func (a Controller) AppendText(b []byte) []byte {
	if a.reason() == ReasonAction && a.ControllerID == 0 && len(a.UserData) == 0 && !a.Pause && a.MeterID == 0 {
		return Output{PortController, a.maxLen()}.AppendText(b)
	}
	b = append(b, "controller("...)
	if a.reason() != ReasonAction {
		b = append(append(append(b, "reason="...), a.Reason.String()...), ',')
	}
	if a.maxLen() != 0xffff {
		b = append(strconv.AppendUint(append(b, "max_len="...), uint64(a.MaxLen), 10), ',')
	}
	if a.ControllerID != 0 {
		b = append(strconv.AppendUint(append(b, "id="...), uint64(a.ControllerID), 10), ',')
	}
	if len(a.UserData) != 0 {
		b = append(appendDottedHex(append(b, "userdata="...), a.UserData), ',')
	}
	if a.Pause {
		b = append(b, "pause,"...)
	}
	if a.MeterID != 0 {
		b = append(strconv.AppendUint(append(b, "meter_id="...), uint64(a.MeterID), 10), ',')
	}
	b[len(b)-1] = ')'
	return b
}
