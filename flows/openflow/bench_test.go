package openflow

import "testing"

// tunnelFlow sends what is for a MAC on a network to its host.
func tunnelFlow() FlowMod {
	return FlowMod{Table: 20, Priority: 100, Cookie: 0x0102030405060708,
		Match:        MustMatch(InPort.Is(1), VlanVID.Is(VIDPresent|7), EthDst.MAC(mac1)),
		Instructions: Apply(PopVLAN{}, SetField{TunID.Is(5001)}, SetField{TunDst.Addr(remote)}, Output{Port: 4})}
}

func BenchmarkEncodeTunnelFlow(b *testing.B) {
	m := tunnelFlow()
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = m.AppendTo(buf[:0], 1)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkBuildAndEncodeTunnelFlow(b *testing.B) {
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		m := tunnelFlow()
		buf, _ = m.AppendTo(buf[:0], 1)
	}
	b.SetBytes(int64(len(buf)))
}

func packetInFrame() Frame {
	return appendPacketIn(nil, make([]byte, 342), MustMatch(InPort.Is(3), Reg5.Is(3), Reg6.Is(7), Reg10.Is(1)), []byte{0, 0, 0, 3, 0, 0, 0, 1})
}

func BenchmarkDecodePacketIn(b *testing.B) {
	f := packetInFrame()
	var p PacketIn
	b.ReportAllocs()
	b.SetBytes(int64(len(f)))
	for b.Loop() {
		if err := p.Decode(f); err != nil {
			b.Fatal(err)
		}
		if op, ok := p.Uint(Reg10); !ok || op != 1 {
			b.Fatal(op)
		}
	}
}

func BenchmarkParseFlowStats(b *testing.B) {
	entry := appendFlowDesc(nil, tunnelFlow())
	b.ReportAllocs()
	b.SetBytes(int64(len(entry)))
	for b.Loop() {
		if _, _, err := ParseFlowStats(entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFlowText(b *testing.B) {
	s := must1(ParseFlowStats(appendFlowDesc(nil, tunnelFlow())))
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = s.AppendText(buf[:0])
	}
}

func must1(s FlowStats, _ []byte, err error) FlowStats { return must(s, err) }

// The hot paths allocate nothing.
func TestAllocations(t *testing.T) {
	m, f := tunnelFlow(), packetInFrame()
	buf := make([]byte, 0, 512)
	var p PacketIn
	for what, n := range map[string]float64{
		"encode a tunnel flow": testing.AllocsPerRun(100, func() { buf, _ = m.AppendTo(buf[:0], 1) }),
		"decode a packet-in": testing.AllocsPerRun(100, func() {
			_ = p.Decode(f)
			p.Uint(Reg10)
		}),
	} {
		if n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { tunnelFlow() }); n > 2 {
		t.Errorf("make a tunnel flow: %v allocations, want one for the match and one for the instructions", n)
	}
}
