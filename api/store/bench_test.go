package store

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
)

// fill makes networks with ports until there are as many ports.
func fill(b *testing.B, s *Store, n int) *model.Network {
	b.Helper()
	var network *model.Network
	for made := 0; made < n; made += 500 {
		network = newNetwork(uint32(made + 1))
		subnet := newSubnet(network, "10.0.0.0/16")
		update(b, s, func(tx *Tx) error {
			err := first(tx.PutNetwork(network), tx.PutSubnet(subnet))
			for i := range 500 {
				port := newPort(network, i)
				port.HostID, port.DeviceID = fmt.Sprint("compute", i%30), port.ID.String()
				port.DeviceOwner = "compute:nova"
				port.FixedIPs = fixed(subnet, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
				err = first(err, tx.PutPort(port))
			}
			return err
		})
	}
	return network
}

// Durable port creates, each in its own transaction, from 64 goroutines.
func BenchmarkCreate(b *testing.B) {
	for name, open := range map[string]func() *Store{
		"memory":   func() *Store { return closing(b, OpenMemory()) },
		"embedded": func() *Store { return embeddedPlace(b).open(b) },
		"external": func() *Store { return externalPlace(b).open(b) },
	} {
		b.Run(name, func(b *testing.B) {
			s := open()
			network := newNetwork(1)
			subnet := newSubnet(network, "10.0.0.0/8")
			update(b, s, func(tx *Tx) error { return first(tx.PutNetwork(network), tx.PutSubnet(subnet)) })
			var next atomic.Int64
			b.SetParallelism(32) // on 2 cores: 64 goroutines
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(next.Add(1))
					port := newPort(network, i)
					port.HostID = "compute1"
					port.FixedIPs = fixed(subnet, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
					update(b, s, func(tx *Tx) error { return tx.PutPort(port) })
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// One create after the other: what a single client waits.
func BenchmarkCreateAlone(b *testing.B) {
	s := embeddedPlace(b).open(b)
	network := newNetwork(1)
	update(b, s, func(tx *Tx) error { return tx.PutNetwork(network) })
	i := 0
	for b.Loop() {
		i++
		port := newPort(network, i)
		update(b, s, func(tx *Tx) error { return tx.PutPort(port) })
	}
}

// Open an embedded store with 10,000 ports.
func BenchmarkOpen10000Ports(b *testing.B) {
	at := embeddedPlace(b)
	s := at.open(b)
	fill(b, s, 10000)
	s.Close()
	for b.Loop() {
		at.open(b).Close()
	}
}

// Of which: reading the rows and making the indexes.
func BenchmarkLoad10000Ports(b *testing.B) {
	s := embeddedPlace(b).open(b)
	fill(b, s, 10000)
	now := s.Snapshot()
	for b.Loop() {
		s.mu.Lock()
		s.snapshot.Store(&Snapshot{Tables{state: emptyState()}})
		s.mu.Unlock()
		if err := s.reload(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if a, b := now.state.rows[ports].Len(), s.Snapshot().state.rows[ports].Len(); a != b {
		panic(fmt.Sprint(a, " ports became ", b))
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := closing(b, OpenMemory())
	network := fill(b, s, 10000)
	port, _ := s.Snapshot().PortByIP(firstSubnet(s, network).ID, ip("10.0.1.3"))
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			s.Snapshot()
		}
	})
	b.Run("port", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Snapshot().Port(port.ID)
		}
	})
	b.Run("ports of a network of 500", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range s.Snapshot().PortsOf(network.ID) {
			}
		}
	})
}

func firstSubnet(s *Store, n *model.Network) *model.Subnet {
	for subnet := range s.Snapshot().SubnetsOf(n.ID) {
		return subnet
	}
	return nil
}
