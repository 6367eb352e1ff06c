package model

import "github.com/google/uuid"

// RBACPolicies declares the RBAC policy resource.
var RBACPolicies = declare[RBACPolicy]("rbac_policy", "rbac_policies")

// RBACPolicy gives one project, or every one, access to a network of another (table kind: desired). A
// network that is shared, or external, has the policy that says so for every project.
type RBACPolicy struct {
	// ID is the policy's UUID, chosen by the server.
	ID uuid.UUID `api:"id,filter,sort,ext=rbac-policies"`
	// ProjectID is the project that owns the policy.
	ProjectID string `api:"project_id,alias=tenant_id,post,filter,sort,max=255,ext=rbac-policies"`
	// ObjectType is network.
	ObjectType string `api:"object_type,post,required,max=255,filter,sort,ext=rbac-policies"`
	// ObjectID is the network.
	ObjectID uuid.UUID `api:"object_id,post,required,filter,sort,ext=rbac-policies"`
	// Action is what the project may do: access_as_shared or access_as_external.
	Action string `api:"action,post,required,max=255,filter,sort,ext=rbac-policies"`
	// TargetTenant is the project that gets access, or * for every one.
	TargetTenant string `api:"target_tenant,post,put,required,max=255,filter,sort,policy=not-everybody,ext=rbac-policies"`
}

// Row has the policy's id and project.
func (p *RBACPolicy) Row() *Common { return &Common{ID: p.ID, ProjectID: p.ProjectID} }

// The values of RBACPolicy.Action, and of TargetTenant for every project.
const (
	AccessAsShared   = "access_as_shared"
	AccessAsExternal = "access_as_external"
	EveryProject     = "*"
)
