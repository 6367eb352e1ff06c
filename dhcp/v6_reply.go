package dhcp

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// Options by their numbers in RFC 8415, and RFC 3646 (23, 24), RFC 4704 (39).
const (
	v6OptClientID    = 1
	v6OptServerID    = 2
	v6OptIANA        = 3 // identity association for addresses
	v6OptIATA        = 4 // … for temporary addresses
	v6OptAddress     = 5
	v6OptWanted      = 6
	v6OptPreference  = 7
	v6OptStatus      = 13
	v6OptRapidCommit = 14
	v6OptUserClass   = 15
	v6OptDNS         = 23
	v6OptDomains     = 24
	v6OptIAPD        = 25 // identity association for prefixes
	v6OptRefreshTime = 32
	v6OptFQDN        = 39
)

const (
	v6HeadersLen = ethernetLen + ipv6Len + udpLen + v6MessageLen
	hopLimit     = 64

	// minDatagramIPv6 is the packet that every link carries (RFC 8200 section 5).
	minDatagramIPv6 = 1280

	// leastRefresh is the shortest time, in seconds, after which a client may have to ask for its
	// configuration again (RFC 8415 section 7.6).
	leastRefresh = 600
)

// v6Status is a status code (RFC 8415 section 21.13).
type v6Status uint16

const (
	v6Success     v6Status = 0
	v6NoAddresses v6Status = 2
	v6NotOnLink   v6Status = 4
	v6NoPrefixes  v6Status = 6
)

var v6StatusTexts = [...]string{v6Success: "", v6NoAddresses: "no address for this", v6NotOnLink: "not the address of this port", v6NoPrefixes: "no prefixes are delegated"}

// v6Options writes options to the end of a frame, as long as it has room for them.
type v6Options struct {
	b       []byte
	limit   int // of len(b)
	omitted int
}

// open begins an option; what is appended to b until it is closed is its value.
func (o *v6Options) open(code uint16) (start int) {
	start = len(o.b)
	o.b = append(o.b, byte(code>>8), byte(code), 0, 0)
	return start
}

// close completes an option, or takes it back if there is no room.
func (o *v6Options) close(start int) {
	if len(o.b) > o.limit {
		o.b = o.b[:start]
		o.omitted++
		return
	}
	binary.BigEndian.PutUint16(o.b[start+2:], uint16(len(o.b)-start-4))
}

func (o *v6Options) bytes(code uint16, value []byte) {
	start := o.open(code)
	o.b = append(o.b, value...)
	o.close(start)
}

func (o *v6Options) status(code v6Status) {
	start := o.open(v6OptStatus)
	o.b = append(binary.BigEndian.AppendUint16(o.b, uint16(code)), v6StatusTexts[code]...)
	o.close(start)
}

// v6Answer sends a reply of type m.
func (s *Server) v6Answer(p *flows.Punt, r *v6Request, m V6Message, reply func(frame []byte)) {
	b := frames.Get().(*[]byte)
	*b = s.appendV6Reply((*b)[:0], p, r, m)
	reply(*b)
	frames.Put(b)
	s.counters.v6.answers[m].Add(1)
}

