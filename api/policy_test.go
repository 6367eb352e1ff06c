package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// A role of a token, each with those that it includes.
type role int

const (
	nothing role = iota
	reader
	member
	service
	admin
)

// persona is somebody with a role in a project.
type persona struct {
	role    role
	project string
}

func (p persona) String() string {
	return [...]string{"nobody", "reader", "member", "service", "admin"}[p.role] + " of " + p.project
}

func (p persona) caller() *Caller {
	return &Caller{User: p.String(), Project: p.project, Reader: p.role == reader, Member: p.role == member, Service: p.role == service, Admin: p.role == admin}
}

func (p persona) atLeast(r role) bool {
	return p.role >= r && p.role != service || p.role == admin
}

// resourceCase is what a rule is asked about: a port and a subnet of the project owner on a network of
// the project net, which is plain, shared or external, and a subnet pool that may be shared too.
type resourceCase struct {
	kind    string
	ids     map[string]string // by the schema's name
	project string            // of the resource of the row
}

// meets says what the words of a condition mean. It shares nothing with Caller.may.
func meets(condition string, p persona, r resourceCase) bool {
	switch condition {
	case "anybody":
		return true
	case "admin":
		return p.role == admin
	case "service":
		return p.role == service
	case "reader of the project":
		return p.atLeast(reader) && p.project == r.project
	case "member of the project":
		return p.atLeast(member) && p.project == r.project
	case "reader of the network's project":
		return p.atLeast(reader) && p.project == "net"
	case "member of the network's project":
		return p.atLeast(member) && p.project == "net"
	case "reader where it is shared":
		return p.atLeast(reader) && r.kind == "shared"
	case "member where it is shared":
		return p.atLeast(member) && r.kind == "shared"
	case "reader where it is external":
		return p.atLeast(reader) && r.kind == "external"
	case "anybody unless device_owner begins with network:", "anybody unless for every project":
		return false // the requests of this test set one that does
	}
	panic("no such condition: " + condition)
}

// given are values of the attributes that have rules.
var given = map[string]string{
	"shared":                    `true`,
	"is_default":                `true`,
	"router:external":           `true`,
	"provider:network_type":     `"vxlan"`,
	"segments":                  `[{"provider:network_type":"vxlan"}]`,
	"provider:physical_network": `"physnet1"`,
	"provider:segmentation_id":  `77`,
	"allowed_address_pairs":     `[{"ip_address":"10.9.9.9"}]`,
	"binding:host_id":           `"h1"`,
	"binding:profile":           `{}`,
	"device_owner":              `"network:test"`,
	"fixed_ips":                 `[]`,
	"fixed_ips:ip_address":      `[{"ip_address":"10.0.0.77"}]`,
	"fixed_ips:subnet_id":       `[{"subnet_id":"SUBNET"}]`,
	"mac_address":               `"02:00:00:00:00:77"`,
	"port_security_enabled":     `true`,
	"tunbridge:metadata":        `{"hostname":"vm"}`,
}

// world is a server with a case of each kind.
type world struct {
	*bench
	rules map[string]string // by action, in words
	cases []resourceCase
}

func newWorld(t *testing.T) *world {
	w := &world{rules: make(map[string]string)}
	w.bench = newBench(t, func(o *Options) {
		o.Authenticate = func(r *http.Request) (*Caller, error) {
			var p persona
			if text := r.Header.Get("X-Persona"); text == "" {
				p = persona{admin, "admins"}
			} else if _, err := fmt.Sscan(text, (*int)(&p.role), &p.project); err != nil {
				return nil, err
			}
			return p.caller(), nil
		}
	})
	w.server.Plan = func(context.Context, *store.Snapshot, *store.Snapshot) (any, error) { return struct{}{}, nil }
	for _, row := range w.server.Policy() {
		w.rules[row.Action] = row.Rule.String()
	}
	w.host("h1")
	for i, kind := range []string{"plain", "shared", "external"} {
		r := resourceCase{kind: kind, ids: make(map[string]string)}
		make := func(name, attributes string) {
			if kind == "shared" && (name == "network" || name == "subnetpool") {
				attributes += `,"shared":true`
			}
			r.ids[name] = w.must("POST", "/v2.0/"+name+"s", fmt.Sprintf("{%q:{%s}}", name, attributes), name)["id"].(string)
		}
		make("network", fmt.Sprintf(`"project_id":"net","router:external":%v`, kind == "external"))
		make("subnet", fmt.Sprintf(`"project_id":"owner","network_id":%q,"ip_version":4,"cidr":"10.%d.0.0/16"`, r.ids["network"], i))
		make("port", fmt.Sprintf(`"project_id":"owner","network_id":%q`, r.ids["network"]))
		make("subnetpool", `"project_id":"owner","name":"pool","prefixes":["10.0.0.0/8"]`)
		w.cases = append(w.cases, r)
	}
	return w
}

