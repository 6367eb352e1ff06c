package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
)

// Caller is who makes a request: what its token says. Each role includes those after it.
type Caller struct {
	User    string // id; "" when nobody is authenticated
	Project string // the project that new resources belong to
	Service bool   // another OpenStack service, Nova: may what its users' requests need, in every project
	Admin   bool   // may do everything, in every project
	Member  bool   // may use its project
	Reader  bool   // may look at its project
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

// Access says who may do something: whoever meets one of its conditions. These are the roles of
// Neutron's own defaults since 2023.2 (a reader changes nothing), with administrators never left out.
type Access uint16

// The conditions.
const (
	AccessAny           Access = 1 << iota // anybody who is authenticated
	AccessAdmin                            // the role admin
	AccessService                          // the role service
	AccessProjectReader                    // the role reader in the resource's project
	AccessProjectMember                    // the role member in the resource's project
	AccessNetworkReader                    // the role reader in the project of the network that it is on
	AccessNetworkMember                    // the role member in the project of the network that it is on
	AccessSharedReader                     // the role reader anywhere, of what is shared with its project, or is on a network that is
	AccessSharedMember                     // the role member anywhere, of what is shared with its project, or is on a network that is
	AccessExternal                         // the role reader anywhere, of an external network
	AccessNoDevice                         // anybody, while device_owner does not begin with network:
	AccessNotEverybody                     // anybody, while it is not for every project

	// AccessOwner is who may change what belongs to a project alone.
	AccessOwner = AccessAdmin | AccessProjectMember
)

// conditions in words, in the order of the constants.
var conditions = []string{
	"anybody", "admin", "service", "reader of the project", "member of the project", "reader of the network's project",
	"member of the network's project", "reader where it is shared", "member where it is shared",
	"reader where it is external", "anybody unless device_owner begins with network:",
	"anybody unless for every project",
}

// String is the rule in words: "admin, member of the project".
func (a Access) String() string {
	var met []string
	for i, words := range conditions {
		if a&(1<<i) != 0 {
			met = append(met, words)
		}
	}
	if met == nil {
		return "nobody"
	}
	return strings.Join(met, ", ")
}

// target is what the conditions ask about.
type target struct {
	project   string // that the resource belongs to
	network   string // project of the network that it is on, or that it is
	shared    bool   // it or that network, with the caller's project
	external  bool   // that network
	device    bool   // its device_owner is, or becomes, a network: one
	everybody bool   // it is for every project
}

// may reports whether the caller meets one of the conditions.
func (c *Caller) may(a Access, t target) bool {
	member := c.Member || c.Admin
	reader := c.Reader || member
	for i, met := range [...]bool{
		true, c.Admin, c.Service, reader && c.owns(t.project), member && c.owns(t.project), reader && c.owns(t.network),
		member && c.owns(t.network), reader && t.shared, member && t.shared, reader && t.external, !t.device, !t.everybody,
	} {
		if met && a&(1<<i) != 0 {
			return true
		}
	}
	return false
}

// owns reports whether the project is the caller's. What belongs to none is nobody's.
func (c *Caller) owns(project string) bool { return project != "" && c.Project == project }

// privileged reports whether the caller sees what is for administrators and services alone.
func (c *Caller) privileged() bool { return c.Admin || c.Service }

// rules are who may do what with a resource.
type rules struct{ create, get, update, delete Access }

// of returns the rule of an operation: "create", "get", "update", "delete".
func (r rules) of(op string) Access {
	switch op {
	case "create":
		return r.create
	case "get":
		return r.get
	case "update":
		return r.update
	case "delete":
		return r.delete
	}
	return 0
}

// attributeRules are who may set attributes of a policy, and see them, beyond what holds for their
// resource.
var attributeRules = map[model.Policy]rules{
	model.PolicyNone:               {create: AccessAny, get: AccessAny, update: AccessAny},
	model.PolicyAdmin:              {create: AccessAdmin, get: AccessAdmin | AccessService, update: AccessAdmin},
	model.PolicyAdminSets:          {create: AccessAdmin, get: AccessAny, update: AccessAdmin},
	model.PolicyOwner:              {create: AccessOwner, get: AccessAdmin | AccessProjectReader, update: AccessOwner},
	model.PolicyService:            {create: AccessAdmin | AccessService, get: AccessAdmin | AccessService, update: AccessAdmin | AccessService},
	model.PolicyNetworkOwnerSets:   {create: networkOwner, get: AccessAny, update: networkOwner},
	model.PolicyNetworkOwnerGives:  {create: networkOwner, get: AccessAny, update: AccessAdmin | AccessService},
	model.PolicyNetworkOwnerMoves:  {create: networkOwner | AccessSharedMember, get: AccessAny, update: networkOwner},
	model.PolicyNotEverybody:       {create: AccessAdmin | AccessNotEverybody, get: AccessAny, update: AccessAdmin | AccessNotEverybody},
	model.PolicyNetworkOwnerDevice: {create: networkOwner | AccessNoDevice, get: AccessAny, update: networkOwner | AccessNoDevice},
}

const networkOwner = AccessAdmin | AccessService | AccessNetworkMember

// clause is one rule of several that a request must pass: of the attribute of that name, or part of it.
type clause struct {
	attribute string
	rule      Access
	parts     []clause
}

// clauses are the rules of the attributes that a request gives. One that a creation sets to its default
// is as if it were not there.
func clauses(op model.Operation, in *model.Input) []clause {
	var given []clause
	for _, a := range in.GivenAttributes() {
		if a.Policy != model.PolicyNone && !(op == model.Create && in.IsDefault(a)) {
			given = append(given, clause{attribute: a.Name, rule: attributeRules[a.Policy].of(string(op))})
		}
	}
	return given
}

// authorize checks the rule of the operation and those of what the request gives.
func (c *Caller) authorize(op string, s *model.Schema, rule Access, t target, given ...clause) error {
	allowed := c.may(rule, t)
	action := "rule:" + op + "_" + s.Name
	text := action // as Neutron writes a rule of several
	for _, g := range given {
		allowed = allowed && c.may(g.rule, t)
		part := action + ":" + g.attribute
		if len(g.parts) > 0 {
			names := make([]string, len(g.parts))
			for i, p := range g.parts {
				allowed = allowed && c.may(p.rule, t)
				names[i] = part + ":" + p.attribute
			}
			part = "(" + part + " and (" + strings.Join(names, " and ") + "))"
		}
		text = "(" + text + " and " + part + ")"
	}
	if allowed {
		return nil
	}
	return forbidden(text)
}

// forbidden is the answer to who sees a resource but may not do this with it.
func forbidden(rule string) *Error {
	return &Error{Status: http.StatusForbidden, Type: "PolicyNotAuthorized", Message: rule + " is disallowed by policy"}
}

// projectOf is the project of a new resource: the caller's, unless the request of an administrator
// names another.
func (c *Caller) projectOf(in *model.Input, given string) (string, error) {
	if !in.Given("project_id") {
		return c.Project, nil
	}
	if !c.privileged() && !c.owns(given) {
		return "", model.BadRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin or advsvc privileges")
	}
	return given, nil
}

// PolicyRow is one row of the policy: who may do what.
type PolicyRow struct {
	Action string // "create_network"; with an attribute, "create_network:shared"
	Rule   Access // in addition to the action's, for an attribute
}

// Policy is the table of all rules: every operation, and every attribute and part of one that not
// everybody who may do the operation sees or sets.
func (s *Server) Policy() []PolicyRow {
	var table []PolicyRow
	listed := make(map[*model.Schema]bool)
	for _, r := range s.routes {
		if r.Name == "" || slices.Contains(openRoutes, r.Name) {
			continue
		}
		if row := (PolicyRow{r.Name, r.Access}); !slices.Contains(table, row) {
			table = append(table, row)
		}
		if r.Schema == nil || listed[r.Schema] {
			continue
		}
		listed[r.Schema] = true
		for _, a := range r.Schema.Attributes {
			table = append(table, attributeRows(r.Schema, a)...)
		}
	}
	slices.SortStableFunc(table, func(x, y PolicyRow) int { return strings.Compare(x.Action, y.Action) })
	return table
}

func attributeRows(s *model.Schema, a *model.Attribute) []PolicyRow {
	var rows []PolicyRow
	r := attributeRules[a.Policy]
	add := func(op string, applies bool, rule Access) {
		if applies && rule&AccessAny == 0 {
			rows = append(rows, PolicyRow{op + "_" + s.Name + ":" + a.Name, rule})
			if a.Policy == model.PolicyNetworkOwnerMoves {
				for _, p := range []clause{fixedIPAddress, fixedIPSubnet} {
					rows = append(rows, PolicyRow{op + "_" + s.Name + ":" + a.Name + ":" + p.attribute, p.rule})
				}
			}
		}
	}
	add("create", a.Post, r.create)
	add("get", !a.Hidden, r.get)
	add("update", a.Put, r.update)
	return rows
}

// accepts reports whether the client takes JSON for an answer.
func accepts(header string) bool {
	return header == "" || strings.Contains(header, "*/*") || strings.Contains(header, "application/*") || strings.Contains(header, "json")
}
