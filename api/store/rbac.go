package store

import (
	"iter"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// RBACPolicy finds an RBAC policy by its id.
func (t *Tables) RBACPolicy(id uuid.UUID) (*model.RBACPolicy, bool) {
	return get[model.RBACPolicy](t, rbacPolicies, id.String())
}

// RBACPolicies lists all RBAC policies in the order of their ids.
func (t *Tables) RBACPolicies() iter.Seq[*model.RBACPolicy] {
	return list[model.RBACPolicy](t.state.rows[rbacPolicies], "")
}

// RBACPoliciesOf lists the policies of a network. It is watched over, as [Tables.SubnetsOf].
func (t *Tables) RBACPoliciesOf(network uuid.UUID) iter.Seq[*model.RBACPolicy] {
	return listUnique[model.RBACPolicy](t, rbacPrefix(network))
}

// RBACPolicyFor finds the policy that gives a project, or [model.EveryProject], an access to a network.
func (t *Tables) RBACPolicyFor(network uuid.UUID, action, project string) (*model.RBACPolicy, bool) {
	return unique[model.RBACPolicy](t, rbacKey(network, action, project))
}

// PutRBACPolicy writes an RBAC policy. Its network must exist ([*ReferenceError]), and no other policy
// may say the same ([*UniqueError]).
func (tx *Tx) PutRBACPolicy(p *model.RBACPolicy) error { return tx.put(rbacPolicies, p) }

// DeleteRBACPolicy deletes an RBAC policy. [ErrNotFound] when there is none.
func (tx *Tx) DeleteRBACPolicy(id uuid.UUID) error { return tx.drop(rbacPolicies, id.String()) }
