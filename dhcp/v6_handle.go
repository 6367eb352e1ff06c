package dhcp

import (
	"bytes"
	"net/netip"

	"github.com/tunbridge/tunbridge/flows"
)

// handleIPv6 answers one DHCPv6 message (RFC 8415 section 18.3), or says why not. The client is known by
// its port: its DUID is only handed back.
func (s *Server) handleIPv6(p *flows.Punt, reply func(frame []byte)) error {
	var r v6Request
	if err := r.parse(p.Packet); err != nil {
		return err
	}
	if !r.message.fromClient() {
		return UnexpectedMessage
	}
	s.counters.v6.requests[r.message].Add(1)
	if err := r.verify(p); err != nil {
		return err
	}
	if !v6Address(p).IsValid() {
		return NotServed
	}
	answer := V6Reply
	switch r.message {
	case V6Solicit:
		if !r.rapidCommit || !hasAssigned(p, netip.Addr{}) {
			answer = V6Advertise
		}
	case V6Confirm:
		if !r.namesAddress() {
			return malformed("%s without an address", r.message)
		}
	}
	s.v6Answer(p, &r, answer, reply)
	if r.message == V6Decline {
		return InUse{Address: r.firstAddress(), Message: "DHCPv6 " + V6Decline.String()}
	}
	return nil
}

// verify checks who the message is from and for (RFC 8415 section 16).
func (r *v6Request) verify(p *flows.Punt) error {
	switch r.message {
	case V6Solicit, V6Confirm, V6Rebind:
		if r.server != nil {
			return malformed("%s to a server of the client's choice", r.message)
		}
	case V6Request, V6Renew, V6Release, V6Decline:
		if r.server == nil {
			return malformed("%s to no server", r.message)
		}
	case V6InformationRequest:
		if r.associates {
			return malformed("%s with an identity association", r.message)
		}
	}
	if r.client == nil && r.message != V6InformationRequest {
		return malformed("%s without a DUID", r.message)
	}
	if id := serverDUID(p.Network); r.server != nil && !bytes.Equal(r.server, id[:]) {
		return OtherServer
	}
	return nil
}

// firstAddress is the first address that the client names; the zero Addr: none.
func (r *v6Request) firstAddress() netip.Addr {
	for rest := r.options; len(rest) > 0; {
		var code uint16
		var value []byte
		if code, value, rest, _ = v6NextOption(rest); code != v6OptIANA {
			continue
		}
		if address, _ := v6NextAddress(value[12:]); address.IsValid() {
			return address
		}
	}
	return netip.Addr{}
}

func (r *v6Request) namesAddress() bool { return r.firstAddress().IsValid() }

// serverDUID is the server's identifier on a network: the network's UUID (RFC 6355), so that it is the
// same from any controller at any time.
func serverDUID(n *flows.Network) (id [18]byte) {
	id[1] = 4 // DUID-UUID
	copy(id[2:], n.ID[:])
	return id
}
