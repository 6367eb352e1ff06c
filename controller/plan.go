package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/ovsdb"
)

// Plan says what the hosts would be sent if the store went from one snapshot to the other: an inspect.Plan.
// It asks each host's loop, for an instant, what it starts from, and changes nothing.
func (c *Controller) Plan(ctx context.Context, before, after *store.Snapshot) (any, error) {
	p := &inspect.Plan{Objects: []inspect.Change{}, Hosts: []inspect.HostPlan{}, Notes: []string{}}
	networks := changedNetworks(before, after)
	var ports []*model.Port // that are new, or changed
	for _, id := range networks {
		ports = append(ports, changedObjects(p, before, after, id)...)
	}
	slices.SortFunc(p.Objects, func(a, b inspect.Change) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Name, b.Object.Name), cmp.Compare(a.Object.ID, b.Object.ID))
	})
	hosts := map[*host]bool{}
	for _, id := range append(networks, everyNetwork) {
		for _, h := range c.watching(id) {
			hosts[h] = true
		}
	}
	for h := range hosts {
		hp, err := h.wouldSend(ctx, before, after)
		switch {
		case errors.Is(err, errAway):
			continue
		case err != nil:
			return nil, err
		case len(hp.Rows)+len(hp.Changes) > 0:
			p.Hosts = append(p.Hosts, hp)
		}
	}
	slices.SortFunc(p.Hosts, func(a, b inspect.HostPlan) int { return strings.Compare(a.Hostname, b.Hostname) })
	for _, port := range ports {
		note, err := c.waitsFor(ctx, after, port)
		if err != nil {
			return nil, err
		}
		if note != "" {
			p.Notes = append(p.Notes, portName(port)+": "+note)
		}
	}
	return p, nil
}

// changedNetworks are the networks that something changed in.
func changedNetworks(before, after *store.Snapshot) (ids []uuid.UUID) {
	seen := map[uuid.UUID]bool{}
	for _, s := range []*store.Snapshot{before, after} {
		for n := range s.Networks() {
			if !seen[n.ID] && before.NetworkRevision(n.ID) != after.NetworkRevision(n.ID) {
				ids = append(ids, n.ID)
			}
			seen[n.ID] = true
		}
	}
	return ids
}

// changedObjects adds to the plan what is another in a network. It returns the ports that are new or changed.
func changedObjects(p *inspect.Plan, before, after *store.Snapshot, network uuid.UUID) (ports []*model.Port) {
	was, is := &finding{snap: before}, &finding{snap: after}
	change := func(sign string) {
		f := is
		if sign == inspect.Removed {
			f = was
		}
		p.Objects = append(p.Objects, inspect.Change{Sign: sign, Object: f.objects[len(f.objects)-1]})
	}
	tellApart(rows(before.Network(network)), rows(after.Network(network)), func(n *model.Network) uuid.UUID { return n.ID }, was.network, is.network, change)
	tellApart(slices.Collect(before.SubnetsOf(network)), slices.Collect(after.SubnetsOf(network)), func(s *model.Subnet) uuid.UUID { return s.ID }, was.subnet, is.subnet, change)
	tellApart(slices.Collect(before.PortsOf(network)), slices.Collect(after.PortsOf(network)), func(p *model.Port) uuid.UUID { return p.ID }, was.port, func(p *model.Port) {
		is.port(p)
		ports = append(ports, p)
	}, change)
	return ports
}

func rows[T any](row *T, ok bool) []*T {
	if !ok {
		return nil
	}
	return []*T{row}
}

// tellApart tells of every row that is not the same in both lists: gone or there of the row itself, then
// change of what has become of it.
func tellApart[T any](before, after []*T, id func(*T) uuid.UUID, gone, there func(*T), change func(sign string)) {
	was := make(map[uuid.UUID]*T, len(before))
	for _, row := range before {
		was[id(row)] = row
	}
	for _, row := range after {
		old, had := was[id(row)]
		delete(was, id(row))
		switch {
		case !had:
			there(row)
			change(inspect.Added)
		case old != row:
			there(row)
			change(inspect.Changed)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(was), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
		gone(was[key])
		change(inspect.Removed)
	}
}

// waitsFor says why nothing, or not all, would be sent for a port at once; "" if it would.
func (c *Controller) waitsFor(ctx context.Context, snap *store.Snapshot, p *model.Port) (note string, err error) {
	if p.DeviceOwner == model.OwnerDHCP {
		return "", nil
	}
	holder := snap.Holder(p)
	row, enrolled := snap.HostByName(holder)
	h := (*host)(nil)
	if enrolled {
		h = c.loop(row.ID)
	}
	switch {
	case holder == "" && c.o.ClaimUnbound:
		return "it is not bound: it is claimed by the first host whose VIF names it", nil
	case holder == "":
		return "it is not bound: nothing is sent until its binding:host_id is set", nil
	case !enrolled:
		return "host " + holder + " is not enrolled", nil
	case h == nil:
		return "host " + holder + " is not connected: what is its own is sent when it comes back", nil
	}
	err = h.ask(ctx, func() {
		if !slices.ContainsFunc(h.vifs, func(v vif) bool { return v.id == p.ID }) {
			note = "its VIF is not plugged on host " + holder + ": what is its own is sent when it is"
		}
	})
	if errors.Is(err, errAway) {
		err = nil
	}
	return note, err
}

// wouldSend says what the host would be sent.
func (h *host) wouldSend(ctx context.Context, before, after *store.Snapshot) (inspect.HostPlan, error) {
	var row *model.Host
	var m *ovsdb.Mirror
	var vlans *localVLANs
	err := h.ask(ctx, func() {
		if h.viewer.view != nil {
			row, m, vlans = h.row, h.session.Mirror(), h.vlans.clone()
		}
	})
	hp := inspect.HostPlan{ID: h.id, Rows: []string{}, Changes: []string{}}
	if err != nil || row == nil {
		return hp, cmp.Or(err, errAway)
	}
	hp.Hostname = row.Hostname
	br := m.Bridge(flows.BrInt.String())
	ports, missing := portsMade(row, m)
	if missing != "" || br == nil {
		return hp, errAway
	}
	compiler := flows.NewCompiler(h.c.o.Features...)
	due := map[string]bool{}
	var w viewer
	for _, snap := range []*store.Snapshot{before, after} {
		vifs := vifsOf(m, br)
		judge(snap, vifs, row, ports, h.c.o.ClaimUnbound)
		first, later := vlans.number(snap, vifs)
		if err := compiler.Compile(w.build(snap, row, ports, vifs, vlans)); err != nil {
			return hp, fmt.Errorf("host %s: %w", row.Hostname, err)
		}
		plan := compiler.Plan()
		for _, n := range append(first, later...) {
			line := fmt.Sprintf("%s Port %s: tag=%d other_config:%s=%s", inspect.Changed, n.port.Name, n.note.vlan, otherNetwork, n.note.config[otherNetwork])
			if snap == after && !due[line] {
				hp.Rows = append(hp.Rows, line)
			}
			due[line] = true
		}
		if snap == after {
			for line := range strings.Lines(plan.String()) {
				hp.Changes = append(hp.Changes, strings.TrimSuffix(line, "\n"))
			}
			continue
		}
		for b := range plan {
			compiler.Committed(&plan[b])
		}
	}
	return hp, nil
}
