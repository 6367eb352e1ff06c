package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
)

// TestRBACPolicies gives a project access to another's network, and takes it back.
func TestRBACPolicies(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Authenticate = recordedCaller
		o.Quotas = Quotas{"rbac_policy": 2}
	})
	const admin, demo, alt = "X-Caller: admin", "X-Caller: demo", "X-Caller: alt_demo"
	target, other := callers["alt_demo"].Project, callers["admin"].Project
	do := func(method, path, body, as string, status int) map[string]any {
		t.Helper()
		out := b.send(method, "/v2.0/"+path, body, as)
		if out.status != status {
			t.Fatalf("%s %s %s: %d %s", method, path, body, out.status, out.text)
		}
		return out.body
	}
	id := func(body map[string]any, key string) string { return body[key].(map[string]any)["id"].(string) }
	n := id(do("POST", "networks", `{"network":{"name":"blue"}}`, demo, 201), "network")
	s := id(do("POST", "subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.0.0.0/24"}}`, n), demo, 201), "subnet")
	policy := func(object, action, project string) string {
		return fmt.Sprintf(`{"rbac_policy":{"object_type":"network","object_id":%q,"action":%q,"target_tenant":%q}}`, object, action, project)
	}
	port := fmt.Sprintf(`{"port":{"network_id":%q}}`, n)
	do("GET", "networks/"+n, "", alt, 404)
	do("POST", "ports", port, alt, 404)

	p := id(do("POST", "rbac-policies", policy(n, "access_as_shared", target), demo, 201), "rbac_policy")
	for as, want := range map[string]bool{alt: true, demo: false, admin: false} {
		network := do("GET", "networks/"+n, "", as, 200)["network"].(map[string]any)
		if network["shared"] != want || network["router:external"] != false {
			t.Errorf("to %s the network is %v", as, network)
		}
		found := do("GET", fmt.Sprintf("networks?id=%s&shared=%v", n, want), "", as, 200)["networks"].([]any)
		subnets := do("GET", fmt.Sprintf("subnets?id=%s&shared=%v", s, want), "", as, 200)["subnets"].([]any)
		if len(found) != 1 || len(subnets) != 1 {
			t.Errorf("%s finds %d networks and %d subnets", as, len(found), len(subnets))
		}
	}
	b.refused("PUT", "/v2.0/networks/"+n, `{"network":{"name":"x"}}`, 403, "PolicyNotAuthorized", "rule:update_network is disallowed by policy", alt)
	mine := id(do("POST", "ports", port, alt, 201), "port")

	b.refused("DELETE", "/v2.0/rbac-policies/"+p, "", 409, "RbacPolicyInUse", fmt.Sprintf("RBAC policy on object %s cannot be removed because other objects depend on it.\nDetails: Unable to reconfigure sharing settings for network %s. Multiple tenants are using it.", n, n), demo)
	if out := b.send("PUT", "/v2.0/rbac-policies/"+p, `{"rbac_policy":{"target_tenant":"somebody"}}`, demo); out.status != 409 {
		t.Errorf("moved away from who uses it: %d %s", out.status, out.text)
	}
	b.refused("POST", "/v2.0/rbac-policies", policy(n, "access_as_shared", target), 409, "DuplicateRbacPolicy", "An RBAC policy already exists with those values.", demo)
	b.refused("POST", "/v2.0/rbac-policies", policy(n, "access_as_shared", other), 400, "InvalidInput", "Invalid input for operation: Only admins can manipulate policies on networks they do not own.", alt)
	b.refused("GET", "/v2.0/rbac-policies/"+p, "", 404, "RbacPolicyNotFound", "RBAC policy of type unknown with ID "+p+" not found", alt)
	b.refused("POST", "/v2.0/rbac-policies", policy(n, "access_as_router", target), 400, "InvalidInput", "Invalid input for operation: action: 'access_as_router' is not an action on a network: access_as_shared and access_as_external are.", demo)
	b.refused("POST", "/v2.0/rbac-policies", `{"rbac_policy":{"object_type":"qos_policy","object_id":"`+n+`","action":"access_as_shared","target_tenant":"x"}}`, 400, "InvalidInput", "Invalid input for operation: object_type: 'qos_policy' is not a valid RBAC object type.", demo)
	b.refused("POST", "/v2.0/rbac-policies", policy(n, "access_as_shared", ""), 400, "InvalidInput", "Invalid input for operation: 'target_tenant' must be a project, or * for every one.", demo)
	b.refused("PUT", "/v2.0/rbac-policies/"+p, `{"rbac_policy":{"target_tenant":"*"}}`, 403, "PolicyNotAuthorized", "(rule:update_rbac_policy and rule:update_rbac_policy:target_tenant) is disallowed by policy", demo)
	external := id(do("POST", "rbac-policies", policy(n, "access_as_external", other), demo, 201), "rbac_policy")
	b.refused("POST", "/v2.0/rbac-policies", policy(n, "access_as_external", "x"), 409, "OverQuota", "Quota exceeded for resources: ['rbac_policy'].", demo)
	do("DELETE", "rbac-policies/"+external, "", demo, 204)

	// For every project: the network's own attribute, and the policy for *, are the same thing.
	wild := id(do("POST", "rbac-policies", policy(n, "access_as_shared", "*"), admin, 201), "rbac_policy")
	do("DELETE", "rbac-policies/"+p, "", demo, 204) // no longer needed
	if network := do("GET", "networks/"+n, "", demo, 200)["network"].(map[string]any); network["shared"] != true {
		t.Errorf("shared with everybody: %v", network)
	}
	if out := b.send("PUT", "/v2.0/networks/"+n, `{"network":{"shared":false}}`, admin); out.status != 409 {
		t.Errorf("taken back while it is used: %d %s", out.status, out.text)
	}
	do("DELETE", "ports/"+mine, "", alt, 204)
	do("PUT", "networks/"+n, `{"network":{"shared":false,"router:external":true}}`, admin, 200)
	do("GET", "rbac-policies/"+wild, "", admin, 404)
	all := do("GET", "rbac-policies?object_id="+n, "", admin, 200)["rbac_policies"].([]any)
	if len(all) != 1 || all[0].(map[string]any)["action"] != model.AccessAsExternal || all[0].(map[string]any)["target_tenant"] != "*" {
		t.Errorf("an external network has the policies %v", all)
	}
	do("DELETE", "rbac-policies/"+all[0].(map[string]any)["id"].(string), "", admin, 204)
	if network := do("GET", "networks/"+n, "", demo, 200)["network"].(map[string]any); network["router:external"] != false || network["shared"] != false {
		t.Errorf("no longer external: %v", network)
	}
	do("POST", "rbac-policies", policy(n, "access_as_shared", target), demo, 201)
	if out := b.send("DELETE", "/v2.0/networks/"+n, "", demo); out.status != http.StatusNoContent {
		t.Errorf("a network with a policy: %d %s", out.status, out.text)
	}
	if left := do("GET", "rbac-policies", "", admin, 200)["rbac_policies"].([]any); len(left) != 0 {
		t.Errorf("the network is gone, and left %v", left)
	}
}

// TestExternalForOne: a network that is external for one project says so to all who see it.
func TestExternalForOne(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Authenticate = recordedCaller })
	const admin, demo, alt = "X-Caller: admin", "X-Caller: demo", "X-Caller: alt_demo"
	show := func(id, as string) map[string]any {
		t.Helper()
		out := b.send("GET", "/v2.0/networks/"+id, "", as)
		if out.status != http.StatusOK {
			t.Fatalf("shown to %s: %d %s", as, out.status, out.text)
		}
		return out.body["network"].(map[string]any)
	}
	n := b.send("POST", "/v2.0/networks", `{"network":{}}`, demo).body["network"].(map[string]any)["id"].(string)
	policies := func() int {
		return len(b.send("GET", "/v2.0/rbac-policies?object_id="+n, "", admin).body["rbac_policies"].([]any))
	}
	give := func() {
		t.Helper()
		body := fmt.Sprintf(`{"rbac_policy":{"object_type":"network","object_id":%q,"action":"access_as_external","target_tenant":%q}}`, n, callers["alt_demo"].Project)
		if out := b.send("POST", "/v2.0/rbac-policies", body, admin); out.status != http.StatusCreated {
			t.Fatalf("%d %s", out.status, out.text)
		}
	}
	put := func(external bool) {
		t.Helper()
		if out := b.send("PUT", "/v2.0/networks/"+n, fmt.Sprintf(`{"network":{"router:external":%v}}`, external), admin); out.status != http.StatusOK {
			t.Fatalf("%d %s", out.status, out.text)
		}
	}
	give()
	for _, as := range []string{admin, demo, alt} {
		if got := show(n, as); got["router:external"] != true || got["shared"] != false {
			t.Errorf("to %s: %v", as, got)
		}
	}
	if found := b.send("GET", "/v2.0/networks?router:external=True&id="+n, "", demo).body["networks"].([]any); len(found) != 1 {
		t.Errorf("found as external: %v", found)
	}
	put(true)
	if policies() != 1 {
		t.Error("what was external for one is so for all")
	}
	revision, _ := show(n, admin)["revision_number"].(json.Number).Int64()
	put(false)
	if got := show(n, demo); got["router:external"] != false || policies() != 0 || got["revision_number"] != json.Number(fmt.Sprint(revision+1)) {
		t.Errorf("taken back: %v, %d policies", got, policies())
	}
	b.refused("GET", "/v2.0/networks/"+n, "", 404, "NetworkNotFound", "Network "+n+" could not be found.", alt)
	put(true)
	give()
	put(false)
	if got := show(n, demo); got["router:external"] != false || policies() != 0 {
		t.Errorf("taken back from all: %v, %d policies", got, policies())
	}
}
