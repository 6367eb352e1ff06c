package dhcp

import (
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// UDP ports (RFC 8415 section 7.2).
const (
	v6ServerPort = 547
	v6ClientPort = 546
)

// v6Servers is where clients send everything: no server of ours lets them use unicast (RFC 8415
// section 7.1).
var v6Servers = netip.MustParseAddr("ff02::1:2")

// addressMode is how clients of an IPv6 subnet get their addresses: the subnet's ipv6_address_mode,
// or what its routers tell them.
func addressMode(s *model.Subnet) string {
	if s.IPv6AddressMode != "" {
		return s.IPv6AddressMode
	}
	return s.IPv6RAMode
}

// informs says whether DHCPv6 tells clients of the subnet anything.
func informs(s *model.Subnet) bool {
	return s.EnableDHCP && s.CIDR.Addr().Is6() && addressMode(s) != model.SLAAC
}

// assigns says whether DHCPv6 gives clients of the subnet their addresses. It does without any mode:
// the client was told to ask by a router that is not ours, or by its user.
func assigns(s *model.Subnet) bool { return informs(s) && addressMode(s) != model.DHCPv6Stateless }

// advertises says whether the subnet's prefix is in router advertisements of ours.
func advertises(s *model.Subnet) bool {
	return s.EnableDHCP && s.CIDR.Addr().Is6() && s.IPv6RAMode != ""
}

// compileIPv6 has the messages of DHCPv6 clients punted, and router solicitations.
func compileIPv6(n *flows.Network, e *flows.Emitter) {
	const priority = 100
	net := flows.RegNet.Is(uint64(n.LocalVLAN))
	informed, advertised := false, false
	for _, s := range n.Subnets {
		informed, advertised = informed || informs(s), advertised || advertises(s)
	}
	if informed {
		e.Flow(flows.PuntSelect, priority,
			of.MustMatch(net, of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoUDP), of.IPv6Dst.Addr(v6Servers), of.UDPDst.Is(v6ServerPort)),
			of.ApplyGoto(flows.PuntMeter.Number, flows.RegOp.Set(uint64(flows.OpDHCPv6))), "enable_dhcp of an IPv6 subnet of the network")
	}
	if advertised {
		e.Flow(flows.PuntSelect, priority,
			of.MustMatch(net, of.EthType.Is(of.EthTypeIPv6), of.IPProto.Is(of.IPProtoICMPv6), of.ICMPv6Type.Is(routerSolicitation)),
			of.ApplyGoto(flows.PuntMeter.Number, flows.RegOp.Set(uint64(flows.OpRouterSolicitation))), "ipv6_ra_mode of a subnet of the network")
	}
}

// v6Subnet is the subnet of one of the port's addresses if it informs clients; else nil.
func v6Subnet(p *flows.Punt, f model.FixedIP) *model.Subnet {
	if s := p.Network.Subnet(f.SubnetID); s != nil && f.IPAddress.Is6() && informs(s) {
		return s
	}
	return nil
}

// v6Address is the first of the port's addresses whose subnet informs clients; the zero Addr: none, so
// that DHCPv6 has nothing to tell it.
func v6Address(p *flows.Punt) netip.Addr {
	for _, f := range p.Port.FixedIPs {
		if v6Subnet(p, f) != nil {
			return f.IPAddress
		}
	}
	return netip.Addr{}
}

// assigned says whether DHCPv6 gives f to the port.
func assigned(p *flows.Punt, f model.FixedIP) bool {
	s := v6Subnet(p, f)
	return s != nil && assigns(s)
}

// hasAssigned says whether DHCPv6 gives address to the port or, for the zero Addr, any at all.
func hasAssigned(p *flows.Punt, address netip.Addr) bool {
	for _, f := range p.Port.FixedIPs {
		if (!address.IsValid() || f.IPAddress == address) && assigned(p, f) {
			return true
		}
	}
	return false
}

// onLink says whether address is of a subnet of the network.
func onLink(n *flows.Network, address netip.Addr) bool {
	for _, s := range n.Subnets {
		if s.CIDR.Contains(address) {
			return true
		}
	}
	return false
}

// linkLocal is the address that answers come from: that which the DHCP port would make of its MAC
// address (RFC 4291 appendix A).
func linkLocal(m model.MAC) [16]byte {
	return [16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]}
}
