package api

import (
	"context"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/store"
)

// A dry run changes nothing, whatever is asked for, and is refused as the request itself would be.
func TestDryRunOfEveryWrite(t *testing.T) {
	b := newBench(t)
	b.server.Plan = func(_ context.Context, before, after *store.Snapshot) (any, error) {
		return map[string]bool{"planned": before != after}, nil
	}
	b.host("h1", "h2")
	n := b.network()
	s := b.subnet(n, "10.0.0.0/24", "")
	p := b.must("POST", "/v2.0/ports", `{"port":{"network_id":"`+n+`","binding:host_id":"h1"}}`, "port")["id"].(string)
	pool := b.must("POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"p","prefixes":["10.8.0.0/16"]}}`, "subnetpool")["id"].(string)
	b.must("POST", "/v2.0/ports/"+p+"/bindings", `{"binding":{"host":"h2"}}`, "binding")
	before := b.store.Snapshot().Revision()
	for _, request := range []string{
		`POST /v2.0/networks {"network":{}}`,
		`PUT /v2.0/networks/` + n + ` {"network":{"name":"m"}}`,
		`POST /v2.0/subnets {"subnet":{"network_id":"` + n + `","ip_version":4,"cidr":"10.1.0.0/24"}}`,
		`DELETE /v2.0/subnetpools/` + pool,
		`PUT /v2.0/subnetpools/` + pool + `/add_prefixes {"prefixes":["10.9.0.0/16"]}`,
		`POST /v2.0/ports {"ports":[{"network_id":"` + n + `"},{"network_id":"` + n + `"}]}`,
		`PUT /v2.0/ports/` + p + ` {"port":{"binding:host_id":"h2"}}`,
		`DELETE /v2.0/ports/` + p,
		`PUT /v2.0/ports/` + p + `/bindings/h2/activate`,
		`DELETE /v2.0/ports/` + p + `/bindings/h2`,
		`PUT /v2.0/ports/` + p + `/tags {"tags":["a"]}`,
		`PUT /v2.0/ports/` + p + `/tags/a`,
		`PUT /v2.0/quotas/someone {"quota":{"port":7}}`,
		`POST /v2.0/rbac-policies {"rbac_policy":{"object_type":"network","object_id":"` + n + `","action":"access_as_shared","target_tenant":"x"}}`,
	} {
		method, rest, _ := strings.Cut(request, " ")
		path, body, _ := strings.Cut(rest, " ")
		if got := b.send(method, path+"?dry_run=true", body); got.status != 200 || got.text != `{"planned":true}` {
			t.Errorf("%s: %d %s", request, got.status, got.text)
		}
	}
	b.refused("DELETE", "/v2.0/subnets/"+s+"?dry_run=maybe", "", 400, "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean.")
	b.refused("DELETE", "/v2.0/ports/"+n+"?dry_run=true", "", 404, "PortNotFound", "Port "+n+" could not be found.")
	if after := b.store.Snapshot().Revision(); after != before {
		t.Errorf("the store went from revision %d to %d", before, after)
	}
}
