package store

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

func TestReadYourWrites(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		subnet := newSubnet(network, "10.0.0.0/24")
		port := newPort(network, 1)
		port.FixedIPs = fixed(subnet, ip("10.0.0.5"))
		port.DeviceID, port.HostID, port.Tags = "vm1", "compute/01", []string{}
		port.Profile = []byte(`{"slot":3}`)

		// References are checked at the end, so the order of writes is free.
		revision := update(t, s, func(tx *Tx) error {
			if err := first(tx.PutPort(port), tx.PutSubnet(subnet), tx.PutNetwork(network)); err != nil {
				return err
			}
			if got, ok := tx.PortByIP(subnet.ID, ip("10.0.0.5")); !ok || got.ID != port.ID {
				t.Errorf("the transaction does not see its own port: %v", got)
			}
			return nil
		})
		snap := s.Snapshot()
		if snap.Revision() < revision {
			t.Errorf("snapshot is at %d after an update to %d", snap.Revision(), revision)
		}
		got, ok := snap.Port(port.ID)
		if !ok {
			t.Fatal("the port is not there")
		}
		if !reflect.DeepEqual(got, port) {
			t.Errorf("port is %+v, want %+v", got, port)
		}
		port.FixedIPs[0].IPAddress = ip("10.0.0.66")
		if got.FixedIPs[0].IPAddress != ip("10.0.0.5") {
			t.Error("the stored row is the caller's")
		}
		for name, found := range map[string][]*model.Port{
			"PortsOf":       slices.Collect(snap.PortsOf(network.ID)),
			"PortsOn":       slices.Collect(snap.PortsOn("compute/01")),
			"PortsOfDevice": slices.Collect(snap.PortsOfDevice("vm1")),
			"Ports":         slices.Collect(snap.Ports()),
		} {
			if len(found) != 1 || found[0] != got {
				t.Errorf("%s: %v", name, found)
			}
		}
		if p, _ := snap.PortByMAC(network.ID, port.MACAddress); p != got {
			t.Errorf("PortByMAC: %v", p)
		}
		if len(slices.Collect(snap.PortsOn("compute"))) != 0 {
			t.Error("a host has the ports of another whose name begins with its own")
		}

		// An update moves the row from its old places to its new ones.
		port.FixedIPs = fixed(subnet, ip("10.0.0.6"))
		port.HostID = "compute02"
		update(t, s, func(tx *Tx) error { return tx.PutPort(port) })
		after := s.Snapshot()
		if _, ok := after.PortByIP(subnet.ID, ip("10.0.0.5")); ok {
			t.Error("the former address still leads to the port")
		}
		if p, ok := after.PortByIP(subnet.ID, ip("10.0.0.6")); !ok || p.HostID != "compute02" {
			t.Errorf("the new address leads to %v", p)
		}
		if n := len(slices.Collect(after.PortsOn("compute/01"))); n != 0 {
			t.Errorf("%d ports on the former host", n)
		}
		if old, _ := snap.Port(port.ID); old != got || old.HostID != "compute/01" {
			t.Error("the former snapshot has changed")
		}
		before, _ := snap.Network(network.ID)
		if now, _ := after.Network(network.ID); now != before {
			t.Error("the network did not change and is another pointer")
		}
	})
}

