package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

// example is a request of the documentation, and the answer of a real server.
type example struct {
	method, path, body string // {network} stands for the id of what was created under that name last
	header             string // "Name: value"
	says               string // what it shows
	status             int
	long               bool // the answer is too long to print

	route  string // the name of the route that answered
	answer string
}

// examples run in this order, one on what the other made. Every operation has one.
var examples = slices.Concat([]example{
	{method: "GET", path: "/", status: 200},
	{method: "GET", path: "/healthcheck", status: 200},
	{method: "GET", path: "/v2.0/", status: 200},
	{method: "GET", path: "/v2.0/openapi.json", status: 200, long: true},
	{method: "GET", path: "/v2.0/extensions", status: 200, long: true},
	{method: "GET", path: "/v2.0/extensions/provider", status: 200},
	{method: "GET", path: "/v2.0/extensions/router", status: 404, says: "What is not advertised is not there."},

	{method: "POST", path: "/v2.0/networks", body: `{"network": {"name": "blue", "tags": ["web"]}}`, status: 201},
	{method: "POST", path: "/v2.0/networks", body: `{"networks": [{"name": "green"}, {"name": "red", "mtu": 1400}]}`, status: 201, says: "Several are created together or not at all."},
	{method: "GET", path: "/v2.0/networks?sort_key=name&sort_dir=desc&limit=2&fields=id&fields=name", status: 200, says: "A page, with links to the next and the previous one."},
	{method: "GET", path: "/v2.0/networks?tags=web&fields=name&fields=tags", status: 200},
	{method: "GET", path: "/v2.0/networks/{network}", status: 200},
	{method: "PUT", path: "/v2.0/networks/{network}", header: "If-Match: revision_number=1", body: `{"network": {"description": "for the web"}}`, status: 200, says: "Only while nobody else has changed it."},
	{method: "PUT", path: "/v2.0/networks/{network}", header: "If-Match: revision_number=1", body: `{"network": {"description": "late"}}`, status: 412},
	{method: "PUT", path: "/v2.0/networks/{network}", body: `{"network": {"colour": "blue"}}`, status: 400, says: "An error names what is wrong."},
}, tagExamples("networks", "network"), []example{

	{method: "POST", path: "/v2.0/subnetpools", body: `{"subnetpool": {"name": "campus", "prefixes": ["10.20.0.0/16"], "default_prefixlen": 24}}`, status: 201},
	{method: "GET", path: "/v2.0/subnetpools?name=campus&fields=id&fields=prefixes", status: 200},
	{method: "GET", path: "/v2.0/subnetpools/{subnetpool}", status: 200},
	{method: "PUT", path: "/v2.0/subnetpools/{subnetpool}", body: `{"subnetpool": {"max_prefixlen": 28}}`, status: 200},
	{method: "PUT", path: "/v2.0/subnetpools/{subnetpool}/add_prefixes", body: `{"prefixes": ["10.30.0.0/16"]}`, status: 200},
	{method: "PUT", path: "/v2.0/subnetpools/{subnetpool}/remove_prefixes", body: `{"prefixes": ["10.30.0.0/16"]}`, status: 200},
}, tagExamples("subnetpools", "subnetpool"), []example{
	{method: "DELETE", path: "/v2.0/subnetpools/{subnetpool}", status: 204},

	{method: "POST", path: "/v2.0/subnets", body: `{"subnet": {"network_id": "{network}", "ip_version": 4, "cidr": "10.0.0.0/24", "dns_nameservers": ["192.0.2.53"]}}`, status: 201},
	{method: "GET", path: "/v2.0/subnets?network_id={network}&fields=id&fields=cidr", status: 200},
	{method: "GET", path: "/v2.0/subnets/{subnet}", status: 200},
	{method: "PUT", path: "/v2.0/subnets/{subnet}", body: `{"subnet": {"host_routes": [{"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}]}}`, status: 200},
}, tagExamples("subnets", "subnet"), []example{

	{method: "POST", path: "/v2.0/ports", body: `{"port": {"network_id": "{network}", "name": "web1", "mac_address": "fa:16:3e:00:00:01", "fixed_ips": [{"subnet_id": "{subnet}", "ip_address": "10.0.0.5"}], "dns_name": "web1", "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400"}]}}`, status: 201},
	{method: "POST", path: "/v2.0/ports", body: `{"port": {"network_id": "{network}", "fixed_ips": [{"ip_address": "10.0.0.5"}]}}`, status: 409, says: "What is taken is refused."},
	{method: "GET", path: "/v2.0/ports?fixed_ips=ip_address%3D10.0.0.5&fields=id&fields=mac_address", status: 200},
	{method: "GET", path: "/v2.0/ports/{port}", status: 200},
	{method: "PUT", path: "/v2.0/ports/{port}", body: `{"port": {"binding:host_id": "compute01", "device_id": "vm-1", "device_owner": "compute:nova"}}`, status: 200, says: "Bound: its host is told how to plug it."},
}, tagExamples("ports", "port"), []example{
	{method: "POST", path: "/v2.0/ports/{port}/bindings", body: `{"binding": {"host": "compute02"}}`, status: 201, says: "Where it will migrate to."},
	{method: "GET", path: "/v2.0/ports/{port}/bindings?fields=host&fields=status", status: 200},
	{method: "GET", path: "/v2.0/ports/{port}/bindings/compute02", status: 200},
	{method: "PUT", path: "/v2.0/ports/{port}/bindings/compute02", body: `{"binding": {"profile": {"migrating_to": "compute02"}}}`, status: 200},
	{method: "PUT", path: "/v2.0/ports/{port}/bindings/compute02/activate", status: 200},
	{method: "DELETE", path: "/v2.0/ports/{port}/bindings/compute01", status: 204},

	{method: "GET", path: "/v2.0/agents?host=compute01&agent_type=DHCP+agent", status: 200},
	{method: "GET", path: "/v2.0/agents/{agent}", status: 200},
	{method: "PUT", path: "/v2.0/agents/{agent}", body: `{"agent": {"admin_state_up": false, "description": "in repair"}}`, status: 200},
	{method: "GET", path: "/v2.0/networks/{network}/dhcp-agents?fields=host&fields=alive", status: 200},
	{method: "GET", path: "/v2.0/agents/{agent}/dhcp-networks?fields=id", status: 200},
	{method: "POST", path: "/v2.0/agents/{agent}/dhcp-networks", body: `{"network_id": "{network}"}`, status: 409, says: "DHCP is answered wherever the network has a port."},
	{method: "DELETE", path: "/v2.0/agents/{agent}/dhcp-networks/{network}", status: 409},
	{method: "DELETE", path: "/v2.0/agents/{agent}", status: 204, says: "The host is gone for good."},
	{method: "GET", path: "/v2.0/availability_zones", status: 200},
	{method: "GET", path: "/v2.0/network-ip-availabilities?network_name=blue", status: 200},
	{method: "GET", path: "/v2.0/network-ip-availabilities/{network}", status: 200},
	{method: "GET", path: "/v2.0/auto-allocated-topology/default", status: 409, says: "There is none; Nova wants to hear it so."},
	{method: "DELETE", path: "/v2.0/auto-allocated-topology/default", status: 204},
	{method: "GET", path: "/v2.0/service-providers", status: 200},

	{method: "POST", path: "/v2.0/rbac-policies", body: `{"rbac_policy": {"object_type": "network", "object_id": "{network}", "action": "access_as_shared", "target_tenant": "other"}}`, status: 201},
	{method: "GET", path: "/v2.0/rbac-policies?target_tenant=other", status: 200},
	{method: "GET", path: "/v2.0/rbac-policies/{rbac_policy}", status: 200},
	{method: "PUT", path: "/v2.0/rbac-policies/{rbac_policy}", body: `{"rbac_policy": {"target_tenant": "third"}}`, status: 200},
	{method: "DELETE", path: "/v2.0/rbac-policies/{rbac_policy}", status: 204},

	{method: "GET", path: "/v2.0/quotas/tenant", status: 200},
	{method: "GET", path: "/v2.0/quotas/project", status: 200},
	{method: "PUT", path: "/v2.0/quotas/other", body: `{"quota": {"port": 20}}`, status: 200},
	{method: "GET", path: "/v2.0/quotas", status: 200},
	{method: "GET", path: "/v2.0/quotas/other", status: 200},
	{method: "GET", path: "/v2.0/quotas/other/default", status: 200},
	{method: "GET", path: "/v2.0/quotas/other/details", status: 200},
	{method: "DELETE", path: "/v2.0/quotas/other", status: 204},

	{method: "DELETE", path: "/v2.0/networks/{network}", status: 409, says: "It has a port."},
	{method: "DELETE", path: "/v2.0/ports/{port}", status: 204},
	{method: "DELETE", path: "/v2.0/subnets/{subnet}", status: 204},
	{method: "DELETE", path: "/v2.0/networks/{network}", status: 204},
})

