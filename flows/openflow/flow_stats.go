package openflow

import (
	"encoding/binary"
	"fmt"
	"time"
)

// FlowStatsRequest asks for the flows that Match contains (OFPMP_FLOW_DESC). The
// replies are read by ParseFlowStats.
type FlowStatsRequest struct {
	Table      uint8  // TableAll for all
	OutPort    uint32 // only flows that output there; 0 is any
	OutGroup   uint32 // only flows that use this group; 0 is any
	Cookie     uint64
	CookieMask uint64 // only flows whose cookie agrees with Cookie in these bits
	Match      Match  // "" is all
}

func (m FlowStatsRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = beginMultipart(b, MultipartFlowDesc, xid)
	b = append(b, m.Table, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, orAny(m.OutPort))
	b = binary.BigEndian.AppendUint32(b, orAny(m.OutGroup))
	b = pad(b, 4)
	b = binary.BigEndian.AppendUint64(b, m.Cookie)
	b = binary.BigEndian.AppendUint64(b, m.CookieMask)
	return end(appendMatch(b, m.Match), start)
}

// FlowStats is one installed flow with its counters (OpenFlow 1.5.1 §7.3.5.2).
type FlowStats struct {
	Table        uint8
	Priority     uint16
	Cookie       uint64
	IdleTimeout  uint16 // seconds; 0 none
	HardTimeout  uint16 // seconds; 0 none
	Importance   uint16
	Flags        FlowFlags
	Match        Match
	Instructions Instructions
	Counters
}

// Counters is what a switch counts for a flow, carried as OXS (OpenFlow 1.5.1 §7.2.4).
type Counters struct {
	Duration time.Duration // since it was added
	Idle     time.Duration // since its last packet, in seconds; -1 if not told
	Packets  uint64        // all ones if not told
	Bytes    uint64        // all ones if not told
}

// ParseFlowStats reads the flow at the start of a FLOW_DESC reply's body and returns
// what follows it. The flow doesn't alias b: it costs one allocation.
func ParseFlowStats(b []byte) (s FlowStats, rest []byte, err error) {
	e, rest, err := entry("flow_desc", b, 24)
	if err != nil {
		return s, nil, err
	}
	s = FlowStats{
		Table:       e[4],
		Priority:    binary.BigEndian.Uint16(e[6:]),
		IdleTimeout: binary.BigEndian.Uint16(e[8:]),
		HardTimeout: binary.BigEndian.Uint16(e[10:]),
		Flags:       FlowFlags(binary.BigEndian.Uint16(e[12:])),
		Importance:  binary.BigEndian.Uint16(e[14:]),
		Cookie:      binary.BigEndian.Uint64(e[16:]),
	}
	match, tail, err := parseMatch(string(e[24:]))
	if err != nil {
		return s, nil, fmt.Errorf("openflow: flow_desc: %w", err)
	}
	s.Match = match
	if s.Counters, tail, err = parseCounters(tail); err != nil {
		return s, nil, fmt.Errorf("openflow: flow_desc: %w", err)
	}
	s.Instructions = Instructions(tail)
	if err := s.Instructions.check(); err != nil {
		return s, nil, fmt.Errorf("openflow: flow_desc: %w", err)
	}
	return s, rest, nil
}

// The OXS fields of a flow, class 0x8002, each of 8 bytes.
const (
	oxsDuration = 0 // seconds, nanoseconds: 32 bits each
	oxsIdle     = 1 // as above
	oxsPackets  = 4
	oxsBytes    = 5
)

// parseCounters reads an ofp_stats at the start of s and returns what follows its padding.
func parseCounters(s string) (c Counters, rest string, err error) {
	c = Counters{Idle: -1, Packets: ^uint64(0), Bytes: ^uint64(0)}
	if len(s) < 4 {
		return c, "", errShort("stats", len(s), 4)
	}
	n := int(s[2])<<8 | int(s[3])
	padded := n + align8(n)
	if n < 4 || padded > len(s) {
		return c, "", fmt.Errorf("openflow: stats: length %d, %d bytes are left", n, len(s))
	}
	for list := s[4:n]; list != ""; {
		if len(list) < 4 || 4+int(list[3]) > len(list) {
			return c, "", errShort("stats: field", len(list), 4)
		}
		size := int(list[3])
		if class := int(list[0])<<8 | int(list[1]); class == 0x8002 && size == 8 {
			v := bigString(list[4:12]).Lo
			switch list[2] >> 1 {
			case oxsDuration:
				c.Duration = oxsTime(v)
			case oxsIdle:
				c.Idle = oxsTime(v)
			case oxsPackets:
				c.Packets = v
			case oxsBytes:
				c.Bytes = v
			}
		}
		list = list[4+size:]
	}
	return c, s[padded:], nil
}

