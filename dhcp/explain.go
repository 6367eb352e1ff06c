package dhcp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/tunbridge/tunbridge/flows"
)

// Exchange tells of one request and what became of it.
type Exchange struct {
	Request  string // the message's type, with the client's state for a DHCPREQUEST
	Decision string // the answer's type, or "silence"
	Reason   string
	// Both messages, a line for each field and option; nil where there is none that can be read.
	RequestText, AnswerText []string
}

// Explain tells of a request that was handled with this answer, empty for none, and this error.
func (s *Server) Explain(p *flows.Punt, answer []byte, err error) Exchange {
	x := Exchange{RequestText: Text(p.Packet), AnswerText: Text(answer)}
	x.Request, _ = nameOf(p.Op, p.Packet)
	var ok bool
	if x.Decision, ok = nameOf(p.Op, answer); !ok {
		x.Decision = "silence"
	}
	switch {
	case err != nil:
		x.Reason = err.Error()
	case p.Op == flows.OpDHCPv4:
		var r request
		if r.parse(p.Packet) == nil {
			x.Reason = r.reason(answer)
			if r.message == Request {
				x.Request += " (" + r.state() + ")"
			}
		}
	case p.Op == flows.OpDHCPv6:
		x.Reason = "as the port's fixed_ips and the modes of their subnets say"
	case p.Op == flows.OpRouterSolicitation:
		x.Reason = "as the ipv6_ra_mode of the network's subnets says"
	}
	return x
}

// nameOf is what the message in a frame is called; ok is false if it is no message of the operation.
func nameOf(op flows.Op, frame []byte) (name string, ok bool) {
	switch op {
	case flows.OpDHCPv4:
		if m, ok := messageOf(frame); ok && m.MessageType() != 0 {
			return MessageType(m.MessageType()).String(), true
		}
		return "not a DHCP message", false
	case flows.OpDHCPv6:
		if _, _, udp, err := parseIPv6(frame, protocolUDP); err == nil && len(udp) > udpLen {
			return "DHCPv6 " + V6Message(udp[udpLen]).String(), true
		}
		return "not a DHCPv6 message", false
	}
	if _, _, icmp, err := parseIPv6(frame, protocolICMPv6); err == nil && len(icmp) > 0 {
		if icmp[0] == routerAdvertisement {
			return "router advertisement", true
		}
		return "router solicitation", true
	}
	return "not a router solicitation", false
}

// state names the client's state (RFC 2131 section 4.3.2).
func (r *request) state() string {
	switch {
	case !r.ciaddr.IsUnspecified():
		return "RENEWING or REBINDING " + r.ciaddr.String()
	case r.server.IsValid():
		return "SELECTING " + r.requested.String()
	}
	return "INIT-REBOOT with " + r.requested.String()
}

// reason says why the answer is what it is.
func (r *request) reason(answer []byte) string {
	m, _ := messageOf(answer)
	switch {
	case r.message == Release:
		return "a DHCPRELEASE has no answer; the address stays the port's"
	case m == nil:
		return ""
	case MessageType(m.MessageType()) == NAK && r.ciaddr.IsUnspecified():
		return r.requested.String() + " is not the port's address"
	case MessageType(m.MessageType()) == NAK:
		return r.ciaddr.String() + " is not the port's address"
	case r.message == Inform:
		return r.ciaddr.String() + " is the port's address: it is told the rest"
	}
	return m.YourIPAddr.String() + " is the port's address in a subnet with enable_dhcp"
}

// messageOf reads the DHCP message of a frame.
func messageOf(frame []byte) (*dhcpv4.DHCPv4, bool) {
	if len(frame) < ethernetLen+ipv4Len || frame[12] != 8 || frame[13] != 0 {
		return nil, false
	}
	at := ethernetLen + int(frame[ethernetLen]&0x0f)*4 + udpLen
	if at > len(frame) {
		return nil, false
	}
	m, err := dhcpv4.FromBytes(frame[at:])
	return m, err == nil
}

// Text is a frame with DHCP, or DHCPv6, as a person reads it, a line for each field and option; nil if
// there is none, or none that can be read.
func Text(frame []byte) []string {
	var text string
	if m, ok := messageOf(frame); ok {
		text = m.Summary()
	} else if _, _, udp, err := parseIPv6(frame, protocolUDP); err == nil && len(udp) > udpLen {
		m, err := dhcpv6.FromBytes(udp[udpLen:])
		if err != nil {
			return nil
		}
		text = m.Summary()
	} else {
		return nil
	}
	return strings.Split(strings.TrimSpace(text), "\n")
}

// Lease is what a port gets.
type Lease struct {
	Address  netip.Addr
	Server   netip.Addr    // the DHCP port's address in the same subnet
	Duration time.Duration // negative: for ever
	Offer    []byte        // the frame that answers a DHCPDISCOVER which asks for every option
}

// Lease says what the port gets if it asks now. The error is a reason in words, and wraps NotServed.
func (s *Server) Lease(n *flows.Network, port *flows.LocalPort) (Lease, error) {
	p := &flows.Punt{Op: flows.OpDHCPv4, Network: n, Port: port}
	l, ok := find(p, netip.Addr{}, netip.Addr{})
	if !ok {
		return Lease{}, whyNotServed(p)
	}
	unspecified := netip.IPv4Unspecified()
	r := request{message: Discover, source: port.MACAddress, chaddr: port.MACAddress, ciaddr: unspecified, giaddr: unspecified}
	d := time.Duration(s.lease) * time.Second
	if s.lease == infinite {
		d = -1
	}
	offer, _ := s.appendReply(nil, p, &r, l, Offer)
	return Lease{l.address, l.server, d, offer}, nil
}

// whyNotServed says why no address of a port is served.
func whyNotServed(p *flows.Punt) error {
	var reasons []string
	for _, f := range p.Port.FixedIPs {
		switch s := p.Network.Subnet(f.SubnetID); {
		case !f.IPAddress.Is4():
		case s == nil:
			reasons = append(reasons, fmt.Sprintf("%s is in no subnet of the network", f.IPAddress))
		case !s.EnableDHCP:
			reasons = append(reasons, fmt.Sprintf("enable_dhcp is false on subnet %s (%s) of %s", s.CIDR, s.ID, f.IPAddress))
		default:
			reasons = append(reasons, fmt.Sprintf("the network's DHCP port has no address in subnet %s (%s)", s.CIDR, s.ID))
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"the port has no IPv4 address: see its fixed_ips"}
	}
	return notServed(strings.Join(reasons, "; "))
}

// notServed is NotServed in other words.
type notServed string

func (e notServed) Error() string { return string(e) }
func (notServed) Unwrap() error   { return NotServed }
