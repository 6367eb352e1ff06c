// Package l2pop is layer-2 population: since the controller knows which host each port is on, br-tun
// sends unicast to exactly that host and flood only to hosts with a member of the network, and ARP
// requests and neighbour solicitations for known addresses are answered on br-int. Only what is behind a
// port without port security is learnt.
//
//	br-int ─▶ classify ─▶ from_int ─▶ unicast ─▶ tunnel to the port's host
//	                              │         └──▶ unknown ─▶ the learnt host, or hosts with such a port
//	                              └─▶ flood ───▶ tunnels to the network's group of member hosts
//	tunnel from a peer ─▶ classify ─▶ from_gre, from_vxlan, from_geneve ─▶ (learn) ─▶ br-int, tagged
//	                                                                      with the local VLAN
//
//	VIF's request ─▶ punt ─▶ arp_nd ─▶ arp_nd_answer ─▶ (nd_answer) ─▶ back to the VIF
//
// Entries follow the binding of a port, so that they stand before its VIF appears.
//
// Read this file first (what every host has), then tunnel.go and learn.go (br-tun) and answer.go (br-int).
package l2pop

import (
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Feature emits the flows of this package.
type Feature struct{}

var _ flows.Feature = Feature{}

// Owner is flows.OwnerL2Pop.
func (Feature) Owner() flows.Owner { return flows.OwnerL2Pop }

// Compile emits what the host has always, which peers it hears, and where the ports of its networks are.
func (Feature) Compile(v *flows.View, e *flows.Emitter) {
	host := flows.Object{Kind: flows.KindHost, ID: flows.HostID(v.Host.ID)}
	e.Scope(host, v.Ports.PatchInt, func(e *flows.Emitter) {
		fixed(e)
		answers(e)
		e.Flow(flows.TunClassify, 100, of.MustMatch(of.InPort.Is(uint64(v.Ports.PatchInt))), of.Goto(flows.TunFromInt.Number), "from br-int, tagged with the network's local VLAN")
	})
	u := underlay{v.Ports, v.Host.EncapIP.Is6()}
	if len(v.Peers) > 0 {
		e.Scope(flows.Object{Kind: flows.KindPeer}, peersDeps{&v.Peers[0], len(v.Peers), u}, func(e *flows.Emitter) {
			peers(e, v.Peers, u)
		})
	}
	for _, n := range v.Networks {
		e.Scope(flows.Object{Kind: flows.KindNetwork, ID: n.ID}, networkDeps{n, u}, func(e *flows.Emitter) {
			network(e, n, u)
		})
	}
}

// fixed emits what every host has.
func fixed(e *flows.Emitter) {
	e.Flow(flows.TunClassify, 0, "", of.Drop, "not from the tunnel address of an enrolled host")
	e.Flow(flows.TunFromInt, 100, of.MustMatch(of.EthDst.MACMasked(of.MAC{1}, of.MAC{1})), of.Goto(flows.TunFlood.Number), "broadcast and multicast go to all hosts with a member of the network")
	e.Flow(flows.TunFromInt, 0, "", of.Goto(flows.TunUnicast.Number), "unicast goes to one host")
	for _, table := range flows.Arrivals {
		e.Flow(table, 0, "", of.Drop, "provider:segmentation_id of no network that is here")
	}
	e.Flow(flows.TunLearn, 0, "", of.Drop, "network has no port without port security elsewhere")
	e.Flow(flows.TunUnicast, 0, "", of.Drop, "destination is no mac_address of the network on another host")
	e.Flow(flows.TunUnknown, 0, "", of.Drop, "network has no port without port security elsewhere")
	e.Flow(flows.TunFlood, 0, "", of.Drop, "network has no member on another host")
}

// underlay is this host's end of all tunnels.
type underlay struct {
	ports flows.BridgePorts
	ipv6  bool // the version of IP: a host with an address of the other is out of reach
}

// peersDeps is the identity of the list of peers: it is immutable, and the same as long as no host changes.
type peersDeps struct {
	first    **model.Host
	n        int
	underlay underlay
}

// peerDeps is all that the flows of a peer read.
type peerDeps struct {
	host     *model.Host
	underlay underlay
}

// peers emits whose tunnel frames are accepted.
func peers(e *flows.Emitter, peers []*model.Host, u underlay) {
	for _, h := range peers {
		e.Scope(flows.Object{Kind: flows.KindPeer, ID: flows.HostID(h.ID)}, peerDeps{h, u}, func(e *flows.Emitter) {
			for networkType, table := range flows.Arrivals {
				if t := (tunnel{networkType: networkType, port: u.ports.Tunnel(networkType), ipv6: u.ipv6}); t.reaches(h) {
					e.Flow(flows.TunClassify, 100, of.MustMatch(of.InPort.Is(uint64(t.port)), t.src().Addr(h.EncapIP)), of.Goto(table.Number), "tunnel address of the host")
				}
			}
		})
	}
}

// networkDeps is all that network reads.
type networkDeps struct {
	network  *flows.Network
	underlay underlay
}

// network emits where the ports of a network are, and answers for them. Where they are on a physical
// network, its own switches know.
func network(e *flows.Emitter, n *flows.Network, u underlay) {
	t := tunnelOf(n, u)
	if t.port != 0 {
		overlay(e, n, t, u.ports.PatchInt)
	}
	addrs := n.PairAddrs()
	for _, p := range n.Local {
		d := localDeps{p, n.LocalVLAN, elsewhere(p.Port, addrs), tunnel{}}
		if p.Also != nil {
			d.tunnel = t
		}
		e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, d, func(e *flows.Emitter) {
			answer(e, p.Port, d.localVLAN, d.elsewhere)
			passOwn(e, p)
			if p.Awaited {
				awaited(e, p)
			}
			if p.Also != nil {
				unicast(e, p.Port, d.localVLAN, d.tunnel, p.Also)
			}
		})
	}
	for _, p := range n.Remote {
		d := remoteDeps{p, n.LocalVLAN, elsewhere(p.Port, addrs), t}
		e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, d, func(e *flows.Emitter) {
			answer(e, p.Port, d.localVLAN, d.elsewhere)
			unicast(e, p.Port, d.localVLAN, d.tunnel, p.Hosts(nil)...)
		})
	}
}

// localDeps is all that a local port's flows read.
type localDeps struct {
	port      *flows.LocalPort
	localVLAN uint16
	elsewhere string
	tunnel    tunnel // of a port that migrates
}

// remoteDeps is all that a remote port's flows read.
type remoteDeps struct {
	port      *flows.RemotePort
	localVLAN uint16
	elsewhere string
	tunnel    tunnel
}
