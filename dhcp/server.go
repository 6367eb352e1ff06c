package dhcp

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// Options are what the operator decides about leases.
type Options struct {
	LeaseDuration time.Duration // 0: a day; negative: infinite
	Domain        string        // option 15; "": none
	Metadata      bool          // hand out a route to 169.254.169.254 by way of the DHCP address
}

// Server is both the feature that has requests punted and the handler that answers them. It may be
// used by several goroutines.
type Server struct {
	lease    uint32 // seconds; infinite is 0xffffffff
	domain   string
	metadata bool
	counters counters
}

// infinite is a lease without end (RFC 2131 section 3.3).
const infinite = 1<<32 - 1

// New makes a server.
func New(o Options) *Server {
	s := &Server{domain: strings.TrimSuffix(o.Domain, "."), metadata: o.Metadata}
	switch {
	case o.LeaseDuration < 0:
		s.lease = infinite
	case o.LeaseDuration == 0:
		s.lease = 24 * 60 * 60
	default:
		s.lease = uint32(min(max(o.LeaseDuration/time.Second, 1), infinite-1))
	}
	return s
}

// Owner is the server's name in cookies.
func (s *Server) Owner() flows.Owner { return flows.OwnerDHCP }

// UDP ports (RFC 2131 section 4.1).
const (
	serverPort = 67
	clientPort = 68
)

// Compile has the requests of each network with DHCP punted and ARP answered for its DHCP port. A
// request to any other address is left alone: a guest may relay to a server of its own.
func (s *Server) Compile(v *flows.View, e *flows.Emitter) {
	for _, n := range v.Networks {
		if n.DHCP != nil {
			e.Scope(flows.Object{Kind: flows.KindNetwork, ID: n.ID}, n, func(e *flows.Emitter) { compile(n, e) })
		}
	}
}

func compile(n *flows.Network, e *flows.Emitter) {
	const priority = 100
	net := flows.RegNet.Is(uint64(n.LocalVLAN))
	punt := func(dst netip.Addr, reason string) {
		e.Flow(flows.PuntSelect, priority,
			openflow.MustMatch(net, openflow.EthType.Is(0x0800), openflow.IPProto.Is(17), openflow.IPv4Dst.Addr(dst), openflow.UDPDst.Is(serverPort)),
			openflow.ApplyGoto(flows.PuntMeter.Number, flows.RegOp.Set(uint64(flows.OpDHCPv4))), reason)
	}
	mac := macValue(n.DHCP.MACAddress)
	served := false
	for server := range servers(n) {
		served = true
		punt(server, "enable_dhcp of the subnet: renewals go to the DHCP port's fixed_ips")
		e.Flow(flows.ARPND, priority,
			openflow.MustMatch(net, openflow.EthType.Is(0x0806), openflow.ARPOp.Is(1), openflow.ARPTpa.Addr(server)),
			openflow.ApplyGoto(flows.ARPNDAnswer.Number, flows.RegMAC.Set(mac)), "fixed_ips and mac_address of the DHCP port, which has no machine")
	}
	if served {
		punt(broadcast, "enable_dhcp of a subnet of the network")
	}
	compileIPv6(n, e)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func macValue(m model.MAC) uint64 {
	return binary.BigEndian.Uint64([]byte{0, 0, m[0], m[1], m[2], m[3], m[4], m[5]})
}

// servers yields the addresses that DHCP is answered from, each with its subnet: those of the DHCP
// port in subnets with enable_dhcp.
func servers(n *flows.Network) iter.Seq2[netip.Addr, *model.Subnet] {
	return func(yield func(netip.Addr, *model.Subnet) bool) {
		for _, f := range n.DHCP.FixedIPs {
			if s := n.Subnet(f.SubnetID); s != nil && s.EnableDHCP && f.IPAddress.Is4() && !yield(f.IPAddress, s) {
				return
			}
		}
	}
}

// lease is what a port may get: one of its addresses, and who gives it.
type lease struct {
	address netip.Addr
	server  netip.Addr // the DHCP port's address in the same subnet: the server identifier
	subnet  *model.Subnet
}

// find gives the port's lease on address. If it has none, it is that on the first of its addresses that
// DHCP serves, of those in the subnet of relay if there is one; ok is false if DHCP serves none.
func find(p *flows.Punt, address, relay netip.Addr) (l lease, ok bool) {
	if p.Network.DHCP == nil {
		return lease{}, false
	}
	near := false
	for _, f := range p.Port.FixedIPs {
		if !f.IPAddress.Is4() {
			continue
		}
		for server, subnet := range servers(p.Network) {
			if subnet.ID != f.SubnetID {
				continue
			}
			here := relay.IsValid() && subnet.CIDR.Contains(relay)
			switch {
			case f.IPAddress == address:
				return lease{f.IPAddress, server, subnet}, true
			case !ok || here && !near:
				l, ok, near = lease{f.IPAddress, server, subnet}, true, here
			}
			break
		}
	}
	return l, ok
}
