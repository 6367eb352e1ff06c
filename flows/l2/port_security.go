package l2

import (
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// ICMPv6 types (RFC 4861, RFC 3810) and UDP ports (RFC 2131, RFC 8415) that port security tells apart.
const (
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighborSolicitation  = 135
	neighborAdvertisement = 136
	redirect              = 137
	multicastReport       = 143

	dhcpServer, dhcpClient     = 67, 68
	dhcpv6Server, dhcpv6Client = 547, 546
)

// A frame has an address to prove (REG_ADDR) and, in ARP, RARP and neighbour discovery, a link-layer
// address inside the packet (REG_MAC). These are the moves that put them there.
var (
	mappedIPv4 = of.Load(0xffff, flows.RegAddr.Field.Bits(32, 47)) // the rest of ::ffff:a.b.c.d
	ipv4Source = of.Move{Src: of.IPv4Src.All(), Dst: flows.RegAddr.Low(32)}
	ipv6Source = of.Move{Src: of.IPv6Src.All(), Dst: flows.RegAddr.All()}
	arpSource  = of.Move{Src: of.ARPSpa.All(), Dst: flows.RegAddr.Low(32)}
	arpTarget  = of.Move{Src: of.ARPTpa.All(), Dst: flows.RegAddr.Low(32)}
	ndTarget   = of.Move{Src: of.NDTarget.All(), Dst: flows.RegAddr.All()}
	arpMAC     = of.Move{Src: of.ARPSha.All(), Dst: flows.RegMAC.Low(48)}
	sourceMAC  = of.Move{Src: of.NDSll.All(), Dst: flows.RegMAC.Low(48)}
	targetMAC  = of.Move{Src: of.NDTll.All(), Dst: flows.RegMAC.Low(48)}

	proveIPv4  = of.ApplyGoto(flows.PortSecIP.Number, mappedIPv4, ipv4Source)
	proveIPv6  = of.ApplyGoto(flows.PortSecIP.Number, ipv6Source)
	proveARP   = of.ApplyGoto(flows.PortSecIP.Number, mappedIPv4, arpSource, arpMAC)
	proveProbe = of.ApplyGoto(flows.PortSecIP.Number, mappedIPv4, arpTarget, arpMAC)
	proveNS    = of.ApplyGoto(flows.PortSecIP.Number, ipv6Source, sourceMAC)
	proveDAD   = of.ApplyGoto(flows.PortSecIP.Number, ndTarget, sourceMAC)
	proveNA    = of.ApplyGoto(flows.PortSecIP.Number, ndTarget, targetMAC)

	proveARPMAC    = of.ApplyGoto(flows.PortSecLLA.Number, arpMAC)
	proveSourceMAC = of.ApplyGoto(flows.PortSecLLA.Number, sourceMAC)
	proveTargetMAC = of.ApplyGoto(flows.PortSecLLA.Number, targetMAC)
)

// LinkLocalPriority is that of the flow which drops, and counts, what comes from link-local addresses that are
// not the port's. Apart from others, since it is nobody's bad intention: guests may make theirs in another way
// than from the MAC address (RFC 7217).
const LinkLocalPriority = 10

// portSecurityFixed emits what is the same for all ports: which address must a frame prove? The order of
// priorities: what no port may send (120), duplicate-address detection of a wide pair (117) and of any
// (116), the rest of neighbour discovery and ARP of a wide pair (115) and of any (110 and 100), other
// packets from a wide pair (105) and from any (100).
func portSecurityFixed(e *flows.Emitter) {
	e.Flow(flows.PortSecMAC, 0, "", of.Drop, "source is neither the port's mac_address nor one of its allowed_address_pairs")

	e.Flow(flows.PortSecKind, 120, udp(of.EthTypeIPv4, of.UDPSrc.Is(dhcpServer), of.UDPDst.Is(dhcpClient)), of.Drop, "port_security_enabled: no DHCP server")
	e.Flow(flows.PortSecKind, 120, udp(of.EthTypeIPv6, of.UDPSrc.Is(dhcpv6Server), of.UDPDst.Is(dhcpv6Client)), of.Drop, "port_security_enabled: no DHCPv6 server")
	e.Flow(flows.PortSecKind, 120, icmp6(routerAdvertisement), of.Drop, "port_security_enabled: no router advertisement")
	e.Flow(flows.PortSecKind, 120, icmp6(redirect), of.Drop, "port_security_enabled: no redirect")
	e.Flow(flows.PortSecKind, 120, ipv6(of.IPv6Src.Prefix(netip.MustParsePrefix("::ffff:0:0/96"))), of.Drop, "port_security_enabled: no IPv4-mapped source")

	e.Flow(flows.PortSecKind, 116, icmp6(neighborSolicitation, of.IPv6Src.Addr(netip.IPv6Unspecified())), proveDAD,
		"duplicate-address detection: its target must be the port's")
	e.Flow(flows.PortSecKind, 110, icmp6(neighborSolicitation), proveNS, "neighbour solicitation: source and link-layer address must be the port's")
	e.Flow(flows.PortSecKind, 110, icmp6(neighborAdvertisement), proveNA, "neighbour advertisement: target and link-layer address must be the port's")
	e.Flow(flows.PortSecKind, 110, icmp6(multicastReport, of.IPv6Src.Addr(netip.IPv6Unspecified())), goTo(flows.PuntSelect), "multicast report before there is an address: RFC 3590")
	e.Flow(flows.PortSecKind, 110, icmp6(routerSolicitation, of.IPv6Src.Addr(netip.IPv6Unspecified())), goTo(flows.PuntSelect), "router solicitation before there is an address: RFC 4861 4.1")
	e.Flow(flows.PortSecKind, 110, udp(of.EthTypeIPv4, of.IPv4Src.Addr(netip.IPv4Unspecified()), of.IPv4Dst.Addr(netip.AddrFrom4([4]byte{255, 255, 255, 255})),
		of.UDPSrc.Is(dhcpClient), of.UDPDst.Is(dhcpServer)), goTo(flows.PuntSelect), "DHCP request before there is an address: RFC 2131 4.1")
	e.Flow(flows.PortSecKind, 110, arp(of.ARPSpa.Addr(netip.IPv4Unspecified())), proveProbe, "ARP probe (RFC 5227): its target and sender MAC must be the port's")
	e.Flow(flows.PortSecKind, 100, arp(), proveARP, "ARP: sender address and sender MAC must be the port's")
	e.Flow(flows.PortSecKind, 100, of.MustMatch(of.EthType.Is(of.EthTypeRARP)), proveARPMAC, "RARP announces a migrated VIF: its sender MAC must be the port's")
	e.Flow(flows.PortSecKind, 100, of.MustMatch(of.EthType.Is(of.EthTypeIPv4)), proveIPv4, "IPv4: source must be the port's")
	e.Flow(flows.PortSecKind, 100, ipv6(), proveIPv6, "IPv6: source must be the port's")
	e.Flow(flows.PortSecKind, 0, "", of.Drop, "port_security_enabled: neither IP nor ARP nor RARP")

	e.Flow(flows.PortSecIP, LinkLocalPriority, of.MustMatch(flows.RegAddr.Field.Prefix(netip.MustParsePrefix("fe80::/10"))), of.Drop,
		"link-local address that is not made from the port's mac_address, nor one of its allowed_address_pairs")
	e.Flow(flows.PortSecIP, 0, "", of.Drop, "address is neither of the port's fixed_ips nor of its allowed_address_pairs")

	e.Flow(flows.PortSecLLA, 90, of.MustMatch(flows.RegMAC.Is(0)), goTo(flows.PuntSelect), "no link-layer address inside the packet")
	e.Flow(flows.PortSecLLA, 0, "", of.Drop, "link-layer address inside the packet is neither the port's mac_address nor one of its allowed_address_pairs")
}

func arp(more ...of.FieldValue) of.Match {
	return of.MustMatch(append(more, of.EthType.Is(of.EthTypeARP))...)
}

func ipv6(more ...of.FieldValue) of.Match {
	return of.MustMatch(append(more, of.EthType.Is(of.EthTypeIPv6))...)
}

func icmp6(typ uint64, more ...of.FieldValue) of.Match {
	return ipv6(append(more, of.IPProto.Is(of.IPProtoICMPv6), of.ICMPv6Type.Is(typ))...)
}

func udp(ethType uint64, more ...of.FieldValue) of.Match {
	return of.MustMatch(append(more, of.EthType.Is(ethType), of.IPProto.Is(of.IPProtoUDP))...)
}

// portSecurity emits which MAC and IP addresses are the port's. They are checked apart: a port with
// several may combine them.
func portSecurity(e *flows.Emitter, p *flows.LocalPort) {
	const (
		ownMAC  = "mac_address of the port"
		ownIP   = "fixed_ips of the port"
		pairMAC = "mac_address of the port's allowed_address_pairs"
		pairIP  = "ip_address of the port's allowed_address_pairs"
	)
	macs := []model.MAC{p.MACAddress}
	for _, pair := range p.AllowedAddressPairs {
		if m := pair.MACAddress; !m.IsZero() && !slices.Contains(macs, m) {
			macs = append(macs, m)
		}
	}
	key := flows.RegPort.Is(uint64(p.Key))
	for i, m := range macs {
		reason := ownMAC
		if i > 0 {
			reason = pairMAC
		}
		mac := of.MAC(m)
		e.Flow(flows.PortSecMAC, 100, of.MustMatch(key, of.EthSrc.MAC(mac)), goTo(flows.PortSecKind), reason)
		e.Flow(flows.PortSecIP, 100, of.MustMatch(key, flows.RegAddr.Field.Addr(LinkLocal(m))), goTo(flows.PortSecLLA), reason)
		e.Flow(flows.PortSecLLA, 100, of.MustMatch(key, flows.RegMAC.Field.MAC(mac)), goTo(flows.PuntSelect), reason)
	}
	for _, ip := range p.FixedIPs {
		e.Flow(flows.PortSecIP, 100, of.MustMatch(key, flows.RegAddr.Field.Addr(ip.IPAddress)), goTo(flows.PortSecLLA), ownIP)
	}
	for _, pair := range p.AllowedAddressPairs {
		switch ip := pair.IPAddress; {
		case ip.IsSingleIP():
			e.Flow(flows.PortSecIP, 100, of.MustMatch(key, flows.RegAddr.Field.Addr(ip.Addr())), goTo(flows.PortSecLLA), pairIP)
		case ip.Addr().Is4():
			widePairIPv4(e, key, ip.Masked(), pairIP)
		default:
			widePairIPv6(e, key, ip.Masked(), pairIP)
		}
	}
}

// widePairIPv4 lets a port send from a whole prefix. It matches the prefix itself: moving each source
// to a register would cost a megaflow per source.
func widePairIPv4(e *flows.Emitter, key of.FieldValue, prefix netip.Prefix, reason string) {
	e.Flow(flows.PortSecKind, 115, arp(key, of.ARPSpa.Addr(netip.IPv4Unspecified()), of.ARPTpa.Prefix(prefix)), proveARPMAC, reason)
	e.Flow(flows.PortSecKind, 105, arp(key, of.ARPSpa.Prefix(prefix)), proveARPMAC, reason)
	e.Flow(flows.PortSecKind, 105, of.MustMatch(key, of.EthType.Is(of.EthTypeIPv4), of.IPv4Src.Prefix(prefix)), goTo(flows.PuntSelect), reason)
}

// widePairIPv6 is widePairIPv4 for IPv6.
func widePairIPv6(e *flows.Emitter, key of.FieldValue, prefix netip.Prefix, reason string) {
	e.Flow(flows.PortSecKind, 117, icmp6(neighborSolicitation, key, of.IPv6Src.Addr(netip.IPv6Unspecified()), of.NDTarget.Prefix(prefix)), proveSourceMAC, reason)
	e.Flow(flows.PortSecKind, 115, icmp6(neighborSolicitation, key, of.IPv6Src.Prefix(prefix)), proveSourceMAC, reason)
	e.Flow(flows.PortSecKind, 115, icmp6(neighborAdvertisement, key, of.NDTarget.Prefix(prefix)), proveTargetMAC, reason)
	e.Flow(flows.PortSecKind, 105, ipv6(key, of.IPv6Src.Prefix(prefix)), goTo(flows.PuntSelect), reason)
}

// LinkLocal is the link-local address of a MAC address (RFC 4291, appendix A).
func LinkLocal(m model.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}