func TestErrors(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network, other := newNetwork(7), newNetwork(8)
		subnet := newSubnet(network, "10.0.0.0/24")
		port := newPort(network, 1)
		port.FixedIPs = fixed(subnet, ip("10.0.0.5"))
		host := &model.Host{ID: "id1", Hostname: "h1"}
		update(t, s, func(tx *Tx) error {
			return first(tx.PutNetwork(network), tx.PutNetwork(other), tx.PutSubnet(subnet), tx.PutPort(port), tx.PutHost(host))
		})
		update(t, s, func(tx *Tx) error { return tx.PutClaim(&model.Claim{PortID: port.ID, Host: "h1"}) })
		sameMAC, sameIP := newPort(network, 1), newPort(network, 2)
		sameIP.FixedIPs = port.FixedIPs
		elsewhere := newPort(other, 1)
		dhcp, dhcp2 := newPort(network, 10), newPort(network, 11)
		dhcp.DeviceOwner, dhcp2.DeviceOwner = model.OwnerDHCP, model.OwnerDHCP
		lost := newPort(newNetwork(9), 3)
		unknown := uuid.New()

		before := s.Snapshot()
		for name, c := range map[string]struct {
			f    func(*Tx) error
			want error
		}{
			"MAC":       {func(tx *Tx) error { return tx.PutPort(sameMAC) }, &UniqueError{macKey(network.ID, port.MACAddress), port.ID.String()}},
			"address":   {func(tx *Tx) error { return tx.PutPort(sameIP) }, &UniqueError{addressKey(subnet.ID, ip("10.0.0.5")), port.ID.String()}},
			"segment":   {func(tx *Tx) error { return tx.PutNetwork(newNetwork(7)) }, &UniqueError{"segment/vxlan//7", network.ID.String()}},
			"cidr":      {func(tx *Tx) error { return tx.PutSubnet(newSubnet(network, "10.0.0.0/24")) }, &UniqueError{cidrKey(network.ID, subnet.CIDR), subnet.ID.String()}},
			"hostname":  {func(tx *Tx) error { return tx.PutHost(&model.Host{ID: "id2", Hostname: "h1"}) }, &UniqueError{"hostname/h1", "id1"}},
			"dhcp":      {func(tx *Tx) error { return first(tx.PutPort(dhcp), tx.PutPort(dhcp2)) }, &UniqueError{dhcpKey(network.ID), dhcp.ID.String()}},
			"reference": {func(tx *Tx) error { return tx.PutPort(lost) }, &ReferenceError{"port", lost.ID.String(), "network", lost.NetworkID.String()}},
			"network":   {func(tx *Tx) error { return tx.DeleteNetwork(network.ID) }, &InUseError{"network", network.ID.String(), "port", port.ID.String()}},
			"subnet":    {func(tx *Tx) error { return tx.DeleteSubnet(subnet.ID) }, &InUseError{"subnet", subnet.ID.String(), "port", port.ID.String()}},
		} {
			if _, err := s.Update(t.Context(), c.f); !reflect.DeepEqual(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := s.Update(t.Context(), func(tx *Tx) error { return tx.DeletePort(unknown) }); !errors.Is(err, ErrNotFound) {
			t.Errorf("delete of an unknown port: %v", err)
		}
		mine := errors.New("mine")
		if _, err := s.Update(t.Context(), func(tx *Tx) error { return first(tx.PutPort(elsewhere), mine) }); err != mine {
			t.Errorf("error of the function: %v", err)
		}
		if s.Snapshot() != before {
			t.Error("a transaction that failed has left something")
		}

		// The same MAC in another network is another's; what is released in a transaction can be
		// taken in it, crosswise too.
		update(t, s, func(tx *Tx) error { return tx.PutPort(elsewhere) })
		update(t, s, func(tx *Tx) error { return first(tx.DeletePort(port.ID), tx.PutPort(sameIP)) })
		if _, there := s.Snapshot().Claim(port.ID); there {
			t.Error("the claim has outlived its port")
		}
		// Everything can go at once, parents first.
		update(t, s, func(tx *Tx) error {
			return first(tx.DeleteNetwork(network.ID), tx.DeleteSubnet(subnet.ID), tx.DeletePort(sameIP.ID))
		})
	})
}

// A list may be changed while it runs.
func TestDeleteWhileListing(t *testing.T) {
	s := closing(t, OpenMemory())
	network := newNetwork(7)
	update(t, s, func(tx *Tx) error {
		err := tx.PutNetwork(network)
		for i := range 50 {
			err = first(err, tx.PutPort(newPort(network, i)))
		}
		return err
	})
	update(t, s, func(tx *Tx) error {
		n := 0
		for port := range tx.PortsOf(network.ID) {
			if err := tx.DeletePort(port.ID); err != nil {
				return err
			}
			n++
		}
		if n != 50 {
			t.Errorf("%d of 50 ports were listed", n)
		}
		return tx.DeleteNetwork(network.ID)
	})
	if n := len(slices.Collect(s.Snapshot().Ports())); n != 0 {
		t.Errorf("%d ports are left", n)
	}
}