// allowed reports whether the persona meets a rule of the table.
func (w *world) allowed(action string, p persona, r resourceCase) bool {
	rule, ok := w.rules[action]
	if !ok {
		return true // what has no row of its own is everybody's
	}
	for condition := range strings.SplitSeq(rule, ", ") {
		if meets(condition, p, r) {
			return true
		}
	}
	return false
}

func (w *world) as(p persona, method, path, body string) reply {
	return w.send(method, path, body, fmt.Sprintf("X-Persona: %d %s", p.role, p.project))
}

// TestPolicy does what each row of the table is about, as everybody, and compares the outcome with the
// row's words.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	everybody := []persona{{admin, "admins"}, {service, "services"}}
	for _, project := range []string{"owner", "net", "other"} {
		for _, r := range []role{nothing, reader, member} {
			everybody = append(everybody, persona{r, project})
		}
	}
	for _, row := range w.server.Policy() {
		op, rest, _ := strings.Cut(row.Action, "_")
		name, attribute, _ := strings.Cut(rest, ":")
		tags := strings.HasSuffix(name, "_tags") || strings.HasSuffix(name, "_tag")
		collection, _, _ := strings.Cut(name, "_tag")
		i := slices.IndexFunc(model.Schemas(), func(s *model.Schema) bool { return s.Name == collection || s.Collection == collection })
		if i < 0 || w.cases[0].ids[model.Schemas()[i].Name] == "" {
			if _, elsewhere := requests[row.Action]; !elsewhere {
				t.Errorf("no test of %s", row.Action)
			}
			continue
		}
		s := model.Schemas()[i]
		for _, r := range w.cases {
			r.project = "owner"
			if s.Name == "network" {
				r.project = "net"
			}
			for _, p := range everybody {
				switch {
				case tags:
					w.checkTags(row, s, op, strings.HasSuffix(name, "_tag"), p, r)
				case op == "get" && name == s.Collection:
					w.checkList(row, s, p, r)
				case op == "get":
					w.checkShow(row, s, attribute, p, r)
				case op == "create":
					w.checkCreate(row, s, attribute, p, r)
				default:
					w.checkChange(row, s, op, attribute, p, r)
				}
			}
		}
	}
}

func (r resourceCase) path(s *model.Schema) string {
	return "/v2.0/" + s.Collection + "/" + r.ids[s.Name]
}

// judge compares an answer with what it should be: hidden is 404, refused 403 that names the action.
func (w *world) judge(row PolicyRow, p persona, r resourceCase, out reply, visible, allowed bool) {
	w.t.Helper()
	e, _ := out.body["NeutronError"].(map[string]any)
	message, _ := e["message"].(string)
	where := fmt.Sprintf("%s (%s) as %s, %s", row.Action, row.Rule, p, r.kind)
	switch {
	case !visible:
		if out.status != http.StatusNotFound {
			w.t.Errorf("%s: %d %s, not 404", where, out.status, out.text)
		}
	case !allowed:
		if out.status != http.StatusForbidden || e["type"] != "PolicyNotAuthorized" || !strings.HasSuffix(message, " is disallowed by policy") {
			w.t.Errorf("%s: %d %s, not 403", where, out.status, out.text)
		}
	case out.status == http.StatusForbidden || out.status == http.StatusNotFound || out.status >= 500:
		w.t.Errorf("%s: %d %s, though allowed", where, out.status, out.text)
	}
}

