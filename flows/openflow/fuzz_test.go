package openflow

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// seeds are bytes that a generated message has, without its first skip bytes.
func seeds(f *testing.F, skip int, messages ...Message) {
	for _, m := range messages {
		b, err := m.AppendTo(nil, 1)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[skip:])
	}
}

// generated is a few random flows.
func generated(n int) (list []FlowMod) {
	g := newGenerator(7)
	for range n {
		list = append(list, g.flow())
	}
	return list
}

// framed makes b a message of type t whose length is right.
func framed(t Type, b []byte) Frame {
	f := append(begin(nil, t, 1), b[:min(len(b), MaxMessage-HeaderLen)]...)
	binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
	return f
}

func FuzzMatch(f *testing.F) {
	for _, flow := range generated(20) {
		f.Add(appendMatch(nil, flow.Match))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, rest, err := parseMatch(string(b))
		if err != nil {
			return
		}
		if again := append(appendMatch(nil, m), rest...); !bytes.Equal(again, b) {
			t.Fatalf("%x\nagain %x", b, again)
		}
		_ = m.String()
		var values []FieldValue
		var wire []byte
		for v := range m.Fields() {
			values = append(values, v)
			wire = v.appendOXM(wire, v.masked())
			m.Get(v.Field)
		}
		canonical, err := NewMatch(values...)
		if err == nil && string(wire) == string(m) {
			again, err := NewMatch(slices.Collect(canonical.Fields())...)
			if err != nil || again != canonical {
				t.Fatalf("%x is not stable: %x, %v", string(canonical), string(again), err)
			}
		}
	})
}

func FuzzActions(f *testing.F) {
	for _, flow := range append(generated(20), pipelineFlows()...) {
		f.Add([]byte(flow.Instructions.Applied()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := Actions(b)
		if a.check() != nil {
			return
		}
		_ = a.String()
		again, err := NewActions(slices.Collect(a.All())...)
		if err != nil || again != a {
			t.Fatalf("%x\nagain %x, %v", b, string(again), err)
		}
	})
}

func FuzzInstructions(f *testing.F) {
	for _, flow := range generated(20) {
		f.Add([]byte(flow.Instructions))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i := Instructions(b)
		if i.check() != nil {
			return
		}
		_ = i.String()
		again, err := NewInstructions(slices.Collect(i.All())...)
		if err == nil && again != i { // an order of its own is not ours to keep
			t.Fatalf("%x\nagain %x", b, string(again))
		}
	})
}

func FuzzFlowMod(f *testing.F) {
	for _, flow := range generated(20) {
		seeds(f, HeaderLen, flow)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := framed(TypeFlowMod, b)
		var m FlowMod
		if m.Decode(frame) != nil {
			return
		}
		_ = m.String()
		if again, err := m.AppendTo(nil, 1); err != nil || !bytes.Equal(again, frame) {
			t.Fatalf("%x\nagain %x, %v", frame, again, err)
		}
	})
}

// appendFlowDesc makes the entry of a flow dump, as the switch does.
func appendFlowDesc(b []byte, m FlowMod) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, m.Table, 0)
	for _, v := range []uint16{m.Priority, m.IdleTimeout, m.HardTimeout, uint16(m.Flags), m.Importance} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = binary.BigEndian.AppendUint64(b, m.Cookie)
	b = appendMatch(b, m.Match)
	b = append(b, 0, 0, 0, 40)
	for _, field := range []byte{oxsDuration, oxsPackets, oxsBytes} {
		b = append(b, 0x80, 0x02, field<<1, 8, 0, 0, 0, 1, 0, 0, 0, 2)
	}
	b = append(b, m.Instructions...)
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

func FuzzFlowStats(f *testing.F) {
	for _, flow := range generated(20) {
		f.Add(appendFlowDesc(nil, flow))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			s, rest, err := ParseFlowStats(b)
			if err != nil {
				return
			}
			_ = s.String()
			b = rest
		}
	})
}

func FuzzFlowRemoved(f *testing.F) {
	f.Add(append(make([]byte, 16), append(appendMatch(nil, MustMatch(Reg6.Is(7))), 0, 0, 0, 4, 0, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m FlowRemoved
		_ = m.Decode(framed(TypeFlowRemoved, b))
	})
}

func FuzzFlowUpdate(f *testing.F) {
	f.Add([]byte{0, 8, 0, 4, 0, 0, 0, 9})
	f.Add(append(append([]byte{0, 40, 0, 1}, make([]byte, 20)...), appendMatch(nil, MustMatch(Reg6.Is(7)))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			u, rest, err := ParseFlowUpdate(b)
			if err != nil {
				return
			}
			_ = u.Match.String() + u.Instructions.String()
			b = rest
		}
	})
}

