package system

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// DHCP that is not the controller's: a server and router of the physical network, a guest that would be
// one, and a guest that relays to one. The server is dnsmasq each time.
func TestOutsideDHCP(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	physnet, err := d.bed.AddPhysical(physical)
	if err != nil {
		t.Fatal(err)
	}
	h, err := d.bed.AddHost("compute01")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU, "--flat-networks="+physical, "--vlan-ranges="+physical+":100:199")
	d.serve()
	w := &layer2{deployment: d, hosts: []*testbed.Host{h}, physnet: physnet, made: new(int)}
	if err := h.Connect(physnet, "br-ex"); err != nil {
		t.Fatal(err)
	}
	w.enrolHost(h, map[string]string{"tunbridge-bridge-mappings": physical + ":br-ex"})
	w.quiet(h.Name)
	for _, networkType := range []string{"flat", "vlan"} {
		w.outsideServer(h, networkType)
	}
	w.outsideServerIPv6(h)
	w.outsideClient(h)
	w.rogueServer(h)
	w.guestRelay(h)
}

// dnsmasq starts a DHCP server, or a relay, and waits until it serves.
func (d *deployment) dnsmasq(where testbed.Namespace, name string, args ...string) *testbed.Process {
	d.t.Helper()
	leases := filepath.Join(d.bed.Dir(), name+".leases")
	process, err := where.Start(name, append([]string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--port=0", "--pid-file=",
		"--log-dhcp", "--log-facility=-", "--no-ping", "--dhcp-leasefile=" + leases}, args...)...)
	if err != nil {
		d.t.Fatal(err)
	}
	d.await(name+" serving", func() error {
		log, err := os.ReadFile(process.Log)
		if err == nil && !strings.Contains(string(log), "started, ") {
			err = fmt.Errorf("it says %s", log)
		}
		return err
	})
	return process
}

// logs waits until a process has logged something.
func (d *deployment) logs(process *testbed.Process, text string) {
	d.t.Helper()
	d.await(fmt.Sprintf("%q in %s", text, process.Log), func() error {
		log, err := os.ReadFile(process.Log)
		if err == nil && !strings.Contains(string(log), text) {
			err = fmt.Errorf("it says %s", log)
		}
		return err
	})
}

// subnets gives a network subnets whose DHCP is not the controller's.
func (w *layer2) subnets(n *network, subnets ...object) {
	w.t.Helper()
	for _, s := range subnets {
		s["network_id"] = n.ID
		w.must(http.MethodPost, "/v2.0/subnets", object{"subnet": s}, nil)
	}
}

// asking plugs a guest that has no address but what it asks for.
func (w *layer2) asking(n *network, h *testbed.Host, more object) *guest {
	w.t.Helper()
	g := w.unplugged(n, h, more)
	*w.made++
	var err error
	if g.VM, err = h.AddVM(fmt.Sprintf("vm%d", *w.made), g.port.vif()); err != nil {
		w.t.Fatal(err)
	}
	w.guests = append(w.guests, g)
	w.become("ACTIVE", g.port)
	return g
}