func (w *world) checkList(row PolicyRow, s *model.Schema, p persona, r resourceCase) {
	out := w.as(p, "GET", "/v2.0/"+s.Collection, "")
	if listed, want := strings.Contains(out.text, `"id":"`+r.ids[s.Name]+`"`), w.allowed(row.Action, p, r); out.status != 200 || listed != want {
		w.t.Errorf("%s (%s) as %s, %s: %d, listed %v", row.Action, row.Rule, p, r.kind, out.status, listed)
	}
}

func (w *world) checkShow(row PolicyRow, s *model.Schema, attribute string, p persona, r resourceCase) {
	visible := w.allowed("get_"+s.Name, p, r)
	out := w.as(p, "GET", r.path(s), "")
	w.judge(row, p, r, out, visible, true)
	if attribute == "" || !visible {
		return
	}
	shown, _ := out.body[s.Name].(map[string]any)
	if _, has := shown[attribute]; has != w.allowed(row.Action, p, r) {
		w.t.Errorf("%s (%s) as %s, %s: shown %v", row.Action, row.Rule, p, r.kind, has)
	}
}

// body is a request that gives an attribute, or part of one, beside what it needs.
func (w *world) body(s *model.Schema, attribute, needed string, r resourceCase) string {
	var members []string
	if needed != "" {
		members = append(members, needed)
	}
	if attribute != "" {
		value, ok := given[attribute]
		if !ok {
			w.t.Fatalf("no value of %s to try", attribute)
		}
		of, _, part := strings.Cut(attribute, ":ip_address")
		if !part {
			of, _, _ = strings.Cut(attribute, ":subnet_id")
		}
		members = append(members, fmt.Sprintf("%q:%s", of, strings.ReplaceAll(value, "SUBNET", r.ids["subnet"])))
	}
	return fmt.Sprintf("{%q:{%s}}", s.Name, strings.Join(members, ","))
}

// allows reports whether the rules of an operation, of an attribute and of its part are all met.
func (w *world) allows(action string, p persona, r resourceCase) bool {
	op, attribute, _ := strings.Cut(action, ":")
	whole, isPart := strings.CutSuffix(attribute, ":ip_address")
	if !isPart {
		whole, isPart = strings.CutSuffix(attribute, ":subnet_id")
	}
	return w.allowed(op, p, r) && w.allowed(action, p, r) && (!isPart || w.allowed(op+":"+whole, p, r))
}

func (w *world) checkCreate(row PolicyRow, s *model.Schema, attribute string, p persona, r resourceCase) {
	r.project = p.project // whose it would be
	onNetwork, needed := r, `"network_id":"`+r.ids["network"]+`"`
	onNetwork.project = "net"
	visible := w.allowed("get_network", p, onNetwork)
	switch s.Name {
	case "network":
		visible, needed = true, ""
	case "subnetpool":
		visible, needed = true, `"name":"pool","prefixes":["10.0.0.0/8"]`
	case "subnet":
		needed += `,"ip_version":4,"cidr":"192.0.2.0/24"`
	}
	out := w.as(p, "POST", "/v2.0/"+s.Collection+"?dry_run=true", w.body(s, attribute, needed, r))
	w.judge(row, p, r, out, visible, w.allows(row.Action, p, r))
}

func (w *world) checkChange(row PolicyRow, s *model.Schema, op, attribute string, p persona, r resourceCase) {
	visible := w.allowed("get_"+s.Name, p, r)
	method, body := "DELETE", ""
	if op == "update" {
		method, body = "PUT", w.body(s, attribute, "", r)
	}
	out := w.as(p, method, r.path(s)+"?dry_run=true", body)
	w.judge(row, p, r, out, visible, w.allows(row.Action, p, r))
}

func (w *world) checkTags(row PolicyRow, s *model.Schema, op string, one bool, p persona, r resourceCase) {
	tags, body := r.path(s)+"/tags", `{"tags":["red"]}`
	w.send("PUT", tags, body)
	if one {
		tags += "/red"
	}
	method := map[string]string{"get": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}[op]
	out := w.as(p, method, tags, body)
	w.judge(row, p, r, out, w.allowed("get_"+s.Name, p, r), w.allowed(row.Action, p, r))
}