func TestChangedAndRevisions(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		a, b := newNetwork(1), newNetwork(2)
		subnet := newSubnet(a, "10.0.0.0/24")
		port := newPort(a, 1)
		port.FixedIPs = fixed(subnet, ip("10.0.0.5"))
		update(t, s, func(tx *Tx) error {
			return first(tx.PutNetwork(a), tx.PutNetwork(b), tx.PutSubnet(subnet), tx.PutPort(port))
		})
		host := &model.Host{ID: "id1", Hostname: "h1"}
		claim := &model.Claim{PortID: port.ID, Host: "h1"}
		renamed := *port
		renamed.Name = "renamed"
		wider := *subnet
		wider.EnableDHCP = false
		moved := *port
		moved.FixedIPs, moved.NetworkID = nil, b.ID

		for _, step := range []struct {
			name    string
			f       func(*Tx) error
			changed []Kind
			of      []*model.Network // whose revision must grow
			hosts   bool
		}{
			{"host", func(tx *Tx) error { return tx.PutHost(host) }, []Kind{Location}, nil, true},
			{"host again", func(tx *Tx) error { return tx.PutHost(host) }, nil, nil, false},
			{"claim", func(tx *Tx) error { return tx.PutClaim(claim) }, []Kind{Location}, []*model.Network{a}, false},
			{"claim gone", func(tx *Tx) error { return tx.DeleteClaim(port.ID) }, []Kind{Location}, []*model.Network{a}, false},
			{"port", func(tx *Tx) error { return tx.PutPort(&renamed) }, []Kind{Desired}, []*model.Network{a}, false},
			{"subnet", func(tx *Tx) error { return tx.PutSubnet(&wider) }, []Kind{Desired}, []*model.Network{a}, false},
			{"claim and port", func(tx *Tx) error {
				return first(tx.PutPort(port), tx.PutClaim(claim))
			}, []Kind{Desired, Location}, []*model.Network{a}, false},
			{"port to another network", func(tx *Tx) error { return tx.PutPort(&moved) }, []Kind{Desired}, []*model.Network{a, b}, false},
			{"port gone", func(tx *Tx) error { return tx.DeletePort(port.ID) }, []Kind{Desired, Location}, []*model.Network{b}, false},
			{"subnet gone", func(tx *Tx) error { return tx.DeleteSubnet(subnet.ID) }, []Kind{Desired}, []*model.Network{a}, false},
			{"nothing", func(tx *Tx) error { return nil }, nil, nil, false},
			{"host gone", func(tx *Tx) error { return tx.DeleteHost("id1") }, []Kind{Location}, nil, true},
		} {
			before := s.Snapshot()
			revision := update(t, s, step.f)
			after := s.Snapshot()
			for kind := range kindCount {
				if want, got := slices.Contains(step.changed, kind), closed(before.Changed(kind)); got != want {
					t.Errorf("%s: changed %s is %v", step.name, kind, got)
				}
				if closed(after.Changed(kind)) {
					t.Errorf("%s: the newest snapshot's channel is closed", step.name)
				}
			}
			for _, n := range []*model.Network{a, b} {
				want := before.NetworkRevision(n.ID)
				if slices.Contains(step.of, n) {
					want = revision
				}
				if got := after.NetworkRevision(n.ID); got != want {
					t.Errorf("%s: revision of network %d is %d, want %d", step.name, n.Segment.SegmentationID, got, want)
				}
			}
			if got := after.HostsRevision() != before.HostsRevision(); got != step.hosts {
				t.Errorf("%s: revision of hosts changed: %v", step.name, got)
			}
		}
		update(t, s, func(tx *Tx) error { return tx.DeleteNetwork(a.ID) })
		if r := s.Snapshot().NetworkRevision(a.ID); r != 0 {
			t.Errorf("revision of a network that is gone is %d", r)
		}
	})
}

func TestTry(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		update(t, s, func(tx *Tx) error { return tx.PutNetwork(network) })
		port := newPort(network, 1)
		revisions := map[Revision]bool{}
		for range 2 {
			before, after, err := s.Try(func(tx *Tx) error { return tx.PutPort(port) })
			if err != nil {
				t.Fatal(err)
			}
			if _, there := after.Port(port.ID); !there {
				t.Error("after does not have the port")
			}
			if _, there := before.Port(port.ID); there || before != s.Snapshot() {
				t.Error("before is not the store as it is")
			}
			r := after.NetworkRevision(network.ID)
			if r >= 0 || revisions[r] {
				t.Errorf("revision %d could be taken for another's", r)
			}
			revisions[r] = true
		}
		if _, _, err := s.Try(func(tx *Tx) error { return tx.PutPort(newPort(newNetwork(1), 1)) }); err == nil {
			t.Error("a missing network is no error")
		}
	})
}