// appendV6Reply appends the frame of a reply (RFC 8415 section 18.3), the most needed options first:
// what does not fit is left out from the end.
func (s *Server) appendV6Reply(frame []byte, p *flows.Punt, r *v6Request, m V6Message) []byte {
	start := len(frame)
	frame = append(frame, zeros[:v6HeadersLen-v6MessageLen]...)
	frame = append(append(frame, byte(m)), r.transaction[:]...)
	o := v6Options{b: frame, limit: start + ethernetLen + max(minDatagramIPv6, p.Network.MTU)}
	if r.client != nil {
		o.bytes(v6OptClientID, r.client)
	}
	id := serverDUID(p.Network)
	o.bytes(v6OptServerID, id[:])
	switch r.message {
	case V6Confirm:
		if r.namesOnly(p) {
			o.status(v6Success)
		} else {
			o.status(v6NotOnLink)
		}
	case V6Release, V6Decline: // the address stays the port's
		o.status(v6Success)
	case V6InformationRequest:
		if r.wants(v6OptRefreshTime) {
			at := o.open(v6OptRefreshTime)
			o.b = binary.BigEndian.AppendUint32(o.b, max(s.lease, leastRefresh))
			o.close(at)
		}
		s.v6Configure(&o, p, r)
	default:
		if m == V6Advertise {
			o.bytes(v6OptPreference, []byte{255}) // there is no better server to wait for
		} else if r.message == V6Solicit {
			o.bytes(v6OptRapidCommit, nil)
		}
		s.v6Associate(&o, p, r)
		s.v6Configure(&o, p, r)
	}
	if o.omitted > 0 {
		s.counters.omitted.Add(uint64(o.omitted))
	}
	sealIPv6(o.b[start:], p.Network.DHCP.MACAddress, r.source, r.from, protocolUDP, hopLimit)
	udp := o.b[start+ethernetLen+ipv6Len:]
	binary.BigEndian.PutUint16(udp, v6ServerPort)
	binary.BigEndian.PutUint16(udp[2:], v6ClientPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	sumIPv6(o.b[start:], udp[6:])
	return o.b
}

// namesOnly says whether all addresses that the client names are given to the port by DHCPv6.
func (r *v6Request) namesOnly(p *flows.Punt) bool {
	for rest := r.options; len(rest) > 0; {
		var code uint16
		var value []byte
		if code, value, rest, _ = v6NextOption(rest); code != v6OptIANA {
			continue
		}
		for a, more := v6NextAddress(value[12:]); a.IsValid(); a, more = v6NextAddress(more) {
			if !hasAssigned(p, a) {
				return false
			}
		}
	}
	return true
}

// v6Associate answers each identity association of the request. The first for addresses gets all of the
// port's; there is nothing for others.
func (s *Server) v6Associate(o *v6Options, p *flows.Punt, r *v6Request) {
	first := true
	for rest := r.options; len(rest) > 0; {
		var code uint16
		var value []byte
		switch code, value, rest, _ = v6NextOption(rest); code {
		case v6OptIANA:
			at := o.open(code)
			s.v6Assign(o, p, r, value, first)
			o.close(at)
			first = false
		case v6OptIATA:
			at := o.open(code)
			o.b = append(o.b, value[:4]...)
			o.status(v6NoAddresses)
			o.close(at)
		case v6OptIAPD:
			at := o.open(code)
			o.b = append(append(o.b, value[:4]...), zeros[:8]...)
			o.status(v6NoPrefixes)
			o.close(at)
		}
	}
}

// v6Assign answers an identity association: IAID, T1 and T2 of four bytes each, options. A client that
// extends addresses which are not the port's (any longer) is told that their time is over.
func (s *Server) v6Assign(o *v6Options, p *flows.Punt, r *v6Request, association []byte, first bool) {
	o.b = append(append(o.b, association[:4]...), zeros[:8]...)
	times := len(o.b) - 8
	extends := r.message == V6Renew || r.message == V6Rebind
	named := false
	for a, more := v6NextAddress(association[12:]); a.IsValid(); a, more = v6NextAddress(more) {
		switch {
		case r.message == V6Request && !onLink(p.Network, a):
			o.status(v6NotOnLink) // RFC 8415 section 18.3.2
			return
		case extends && !hasAssigned(p, a):
			named = true
			o.address(a, 0)
		}
	}
	given := false
	for _, f := range p.Port.FixedIPs {
		if first && assigned(p, f) {
			given = true
			o.address(f.IPAddress, s.lease)
		}
	}
	switch {
	case given && s.lease != infinite: // RFC 8415 section 21.4
		binary.BigEndian.PutUint32(o.b[times:], s.lease/2)
		binary.BigEndian.PutUint32(o.b[times+4:], uint32(uint64(s.lease)*4/5))
	case given:
		binary.BigEndian.PutUint32(o.b[times:], infinite)
		binary.BigEndian.PutUint32(o.b[times+4:], infinite)
	case !named:
		o.status(v6NoAddresses)
	}
}

// address writes an address with its preferred and valid lifetime, in seconds.
func (o *v6Options) address(a netip.Addr, lifetime uint32) {
	at := o.open(v6OptAddress)
	o.b = appendIPv6(o.b, a)
	o.b = binary.BigEndian.AppendUint32(o.b, lifetime)
	o.b = binary.BigEndian.AppendUint32(o.b, lifetime)
	o.close(at)
}

func appendIPv6(b []byte, a netip.Addr) []byte {
	a16 := a.As16()
	return append(b, a16[:]...)
}

// v6Configure writes what the network, its subnets and the port's extra_dhcp_opts tell a client.
func (s *Server) v6Configure(o *v6Options, p *flows.Punt, r *v6Request) {
	extra := p.Port.ExtraDHCPOpts
	if r.wants(v6OptDNS) && v6Chosen(extra, v6OptDNS, r) < 0 {
		if at := o.open(v6OptDNS); o.servers(p) {
			o.close(at)
		} else {
			o.b = o.b[:at]
		}
	}
	domain := s.domainOf(p.Network)
	if domain != "" && r.wants(v6OptDomains) && v6Chosen(extra, v6OptDomains, r) < 0 {
		at := o.open(v6OptDomains)
		var err error
		if o.b, err = appendDomains(o.b, domain); err != nil {
			o.b = o.b[:at]
			o.omitted++
		} else {
			o.close(at)
		}
	}
	if r.fqdn != nil && r.wants(v6OptFQDN) { // RFC 4704 section 6
		const noUpdates = 4
		at := o.open(v6OptFQDN)
		o.b = appendV6Name(append(o.b, noUpdates), p.Port.DNSName, v6Address(p), domain)
		o.close(at)
	}
	o.extra(extra, r)
}

// servers appends the name servers of the port's subnets, each once; it says whether there are any.
func (o *v6Options) servers(p *flows.Punt) bool {
	start := len(o.b)
	for _, f := range p.Port.FixedIPs {
		if s := v6Subnet(p, f); s != nil {
			o.b = appendNameserversIPv6(o.b, start, s.DNSNameservers)
		}
	}
	return len(o.b) > start
}

// appendNameserversIPv6 appends the IPv6 name servers that are not in b from start on. :: among them
// says that there are none.
func appendNameserversIPv6(b []byte, start int, servers []netip.Addr) []byte {
	if slices.Contains(servers, netip.IPv6Unspecified()) {
		return b
	}
next:
	for _, a := range servers {
		if !a.Is6() {
			continue
		}
		a16 := a.As16()
		for had := b[start:]; len(had) >= len(a16); had = had[len(a16):] {
			if string(had[:len(a16)]) == string(a16[:]) {
				continue next
			}
		}
		b = append(b, a16[:]...)
	}
	return b
}

// appendV6Name appends a host's name as in DNS. Without a domain it is not fully qualified, and has no
// end (RFC 4704 section 4.2).
func appendV6Name(b []byte, name string, address netip.Addr, domain string) []byte {
	start := len(b)
	b = model.AppendHostName(append(b, 0), name, address)
	b = b[:min(len(b), start+1+63)]
	b[start] = byte(len(b) - start - 1)
	if domain != "" {
		if full, err := appendDomains(b, domain); err == nil {
			return full
		}
	}
	return b
}

// sealIPv6 writes the headers in front of an IPv6 packet's payload: Ethernet and IPv6.
func sealIPv6(frame []byte, srcMAC, dstMAC model.MAC, dst netip.Addr, protocol, hops byte) {
	copy(frame, dstMAC[:])
	copy(frame[6:], srcMAC[:])
	binary.BigEndian.PutUint16(frame[12:], etherTypeIPv6)
	ip := frame[ethernetLen:]
	ip[0], ip[6], ip[7] = 0x60, protocol, hops
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Len))
	src, dst16 := linkLocal(srcMAC), dst.As16()
	copy(ip[8:], src[:])
	copy(ip[24:], dst16[:])
}

// sumIPv6 writes the checksum of a sealed frame's payload to field, which is zero (RFC 8200 section 8.1).
func sumIPv6(frame, field []byte) {
	ip := frame[ethernetLen:]
	sum := uint32(^checksum(0, ip[8:ipv6Len])) + uint32(ip[6]) + uint32(len(ip)-ipv6Len)
	check := checksum(sum, ip[ipv6Len:])
	if check == 0 && ip[6] == protocolUDP {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(field, check)
}

// extra writes what the port's extra_dhcp_opts give and the client wants. An empty value keeps an option
// from being sent.
func (o *v6Options) extra(extra []model.ExtraDHCPOpt, r *v6Request) {
	for i, e := range extra {
		if e.IPVersion != 6 || e.Value == "" {
			continue
		}
		n, ok := v6ExtraNames.parse(e.Name)
		switch {
		case !ok:
			o.omitted++
		case r.wants(n.code) && v6Chosen(extra, n.code, r) == i:
			at := o.open(n.code)
			b, err := appendV6Value(o.b, v6ExtraNames.forms[n.code], e.Value)
			if err != nil {
				o.b = o.b[:at]
				o.omitted++
				continue
			}
			o.b = b
			o.close(at)
		}
	}
}