func FuzzGroupDesc(f *testing.F) {
	bucket := Bucket{ID: 3, Weight: 5, WatchPort: 2, Actions: MustActions(Output{Port: 1})}
	wire := bucket.appendTo(nil, GroupTypeSelect)
	f.Add(append([]byte{0, byte(16 + len(wire)), 1, 0, 0, 0, 0, 7, 0, byte(len(wire)), 0, 0, 0, 0, 0, 0}, wire...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			g, rest, err := ParseGroupDesc(b)
			if err != nil {
				return
			}
			_ = g.String()
			b = rest
			// What was read can be sent, and reads the same.
			m := GroupMod{Type: g.Type, ID: g.ID, Buckets: g.Buckets, Properties: g.Properties}
			sent, err := m.AppendTo(nil, 1)
			if err != nil {
				continue
			}
			desc := append([]byte{0, 0}, sent[HeaderLen+2:]...)
			binary.BigEndian.PutUint16(desc, uint16(len(desc)))
			again, _, err := ParseGroupDesc(desc)
			if err != nil || again.ID != g.ID || !slices.Equal(again.Buckets, g.Buckets) || again.Properties != g.Properties {
				t.Fatalf("%v\nagain %v, %v", g, again, err)
			}
		}
	})
}

func FuzzMeter(f *testing.F) {
	f.Add([]byte{0, 24, 0, 1, 0, 0, 0, 3, 0, 1, 0, 16, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			m, after, err := ParseMeterConfig(rest)
			if err != nil {
				break
			}
			_, rest = m.String(), after
		}
		for rest := b; len(rest) > 0; {
			var err error
			if _, rest, err = ParseMeterCounters(rest); err != nil {
				break
			}
		}
	})
}

// appendPacketIn makes an NXT_PACKET_IN2.
func appendPacketIn(b []byte, packet []byte, m Match, userData []byte) []byte {
	start := len(b)
	b = beginNicira(b, niciraPacketIn2, 0)
	property := func(typ byte, value ...byte) {
		n := len(value) + 4
		b = append(append(b, 0, typ, byte(n>>8), byte(n)), value...)
		b = pad(b, align8(n))
	}
	property(packetInPacket, packet...)
	property(packetInTableID, 21)
	property(packetInCookie, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef)
	property(packetInReason, byte(ReasonAction))
	property(packetInMetadata, []byte(m)...)
	property(packetInUserData, userData...)
	b, _ = end(b, start)
	return b
}

func FuzzPacketIn(f *testing.F) {
	f.Add(appendPacketIn(nil, make([]byte, 60), MustMatch(InPort.Is(3), Reg5.Is(1), Reg6.Is(7)), []byte{1, 2, 3, 4})[HeaderLen:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var p PacketIn
		if p.Decode(framed(TypeExperimenter, b)) == nil {
			_ = p.String()
			p.Uint(InPort)
			p.Uint(Reg6)
			p.Uint(TunID)
		}
	})
}

func FuzzError(f *testing.F) {
	f.Add([]byte{0, 4, 0, 9, 6, 14, 0, 56, 0, 0, 0, 1})
	f.Add([]byte{0xff, 0xff, 0, 2, 0, 0, 0x23, 0x20})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Error
		frame := framed(TypeError, b)
		if e.Decode(frame) != nil {
			return
		}
		_ = e.Error()
		if b := frame.Body(); e.Type != ErrorExperimenter || bytes.Equal(b[4:8], []byte{0, 0, 0x23, 0x20}) {
			again := errorFrame(&e)
			if again[4], again[5], again[6], again[7] = 0, 0, 0, 1; !bytes.Equal(again, frame) {
				t.Fatalf("%x\nagain %x", frame, again)
			}
		}
	})
}

func FuzzPort(f *testing.F) {
	f.Add(append([]byte{0, 0, 0, 3, 0, 40, 0, 0}, make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			var err error
			if _, rest, err = ParsePort(rest); err != nil {
				break
			}
		}
		var m PortStatus
		_ = m.Decode(framed(TypePortStatus, b))
	})
}

func FuzzSession(f *testing.F) {
	seeds(f, 0, Hello{}, RoleRequest{}, BundleControl{}, BundleAdd{Message: Barrier{}}, SetAsync{{AsyncPacketIn, 1}}, SetPacketInFormat{}, DescRequest{})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ParseFrame(b)
		if err != nil {
			return
		}
		OffersVersion(frame)
		frame.Experimenter()
		_, _, body, err := ParseMultipart(frame)
		if err == nil {
			_, _ = ParseDesc(body)
		}
		for _, m := range []interface{ Decode(Frame) error }{new(Features), new(RoleReply), new(RoleStatus), new(Error), new(PacketIn), new(PortStatus), new(FlowRemoved), new(FlowMod)} {
			_ = m.Decode(frame)
		}
		var control BundleControl
		if control.Decode(frame) == nil && len(frame) == 16 {
			if again, err := control.AppendTo(nil, frame.XID()); err != nil || !bytes.Equal(again, frame) {
				t.Fatalf("%x\nagain %x, %v", frame, again, err)
			}
		}
	})
}
