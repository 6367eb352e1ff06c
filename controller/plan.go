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
	networks := changedNetworks(before, after)
	p := &inspect.Plan{Objects: changedObjects(before, after, networks), Hosts: []inspect.HostPlan{}, Notes: []string{}}
	away := c.awaited(before, after, networks)
	for _, h := range c.concerned(before, after, networks) {
		hp, err := h.wouldSend(ctx, before, after)
		switch {
		case errors.Is(err, errAway):
			if row, ok := after.Host(h.id); ok {
				away[row.Hostname] = true
			}
		case err != nil:
			return nil, err
		case len(hp.Rows)+len(hp.Changes) > 0:
			p.Hosts = append(p.Hosts, hp)
		}
	}
	slices.SortFunc(p.Hosts, func(a, b inspect.HostPlan) int { return strings.Compare(a.Hostname, b.Hostname) })
	for _, hostname := range slices.Sorted(maps.Keys(away)) {
		p.Notes = append(p.Notes, "host "+hostname+" is not connected: what this changes there is sent when it comes back")
	}
	for _, change := range p.Objects {
		id, err := uuid.Parse(change.Object.ID)
		port, ok := after.Port(id)
		if change.Object.Kind != inspect.KindPort || change.Sign == inspect.Removed || err != nil || !ok {
			continue
		}
		note, err := c.waitsFor(ctx, after, port)
		if err != nil {
			return nil, err
		}
		if note != "" {
			p.Notes = append(p.Notes, portName(port)+": "+note)
		}
	}
	switch {
	case len(p.Hosts) > 0:
	case len(p.Notes) > 0:
		p.Notes = slices.Insert(p.Notes, 0, "changes nothing on any host now")
	default:
		p.Notes = append(p.Notes, "changes nothing on any host")
	}
	if slices.ContainsFunc(p.Objects, func(c inspect.Change) bool { return c.Sign == inspect.Added }) {
		p.Notes = append(p.Notes, "IDs, and the addresses and segments that the request leaves open, are chosen anew when it is made")
	}
	return p, nil
}

// concerned are the loops of the hosts that may be sent something: all, if a host has changed, which others know
// of as their peer.
func (c *Controller) concerned(before, after *store.Snapshot, networks []uuid.UUID) (hosts []*host) {
	if before.HostsRevision() != after.HostsRevision() {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Collect(maps.Values(c.hosts))
	}
	seen := map[*host]bool{}
	for _, id := range append(networks, everyNetwork) {
		for _, h := range c.watching(id) {
			seen[h] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// awaited are the names of the hosts that are not connected and have ports of the networks.
func (c *Controller) awaited(before, after *store.Snapshot, networks []uuid.UUID) map[string]bool {
	away, seen := map[string]bool{}, map[string]bool{}
	var few [2]string
	for _, id := range networks {
		for _, snap := range []*store.Snapshot{before, after} {
			for port := range snap.PortsOf(id) {
				for _, hostname := range snap.Holders(few[:0], port) {
					if seen[hostname] {
						continue
					}
					seen[hostname] = true
					if h, enrolled := after.HostByName(hostname); enrolled && c.loop(h.ID) == nil {
						away[hostname] = true
					}
				}
			}
		}
	}
	return away
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
