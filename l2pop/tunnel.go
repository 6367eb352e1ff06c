package l2pop

import (
	"encoding/binary"
	"net/netip"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// tunnel emits an overlay network's part of br-tun: VNI to local VLAN and back, and its member hosts.
func tunnel(e *flows.Emitter, n *flows.Network, ports flows.BridgePorts) {
	vni, tag := uint64(n.Segment.SegmentationID), of.VlanVID.Is(of.VIDPresent|uint64(n.LocalVLAN))
	e.Flow(flows.TunFromVXLAN, 100, of.MustMatch(of.TunID.Is(vni)),
		of.Apply(of.PushVLAN{EtherType: of.EthTypeVLAN}, of.SetField{FieldValue: tag}, of.Output{Port: ports.PatchInt}), "provider:segmentation_id of the network")

	flood := e.Flood(flows.BrTun, n.LocalVLAN, len(n.Members))
	e.Flow(flows.TunFlood, 100, of.MustMatch(tag),
		of.Apply(of.PopVLAN{}, of.SetField{FieldValue: of.TunID.Is(vni)}, of.Group{ID: flood.Group}), "hosts with a port of the network")
	for _, addr := range n.Members {
		if addr.Is4() {
			e.Member(flood, bucketID(addr), of.MustActions(to(nil, addr, ports.VXLAN)...))
		}
	}

	for mac, holders := range n.PairMACs() {
		actions := []of.Action{of.PopVLAN{}, of.SetField{FieldValue: of.TunID.Is(vni)}}
		sent := map[netip.Addr]bool{}
		for _, p := range holders.Remote {
			if addr := p.Host.EncapIP; addr.Is4() && !sent[addr] {
				sent[addr] = true
				actions = to(actions, addr, ports.VXLAN)
			}
		}
		if len(sent) > 0 {
			e.Flow(flows.TunUnicast, 100, of.MustMatch(tag, of.EthDst.MAC(of.MAC(mac))), of.Apply(actions...), "mac_address of allowed_address_pairs: to the hosts of all its holders")
		}
	}
}

// to appends what sends the frame to a host.
func to(actions []of.Action, host netip.Addr, vxlan uint32) []of.Action {
	return append(actions, of.SetField{FieldValue: of.TunDst.Addr(host)}, of.Output{Port: vxlan})
}

// bucketID is an IPv4 address as a number. Open vSwitch takes ids up to 0xffffff00, and no host's
// address is above.
func bucketID(addr netip.Addr) uint32 {
	b := addr.As4()
	return binary.BigEndian.Uint32(b[:])
}

// unicast emits the way to a remote port's MAC address.
func unicast(e *flows.Emitter, d remoteDeps) {
	addr := d.port.Host.EncapIP
	if !addr.Is4() {
		return
	}
	e.Flow(flows.TunUnicast, 100, of.MustMatch(of.VlanVID.Is(of.VIDPresent|uint64(d.localVLAN)), of.EthDst.MAC(of.MAC(d.port.MACAddress))),
		of.Apply(of.PopVLAN{}, of.SetField{FieldValue: of.TunID.Is(uint64(d.vni))}, of.SetField{FieldValue: of.TunDst.Addr(addr)}, of.Output{Port: d.vxlan}),
		"mac_address and binding:host_id of the port")
}
