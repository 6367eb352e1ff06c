package api

import (
	"fmt"
	"strings"
	"testing"
)

// TestIPAvailability counts addresses, also those that 64 bits cannot.
func TestIPAvailability(t *testing.T) {
	b := newBench(t)
	empty := b.network()
	n := b.must("POST", "/v2.0/networks", `{"network":{"name":"blue","project_id":"p1"}}`, "network")["id"].(string)
	four := b.subnet(n, "10.0.0.0/24", `,"name":"four"`)
	six := b.subnet(n, "fd00::/64", `,"enable_dhcp":false,"gateway_ip":null`)
	b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.9"},{"ip_address":"fd00::9"},{"ip_address":"fd00::a"}]}}`, n), "port")
	const path = "/v2.0/network-ip-availabilities"
	const inFour = `{"subnet_id":"%s","subnet_name":"four","ip_version":4,"cidr":"10.0.0.0/24","used_ips":2,"total_ips":253}`
	of := fmt.Sprintf(`{"network_id":"%s","network_name":"blue","project_id":"p1","tenant_id":"p1","subnet_ip_availability":[`, n)
	want := of + fmt.Sprintf(inFour+`,{"subnet_id":"%s","subnet_name":"","ip_version":6,"cidr":"fd00::/64","used_ips":2,"total_ips":18446744073709551615}],"used_ips":4,"total_ips":18446744073709551868}`, four, six)
	if got := b.send("GET", path+"/"+n, "").text; got != `{"network_ip_availability":`+want+"}" {
		t.Errorf("%s, not\n%s", got, want)
	}
	for query, want := range map[string]string{
		"?network_name=blue":                                      want,
		"?tenant_id=p1&ip_version=4":                              of + fmt.Sprintf(inFour+`],"used_ips":2,"total_ips":253}`, four),
		"?network_id=" + empty + "&fields=x":                      `{}`,
		"?ip_version=6&fields=used_ips":                           `{"used_ips":2}`,
		"?network_id=nope":                                        "",
		"?network_id=" + n + "&ip_version=5":                      "",
		"?sort_key=network_name&sort_dir=asc&fields=network_name": `{"network_name":"blue"},{"network_name":"n"}`,
	} {
		if got := b.send("GET", path+query, "").text; got != `{"network_ip_availabilities":[`+want+`]}` {
			t.Errorf("%s: %s, not\n%s", query, got, want)
		}
	}
	b.refused("GET", path+"/x", "", 404, "NetworkNotFound", "Network x could not be found.")
}

// TestNovaExpects are answers that Nova takes for "there is none".
func TestNovaExpects(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Authenticate = recordedCaller })
	const demo = "X-Caller: demo"
	b.refused("GET", "/v2.0/auto-allocated-topology/"+callers["demo"].Project+"?fields=dry-run", "", 409, "AutoAllocationFailure",
		"Deployment error: No default router:external network.", demo)
	b.refused("GET", "/v2.0/auto-allocated-topology/"+callers["alt_demo"].Project, "", 403, "NotAuthorized", "Not authorized.", demo)
	for _, path := range []string{"floatingips?port_id=x", "security-groups?fields=id", "security-group-rules", "routers", "qos/policies", "trunks", "segments"} {
		collection, _, _ := strings.Cut(path, "?")
		b.refused("GET", "/v2.0/"+path, "", 404, "HTTPNotFound", "The resource could not be found.", demo)
		b.refused("GET", "/v2.0/"+collection+"/12d63079-fddf-421d-ac8c-ae934ced5c99", "", 404, "HTTPNotFound", "The resource could not be found.", demo)
	}
}
