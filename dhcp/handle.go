package dhcp

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// Handle answers one request of any kind, or says why not: the error is a Silence, or wraps one, or tells of an
// address that the client found in use.
func (s *Server) Handle(p *flows.Punt, reply func(frame []byte)) error {
	err := s.handle(p, reply)
	if err != nil {
		var silence Silence
		if errors.As(err, &silence) {
			s.counters.silent[silence].Add(1)
		}
	}
	return err
}

// InUse is the error of a client that found an address of its port in use by another machine.
type InUse struct {
	Address netip.Addr
	Message string // that said so
}

func (e InUse) Error() string {
	return fmt.Sprintf("%s is in use by another machine, the client found (%s)", e.Address, e.Message)
}

func (s *Server) handle(p *flows.Punt, reply func(frame []byte)) error {
	switch p.Op {
	case flows.OpDHCPv6:
		return s.handleIPv6(p, reply)
	case flows.OpRouterSolicitation:
		return s.solicited(p, reply)
	}
	var r request
	if err := r.parse(p.Packet); err != nil {
		return err
	}
	switch r.message {
	case Discover, Request, Decline, Release, Inform:
		s.counters.requests[r.message].Add(1)
	default:
		return UnexpectedMessage
	}
	if !hasMAC(p.Port.Port, r.chaddr) {
		return WrongHardware
	}
	switch r.message {
	case Discover:
		l, ok := find(p, r.requested, r.giaddr)
		if !ok {
			return NotServed
		}
		s.answer(p, &r, l, Offer, reply)
		return nil
	case Request:
		return s.request(p, &r, reply)
	case Inform:
		return s.inform(p, &r, reply)
	case Decline:
		return InUse{Address: r.requested, Message: Decline.String()}
	}
	return nil // Release: the address stays the port's
}

// request answers a DHCPREQUEST (RFC 2131 section 4.3.2), whose address is in option 50 while the
// client has none (SELECTING, INIT-REBOOT), else in ciaddr (RENEWING, REBINDING).
//
// Refusing sends a client back to the start, so it is done only where the answer is surely ours to
// give: where the client chose us, or for an address of a subnet that we serve. A client that starts with
// an address of elsewhere (a disk image that ran on another network) could be refused, too, as RFC 2131 has
// it; but we never gave that address, the client gives it up by itself, and an address that a server out of
// our sight gave, to a nested guest or by way of a relay, must not be taken away.
func (s *Server) request(p *flows.Punt, r *request, reply func(frame []byte)) error {
	want := r.ciaddr
	if want.IsUnspecified() {
		want = r.requested
	}
	if !want.IsValid() {
		return malformed("DHCPREQUEST without an address")
	}
	l, ok := find(p, want, r.giaddr)
	if !ok {
		return NotServed
	}
	chosen := false
	if r.server.IsValid() {
		for server := range servers(p.Network) {
			chosen = chosen || server == r.server
		}
		if !chosen {
			return OtherServer
		}
	}
	switch {
	case l.address == want:
		s.answer(p, r, l, ACK, reply)
	case hasAddress(p.Port.Port, want): // in a subnet without DHCP
		return NotServed
	case chosen || serves(p.Network, want):
		s.answer(p, r, l, NAK, reply)
	default:
		return OtherAddress
	}
	return nil
}

// inform answers a client that has its address already (RFC 2131 section 4.3.5).
func (s *Server) inform(p *flows.Punt, r *request, reply func(frame []byte)) error {
	l, ok := find(p, r.ciaddr, r.giaddr)
	switch {
	case !ok:
		return NotServed
	case l.address != r.ciaddr:
		return OtherAddress
	}
	s.answer(p, r, l, ACK, reply)
	return nil
}

// hasMAC says whether the port may use mac.
func hasMAC(p *model.Port, mac model.MAC) bool {
	if p.MACAddress == mac {
		return true
	}
	for _, pair := range p.AllowedAddressPairs {
		if pair.MACAddress == mac && mac != (model.MAC{}) {
			return true
		}
	}
	return false
}

func hasAddress(p *model.Port, address netip.Addr) bool {
	for _, f := range p.FixedIPs {
		if f.IPAddress == address {
			return true
		}
	}
	return false
}

// serves says whether address is in a subnet of the network that DHCP is answered on.
func serves(n *flows.Network, address netip.Addr) bool {
	for _, s := range servers(n) {
		if s.CIDR.Contains(address) {
			return true
		}
	}
	return false
}
