package dhcp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// Options by their numbers in RFC 2132, and RFC 3004 (77), RFC 4702 (81), RFC 3046 (82), RFC 3442 (121).
const (
	optPad              = 0
	optSubnetMask       = 1
	optRouter           = 3
	optDNS              = 6
	optHostName         = 12
	optDomain           = 15
	optMTU              = 26
	optBroadcast        = 28
	optRequestedAddress = 50
	optLeaseTime        = 51
	optOverload         = 52
	optMessageType      = 53
	optServerID         = 54
	optParameters       = 55
	optMessage          = 56
	optMaxSize          = 57
	optRenewal          = 58
	optRebinding        = 59
	optClientID         = 61
	optBootfile         = 67
	optUserClass        = 77
	optFQDN             = 81
	optRelayAgent       = 82
	optRoutes           = 121
	optIPXE             = 175 // iPXE's own options, which it always sends
	optRoutesMS         = 249 // the same as 121, for clients of Microsoft's
	optEnd              = 255
)

// Values of option 52: which fields hold options too.
const (
	overloadFile  = 1
	overloadSname = 2
)

// codes is a set of option numbers.
type codes [4]uint64

func (c *codes) add(code byte)      { c[code>>6] |= 1 << (code & 63) }
func (c *codes) remove(code byte)   { c[code>>6] &^= 1 << (code & 63) }
func (c *codes) has(code byte) bool { return c[code>>6]&(1<<(code&63)) != 0 }

func setOf(list ...byte) (c codes) {
	for _, code := range list {
		c.add(code)
	}
	return c
}