// outsideServer is subnets whose DHCP is off: a machine of the physical network gives guests their addresses,
// and is their router, for both versions of IP.
func (w *layer2) outsideServer(h *testbed.Host, networkType string) {
	server, server6 := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("2001:db8:9::1")
	n := w.network(networkType)
	w.subnets(n, object{"ip_version": 4, "cidr": "10.9.0.0/24", "enable_dhcp": false}, object{"ip_version": 6, "cidr": "2001:db8:9::/64", "ipv6_address_mode": "slaac"})
	machine, err := w.physnet.AddMachine("outside-"+networkType, int(n.VNI), netip.PrefixFrom(server, 24), netip.PrefixFrom(server6, 64))
	if err != nil {
		w.t.Fatal(err)
	}
	g := w.asking(n, h, nil)
	var address, address6 string
	for _, ip := range g.port.FixedIPs {
		if strings.Contains(ip.Address, ":") {
			address6 = ip.Address
		} else {
			address = ip.Address
		}
	}
	dnsmasq := w.dnsmasq(machine.Namespace, "dnsmasq-"+networkType, "--interface=eth0", "--bind-interfaces", "--enable-ra", "--dhcp-range=10.9.0.0,static,255.255.255.0,1h",
		"--dhcp-host="+g.port.MAC+","+address, "--dhcp-range=2001:db8:9::,ra-only,64,1h")
	lease, err := g.DHCP()
	if err != nil {
		w.t.Fatal(err)
	}
	if lease.Prefix.String() != address+"/24" || lease.Server != server || lease.Router != server {
		w.t.Errorf("%s: the guest has %s from %s by way of %s, want %s from %s", networkType, lease.Prefix, lease.Server, lease.Router, address, server)
	}
	w.reaches(g, server)
	w.hasIPv6(g.VM, address6+"/64", 3600)
	w.await("a default route to the machine outside", func() error {
		out, err := g.Exec("ip", "-6", "route", "show", "default")
		if err == nil && !strings.Contains(out, "via fe80::") {
			err = fmt.Errorf("routes %q", out)
		}
		return err
	})
	w.reaches(g, server6)
	// Its only way out is by the machine outside, and so are its questions who it is: they are answered all the same.
	if out, err := g.Exec("curl", "-sS", "--fail", "--max-time", "20", "http://169.254.169.254/openstack/latest/meta_data.json"); err != nil || !strings.Contains(out, g.port.ID) {
		w.t.Errorf("metadata by way of a gateway outside: %s, error %v", out, err)
	}
	if err := dnsmasq.Stop(patience); err != nil {
		w.t.Error(err)
	}
}

