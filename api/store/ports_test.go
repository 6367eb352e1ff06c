package store

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

func TestHolders(t *testing.T) {
	s := OpenMemory()
	defer s.Close()
	network := newNetwork(7)
	port := newPort(network, 1)
	update(t, s, func(tx *Tx) error { return first(tx.PutNetwork(network), tx.PutPort(port)) })
	binding := func(host string, left bool) *model.Binding {
		return &model.Binding{PortID: port.ID, NetworkID: network.ID, Host: host, Left: left}
	}
	bound := *port
	bound.HostID = "h1"
	for _, c := range []struct {
		name string
		do   func(*Tx) error
		want []string
	}{
		{"unbound", func(*Tx) error { return nil }, nil},
		{"claimed", func(tx *Tx) error { return tx.PutClaim(&model.Claim{PortID: port.ID, Host: "h3"}) }, []string{"h3"}},
		{"bound", func(tx *Tx) error { return tx.PutPort(&bound) }, []string{"h1"}},
		{"migrating", func(tx *Tx) error { return tx.PutBinding(binding("h2", false)) }, []string{"h1", "h2"}},
		{"to two", func(tx *Tx) error { return tx.PutBinding(binding("h0", false)) }, []string{"h1", "h0", "h2"}},
		{"to one again", func(tx *Tx) error { return tx.DeleteBinding(port.ID, "h0") }, []string{"h1", "h2"}},
		{"heard at the destination", func(tx *Tx) error { return tx.PutClaim(&model.Claim{PortID: port.ID, Host: "h2"}) }, []string{"h2"}},
		{"the destination given up", func(tx *Tx) error { return tx.PutBinding(binding("h2", true)) }, []string{"h1"}},
	} {
		update(t, s, c.do)
		p, _ := s.Snapshot().Port(port.ID)
		got := s.Snapshot().Holders(nil, p)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: held by %q, want %q", c.name, got, c.want)
		}
		if holder := s.Snapshot().Holder(p); len(got) > 0 && holder != got[0] || len(got) == 0 && holder != "" {
			t.Errorf("%s: holder %q of %q", c.name, holder, got)
		}
	}
	if n := len(slices.Collect(s.Snapshot().BindingsIn(network.ID))); n != 1 {
		t.Errorf("%d bindings in the network", n)
	}
}

// A port goes with what is below it, also with what others add meanwhile.
func TestPortWithBindings(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		port, other := newPort(network, 1), newPort(network, 2)
		update(t, s, func(tx *Tx) error { return first(tx.PutNetwork(network), tx.PutPort(port), tx.PutPort(other)) })
		put := func(p *model.Port, host string) {
			update(t, s, func(tx *Tx) error {
				return tx.PutBinding(&model.Binding{PortID: p.ID, NetworkID: network.ID, Host: host})
			})
			s.SetPortStatus(model.PortStatus{PortID: p.ID, Host: host, Status: model.StatusActive})
			flush(t, s)
		}
		put(port, "h1")
		put(other, "h1")
		attempts := 0
		update(t, s, func(tx *Tx) error {
			err := tx.DeletePort(port.ID)
			if attempts++; attempts == 1 {
				put(port, "h2/é")
			}
			return err
		})
		if attempts != 2 {
			t.Errorf("deleted after %d attempts, though a binding was added at the same time", attempts)
		}
		left := s.Snapshot().state
		if n := left.rows[bindings].Len(); n != 1 {
			t.Errorf("%d bindings are left of the other port's one", n)
		}
		if n := left.rows[portStatuses].Len(); n != 1 {
			t.Errorf("%d rows of status are left of the other port's one", n)
		}
		if broken := s.Check(t.Context()); broken != nil {
			t.Error(broken)
		}
	})
}

func TestEvents(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		port, own := newPort(network, 1), newPort(network, 2)
		own.DeviceOwner = "network:own"
		instance := uuid.NewString()
		port.HostID = "h1"
		update(t, s, func(tx *Tx) error { return first(tx.PutNetwork(network), tx.PutPort(port), tx.PutPort(own)) })
		port.DeviceOwner, port.DeviceID = "compute:nova", instance
		update(t, s, func(tx *Tx) error { return tx.PutPort(port) })
		if n := len(told(s)); n != 0 {
			t.Fatalf("%d events, and nobody asked for any", n)
		}
		s.KeepEvents()
		say := func(host, status string, plug uint32) func() {
			return func() {
				s.SetPortStatus(model.PortStatus{PortID: port.ID, Host: host, Status: status, Plug: plug}, model.PortStatus{PortID: own.ID, Host: host, Status: status, Plug: plug})
				flush(t, s)
			}
		}
		do := func(f func(*Tx) error) func() { return func() { update(t, s, f) } }
		for _, c := range []struct {
			name string
			do   func()
			want string
		}{
			{"changed", do(func(tx *Tx) error { port.Name = "eth0"; return tx.PutPort(port) }), model.EventChanged},
			{"the same again", do(func(tx *Tx) error { return tx.PutPort(port) }), ""},
			{"of no instance", do(func(tx *Tx) error { own.Name = "eth0"; return tx.PutPort(own) }), ""},
			{"plugged", say("h1", "ACTIVE", 1), model.EventPlugged},
			{"plugged again before anybody saw it go", say("h1", "ACTIVE", 2), model.EventPlugged},
			{"unplugged", say("h1", "DOWN", 0), model.EventUnplugged},
			{"still unplugged", say("h1", "DOWN", 1), ""},
			{"plugged where it may not be", say("h2", "ACTIVE", 1), ""},
			{"gone there", say("h2", "DOWN", 1), ""},
			{"plugged once more", say("h1", "ACTIVE", 3), model.EventPlugged},
			{"to be migrated", do(func(tx *Tx) error {
				return tx.PutBinding(&model.Binding{PortID: port.ID, NetworkID: network.ID, Host: "h2"})
			}), ""},
			{"plugged at the destination", say("h2", "ACTIVE", 4), model.EventPlugged},
			{"heard there", do(func(tx *Tx) error { return tx.PutClaim(&model.Claim{PortID: port.ID, Host: "h2"}) }), ""},
			{"unplugged at the source", say("h1", "DOWN", 0), ""},
			{"unplugged", say("h2", "DOWN", 0), model.EventUnplugged},
			{"deleted", do(func(tx *Tx) error { return first(tx.DeletePort(port.ID), tx.DeletePort(own.ID)) }), model.EventDeleted},
		} {
			c.do()
			got := ""
			for _, e := range told(s) {
				if got += e.Name; e.PortID != port.ID || e.ServerID != instance || e.Status != model.EventCompleted || e.At.IsZero() {
					t.Errorf("%s: event %+v", c.name, e)
				}
				update(t, s, func(tx *Tx) error { return tx.DeleteEvent(e.ID) })
			}
			if got != c.want {
				t.Errorf("%s: events %q, want %q", c.name, got, c.want)
			}
		}
		if broken := s.Check(t.Context()); broken != nil {
			t.Error(broken)
		}
	})
}

func told(s *Store) []*model.Event { return slices.Collect(s.Snapshot().Events()) }
