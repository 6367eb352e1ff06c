package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// dhcpPort is the network's DHCP port as the API shows it, or nil.
func (b *bench) dhcpPort(network string) map[string]any {
	b.t.Helper()
	found, _ := b.send("GET", "/v2.0/ports?device_owner=network:dhcp&network_id="+network, "").body["ports"].([]any)
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0].(map[string]any)
	}
	b.t.Fatalf("%d DHCP ports on a network", len(found))
	return nil
}

func addresses(port map[string]any) string {
	var all []string
	for _, f := range port["fixed_ips"].([]any) {
		all = append(all, f.(map[string]any)["ip_address"].(string))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestDHCPPort follows the port through the life of its network's subnets.
func TestDHCPPort(t *testing.T) {
	b := newBench(t)
	n := b.network()
	if b.dhcpPort(n) != nil {
		t.Error("a network without subnets has a DHCP port")
	}
	first := b.subnet(n, "10.0.0.0/24", "")
	p := b.dhcpPort(n)
	if addresses(p) != "10.0.0.2" || p["device_id"] != model.DeviceDHCP || p["status"] != "ACTIVE" || p["binding:host_id"] != "" {
		t.Errorf("with one subnet: %v", p)
	}
	id := p["id"].(string)
	b.subnet(n, "10.0.1.0/24", `,"enable_dhcp":false`)
	third := b.subnet(n, "10.0.2.0/24", `,"gateway_ip":null,"allocation_pools":[{"start":"10.0.2.50","end":"10.0.2.60"}]`)
	if p = b.dhcpPort(n); addresses(p) != "10.0.0.2 10.0.2.50" || p["id"] != id {
		t.Errorf("with two subnets: %v", p)
	}
	b.must("PUT", "/v2.0/subnets/"+first, `{"subnet":{"enable_dhcp":false}}`, "subnet")
	if p = b.dhcpPort(n); addresses(p) != "10.0.2.50" {
		t.Errorf("with DHCP of the first turned off: %v", p)
	}
	b.must("PUT", "/v2.0/subnets/"+first, `{"subnet":{"enable_dhcp":true}}`, "subnet")
	b.subnet(n, "fd00:1::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	b.subnet(n, "fd00:2::/64", `,"ipv6_ra_mode":"dhcpv6-stateful","ipv6_address_mode":"dhcpv6-stateful"`)
	p = b.dhcpPort(n)
	if got := addresses(p); !strings.HasPrefix(got, "10.0.0.2 10.0.2.50 fd00:1::f816:3eff:fe") || !strings.HasSuffix(got, " fd00:2::1") {
		t.Errorf("with IPv6: %s", got)
	}
	because := fmt.Sprintf("Port %s cannot be changed or deleted directly via the port API: it answers DHCP on network %s and follows from enable_dhcp of the network's subnets.", id, n)
	b.refused("DELETE", "/v2.0/ports/"+id, "", 409, "ServicePortInUse", because)
	b.refused("PUT", "/v2.0/ports/"+id, `{"port":{"fixed_ips":[]}}`, 409, "ServicePortInUse", because)
	b.must("PUT", "/v2.0/ports/"+id, `{"port":{"name":"dhcp"}}`, "port")
	b.refused("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"device_owner":"network:dhcp"}}`, n), 400, "InvalidInput",
		"Invalid input for operation: device_owner network:dhcp is for the port that is made with the first subnet with DHCP.")
	b.send("DELETE", "/v2.0/subnets/"+third, "")
	if got := addresses(b.dhcpPort(n)); strings.Contains(got, "10.0.2") {
		t.Errorf("with the third deleted: %s", got)
	}
	if out := b.send("DELETE", "/v2.0/networks/"+n, ""); out.status != http.StatusNoContent {
		t.Errorf("the network with nothing but its DHCP port: %d %s", out.status, out.text)
	}
}

// TestBinding shows where a port is as hosts come, claims are made and a controller reports.
func TestBinding(t *testing.T) {
	b := newBench(t)
	n := b.network()
	show := func(id string) string {
		p := b.must("GET", "/v2.0/ports/"+id, "", "port")
		details := p["binding:vif_details"].(map[string]any)
		return fmt.Sprint(p["binding:host_id"], " ", p["binding:vif_type"], " ", details["bridge_name"], " ", details["datapath_type"], " ", details["port_filter"], " ", p["status"])
	}
	create := func(more string) string {
		return b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q%s}}`, n, more), "port")["id"].(string)
	}
	expect := func(what, id, want string) {
		t.Helper()
		if got := show(id); got != want {
			t.Errorf("%s: %s, not %s", what, got, want)
		}
	}
	bound := create(`,"binding:host_id":"h1"`)
	expect("bound to an unknown host", bound, "h1 binding_failed <nil> <nil> <nil> DOWN")
	b.host("h1", "h2")
	expect("the host has come", bound, "h1 ovs br-int netdev true DOWN")
	b.plug(bound, model.StatusActive)
	expect("wired", bound, "h1 ovs br-int netdev true ACTIVE")
	direct := create(`,"binding:host_id":"h1","binding:vnic_type":"direct"`)
	expect("not a normal interface", direct, "h1 binding_failed <nil> <nil> <nil> DOWN")

	unbound := create("")
	expect("unbound", unbound, " unbound <nil> <nil> <nil> DOWN")
	_, err := b.store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.PutClaim(&model.Claim{PortID: uuid.MustParse(unbound), Host: "h2"})
	})
	if err != nil {
		t.Fatal(err)
	}
	expect("claimed", unbound, "h2 ovs br-int netdev true DOWN")
	for host, want := range map[string]int{"h1": 2, "h2": 1, "h3": 0, "": 0} {
		if got := len(b.send("GET", "/v2.0/ports?binding:host_id="+host, "").body["ports"].([]any)); got != want {
			t.Errorf("%d ports on %q, not %d", got, host, want)
		}
	}
	b.must("PUT", "/v2.0/ports/"+bound, `{"port":{"binding:host_id":null,"binding:profile":{},"device_id":"","device_owner":"","dns_name":""}}`, "port")
	expect("unbound by Nova", bound, " unbound <nil> <nil> <nil> DOWN")
	mac := b.must("GET", "/v2.0/ports/"+unbound, "", "port")["mac_address"]
	b.refused("PUT", "/v2.0/ports/"+unbound, `{"port":{"mac_address":"fa:16:3e:ff:ff:ff"}}`, 409, "PortBound",
		fmt.Sprintf("Unable to complete operation on port %s, port is already bound, port type: ovs, old_mac %s, new_mac fa:16:3e:ff:ff:ff.", unbound, mac))
}

// TestUpdatePort is what Nova and users do to the addresses and options of a port.
func TestUpdatePort(t *testing.T) {
	b := newBench(t)
	n := b.network()
	s := b.subnet(n, "10.0.0.0/24", "")
	p := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.9"}],"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"},{"opt_name":"66","opt_value":"x"}],"allowed_address_pairs":[{"ip_address":"10.9.0.1"}]}}`, n), "port")
	id, mac := p["id"].(string), p["mac_address"].(string)
	if pairs := fmt.Sprint(p["allowed_address_pairs"]); pairs != "[map[ip_address:10.9.0.1 mac_address:"+mac+"]]" {
		t.Errorf("pairs: %s", pairs)
	}
	put := func(body string) map[string]any {
		return b.must("PUT", "/v2.0/ports/"+id, `{"port":{`+body+`}}`, "port")
	}
	p = put(fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q,"ip_address":"10.0.0.9"},{"subnet_id":%q}]`, s, s))
	if got := strings.Fields(addresses(p)); len(got) != 2 || !slices.Contains(got, "10.0.0.9") {
		t.Errorf("one added: %v", got)
	}
	p = put(fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q,"ip_address":"10.0.0.9"}]`, s))
	if got := addresses(p); got != "10.0.0.9" {
		t.Errorf("one removed: %v", got)
	}
	before := p["revision_number"]
	if p = put(fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q}]`, s)); addresses(p) != "10.0.0.9" || p["revision_number"] != before {
		t.Errorf("asked for what it has: %v", p)
	}
	p = put(`"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":null},{"opt_name":"67","opt_value":"y"}]`)
	if got := fmt.Sprint(p["extra_dhcp_opts"]); got != "[map[ip_version:4 opt_name:66 opt_value:x] map[ip_version:4 opt_name:67 opt_value:y]]" {
		t.Errorf("options: %s", got)
	}
	p = put(`"extra_dhcp_opts":[{"opt_name":"66","opt_value":null},{"opt_name":"67","opt_value":null},{"opt_name":"router","opt_value":""}]`)
	if got := fmt.Sprint(p["extra_dhcp_opts"]); got != "[map[ip_version:4 opt_name:router opt_value:]]" {
		t.Errorf("clients are told no router by options %s", got)
	}
	if p = put(`"extra_dhcp_opts":[{"opt_name":"router","opt_value":null}]`); len(p["extra_dhcp_opts"].([]any)) != 0 {
		t.Errorf("options left: %v", p["extra_dhcp_opts"])
	}
	b.refused("PUT", "/v2.0/ports/"+id, `{"port":{"network_id":"`+n+`"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute network_id")
	if p = put(`"fixed_ips":[]`); len(p["fixed_ips"].([]any)) != 0 || p["ip_allocation"] != "none" {
		t.Errorf("all removed: %v", p)
	}
	b.subnet(n, "fd00::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	if p = put(`"fixed_ips":[{"ip_address":"10.0.0.7"}]`); !strings.HasPrefix(addresses(p), "10.0.0.7 fd00::f816:3eff:") {
		t.Errorf("with automatic addresses: %v", addresses(p))
	}
	if p = put(`"mac_address":"fa:16:3e:01:02:03"`); addresses(p) != "10.0.0.7 fd00::f816:3eff:fe01:203" {
		t.Errorf("with another MAC: %v", addresses(p))
	}
}

func TestSubnetRules(t *testing.T) {
	b := newBench(t)
	n := b.network()
	s := b.subnet(n, "10.0.0.0/24", "")
	port := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.99"}]}}`, n), "port")["id"].(string)
	for _, c := range []struct {
		more, message string
	}{
		{`"ip_version":4,"cidr":"0.0.0.0/0"`, "cidr '0.0.0.0/0': 0 is not allowed as CIDR prefix length"},
		{`"ip_version":4,"cidr":"224.0.0.0/24"`, "cidr '224.0.0.0/24': Multicast IP subnet is not supported if enable_dhcp is True"},
		{`"ip_version":4,"cidr":"127.0.0.0/24"`, "cidr '127.0.0.0/24': Loopback IP subnet is not supported if enable_dhcp is True"},
		{`"ip_version":4,"cidr":"10.1.0.0/24","gateway_ip":"fd00::1"`, "gateway_ip 'fd00::1' does not match the ip_version '4'"},
		{`"ip_version":4,"cidr":"10.1.0.0/24","gateway_ip":"10.1.0.255"`, "gateway_ip '10.1.0.255': Gateway is not valid on subnet"},
		{`"ip_version":6,"cidr":"fd00::/64","dns_nameservers":["8.8.8.8"]`, "dns_nameserver '8.8.8.8' does not match the ip_version '6'"},
		{`"ip_version":4,"cidr":"10.1.0.0/24","host_routes":[{"destination":"::/0","nexthop":"10.1.0.2"}]`, "destination '::/0' does not match the ip_version '4'"},
		{`"ip_version":4,"cidr":"10.0.0.0/16"`, "Requested subnet with cidr: 10.0.0.0/16 for network: " + n + " overlaps with another subnet"},
	} {
		b.refused("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,%s}}`, n, c.more), 400, "InvalidInput", "Invalid input for operation: "+c.message+".")
	}
	b.refused("PUT", "/v2.0/subnets/"+s, `{"subnet":{"gateway_ip":"10.0.0.5"}}`, 409, "GatewayConflictWithAllocationPools", "Gateway ip 10.0.0.5 conflicts with allocation pool 10.0.0.2-10.0.0.254.")
	b.must("PUT", "/v2.0/subnets/"+s, `{"subnet":{"allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.9"}]}}`, "subnet")
	b.refused("PUT", "/v2.0/subnets/"+s, `{"subnet":{"gateway_ip":"10.0.0.99"}}`, 409, "GatewayIpInUse", "Current gateway ip 10.0.0.99 already in use by port "+port+". Unable to update.")
	b.refused("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.5.0.0/24","allocation_pools":[]}}`, n), 409,
		"IpAddressGenerationFailure", "No more IP addresses available on network "+n+".")
	b.refused("DELETE", "/v2.0/subnets/"+s, "", 409, "SubnetInUse", "Unable to complete operation on subnet "+s+": One or more ports have an IP allocation from this subnet.")

	middle := b.must("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.6.0.0/29","gateway_ip":"10.6.0.3"}}`, n), "subnet")
	if got := fmt.Sprint(middle["allocation_pools"]); got != "[map[end:10.6.0.2 start:10.6.0.1] map[end:10.6.0.6 start:10.6.0.4]]" {
		t.Errorf("pools around a gateway in the middle: %s", got)
	}
	single := b.must("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.7.0.7/32","gateway_ip":null,"enable_dhcp":false}}`, n), "subnet")
	if got := fmt.Sprint(single["allocation_pools"]); got != "[map[end:10.7.0.7 start:10.7.0.7]]" {
		t.Errorf("pools of one address: %s", got)
	}
	auto := b.subnet(n, "fd00::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, n), "port")
	if out := b.send("DELETE", "/v2.0/subnets/"+auto, ""); out.status != http.StatusNoContent {
		t.Errorf("a subnet of automatic addresses: %d %s", out.status, out.text)
	}
}

// TestExhaustion uses up a pool from many sides at once: exactly as many ports as there are addresses.
func TestExhaustion(t *testing.T) {
	b := newBench(t)
	n := b.network()
	b.subnet(n, "10.0.0.0/26", "") // 62 usable, less the gateway and the DHCP port
	body := fmt.Sprintf(`{"port":{"network_id":%q}}`, n)
	created := b.race(80, func(int) reply { return b.send("POST", "/v2.0/ports", body) })
	if created[http.StatusCreated] != 60 || created[http.StatusConflict] != 20 {
		t.Errorf("answers by status: %v", created)
	}
	b.refused("POST", "/v2.0/ports", body, 409, "IpAddressGenerationFailure", "No more IP addresses available on network "+n+".")
}

// race makes requests at once and counts the answers by status.
func (b *bench) race(count int, request func(int) reply) map[int]int {
	var wait sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for i := range count {
		wait.Go(func() {
			status := request(i).status
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wait.Wait()
	return statuses
}

// TestRaces lets two requests want the same: one gets it, the other is told so.
func TestRaces(t *testing.T) {
	b := newBench(t)
	for range 20 {
		n := b.network()
		s := b.subnet(n, "10.0.0.0/24", "")
		for what, body := range map[string]string{
			"an address": fmt.Sprintf(`{"port":{"network_id":%q,"fixed_ips":[{"subnet_id":%q,"ip_address":"10.0.0.50"}]}}`, n, s),
			"a MAC":      fmt.Sprintf(`{"port":{"network_id":%q,"mac_address":"fa:16:3e:00:00:01"}}`, n),
		} {
			if got := b.race(2, func(int) reply { return b.send("POST", "/v2.0/ports", body) }); got[201] != 1 || got[409] != 1 {
				t.Errorf("%s: answers by status: %v", what, got)
			}
		}
		overlapping := b.race(2, func(i int) reply {
			return b.send("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.1.%d.0/%d"}}`, n, i, 16+i*8))
		})
		if overlapping[201] != 1 || overlapping[400] != 1 {
			t.Errorf("overlapping subnets: answers by status: %v", overlapping)
		}

		empty := b.network()
		gone := b.race(2, func(i int) reply {
			if i == 0 {
				return b.send("DELETE", "/v2.0/networks/"+empty, "")
			}
			return b.send("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, empty))
		})
		if !(gone[204] == 1 && gone[404] == 1 || gone[409] == 1 && gone[201] == 1) {
			t.Errorf("a port on a network that goes: answers by status: %v", gone)
		}

		bumped := b.race(8, func(i int) reply {
			return b.send("PUT", "/v2.0/subnets/"+s, fmt.Sprintf(`{"subnet":{"name":"s%d"}}`, i), "If-Match: revision_number=1")
		})
		if bumped[200] != 1 || bumped[412] != 7 {
			t.Errorf("changes of one revision: answers by status: %v", bumped)
		}
	}
}