// outsideClient is a machine of the physical network that asks for a lease where the controller serves: it is
// told nothing, and hears nothing of the guests' own.
func (w *layer2) outsideClient(h *testbed.Host) {
	n := w.network("vlan", "10.9.2.0/24")
	g := w.asking(n, h, nil)
	machine, err := w.physnet.AddMachine("client", int(n.VNI))
	if err != nil {
		w.t.Fatal(err)
	}
	outside, err := machine.Capture("eth0", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if lease, err := g.DHCP(); err != nil || lease.Prefix.Addr().String() != g.port.address() {
		w.t.Fatalf("the guest has %+v, error %v", lease, err)
	}
	frames, err := outside.Stop()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range frames {
		if isDHCP(f.Raw) {
			w.t.Errorf("out on the network: %x", f.Raw)
		}
	}
	capture, err := g.Capture("eth0", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if out, err := machine.Exec("udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", "/bin/true", "-t", "3", "-T", "1"); err == nil {
		w.t.Errorf("a machine outside has a lease: %s", out)
	}
	if frames, err = capture.Stop(); err != nil {
		w.t.Fatal(err)
	}
	if !slices.ContainsFunc(frames, func(f testbed.Frame) bool { return isDHCP(f.Raw) && string(f.Raw[6:12]) == string(machine.MAC) }) {
		w.t.Error("the guest heard nothing of the machine's broadcasts: it did not ask")
	}
}

// isDHCP says whether an untagged frame is of DHCPv4.
func isDHCP(frame []byte) bool {
	udp, ok := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeUDP).(*layers.UDP)
	return ok && (udp.DstPort == 67 || udp.DstPort == 68)
}

// outsideServerIPv6 is the same where the guest is given its IPv6 address.
func (w *layer2) outsideServerIPv6(h *testbed.Host) {
	n := w.network("vlan")
	w.subnets(n, object{"ip_version": 6, "cidr": "2001:db8:a::/64", "enable_dhcp": false})
	machine, err := w.physnet.AddMachine("outside6", int(n.VNI), netip.MustParsePrefix("2001:db8:a::1/64"))
	if err != nil {
		w.t.Fatal(err)
	}
	g := w.asking(n, h, nil)
	dnsmasq := w.dnsmasq(machine.Namespace, "dnsmasq6", "--interface=eth0", "--bind-interfaces", "--enable-ra", "--dhcp-range=2001:db8:a::,static,64,1h",
		"--dhcp-host="+g.port.MAC+",["+g.port.address()+"]", "--dhcp-option=option6:dns-server,[2001:db8:a::53]")
	client, lease6, err := g.StartDhclient6(false)
	if err != nil {
		w.t.Fatal(err)
	}
	if lease6.Address.String() != g.port.address() || len(lease6.DNS) != 1 || lease6.DNS[0].String() != "2001:db8:a::53" {
		w.t.Errorf("the guest has %+v, want %s", lease6, g.port.address())
	}
	w.reaches(g, netip.MustParseAddr("2001:db8:a::1"))
	if err := errors.Join(dnsmasq.Stop(patience), client.Stop()); err != nil {
		w.t.Error(err)
	}
}

// rogueServer is a guest that answers DHCP, and says that it is a router: nobody hears of it, as long as its
// port has port security.
func (w *layer2) rogueServer(h *testbed.Host) {
	n := w.network("vxlan")
	w.subnets(n, object{"ip_version": 4, "cidr": "10.9.1.0/24", "enable_dhcp": false}, object{"ip_version": 6, "cidr": "2001:db8:b::/64", "enable_dhcp": false})
	rogue := w.guest(n, h, nil)
	w.become("ACTIVE", rogue.port)
	server := w.dnsmasq(rogue.Namespace, "rogue", "--interface=eth0", "--bind-interfaces", "--dhcp-authoritative", "--enable-ra", "--dhcp-range=10.9.1.200,10.9.1.220,255.255.255.0,1h",
		"--dhcp-range=2001:db8:b::,ra-names,64,1h")
	victim := w.asking(n, h, nil)
	lease, err := victim.DHCP()
	if err == nil {
		w.t.Errorf("a guest serves %+v", lease)
	}
	w.logs(server, "DHCPOFFER(eth0)") // it heard the request, and answered
	w.logs(server, "RTR-ADVERT(eth0)")
	if out, err := victim.Exec("ip", "-6", "route", "show"); err != nil || strings.Contains(out, "default") || strings.Contains(out, "2001:db8:b:") {
		w.t.Errorf("by the word of a guest there is a route: %s, error %v", out, err)
	}

	w.update(rogue, object{"security_groups": []string{}, "port_security_enabled": false})
	w.await("a lease from a port without port security", func() error {
		lease, err := victim.DHCP()
		if err == nil && lease.Server.String() == rogue.port.address() {
			return nil
		}
		return fmt.Errorf("lease %+v, error %w", lease, err)
	})
}

// guestRelay is a guest that relays the requests of what is behind it to another guest, on a network that the
// controller serves: its packets are its own (RFC 2131 section 4.1).
func (w *layer2) guestRelay(h *testbed.Host) {
	n := w.network("vxlan", "10.0.0.0/24")
	const behind = "192.168.50.0/24"
	pair := object{"allowed_address_pairs": []object{{"ip_address": behind}}}
	relay, server := w.guest(n, h, pair), w.guest(n, h, nil)
	w.become("ACTIVE", relay.port, server.port)
	for _, c := range []struct {
		g    *guest
		argv string
	}{
		{relay, "ip link add inner type veth peer name client && ip addr add 192.168.50.1/24 dev inner && ip link set inner up && ip link set client up && sysctl -qw net.ipv4.ip_forward=1"},
		{server, "ip route add " + behind + " via " + relay.port.address()},
	} {
		if _, err := c.g.Exec("sh", "-c", c.argv); err != nil {
			w.t.Fatal(err)
		}
	}
	serving := w.dnsmasq(server.Namespace, "server", "--interface=eth0", "--bind-interfaces", "--dhcp-range=192.168.50.100,192.168.50.200,255.255.255.0,1h")
	w.dnsmasq(relay.Namespace, "relay", "--interface=inner", "--bind-interfaces", "--dhcp-relay=192.168.50.1,"+server.port.address())
	w.await("a lease by way of the relay", func() error {
		_, err := relay.Exec("udhcpc", "-f", "-q", "-n", "-B", "-i", "client", "-s", "/bin/true", "-t", "3", "-T", "1")
		return err
	})
	w.logs(serving, "DHCPACK(eth0) 192.168.50.")
	// Its own lease is the controller's all the same, though its neighbour serves.
	lease, err := relay.DHCP()
	if err != nil || lease.Prefix.String() != relay.port.address()+"/24" || lease.Server.String() == server.port.address() {
		w.t.Errorf("the relay has %+v itself, error %v", lease, err)
	}
}
