package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// Real clients of IPv6: each gets the address that the API shows, and no other, whichever way its subnet
// says; its neighbours reach it there.
func TestIPv6Clients(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d, h := deployReal(t, "--dns-domain=cloud.example", "--dhcp-lease-duration=10")
	resolver := netip.MustParseAddr("2620:fe::fe")
	told := func(t *testing.T, l testbed.LeaseIPv6) {
		t.Helper()
		dns, search := slices.Compact(l.DNS), slices.Compact(l.Search) // a client may list what an advertisement says beside what DHCPv6 does
		if len(dns) != 1 || dns[0] != resolver || len(search) != 1 || strings.TrimSuffix(search[0], ".") != "cloud.example" {
			t.Errorf("told of name servers %v, domains %q", l.DNS, l.Search)
		}
	}
	// start makes a VM on a network with one subnet of the mode.
	var n *network
	start := func(t *testing.T, name string) (*testbed.VM, *port) {
		t.Helper()
		p := d.as(t).addPort(n, h.Name)
		vm, err := h.AddVM(name, p.vif())
		if err != nil {
			t.Fatal(err)
		}
		d.as(t).become("ACTIVE", p)
		return vm, p
	}
	// made has systemd-networkd do what is advertised, and looks at what came of that.
	made := func(t *testing.T, vm *testbed.VM, p *port, valid time.Duration) *testbed.DHCPv6Client {
		t.Helper()
		client, lease, err := vm.StartNetworkd6()
		if err != nil {
			t.Fatal(err)
		}
		told(t, lease)
		if lease.Address.String() != p.address() || lease.Valid > valid || lease.Valid < valid-time.Minute {
			t.Errorf("systemd-networkd has %+v, want %s for %s", lease, p.address(), valid)
		}
		return client
	}

	t.Run("slaac", func(t *testing.T) {
		d := d.as(t)
		n = d.addIPv6Network("slaac", "2001:db8:1::/64")
		vm1, p1 := start(t, "vm1")
		vm2, p2 := start(t, "vm2")
		for vm, p := range map[*testbed.VM]*port{vm1: p1, vm2: p2} {
			d.hasIPv6(vm, p.address()+"/64", 2592000)
			if out, err := vm.Exec("sysctl", "-n", "net.ipv6.conf.eth0.mtu"); err != nil || strings.TrimSpace(out) != "1450" {
				t.Errorf("MTU %s, error %v", out, err)
			}
			if out, err := vm.Exec("ip", "-6", "route", "show", "default"); err != nil || out != "" {
				t.Errorf("nobody is a router, but: %s, error %v", out, err)
			}
		}
		r, err := vm1.Ping(netip.MustParseAddr(p2.address()), 20, 10*time.Millisecond)
		if err != nil || r.Lost() > 0 || r.Duplicates > 0 {
			t.Errorf("ping: %v, error %v", r, err)
		}
		// What another program reads in the answer to its solicitation.
		out, err := vm1.Exec("rdisc6", "-1", "-r1", "eth0")
		for _, line := range []string{"Stateful address conf.    :           No", "Stateful other conf.      :           No", "Router lifetime           :            0",
			"Prefix                   : 2001:db8:1::/64", "On-link                 :          Yes", "Autonomous address conf.:          Yes", "Recursive DNS server     : 2620:fe::fe", "DNS search list          : cloud.example", "MTU                      :         1450"} {
			if err != nil || !strings.Contains(out, line) {
				t.Errorf("an advertisement without %q: %s, error %v", line, out, err)
				break
			}
		}
		vm3, p3 := start(t, "vm3")
		made(t, vm3, p3, 30*24*time.Hour)
		// Nobody has asked, but another prefix is there: they hear of it at once.
		d.addIPv6Subnet(n, "slaac", "2001:db8:11::/64")
		own := netip.MustParseAddr(p1.address()).As16()
		copy(own[:], []byte{0x20, 1, 0xd, 0xb8, 0, 0x11})
		d.hasIPv6(vm1, netip.AddrFrom16(own).String()+"/64", 2592000)
	})

	t.Run("stateful", func(t *testing.T) {
		d := d.as(t)
		n = d.addIPv6Network("dhcpv6-stateful", "2001:db8:2::/64")
		vm4, p4 := start(t, "vm4")
		vm5, p5 := start(t, "vm5")
		client, lease, err := vm4.StartDhclient6(false)
		if err != nil {
			t.Fatal(err)
		}
		told(t, lease)
		if lease.Address.String() != p4.address() || lease.Valid != 10*time.Second || lease.Preferred != 10*time.Second {
			t.Errorf("lease %+v, want %s", lease, p4.address())
		}
		other, there, err := vm5.StartDHCPCD6()
		if err != nil {
			t.Fatal(err)
		}
		told(t, there)
		if there.Address.String() != p5.address() {
			t.Errorf("lease %+v, want %s", there, p5.address())
		}
		d.await("ping", func() error {
			r, err := vm4.Ping(there.Address, 5, 10*time.Millisecond)
			if err == nil {
				err = is(r.Lost(), 0)
			}
			return err
		})
		renewed, err := client.Await("RENEW6")
		if err != nil || renewed.Address != lease.Address || renewed.Server != lease.Server {
			t.Errorf("renewed as %+v, error %v, want %+v", renewed, err, lease)
		}
		if _, err := other.Await("RENEW6"); err != nil {
			t.Error(err)
		}
		if err := client.Release(); err != nil {
			t.Error(err)
		}
		// Not even SLAAC's, of the same prefix.
		if out, err := vm4.Exec("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global"); err != nil || out != "" {
			t.Errorf("after release: %s, error %v", out, err)
		}
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
		vm6, p6 := start(t, "vm6")
		for try := 1; ; try++ { // a renewal is sent once while so short a lease lasts, and a busy machine may lose it
			third := made(t, vm6, p6, 10*time.Second)
			renewed, err := third.Await("RENEW6")
			if err == nil && renewed.Address.String() == p6.address() {
				break
			}
			if try == 3 {
				t.Fatalf("systemd-networkd renewed as %+v, error %v", renewed, err)
			}
			if err := third.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	})

	t.Run("stateless", func(t *testing.T) {
		d := d.as(t)
		n = d.addIPv6Network("dhcpv6-stateless", "2001:db8:3::/64")
		vm7, p7 := start(t, "vm7")
		d.hasIPv6(vm7, p7.address()+"/64", 2592000)
		client, lease, err := vm7.StartDhclient6(true)
		if err != nil {
			t.Fatal(err)
		}
		told(t, lease)
		if lease.Address.IsValid() {
			t.Errorf("given %v", lease.Address)
		}
		if err := client.Stop(); err != nil {
			t.Error(err)
		}
		vm8, p8 := start(t, "vm8")
		made(t, vm8, p8, 30*24*time.Hour)
		d.last6(p8, "DHCPv6 INFORMATION-REQUEST", "DHCPv6 REPLY")
	})
}

// A guest makes its link-local address in another way than from its MAC address (RFC 7217): it is told apart
// from one that spoofs, and works once the port has that address.
func TestOtherLinkLocal(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d, h := deployReal(t)
	n := d.addIPv6Network("dhcpv6-stateful", "2001:db8::/64")
	p := d.addPort(n, h.Name)
	vm, err := h.AddVM("vm", p.vif())
	if err != nil {
		t.Fatal(err)
	}
	d.become("ACTIVE", p)
	d.says("port", p, true, "flows that host "+h.Name+" is to have for it are installed")
	if _, err := vm.Exec("sh", "-c", "ip link set eth0 down && ip link set eth0 addrgenmode random && ip link set eth0 up"); err != nil {
		t.Fatal(err)
	}
	d.says("port", p, false, "whose source is a link-local address other than fe80::", "addr-gen-mode eui64")
	var address string
	d.await("a link-local address", func() error {
		out, err := vm.Exec("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link", "-tentative")
		if fields := strings.Fields(out); err == nil && len(fields) > 3 {
			address, _, _ = strings.Cut(fields[3], "/")
			return nil
		}
		return fmt.Errorf("it has %q, error %w", out, err)
	})
	d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"allowed_address_pairs": []object{{"ip_address": address}}}}, nil)
	client, lease, err := vm.StartDhclient6(false)
	if err != nil {
		t.Fatal(err)
	}
	if lease.Address.String() != p.address() {
		t.Errorf("lease %+v, want %s", lease, p.address())
	}
	if err := client.Stop(); err != nil {
		t.Error(err)
	}
}

