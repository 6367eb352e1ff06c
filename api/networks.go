package api

import (
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// networks is the network resource.
type networks struct{ *Server }

func (networks) schema() *model.Schema { return model.Networks }

func (networks) find(t *store.Tables, id uuid.UUID) (view, bool) {
	n, ok := t.Network(id)
	return &model.NetworkView{Network: n}, ok
}

func (n networks) candidates(t *store.Tables, q *query) iter.Seq[view] {
	if ids, ok := q.only("id"); ok {
		return byID(n, t, ids)
	}
	return func(yield func(view) bool) {
		for row := range t.Networks() {
			if !yield(&model.NetworkView{Network: row}) {
				return
			}
		}
	}
}

func (networks) derive(t *store.Tables, c *Caller, v view) {
	n := v.(*model.NetworkView)
	shared, _ := sharing(t, n.Network, c.Project)
	if external := isExternal(t, n.Network); shared != n.Shared || external != n.External {
		row := *n.Network
		row.Shared, row.External = shared, external
		n.Network = &row
	}
	n.Status = model.StatusActive
	n.L2Adjacency = true
	if _, ok := t.DHCPPort(n.ID); ok {
		n.AvailabilityZones = t.Zones()
	}
	for s := range t.SubnetsOf(n.ID) {
		n.Subnets = append(n.Subnets, s.ID)
	}
	slices.SortFunc(n.Subnets, func(x, y uuid.UUID) int { return slices.Compare(x[:], y[:]) })
}

func (networks) rules() rules {
	return rules{
		create: AccessOwner,
		get:    AccessAdmin | AccessService | AccessProjectReader | AccessSharedReader | AccessExternal,
		update: AccessOwner,
		delete: AccessOwner,
	}
}

func (networks) target(t *store.Tables, c *Caller, v view) target {
	return networkTarget(t, c, v.(*model.NetworkView).Network)
}

// networkTarget is what the rules ask about a network, and about what is on it but has no project yet.
func networkTarget(t *store.Tables, c *Caller, n *model.Network) target {
	shared, external := sharing(t, n, c.Project)
	return target{project: n.ProjectID, network: n.ProjectID, shared: shared, external: external}
}

// onNetwork is what the rules ask about what is on a network.
func onNetwork(t *store.Tables, c *Caller, network uuid.UUID, project string) target {
	tg := target{}
	if n, ok := t.Network(network); ok {
		tg = networkTarget(t, c, n)
	}
	tg.project = project
	return tg
}

func (n networks) create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error) {
	row := &model.Network{}
	asked := &model.NetworkView{Network: row}
	in.Apply(asked)
	if err := begin(&row.Common, c, in); err != nil {
		return uuid.Nil, err
	}
	if err := c.authorize("create", model.Networks, n.rules().create, networkTarget(&tx.Tables, c, row), clauses(model.Create, in)...); err != nil {
		return uuid.Nil, err
	}
	if err := checkDefault(asked); err != nil {
		return uuid.Nil, err
	}
	if err := checkZones(&tx.Tables, row.AvailabilityZoneHints); err != nil {
		return uuid.Nil, err
	}
	numbered, err := askedSegment(in, asked)
	if err != nil {
		return uuid.Nil, err
	}
	if row.Segment, err = n.segments.take(tx, row.Segment, numbered); err != nil {
		return uuid.Nil, err
	}
	if row.MTU, err = n.mtus.fit(row.Segment, row.MTU); err != nil {
		return uuid.Nil, err
	}
	if err := tx.PutNetwork(row); err != nil {
		return uuid.Nil, err
	}
	return row.ID, declareSharing(tx, row)
}

func (n networks) update(tx *store.Tx, c *Caller, v view, in *model.Input) error {
	old := v.(*model.NetworkView).Network
	if err := c.authorize("update", model.Networks, n.rules().update, networkTarget(&tx.Tables, c, old), clauses(model.Update, in)...); err != nil {
		return err
	}
	row := *old
	asked := &model.NetworkView{Network: &row}
	in.Apply(asked)
	err := checkDefault(asked)
	if err != nil {
		return err
	}
	if _, err = askedSegment(in, asked); err != nil {
		return err
	}
	if row.Segment, err = n.segments.renumber(old.Segment, in, row.Segment); err != nil {
		return err
	}
	if in.Given("mtu") {
		if row.MTU, err = n.mtus.fit(row.Segment, row.MTU); err != nil {
			return err
		}
	}
	if row.MTU < old.MTU {
		for s := range tx.SubnetsOf(row.ID) {
			if err := checkMTU(&row, s); err != nil {
				return err
			}
		}
	}
	if old.Shared && !row.Shared {
		if err := checkSharing(tx, &row); err != nil {
			return err
		}
	}
	taken := false // policies of single projects
	if in.Given("router:external") {
		switch is := isExternal(&tx.Tables, old); {
		case row.External && is:
			row.External = old.External // it is, be it for one project, and remains so
		case is:
			if err := makeInternal(tx, old); err != nil {
				return err
			}
			taken = true
		}
	}
	if !taken && reflect.DeepEqual(&row, old) {
		return nil
	}
	touch(&row.Common)
	if err := tx.PutNetwork(&row); err != nil {
		return err
	}
	return declareSharing(tx, &row)
}

// checkDefault refuses what --default of a client asks for. --no-default asks for what is so.
func checkDefault(n *model.NetworkView) error {
	if n.IsDefault {
		return model.BadRequest("Invalid input for is_default. Reason: 'True' is not possible: no network is made for projects that have none, so none is the default one.")
	}
	return nil
}

func (networks) retag(tx *store.Tx, v view, tags []string) error {
	row := *v.(*model.NetworkView).Network
	row.Tags = tags
	touch(&row.Common)
	return tx.PutNetwork(&row)
}

// remove deletes the network with its subnets, its DHCP port and its policies, if no other port is on it.
func (networks) remove(tx *store.Tx, v view) error {
	id := v.Row().ID
	var used []string
	for p := range tx.PortsOf(id) {
		if p.DeviceOwner != model.OwnerDHCP {
			used = append(used, p.ID.String())
		}
	}
	if used != nil {
		slices.Sort(used)
		return networkInUse(id, strings.Join(used, ","))
	}
	if p, ok := tx.DHCPPort(id); ok {
		if err := tx.DeletePort(p.ID); err != nil {
			return err
		}
	}
	for s := range tx.SubnetsOf(id) {
		if err := tx.DeleteSubnet(s.ID); err != nil {
			return err
		}
	}
	for p := range tx.RBACPoliciesOf(id) {
		if err := tx.DeleteRBACPolicy(p.ID); err != nil {
			return err
		}
	}
	return tx.DeleteNetwork(id)
}

// networkFor finds the network that a new subnet or port is to be on, if the caller may know of it.
func networkFor(t *store.Tables, c *Caller, id uuid.UUID) (*model.Network, error) {
	n, ok := t.Network(id)
	if !ok || !c.may(networks{}.rules().get, networkTarget(t, c, n)) {
		return nil, notFound(model.Networks, id.String())
	}
	return n, nil
}
