package metadata

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

var (
	portMAC    = model.MAC{0xfa, 0x16, 0x3e, 0, 0, 5}
	gatewayMAC = model.MAC{0xfa, 0x16, 0x3e, 0, 0, 1}
)

func addr(s string) netip.Addr          { return netip.MustParseAddr(s) }
func id(first, last byte) (u uuid.UUID) { u[0], u[15] = first, last; return u }
func common(first, last byte) model.Common {
	return model.Common{ID: id(first, last), ProjectID: "project"}
}

// deployment has networks that all have the same addresses, with one port each: 10.0.0.5.
func deployment(networks int) *flows.View {
	v := &flows.View{Host: &model.Host{ID: id(0x50, 1).String()}}
	for i := range networks {
		n := byte(i + 1)
		subnet := &model.Subnet{Common: common(0x30, n), CIDR: netip.MustParsePrefix("10.0.0.0/24"), EnableDHCP: true, GatewayIP: addr("10.0.0.1"),
			DNSNameservers: []netip.Addr{addr("9.9.9.9")}}
		subnet6 := &model.Subnet{Common: common(0x31, n), CIDR: netip.MustParsePrefix("2001:db8::/64"), GatewayIP: addr("2001:db8::1"), DNSNameservers: []netip.Addr{addr("9.9.9.9"), addr("2620:fe::fe")},
			HostRoutes: []model.Route{{Destination: netip.MustParsePrefix("2001:db8:1::/48"), Nexthop: addr("2001:db8::2")}}}
		port := &flows.LocalPort{Key: uint32(10 + i), OFPort: uint32(10 + i), Port: &model.Port{Common: common(0xa0, n), NetworkID: id(0x20, n), MACAddress: portMAC,
			DeviceID: id(0xb0, n).String(), FixedIPs: []model.FixedIP{{SubnetID: subnet.ID, IPAddress: addr("10.0.0.5")}, {SubnetID: subnet6.ID, IPAddress: addr("2001:db8::5")}}}}
		v.Networks = append(v.Networks, &flows.Network{Network: &model.Network{Common: common(0x20, n), MTU: 1450}, LocalVLAN: uint16(n),
			Subnets: []*model.Subnet{subnet, subnet6}, Local: []*flows.LocalPort{port}})
	}
	return v
}

// tester is what a test, a benchmark and a fuzz target have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

// serve makes a server that runs until the test ends.
func serve(t tester, o Options) *Server {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Fatal("the server ended with", err)
		}
	})
	return s
}

// guest is a machine with a TCP stack of its own, whose checksums the network card would finish, and
// which drops packets with wrong ones.
type guest struct {
	stack  *stack.Stack
	http   *http.Client
	link   *channel.Endpoint
	server atomic.Pointer[Server] // of the controller that the machine's switch knows
}

// boot starts a machine behind a port. What it sends is punted at once.
func boot(t tester, s *Server, v *flows.View, n *flows.Network, p *flows.LocalPort, mtu uint32) *guest {
	t.Helper()
	g := &guest{
		stack: stack.New(stack.Options{NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol}, TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol}}),
		link:  channel.New(4096, mtu, ""),
	}
	g.server.Store(s)
	g.link.LinkEPCapabilities = stack.CapabilityTXChecksumOffload
	if err := g.stack.CreateNIC(nic, g.link); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.0.0.5", "fe80::f816:3eff:fe00:5"} {
		version := ipv4.ProtocolNumber
		if addr(a).Is6() {
			version = ipv6.ProtocolNumber
		}
		address := tcpip.ProtocolAddress{Protocol: version, AddressWithPrefix: tcpip.AddrFromSlice(addr(a).AsSlice()).WithPrefix()}
		if err := g.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	g.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		version := ipv4.ProtocolNumber
		if to.Addr().Is6() {
			version = ipv6.ProtocolNumber
		}
		return gonet.DialContextTCP(ctx, g.stack, tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()}, version)
	}}}
	reply := func(frame []byte) {
		version := tcpip.NetworkProtocolNumber(frame[12])<<8 | tcpip.NetworkProtocolNumber(frame[13])
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[ethernetLen:])})
		g.link.InjectInbound(version, packet)
		packet.DecRef()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for packet := g.link.ReadContext(ctx); packet != nil; packet = g.link.ReadContext(ctx) {
			frame := append(append([]byte(nil), gatewayMAC[:]...), portMAC[:]...)
			frame = append(frame, byte(packet.NetworkProtocolNumber>>8), byte(packet.NetworkProtocolNumber))
			for _, piece := range packet.AsSlices() {
				frame = append(frame, piece...)
			}
			if packet.TransportProtocolNumber == tcp.ProtocolNumber {
				_ = g.server.Load().Handle(&flows.Punt{Op: flows.OpMetadata, View: v, Network: n, Port: p, Packet: frame}, reply)
			}
			packet.DecRef()
		}
	}()
	t.Cleanup(func() {
		g.http.CloseIdleConnections()
		cancel()
		<-done
		g.stack.Destroy()
	})
	return g
}