// last6 waits until the controller says what a port last asked of DHCPv6, and was answered.
func (d *deployment) last6(p *port, request, decision string) {
	d.t.Helper()
	d.says("dhcp", p, true, request+": "+decision+",")
}

// addIPv6Network makes a network with one IPv6 subnet, whose modes are both mode.
func (d *deployment) addIPv6Network(mode, cidr string) *network {
	d.t.Helper()
	var made struct{ Network network }
	d.must(http.MethodPost, "/v2.0/networks", object{"network": object{"name": mode}}, &made)
	d.addIPv6Subnet(&made.Network, mode, cidr)
	return &made.Network
}

func (d *deployment) addIPv6Subnet(n *network, mode, cidr string) {
	d.t.Helper()
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": n.ID, "ip_version": 6, "cidr": cidr, "ipv6_ra_mode": mode, "ipv6_address_mode": mode,
		"dns_nameservers": []string{"2620:fe::fe"}}}, nil)
}

// hasIPv6 waits until a VM has an address that may be used, made from what a router advertised with a
// valid lifetime of so many seconds.
func (d *deployment) hasIPv6(vm *testbed.VM, prefix string, lifetime int) {
	d.t.Helper()
	d.await(vm.Name+" with "+prefix, func() error {
		out, err := vm.Exec("ip", "-6", "-j", "addr", "show", "dev", "eth0", "scope", "global", "-tentative", "dynamic")
		if err != nil {
			return err
		}
		var links []struct {
			Addresses []struct {
				Local  string `json:"local"`
				Length int    `json:"prefixlen"`
				Valid  int    `json:"valid_life_time"`
			} `json:"addr_info"`
		}
		if err := json.Unmarshal([]byte(out), &links); err != nil {
			return err
		}
		for _, l := range links {
			for _, a := range l.Addresses {
				if a.Local+"/"+strconv.Itoa(a.Length) == prefix && a.Valid > lifetime-60 && a.Valid <= lifetime {
					return nil
				}
			}
		}
		return fmt.Errorf("it has %s", out)
	})
}
