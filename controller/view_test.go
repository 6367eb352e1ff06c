package controller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/ovsdb"
)

// deployed is a store with 30 hosts and one network, whose ports are bound to them in turn.
func deployed(t testing.TB, ports int) (*store.Store, []*model.Port) {
	t.Helper()
	s := store.OpenMemory()
	t.Cleanup(func() { s.Close() })
	network := &model.Network{Common: model.Common{ID: uuid.New()}, AdminStateUp: true, Segment: model.Segment{NetworkType: model.TypeVXLAN, SegmentationID: 7}}
	var made []*model.Port
	_, err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.PutNetwork(network); err != nil {
			return err
		}
		for i := range 30 {
			h := &model.Host{ID: fmt.Sprint("id", i), Hostname: fmt.Sprint("host", i), EncapIP: netip.AddrFrom4([4]byte{172, 31, 0, byte(i + 1)}), EncapTypes: []string{model.TypeVXLAN}}
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
		made = nil
		for i := range ports {
			p := &model.Port{Common: model.Common{ID: uuid.New()}, NetworkID: network.ID, AdminStateUp: true, HostID: fmt.Sprint("host", i%30)}
			p.MACAddress = mac(i)
			made = append(made, p)
			if err := tx.PutPort(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, made
}

// vifAt is a VIF as judge leaves it: wired.
func vifAt(p *model.Port, ofport int) vif {
	return vif{iface: &ovsdb.Interface{UUID: fmt.Sprintf("%08x", ofport), OFPort: ofport}, port: &ovsdb.Port{}, id: p.ID, wired: p}
}

func mac(i int) (m model.MAC) {
	binary.BigEndian.PutUint32(m[2:], uint32(i))
	m[0] = 0x02
	return m
}

// build makes the view of host0, on which the given ports have their VIFs.
func build(t testing.TB, w *viewer, s *store.Store, wired ...*model.Port) *flows.View {
	t.Helper()
	snap := s.Snapshot()
	host, ok := snap.Host("id0")
	if !ok {
		t.Fatal("no host id0")
	}
	vlans := newLocalVLANs()
	var vifs []vif
	for i, p := range wired {
		if _, err := vlans.of(p.NetworkID); err != nil {
			t.Fatal(err)
		}
		vifs = append(vifs, vifAt(p, i+1))
	}
	return w.build(snap, host, portNumbers{}, vifs, vlans)
}

// A view made from the last one equals one made from nothing, whatever moved between the two; what did
// not move is the very same.
func TestViewKeepsWhatDidNotMove(t *testing.T) {
	s, ports := deployed(t, 90)
	var kept viewer
	before := build(t, &kept, s, ports[0], ports[30]).Networks[0]

	moved, downed, gone, stays := *ports[1], *ports[2], ports[3], ports[4]
	moved.HostID = "host7"
	downed.AdminStateUp = false
	late := &model.Port{Common: model.Common{ID: uuid.New()}, NetworkID: moved.NetworkID, MACAddress: mac(1000), AdminStateUp: true}
	renumbered, _ := s.Snapshot().Host("id5")
	host5 := *renumbered
	host5.EncapIP = netip.MustParseAddr("172.31.0.99")
	for _, change := range []func(tx *store.Tx) error{
		func(tx *store.Tx) error { return tx.PutPort(&moved) },
		func(tx *store.Tx) error { return tx.PutPort(&downed) },
		func(tx *store.Tx) error { return tx.DeletePort(gone.ID) },
		func(tx *store.Tx) error { return tx.PutPort(late) },
		func(tx *store.Tx) error { return tx.PutClaim(&model.Claim{PortID: late.ID, Host: "host9"}) },
		func(tx *store.Tx) error { return tx.DeleteClaim(late.ID) },
		func(tx *store.Tx) error { return tx.PutClaim(&model.Claim{PortID: late.ID, Host: "host0"}) },
		func(tx *store.Tx) error { return tx.PutHost(&host5) },
		// One port migrates from here to host4, one from host5 to host6.
		func(tx *store.Tx) error { return tx.PutBinding(binding(ports[0], "host4")) },
		func(tx *store.Tx) error { return tx.PutBinding(binding(ports[5], "host6")) },
		func(tx *store.Tx) error { return tx.PutClaim(&model.Claim{PortID: ports[5].ID, Host: "host6"}) },
		func(tx *store.Tx) error { return tx.DeleteClaim(ports[5].ID) },
		func(tx *store.Tx) error { return tx.DeleteBinding(ports[5].ID, "host6") },
	} {
		if _, err := s.Update(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		incremental, fresh := build(t, &kept, s, ports[0], ports[30]).Networks[0], build(t, &viewer{}, s, ports[0], ports[30]).Networks[0]
		if err := same(incremental, fresh); err != nil {
			t.Fatal(err)
		}
	}
	after := kept.view.Networks[0]
	if was, is := remoteOf(before, stays.ID), remoteOf(after, stays.ID); was == nil || was != is {
		t.Errorf("a port that stayed where it was is another: %v, then %v", was, is)
	}
}

func remoteOf(n *flows.Network, id uuid.UUID) *flows.RemotePort {
	for _, p := range n.Remote {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func same(a, b *flows.Network) error {
	if len(a.Remote) != len(b.Remote) || len(a.Local) != len(b.Local) {
		return fmt.Errorf("%d local, %d remote; from nothing %d, %d", len(a.Local), len(a.Remote), len(b.Local), len(b.Remote))
	}
	for i := range a.Remote {
		if *a.Remote[i] != *b.Remote[i] {
			return fmt.Errorf("remote port %s at %s; from nothing %s at %s", a.Remote[i].ID, a.Remote[i].Host.EncapIP, b.Remote[i].ID, b.Remote[i].Host.EncapIP)
		}
	}
	for i := range a.Local {
		if *a.Local[i] != *b.Local[i] {
			return fmt.Errorf("local port %+v; from nothing %+v", a.Local[i], b.Local[i])
		}
	}
	return nil
}

// One VIF more in a network of 100 ports over 30 hosts.
func BenchmarkView(b *testing.B) {
	s, ports := deployed(b, 100)
	pair := []*model.Port{ports[0], ports[30]}
	var w viewer
	for i := 0; b.Loop(); i++ {
		build(b, &w, s, pair[:1+i%2]...)
	}
}

func binding(p *model.Port, host string) *model.Binding {
	return &model.Binding{PortID: p.ID, NetworkID: p.NetworkID, Host: host}
}

// Peers send to both ends of a migration until the guest is heard at the destination, or its binding
// there is activated; each end knows of the other.
func TestViewOfMigration(t *testing.T) {
	s, ports := deployed(t, 3)
	here, passes, own := *ports[0], *ports[1], ports[2]
	own.HostID = "host0"
	update := func(do func(tx *store.Tx) error) {
		t.Helper()
		if _, err := s.Update(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *store.Tx) error { return tx.PutPort(own) })
	// here comes from host8 to host0, passes goes from host1 to host2.
	here.HostID = "host8"
	var w viewer
	expect := func(what, wantHere, wantPasses string) {
		t.Helper()
		n := build(t, &w, s, &here, own).Networks[0]
		got := ""
		for _, p := range n.Local {
			if p.ID == here.ID {
				got = fmt.Sprint("awaited ", p.Awaited)
				if p.Also != nil {
					got += " also " + p.Also.Hostname
				}
			}
		}
		if got != wantHere {
			t.Errorf("%s: the port that comes: %s, not %s", what, got, wantHere)
		}
		got = ""
		for _, h := range remoteOf(n, passes.ID).Hosts(nil) {
			got += h.Hostname + " "
		}
		if got != wantPasses {
			t.Errorf("%s: the port that passes by is at %s, not %s", what, got, wantPasses)
		}
		if remoteOf(n, here.ID) != nil {
			t.Errorf("%s: the port that comes is elsewhere too", what)
		}
	}
	update(func(tx *store.Tx) error { return tx.PutPort(&here) })
	update(func(tx *store.Tx) error { return tx.PutBinding(binding(&here, "host0")) })
	update(func(tx *store.Tx) error { return tx.PutBinding(binding(&passes, "host2")) })
	expect("both bound", "awaited true also host8", "host1 host2 ")
	for _, p := range []*model.Port{&here, &passes} {
		host := map[*model.Port]string{&here: "host0", &passes: "host2"}[p]
		update(func(tx *store.Tx) error { return claimArrived(tx, p.ID, "host3") })
		update(func(tx *store.Tx) error { return claimArrived(tx, p.ID, host) })
	}
	expect("heard", "awaited false", "host2 ")
	update(func(tx *store.Tx) error { return tx.DeleteClaim(passes.ID) })
	expect("the destination's VIF gone", "awaited false", "host1 host2 ")
	left := binding(&passes, "host1")
	left.Left = true
	passes.HostID = "host2"
	update(func(tx *store.Tx) error {
		return errors.Join(tx.DeleteBinding(passes.ID, "host2"), tx.PutBinding(left), tx.PutPort(&passes))
	})
	expect("activated", "awaited false", "host2 ")
}
