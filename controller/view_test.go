package controller

import (
	"encoding/binary"
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
