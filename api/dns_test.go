package api

import (
	"fmt"
	"testing"
)

// TestDNSAssignment shows what ports are called, as DHCP tells their machines.
func TestDNSAssignment(t *testing.T) {
	for _, c := range []struct{ operator, network, name, want string }{
		{"openstacklocal", "", "", "host-10-0-0-9 host-10-0-0-9.openstacklocal. host-fd00--9 host-fd00--9.openstacklocal."},
		{"openstacklocal", "", "Web", "web web.openstacklocal. web web.openstacklocal."},
		{"openstacklocal", "blue.example.", "web", "web web.blue.example. web web.blue.example."},
		{"", "", "web", "web web web web"},
		{"openstacklocal", "", "web.other.example.", "web web.other.example. web web.other.example."},
	} {
		b := newBench(t, func(o *Options) { o.DNSDomain = c.operator })
		n := b.must("POST", "/v2.0/networks", fmt.Sprintf(`{"network":{"dns_domain":%q}}`, c.network), "network")["id"].(string)
		b.subnet(n, "10.0.0.0/24", "")
		b.subnet(n, "fd00::/64", "")
		p := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"dns_name":%q,"fixed_ips":[{"ip_address":"10.0.0.9"},{"ip_address":"fd00::9"}]}}`, n, c.name), "port")
		got := ""
		for i, a := range p["dns_assignment"].([]any) {
			a := a.(map[string]any)
			if want := []string{"10.0.0.9", "fd00::9"}[i]; a["ip_address"] != want {
				t.Errorf("%v is not of %s", a, want)
			}
			got += fmt.Sprintf(" %s %s", a["hostname"], a["fqdn"])
		}
		if got != " "+c.want {
			t.Errorf("%q in %q or %q:%s, not %s", c.name, c.network, c.operator, got, c.want)
		}
	}
	b := newBench(t)
	n := b.network()
	if p := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, n), "port"); fmt.Sprint(p["dns_assignment"]) != "[]" {
		t.Errorf("without addresses: %v", p["dns_assignment"])
	}
}

// TestAutoAddressesOfPortsBefore gives ports addresses of a subnet that comes after them.
func TestAutoAddressesOfPortsBefore(t *testing.T) {
	b := newBench(t)
	n := b.network()
	b.subnet(n, "10.0.0.0/24", "")
	port := func(more string) string {
		return b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q%s}}`, n, more), "port")["id"].(string)
	}
	with := port(`,"mac_address":"fa:16:3e:00:00:01","fixed_ips":[{"ip_address":"10.0.0.9"}]`)
	without := port(`,"mac_address":"fa:16:3e:00:00:02","fixed_ips":[]`)
	show := func(id string) string {
		p := b.must("GET", "/v2.0/ports/"+id, "", "port")
		return fmt.Sprint(addresses(p), " ", p["revision_number"])
	}
	s := b.subnet(n, "fd00::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	b.subnet(n, "fd01::/64", `,"ipv6_ra_mode":"dhcpv6-stateful","ipv6_address_mode":"dhcpv6-stateful"`)
	for id, want := range map[string]string{with: "10.0.0.9 fd00::f816:3eff:fe00:1 2", without: "fd00::f816:3eff:fe00:2 2"} {
		if got := show(id); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	if out := b.send("DELETE", "/v2.0/subnets/"+s, ""); out.status != 204 {
		t.Errorf("DELETE: %d %s", out.status, out.text)
	}
	if got := show(with); got != "10.0.0.9 3" {
		t.Errorf("with the subnet gone: %s", got)
	}
}

// TestOptions asks as some clients do; Neutron answers as to GET.
func TestOptions(t *testing.T) {
	b := newBench(t)
	b.network()
	for _, path := range []string{"/v2.0/networks?fields=name", "/v2.0/extensions", "/"} {
		if got, want := b.send("OPTIONS", path, ""), b.send("GET", path, ""); got.status != 200 || got.text != want.text {
			t.Errorf("%s: %d %s", path, got.status, got.text)
		}
	}
}
