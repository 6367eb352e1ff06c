package store

import (
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// Holders appends to names the hosts that may have a port's VIF now, which are none, one, or, while it
// migrates, more. The first is the one whose word on its status counts. A port that migrates is at both
// ends until it is heard from at the destination, which then claims it, or its binding there is
// activated.
func (t *Tables) Holders(names []string, p *model.Port) []string {
	claim, claimed := t.Claim(p.ID)
	switch {
	case p.HostID == "" && claimed:
		return append(names, claim.Host)
	case p.HostID == "":
		return names
	case claimed && t.comes(p.ID, claim.Host):
		return append(names, claim.Host)
	}
	names = append(names, p.HostID)
	for b := range t.BindingsOf(p.ID) {
		if !b.Left {
			names = append(names, b.Host)
		}
	}
	return names
}

// Holder is the first of Holders; "" without one.
func (t *Tables) Holder(p *model.Port) string {
	if claim, ok := t.Claim(p.ID); ok && (p.HostID == "" || t.comes(p.ID, claim.Host)) {
		return claim.Host
	}
	return p.HostID
}

// comes says whether a port may migrate to a host.
func (t *Tables) comes(port uuid.UUID, hostname string) bool {
	b, ok := t.Binding(port, hostname)
	return ok && !b.Left
}

// Binding finds what binds a port to a host beside its binding:host_id.
func (t *Tables) Binding(port uuid.UUID, hostname string) (*model.Binding, bool) {
	return get[model.Binding](t, bindings, onHost(port, hostname))
}

// BindingsOf lists a port's bindings beside that to its binding:host_id, in the order of the hosts.
// In a Tx it is not watched over whether another is added.
func (t *Tables) BindingsOf(port uuid.UUID) iter.Seq[*model.Binding] {
	return list[model.Binding](t.state.rows[bindings], portPrefix(port))
}

// BindingsIn lists the bindings of a network's ports beside those to their binding:host_id. In most
// networks there are none.
func (t *Tables) BindingsIn(network uuid.UUID) iter.Seq[*model.Binding] {
	return list[model.Binding](t.state.index, bindingsInPrefix(network))
}

// PutPort writes a port. Its MAC must be free in its network and its addresses in their subnets,
// and a network has one DHCP port: [*UniqueError]. Nova is told of a change of an instance's port.
func (tx *Tx) PutPort(p *model.Port) error {
	before, had := tx.state.row(ports, p.ID.String())
	if err := tx.put(ports, p); err != nil {
		return err
	}
	after, _ := tx.state.row(ports, p.ID.String())
	if !had || before == after {
		return nil
	}
	return tx.tell(model.EventChanged, after.value.(*model.Port))
}

// DeletePort deletes a port with its bindings, claim and status. [ErrNotFound] when there is none. Nova
// is told if it was an instance's.
func (tx *Tx) DeletePort(id uuid.UUID) error {
	before, had := tx.state.row(ports, id.String())
	if err := tx.drop(ports, id.String()); err != nil || !had {
		return err
	}
	return tx.tell(model.EventDeleted, before.value.(*model.Port))
}

// PutBinding writes what binds a port to a host beside its binding:host_id. The port must exist:
// [*ReferenceError].
func (tx *Tx) PutBinding(b *model.Binding) error { return tx.put(bindings, b) }

// DeleteBinding deletes one. [ErrNotFound] when there is none.
func (tx *Tx) DeleteBinding(port uuid.UUID, hostname string) error {
	return tx.drop(bindings, onHost(port, hostname))
}

// Events lists what Nova is still to be told, oldest first.
func (t *Tables) Events() iter.Seq[*model.Event] { return list[model.Event](t.state.rows[events], "") }

// DeleteEvent forgets an event that Nova was told. [ErrNotFound] when there is none.
func (tx *Tx) DeleteEvent(id uuid.UUID) error { return tx.drop(events, id.String()) }

// KeepEvents makes every later change that Nova must hear of leave an event with it. Without, there
// are none: nobody would take them out again.
func (s *Store) KeepEvents() { s.events.Store(true) }

// tell writes an event together with the transaction.
func (tx *Tx) tell(name string, p *model.Port) error {
	if !tx.events || !p.OfInstance() {
		return nil
	}
	e, err := newEvent(name, p)
	if err != nil {
		return err
	}
	return tx.put(events, e)
}

func newEvent(name string, p *model.Port) (*model.Event, error) {
	id, err := uuid.NewV7()
	return &model.Event{ID: id, Name: name, Status: model.EventCompleted, ServerID: p.DeviceID, PortID: p.ID, At: time.Now().UTC().Round(0)}, err
}

// plugEvent is what Nova must be told when a controller says next of a port's status; nil for nothing.
// Nova waits at either end of a migration for the VIF to be plugged, but a port is unplugged only where
// it is: the VIF that it leaves behind is nobody's.
func plugEvent(t *Tables, next *model.PortStatus) (*model.Event, error) {
	p, ok := t.Port(next.PortID)
	if !ok || !p.OfInstance() {
		return nil, nil
	}
	last, said := t.PortStatus(next.PortID, next.Host)
	was := said && last.Status == model.StatusActive
	is := next.Status == model.StatusActive
	switch holders := t.Holders(nil, p); {
	case is && !(was && last.Plug == next.Plug):
		for _, h := range holders {
			if h == next.Host {
				return newEvent(model.EventPlugged, p)
			}
		}
	case was && !is && len(holders) > 0 && holders[0] == next.Host:
		return newEvent(model.EventUnplugged, p)
	}
	return nil, nil
}
