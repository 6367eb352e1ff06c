package api

import (
	"iter"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// rbacPolicies is the RBAC policy resource: what makes a network shared with, or external for, one
// project. For every project a network's own attributes say the same, and both are kept alike: who sets
// shared makes the policy for *, and who deletes that takes shared back.
type rbacPolicies struct{ *Server }

func (rbacPolicies) schema() *model.Schema { return model.RBACPolicies }

func (rbacPolicies) find(t *store.Tables, id uuid.UUID) (view, bool) {
	p, ok := t.RBACPolicy(id)
	return p, ok
}

func (p rbacPolicies) candidates(t *store.Tables, q *query) iter.Seq[view] {
	if ids, ok := q.only("id"); ok {
		return byID(p, t, ids)
	}
	return func(yield func(view) bool) {
		each(t.RBACPolicies(), func(p *model.RBACPolicy) view { return p }, yield)
	}
}

func (rbacPolicies) derive(*store.Tables, *Caller, view) {}

func (rbacPolicies) rules() rules {
	return rules{create: AccessOwner, get: AccessAdmin | AccessProjectReader, update: AccessOwner, delete: AccessOwner}
}

func (rbacPolicies) target(_ *store.Tables, _ *Caller, v view) target {
	return rbacTarget(v.(*model.RBACPolicy))
}

func rbacTarget(p *model.RBACPolicy) target {
	return target{project: p.ProjectID, everybody: p.TargetTenant == model.EveryProject}
}

// sharing says whether a network is shared with a project, and external for it, be it for every one.
func sharing(t *store.Tables, n *model.Network, project string) (shared, external bool) {
	shared, external = n.Shared, n.External
	if !shared {
		_, shared = t.RBACPolicyFor(n.ID, model.AccessAsShared, project)
	}
	if !external {
		_, external = t.RBACPolicyFor(n.ID, model.AccessAsExternal, project)
	}
	return shared, external
}

// isExternal reports whether a network is external, be it for one project: who sees the network sees that.
func isExternal(t *store.Tables, n *model.Network) bool {
	if n.External {
		return true
	}
	for p := range t.RBACPoliciesOf(n.ID) {
		if p.Action == model.AccessAsExternal {
			return true
		}
	}
	return false
}

// makeInternal deletes the policies that make a network external for single projects.
func makeInternal(tx *store.Tx, n *model.Network) error {
	for p := range tx.RBACPoliciesOf(n.ID) {
		if p.Action != model.AccessAsExternal || p.TargetTenant == model.EveryProject {
			continue
		}
		if err := tx.DeleteRBACPolicy(p.ID); err != nil {
			return err
		}
	}
	return nil
}

func (p rbacPolicies) create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error) {
	row := &model.RBACPolicy{}
	in.Apply(row)
	common := model.Common{ProjectID: row.ProjectID}
	if err := begin(&common, c, in); err != nil {
		return uuid.Nil, err
	}
	row.ID, row.ProjectID = common.ID, common.ProjectID
	row.ObjectType = strings.ToLower(strings.TrimSpace(row.ObjectType))
	if err := c.authorize("create", model.RBACPolicies, p.rules().create, rbacTarget(row),
		clause{attribute: "object_type", rule: AccessAny}, clause{attribute: "object_id", rule: AccessAny},
		clause{attribute: "target_tenant", rule: attributeRules[model.PolicyNotEverybody].create}, clause{attribute: "action", rule: AccessAny}); err != nil {
		return uuid.Nil, err
	}
	switch {
	case row.ObjectType != model.Networks.Name:
		return uuid.Nil, model.InvalidInput("object_type: '%s' is not a valid RBAC object type", model.Quote(row.ObjectType))
	case row.Action != model.AccessAsShared && row.Action != model.AccessAsExternal:
		return uuid.Nil, model.InvalidInput("action: '%s' is not an action on a network: %s and %s are", model.Quote(row.Action), model.AccessAsShared, model.AccessAsExternal)
	case row.TargetTenant == "":
		return uuid.Nil, errNoTarget
	}
	n, err := networkFor(&tx.Tables, c, row.ObjectID)
	if err != nil {
		return uuid.Nil, err
	}
	if !c.Admin && !c.owns(n.ProjectID) {
		return uuid.Nil, model.InvalidInput("Only admins can manipulate policies on networks they do not own")
	}
	if err := tx.PutRBACPolicy(row); err != nil {
		return uuid.Nil, err
	}
	return row.ID, p.follow(tx, row, true)
}

