package openflow

import (
	"encoding/binary"
	"fmt"
)

// FlowMonitorFlags say when a monitor reports and what (OpenFlow 1.5.1 §7.3.5.17).
type FlowMonitorFlags uint16

const (
	MonitorInitial      FlowMonitorFlags = 1 << iota // the flows there are now
	MonitorAdd                                       // flows that are added
	MonitorRemoved                                   // flows that go
	MonitorModify                                    // flows that change
	MonitorInstructions                              // with their instructions
	MonitorNoAbbrev                                  // in full also what this connection did
	MonitorOnlyOwn                                   // only what this connection did
)

// Commands of FlowMonitorRequest.
const (
	MonitorCommandAdd    uint8 = 0
	MonitorCommandModify uint8 = 1
	MonitorCommandDelete uint8 = 2
)

// FlowMonitorRequest begins, changes or ends the watching of one table's flows, or
// of all tables'. The switch answers with the flows there are and goes on sending
// flow updates in multipart replies of the request's xid or, later, of xid 0.
type FlowMonitorRequest struct {
	ID       uint32
	Command  uint8
	Table    uint8
	OutPort  uint32 // only flows that output there; 0 is any
	OutGroup uint32 // only flows that use this group; 0 is any
	Flags    FlowMonitorFlags
	Match    Match
}

func (m FlowMonitorRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = beginMultipart(b, MultipartFlowMonitor, xid)
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = binary.BigEndian.AppendUint32(b, orAny(m.OutPort))
	b = binary.BigEndian.AppendUint32(b, orAny(m.OutGroup))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Flags))
	b = append(b, m.Table, m.Command)
	return end(appendMatch(b, m.Match), start)
}

// FlowEvent is what happened to a flow.
type FlowEvent uint16

const (
	FlowInitial        FlowEvent = iota // it was there when the monitor began
	FlowAdded                           //
	FlowRemovedEvent                    //
	FlowModified                        //
	FlowAbbreviated                     // the message with this XID, sent by this connection, did it
	FlowMonitorPaused                   // the switch ran out of buffer: changes go unreported
	FlowMonitorResumed                  // what changed meanwhile has been reported
)

// FlowUpdate is one event of a flow monitor.
type FlowUpdate struct {
	Event        FlowEvent
	XID          uint32 // of FlowAbbreviated; the fields below are then empty
	Table        uint8
	Reason       RemovedReason // of FlowRemovedEvent
	Priority     uint16
	IdleTimeout  uint16
	HardTimeout  uint16
	Cookie       uint64
	Match        Match
	Instructions Instructions
}

// ParseFlowUpdate reads the event at the start of a FLOW_MONITOR reply's body and
// returns what follows it.
func ParseFlowUpdate(b []byte) (u FlowUpdate, rest []byte, err error) {
	e, rest, err := entry("flow_update", b, 8)
	if err != nil {
		return u, nil, err
	}
	u.Event = FlowEvent(binary.BigEndian.Uint16(e[2:]))
	switch {
	case u.Event == FlowAbbreviated:
		u.XID = binary.BigEndian.Uint32(e[4:])
		return u, rest, nil
	case u.Event > FlowAbbreviated:
		return u, rest, nil
	case len(e) < 24:
		return u, nil, errShort("flow_update", len(e), 24)
	}
	u.Table, u.Reason = e[4], RemovedReason(e[5])
	u.IdleTimeout = binary.BigEndian.Uint16(e[6:])
	u.HardTimeout = binary.BigEndian.Uint16(e[8:])
	u.Priority = binary.BigEndian.Uint16(e[10:])
	u.Cookie = binary.BigEndian.Uint64(e[16:])
	match, tail, err := parseMatch(string(e[24:]))
	if err != nil {
		return u, nil, fmt.Errorf("openflow: flow_update: %w", err)
	}
	u.Match, u.Instructions = match, Instructions(tail)
	if err := u.Instructions.check(); err != nil {
		return u, nil, fmt.Errorf("openflow: flow_update: %w", err)
	}
	return u, rest, nil
}
