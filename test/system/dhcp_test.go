package system

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// Guests of two networks with the same addresses ask for leases: each gets its own network's answer,
// once.
func TestLeases(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--dns-domain=cloud.example", "--dhcp-lease-duration=600")
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	blue, red := d.addNetwork("blue", "10.0.0.0/24"), d.addNetwork("red", "10.0.0.0/24")
	b1, b2, r1 := d.addPort(blue, h1.Name), d.addPort(blue, h2.Name), d.addPort(red, h1.Name)
	d.plug(h1, b1, r1)
	d.plug(h2, b2)
	d.become("ACTIVE", b1, b2, r1)
	d.settled(hosts...)

	for _, c := range []struct {
		host *testbed.CheapHost
		port *port
	}{{h1, b1}, {h2, b2}, {h1, r1}} {
		offer := d.ask(c.host, c.port, dhcpv4.MessageTypeDiscover)
		if offer.MessageType() != dhcpv4.MessageTypeOffer || offer.YourIPAddr.String() != c.port.address() {
			t.Fatalf("%s asked and got %s", c.port.address(), offer.Summary())
		}
		ack := d.ask(c.host, c.port, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())))
		if ack.MessageType() != dhcpv4.MessageTypeAck || ack.YourIPAddr.String() != c.port.address() || ack.IPAddressLeaseTime(0) != 600*time.Second ||
			ack.DomainName() != "cloud.example" || net.IP(ack.SubnetMask()).String() != "255.255.255.0" || len(ack.Router()) != 1 || ack.Router()[0].String() != "10.0.0.1" {
			t.Errorf("%s requested and got %s", c.port.address(), ack.Summary())
		}
	}
	// One request, one answer, and only for who asked.
	time.Sleep(100 * time.Millisecond)
	for _, c := range []struct {
		host *testbed.CheapHost
		port *port
	}{{h1, b1}, {h2, b2}, {h1, r1}} {
		if n := len(d.dhcpAnswers(c.host, c.port)); n != 2 {
			t.Errorf("%s made 2 requests and was sent %d answers", c.port.address(), n)
		}
	}

	nak := d.ask(h1, b1, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 0, 1))))
	if nak.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("a wrong address of the subnet was answered with %s", nak.Summary())
	}

	// The subnet's DHCP is switched off, and on again.
	var list struct {
		Subnets []struct{ ID string }
	}
	d.must(http.MethodGet, "/v2.0/subnets?network_id="+blue.ID, nil, &list)
	d.must(http.MethodPut, "/v2.0/subnets/"+list.Subnets[0].ID, object{"subnet": object{"enable_dhcp": false}}, nil)
	request := "in_port=" + b1.device() + ",udp,dl_src=" + b1.MAC + ",dl_dst=" + broadcast + ",nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67"
	d.await("requests no longer punted", func() error { return isNot(d.went(h1, "br-int", request), "punted") })
	d.must(http.MethodPut, "/v2.0/subnets/"+list.Subnets[0].ID, object{"subnet": object{"enable_dhcp": true}}, nil)
	d.await("requests punted again", func() error { return is(d.went(h1, "br-int", request), "punted") })
	if offer := d.ask(h1, b1, dhcpv4.MessageTypeDiscover); offer.YourIPAddr.String() != b1.address() {
		t.Errorf("with DHCP on again: %s", offer.Summary())
	}
}