// tagExamples show the tags of one resource.
func tagExamples(collection, name string) []example {
	tags := fmt.Sprintf("/v2.0/%s/{%s}/tags", collection, name)
	return []example{
		{method: "PUT", path: tags, body: `{"tags": ["web", "prod"]}`, status: 200},
		{method: "POST", path: tags, body: `{"tags": ["eu"]}`, status: 201},
		{method: "GET", path: tags, status: 200},
		{method: "PUT", path: tags + "/old", status: 201},
		{method: "GET", path: tags + "/old", status: 204},
		{method: "DELETE", path: tags + "/old", status: 204},
		{method: "DELETE", path: tags, status: 204},
	}
}

// runExamples sends the examples to a server over HTTP and returns them with its answers, in which what
// is chosen at random is always the same.
func runExamples(t *testing.T) (*Server, []example) {
	b := newBench(t, func(o *Options) {
		o.Quotas = Quotas{"network": 100, "subnet": 100, "port": 500, "subnetpool": -1, "rbac_policy": 10}
		o.DNSDomain = "openstacklocal"
	})
	b.host("compute01", "compute02")
	b.alive("compute01", false) // it was
	h := HTTP(b.server)
	server := httptest.NewUnstartedServer(nil)
	server.Config = h
	server.Start()
	defer server.Close()
	ids := make(map[string]string)
	steady := newSteady(server.URL)
	done := make([]example, len(examples))
	for i, e := range examples {
		fill := func(s string) string {
			for name, id := range ids {
				s = strings.ReplaceAll(s, "{"+name+"}", id)
			}
			return s
		}
		path, body := fill(e.path), fill(e.body)
		r, err := http.NewRequestWithContext(t.Context(), e.method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if name, value, ok := strings.Cut(e.header, ": "); ok {
			r.Header.Set(name, value)
		}
		got, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil || got.StatusCode != e.status {
			t.Fatalf("%s %s %s: %d %s, not %d (%v)", e.method, path, body, got.StatusCode, text, e.status, err)
		}
		if e.method == http.MethodGet && len(strings.Split(e.path, "/")) > 3 && !e.long { // as some clients write it
			bare, query, _ := strings.Cut(path, "?")
			for _, ending := range []string{".json", "/"} {
				again := b.send(e.method, bare+ending+"?"+query, "")
				if again.status != e.status || len(again.text) != len(text) && query == "" {
					t.Errorf("%s%s: %d %s", bare, ending, again.status, again.text)
				}
			}
		}
		e.route = routeOf(b.server, e.method, path)
		if e.long {
			e.answer = string(text)
		} else if len(text) > 0 {
			var answer map[string]any
			if err := json.Unmarshal(text, &answer); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"network", "subnet", "subnetpool", "port", "rbac_policy"} {
				if made, ok := answer[name].(map[string]any); ok && e.status == http.StatusCreated {
					ids[name] = made["id"].(string)
				}
			}
			if all, ok := answer["agents"].([]any); ok && ids["agent"] == "" {
				ids["agent"] = all[0].(map[string]any)["id"].(string)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, text, "", "  "); err != nil {
				t.Fatal(err)
			}
			e.answer = steady.text(indented.String())
		}
		e.path, e.body = steady.text(path), steady.text(body)
		done[i] = e
	}
	return b.server, done
}

