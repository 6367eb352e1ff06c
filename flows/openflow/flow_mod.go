package openflow

import (
	"encoding/binary"
	"fmt"
)

// FlowCommand is what a FlowMod does.
type FlowCommand uint8

const (
	FlowAdd FlowCommand = iota // or replace the flow of the same table, match and priority
	FlowModify
	FlowModifyStrict
	FlowDelete       // all flows that the match contains
	FlowDeleteStrict // the flow of the same table, match and priority
)

var flowCommandNames = [...]string{"ADD", "MOD", "MOD_STRICT", "DEL", "DEL_STRICT"}

func (c FlowCommand) String() string {
	if int(c) < len(flowCommandNames) {
		return flowCommandNames[c]
	}
	return fmt.Sprintf("command %d", uint8(c))
}

// FlowFlags modify a flow.
type FlowFlags uint16

const (
	FlowSendRemoved   FlowFlags = 1 << iota // send a FlowRemoved when it goes
	FlowCheckOverlap                        // refuse it if another of its priority can match the same packet
	FlowResetCounts                         // start counters at zero, also of a flow it replaces
	FlowNoPacketCount                       // don't keep a packet count
	FlowNoByteCount                         // don't keep a byte count
)

// FlowMod adds, changes or deletes flows (OpenFlow 1.5.1 §7.3.4.2). Its zero values
// are the ones most wanted: add, no timeout, any output port and group.
type FlowMod struct {
	Command      FlowCommand
	Table        uint8
	Priority     uint16
	Cookie       uint64
	CookieMask   uint64 // of commands but FlowAdd: only flows whose cookie agrees in these bits
	IdleTimeout  uint16 // seconds without a packet after which the flow goes; 0 never
	HardTimeout  uint16 // seconds after which the flow goes; 0 never
	Importance   uint16 // the lower, the sooner it is evicted
	OutPort      uint32 // of deletes: only flows that output there; 0 is any
	OutGroup     uint32 // of deletes: only flows that use this group; 0 is any
	Flags        FlowFlags
	Match        Match
	Instructions Instructions
}

// AppendTo appends the message. It allocates nothing but what b needs to grow.
func (m FlowMod) AppendTo(b []byte, xid uint32) ([]byte, error) { return m.appendTo(b, xid) }

func (m *FlowMod) appendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeFlowMod, xid)
	b = binary.BigEndian.AppendUint64(b, m.Cookie)
	b = binary.BigEndian.AppendUint64(b, m.CookieMask)
	b = append(b, m.Table, byte(m.Command))
	b = binary.BigEndian.AppendUint16(b, m.IdleTimeout)
	b = binary.BigEndian.AppendUint16(b, m.HardTimeout)
	b = binary.BigEndian.AppendUint16(b, m.Priority)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, orAny(m.OutPort))
	b = binary.BigEndian.AppendUint32(b, orAny(m.OutGroup))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Flags))
	b = binary.BigEndian.AppendUint16(b, m.Importance)
	b = appendMatch(b, m.Match)
	b = append(b, m.Instructions...)
	return end(b, start)
}

// noBuffer says that a packet is in the message and not in the switch, the only
// case there is with Open vSwitch.
const noBuffer = 0xffffffff

// orAny is the wire's "any port" (or group) for our zero.
func orAny(v uint32) uint32 {
	if v == 0 {
		return PortAny
	}
	return v
}

// orZero is our zero for the wire's "any".
func orZero(v uint32) uint32 {
	if v == PortAny {
		return 0
	}
	return v
}

// Decode reads a FLOW_MOD.
func (m *FlowMod) Decode(f Frame) error {
	b, err := f.expect(TypeFlowMod, 48)
	if err != nil {
		return err
	}
	*m = FlowMod{
		Cookie:      binary.BigEndian.Uint64(b),
		CookieMask:  binary.BigEndian.Uint64(b[8:]),
		Table:       b[16],
		Command:     FlowCommand(b[17]),
		IdleTimeout: binary.BigEndian.Uint16(b[18:]),
		HardTimeout: binary.BigEndian.Uint16(b[20:]),
		Priority:    binary.BigEndian.Uint16(b[22:]),
		OutPort:     orZero(binary.BigEndian.Uint32(b[28:])),
		OutGroup:    orZero(binary.BigEndian.Uint32(b[32:])),
		Flags:       FlowFlags(binary.BigEndian.Uint16(b[36:])),
		Importance:  binary.BigEndian.Uint16(b[38:]),
	}
	if buffer := binary.BigEndian.Uint32(b[24:]); buffer != noBuffer {
		return fmt.Errorf("openflow: flow_mod: buffer %d: packets in buffers are not supported", buffer)
	}
	if b[28]|b[29]|b[30]|b[31] == 0 || b[32]|b[33]|b[34]|b[35] == 0 {
		return fmt.Errorf("openflow: flow_mod: restricted to output port or group 0")
	}
	match, instructions, err := parseMatch(string(b[40:]))
	if err != nil {
		return fmt.Errorf("openflow: flow_mod: %w", err)
	}
	m.Match, m.Instructions = match, Instructions(instructions)
	if err := m.Instructions.check(); err != nil {
		return fmt.Errorf("openflow: flow_mod: %w", err)
	}
	return nil
}

// String is the flow_mod as ovs-ofctl prints its content:
// "ADD table:60 priority=100,reg6=0x1 cookie:0x1 actions=drop".
func (m FlowMod) String() string {
	b := append([]byte(m.Command.String()), ' ')
	if m.Table != 0 {
		b = fmt.Appendf(b, "table:%d ", m.Table)
	}
	b, some := appendPriorityMatch(b, m.Priority, m.Match)
	if some {
		b = append(b, ' ')
	}
	switch {
	case m.Command != FlowAdd && m.CookieMask != 0:
		b = fmt.Appendf(b, "cookie:%#x/%#x ", m.Cookie&m.CookieMask, m.CookieMask)
	case m.Command == FlowAdd && m.Cookie != 0:
		b = fmt.Appendf(b, "cookie:%#x ", m.Cookie)
	}
	if m.IdleTimeout != 0 {
		b = fmt.Appendf(b, "idle:%d ", m.IdleTimeout)
	}
	if m.HardTimeout != 0 {
		b = fmt.Appendf(b, "hard:%d ", m.HardTimeout)
	}
	if m.Importance != 0 {
		b = fmt.Appendf(b, "importance:%d ", m.Importance)
	}
	if m.OutPort != 0 {
		b = append(appendPort(append(b, "out_port:"...), m.OutPort), ' ')
	}
	if m.Flags != 0 {
		b = m.Flags.appendText(b)
	}
	return string(append(b, m.Instructions.String()...))
}

var flowFlagNames = [...]string{"send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts"}

// appendText appends the flags, a space after each.
func (f FlowFlags) appendText(b []byte) []byte {
	for i, name := range flowFlagNames {
		if f&(1<<i) != 0 {
			b = append(append(b, name...), ' ')
		}
	}
	return b
}

// defaultPriority is the one ovs-ofctl doesn't print.
const defaultPriority = 0x8000

// appendPriorityMatch appends "priority=100,in_port=1" and reports whether that was anything.
func appendPriorityMatch(b []byte, priority uint16, m Match) ([]byte, bool) {
	start := len(b)
	if priority != defaultPriority {
		b = fmt.Appendf(b, "priority=%d", priority)
		if m != "" {
			b = append(b, ',')
		}
	}
	b = m.AppendText(b)
	return b, len(b) != start
}