// Of many that want the same address, one gets it.
func TestConcurrentTaking(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		subnet := newSubnet(network, "10.0.0.0/24")
		update(t, s, func(tx *Tx) error { return first(tx.PutNetwork(network), tx.PutSubnet(subnet)) })
		var won, taken atomic.Int32
		var all sync.WaitGroup
		for i := range 32 {
			all.Go(func() {
				port := newPort(network, i)
				port.FixedIPs = fixed(subnet, ip("10.0.0.5"))
				_, err := s.Update(t.Context(), func(tx *Tx) error { return tx.PutPort(port) })
				var unique *UniqueError
				switch {
				case err == nil:
					won.Add(1)
				case errors.As(err, &unique):
					taken.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 || taken.Load() != 31 {
			t.Errorf("%d got the address, %d were told that it is taken", won.Load(), taken.Load())
		}
	})
}

// No update is lost, however many change the same row.
func TestConcurrentUpdatesOfOneRow(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		update(t, s, func(tx *Tx) error { return tx.PutNetwork(network) })
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 10 {
					update(t, s, func(tx *Tx) error {
						n, _ := tx.Network(network.ID)
						next := *n
						next.RevisionNumber++
						return tx.PutNetwork(&next)
					})
				}
			})
		}
		all.Wait()
		if n, _ := s.Snapshot().Network(network.ID); n.RevisionNumber != 80 {
			t.Errorf("80 increments made %d", n.RevisionNumber)
		}
	})
}

// What was not there when it was looked for cannot appear unnoticed: a network is never deleted
// from under a port, and of two overlapping subnets one is refused.
func TestConcurrentAppearing(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		overlap := errors.New("overlaps")
		for i := range 30 {
			network := newNetwork(uint32(i))
			update(t, s, func(tx *Tx) error { return tx.PutNetwork(network) })
			var all sync.WaitGroup
			all.Go(func() {
				_, err := s.Update(t.Context(), func(tx *Tx) error { return tx.PutPort(newPort(network, 1)) })
				var missing *ReferenceError
				if err != nil && !errors.As(err, &missing) {
					t.Error(err)
				}
			})
			all.Go(func() {
				_, err := s.Update(t.Context(), func(tx *Tx) error { return tx.DeleteNetwork(network.ID) })
				var inUse *InUseError
				if err != nil && !errors.As(err, &inUse) {
					t.Error(err)
				}
			})
			all.Wait()

			network = newNetwork(uint32(1000 + i))
			update(t, s, func(tx *Tx) error { return tx.PutNetwork(network) })
			var made atomic.Int32
			for _, cidr := range []string{"10.0.0.0/24", "10.0.0.0/16", "10.0.0.128/25"} {
				all.Go(func() {
					subnet := newSubnet(network, cidr)
					_, err := s.Update(t.Context(), func(tx *Tx) error {
						for other := range tx.SubnetsOf(network.ID) {
							if other.CIDR.Overlaps(subnet.CIDR) {
								return overlap
							}
						}
						return tx.PutSubnet(subnet)
					})
					if err == nil {
						made.Add(1)
					} else if err != overlap {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if made.Load() != 1 {
				t.Errorf("%d overlapping subnets were made", made.Load())
			}
		}
	})
}

func TestStatus(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		port, gone := newPort(network, 1), newPort(network, 2)
		update(t, s, func(tx *Tx) error {
			return first(tx.PutNetwork(network), tx.PutPort(port), tx.PutPort(gone))
		})
		before := s.Snapshot()
		s.SetPortStatus(
			model.PortStatus{PortID: port.ID, Status: "ACTIVE", Host: "h1"},
			model.PortStatus{PortID: gone.ID, Status: "ACTIVE", Host: "h1"},
			model.PortStatus{PortID: uuid.New(), Status: "ACTIVE"}) // of no port
		s.SetHostStatus(model.HostStatus{ID: "id/1", Alive: true})
		flush(t, s)
		after := s.Snapshot()
		if st, ok := after.PortStatus(port.ID, "h1"); !ok || st.Status != "ACTIVE" {
			t.Errorf("status of the port is %v", st)
		}
		if st, ok := after.HostStatus("id/1"); !ok || !st.Alive {
			t.Errorf("status of the host is %v", st)
		}
		if n := after.state.rows[portStatuses].Len(); n != 2 {
			t.Errorf("%d rows of status for 2 ports", n)
		}
		if closed(before.Changed(Desired)) || closed(before.Changed(Location)) || !closed(before.Changed(Status)) {
			t.Error("status did not wake those who wait for status alone")
		}
		if before.NetworkRevision(network.ID) != after.NetworkRevision(network.ID) {
			t.Error("status has changed the network's revision")
		}

		s.SetPortStatus(model.PortStatus{PortID: port.ID, Status: "ACTIVE", Host: "h1"})
		flush(t, s)
		if s.Snapshot() != after {
			t.Error("saying the same again has changed something")
		}
		// Each host has its own word on a port that moves.
		s.SetPortStatus(model.PortStatus{PortID: port.ID, Status: "ACTIVE", Host: "h2"}, model.PortStatus{PortID: port.ID, Status: "DOWN", Host: "h1"})
		flush(t, s)
		for host, want := range map[string]string{"h1": "DOWN", "h2": "ACTIVE"} {
			if st, ok := s.Snapshot().PortStatus(port.ID, host); !ok || st.Status != want {
				t.Errorf("after it has moved, status of the port on %s is %v", host, st)
			}
		}
		update(t, s, func(tx *Tx) error { return tx.DeletePort(gone.ID) })
		if _, there := s.Snapshot().PortStatus(gone.ID, "h1"); there {
			t.Error("the status has outlived its port")
		}
		s.SetPortStatus(model.PortStatus{PortID: gone.ID, Status: "DOWN", Host: "h1"})
		s.ClearPortStatus("h1", port.ID, uuid.New())
		s.ClearPortStatus("h2", port.ID)
		s.ClearHostStatus("id/1")
		flush(t, s)
		if n := s.Snapshot().state.rows[portStatuses].Len() + s.Snapshot().state.rows[hostStatuses].Len(); n != 0 {
			t.Errorf("%d rows of status are left", n)
		}
	})
}

