package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/store"
)

// A dry run changes nothing, whatever is asked for, and is refused as the request itself would be: to every
// operation that writes, by each who may ask.
func TestDryRunOfEveryWrite(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Quotas = Quotas{"network": 4, "port": 3}
		o.Authenticate = func(r *http.Request) (*Caller, error) {
			p := persona{admin, "admins"}
			if text := r.Header.Get("X-Persona"); text != "" {
				if _, err := fmt.Sscan(text, (*int)(&p.role), &p.project); err != nil {
					return nil, err
				}
			}
			return p.caller(), nil
		}
	})
	b.server.Plan = func(_ context.Context, before, after *store.Snapshot) (any, error) {
		return map[string]bool{"planned": before != after}, nil
	}
	b.host("compute01", "compute02")
	b.alive("compute01", false)
	ids := map[string]string{"agent": b.agent("compute01", "DHCP agent")["id"].(string)}
	tried := map[string]bool{}
	dry := func(path string) string {
		if strings.Contains(path, "?") {
			return path + "&dry_run=true"
		}
		return path + "?dry_run=true"
	}
	// alike has both refused alike; it reports whether they are.
	alike := func(e example, path, body string, headers ...string) (refused bool) {
		t.Helper()
		before := b.store.Snapshot().Revision()
		planned := b.send(e.method, dry(path), body, headers...)
		if after := b.store.Snapshot().Revision(); after != before {
			t.Errorf("%s %s %q: the dry run changed the store", e.method, path, headers)
		}
		if planned.status == http.StatusOK && planned.text == `{"planned":true}` {
			return false
		}
		real := b.send(e.method, path, body, headers...)
		if real.status < 400 || planned.status != real.status || planned.text != real.text {
			t.Errorf("%s %s %s %q: the dry run says %d %s, the request %d %s", e.method, path, body, headers, planned.status, planned.text, real.status, real.text)
		}
		return true
	}
	for _, e := range append(slices.Clip(examples), []example{
		{method: "POST", path: "/v2.0/networks", body: `{"networks": [{"name": "one"}, {"name": "two"}, {"name": "three"}]}`, status: 409},
		{method: "POST", path: "/v2.0/networks", body: `{"network": {"provider:network_type": "vlan"}}`, status: 400},
		{method: "DELETE", path: "/v2.0/networks/00000000-0000-4000-8000-000000000000", status: 404},
		{method: "POST", path: "/v2.0/quotas", body: `{}`, status: 404},
		{method: "PUT", path: "/v2.0/networks", body: `{}`, status: 404},
		{method: "DELETE", path: "/v2.0/ports", status: 404},
	}...) {
		path, body := e.path, e.body
		for name, id := range ids {
			path, body = strings.ReplaceAll(path, "{"+name+"}", id), strings.ReplaceAll(body, "{"+name+"}", id)
		}
		if e.method == http.MethodGet {
			continue
		}
		route := routeOf(b.server, e.method, path)
		tried[e.method+" "+route] = true
		var headers []string
		if e.header != "" {
			headers = []string{e.header}
		}
		for _, p := range []persona{{nothing, "admins"}, {reader, "admins"}, {member, "other"}, {service, "services"}} {
			alike(e, path, body, append(slices.Clone(headers), fmt.Sprintf("X-Persona: %d %s", p.role, p.project))...)
		}
		if refused := alike(e, path, body, headers...); refused != (e.status >= 400) {
			t.Errorf("%s %s: refused %t", e.method, path, refused)
		}
		if e.status >= 400 {
			continue
		}
		out := b.send(e.method, path, body, headers...)
		if out.status != e.status {
			t.Fatalf("%s %s %s: %d %s, not %d", e.method, path, body, out.status, out.text, e.status)
		}
		for _, name := range []string{"network", "subnet", "subnetpool", "port", "rbac_policy"} {
			if made, ok := out.body[name].(map[string]any); ok && out.status == http.StatusCreated {
				ids[name] = made["id"].(string)
			}
		}
	}
	for _, r := range b.server.Routes() {
		if r.Method != http.MethodGet && !tried[r.Method+" "+r.Name] {
			t.Errorf("%s %s is not tried", r.Method, r.Path)
		}
	}
	b.refused("DELETE", "/v2.0/networks/"+ids["network"]+"?dry_run=maybe", "", 400, "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean.")
}
