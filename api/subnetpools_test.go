package api

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// TestSubnetPools cuts subnets from a pool until it is used up.
func TestSubnetPools(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Authenticate = recordedCaller })
	const admin, demo, alt = "X-Caller: admin", "X-Caller: demo", "X-Caller: alt_demo"
	post := func(path, body, as string) map[string]any {
		t.Helper()
		out := b.send("POST", "/v2.0/"+path+"s", body, as)
		if out.status != 201 {
			t.Fatalf("%s %s: %d %s", path, body, out.status, out.text)
		}
		return out.body[path].(map[string]any)
	}
	pool := func(attributes, as string) string {
		t.Helper()
		return post("subnetpool", `{"subnetpool":{"name":"p",`+attributes+`}}`, as)["id"].(string)
	}
	network := func(as string) string { return post("network", `{"network":{}}`, as)["id"].(string) }
	subnet := func(n, more string) string {
		return fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4%s}}`, n, more)
	}
	cidr := func(n, more, as string) string {
		t.Helper()
		return post("subnet", subnet(n, more), as)["cidr"].(string)
	}

	p := pool(`"prefixes":["10.0.0.0/24","10.0.1.0/24"],"default_prefixlen":26,"min_prefixlen":24,"max_prefixlen":28`, demo)
	of := `,"subnetpool_id":"` + p + `"`
	n := network(demo)
	for _, c := range []struct{ more, want string }{
		{of, "10.0.0.0/26"},
		{of + `,"prefixlen":28`, "10.0.0.64/28"},
		{of + `,"cidr":"10.0.0.128/25"`, "10.0.0.128/25"},
		{of + `,"prefixlen":"24"`, "10.0.1.0/24"},
		{of + `,"prefixlen":27`, "10.0.0.96/27"},
	} {
		if got := cidr(n, c.more, demo); got != c.want {
			t.Errorf("%s: %s, not %s", c.more, got, c.want)
		}
	}
	for _, c := range []struct {
		more          string
		status        int
		kind, message string
	}{
		{of, 409, "SubnetAllocationError", "Failed to allocate subnet: Insufficient prefix space to allocate subnet size /26."},
		{of + `,"cidr":"10.0.0.64/28"`, 400, "SubnetAllocationError", "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes."},
		{of + `,"prefixlen":29`, 400, "MaxPrefixSubnetAllocationError", "Unable to allocate subnet with prefix length 29, maximum allowed prefix is 28."},
		{of + `,"cidr":"10.0.0.0/16"`, 400, "MinPrefixSubnetAllocationError", "Unable to allocate subnet with prefix length 16, minimum allowed prefix is 24."},
		{of + `,"prefixlen":28,"cidr":"10.0.0.80/28"`, 400, "BadRequest", "Bad subnets request: cidr and prefixlen must not be supplied together."},
		{of + `,"use_default_subnetpool":true`, 400, "BadRequest", "Bad subnets request: subnetpool_id and use_default_subnetpool cannot both be specified."},
		{of + `,"allocation_pools":[]`, 400, "BadRequest", "Bad subnets request: allocation_pools allowed only for specific subnet requests."},
		{`,"use_default_subnetpool":true`, 400, "BadRequest", "Bad subnets request: No default subnetpool found for IPv4."},
		{`,"cidr":"10.9.0.0/24"`, 400, "NetworkSubnetPoolAffinityError", "Subnets hosted on the same network must be allocated from the same subnet pool."},
	} {
		b.refused("POST", "/v2.0/subnets", subnet(n, c.more), c.status, c.kind, c.message, demo)
	}
	b.refused("POST", "/v2.0/subnets", strings.Replace(subnet(network(demo), of), `"ip_version":4`, `"ip_version":6`, 1), 400, "BadRequest",
		"Bad subnets request: Cannot allocate IPv6 subnet from IPv4 subnet pool.", demo)
	b.refused("POST", "/v2.0/subnets", subnet(network(alt), of), 404, "SubnetPoolNotFound", "Subnet pool "+p+" could not be found.", alt)
	b.refused("DELETE", "/v2.0/subnetpools/"+p, "", 400, "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations.", demo)

	change := func(op, prefixes, want string) {
		t.Helper()
		if got := b.send("PUT", "/v2.0/subnetpools/"+p+"/"+op, `{"prefixes":[`+prefixes+`]}`, demo); got.text != `{"prefixes":[`+want+`]}` {
			t.Errorf("%s %s: %d %s", op, prefixes, got.status, got.text)
		}
	}
	change("add_prefixes", `"10.0.2.0/24"`, `"10.0.0.0/23","10.0.2.0/24"`)
	change("remove_prefixes", `"10.0.2.0/25"`, `"10.0.0.0/23","10.0.2.128/25"`)
	b.refused("PUT", "/v2.0/subnetpools/"+p+"/remove_prefixes", `{"prefixes":["10.0.1.0/30"]}`, 400, "IllegalSubnetPoolPrefixUpdate",
		"Illegal update to prefixes: One or more of the prefixes to be removed is in use by a subnet.", demo)
	b.refused("PUT", "/v2.0/subnetpools/"+p+"/add_prefixes", `{"prefixes":["x"]}`, 400, "HTTPBadRequest", "Invalid input for prefixes. Reason: 'x' is not a valid IP subnet.", demo)
	b.refused("PUT", "/v2.0/subnetpools/"+p+"/add_prefixes", `{}`, 400, "HTTPBadRequest", "Unable to find 'prefixes' in request body", demo)
	b.refused("PUT", "/v2.0/subnetpools/"+p, `{"subnetpool":{"prefixes":["10.0.0.0/24"]}}`, 400, "IllegalSubnetPoolPrefixUpdate",
		"Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.", demo)

	// Shared, default and limited: for every project as much.
	shared := pool(`"prefixes":["10.8.0.0/16"],"default_quota":512,"default_prefixlen":24,"is_default":true,"shared":true`, admin)
	const byDefault = `,"use_default_subnetpool":true`
	for _, as := range []string{demo, alt} {
		m := network(as)
		cidr(m, byDefault, as)
		cidr(m, byDefault, as)
		b.refused("POST", "/v2.0/subnets", subnet(m, byDefault+`,"prefixlen":32`), 409, "SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded.", as)
	}
	b.refused("PUT", "/v2.0/subnetpools/"+shared, `{"subnetpool":{"name":"x"}}`, 403, "PolicyNotAuthorized", "rule:update_subnetpool is disallowed by policy", demo)
	b.refused("POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"x","prefixes":["10.0.0.0/8"],"is_default":true}}`, 403, "PolicyNotAuthorized",
		"(rule:create_subnetpool and rule:create_subnetpool:is_default) is disallowed by policy", demo)
	b.refused("POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"x","prefixes":["10.0.0.0/8"],"is_default":true}}`, 400, "InvalidInput",
		"Invalid input for operation: A default subnetpool for this IP family has already been set. Only one default may exist per IP family.", admin)
	hidden := pool(`"prefixes":["fd00::/32"],"is_default":true`, admin)
	b.refused("POST", "/v2.0/subnets", strings.Replace(subnet(network(demo), byDefault), `"ip_version":4`, `"ip_version":6`, 1), 400, "BadRequest",
		"Bad subnets request: No default subnetpool found for IPv6.", demo)
	b.send("DELETE", "/v2.0/subnetpools/"+hidden, "", admin)
	pool(`"prefixes":["fd00::/32"],"is_default":true,"shared":true`, admin)
	if got := post("subnet", strings.Replace(subnet(network(demo), byDefault+`,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`), `"ip_version":4`, `"ip_version":6`, 1), demo)["cidr"]; got != "fd00::/64" {
		t.Errorf("of the default pool of IPv6: %v", got)
	}
	for as, want := range map[string]int{admin: 3, demo: 3, alt: 2} {
		if got, _ := b.send("GET", "/v2.0/subnetpools?sort_key=name&sort_dir=asc", "", as).body["subnetpools"].([]any); len(got) != want {
			t.Errorf("%s sees %d pools, not %d", as, len(got), want)
		}
	}
}