// What leases are made of changes under the guests: another subnet, and another duration while the controller
// was away. Nobody is refused the address that is theirs.
func TestLeasesChange(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--dhcp-lease-duration=600")
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	first := d.addPort(n, h.Name)
	d.plug(h, first)
	d.become("ACTIVE", first)
	if ack := d.ask(h, first, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(first.address())))); ack.IPAddressLeaseTime(0) != 600*time.Second {
		t.Errorf("the first lease: %s", ack.Summary())
	}

	var made struct {
		Subnet struct{ ID string }
		Port   port
	}
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": n.ID, "ip_version": 4, "cidr": "10.0.1.0/24"}}, &made)
	d.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": n.ID, "binding:host_id": h.Name, "fixed_ips": []object{{"subnet_id": made.Subnet.ID}}}}, &made)
	second := &made.Port
	d.plug(h, second)
	d.become("ACTIVE", second)
	offer := d.ask(h, second, dhcpv4.MessageTypeDiscover)
	if offer.YourIPAddr.String() != second.address() || offer.ServerIdentifier().String()[:7] != "10.0.1." {
		t.Errorf("in a subnet that came later: %s", offer.Summary())
	}

	for duration, flag := range map[time.Duration]string{60 * time.Second: "60", 0xffffffff * time.Second: "-1"} {
		if err := d.process.Stop(patience); err != nil {
			t.Fatal(err)
		}
		d.flags = []string{"--dhcp-lease-duration=" + flag}
		d.serve()
		d.settled(h)
		for _, p := range []*port{first, second} {
			own := net.ParseIP(p.address())
			ack := d.ask(h, p, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(own))
			if ack.MessageType() != dhcpv4.MessageTypeAck || !ack.YourIPAddr.Equal(own) || ack.IPAddressLeaseTime(0) != duration {
				t.Errorf("renewed with a lease duration of %s: %s", flag, ack.Summary())
			}
		}
	}
}

// A real client gets, renews and gives back its lease, and its packets go through a real tunnel, also
// after the switch was restarted.
func TestRealClient(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	hosts, err := d.bed.AddHosts("compute01", "compute02")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU)
	d.serve()
	for _, h := range hosts {
		if err := h.Enroll("tcp:"+d.ovsdb, nil); err != nil {
			t.Fatal(err)
		}
	}
	d.await("hosts settled", func() error {
		for _, h := range hosts {
			if state, err := d.host(h.Name); err != nil {
				return err
			} else if err := unsettled(state); err != nil {
				return err
			}
		}
		return nil
	})
	if err := d.bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	n := d.addNetwork("blue", "10.0.0.0/24")
	var vms []*testbed.VM
	var ports []*port
	for i, h := range hosts {
		p := d.addPort(n, h.Name)
		vm, err := h.AddVM([]string{"vm1", "vm2"}[i], p.vif())
		if err != nil {
			t.Fatal(err)
		}
		vms, ports = append(vms, vm), append(ports, p)
	}
	d.become("ACTIVE", ports...)
	client, lease, err := vms[0].StartDHCP()
	if err != nil {
		t.Fatal(err)
	}
	if lease.Prefix.String() != ports[0].address()+"/24" || lease.MTU != 1650 || lease.Router.String() != "10.0.0.1" || lease.Duration != 24*time.Hour {
		t.Errorf("lease %+v", lease)
	}
	if _, err := vms[1].DHCP(); err != nil {
		t.Fatal(err)
	}
	renewed, err := client.Renew()
	if err != nil || renewed.Prefix != lease.Prefix || renewed.Server != lease.Server {
		t.Errorf("renewed as %+v, error %v, want %+v", renewed, err, lease)
	}
	to := netip.MustParseAddr(ports[1].address())
	if r, err := vms[0].Ping(to, 50, 10*time.Millisecond); err != nil || r.Lost() > 0 || r.Duplicates > 0 {
		t.Errorf("ping through the tunnel: %v, error %v", r, err)
	}

	if err := hosts[0].KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := hosts[0].StartVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := d.bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	d.await("traffic after the switch was restarted", func() error {
		r, err := vms[0].Ping(to, 3, 10*time.Millisecond)
		if err == nil {
			err = is(r.Lost(), 0)
		}
		return err
	})
	if err := client.Release(); err != nil {
		t.Error(err)
	}
	if err := client.Stop(); err != nil {
		t.Error(err)
	}
}