// requests are the operations that are not those of a resource like others: method, path, body.
var requests = map[string][3]string{
	"get_extension":                    {"GET", "/v2.0/extensions/provider"},
	"get_extensions":                   {"GET", "/v2.0/extensions"},
	"get_resources":                    {"GET", "/v2.0/"},
	"get_availability_zones":           {"GET", "/v2.0/availability_zones"},
	"get_quota_tenant":                 {"GET", "/v2.0/quotas/tenant"},
	"get_quota_project":                {"GET", "/v2.0/quotas/project"},
	"get_quotas":                       {"GET", "/v2.0/quotas"},
	"get_quota":                        {"GET", "/v2.0/quotas/owner"},
	"get_quota_default":                {"GET", "/v2.0/quotas/owner/default"},
	"get_quota_details":                {"GET", "/v2.0/quotas/owner/details"},
	"update_quota":                     {"PUT", "/v2.0/quotas/owner", `{"quota":{"network":100}}`},
	"delete_quota":                     {"DELETE", "/v2.0/quotas/owner"},
	"get_port_bindings":                {"GET", "/v2.0/ports/PORT/bindings"},
	"get_port_binding":                 {"GET", "/v2.0/ports/PORT/bindings/h1"},
	"create_port_binding":              {"POST", "/v2.0/ports/PORT/bindings", `{"binding":{"host":"h1"}}`},
	"update_port_binding":              {"PUT", "/v2.0/ports/PORT/bindings/h1", `{"binding":{"profile":{}}}`},
	"delete_port_binding":              {"DELETE", "/v2.0/ports/PORT/bindings/h2"},
	"activate_port_binding":            {"PUT", "/v2.0/ports/PORT/bindings/h1/activate"},
	"get_agents":                       {"GET", "/v2.0/agents"},
	"get_agent":                        {"GET", "/v2.0/agents/AGENT"},
	"update_agent":                     {"PUT", "/v2.0/agents/AGENT", `{"agent":{"description":"d"}}`},
	"delete_agent":                     {"DELETE", "/v2.0/agents/AGENT?dry_run=true"},
	"get_dhcp-agents":                  {"GET", "/v2.0/networks/NETWORK/dhcp-agents"},
	"get_dhcp-networks":                {"GET", "/v2.0/agents/AGENT/dhcp-networks"},
	"create_dhcp-network":              {"POST", "/v2.0/agents/AGENT/dhcp-networks", `{"network_id":"NETWORK"}`},
	"delete_dhcp-network":              {"DELETE", "/v2.0/agents/AGENT/dhcp-networks/NETWORK"},
	"get_network_ip_availability":      {"GET", "/v2.0/network-ip-availabilities/NETWORK"},
	"get_network_ip_availabilities":    {"GET", "/v2.0/network-ip-availabilities"},
	"get_auto_allocated_topology":      {"GET", "/v2.0/auto-allocated-topology/owner"},
	"delete_auto_allocated_topology":   {"DELETE", "/v2.0/auto-allocated-topology/owner"},
	"get_service_providers":            {"GET", "/v2.0/service-providers"},
	"get_rbac_policies":                {"GET", "/v2.0/rbac-policies?object_id=OWNED"},
	"get_rbac_policy":                  {"GET", "/v2.0/rbac-policies/RBAC"},
	"create_rbac_policy":               {"POST", "/v2.0/rbac-policies?dry_run=true", `{"rbac_policy":{"object_type":"network","object_id":"OWNED","action":"access_as_shared","target_tenant":"x"}}`},
	"create_rbac_policy:target_tenant": {"POST", "/v2.0/rbac-policies?dry_run=true", `{"rbac_policy":{"object_type":"network","object_id":"OWNED","action":"access_as_shared","target_tenant":"*"}}`},
	"update_rbac_policy":               {"PUT", "/v2.0/rbac-policies/RBAC?dry_run=true", `{"rbac_policy":{"target_tenant":"x"}}`},
	"update_rbac_policy:target_tenant": {"PUT", "/v2.0/rbac-policies/RBAC?dry_run=true", `{"rbac_policy":{"target_tenant":"*"}}`},
	"delete_rbac_policy":               {"DELETE", "/v2.0/rbac-policies/RBAC?dry_run=true"},
	"add_prefixes":                     {"PUT", "/v2.0/subnetpools/POOL/add_prefixes", `{"prefixes":["172.16.0.0/12"]}`},
	"remove_prefixes":                  {"PUT", "/v2.0/subnetpools/POOL/remove_prefixes", `{"prefixes":["172.16.0.0/12"]}`},
}