func TestInvalidSubnetPools(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ attributes, kind, message string }{
		{`"prefixes":["10.0.0.0/8"]`, "HTTPBadRequest", "Failed to parse request. Required attribute 'name' not specified"},
		{`"name":"","prefixes":["10.0.0.0/8"]`, "HTTPBadRequest", "Invalid input for name. Reason: '' Blank strings are not permitted."},
		{`"name":"x"`, "HTTPBadRequest", "Failed to parse request. Required attribute 'prefixes' not specified"},
		{`"name":"x","prefixes":[]`, "EmptySubnetPoolPrefixList", "Empty subnet pool prefix list."},
		{`"name":"x","prefixes":[7]`, "HTTPBadRequest", "Invalid input for prefixes. Reason: '7' is not a valid IP subnet."},
		{`"name":"x","prefixes":["10.0.0.0/8","fd00::/8"]`, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."},
		{`"name":"x","prefixes":["10.0.0.0/8"],"max_prefixlen":33`, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: max_prefixlen=33, ip_version_max=32."},
		{`"name":"x","prefixes":["10.0.0.0/8"],"min_prefixlen":24,"max_prefixlen":20`, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: min_prefixlen=24, max_prefixlen=20."},
		{`"name":"x","prefixes":["10.0.0.0/8"],"default_prefixlen":7`, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: default_prefixlen=7, min_prefixlen=8."},
		{`"name":"x","prefixes":["fd00::/8"],"default_prefixlen":127,"max_prefixlen":126`, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: default_prefixlen=127, max_prefixlen=126."},
		{`"name":"x","prefixes":["10.0.0.0/8"],"min_prefixlen":-1`, "HTTPBadRequest", "Invalid input for min_prefixlen. Reason: '-1' should be non-negative."},
	} {
		b.refused("POST", "/v2.0/subnetpools", `{"subnetpool":{`+c.attributes+`}}`, 400, c.kind, c.message)
	}
}

// TestPoolAtOnce has many networks take from one pool at the same time: no two get the same addresses.
func TestPoolAtOnce(t *testing.T) {
	b := newBench(t)
	p := b.must("POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"p","prefixes":["10.0.0.0/16"],"default_prefixlen":26}}`, "subnetpool")["id"].(string)
	var all sync.WaitGroup
	for i := range 8 {
		n := b.network()
		all.Go(func() {
			for j := range 12 {
				body := fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"subnetpool_id":%q,"prefixlen":%d}}`, n, p, 24+(i+j)%5)
				if out := b.send("POST", "/v2.0/subnets", body); out.status != 201 {
					t.Errorf("%d %s", out.status, out.text)
				}
			}
		})
	}
	all.Wait()
	var cidrs []netip.Prefix
	for s := range b.store.Snapshot().Subnets() {
		for _, other := range cidrs {
			if other.Overlaps(s.CIDR) {
				t.Errorf("%s and %s", other, s.CIDR)
			}
		}
		cidrs = append(cidrs, s.CIDR)
	}
	if len(cidrs) != 8*12 {
		t.Errorf("%d subnets", len(cidrs))
	}
}