var errNoTarget = model.InvalidInput("'target_tenant' must be a project, or * for every one")

func (p rbacPolicies) update(tx *store.Tx, c *Caller, v view, in *model.Input) error {
	old := v.(*model.RBACPolicy)
	row := *old
	in.Apply(&row)
	if err := c.authorize("update", model.RBACPolicies, p.rules().update, rbacTarget(&row), clauses(model.Update, in)...); err != nil {
		return err
	}
	if row == *old {
		return nil
	}
	if row.TargetTenant == "" {
		return errNoTarget
	}
	if err := tx.PutRBACPolicy(&row); err != nil {
		return err
	}
	if err := p.follow(tx, old, false); err != nil {
		return err
	}
	if err := p.follow(tx, &row, true); err != nil {
		return err
	}
	return p.stillUsed(tx, old)
}

func (rbacPolicies) retag(*store.Tx, view, []string) error { return errMethod }

func (p rbacPolicies) remove(tx *store.Tx, v view) error {
	row := v.(*model.RBACPolicy)
	if err := tx.DeleteRBACPolicy(row.ID); err != nil {
		return err
	}
	if err := p.follow(tx, row, false); err != nil {
		return err
	}
	return p.stillUsed(tx, row)
}

// follow makes the network say what a policy for every project does, or did.
func (rbacPolicies) follow(tx *store.Tx, p *model.RBACPolicy, on bool) error {
	n, ok := tx.Network(p.ObjectID)
	if !ok || p.TargetTenant != model.EveryProject {
		return nil
	}
	row := *n
	if p.Action == model.AccessAsShared {
		row.Shared = on
	} else {
		row.External = on
	}
	touch(&row.Common)
	return tx.PutNetwork(&row)
}

// stillUsed refuses to take back an access that a port on the network needs.
func (rbacPolicies) stillUsed(tx *store.Tx, p *model.RBACPolicy) error {
	n, ok := tx.Network(p.ObjectID)
	if !ok || p.Action != model.AccessAsShared {
		return nil
	}
	if err := checkSharing(tx, n); err != nil {
		return conflict("RbacPolicyInUse", "RBAC policy on object %s cannot be removed because other objects depend on it.\nDetails: %s", n.ID, err)
	}
	return nil
}

// checkSharing finds ports on a network whose project may no longer put them there.
func checkSharing(tx *store.Tx, n *model.Network) error {
	if n.Shared {
		return nil
	}
	allowed := map[string]bool{n.ProjectID: true}
	for p := range tx.PortsOf(n.ID) {
		if allowed[p.ProjectID] {
			continue
		}
		if _, ok := tx.RBACPolicyFor(n.ID, model.AccessAsShared, p.ProjectID); !ok {
			return conflict("InvalidSharedSetting", "Unable to reconfigure sharing settings for network %s. Multiple tenants are using it.", n.ID)
		}
		allowed[p.ProjectID] = true
	}
	return nil
}

// declareSharing makes a network's policies for every project say what the network does.
func declareSharing(tx *store.Tx, n *model.Network) error {
	for action, on := range map[string]bool{model.AccessAsShared: n.Shared, model.AccessAsExternal: n.External} {
		p, has := tx.RBACPolicyFor(n.ID, action, model.EveryProject)
		var err error
		switch {
		case on && !has:
			err = tx.PutRBACPolicy(&model.RBACPolicy{ID: uuid.New(), ProjectID: n.ProjectID, ObjectType: model.Networks.Name,
				ObjectID: n.ID, Action: action, TargetTenant: model.EveryProject})
		case has && !on:
			err = tx.DeleteRBACPolicy(p.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) rbacRoutes() []Route {
	p := rbacPolicies{s}
	h, rules := handlers{s, p}, p.rules()
	const alias, all, one = "rbac-policies", "/v2.0/rbac-policies", "/v2.0/rbac-policies/{id}"
	return []Route{
		{"get_rbac_policies", http.MethodGet, all, rules.get, alias, model.RBACPolicies, h.list},
		{"create_rbac_policy", http.MethodPost, all, rules.create, alias, model.RBACPolicies, h.create},
		{"get_rbac_policy", http.MethodGet, one, rules.get, alias, model.RBACPolicies, h.show},
		{"update_rbac_policy", http.MethodPut, one, rules.update, alias, model.RBACPolicies, h.update},
		{"delete_rbac_policy", http.MethodDelete, one, rules.delete, alias, model.RBACPolicies, h.remove},
	}
}