func oxsTime(v uint64) time.Duration {
	return time.Duration(v>>32)*time.Second + time.Duration(uint32(v))
}

// String is the flow as "ovs-ofctl -O OpenFlow15 --no-names dump-flows" prints it.
func (s FlowStats) String() string { return string(s.AppendText(nil)) }

// AppendText appends what String returns.
func (s FlowStats) AppendText(b []byte) []byte {
	b = fmt.Appendf(b, "cookie=%#x, duration=", s.Cookie)
	b = appendDuration(b, s.Duration)
	b = fmt.Appendf(b, ", table=%d, ", s.Table)
	b = appendCount(append(b, "n_packets="...), s.Packets)
	b = appendCount(append(b, ", n_bytes="...), s.Bytes)
	b = append(b, ", "...)
	if s.IdleTimeout != 0 {
		b = fmt.Appendf(b, "idle_timeout=%d, ", s.IdleTimeout)
	}
	if s.HardTimeout != 0 {
		b = fmt.Appendf(b, "hard_timeout=%d, ", s.HardTimeout)
	}
	b = s.Flags.appendText(b)
	if s.Importance != 0 {
		b = fmt.Appendf(b, "importance=%d, ", s.Importance)
	}
	if s.Idle >= 0 {
		b = fmt.Appendf(b, "idle_age=%d, ", int(s.Idle/time.Second))
	}
	b, some := appendPriorityMatch(b, s.Priority, s.Match)
	if some {
		b = append(b, ' ')
	}
	return s.Instructions.AppendText(append(b, "actions="...))
}

func appendCount(b []byte, v uint64) []byte {
	if v == ^uint64(0) {
		return append(b, '?')
	}
	return fmt.Appendf(b, "%d", v)
}

// appendDuration appends seconds with no decimals, three, or as many of nine as it takes.
func appendDuration(b []byte, d time.Duration) []byte {
	b = fmt.Appendf(b, "%d", d/time.Second)
	switch ns := d % time.Second; {
	case ns == 0:
	case ns%time.Millisecond == 0:
		b = fmt.Appendf(b, ".%03d", ns/time.Millisecond)
	default:
		b = fmt.Appendf(b, ".%09d", int64(ns))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 's')
}

// FlowRemoved tells of a flow that went and had FlowSendRemoved (OpenFlow 1.5.1 §7.4.2).
type FlowRemoved struct {
	Table       uint8
	Reason      RemovedReason
	Priority    uint16
	IdleTimeout uint16
	HardTimeout uint16
	Cookie      uint64
	Match       Match
	Counters
}

// RemovedReason says why a flow went.
type RemovedReason uint8

const (
	RemovedIdleTimeout RemovedReason = iota
	RemovedHardTimeout
	RemovedDelete
	RemovedGroupDelete
	RemovedMeterDelete
	RemovedEviction
)

// Decode reads a FLOW_REMOVED.
func (m *FlowRemoved) Decode(f Frame) error {
	b, err := f.expect(TypeFlowRemoved, 16+8+8)
	if err != nil {
		return err
	}
	*m = FlowRemoved{
		Table:       b[0],
		Reason:      RemovedReason(b[1]),
		Priority:    binary.BigEndian.Uint16(b[2:]),
		IdleTimeout: binary.BigEndian.Uint16(b[4:]),
		HardTimeout: binary.BigEndian.Uint16(b[6:]),
		Cookie:      binary.BigEndian.Uint64(b[8:]),
	}
	match, tail, err := parseMatch(string(b[16:]))
	if err != nil {
		return fmt.Errorf("openflow: flow_removed: %w", err)
	}
	m.Match = match
	if m.Counters, _, err = parseCounters(tail); err != nil {
		return fmt.Errorf("openflow: flow_removed: %w", err)
	}
	return nil
}
