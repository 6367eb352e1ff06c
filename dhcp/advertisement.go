package dhcp

import (
	"encoding/binary"
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// ICMPv6 types (RFC 4861).
const (
	routerSolicitation  = 133
	routerAdvertisement = 134
)

// Options of a router advertisement by their numbers in RFC 4861, and RFC 8106 (25, 31).
const (
	ndSourceMAC = 1
	ndPrefix    = 3
	ndMTU       = 5
	ndServers   = 25
	ndDomains   = 31
)

// Bits of a router advertisement (RFC 4861 section 4.2), and of a prefix in it (section 4.6.2).
const (
	raManaged        = 0x80 // addresses are given by DHCPv6
	raOther          = 0x40 // other configuration is
	prefixOnLink     = 0x80
	prefixAutonomous = 0x40 // clients make addresses of it
)

// How long what is advertised holds, in seconds: the defaults of RFC 4861 section 6.2.1. They are long
// on purpose. Guests keep their addresses and name servers while there is no controller to advertise them.
const (
	validLifetime     = 30 * 24 * 60 * 60
	preferredLifetime = 7 * 24 * 60 * 60
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = model.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// Announce is the router advertisement of a network with an ipv6_ra_mode; else nil. It says how guests
// get their addresses, and that nobody here is a router.
func (s *Server) Announce(n *flows.Network) (frame []byte) {
	if n.DHCP == nil {
		return nil
	}
	for _, subnet := range n.Subnets {
		if advertises(subnet) {
			return s.appendAdvertisement(nil, n)
		}
	}
	return nil
}

// solicited answers a router solicitation (RFC 4861 section 6.2.6) with the same advertisement that all
// get, whoever asked.
func (s *Server) solicited(p *flows.Punt, reply func(frame []byte)) error {
	if err := parseSolicitation(p.Packet); err != nil {
		return err
	}
	s.counters.v6.solicitations.Add(1)
	b := frames.Get().(*[]byte)
	defer frames.Put(b)
	*b = s.appendAdvertisement((*b)[:0], p.Network)
	reply(*b)
	s.counters.v6.advertisements.Add(1)
	return nil
}

// parseSolicitation reads a frame that holds a router solicitation (RFC 4861 section 6.1.1).
func parseSolicitation(frame []byte) error {
	_, _, icmp, err := parseIPv6(frame, protocolICMPv6)
	const header = 8
	switch {
	case err != nil:
		return err
	case frame[ethernetLen+7] != 255:
		return malformed("router solicitation with hop limit %d", frame[ethernetLen+7])
	case len(icmp) < header:
		return malformed("router solicitation of %d bytes", len(icmp))
	case icmp[0] != routerSolicitation || icmp[1] != 0:
		return malformed("icmpv6 type %d, code %d", icmp[0], icmp[1])
	}
	return nil
}

// appendAdvertisement appends the frame of a network's router advertisement (RFC 4861 section 4.2).
func (s *Server) appendAdvertisement(frame []byte, n *flows.Network) []byte {
	start := len(frame)
	frame = append(frame, zeros[:ethernetLen+ipv6Len]...)
	icmp := len(frame)
	frame = append(frame, routerAdvertisement, 0, 0, 0, hopLimit, 0)
	frame = append(frame, zeros[:10]...) // no default router; reachable time and retransmissions as the guest likes

	mac := n.DHCP.MACAddress
	frame = append(append(frame, ndSourceMAC, 1), mac[:]...)
	frame = binary.BigEndian.AppendUint32(append(frame, ndMTU, 1, 0, 0), uint32(n.MTU))
	limit := start + ethernetLen + max(minDatagramIPv6, n.MTU)
	for _, subnet := range n.Subnets {
		if !advertises(subnet) {
			continue
		}
		bits := byte(prefixOnLink)
		switch subnet.IPv6RAMode {
		case model.SLAAC:
			bits |= prefixAutonomous
		case model.DHCPv6Stateless:
			bits |= prefixAutonomous
			frame[icmp+5] |= raOther
		case model.DHCPv6Stateful:
			frame[icmp+5] |= raManaged | raOther
		}
		if len(frame)+32 > limit {
			s.counters.omitted.Add(1)
			continue
		}
		frame = append(frame, ndPrefix, 4, byte(subnet.CIDR.Bits()), bits)
		frame = binary.BigEndian.AppendUint32(frame, validLifetime)
		frame = binary.BigEndian.AppendUint32(frame, preferredLifetime)
		frame = appendIPv6(append(frame, 0, 0, 0, 0), subnet.CIDR.Masked().Addr())
	}
	frame = s.appendResolvers(frame, n, limit)
	sealIPv6(frame[start:], mac, allNodesMAC, allNodes, protocolICMPv6, 255)
	sumIPv6(frame[start:], frame[icmp+2:])
	return frame
}

// appendResolvers appends the name servers of the advertised subnets and the search domain (RFC 8106
// section 5), as long as they fit.
func (s *Server) appendResolvers(frame []byte, n *flows.Network, limit int) []byte {
	at := len(frame)
	frame = binary.BigEndian.AppendUint32(append(frame, ndServers, 0, 0, 0), preferredLifetime)
	servers := len(frame)
	for _, subnet := range n.Subnets {
		if advertises(subnet) {
			frame = appendNameserversIPv6(frame, servers, subnet.DNSNameservers)
		}
	}
	frame = s.closeND(frame, at, 8, limit)

	at = len(frame)
	frame = binary.BigEndian.AppendUint32(append(frame, ndDomains, 0, 0, 0), preferredLifetime)
	if domain := s.domainOf(n); domain != "" {
		if named, err := appendDomains(frame, domain); err == nil {
			frame = named
		}
	}
	return s.closeND(frame, at, 8, limit)
}

// closeND completes an option of neighbour discovery that begins at start: it is as long as a number of
// 8 bytes says (RFC 4861 section 4.6). One with nothing behind its header is taken back, and one that
// does not fit.
func (s *Server) closeND(frame []byte, start, header, limit int) []byte {
	for (len(frame)-start)%8 != 0 {
		frame = append(frame, 0)
	}
	units := (len(frame) - start) / 8
	switch {
	case len(frame)-start == header:
		return frame[:start]
	case len(frame) > limit || units > 255:
		s.counters.omitted.Add(1)
		return frame[:start]
	}
	frame[start+1] = byte(units)
	return frame
}
