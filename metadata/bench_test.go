package metadata

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/buffer"
)

// Requests for a hostname, the machines' own TCP stacks included: all machines ask at once, one request
// after the other.
func BenchmarkRequests(b *testing.B) {
	for _, c := range []struct {
		machines int
		keep     bool
	}{{1, true}, {1, false}, {50, true}, {50, false}} {
		how := map[bool]string{true: "kept", false: "new"}[c.keep]
		b.Run(fmt.Sprintf("machines=%d/connections=%s", c.machines, how), func(b *testing.B) {
			s := serve(b, Options{})
			s.clients.rate = rate.Inf
			guests := bootAll(b, s, deployment(c.machines))
			ask := func(g *guest) {
				if status, _, err := g.ask("GET", overIPv4+"/latest/meta-data/hostname", nil, nil); err != nil || status != http.StatusOK {
					b.Error(status, err)
				}
			}
			for _, g := range guests {
				g.http.Transport.(*http.Transport).DisableKeepAlives = !c.keep
				ask(g)
			}
			var all sync.WaitGroup
			took := make([][]time.Duration, len(guests))
			b.ResetTimer()
			for i, g := range guests {
				requests := b.N / len(guests)
				if i < b.N%len(guests) {
					requests++
				}
				all.Go(func() {
					for range requests {
						start := time.Now()
						ask(g)
						took[i] = append(took[i], time.Since(start))
					}
				})
			}
			all.Wait()
			b.StopTimer()
			times := slices.Concat(took...)
			slices.Sort(times)
			b.ReportMetric(float64(len(times))/b.Elapsed().Seconds(), "req/s")
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// A machine's segment as far as the stack.
func BenchmarkSegment(b *testing.B) {
	v := deployment(1)
	n := v.Networks[0]
	c, frame := newClients(), syn(b, addr("10.0.0.5"), AddressIPv4, 1460, nil)
	b.ReportAllocs()
	for b.Loop() {
		var in segment
		if err := in.parse(frame); err != nil {
			b.Fatal(err)
		}
		client, err := c.heard(clientKey{n.Local[0].ID, in.source}, &presence{view: v, network: n, port: n.Local[0], guest: in.guest, nextHop: in.nextHop}, false, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		view := buffer.NewViewSize(len(in.packet))
		in.translate(view.AsSlice(), client.synthetic(), n.MTU)
		view.Release()
	}
}

// A full segment of the stack's as a frame, checksums and all.
func BenchmarkFrame(b *testing.B) {
	packet := make([]byte, stackMTU)
	copy(packet, syn(b, AddressIPv4, addr("10.0.0.5"), 1460, nil)[ethernetLen:])
	pieces, frame := [][]byte{packet[:40], packet[40:]}, make([]byte, 0, 2000)
	b.ReportAllocs()
	for b.Loop() {
		frame = appendFrame(frame[:0], pieces, MAC, portMAC, addr("10.0.0.5"))
	}
}
