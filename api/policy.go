package api

import (
	"net/http"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
)

// Caller is who makes a request.
type Caller struct {
	Project string // the project new resources belong to
	Admin   bool   // may do everything, for every project
}

// LabProject is the project of callers that name none, when nobody is authenticated.
const LabProject = "default"

// unauthenticated takes everybody for an administrator, of the project that the X-Project-Id header
// names.
func unauthenticated(r *http.Request) (*Caller, error) {
	c := &Caller{Project: LabProject, Admin: true}
	if p := r.Header.Get("X-Project-Id"); p != "" && len(p) <= 255 {
		c.Project = p
	}
	return c, nil
}

// Access is the policy of a route: who may call it. What the caller does not see is not found; what it
// sees but may not change is forbidden.
type Access string

// The route policies.
const (
	AccessAny   Access = "any"   // who is authenticated; sees its own and what is shared
	AccessOwner Access = "owner" // the owner and administrators
)

// owns reports whether the caller may act for the project.
func (c *Caller) owns(project string) bool { return c.Admin || c.Project == project }

// setAttributes checks whether the caller may set what the request gives. networkProject owns the
// network that the resource is on, or is the network.
func (c *Caller) setAttributes(op model.Operation, s *model.Schema, in *model.Input, networkProject string) error {
	if c.Admin {
		return nil
	}
	rules, allowed := []string{}, true
	for _, a := range in.GivenAttributes() {
		switch a.Policy {
		case model.PolicyAdmin, model.PolicyAdminSets:
			allowed = false
		case model.PolicyNetworkOwnerSets:
			allowed = allowed && c.Project == networkProject
		default:
			continue
		}
		rules = append(rules, a.Name)
	}
	if allowed {
		return nil
	}
	return forbidden(string(op), s, rules...)
}

// forbidden names the rules that were applied, as Neutron writes a rule of a resource and of attributes.
func forbidden(op string, s *model.Schema, attributes ...string) *Error {
	rule := "rule:" + op + "_" + s.Name
	text := rule
	for _, a := range attributes {
		text = "(" + text + " and " + rule + ":" + a + ")"
	}
	return &Error{http.StatusForbidden, "PolicyNotAuthorized", text + " is disallowed by policy"}
}

// projectOf is the project of a new resource: the caller's, unless the request of an administrator
// names another.
func (c *Caller) projectOf(in *model.Input, given string) (string, error) {
	if !in.Given("project_id") {
		return c.Project, nil
	}
	if !c.owns(given) {
		return "", model.BadRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin or advsvc privileges")
	}
	return given, nil
}

// accepts reports whether the client takes JSON for an answer.
func accepts(header string) bool {
	return header == "" || strings.Contains(header, "*/*") || strings.Contains(header, "application/*") || strings.Contains(header, "json")
}
