package system

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// follow is what the controller says of a packet.
func (d *deployment) follow(q inspect.TraceQuery) inspect.Trace {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t, err := d.admin.Trace(ctx, q)
	if err != nil {
		d.t.Fatalf("trace %+v: %v", q, err)
	}
	for _, s := range t.Steps {
		if f := s.Flow; f != nil && (f.Owner == "" || f.Reason == "" || f.Owner != "foreign" && f.ObjectID == "") {
			d.t.Errorf("trace %+v: a flow does not say why it is there: %+v", q, *f)
		}
	}
	return t
}

// arrivals are the VIFs that a packet comes to, "host/device", sorted.
func arrivals(t *inspect.Trace) (at []string) {
	for _, a := range t.Arrivals {
		at = append(at, a.Host+"/"+a.Interface)
	}
	slices.Sort(at)
	return at
}

// silentSubnet adds a subnet without DHCP to a network, and returns its ID.
func (d *deployment) silentSubnet(n *network) string {
	d.t.Helper()
	var made struct{ Subnet struct{ ID string } }
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": n.ID, "ip_version": 4, "cidr": "10.8.0.0/24", "enable_dhcp": false}}, &made)
	return made.Subnet.ID
}

// What becomes of a packet is told in the first line, and if it does not arrive, what stopped it.
func TestTraceTells(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--flat-networks="+physical, "--vlan-ranges="+physical+":100:199", "--probe-interval=0") // no tunnel of dummies carries anything
	hosts := d.addHosts("compute01", "compute02")
	for _, h := range hosts {
		if _, err := h.Vsctl("add-br", "br-ex"); err != nil {
			t.Fatal(err)
		}
		d.enrolPhysical(h)
	}
	d.settled(hosts...)
	blue, red := d.networkOf("vxlan", "blue", "10.0.0.0/24", "2001:db8::/64"), d.networkOf("vlan", "red", "10.0.0.0/24")
	named := func(n *network, host, name string, more object) *port {
		body := object{"network_id": n.ID, "binding:host_id": host, "name": name}
		for k, v := range more {
			body[k] = v
		}
		var made struct{ Port port }
		d.must(http.MethodPost, "/v2.0/ports", object{"port": body}, &made)
		return &made.Port
	}
	web, db := named(blue, "compute01", "web", nil), named(blue, "compute02", "db", nil)
	open := named(blue, "compute01", "open", object{"port_security_enabled": false})
	away := named(blue, "compute02", "away", nil)
	red1, red2 := named(red, "compute01", "red1", nil), named(red, "compute02", "red2", nil)
	var crowd []*port
	green := d.networkOf("vxlan", "green", "10.0.0.0/24")
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": green.ID, "ip_version": 6, "cidr": "2001:db8:1::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}}, nil)
	for i := range 9 {
		crowd = append(crowd, named(green, "compute01", fmt.Sprintf("host%d", i), nil))
	}
	mute := named(blue, "compute01", "mute", object{"fixed_ips": []object{{"subnet_id": d.silentSubnet(blue)}}})
	d.plug(hosts[0], append(crowd, web, open, red1, mute)...)
	d.plug(hosts[1], db, red2)
	d.become("ACTIVE", web, db, open, red1, red2)
	d.settled(hosts...)

	for _, c := range []struct {
		what    string
		q       inspect.TraceQuery
		arrives bool
		says    []string // all are in the verdict
		steps   []string // all are in the steps
	}{
		{"another host", inspect.TraceQuery{Source: "web", Destination: "db"}, true, []string{"arrives at " + db.device() + " of port db", "compute02"},
			[]string{"vxlan tunnel to " + hosts[1].Encap.String(), "mac_address and binding:host_id of the port", "comes in by " + web.device()}},
		{"its address", inspect.TraceQuery{Source: "web", Destination: db.FixedIPs[0].Address, Protocol: "tcp", Port: 443}, true, []string{"arrives at " + db.device()}, nil},
		{"IPv6", inspect.TraceQuery{Source: web.ID, Destination: db.FixedIPs[1].Address, Protocol: "udp", Port: 53}, true, []string{"arrives at " + db.device()}, nil},
		{"its MAC address", inspect.TraceQuery{Source: web.MAC, Destination: db.MAC}, true, []string{"arrives at " + db.device()}, nil},
		{"a physical network", inspect.TraceQuery{Source: "red1", Destination: "red2"}, true, []string{"arrives at " + red2.device()}, []string{"leaves through bridge br-ex to physical network physnet1, with VLAN 1"}},
		{"who is there", inspect.TraceQuery{Source: "web", Destination: "db", Protocol: "arp"}, true, []string{"is answered by the switch of host compute01"}, nil},
		{"who is there, in IPv6", inspect.TraceQuery{Source: "web", Destination: db.FixedIPs[1].Address, Protocol: "arp"}, true, []string{"is answered by the switch"}, nil},
		{"all", inspect.TraceQuery{Source: "web", Destination: "ff:ff:ff:ff:ff:ff"}, true, []string{open.device(), db.device()}, nil},
		{"metadata", inspect.TraceQuery{Source: "web", Destination: "169.254.169.254", Protocol: "tcp", Port: 80}, true, []string{"arrives at the controller", "metadata"}, nil},
		{"DHCP", inspect.TraceQuery{Source: "web", Destination: "255.255.255.255", Protocol: "udp", Port: 67, SourceIP: "0.0.0.0"}, true, []string{"arrives at the controller", "dhcpv4"}, nil},
		{"DHCP, from the port's address", inspect.TraceQuery{Source: "web", Destination: "255.255.255.255", Protocol: "udp", Port: 67}, true, []string{"arrives at the controller", "dhcpv4: " + web.FixedIPs[0].Address}, nil},
		{"DHCP over IPv6", inspect.TraceQuery{Source: "web", Destination: "ff02::1:2", Protocol: "udp", Port: 547}, true, []string{"arrives at the controller", "dhcpv6"}, nil},
		{"metadata over IPv6", inspect.TraceQuery{Source: "web", Destination: "fe80::a9fe:a9fe", Protocol: "tcp", Port: 80}, true, []string{"arrives at the controller", "metadata"}, nil},
		{"who routes", inspect.TraceQuery{Source: "host1", Destination: "ff02::2", Protocol: "rs"}, true, []string{"arrives at the controller", "router_solicitation"}, nil},
		{"all, in IPv6", inspect.TraceQuery{Source: "web", Destination: "ff02::1"}, true, []string{open.device(), db.device()}, nil},
		{"all on the subnet", inspect.TraceQuery{Source: "web", Destination: "10.0.0.255", Protocol: "udp", Port: 9}, true, []string{open.device(), db.device()}, nil},
		{"a multicast group", inspect.TraceQuery{Source: "web", Destination: "224.0.0.251", Protocol: "udp", Port: 5353}, true, []string{open.device(), db.device()}, nil},
		{"all of a crowd", inspect.TraceQuery{Source: "host1", Destination: broadcast}, true, []string{"and 3 more"}, nil},
		{"there and back", inspect.TraceQuery{Source: "web", Destination: "db", Protocol: "tcp", Port: 443, Both: true}, true, []string{"arrives at " + db.device()},
			[]string{"arrives at " + web.device() + " of port web", "tp_src=49152,tp_dst=443", "tp_src=443,tp_dst=49152"}},
		{"there and back over IPv6", inspect.TraceQuery{Source: "web", Destination: db.FixedIPs[1].Address, Both: true}, true, []string{"arrives at " + db.device()},
			[]string{"icmp_type=129"}},
		{"there and back to nobody", inspect.TraceQuery{Source: "web", Destination: "169.254.169.254", Protocol: "tcp", Port: 80, Both: true}, true, []string{"arrives at the controller"}, []string{"is not followed: no guest answers this"}},
		{"nobody, who might be outside", inspect.TraceQuery{Source: "red1", Destination: "10.0.0.99"}, true, []string{"no port of network red has 10.0.0.99", "leaves through bridge br-ex to physical network physnet1", "not known here"}, nil},

		{"a port that is not plugged", inspect.TraceQuery{Source: "web", Destination: "away"}, false, []string{"does not arrive: VIF not plugged", "compute02", away.ID}, nil},
		{"from a port that is not plugged", inspect.TraceQuery{Source: "away", Destination: "web"}, false, []string{"is not sent: VIF not plugged"}, nil},
		{"another's IP address", inspect.TraceQuery{Source: "web", Destination: "db", SourceIP: "10.0.0.77"}, false, []string{"compute01", "port_security_ip", "fixed_ips", "does not arrive: port security of web: "}, nil},
		{"another's MAC address", inspect.TraceQuery{Source: "web", Destination: "db", SourceMAC: "fa:16:3e:00:00:01"}, false, []string{"port_security_mac", "mac_address", "does not arrive: port security of web: "}, nil},
		{"any address without port security", inspect.TraceQuery{Source: "open", Destination: "db", SourceIP: "10.0.0.77", SourceMAC: "fa:16:3e:00:00:01"}, true, []string{"arrives at " + db.device()}, []string{"would learn into table 61"}},
		{"another network", inspect.TraceQuery{Source: "web", Destination: "red2"}, false, []string{"does not arrive: the networks blue and red are two"}, nil},
		{"too large for the network", inspect.TraceQuery{Source: "web", Destination: "db", Size: 1500}, false, []string{"does not arrive: the mtu of network blue is 1450", "1500 bytes"}, nil},
		{"an unknown MAC address", inspect.TraceQuery{Source: "red1", Destination: "fa:16:3e:99:99:99"}, true, []string{"leaves through bridge br-ex"}, nil},
		{"outside, without a router", inspect.TraceQuery{Source: "web", Destination: "192.0.2.1"}, false, []string{"through the router 10.0.0.1, which no port of network blue has", "who has it is asked of"}, nil},
		{"with a VLAN tag of the guest's", inspect.TraceQuery{Source: "web", Destination: "db", VLAN: 7}, false, []string{"does not arrive: no VIF of a port, or a VLAN tag that the VIF may not send", "table 0 classify"}, nil},
		{"DHCP, where there is none", inspect.TraceQuery{Source: "mute", Destination: "255.255.255.255", Protocol: "udp", Port: 67}, false, []string{"which gives nothing by DHCPv4: enable_dhcp is false"}, nil},
		{"the DHCP port", inspect.TraceQuery{Source: "web", Destination: "10.0.0.2"}, false, []string{"does not arrive: this is the port from which DHCP is answered"}, nil},
	} {
		got := d.follow(c.q)
		text, _ := json.MarshalIndent(got, "", " ")
		if got.Arrives != c.arrives {
			t.Errorf("%s: arrives: %v; %s", c.what, got.Arrives, text)
		}
		for _, w := range c.says {
			if !strings.Contains(got.Verdict, w) {
				t.Errorf("%s: does not say %q but: %s", c.what, w, got.Verdict)
			}
		}
		for _, w := range c.steps {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s: no step has %q: %s", c.what, w, text)
			}
		}
	}

	// The command: the verdict is its first line, and its exit status.
	text, err := d.tool("trace", "web", "db")
	if err != nil || !strings.HasPrefix(text, "arrives at "+db.device()+" of port db ("+db.ID+") on host compute02\nfrom port web ("+web.ID+") to port db") || !strings.Contains(text, "l2, port web ("+web.ID+"): ") {
		t.Errorf("error %v, printed\n%s", err, text)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(line)); n > 101 && strings.ContainsAny(strings.TrimSpace(line), " ,") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, c := range []struct{ args, status, says string }{
		{"trace web away", "exit status 1", "it does not arrive"},
		{"trace web db --proto tcp", "exit status 2", "to which port?"},
		{"trace web nobody", "exit status 2", "nothing is known by that"},
	} {
		if text, err := d.tool(strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.status) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, printed %s", c.args, err, text)
		}
	}
}