func flush(t testing.TB, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.FlushStatus(ctx); err != nil {
		t.Fatal(err)
	}
}

// Opening again loses nothing and shows the very same rows.
func TestOpenAgain(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		if !at.durable {
			return
		}
		s := at.open(t)
		network := newNetwork(7)
		subnet := newSubnet(network, "10.0.0.0/24")
		update(t, s, func(tx *Tx) error {
			err := first(tx.PutNetwork(network), tx.PutSubnet(subnet), tx.PutHost(&model.Host{ID: "id1", Hostname: "h1"}))
			for i := range 2500 { // more than a page
				err = first(err, tx.PutPort(newPort(network, i)))
			}
			return err
		})
		was, incarnation, generation := s.Snapshot(), s.Incarnation(), s.Generation()
		s.Close()
		if _, err := s.Update(t.Context(), func(tx *Tx) error { return tx.DeleteSubnet(subnet.ID) }); !errors.Is(err, ErrClosed) {
			t.Errorf("update of a closed store: %v", err)
		}

		s = at.open(t)
		is := s.Snapshot()
		if n := is.state.rows[ports].Len(); n != 2500 {
			t.Errorf("%d of 2500 ports", n)
		}
		for p := range was.Ports() {
			if q, _ := is.Port(p.ID); !reflect.DeepEqual(p, q) {
				t.Fatalf("port was %+v and is %+v", p, q)
			}
		}
		if s.Incarnation() != incarnation || incarnation>>24 != 0 {
			t.Errorf("incarnation was %x and is %x", incarnation, s.Incarnation())
		}
		if s.Generation() <= generation || s.Generation()>>40 != uint64(incarnation) {
			t.Errorf("generation was %x and is %x", generation, s.Generation())
		}
	})
}

// TestBulk commits the largest bulk request, a thousand ports with addresses of both versions, as one
// transaction: an external cluster with the limits that are asked of it takes it.
func TestBulk(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		subnet, subnet6 := newSubnet(network, "10.0.0.0/16"), newSubnet(network, "fd00::/64")
		update(t, s, func(tx *Tx) error {
			return first(tx.PutNetwork(network), tx.PutSubnet(subnet), tx.PutSubnet(subnet6))
		})
		thousand := func(tx *Tx) error {
			a, a6 := ip("10.0.1.0"), ip("fd00::1")
			for i := range 1000 {
				p := newPort(network, i)
				p.DeviceID, p.DeviceOwner, p.HostID = "vm", "compute:nova", "h1"
				p.FixedIPs = append(fixed(subnet, a), fixed(subnet6, a6)...)
				if err := tx.PutPort(p); err != nil {
					return err
				}
				a, a6 = a.Next(), a6.Next()
			}
			return nil
		}
		count := func() int { return len(slices.Collect(s.Snapshot().PortsOf(network.ID))) }
		var taken *UniqueError
		if _, err := s.Update(t.Context(), func(tx *Tx) error {
			if err := thousand(tx); err != nil {
				return err
			}
			return tx.PutPort(newPort(network, 500))
		}); !errors.As(err, &taken) || count() != 0 {
			t.Errorf("a thousand and one with the MAC of another: %v, and %d are there", err, count())
		}
		update(t, s, thousand)
		if count() != 1000 {
			t.Errorf("%d of 1000 ports", count())
		}
	})
}
