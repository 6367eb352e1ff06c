package dhcp

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/flows"
)

// TestStates walks the client's states of RFC 2131 section 4.3.2 and the other messages.
func TestStates(t *testing.T) {
	const (
		discover, request, decline, release, inform = dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform
		offer, ack, nak                             = dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak
	)
	all, client := "ff:ff:ff:ff:ff:ff", portMAC.String()
	flagged := dhcpv4.WithBroadcast(true)
	for _, c := range []struct {
		name   string
		with   []dhcpv4.Modifier
		m      dhcpv4.MessageType
		want   dhcpv4.MessageType // 0: silence
		yiaddr string
		to     string // MAC ip:port
		err    error
	}{
		{"discover", nil, discover, offer, "10.0.0.5", client + " 10.0.0.5:68", nil},
		{"discover, broadcast flag", []dhcpv4.Modifier{flagged}, discover, offer, "10.0.0.5", all + " 255.255.255.255:68", nil},
		{"discover with another address in mind", []dhcpv4.Modifier{withRequested("10.0.0.9")}, discover, offer, "10.0.0.5", client + " 10.0.0.5:68", nil},
		{"discover, relayed", []dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 77})}, discover, offer, "10.0.0.5", relayMAC.String() + " 10.0.0.77:67", nil},
		{"discover for a pair's MAC", []dhcpv4.Modifier{dhcpv4.WithHwAddr(pairMAC[:])}, discover, offer, "10.0.0.5", pairMAC.String() + " 10.0.0.5:68", nil},
		{"discover for another port's MAC", []dhcpv4.Modifier{dhcpv4.WithHwAddr(otherMAC[:])}, discover, 0, "", "", WrongHardware},
		{"discover for no MAC", []dhcpv4.Modifier{dhcpv4.WithHwAddr(make(net.HardwareAddr, 6))}, discover, 0, "", "", WrongHardware},

		{"selecting", []dhcpv4.Modifier{withServer("10.0.0.2"), withRequested("10.0.0.5")}, request, ack, "10.0.0.5", client + " 10.0.0.5:68", nil},
		{"selecting, broadcast flag", []dhcpv4.Modifier{withServer("10.0.0.2"), withRequested("10.0.0.5"), flagged}, request, ack, "10.0.0.5", all + " 255.255.255.255:68", nil},
		{"selecting another server", []dhcpv4.Modifier{withServer("10.0.0.3"), withRequested("10.0.0.5")}, request, 0, "", "", OtherServer},
		{"selecting an address that the port lost", []dhcpv4.Modifier{withServer("10.0.0.2"), withRequested("10.0.0.6")}, request, nak, "0.0.0.0", all + " 255.255.255.255:68", nil},
		{"selecting an address of elsewhere", []dhcpv4.Modifier{withServer("10.0.0.2"), withRequested("192.0.2.6")}, request, nak, "0.0.0.0", all + " 255.255.255.255:68", nil},
		{"selecting, relayed", []dhcpv4.Modifier{withServer("10.0.0.2"), withRequested("10.0.0.5"), dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 77})}, request, ack, "10.0.0.5", relayMAC.String() + " 10.0.0.77:67", nil},
		{"refused, relayed", []dhcpv4.Modifier{withServer("10.0.0.2"), withRequested("10.0.0.6"), dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 77})}, request, nak, "0.0.0.0", relayMAC.String() + " 10.0.0.77:67", nil},

		{"init-reboot", []dhcpv4.Modifier{withRequested("10.0.0.5")}, request, ack, "10.0.0.5", client + " 10.0.0.5:68", nil},
		{"init-reboot, second address", []dhcpv4.Modifier{withRequested("10.0.1.5")}, request, ack, "10.0.1.5", client + " 10.0.1.5:68", nil},
		{"init-reboot, wrong address of our subnet", []dhcpv4.Modifier{withRequested("10.0.0.6")}, request, nak, "0.0.0.0", all + " 255.255.255.255:68", nil},
		{"init-reboot, address of elsewhere", []dhcpv4.Modifier{withRequested("192.0.2.6")}, request, 0, "", "", OtherAddress},
		{"init-reboot, the port's address without DHCP", []dhcpv4.Modifier{withRequested("10.0.2.5")}, request, 0, "", "", NotServed},
		{"init-reboot, a subnet without DHCP", []dhcpv4.Modifier{withRequested("10.0.2.6")}, request, 0, "", "", OtherAddress},

		{"renewing", []dhcpv4.Modifier{withCiaddr("10.0.0.5")}, request, ack, "10.0.0.5", client + " 10.0.0.5:68", nil},
		{"renewing, broadcast flag", []dhcpv4.Modifier{withCiaddr("10.0.0.5"), flagged}, request, ack, "10.0.0.5", client + " 10.0.0.5:68", nil},
		{"renewing a wrong address", []dhcpv4.Modifier{withCiaddr("10.0.0.6")}, request, nak, "0.0.0.0", all + " 255.255.255.255:68", nil},
		{"request for nothing", nil, request, 0, "", "", Malformed},

		{"inform", []dhcpv4.Modifier{withCiaddr("10.0.0.5")}, inform, ack, "0.0.0.0", client + " 10.0.0.5:68", nil},
		{"inform of another address", []dhcpv4.Modifier{withCiaddr("10.0.0.6")}, inform, 0, "", "", OtherAddress},
		{"release", []dhcpv4.Modifier{withCiaddr("10.0.0.5")}, release, 0, "", "", nil},
		{"offer of a guest", nil, offer, 0, "", "", UnexpectedMessage},
		{"unknown type", nil, 200, 0, "", "", UnexpectedMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(Options{})
			a, err := ask(t, s, punt(), message(t, c.m, c.with...))
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			counts := s.Counts()
			if c.want == 0 {
				if a != nil {
					t.Fatalf("answered with %v", a.MessageType())
				}
				if silence, ok := c.err.(Silence); ok && counts.Silent[silence] != 1 {
					t.Errorf("not counted: %+v", counts)
				}
				return
			}
			if a == nil {
				t.Fatal("no answer")
			}
			if counts.Requests[c.m] != 1 || counts.Answers[c.want] != 1 {
				t.Errorf("not counted: %+v", counts)
			}
			to := fmt.Sprintf("%v %v:%d", a.eth.DstMAC, a.ip.DstIP, uint16(a.udp.DstPort))
			if a.MessageType() != c.want || a.YourIPAddr.String() != c.yiaddr || to != c.to {
				t.Errorf("%v of %v to %s, want %v of %s to %s", a.MessageType(), a.YourIPAddr, to, c.want, c.yiaddr, c.to)
			}
			server := "10.0.0.2"
			if c.yiaddr == "10.0.1.5" {
				server = "10.0.1.2"
			}
			if a.eth.SrcMAC.String() != dhcpMAC.String() || a.ip.SrcIP.String() != server || a.ServerIdentifier().String() != server || a.ip.TTL != 64 || a.udp.SrcPort != 67 {
				t.Errorf("from %v %v (server identifier %v)", a.eth.SrcMAC, a.ip.SrcIP, a.ServerIdentifier())
			}
			if relayed := strings.Contains(c.name, "relayed"); relayed != !a.GatewayIPAddr.IsUnspecified() {
				t.Errorf("giaddr %v", a.GatewayIPAddr)
			} else if relayed && c.want == nak && !a.IsBroadcast() {
				t.Error("the relay was not told to broadcast the refusal")
			}
		})
	}
	t.Run("decline", func(t *testing.T) {
		s := New(Options{})
		a, err := ask(t, s, punt(), message(t, decline, withServer("10.0.0.2"), withRequested("10.0.0.5")))
		if a != nil || err == nil || !strings.Contains(err.Error(), "10.0.0.5") || s.Counts().Requests[Decline] != 1 {
			t.Errorf("%v, %v, %+v", a, err, s.Counts())
		}
	})
}

