package system

import (
	"net/http"
	"testing"
)

// Ports of two networks with the same addresses are wired, seen by the right ones only, unplugged and
// deleted; in the end nothing of them is left.
func TestWiring(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02", "compute03")
	h1, h2, h3 := hosts[0], hosts[1], hosts[2]
	bare := map[string]string{}
	for _, h := range hosts {
		bare[h.Name+" br-int"], bare[h.Name+" br-tun"] = d.rules(h, "br-int"), d.rules(h, "br-tun")
	}

	blue, red := d.addNetwork("blue", "10.0.0.0/24"), d.addNetwork("red", "10.0.0.0/24")
	a1, a2, b1 := d.addPort(blue, h1.Name), d.addPort(blue, h1.Name), d.addPort(blue, h2.Name)
	c1 := d.addPort(blue, h3.Name)
	r1, r2 := d.addPort(red, h1.Name), d.addPort(red, h2.Name)
	d.plug(h1, a1, a2, r1)
	d.plug(h2, b1, r2)
	d.become("ACTIVE", a1, a2, b1, r1, r2)
	d.become("DOWN", c1)
	d.settled(hosts...)

	for _, c := range []struct{ name, got, want string }{
		{"unicast on the host", d.sends(h1, a1, a2.MAC), a2.device()},
		{"unicast to another host", d.sends(h1, a1, b1.MAC), through(h2, blue)},
		{"unicast to where the VIF is yet to come", d.sends(h1, a1, c1.MAC), through(h3, blue)},
		{"broadcast, to hosts with a member", d.sends(h1, a1, broadcast), words(a2.device(), through(h2, blue), through(h3, blue))},
		{"broadcast of the other network", d.sends(h1, r1, broadcast), words(through(h2, red))},
		{"unicast to the other network", d.sends(h1, r1, a2.MAC), ""},
		{"unicast to the other network's remote port", d.sends(h1, r1, b1.MAC), ""},
		{"another port's MAC", d.sends(h1, &port{ID: a1.ID, MAC: a2.MAC, FixedIPs: a1.FixedIPs}, b1.MAC), ""},
		{"another port's address", d.sends(h1, &port{ID: a1.ID, MAC: a1.MAC, FixedIPs: a2.FixedIPs}, b1.MAC), ""},
		{"ARP request for a known address", d.went(h1, "br-int", "in_port="+a1.device()+",arp,arp_op=1,dl_src="+a1.MAC+",dl_dst="+broadcast+",arp_sha="+a1.MAC+",arp_spa="+a1.address()+",arp_tpa="+b1.address()), "answered"},
	} {
		if c.got != c.want {
			t.Errorf("%s: went to %q, want %q", c.name, c.got, c.want)
		}
	}

	d.unplug(h1, a2)
	d.become("DOWN", a2)
	if got := d.sends(h1, a1, a2.MAC); got != "" {
		t.Errorf("a frame for a VIF that is gone went to %q", got)
	}
	d.plug(h1, a2)
	d.become("ACTIVE", a2)

	if d.flowsOf(h1, b1.ID) == 0 {
		t.Error("compute01 has no flow for a port of its network on compute02")
	}
	d.must(http.MethodDelete, "/v2.0/ports/"+b1.ID, nil, nil)
	d.reason(h2, b1.device(), "no port has this ID")
	d.settled(hosts...)
	for _, h := range hosts {
		if n := d.flowsOf(h, b1.ID); n != 0 {
			t.Errorf("host %s: %d flows of a deleted port", h.Name, n)
		}
	}

	for _, p := range []*port{a1, a2, c1, r1, r2} {
		d.must(http.MethodDelete, "/v2.0/ports/"+p.ID, nil, nil)
	}
	d.must(http.MethodDelete, "/v2.0/networks/"+blue.ID, nil, nil)
	d.must(http.MethodDelete, "/v2.0/networks/"+red.ID, nil, nil)
	d.reason(h1, a1.device(), "no port has this ID")
	d.reason(h2, r2.device(), "no port has this ID")
	d.settled(hosts...)
	for _, h := range hosts {
		for _, bridge := range []string{"br-int", "br-tun"} {
			if got, want := d.rules(h, bridge), bare[h.Name+" "+bridge]; got != want {
				t.Errorf("host %s: with everything deleted, %s has\n%s\nand had at first\n%s", h.Name, bridge, got, want)
			}
		}
	}
}

// A port moved to another host by its binding is wired there and nowhere else.
func TestPortIsMoved(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	net := d.addNetwork("blue", "10.0.0.0/24")
	p, other := d.addPort(net, h1.Name), d.addPort(net, h2.Name)
	d.plug(h1, p)
	d.plug(h2, other)
	d.become("ACTIVE", p, other)

	d.plug(h2, p)
	d.reason(h2, p.device(), "bound to host compute01")
	d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"binding:host_id": h2.Name}}, nil)
	d.reason(h1, p.device(), "bound to host compute02")
	d.settled(h1, h2)
	d.become("ACTIVE", p)
	if got := d.sends(h2, other, p.MAC); got != p.device() {
		t.Errorf("on its new host it is reached at %q", got)
	}
	d.unplug(h1, p)
	d.settled(h1, h2)
	d.become("ACTIVE", p)
	if n := d.flowsOf(h1, p.ID); n != 0 {
		t.Errorf("the host it left, which has nothing of the network any more, has %d flows of it", n)
	}

	d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"admin_state_up": false}}, nil)
	d.become("DOWN", p)
	d.reason(h2, p.device(), "admin_state_up")
	d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"admin_state_up": true}}, nil)
	d.become("ACTIVE", p)
}
