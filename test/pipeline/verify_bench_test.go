package pipeline

import (
	"fmt"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// crowded is a host with many networks of a type, and on each of them as many ports here, and as many on other hosts.
func crowded(networkType string, networks, local, remote int) *topology {
	t := newTopology()
	h := t.host(1)
	n := 0
	for i := range networks {
		net := t.segment(1+i, networkType, uint32(1+i))
		t.vlans[vlanKey{"h1", net.ID}] = uint16(1 + i)
		for range local {
			n++
			t.port(n, net, h, uint32(10+n), addr4(10, byte(n>>16), byte(n>>8), byte(n)).String())
		}
		for j := range remote {
			n++
			t.port(n, net, t.host(2+j), uint32(10+n), addr4(10, byte(n>>16), byte(n>>8), byte(n)).String())
		}
	}
	return t
}

// What it takes to verify a host, without reading what its switches hold.
func BenchmarkVerify(b *testing.B) {
	for _, size := range []struct{ networks, local, remote int }{{3, 10, 10}, {4094, 1, 1}, {1, 2000, 300}} {
		b.Run(fmt.Sprintf("networks=%d/ports=%d", size.networks, size.networks*(size.local+size.remote)), func(b *testing.B) {
			top := crowded(model.TypeVXLAN, size.networks, size.local, size.remote)
			v := top.view(top.hosts[0])
			c := compile(b, v, features()...)
			in := holding(b, c)
			b.Run("isolation", func(b *testing.B) {
				for b.Loop() {
					for _, bridge := range flows.Bridges {
						if leaks := flows.Isolation(v, bridge, in[bridge]); len(leaks) > 0 {
							b.Fatal(leaks[0])
						}
					}
				}
				b.ReportMetric(float64(len(in[flows.BrInt].Flows)+len(in[flows.BrTun].Flows)), "flows")
			})
			b.Run("difference", func(b *testing.B) {
				for b.Loop() {
					c := compile(b, v, features()...)
					for _, bridge := range flows.Bridges {
						c.Load(bridge, in[bridge])
					}
					if p := c.Plan(); !p.Empty() {
						b.Fatal(p)
					}
				}
			})
		})
	}
}
