package controller

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/eval"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// destination is whom a packet is for.
type destination struct {
	port *model.Port // nil: no port of ours
	ip   netip.Addr
	mac  of.MAC // zero: not known yet
	next netip.Addr
	text string // as it is told
}

// resolve finds out whom the query means: a MAC or IP address is one on the source's network, else what a
// port has.
func (t *tracing) resolve() error {
	what := t.query.Destination
	d := &t.to
	d.text = what
	if mac, err := net.ParseMAC(what); err == nil && len(mac) == len(of.MAC{}) {
		d.mac = of.MAC(mac)
		if p, ok := t.snap.PortByMAC(t.source.NetworkID, model.MAC(mac)); ok {
			d.is(p)
			d.ip = t.addressOf(p)
		}
		return nil
	}
	if ip, err := netip.ParseAddr(what); err == nil {
		d.ip = ip.Unmap().WithZone("")
		if p := t.holder(d.ip); p != nil {
			d.is(p)
		}
		return nil
	}
	p, err := t.port(what)
	if err != nil {
		return err
	}
	d.is(p)
	if d.ip = t.addressOf(p); p.NetworkID == t.source.NetworkID {
		d.mac = of.MAC(p.MACAddress)
	}
	return nil
}

func (d *destination) is(p *model.Port) { d.port, d.text = p, portName(p) }

// holder is the port of the source's network that has an address, as its own or as one of its pairs.
func (t *tracing) holder(ip netip.Addr) *model.Port {
	var pair *model.Port
	for p := range t.snap.PortsOf(t.source.NetworkID) {
		if slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.IPAddress == ip }) {
			return p
		}
		if slices.ContainsFunc(p.AllowedAddressPairs, func(a model.AddressPair) bool { return a.IPAddress.IsSingleIP() && a.IPAddress.Addr() == ip }) {
			pair = p
		}
	}
	return pair
}

// addressOf is the address of a port that the source would send to: one on a subnet that it has itself.
func (t *tracing) addressOf(p *model.Port) (first netip.Addr) {
	for _, to := range p.FixedIPs {
		if slices.ContainsFunc(t.source.FixedIPs, func(f model.FixedIP) bool { return f.SubnetID == to.SubnetID }) {
			return to.IPAddress
		}
		if !first.IsValid() {
			first = to.IPAddress
		}
	}
	return first
}

// from is the address that the source sends from to another of the same version.
func (t *tracing) from(to netip.Addr) netip.Addr {
	var first netip.Addr
	for _, f := range t.source.FixedIPs {
		s, ok := t.snap.Subnet(f.SubnetID)
		switch {
		case f.IPAddress.Is4() != to.Is4():
		case ok && s.CIDR.Contains(to):
			return f.IPAddress
		case !first.IsValid():
			first = f.IPAddress
		}
	}
	switch {
	case first.IsValid() && !to.IsLinkLocalUnicast():
		return first
	case to.Is4():
		return cmp.Or(first, netip.IPv4Unspecified())
	}
	m := t.source.MACAddress // RFC 4291 appendix A
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// nextHop is to whom on the link the source sends what is for an address: to itself, or to a router. That of a
// subnet on which it has an address comes first.
func (t *tracing) nextHop(to netip.Addr) netip.Addr {
	if to.IsLinkLocalUnicast() {
		return to
	}
	var router netip.Addr
	own := false
	for s := range t.snap.SubnetsOf(t.source.NetworkID) {
		if s.CIDR.Contains(to) {
			return to
		}
		for _, r := range s.HostRoutes {
			if r.Destination.Contains(to) {
				return r.Nexthop
			}
		}
		if s.CIDR.Addr().Is4() == to.Is4() && s.GatewayIP.IsValid() && !own {
			router = s.GatewayIP
			own = slices.ContainsFunc(t.source.FixedIPs, func(f model.FixedIP) bool { return f.SubnetID == s.ID })
		}
	}
	return router
}

// groupMAC is the MAC address of a broadcast or multicast address (RFC 1112 6.4, RFC 2464 7).
func groupMAC(ip netip.Addr) (mac of.MAC, ok bool) {
	switch {
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return of.BroadcastMAC, true
	case ip.Is4() && ip.IsMulticast():
		a := ip.As4()
		return of.MAC{1, 0, 0x5e, a[1] & 0x7f, a[2], a[3]}, true
	case ip.IsMulticast():
		a := ip.As16()
		return of.MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}, true
	}
	return mac, false
}