var (
	// always are sent whether or not option 55 asks for them: clients that forget to ask need them.
	always = setOf(optSubnetMask, optRouter, optDNS, optDomain, optMTU, optLeaseTime, optRenewal, optRebinding, optRoutes)
	all    = codes{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
)

// options writes options to the end of a frame.
type options struct {
	b        []byte
	send     codes // always, and what option 55 asks for
	replaced codes // given by extra_dhcp_opts
	start    int   // of the option that is being written
	omitted  int
}

// begin starts an option of ours, unless it is not to be sent.
func (o *options) begin(code byte) bool {
	if !o.send.has(code) || o.replaced.has(code) {
		return false
	}
	o.open(code)
	return true
}

func (o *options) open(code byte) {
	o.start = len(o.b)
	o.b = append(o.b, code, 0)
}

// end completes an option. One without a value is taken back; one of more than 255 bytes becomes
// several with the same code (RFC 3396).
func (o *options) end() {
	value := o.b[o.start+2:]
	switch n := len(value); {
	case n == 0:
		o.b = o.b[:o.start]
	case n <= 255:
		o.b[o.start+1] = byte(n)
	default:
		code := o.b[o.start]
		o.b = o.b[:o.start]
		for piece := range slices.Chunk(slices.Clone(value), 255) {
			o.b = append(append(o.b, code, byte(len(piece))), piece...)
		}
	}
}

func (o *options) bytes(code byte, value []byte) {
	o.open(code)
	o.b = append(o.b, value...)
	o.end()
}

func (o *options) uint32(code byte, v uint32) {
	if o.begin(code) {
		o.b = binary.BigEndian.AppendUint32(o.b, v)
		o.end()
	}
}

func (o *options) string(code byte, v string) {
	if o.begin(code) {
		o.b = append(o.b, v...)
		o.end()
	}
}

func appendAddr(b []byte, a netip.Addr) []byte {
	a4 := a.As4()
	return append(b, a4[:]...)
}

// appendOptions completes a frame that ends in the magic cookie with the options of a reply of type
// m, the most needed first: what does not fit is left out from the end. It says how many options were.
func (s *Server) appendOptions(frame []byte, p *flows.Punt, r *request, l lease, m MessageType) (_ []byte, omitted int) {
	start := len(frame)
	o := options{b: append(frame, optMessageType, 1, byte(m))}
	o.open(optServerID)
	o.b = appendAddr(o.b, l.server)
	o.end()
	if m == NAK {
		o.open(optMessage)
		o.b = append(o.b, "not the address of this port"...)
		o.end()
	}
	if len(r.clientID) > 0 {
		o.bytes(optClientID, r.clientID) // RFC 6842
	}
	if len(r.relayAgent) > 0 {
		o.bytes(optRelayAgent, r.relayAgent) // RFC 3046 section 2.2
	}
	if m != NAK {
		o.send = always
		if len(r.parameters) == 0 {
			o.send = all
		}
		for _, code := range r.parameters {
			o.send.add(code)
		}
		if r.message == Inform {
			o.send.remove(optLeaseTime)
			o.send.remove(optRenewal)
			o.send.remove(optRebinding)
		}
		o.replaced = replacedBy(p.Port.ExtraDHCPOpts, r)
		s.configure(&o, p, r, l)
		o.extra(p.Port.ExtraDHCPOpts, r, start)
	}
	limit := minDatagram
	if r.maxSize > limit {
		limit = max(limit, min(r.maxSize, p.Network.MTU))
	}
	o.close(start, limit-(headersLen-ethernetLen))
	return o.b, o.omitted
}

// configure writes what the network and its subnet give to a client.
func (s *Server) configure(o *options, p *flows.Punt, r *request, l lease) {
	o.uint32(optLeaseTime, s.lease)
	if s.lease != infinite {
		o.uint32(optRenewal, s.lease/2)
		o.uint32(optRebinding, uint32(uint64(s.lease)*7/8)) // RFC 2131 section 4.4.5
	}
	mask := ^uint32(0) << (32 - l.subnet.CIDR.Bits())
	o.uint32(optSubnetMask, mask) // before the router (RFC 2132 section 3.3)
	if gateway := gateway(l); gateway.IsValid() && o.begin(optRouter) {
		o.b = appendAddr(o.b, gateway)
		o.end()
	}
	if o.begin(optDNS) {
		o.b = appendNameservers(o.b, l.subnet.DNSNameservers)
		o.end()
	}
	domain := s.domainOf(p.Network)
	o.string(optDomain, domain)
	if mtu := p.Network.MTU; mtu > 0 && o.begin(optMTU) {
		o.b = binary.BigEndian.AppendUint16(o.b, uint16(min(mtu, 0xffff)))
		o.end()
	}
	if o.begin(optRoutes) {
		o.b = s.appendRoutes(o.b, p.Network, l)
		o.end()
	}
	if o.begin(optHostName) {
		o.b = model.AppendHostName(o.b, p.Port.DNSName, l.address)
		o.end()
	}
	if len(r.fqdn) >= 3 && !o.replaced.has(optFQDN) {
		o.open(optFQDN)
		o.b = appendFQDN(o.b, r.fqdn[0], p.Port.DNSName, l.address, domain)
		o.end()
	}
	if l.subnet.CIDR.Bits() < 31 {
		base := l.subnet.CIDR.Masked().Addr().As4()
		o.uint32(optBroadcast, binary.BigEndian.Uint32(base[:])|^mask)
	}
	if o.begin(optRoutesMS) {
		o.b = s.appendRoutes(o.b, p.Network, l)
		o.end()
	}
}

// gateway is the subnet's gateway_ip or, without one, the next hop of a default host route.
func gateway(l lease) netip.Addr {
	if l.subnet.GatewayIP.Is4() {
		return l.subnet.GatewayIP
	}
	for _, r := range l.subnet.HostRoutes {
		if r.Destination.Bits() == 0 && r.Nexthop.Is4() {
			return r.Nexthop
		}
	}
	return netip.Addr{}
}

// appendNameservers appends the IPv4 name servers; 0.0.0.0 among them says that there are none.
func appendNameservers(b []byte, servers []netip.Addr) []byte {
	start := len(b)
	for _, a := range servers {
		switch {
		case !a.Is4():
		case a.IsUnspecified():
			return b[:start]
		default:
			b = appendAddr(b, a)
		}
	}
	return b
}

// domainOf is the domain of the network's ports: its dns_domain, else the operator's.
func (s *Server) domainOf(n *flows.Network) string {
	if n.DNSDomain != "" {
		return strings.TrimSuffix(n.DNSDomain, ".")
	}
	return s.domain
}

// appendFQDN answers a client that told its own name (RFC 4702): what the port is called, and that no name
// server is told of it. flags are the client's.
func appendFQDN(b []byte, flags byte, name string, address netip.Addr, domain string) []byte {
	const serverUpdates, overridden, wireFormat, noUpdate = 1, 2, 4, 8
	answer := noUpdate | flags&wireFormat
	if flags&serverUpdates != 0 {
		answer |= overridden
	}
	b = append(b, answer, 255, 255) // the two are no longer used (section 2.2)
	start := len(b)
	b = model.AppendHostName(b, name, address)
	if domain != "" {
		b = append(append(b, '.'), domain...)
	}
	if flags&wireFormat == 0 {
		return b
	}
	wire, err := appendDomains(nil, string(b[start:]))
	if err != nil {
		wire = nil // no name is better than half of one
	}
	return append(b[:start], wire...)
}

var (
	metadataAddress = netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, 169, 254}), 32)
	defaultRoute    = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
)

