package testbed_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// serveDHCP answers from a VM until the test ends, with everything a lease can hold.
func serveDHCP(t *testing.T, vm *testbed.VM, client netip.Prefix) {
	t.Helper()
	var conn net.PacketConn
	if err := vm.Do(func() (err error) { conn, err = net.ListenPacket("udp4", ":67"); return err }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	_, onLink, _ := net.ParseCIDR("10.0.0.0/24")
	_, far, _ := net.ParseCIDR("192.0.2.0/24")
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			req, err := dhcpv4.FromBytes(buf[:n])
			if err != nil {
				t.Errorf("request: %v", err)
				continue
			}
			kind := dhcpv4.MessageTypeAck
			switch req.MessageType() {
			case dhcpv4.MessageTypeDiscover:
				kind = dhcpv4.MessageTypeOffer
			case dhcpv4.MessageTypeRelease:
				continue
			}
			server := net.IPv4(10, 0, 0, 2)
			reply, err := dhcpv4.NewReplyFromRequest(req,
				dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(client.Addr().AsSlice()), dhcpv4.WithServerIP(server),
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)), dhcpv4.WithLeaseTime(600),
				dhcpv4.WithNetmask(net.CIDRMask(client.Bits(), 32)), dhcpv4.WithRouter(net.IPv4(10, 0, 0, 254)),
				dhcpv4.WithDNS(net.IPv4(10, 0, 0, 3), net.IPv4(10, 0, 0, 4)),
				dhcpv4.WithOption(dhcpv4.OptDomainName("example.org")), dhcpv4.WithOption(dhcpv4.OptHostName("vm1")),
				dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{1450 >> 8, 1450 & 255}),
				dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
					&dhcpv4.Route{Dest: onLink, Router: net.IPv4zero}, &dhcpv4.Route{Dest: far, Router: net.IPv4(10, 0, 0, 254)})),
			)
			if err != nil {
				t.Errorf("reply: %v", err)
				continue
			}
			to := &net.UDPAddr{IP: net.IPv4bcast, Port: 68}
			if !req.ClientIPAddr.IsUnspecified() {
				to.IP = req.ClientIPAddr
			}
			if _, err := conn.WriteTo(reply.ToBytes(), to); err != nil {
				t.Errorf("reply: %v", err)
			}
		}
	}()
}

func TestDHCPLease(t *testing.T) {
	testbed.RequireRoot(t)
	_, client, server := twoHosts(t)
	if out, err := server.Exec("ip", "route", "add", "default", "dev", "eth0"); err != nil { // for 255.255.255.255
		t.Fatalf("%v %s", err, out)
	}
	serveDHCP(t, server, netip.MustParsePrefix("10.0.0.77/24"))
	c, got, err := client.StartDHCP()
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr
	want := testbed.Lease{
		Event: "bound", Prefix: netip.MustParsePrefix("10.0.0.77/24"), Router: addr("10.0.0.254"),
		DNS: []netip.Addr{addr("10.0.0.3"), addr("10.0.0.4")}, Domain: "example.org", Hostname: "vm1", MTU: 1450,
		Duration: 10 * time.Minute, Server: addr("10.0.0.2"),
		Routes: []testbed.Route{{To: netip.MustParsePrefix("10.0.0.0/24"), Via: addr("0.0.0.0")}, {To: netip.MustParsePrefix("192.0.2.0/24"), Via: addr("10.0.0.254")}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lease\n%+v, want\n%+v", got, want)
	}
	addresses := func() string {
		t.Helper()
		out, err := client.Exec("ip", "-o", "-4", "address", "show", "dev", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := addresses(); !strings.Contains(out, "10.0.0.77/24") || strings.Count(out, "inet ") != 1 {
		t.Errorf("eth0 has %s", out)
	}
	out, err := client.Exec("ip", "route")
	if err != nil || !strings.Contains(out, "192.0.2.0/24 via 10.0.0.254") || strings.Contains(out, "default") {
		t.Errorf("error %v, routes, where option 121 rules out option 3:\n%s", err, out)
	}
	if out, err := client.Exec("ip", "link", "show", "eth0"); err != nil || !strings.Contains(out, "mtu 1450") {
		t.Errorf("error %v, %s", err, out)
	}
	if r, err := client.Ping(addr("10.0.0.2"), 3, 10*time.Millisecond); err != nil || r.Lost() != 0 {
		t.Errorf("ping with the leased address: %v, error %v", r, err)
	}

	want.Event = "renew"
	if got, err := c.Renew(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("renewed\n%+v, error %v, want\n%+v", got, err, want)
	}
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	if out := addresses(); out != "" {
		t.Errorf("after the release eth0 has %s", out)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestDHCPWithoutServer(t *testing.T) {
	testbed.RequireRoot(t)
	_, vm, _ := twoHosts(t)
	start := time.Now()
	lease, err := vm.DHCP()
	if err == nil {
		t.Errorf("a lease from nobody: %+v", lease)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("failed after %s", took)
	}
}

// An IPv6 ping, and a capture with the VLAN tag the kernel had taken off.
func TestCaptureKeepsTags(t *testing.T) {
	testbed.RequireRoot(t)
	_, a, b := twoHosts(t)
	for i, vm := range []*testbed.VM{a, b} {
		if err := vm.AddAddress(netip.MustParsePrefix(fmt.Sprintf("fd00::%d/64", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Ping(netip.MustParseAddr("fd00::2"), 1, 0); err != nil { // neighbour discovery may lose one
		t.Fatal(err)
	}
	if r, err := a.Ping(netip.MustParseAddr("fd00::2"), 5, 10*time.Millisecond); err != nil || r.Lost() != 0 {
		t.Errorf("IPv6: %v, error %v", r, err)
	}
	c, err := a.Capture("eth0", nil)
	if err != nil {
		t.Fatal(err)
	}
	tagged := append(append(append([]byte{}, a.MAC...), b.MAC...), 0x81, 0x00, 0x60, 0x2a, 0x88, 0xb5)
	tagged = append(tagged, make([]byte, 46)...)
	if _, err := a.Host.Ofctl("packet-out", "br-int", fmt.Sprintf("in_port=controller packet=%x actions=output:1", tagged)); err != nil {
		t.Fatal(err)
	}
	seen := func(f testbed.Frame) bool { return !f.Out && string(f.Raw) == string(tagged) }
	for deadline := time.Now().Add(5 * time.Second); !slices.ContainsFunc(c.Frames(), seen) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	frames, err := c.Stop()
	if err != nil || !slices.ContainsFunc(frames, seen) {
		t.Errorf("no %x in %d frames, error %v", tagged, len(frames), err)
	}
	if _, err := a.Capture("nosuch", nil); err == nil {
		t.Error("captured on a device that is not there")
	}
}