// TestNotServed: ports that get nothing, whatever they ask for.
func TestNotServed(t *testing.T) {
	for name, change := range map[string]func(p *flows.Punt){
		"network without DHCP port":             func(p *flows.Punt) { p.Network.DHCP = nil },
		"DHCP port without an address there":    func(p *flows.Punt) { p.Network.DHCP.FixedIPs = p.Network.DHCP.FixedIPs[:1] },
		"port without addresses":                func(p *flows.Punt) { p.Port.FixedIPs = nil },
		"addresses in subnets without DHCP":     func(p *flows.Punt) { p.Port.FixedIPs = p.Port.FixedIPs[:2] },
		"DHCP switched off on both its subnets": func(p *flows.Punt) { p.Network.Subnets[0].EnableDHCP, p.Network.Subnets[1].EnableDHCP = false, false },
		"subnet that the view does not have":    func(p *flows.Punt) { p.Network.Subnets = p.Network.Subnets[2:] },
	} {
		t.Run(name, func(t *testing.T) {
			for _, d := range []*dhcpv4.DHCPv4{message(t, dhcpv4.MessageTypeDiscover), message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.5")),
				message(t, dhcpv4.MessageTypeRequest, withCiaddr("10.0.0.5")), message(t, dhcpv4.MessageTypeInform, withCiaddr("10.0.0.5"))} {
				p := punt()
				change(p)
				if a, err := ask(t, New(Options{}), p, d); a != nil || !errors.Is(err, NotServed) {
					t.Errorf("%v: %v, %v", d.MessageType(), a, err)
				}
			}
		})
	}
}

