package system

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// Real clients get, renew and give back what the API says, and understand all of it.
func TestIPv4Clients(t *testing.T) {
	testbed.RequireRoot(t)
	d, h := deployReal(t, "--dns-domain=cloud.example", "--dhcp-lease-duration=10")
	var made struct{ Network network }
	d.must(http.MethodPost, "/v2.0/networks", object{"network": object{"name": "blue", "dns_domain": "blue.example."}}, &made)
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": made.Network.ID, "ip_version": 4, "cidr": "10.0.0.0/24", "allocation_pools": []object{{"start": "10.0.0.2", "end": "10.0.0.63"}},
		"dns_nameservers": []string{"9.9.9.9", "1.1.1.1"}, "host_routes": []object{{"destination": "10.9.0.0/16", "nexthop": "10.0.0.254"}}}}, nil)
	n := &made.Network

	for i, c := range []struct {
		program string
		start   func(*testbed.VM) (*testbed.DHCPClient, testbed.Lease, error)
	}{
		{"udhcpc", (*testbed.VM).StartDHCP}, {"dhclient", (*testbed.VM).StartDhclient}, {"dhcpcd", (*testbed.VM).StartDHCPCD},
		{"networkd", (*testbed.VM).StartNetworkd},
	} {
		t.Run(c.program, func(t *testing.T) {
			d := d.as(t)
			var made struct{ Port port }
			d.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": n.ID, "binding:host_id": h.Name, "dns_name": "web" + fmt.Sprint(i), "name": c.program}}, &made)
			p := &made.Port
			vm, err := h.AddVM(c.program, p.vif())
			if err != nil {
				t.Fatal(err)
			}
			d.become("ACTIVE", p)
			capture := filepath.Join(t.TempDir(), "capture.pcap")
			var sniffers []*testbed.Process
			for _, argv := range [][]string{{"tcpdump", "-n", "-U", "--immediate-mode", "-i", "eth0", "-w", capture, "udp port 67 or udp port 68"}, {"stdbuf", "-oL", "dhcpdump", "-i", "eth0"}} {
				sniffer, err := vm.Start(c.program+"-"+argv[0], argv...)
				if err != nil {
					t.Fatal(err)
				}
				sniffers = append(sniffers, sniffer)
			}
			d.await("both listening", func() error {
				out, err := vm.Exec("cat", "/proc/net/packet")
				if err == nil {
					err = is(strings.Count(out, "\n"), 1+len(sniffers)) // and a heading
				}
				return err
			})
			client, lease, err := c.start(vm)
			if err != nil {
				t.Fatal(err)
			}
			server := lease.Server
			want := testbed.Lease{Event: "bound", Prefix: netip.MustParsePrefix(p.address() + "/24"), Router: netip.MustParseAddr("10.0.0.1"),
				DNS: []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("1.1.1.1")}, Domain: "blue.example", Hostname: "web" + fmt.Sprint(i),
				MTU: 1450, Duration: 10 * time.Second, Server: server, Routes: []testbed.Route{
					{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.0.0.254")},
					{To: netip.MustParsePrefix("169.254.169.254/32"), Via: server},
					{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")}}}
			if got := fmt.Sprintf("%+v", lease); got != fmt.Sprintf("%+v", want) {
				t.Errorf("lease\n%s, want\n%+v", got, want)
			}
			d.await("addresses and routes in place", func() error {
				out, err := vm.Exec("sh", "-c", "ip -4 route; ip link show eth0")
				for _, line := range []string{"default via 10.0.0.1", "10.9.0.0/16 via 10.0.0.254", "169.254.169.254 via " + server.String(), "mtu 1450"} {
					if err == nil && !strings.Contains(out, line) {
						err = fmt.Errorf("no %q in %s", line, out)
					}
				}
				return err
			})
			renewed, err := client.Renew()
			if err != nil || renewed.Prefix != lease.Prefix || renewed.Server != server {
				t.Errorf("renewed as %+v, error %v, want %+v", renewed, err, lease)
			}
			d.last(p, "DHCPREQUEST (RENEWING or REBINDING "+p.address()+")", "DHCPACK")
			client = d.release(client, p, func() (*testbed.DHCPClient, testbed.Lease, error) { return c.start(vm) })
			if err := client.Stop(); err != nil {
				t.Error(err)
			}
			for _, sniffer := range sniffers {
				if err := sniffer.Signal(syscall.SIGINT); err != nil {
					t.Error(err)
				}
				<-sniffer.Done()
			}
			dump, err := os.ReadFile(sniffers[1].Log)
			if err != nil {
				t.Fatal(err)
			}
			d.readable(capture, string(dump), p)
		})
	}
}

// last waits until the controller says what a port last asked, and was answered.
func (d *deployment) last(p *port, request, decision string) {
	d.t.Helper()
	d.await(request+" of port "+p.ID, func() error { return d.lastIs(p, request, decision) })
}

func (d *deployment) lastIs(p *port, request, decision string) error {
	leases, err := d.admin.Leases(context.Background(), p.ID)
	switch {
	case err != nil:
		return err
	case len(leases) != 1 || leases[0].Address != p.address() || leases[0].Last == nil:
		return fmt.Errorf("leases %+v", leases)
	case leases[0].Last.Request != request || leases[0].Last.Decision != decision:
		return fmt.Errorf("the last is %+v", leases[0].Last)
	}
	return nil
}

// release makes a client give its lease back. It says so once and forgets its address: on a busy machine before
// its kernel knows the server's MAC address, and the packet is lost. Then another takes the lease.
func (d *deployment) release(client *testbed.DHCPClient, p *port, again func() (*testbed.DHCPClient, testbed.Lease, error)) *testbed.DHCPClient {
	d.t.Helper()
	for range 5 {
		if err := client.Release(); err != nil {
			d.t.Fatal(err)
		}
		for since := time.Now(); time.Since(since) < 2*time.Second; time.Sleep(5 * time.Millisecond) {
			if d.lastIs(p, "DHCPRELEASE", "silence") == nil {
				return client
			}
		}
		err := client.Stop()
		if err == nil {
			client, _, err = again()
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	d.t.Fatal("no DHCPRELEASE came")
	return nil
}

// readable checks what other people's programs, tcpdump and dhcpdump, read in the packets of a lease.
func (d *deployment) readable(capture, dump string, p *port) {
	d.t.Helper()
	text, err := d.bed.Here().Exec("tcpdump", "-n", "-vvv", "-r", capture)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, word := range []string{"DHCP-Message (53), length 1: Discover", "DHCP-Message (53), length 1: Offer", "DHCP-Message (53), length 1: Request", "DHCP-Message (53), length 1: ACK",
		"Your-IP " + p.address(), "Classless-Static-Route (121), length 21: (10.9.0.0/16:10.0.0.254),(169.254.169.254/32:", "(default:10.0.0.1)", "MTU (26), length 2: 1450", `Domain-Name (15), length 12: "blue.example"`} {
		if !strings.Contains(text, word) {
			d.t.Errorf("tcpdump reads no %q in\n%s", word, text)
		}
	}
	for _, word := range []string{"bad cksum", "bad udp cksum", "[|bootp]", "invalid", "truncated"} {
		if strings.Contains(text, word) {
			d.t.Errorf("tcpdump finds %q in\n%s", word, text)
		}
	}
	at := 0
	for _, word := range []string{"1 (DHCPDISCOVER)", "2 (DHCPOFFER)", "3 (DHCPREQUEST)", "5 (DHCPACK)"} {
		found := strings.Index(dump[at:], word)
		if found < 0 {
			d.t.Fatalf("dhcpdump reads no %s in its place in\n%s", word, dump)
		}
		at += found
	}
	if !strings.Contains(dump, "YIADDR: "+p.address()) {
		d.t.Errorf("dhcpdump reads another address in\n%s", dump)
	}
}

// says waits until explain's story of a port has a step that is, or is not, well and tells something.
func (d *deployment) says(subject string, p *port, ok bool, words ...string) (e inspect.Explanation) {
	d.t.Helper()
	d.await(fmt.Sprintf("explain %s with %q", subject, words), func() (err error) {
		if e, err = d.admin.Explain(context.Background(), subject, p.ID); err != nil {
			return err
		}
		if !slices.ContainsFunc(e.Steps, func(s inspect.Step) bool {
			return s.OK == ok && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s.Text, w) })
		}) {
			return fmt.Errorf("it says %+v", e.Steps)
		}
		return nil
	})
	return e
}

// Whatever keeps a port from its lease is named, one cause at a time, and what would be given is told.
func TestExplainDHCP(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--punt-rate=20")
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	p := d.addPort(n, "")
	put := func(body object) { d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": body}, nil) }
	put(object{"name": "web"})
	says := func(ok bool, words ...string) inspect.Explanation { t.Helper(); return d.says("dhcp", p, ok, words...) }
	says(false, "no Interface on any host's br-int has iface-id "+p.ID)
	put(object{"binding:host_id": "compute99"})
	says(false, "host compute99, which is not enrolled")
	put(object{"binding:host_id": h.Name})
	says(false, "no Interface on compute01 has iface-id "+p.ID)
	put(object{"admin_state_up": false})
	d.plug(h, p)
	says(false, "is not wired: the port's admin_state_up is false")
	put(object{"admin_state_up": true})
	d.become("ACTIVE", p)
	says(true, "wired on host compute01 as interface "+p.device())
	says(true, "DHCPv4 gives "+p.address())
	e := says(false, "nothing was asked since the VIF was wired")
	if !slices.ContainsFunc(e.Offer, func(line string) bool {
		return strings.Contains(line, "Your IP: "+p.address()) || strings.Contains(line, "YourIPAddr: "+p.address()) || strings.Contains(line, p.address())
	}) {
		t.Errorf("what would be offered is %q", e.Offer)
	}

	d.ask(h, p, dhcpv4.MessageTypeDiscover)
	e = says(true, "DHCPDISCOVER", "DHCPOFFER, because "+p.address()+" is the port's address")
	if len(e.Exchanges) != 1 || len(e.Exchanges[0].RequestBytes) < 250 || len(e.Exchanges[0].AnswerBytes) < 300 || e.Exchanges[0].Requests != 1 {
		t.Errorf("exchanges %+v", e.Exchanges)
	}
	d.ask(h, p, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 0, 1))))
	says(true, "DHCPREQUEST (INIT-REBOOT with 10.0.0.1)", "DHCPNAK, because 10.0.0.1 is not the port's address")
	inject := func(kind dhcpv4.MessageType, more ...dhcpv4.Modifier) {
		t.Helper()
		if err := h.Inject(p.device(), dhcpFrame(p, kind, more...)); err != nil {
			t.Fatal(err)
		}
	}
	inject(dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{0xfa, 0x16, 0x3e, 9, 9, 9}))
	says(false, "DHCPDISCOVER", "silence", "chaddr that is neither the port's mac_address")
	inject(dhcpv4.MessageTypeDecline, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(p.address()))))
	says(false, "DHCPDECLINE", "silence", p.address()+" is in use by another machine")
	d.logged("WARN", "a machine outside of the API's knowledge has a port's address", p.ID)

	// As the operator sees it, by the port's name.
	for _, c := range []struct {
		args []string
		has  []string
	}{
		{[]string{"leases"}, []string{"compute01", "web", "blue", p.address(), "24h0m0s", "DHCPDECLINE", "silence"}},
		{[]string{"leases", "web"}, []string{"web"}},
		{[]string{"explain", "dhcp", "web"}, []string{"ok  DHCPv4 gives " + p.address(), "NO  DHCPDECLINE"}},
		{[]string{"explain", "dhcp", "web", "--bytes"}, []string{"DHCPDECLINE", "|", "is offered now"}},
	} {
		text, _, err := d.answer(c.args...)
		for _, word := range c.has {
			if err != nil || !strings.Contains(text, word) {
				t.Errorf("%s: no %q in\n%s, error %v", c.args, word, text, err)
			}
		}
	}
	for _, args := range [][]string{{"leases", "nobody"}, {"explain", "dhcp", "nobody"}} {
		if text, err := d.tool(args...); err == nil || !strings.Contains(err.Error(), "nothing is known by that") {
			t.Errorf("%s: %s, error %v", args, text, err)
		}
	}

	for range 200 {
		inject(dhcpv4.MessageTypeDiscover)
	}
	says(false, "more than 20 a second")

	var list struct {
		Subnets []struct{ ID string }
	}
	d.must(http.MethodGet, "/v2.0/subnets?network_id="+n.ID, nil, &list)
	d.must(http.MethodPut, "/v2.0/subnets/"+list.Subnets[0].ID, object{"subnet": object{"enable_dhcp": false}}, nil)
	says(false, "DHCPv4 gives nothing: enable_dhcp is false on subnet 10.0.0.0/24", p.address())

	if err := h.KillOVSDB(); err != nil {
		t.Fatal(err)
	}
	says(false, "host compute01 is not connected")
	if err := h.StartOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.settled(h)
}
