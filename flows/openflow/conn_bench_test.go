package openflow

import (
	"context"
	"testing"
	"time"
)

const benchmarkFlows = 20000

// BenchmarkBundleSwitch is a bundle of 20,000 flows into an empty real switch.
func BenchmarkBundleSwitch(b *testing.B) {
	s := startVSwitch(b)
	c := s.connect(Options{EchoTimeout: time.Minute})
	messages := flows(benchmarkFlows)
	remove := FlowMod{Command: FlowDelete, Table: TableAll}
	for b.Loop() {
		if err := c.Bundle(context.Background(), messages...); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := c.Bundle(context.Background(), remove); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*benchmarkFlows/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkBundleDiscard is the same to a peer that throws everything away.
func BenchmarkBundleDiscard(b *testing.B) {
	c, peer := accepted(b, Options{})
	go func() {
		in := frameReader{nc: peer, quiet: time.Minute, whole: time.Minute, idle: func() {}}
		for {
			f, err := in.next()
			if err != nil {
				return
			}
			if f.Type() == TypeBundleControl {
				f[13]++ // the reply's type is the request's and 1
				peer.Write(f)
			}
		}
	}()
	messages := flows(benchmarkFlows)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Bundle(context.Background(), messages...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*benchmarkFlows/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkDumpSwitch reads 20,000 flows back from a real switch.
func BenchmarkDumpSwitch(b *testing.B) {
	s := startVSwitch(b)
	c := s.connect(Options{EchoTimeout: time.Minute})
	if err := c.Bundle(context.Background(), flows(benchmarkFlows)...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		err := c.DumpFlows(context.Background(), FlowStatsRequest{Table: TableAll}, func(*FlowStats) error { seen++; return nil })
		if err != nil || seen != benchmarkFlows {
			b.Fatal(seen, err)
		}
	}
	b.ReportMetric(float64(b.N)*benchmarkFlows/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkPacketIn is a packet-in of 480 bytes from the socket to its callback.
func BenchmarkPacketIn(b *testing.B) {
	received := make(chan struct{}, 1)
	var n, want int
	c, peer := accepted(b, Options{PacketIn: func(p *PacketIn) {
		if n++; n == want {
			received <- struct{}{}
		}
	}})
	_ = c
	body := []byte{0, 0, 0x23, 0x20, 0, 0, 0, niciraPacketIn2}
	body = append(body, 0, packetInPacket, 1, 0xd0)
	body = append(body, make([]byte, 0x1d0-4)...)
	var burst []byte
	const each = 100
	for range each {
		burst = append(burst, message(Version, TypeExperimenter, 0, body...)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		want += each
		if _, err := peer.Write(burst); err != nil {
			b.Fatal(err)
		}
		<-received
	}
	b.ReportMetric(float64(b.N)*each/b.Elapsed().Seconds(), "packets/s")
}