// bootAll starts a machine on each network.
func bootAll(t tester, s *Server, v *flows.View) (guests []*guest) {
	for _, n := range v.Networks {
		guests = append(guests, boot(t, s, v, n, n.Local[0], uint32(n.MTU)))
	}
	return guests
}

const (
	overIPv4 = "http://169.254.169.254"
	overIPv6 = "http://[fe80::a9fe:a9fe]"
)

// ask makes a request and gives the status with the body.
func (g *guest) ask(method, url string, h http.Header, body io.Reader) (int, string, error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return 0, "", err
	}
	if h != nil {
		r.Header = h
	}
	resp, err := g.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// get is what there is at a path, over IPv4.
func (g *guest) get(t *testing.T, path string) string {
	t.Helper()
	status, body, err := g.ask("GET", overIPv4+path, nil, nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d, %v, %s", path, status, err, body)
	}
	return body
}

// Machines of networks with the same addresses are told apart, over both versions of IP, whichever
// connection they use and all at once.
func TestSameAddresses(t *testing.T) {
	t.Parallel()
	v := deployment(20)
	s := serve(t, Options{})
	guests := bootAll(t, s, v)
	failed := make(chan error, len(guests))
	for i, g := range guests {
		go func() {
			failed <- func() error {
				for j := range 10 {
					g.http.Transport.(*http.Transport).DisableKeepAlives = j%2 == 0
					for _, base := range []string{overIPv4, overIPv6} {
						status, body, err := g.ask("GET", base+"/openstack/latest/meta_data.json", nil, nil)
						if want := `"uuid":"` + id(0xb0, byte(i+1)).String() + `"`; err != nil || status != 200 || !strings.Contains(body, want) {
							return fmt.Errorf("guest %d: %d, %v, %s; want %s", i, status, err, body, want)
						}
					}
				}
				return nil
			}()
		}()
	}
	for range guests {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if c := s.Counts(); c.Answers[200] != uint64(20*len(guests)) || c.Refused != 0 || c.Silent != [silences]uint64{} {
		t.Errorf("counted %+v", c)
	}
}

// When the server ends, machines are told that their connections are over.
func TestFarewell(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	v := deployment(1)
	n := v.Networks[0]
	g := boot(t, s, v, n, n.Local[0], uint32(n.MTU))
	dial := g.http.Transport.(*http.Transport).DialContext
	var open []net.Conn
	for i := range 10 {
		c, err := dial(t.Context(), "tcp", "169.254.169.254:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if i%2 == 0 { // it was used
			fmt.Fprint(c, "GET /latest HTTP/1.1\r\nHost: metadata\r\n\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
		}
		open = append(open, c)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i, c := range open {
		var end net.Error
		if _, err := io.Copy(io.Discard, c); errors.As(err, &end) && end.Timeout() {
			t.Errorf("connection %d does not end", i)
		}
	}
}
