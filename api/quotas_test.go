package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestQuotas is the life of a project's quota.
func TestQuotas(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Authenticate = recordedCaller
		o.Quotas = Quotas{"network": 2, "subnet": 1, "port": 3}
	})
	const admin, demo, alt = "X-Caller: admin", "X-Caller: demo", "X-Caller: alt_demo"
	project := callers["alt_demo"].Project
	n := b.send("POST", "/v2.0/networks", `{"network":{}}`, alt).body["network"].(map[string]any)["id"].(string)
	over := func(resource string) string { return "Quota exceeded for resources: ['" + resource + "']." }
	b.refused("POST", "/v2.0/networks", `{"networks":[{},{}]}`, 409, "OverQuota", over("network"), alt)
	if out := b.send("POST", "/v2.0/networks", `{"networks":[{}]}`, alt); out.status != 201 {
		t.Errorf("the last network: %d %s", out.status, out.text)
	}
	b.refused("POST", "/v2.0/networks", `{"network":{}}`, 409, "OverQuota", over("network"), alt)
	b.refused("POST", "/v2.0/networks", `{"network":{"project_id":"`+project+`"}}`, 409, "OverQuota", over("network"), admin)
	if out := b.send("POST", "/v2.0/networks", `{"network":{}}`, demo); out.status != 201 {
		t.Errorf("another project: %d %s", out.status, out.text)
	}
	// The DHCP port counts, but is not refused.
	if out := b.send("POST", "/v2.0/subnets", `{"subnet":{"network_id":"`+n+`","ip_version":4,"cidr":"10.0.0.0/24"}}`, alt); out.status != 201 {
		t.Errorf("the subnet: %d %s", out.status, out.text)
	}
	details := func(want string) {
		t.Helper()
		if got := b.send("GET", "/v2.0/quotas/"+project+"/details.json", "", alt).text; !strings.Contains(got, want) {
			t.Errorf("details %s, not %s", got, want)
		}
	}
	details(`"subnet":{"limit":1,"used":1,"reserved":0},"port":{"limit":3,"used":1,"reserved":0}`)
	port := `{"port":{"network_id":"` + n + `"}}`
	for range 2 {
		if out := b.send("POST", "/v2.0/ports", port, alt); out.status != 201 {
			t.Errorf("a port: %d %s", out.status, out.text)
		}
	}
	b.refused("POST", "/v2.0/ports", port, 409, "OverQuota", over("port"), alt)

	quota := func(body string) {
		t.Helper()
		if out := b.send("PUT", "/v2.0/quotas/"+project, body, admin); out.status != 200 {
			t.Errorf("%s: %d %s", body, out.status, out.text)
		}
	}
	b.refused("PUT", "/v2.0/quotas/"+project, `{"quota":{"port":2,"check_limit":true}}`, 400, "HTTPBadRequest",
		"Quota limit 2 for port must be greater than or equal to already used 3", admin)
	quota(`{"quota":{"port":1,"force":true}}`)
	b.refused("POST", "/v2.0/ports", port, 409, "OverQuota", over("port"), alt)
	quota(`{"quota":{"port":"-1","check_limit":"true"}}`)
	if out := b.send("POST", "/v2.0/ports", port, alt); out.status != 201 {
		t.Errorf("without a limit: %d %s", out.status, out.text)
	}
	details(`"port":{"limit":-1,"used":4,"reserved":0}`)
	for path, want := range map[string]string{
		"/v2.0/quotas/" + project + "/default": `{"quota":{"network":2,"subnet":1,"port":3,`,
		"/v2.0/quotas/" + project:              `{"quota":{"network":2,"subnet":1,"port":-1,`,
		"/v2.0/quotas":                         `{"quotas":[{"network":2,"subnet":1,"port":-1,`,
	} {
		if got := b.send("GET", path, "", admin).text; !strings.HasPrefix(strings.ReplaceAll(got, `}`, `,`), want) {
			t.Errorf("%s: %s, not %s", path, got, want)
		}
	}
	if out := b.send("DELETE", "/v2.0/quotas/"+project, "", admin); out.status != http.StatusNoContent {
		t.Errorf("reset: %d %s", out.status, out.text)
	}
	b.refused("POST", "/v2.0/ports", port, 409, "OverQuota", over("port"), alt)
	b.refused("DELETE", "/v2.0/quotas/"+project, "", 404, "TenantQuotaNotFound", "Quota for tenant "+project+" could not be found.", admin)
	if got := b.send("GET", "/v2.0/quotas", "", admin).text; got != `{"quotas":[]}` {
		t.Errorf("nobody's quota differs: %s", got)
	}

	const denied = "rule:%s_quota is disallowed by policy"
	for _, c := range []struct{ method, path, op string }{
		{"GET", "/v2.0/quotas", "get"}, {"GET", "/v2.0/quotas/" + project, "get"}, {"GET", "/v2.0/quotas/" + project + "/default", "get"},
		{"PUT", "/v2.0/quotas/" + callers["demo"].Project, "update"}, {"DELETE", "/v2.0/quotas/" + project, "delete"},
	} {
		b.refused(c.method, c.path, `{"quota":{"port":9}}`, 403, "PolicyNotAuthorized", fmt.Sprintf(denied, c.op), demo)
	}
	b.refused("GET", "/v2.0/quotas/"+project+"/details", "", 403, "AdminRequired",
		"User does not have admin privileges: Only admin is authorized to access quotas for another project", demo)
	b.refused("POST", "/v2.0/quotas", `{}`, 501, "HTTPNotImplemented", "POST requests are not supported on this resource.", admin)
	b.refused("PUT", "/v2.0/quotas/x", `{"quota":{"port":2147483648}}`, 400, "HTTPBadRequest", "Invalid input for port. Reason: '2147483648' is too large.", admin)
}

// TestQuotaAtOnce has many create at the same time, alone and in bulk: as many succeed as there is room
// for.
func TestQuotaAtOnce(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Quotas = Quotas{"network": 2*mostAtOnce + 10} })
	var made atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			body, n := `{"network":{}}`, 1
			if i%2 == 1 {
				body, n = `{"networks":[`+strings.Repeat(`{},`, 9)+`{}]}`, 10
			}
			for range 80 {
				switch out := b.send("POST", "/v2.0/networks", body); out.status {
				case 201:
					made.Add(int64(n))
				case 409:
				default:
					t.Errorf("%d %s", out.status, out.text)
				}
			}
		})
	}
	all.Wait()
	var details struct {
		Quota struct{ Network struct{ Limit, Used int64 } }
	}
	if err := json.Unmarshal([]byte(b.send("GET", "/v2.0/quotas/"+LabProject+"/details", "").text), &details); err != nil {
		t.Fatal(err)
	}
	if n := details.Quota.Network; made.Load() != n.Limit || n.Used != n.Limit {
		t.Errorf("%d networks were made, %d are counted, %d are allowed", made.Load(), n.Used, n.Limit)
	}
}