// routeOf is the name of the route that a request takes.
func routeOf(s *Server, method, path string) string {
	r := httptest.NewRequest(method, strings.Replace(path, ".json", "", 1), nil)
	var match mux.RouteMatch
	if s.router.Match(r, &match) && match.MatchErr == nil {
		return match.Route.GetName()
	}
	return ""
}

// steady replaces what differs from run to run by what does not.
type steady struct {
	url   string
	known map[string]string
}

func newSteady(url string) *steady { return &steady{url, make(map[string]string)} }

var (
	steadyID     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	steadyTime   = regexp.MustCompile(`\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d`)
	steadyNumber = regexp.MustCompile(`("provider:segmentation_id": )\d+`)
	declared     = regexp.MustCompile(`"updated": "[^"]*"`)
)

func (s *steady) text(text string) string {
	text = strings.ReplaceAll(text, s.url, "http://127.0.0.1:9696")
	text = steadyID.ReplaceAllStringFunc(text, func(id string) string {
		if s.known[id] == "" {
			s.known[id] = fmt.Sprintf("%08x-0000-4000-8000-000000000000", len(s.known)+1)
		}
		return s.known[id]
	})
	if !declared.MatchString(text) { // when an extension was last changed
		text = steadyTime.ReplaceAllString(text, "2026-01-01${1}00:00:00")
	}
	return steadyNumber.ReplaceAllString(text, "${1}4096")
}