// TestBulk creates all or nothing.
func TestBulk(t *testing.T) {
	b := newBench(t)
	n := b.network()
	b.subnet(n, "10.0.0.0/24", "")
	count := func() int { return len(b.send("GET", "/v2.0/ports", "").body["ports"].([]any)) }
	before := count()
	item := fmt.Sprintf(`{"network_id":%q}`, n)
	many := strings.Repeat(item+",", 99) + item
	out := b.send("POST", "/v2.0/ports", `{"ports":[`+many+`]}`)
	if created, _ := out.body["ports"].([]any); out.status != 201 || len(created) != 100 || count() != before+100 {
		t.Fatalf("100 ports: %d %.300s", out.status, out.text)
	}
	for _, bad := range []string{
		fmt.Sprintf(`{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.2"}]}`, n), // the DHCP port's
		`{"network_id":"00000000-0000-0000-0000-000000000001"}`,
		`{"network_id":7}`,
		`{"name":"x"}`,
	} {
		if out := b.send("POST", "/v2.0/ports", `{"ports":[`+item+`,`+bad+`]}`); out.status < 400 || out.status >= 500 {
			t.Errorf("with %s: %d %s", bad, out.status, out.text)
		}
	}
	all := strings.Repeat(item+",", 199) + item // there are 152 addresses left
	b.refused("POST", "/v2.0/ports", `{"ports":[`+all+`]}`, 409, "IpAddressGenerationFailure", "No more IP addresses available on network "+n+".")
	if count() != before+100 {
		t.Errorf("%d ports after refused bulks, not %d", count(), before+100)
	}
	b.subnet(n, "10.1.0.0/16", "")
	thousand := strings.Repeat(item+",", 999)
	b.refused("POST", "/v2.0/ports", `{"ports":[`+thousand+`{"network_id":"00000000-0000-0000-0000-000000000001"}]}`, 404, "NetworkNotFound", "Network 00000000-0000-0000-0000-000000000001 could not be found.")
	if count() != before+100 {
		t.Errorf("%d ports after 999 and a wrong one, not %d", count(), before+100)
	}
	if out := b.send("POST", "/v2.0/ports", `{"ports":[`+thousand+item+`]}`); out.status != 201 || count() != before+1100 {
		t.Errorf("1,000 ports: %d, and %d are there: %.300s", out.status, count(), out.text)
	}
}