// TestPolicyElsewhere does what the rows are about that TestPolicy leaves out.
func TestPolicyElsewhere(t *testing.T) {
	w := newWorld(t)
	r := w.cases[0]
	r.project = "owner"
	agents, _ := w.send("GET", "/v2.0/agents?binary=neutron-dhcp-agent", "").body["agents"].([]any)
	if len(agents) != 1 {
		t.Fatalf("agents: %v", agents)
	}
	owned := w.must("POST", "/v2.0/networks", `{"network":{"project_id":"owner"}}`, "network")["id"].(string)
	policy := w.must("POST", "/v2.0/rbac-policies", `{"rbac_policy":{"project_id":"owner","object_type":"network","object_id":"`+owned+`","action":"access_as_shared","target_tenant":"friend"}}`, "rbac_policy")["id"].(string)
	replace := strings.NewReplacer("OWNED", owned, "RBAC", policy, "PORT", r.ids["port"], "NETWORK", r.ids["network"], "POOL", r.ids["subnetpool"], "AGENT", agents[0].(map[string]any)["id"].(string))
	for action, request := range requests {
		rule, ok := w.rules[action]
		if !ok {
			t.Errorf("there is no rule of %s", action)
			continue
		}
		for _, p := range []persona{{admin, "admins"}, {service, "services"}, {member, "owner"}, {reader, "owner"}, {nothing, "owner"}, {member, "other"}} {
			out := w.as(p, request[0], replace.Replace(request[1]), replace.Replace(request[2]))
			e, _ := out.body["NeutronError"].(map[string]any)
			kind, _ := e["type"].(string)
			denied := out.status == http.StatusForbidden || kind == "HTTPNotFound" || kind == "PortNotFound" || kind == "AgentNotFound" ||
				kind == "SubnetPoolNotFound" || kind == "NetworkNotFound" || kind == "RbacPolicyNotFound" || out.text == `{"rbac_policies":[]}` || action == "get_agents" && out.text == `{"agents":[]}` || out.text == `{"network_ip_availabilities":[]}`
			if denied == w.allowed(action, p, r) {
				t.Errorf("%s (%s) as %s: %d %.200s", action, rule, p, out.status, out.text)
			}
		}
	}
}

// What a request gives with the value it would have anyway needs no right.
func TestPolicyDefaults(t *testing.T) {
	w := newWorld(t)
	who := persona{member, "owner"}
	for body, status := range map[string]int{
		`{"network":{"shared":false,"router:external":"False"}}`: http.StatusCreated,
		`{"network":{"shared":true,"router:external":false}}`:    http.StatusForbidden,
	} {
		if out := w.as(who, "POST", "/v2.0/networks", body); out.status != status {
			t.Errorf("%s: %d %s", body, out.status, out.text)
		}
	}
	out := w.as(who, "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.cases[1].ids["network"]+`","fixed_ips":[{"subnet_id":"`+w.cases[1].ids["subnet"]+`","ip_address":"10.1.0.9"}]}}`)
	const refused = "(rule:create_port and (rule:create_port:fixed_ips and (rule:create_port:fixed_ips:subnet_id and rule:create_port:fixed_ips:ip_address))) is disallowed by policy"
	if e, _ := out.body["NeutronError"].(map[string]any); e["message"] != refused {
		t.Errorf("an address on a shared network: %d %s", out.status, out.text)
	}
}