// packet makes what the source sends. That is a request for the MAC address if nobody answers one: asked
// says then who nobody is.
func (t *tracing) packet(from *eval.Host, at plug) (p *eval.Packet, asked string, err error) {
	d, q := &t.to, &t.query
	mac := of.MAC(t.source.MACAddress)
	if q.SourceMAC != "" {
		if mac, err = of.ParseMAC(q.SourceMAC); err != nil {
			return nil, "", fmt.Errorf("%w: %w", errBadQuestion, err)
		}
	}
	if !d.ip.IsValid() { // of a frame for a MAC address alone
		if d.ip = netip.AddrFrom4([4]byte{255, 255, 255, 255}); t.from(d.ip).IsUnspecified() && len(t.source.FixedIPs) > 0 {
			d.ip = netip.IPv6LinkLocalAllNodes()
		}
	}
	src := t.from(d.ip)
	if q.SourceIP != "" {
		if src, err = netip.ParseAddr(q.SourceIP); err != nil {
			return nil, "", fmt.Errorf("%w: %w", errBadQuestion, err)
		}
		if src = src.Unmap(); src.Is4() != d.ip.Is4() {
			return nil, "", fmt.Errorf("%w: a packet from %s to %s", errBadQuestion, src, d.ip)
		}
	}
	t.sent = src
	tag := func(p *eval.Packet) *eval.Packet { return p }
	if q.VLAN > 0 {
		tag = func(p *eval.Packet) *eval.Packet { return p.Tagged(uint16(q.VLAN)) }
	}
	switch q.Protocol {
	case "arp":
		return tag(asks(mac, src, d.ip)), "", nil
	case "rs":
		return tag(solicits(mac, t.from(netip.IPv6LinkLocalAllRouters()))), "", nil
	}
	if d.mac == (of.MAC{}) {
		if d.mac, asked = t.macOf(from, at, mac, src); asked != "" {
			return tag(asks(mac, src, cmp.Or(d.next, d.ip))), asked, nil
		}
	}
	fields := []of.FieldValue{of.EthSrc.MAC(mac), of.EthDst.MAC(d.mac)}
	if src.Is4() {
		fields = append(fields, of.EthType.Is(of.EthTypeIPv4), of.IPv4Src.Addr(src), of.IPv4Dst.Addr(d.ip), of.IPTTL.Is(64))
	} else {
		fields = append(fields, of.EthType.Is(of.EthTypeIPv6), of.IPv6Src.Addr(src), of.IPv6Dst.Addr(d.ip), of.IPTTL.Is(64))
	}
	const syn, ack = 2, 16
	sourcePort, port, flags, echo4, echo6 := uint64(49152), uint64(q.Port), uint64(syn), uint64(8), uint64(128)
	switch q.Port {
	case 67: // DHCP (RFC 2131 4.1) and DHCPv6 (RFC 8415 7.2) are told by it
		sourcePort = 68
	case 547:
		sourcePort = 546
	}
	if t.answer {
		sourcePort, port, flags, echo4, echo6 = port, sourcePort, syn|ack, 0, 129
	}
	switch {
	case q.Protocol == "icmp" && src.Is4():
		fields = append(fields, of.IPProto.Is(of.IPProtoICMP), of.ICMPv4Type.Is(echo4))
	case q.Protocol == "icmp":
		fields = append(fields, of.IPProto.Is(of.IPProtoICMPv6), of.ICMPv6Type.Is(echo6))
	case q.Protocol != "tcp" && q.Protocol != "udp":
		return nil, "", fmt.Errorf("%w: protocol %q: want icmp, tcp, udp, arp or rs", errBadQuestion, q.Protocol)
	case q.Port == 0:
		return nil, "", fmt.Errorf("%w: %s to which port?", errBadQuestion, q.Protocol)
	case q.Protocol == "tcp":
		fields = append(fields, of.IPProto.Is(of.IPProtoTCP), of.TCPSrc.Is(sourcePort), of.TCPDst.Is(port), of.TCPFlags.Is(flags))
	default:
		fields = append(fields, of.IPProto.Is(of.IPProtoUDP), of.UDPSrc.Is(sourcePort), of.UDPDst.Is(port))
	}
	return tag(eval.NewPacket(fields...)), "", nil
}