// TestMalformed breaks a good request in one place at a time.
func TestMalformed(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"empty":                   func([]byte) []byte { return nil },
		"ethernet header only":    func(b []byte) []byte { return b[:ethernetLen] },
		"cut in the ip header":    func(b []byte) []byte { return b[:ethernetLen+ipv4Len-1] },
		"cut in the udp header":   func(b []byte) []byte { return b[:ethernetLen+ipv4Len+4] },
		"cut in the message":      func(b []byte) []byte { return b[:headersLen-1] },
		"vlan tag":                func(b []byte) []byte { b[12], b[13] = 0x81, 0; return b },
		"ip version":              func(b []byte) []byte { b[14] = 0x65; return b },
		"ip header length":        func(b []byte) []byte { b[14] = 0x44; return b },
		"ip header past the end":  func(b []byte) []byte { b[14] = 0x4f; return b[:ethernetLen+40] },
		"ip length too small":     func(b []byte) []byte { b[16], b[17] = 0, 20; return b },
		"ip length too big":       func(b []byte) []byte { b[16], b[17] = 0xff, 0xff; return b },
		"ip header checksum":      func(b []byte) []byte { b[24] ^= 1; return b },
		"first fragment":          func(b []byte) []byte { b[20] = 0x20; return b },
		"later fragment":          func(b []byte) []byte { b[21] = 1; return b },
		"tcp":                     func(b []byte) []byte { b[23] = 6; return b },
		"udp length too small":    func(b []byte) []byte { b[38], b[39] = 0, 247; return b },
		"udp length too big":      func(b []byte) []byte { b[38], b[39] = 0xff, 0xff; return b },
		"udp port":                func(b []byte) []byte { b[37] = 68; return b },
		"bootp reply":             func(b []byte) []byte { b[42] = 2; return b },
		"hardware type":           func(b []byte) []byte { b[43] = 6; return b },
		"hardware address length": func(b []byte) []byte { b[44] = 16; return b },
		"magic cookie":            func(b []byte) []byte { b[42+atCookie] ^= 1; return b },
		"option past the end":     func(b []byte) []byte { b[headersLen+1] = 255; return b },
		"message type's length":   func(b []byte) []byte { b[headersLen+1] = 2; return b },
		"no message type":         func(b []byte) []byte { b[headersLen] = optEnd; return b },
		"message type zero":       func(b []byte) []byte { b[headersLen+2] = 0; return b },
		"overloaded file": func(b []byte) []byte {
			copy(b[headersLen:], "\x34\x01\x01\x35\x01\x01\xff")
			b[42+atFile] = 9
			b[42+atFile+1] = 200
			return b
		},
		"overloaded sname": func(b []byte) []byte {
			copy(b[headersLen:], "\x34\x01\x02\x35\x01\x01\xff")
			b[42+atSname] = 50
			b[42+atSname+1] = 3
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := change(packet(t, message(t, dhcpv4.MessageTypeDiscover)))
			if len(b) > ethernetLen+ipv4Len && name != "ip header checksum" {
				fixChecksum(b)
			}
			p, s := punt(), New(Options{})
			p.Packet = b
			err := s.Handle(p, func(frame []byte) { t.Errorf("answered with %x", frame) })
			if !errors.Is(err, Malformed) || s.Counts().Silent[Malformed] != 1 {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestForgiven: oddities of real clients that are no reason to be silent.
func TestForgiven(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"ethernet padding":             func(b []byte) []byte { return append(b, 1, 2, 3) },
		"udp checksum left to the NIC": func(b []byte) []byte { b[40] ^= 0x55; return b },
		"no end option":                func(b []byte) []byte { i := strings.LastIndexByte(string(b), 0xff); b[i] = 0; return b },
		"padding between options":      func(b []byte) []byte { copy(b[headersLen:], "\x00\x00\x35\x01\x01\xff"); return b },
		"message type in file": func(b []byte) []byte {
			copy(b[headersLen:], "\x34\x01\x01\xff")
			copy(b[42+atFile:], "\x35\x01\x01\xff")
			return b
		},
		"message type in sname": func(b []byte) []byte {
			copy(b[headersLen:], "\x34\x01\x03\xff")
			copy(b[42+atSname:], "\x35\x01\x01\xff")
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, answered := punt(), false
			p.Packet = change(packet(t, message(t, dhcpv4.MessageTypeDiscover)))
			if err := New(Options{}).Handle(p, func(frame []byte) { answered = decode(t, frame).MessageType() == dhcpv4.MessageTypeOffer }); err != nil || !answered {
				t.Errorf("not answered: %v", err)
			}
		})
	}
}
