package l2

import (
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// uplink emits a network's way to and from other hosts. Towards br-tun it is tagged with the local
// VLAN, for all networks alike (patchTun); towards a provider bridge with the provider's VLAN, or not
// at all. A provider bridge switches by itself: what is not here is there.
func uplink(e *flows.Emitter, n *flows.Network, d *domain) {
	const reason = "a mac_address that is not here is elsewhere: provider:network_type "
	if !d.learns() {
		e.Flow(flows.L2, 50, of.MustMatch(d.net()), leave(d.uplink), reason+n.Segment.NetworkType)
	}
	e.Member(d.flood, d.uplink, of.MustActions(deliver(nil, d.uplink)...))

	in, seg := of.InPort.Is(uint64(d.uplink)), uint64(n.Segment.SegmentationID)
	switch n.Segment.NetworkType {
	case model.TypeFlat:
		e.Flow(flows.Classify, 100, of.MustMatch(in, of.VlanVID.Is(0)), arrive(d), "from the physical network, untagged")
	case model.TypeVLAN:
		e.Flow(flows.Classify, 100, of.MustMatch(in, of.VlanVID.Is(of.VIDPresent|seg)), arrive(d, of.PopVLAN{}), "from the physical network: provider:segmentation_id of the network")
		e.Flow(flows.Output, 110, of.MustMatch(d.net(), flows.RegOut.Is(uint64(d.uplink))),
			of.Apply(of.PushVLAN{EtherType: of.EthTypeVLAN}, of.SetField{FieldValue: of.VlanVID.Is(of.VIDPresent | seg)}, of.Output{Port: d.uplink}),
			"to the physical network: provider:segmentation_id of the network")
	default:
		if d.learns() {
			e.Flow(flows.Classify, 110, of.MustMatch(in, of.VlanVID.Is(of.VIDPresent|uint64(d.localVLAN))), arrive(d, of.PopVLAN{}), "from br-tun, to be learnt")
		}
	}
}

// arrive takes a frame from the uplink into the network. It was checked where it was sent.
func arrive(d *domain, first ...of.Action) of.Instructions {
	do := append(first, flows.RegNet.Set(uint64(d.localVLAN)))
	if d.learns() {
		return of.ApplyGoto(flows.MACLearn.Number, append(do, flows.RegPort.Set(uint64(d.uplink)))...)
	}
	return of.ApplyGoto(flows.L2.Number, do...)
}