// solicits is a router solicitation (RFC 4861 4.1).
func solicits(mac of.MAC, src netip.Addr) *eval.Packet {
	all := netip.IPv6LinkLocalAllRouters()
	group, _ := groupMAC(all)
	return eval.NewPacket(of.EthSrc.MAC(mac), of.EthDst.MAC(group), of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoICMPv6), of.IPTTL.Is(255),
		of.ICMPv6Type.Is(133), of.IPv6Src.Addr(src), of.IPv6Dst.Addr(all))
}

// asks is an ARP request or a neighbour solicitation for an address.
func asks(mac of.MAC, src, target netip.Addr) *eval.Packet {
	if src.Is4() {
		return eval.NewPacket(of.EthSrc.MAC(mac), of.EthDst.MAC(of.BroadcastMAC), of.EthType.Is(of.EthTypeARP), of.ARPOp.Is(1),
			of.ARPSpa.Addr(src), of.ARPTpa.Addr(target), of.ARPSha.MAC(mac))
	}
	a := target.As16()
	node := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}) // RFC 4291 2.7.1
	group, _ := groupMAC(node)
	return eval.NewPacket(of.EthSrc.MAC(mac), of.EthDst.MAC(group), of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoICMPv6), of.IPTTL.Is(255),
		of.ICMPv6Type.Is(135), of.IPv6Src.Addr(src), of.IPv6Dst.Addr(node), of.NDTarget.Addr(target), of.NDSll.MAC(mac))
}

// macOf finds the MAC address that the source sends to, as a guest does: it is known of a group and of a
// port on the network, and the switch is asked for any other.
func (t *tracing) macOf(from *eval.Host, at plug, mac of.MAC, src netip.Addr) (to of.MAC, nobody string) {
	d := &t.to
	if to, ok := groupMAC(d.ip); ok {
		return to, ""
	}
	for s := range t.snap.SubnetsOf(t.source.NetworkID) {
		if d.ip.Is4() && s.CIDR.Addr().Is4() && d.ip == lastOf(s.CIDR) {
			return of.BroadcastMAC, ""
		}
	}
	d.next = t.nextHop(d.ip)
	if !d.next.IsValid() {
		return to, fmt.Sprintf("%s is on no subnet of network %s, which has no gateway_ip or host_routes for it", d.ip, networkCalled(t.network))
	}
	if p := t.holder(d.next); p != nil && p.DeviceOwner != model.OwnerDHCP {
		for _, a := range p.AllowedAddressPairs {
			if a.IPAddress.IsSingleIP() && a.IPAddress.Addr() == d.next && !a.MACAddress.IsZero() {
				return of.MAC(a.MACAddress), ""
			}
		}
		return of.MAC(p.MACAddress), ""
	}
	for _, e := range eval.Run(t, from, flows.BrInt, at.ofport, asks(mac, src, d.next)).Ends {
		if e.Kind == eval.Answered {
			if src.Is4() {
				return e.Packet.Get(of.ARPSha).MAC(), ""
			}
			return e.Packet.Get(of.NDTll).MAC(), ""
		}
	}
	if d.next != d.ip {
		return to, fmt.Sprintf("the way there is through the router %s, which no port of network %s has", d.next, networkCalled(t.network))
	}
	return to, fmt.Sprintf("no port of network %s has %s", networkCalled(t.network), d.ip)
}

// networkCalled is a network's name, or its ID if it has none.
func networkCalled(n *model.Network) string { return cmp.Or(inspect.Called(n.Name), n.ID.String()) }

// lastOf is the broadcast address of an IPv4 subnet.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

// toldFields are the fields that a packet is told by, in this order.
var toldFields = []of.Field{of.EthSrc, of.EthDst, of.VlanVID, of.EthType, of.IPProto, of.IPv4Src, of.IPv4Dst, of.IPv6Src, of.IPv6Dst, of.ICMPv4Type, of.ICMPv6Type,
	of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst, of.ARPOp, of.ARPSpa, of.ARPTpa, of.ARPSha, of.NDTarget, of.NDSll}

// textOf is the packet as a match.
func textOf(p *eval.Packet) string {
	var fields []of.FieldValue
	for _, f := range toldFields {
		if v := p.Get(f); v.Value != (of.Uint128{}) {
			fields = append(fields, v)
		}
	}
	m, err := of.NewMatch(fields...)
	if err != nil {
		return err.Error() // of what this file makes
	}
	return m.String()
}
