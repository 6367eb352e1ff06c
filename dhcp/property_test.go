package dhcp

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// verifyAnswer checks what holds for every answer, whatever was asked.
func verifyAnswer(t tb, p *flows.Punt, frame []byte) *answer {
	t.Helper()
	a := decode(t, frame)
	yours, _ := netip.AddrFromSlice(a.YourIPAddr)
	if !yours.IsUnspecified() && !hasAddress(p.Port.Port, yours) {
		t.Fatalf("port was given %v", yours)
	}
	if a.MessageType() == dhcpv4.MessageTypeOffer && yours.IsUnspecified() {
		t.Fatal("offer of nothing")
	}
	if !hasMAC(p.Port.Port, model.MAC(a.ClientHWAddr)) {
		t.Fatalf("answer for %v", a.ClientHWAddr)
	}
	if max := max(minDatagram, p.Network.MTU); int(a.ip.Length) > max {
		t.Fatalf("datagram of %d bytes, at most %d fit", a.ip.Length, max)
	}
	if a.OpCode != dhcpv4.OpcodeBootReply || a.ServerIdentifier() == nil || a.ip.SrcIP.String() != a.ServerIdentifier().String() {
		t.Fatalf("%v from %v", a, a.ip.SrcIP)
	}
	return a
}

// TestOwnAddressOnly: no request makes the server give, or confirm, an address that is not the port's,
// nor refuse one that is.
func TestOwnAddressOnly(t *testing.T) {
	s := New(Options{})
	rapid.Check(t, func(t *rapid.T) {
		p := punt()
		p.Port.FixedIPs = rapid.Permutation(p.Port.FixedIPs).Draw(t, "fixed_ips")[:rapid.IntRange(0, 4).Draw(t, "addresses")]
		address := rapid.SampledFrom([]string{"", "10.0.0.2", "10.0.0.5", "10.0.0.6", "10.0.1.5", "10.0.1.6", "10.0.2.5", "10.0.2.6", "192.0.2.1", "255.255.255.255"})
		var with []dhcpv4.Modifier
		ciaddr, requested, server := address.Draw(t, "ciaddr"), address.Draw(t, "requested"), rapid.SampledFrom([]string{"", "10.0.0.2", "10.0.1.2", "10.0.2.2"}).Draw(t, "server")
		if ciaddr != "" {
			with = append(with, withCiaddr(ciaddr))
		}
		if requested != "" {
			with = append(with, withRequested(requested))
		}
		if server != "" {
			with = append(with, withServer(server))
		}
		mac := rapid.SampledFrom([]model.MAC{portMAC, pairMAC, otherMAC, dhcpMAC, {}}).Draw(t, "chaddr")
		with = append(with, dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithBroadcast(rapid.Bool().Draw(t, "broadcast")))
		if giaddr := address.Draw(t, "giaddr"); giaddr != "" {
			with = append(with, dhcpv4.WithGatewayIP(ip(addr(giaddr))))
		}
		kind := dhcpv4.MessageType(rapid.IntRange(0, 9).Draw(t, "type"))
		p.Packet = packet(t, message(t, kind, with...))
		_ = s.Handle(p, func(frame []byte) {
			a := verifyAnswer(t, p, frame)
			asked := requested
			if ciaddr != "" {
				asked = ciaddr
			}
			switch a.MessageType() {
			case dhcpv4.MessageTypeAck:
				if kind == dhcpv4.MessageTypeRequest && a.YourIPAddr.String() != asked || !hasAddress(p.Port.Port, addr(asked)) {
					t.Fatalf("%v of %v confirmed, asked for %s", kind, a.YourIPAddr, asked)
				}
			case dhcpv4.MessageTypeNak:
				if hasAddress(p.Port.Port, addr(asked)) {
					t.Fatalf("the port's own address %s refused", asked)
				}
			}
		})
	})
}

// FuzzHandle feeds any frame to the handler.
func FuzzHandle(f *testing.F) {
	f.Add(packet(f, message(f, dhcpv4.MessageTypeDiscover)))
	f.Add(packet(f, message(f, dhcpv4.MessageTypeRequest, withServer("10.0.0.2"), withRequested("10.0.0.5"), parameters(1, 3, 121))))
	f.Add(packet(f, message(f, dhcpv4.MessageTypeRequest, withCiaddr("10.0.0.6"), dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(600)))))
	f.Add(packet(f, message(f, dhcpv4.MessageTypeInform, withCiaddr("10.0.0.5"), dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, bytes.Repeat([]byte{9}, 255)))))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > ethernetLen+ipv4Len {
			fixChecksum(frame) // or nothing would come past it
		}
		handleFuzzed(t, frame)
	})
}

