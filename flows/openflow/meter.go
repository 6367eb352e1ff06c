package openflow

import (
	"encoding/binary"
	"fmt"
	"time"
)

// MeterCommand is what a MeterMod does.
type MeterCommand uint16

const (
	MeterAdd MeterCommand = iota
	MeterModify
	MeterDelete // with the flows that use it; all meters for MeterAll
)

// MeterFlags say what a meter's rates count.
type MeterFlags uint16

const (
	MeterKbps  MeterFlags = 1 << iota // rates in kbit/s
	MeterPktps                        // rates in packets/s
	MeterBurst                        // bursts are given
	MeterStats                        // keep statistics
)

// BandType is what happens to packets above a band's rate.
type BandType uint16

const (
	BandDrop       BandType = 1
	BandDSCPRemark BandType = 2
)

// MeterBand is one rate of a meter and what happens above it.
type MeterBand struct {
	Type       BandType // BandDrop for 0
	Rate       uint32   // in the unit of the meter's flags
	Burst      uint32   // in kbit or packets; 0 unless the meter has MeterBurst
	Precedence uint8    // of BandDSCPRemark: by how much
}

const bandLen = 16

// MeterMod adds, changes or deletes a meter (OpenFlow 1.5.1 §7.3.4.5). Open vSwitch
// takes no meters in a bundle.
type MeterMod struct {
	Command MeterCommand
	Flags   MeterFlags
	ID      uint32
	Bands   []MeterBand
}

func (m MeterMod) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = begin(b, TypeMeterMod, xid)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Command))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Flags))
	b = binary.BigEndian.AppendUint32(b, m.ID)
	for _, band := range m.Bands {
		if band.Type == 0 {
			band.Type = BandDrop
		}
		b = binary.BigEndian.AppendUint16(b, uint16(band.Type))
		b = append(b, 0, bandLen)
		b = binary.BigEndian.AppendUint32(b, band.Rate)
		b = binary.BigEndian.AppendUint32(b, band.Burst)
		b = append(b, band.Precedence, 0, 0, 0)
	}
	return end(b, start)
}

// MeterConfigRequest asks for meters; the replies are read by ParseMeterConfig.
type MeterConfigRequest struct{ ID uint32 } // MeterAll for all

func (m MeterConfigRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	return appendMeterRequest(b, MultipartMeterDesc, xid, m.ID)
}

func appendMeterRequest(b []byte, typ MultipartType, xid, id uint32) ([]byte, error) {
	start := len(b)
	b = beginMultipart(b, typ, xid)
	return end(pad(binary.BigEndian.AppendUint32(b, id), 4), start)
}

// MeterConfig is one installed meter.
type MeterConfig struct {
	Flags MeterFlags
	ID    uint32
	Bands []MeterBand
}

// ParseMeterConfig reads the meter at the start of a METER_DESC reply's body and
// returns what follows it.
func ParseMeterConfig(b []byte) (m MeterConfig, rest []byte, err error) {
	e, rest, err := entry("meter_desc", b, 8)
	if err != nil {
		return m, nil, err
	}
	m.Flags, m.ID = MeterFlags(binary.BigEndian.Uint16(e[2:])), binary.BigEndian.Uint32(e[4:])
	for e = e[8:]; len(e) > 0; {
		if len(e) < bandLen || binary.BigEndian.Uint16(e[2:]) != bandLen {
			return m, nil, fmt.Errorf("openflow: meter_desc: meter %d: a band is not %d bytes long", m.ID, bandLen)
		}
		band := MeterBand{
			Type:       BandType(binary.BigEndian.Uint16(e)),
			Rate:       binary.BigEndian.Uint32(e[4:]),
			Precedence: e[12],
		}
		if m.Flags&MeterBurst != 0 { // Open vSwitch makes one up otherwise
			band.Burst = binary.BigEndian.Uint32(e[8:])
		}
		m.Bands = append(m.Bands, band)
		e = e[bandLen:]
	}
	return m, rest, nil
}

var meterFlagNames = [...]string{"kbps", "pktps", "burst", "stats"}

// String is the meter as "ovs-ofctl -O OpenFlow15 dump-meters" prints it.
func (m MeterConfig) String() string {
	b := fmt.Appendf(nil, "meter=%d ", m.ID)
	for i, name := range meterFlagNames {
		if m.Flags&(1<<i) != 0 {
			b = append(append(b, name...), ' ')
		}
	}
	b = append(b, "bands="...)
	for _, band := range m.Bands {
		switch band.Type {
		case BandDrop:
			b = append(b, "\ntype=drop"...)
		case BandDSCPRemark:
			b = append(b, "\ntype=dscp_remark"...)
		default:
			b = fmt.Appendf(b, "\ntype=%d", band.Type)
		}
		b = fmt.Appendf(b, " rate=%d", band.Rate)
		if m.Flags&MeterBurst != 0 {
			b = fmt.Appendf(b, " burst_size=%d", band.Burst)
		}
		if band.Type == BandDSCPRemark {
			b = fmt.Appendf(b, " prec_level=%d", band.Precedence)
		}
	}
	return string(b)
}

// MeterStatsRequest asks for counters of meters; the replies are read by ParseMeterCounters.
type MeterStatsRequest struct{ ID uint32 } // MeterAll for all

func (m MeterStatsRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	return appendMeterRequest(b, MultipartMeterStats, xid, m.ID)
}

// MeterCounters is what a meter counted.
type MeterCounters struct {
	ID       uint32
	Packets  uint64
	Bytes    uint64
	Duration time.Duration
	Bands    []BandCounters
}

// BandCounters is the packets above a band's rate.
type BandCounters struct{ Packets, Bytes uint64 }

// ParseMeterCounters reads the meter at the start of a METER_STATS reply's body and
// returns what follows it.
func ParseMeterCounters(b []byte) (m MeterCounters, rest []byte, err error) {
	const least = 40
	if len(b) < least {
		return m, nil, errShort("meter_stats", len(b), least)
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < least || n > len(b) || (n-least)%16 != 0 {
		return m, nil, fmt.Errorf("openflow: meter_stats: length %d, %d bytes are left", n, len(b))
	}
	m = MeterCounters{
		ID:       binary.BigEndian.Uint32(b),
		Packets:  binary.BigEndian.Uint64(b[16:]),
		Bytes:    binary.BigEndian.Uint64(b[24:]),
		Duration: oxsTime(binary.BigEndian.Uint64(b[32:])),
	}
	for e := b[least:n]; len(e) > 0; e = e[16:] {
		m.Bands = append(m.Bands, BandCounters{binary.BigEndian.Uint64(e), binary.BigEndian.Uint64(e[8:])})
	}
	return m, b[n:], nil
}
