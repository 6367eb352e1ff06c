package controller

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
)

// changedObjects are the objects of the API that are not the same in both snapshots, by kind, name and ID. Of
// networks and what is in them only those are compared that something changed in.
func changedObjects(before, after *store.Snapshot, networks []uuid.UUID) []inspect.Change {
	c := &comparing{before: before, after: after, changes: []inspect.Change{}}
	for _, id := range networks {
		compare(c, func(s *store.Snapshot) iter.Seq[*model.Network] { return rows(s.Network(id)) },
			func(n *model.Network) uuid.UUID { return n.ID }, (*finding).network)
		compare(c, func(s *store.Snapshot) iter.Seq[*model.Subnet] { return s.SubnetsOf(id) },
			func(s *model.Subnet) uuid.UUID { return s.ID }, (*finding).subnet)
		compare(c, func(s *store.Snapshot) iter.Seq[*model.Port] { return s.PortsOf(id) },
			func(p *model.Port) uuid.UUID { return p.ID }, (*finding).port)
		compare(c, func(s *store.Snapshot) iter.Seq[*model.Binding] { return s.BindingsIn(id) },
			func(b *model.Binding) string { return b.PortID.String() + " " + b.Host }, (*finding).binding)
	}
	compare(c, (*store.Snapshot).SubnetPools, func(p *model.SubnetPool) uuid.UUID { return p.ID }, (*finding).subnetPool)
	compare(c, (*store.Snapshot).RBACPolicies, func(p *model.RBACPolicy) uuid.UUID { return p.ID }, (*finding).rbacPolicy)
	compare(c, limits, func(q *model.Quota) string { return q.ProjectID }, (*finding).quota)
	compare(c, (*store.Snapshot).Agents, func(a *model.Agent) uuid.UUID { return a.ID }, (*finding).agent)
	compare(c, (*store.Snapshot).Hosts, func(h *model.Host) string { return h.ID }, (*finding).host)
	slices.SortFunc(c.changes, func(a, b inspect.Change) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Name, b.Object.Name), cmp.Compare(a.Object.ID, b.Object.ID))
	})
	return c.changes
}

// comparing collects what is not the same in two snapshots.
type comparing struct {
	before, after *store.Snapshot
	changes       []inspect.Change
}

// compare adds what has become of the rows of a list. Rows that did not change are the same pointers.
func compare[T any, K comparable](c *comparing, list func(*store.Snapshot) iter.Seq[*T], key func(*T) K, describe func(*finding, *T)) {
	tell := func(sign string, snap *store.Snapshot, row *T) {
		f := &finding{snap: snap}
		describe(f, row)
		for _, o := range f.objects {
			c.changes = append(c.changes, inspect.Change{Sign: sign, Object: o})
		}
	}
	was := map[K]*T{}
	for row := range list(c.before) {
		was[key(row)] = row
	}
	for row := range list(c.after) {
		old, had := was[key(row)]
		delete(was, key(row))
		switch {
		case !had:
			tell(inspect.Added, c.after, row)
		case old != row:
			tell(inspect.Changed, c.after, row)
		}
	}
	for _, row := range was {
		tell(inspect.Removed, c.before, row)
	}
}

func rows[T any](row *T, ok bool) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		if ok {
			yield(row)
		}
	}
}

// limits are the quotas of projects, but for those without a limit, which are there to be counted with.
func limits(s *store.Snapshot) iter.Seq[*model.Quota] {
	return func(yield func(*model.Quota) bool) {
		for q := range s.Quotas() {
			if len(q.Limits) > 0 && !yield(q) {
				return
			}
		}
	}
}

func (f *finding) subnetPool(p *model.SubnetPool) {
	var prefixes []string
	for _, prefix := range p.Prefixes {
		prefixes = append(prefixes, prefix.String())
	}
	f.add(inspect.Object{Kind: inspect.KindSubnetPool, ID: p.ID.String(), Name: p.Name, Note: strings.Join(prefixes, " ")})
}

func (f *finding) rbacPolicy(p *model.RBACPolicy) {
	network := p.ObjectID.String()
	if n, ok := f.snap.Network(p.ObjectID); ok {
		network = fmt.Sprintf("%s (%s)", n.Name, n.ID)
	}
	f.add(inspect.Object{Kind: inspect.KindRBACPolicy, ID: p.ID.String(), Note: fmt.Sprintf("%s of network %s to %s", p.Action, network, p.TargetTenant)})
}

func (f *finding) quota(q *model.Quota) {
	var set []string
	for _, resource := range slices.Sorted(maps.Keys(q.Limits)) {
		set = append(set, fmt.Sprintf("%s=%d", resource, q.Limits[resource]))
	}
	f.add(inspect.Object{Kind: inspect.KindQuota, ID: q.ProjectID, Note: strings.Join(set, " ")})
}

func (f *finding) agent(a *model.Agent) {
	o := inspect.Object{Kind: inspect.KindAgent, ID: a.ID.String(), Note: fmt.Sprintf("admin_state_up=%t", a.AdminStateUp)}
	for h := range f.snap.Hosts() {
		for _, agentType := range []string{model.AgentOVS, model.AgentDHCP} {
			if h.AgentID(agentType) == a.ID {
				o.Name = agentType + " on " + h.Hostname
			}
		}
	}
	f.add(o)
}

// binding is one beside that of binding:host_id: of a port that migrates, or has migrated.
func (f *finding) binding(b *model.Binding) {
	o := inspect.Object{Kind: inspect.KindBinding, ID: b.PortID.String(), Note: "to host " + b.Host}
	if p, ok := f.snap.Port(b.PortID); ok {
		o.Name = p.Name
	}
	if b.Left {
		o.Note += ", which the port has left"
	}
	f.add(o)
}