// FuzzOptions feeds any options, in all three fields, to the handler.
func FuzzOptions(f *testing.F) {
	f.Add([]byte("\x35\x01\x03\x32\x04\x0a\x00\x00\x05\xff"), []byte{}, []byte{})
	f.Add([]byte("\x34\x01\x03\x39\x02\x04\x00\xff"), []byte("\x35\x01\x01\xff"), []byte("\x37\x02\x01\x79\xff"))
	f.Add([]byte("\x00\x34\x01\x02\x52\x03\x01\x01\x09"), []byte{}, []byte("\x3d\x02\x00\x01\x35\x01\x08"))
	template := message(f, dhcpv4.MessageTypeDiscover).ToBytes()[:bootpLen]
	f.Fuzz(func(t *testing.T, options, file, sname []byte) {
		b := append(bytes.Clone(template), options[:min(len(options), 1200)]...)
		copy(b[atFile:atCookie], file)
		copy(b[atSname:atFile], sname)
		handleFuzzed(t, datagram(t, broadcastClient, b))
	})
}

// handleFuzzed has a frame handled, and the answer verified if there is one.
func handleFuzzed(t *testing.T, frame []byte) {
	p := punt()
	p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{{Name: "bootfile-name", Value: "pxelinux.0"}, {Name: "121", Value: "10.1.0.0/16,10.0.0.9"}}
	manyRoutes(p, 8)
	p.Packet = frame
	answers := 0
	err := New(Options{}).Handle(p, func(frame []byte) { answers++; verifyAnswer(t, p, frame) })
	if answers > 1 || answers == 1 && err != nil {
		t.Fatalf("%d answers and %v", answers, err)
	}
}

// FuzzExtraOption: what the check accepts is encoded, and nothing else is.
func FuzzExtraOption(f *testing.F) {
	for name := range extraNames.codes {
		f.Add(name, "10.0.0.1,10.0.0.2")
	}
	f.Add("121", "10.1.0.0/16,10.0.0.1,")
	f.Add("119", "a.b,c")
	f.Add("224", "01:02")
	f.Add("client-id", "\x04")
	f.Fuzz(func(t *testing.T, name, value string) {
		if len(value) > 255 {
			return
		}
		p, s := punt(), New(Options{})
		e := model.ExtraDHCPOpt{Name: name, Value: value, IPVersion: 4}
		p.Port.ExtraDHCPOpts = []model.ExtraDHCPOpt{e}
		p.Packet = packet(t, message(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500))))
		err := s.Handle(p, func(frame []byte) { verifyAnswer(t, p, frame) })
		if err != nil {
			t.Fatal(err)
		}
		n, ok := extraNames.parse(name)
		sent := value != "" && !(ok && extraNames.forms[n.code] == identity)
		if refused := CheckExtraOption(e) != nil; sent && refused != (s.Counts().Omitted > 0) {
			t.Errorf("%q=%q: refused %v, omitted %d", name, value, refused, s.Counts().Omitted)
		}
	})
}

// TestConcurrent: one server answers for many hosts at the same time.
func TestConcurrent(t *testing.T) {
	const clients, requests = 8, 200
	s := New(Options{})
	var wg sync.WaitGroup
	for i := range clients {
		p := punt()
		own := netip.AddrFrom4([4]byte{10, 0, 0, byte(50 + i)})
		p.Port.FixedIPs = []model.FixedIP{{SubnetID: id(10), IPAddress: own}}
		p.Packet = packet(t, message(t, dhcpv4.MessageTypeDiscover))
		wg.Go(func() {
			for range requests {
				if err := s.Handle(p, func(frame []byte) {
					if d, err := dhcpv4.FromBytes(frame[headersLen-bootpLen:]); err != nil || d.YourIPAddr.String() != own.String() {
						t.Errorf("%v, %v: want %v", d, err, own)
					}
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if c := s.Counts(); c.Requests[Discover] != clients*requests || c.Answers[Offer] != clients*requests {
		t.Errorf("%+v", c)
	}
}

func BenchmarkHandle(b *testing.B) {
	s := New(Options{Domain: "openstacklocal"})
	for name, d := range map[string]*dhcpv4.DHCPv4{
		"discover": message(b, dhcpv4.MessageTypeDiscover, parameters(1, 28, 2, 3, 15, 6, 12, 121, 249, 26, 42)),
		"renew":    message(b, dhcpv4.MessageTypeRequest, withCiaddr("10.0.0.5")),
	} {
		b.Run(name, func(b *testing.B) {
			p := punt()
			p.Packet = packet(b, d)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Handle(p, func([]byte) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