// appendRoutes appends the classless routes: the network's other subnets as on link, the host routes,
// metadata, and the default route, without which a client that takes option 121 would have none
// (RFC 3442). A default route alone is left to option 3.
func (s *Server) appendRoutes(b []byte, n *flows.Network, l lease) []byte {
	start := len(b)
	for _, other := range n.Subnets {
		if other.ID != l.subnet.ID && other.CIDR.Addr().Is4() {
			b = appendRoute(b, other.CIDR, netip.IPv4Unspecified())
		}
	}
	metadata := s.metadata
	for _, r := range l.subnet.HostRoutes {
		if r.Destination.Bits() > 0 && r.Destination.Addr().Is4() && r.Nexthop.Is4() {
			b = appendRoute(b, r.Destination, r.Nexthop)
			metadata = metadata && r.Destination != metadataAddress
		}
	}
	if metadata {
		b = appendRoute(b, metadataAddress, l.server)
	}
	if gateway := gateway(l); len(b) > start && gateway.IsValid() {
		b = appendRoute(b, defaultRoute, gateway)
	}
	return b
}

// appendRoute appends one route: the destination and the router, 0.0.0.0 if it is on link.
func appendRoute(b []byte, to netip.Prefix, via netip.Addr) []byte {
	return appendAddr(appendDestination(b, to), via)
}

// appendDestination appends a prefix as RFC 3442 has it: its length and its significant bytes.
func appendDestination(b []byte, to netip.Prefix) []byte {
	a := to.Masked().Addr().As4()
	b = append(b, byte(to.Bits()))
	return append(b, a[:(to.Bits()+7)/8]...)
}

// close ends the options that begin at start. If they are longer than limit bytes, some move to the
// unused file and sname fields (option 52, RFC 2132 section 9.3), and what fits nowhere is left out.
func (o *options) close(start, limit int) {
	if len(o.b)-start+1 <= limit {
		o.b = append(o.b, optEnd)
		return
	}
	rest := slices.Clone(o.b[start:])
	message := o.b[start-bootpLen : start]
	fields := [3]field{
		{o.b[:start], limit - 4}, // option 52 and the end
		{message[atFile:atFile], atCookie - atFile - 1},
		{message[atSname:atSname], atFile - atSname - 1},
	}
	for len(rest) > 0 {
		// The pieces of a long option are put together again in the order of the fields (RFC 3396
		// section 5): none may go before its predecessor, and it is all of them or nothing.
		code, before, at := rest[0], fields, 0
		for len(rest) > 0 && rest[0] == code {
			piece := rest[:2+int(rest[1])]
			rest = rest[len(piece):]
			for at < len(fields) && !fields[at].add(piece) {
				at++
			}
		}
		if at == len(fields) {
			fields = before
			o.omitted++
		}
	}
	var used byte
	for i, bit := range [...]byte{1: overloadFile, 2: overloadSname} {
		if bit != 0 && len(fields[i].b) > 0 {
			used |= bit
			fields[i].b = append(fields[i].b, optEnd)
		}
	}
	clear(message[atFile+len(fields[1].b) : atCookie])
	clear(message[atSname+len(fields[2].b) : atFile])
	o.b = fields[0].b
	if used != 0 {
		o.b = append(o.b, optOverload, 1, used)
	}
	o.b = append(o.b, optEnd)
}

// field is a part of the message that holds options, and how many bytes more fit.
type field struct {
	b    []byte
	room int
}

func (f *field) add(option []byte) bool {
	if len(option) > f.room {
		return false
	}
	f.b = append(f.b, option...)
	f.room -= len(option)
	return true
}
