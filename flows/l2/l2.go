// Package l2 is layer-2 switching on br-int: which VIF or network a frame comes from, whether the VIF
// may send it, and where its destination MAC address is.
//
//	VIF ──▶ classify ─▶ port_security ─▶ punt ─▶ … ─▶ l2 ────────────▶ output ─▶ VIF
//	              └───▶ mac_learn ──────▶ ││          ├─▶ l2_flood ─▶    └─────▶ uplink
//	                                      ││          └─▶ l2_unknown ─▶
//	                                      └┴─▶ punt_meter ─▶ controller
//	uplink ─▶ classify ─▶ (mac_learn) ─▶ l2
//
// The uplink of a network is the patch to br-tun for an overlay, that to the provider bridge for flat
// and vlan, and none for local. A frame from it was checked where it entered and goes to l2 at once.
// Requests in it are neither punted nor answered, so that each is answered once.
//
// Read this file first (what every host has), then network.go (networks and their ports), uplink.go
// (the way to other hosts), port_security.go (what a VIF may send) and learn.go (what may be behind one
// that may send anything).
package l2

import (
	"cmp"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Feature emits the flows of this package.
type Feature struct {
	PuntRate int // packets per second that a port may have punted; 0: flows.PuntRate
}

var _ flows.Feature = Feature{}

// Owner is flows.OwnerL2.
func (Feature) Owner() flows.Owner { return flows.OwnerL2 }

// Compile emits what the host has always, and what its networks and their local ports need.
func (f Feature) Compile(v *flows.View, e *flows.Emitter) {
	host := flows.Object{Kind: flows.KindHost, ID: flows.HostID(v.Host.ID)}
	e.Scope(host, v.Ports.PatchTun, func(e *flows.Emitter) {
		fixed(e)
		portSecurityFixed(e)
		patchTun(e, v.Ports.PatchTun)
	})
	for _, n := range v.Networks {
		e.Scope(flows.Object{Kind: flows.KindNetwork, ID: n.ID}, networkDeps{n, v.Ports.PatchTun}, func(e *flows.Emitter) {
			network(e, n, v.Ports.PatchTun, uint32(cmp.Or(f.PuntRate, flows.PuntRate)))
		})
	}
}

const ethTypeServiceVLAN = 0x88a8 // IEEE 802.1ad

// fixed emits what every host has.
func fixed(e *flows.Emitter) {
	e.Flow(flows.Classify, 200, of.MustMatch(of.EthDst.MACMasked(of.MAC{0x01, 0x80, 0xc2}, of.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xf0})), of.Drop,
		"link-local protocols (STP, LACP, LLDP) end at the bridge: IEEE 802.1Q 8.6.3")
	for _, tag := range []uint64{of.EthTypeVLAN, ethTypeServiceVLAN} {
		e.Flow(flows.Classify, 60, of.MustMatch(of.VlanVID.Is(of.VIDPresent), of.EthType.Is(tag)), of.Drop,
			"a VLAN tag behind a priority tag, which Open vSwitch may not look into (vlan-limit): alone it would count")
	}
	e.Flow(flows.Classify, 50, of.MustMatch(of.VlanVID.Is(of.VIDPresent)), of.Apply(of.PopVLAN{}, of.Resubmit{Table: flows.Classify.Number}),
		"a priority tag (VID 0) counts as untagged")
	e.Flow(flows.Classify, 0, "", of.Drop, "no VIF of a port, or a VLAN tag that the VIF may not send")

	e.Flow(flows.MACLearn, 0, "", of.Drop, "no VIF without port security")
	e.Flow(flows.PuntSelect, 0, "", goTo(flows.L2), "no request that is answered here")
	e.Flow(flows.PuntMeter, 0, "", of.Drop, "no VIF of a port")

	e.Flow(flows.L2, 90, of.MustMatch(of.EthDst.MACMasked(of.MAC{1}, of.MAC{1})), goTo(flows.L2Flood), "broadcast and multicast go to all members of the network")
	e.Flow(flows.L2, 0, "", of.Drop, "destination is no mac_address of the network")
	e.Flow(flows.L2Unknown, 0, "", goTo(flows.Output), "learnt: REG_OUT is where it was heard")
	e.Flow(flows.L2Flood, 0, "", of.Drop, "no member of the network is here")
	e.Flow(flows.Output, 0, "", of.Apply(of.OutputReg{Src: flows.RegOut.Low(16)}), "a VIF and a flat network get their frames untagged")
}

// patchTun is the way to and from br-tun. There a frame carries the local VLAN as a tag, since a patch
// port forgets the registers.
func patchTun(e *flows.Emitter, port uint32) {
	e.Flow(flows.Classify, 100, of.MustMatch(of.InPort.Is(uint64(port)), of.VlanVID.Masked(of.VIDPresent, of.VIDPresent)),
		of.ApplyGoto(flows.L2.Number, of.Move{Src: of.VlanVID.Bits(0, 11), Dst: flows.RegNet.Low(12)}, of.PopVLAN{}),
		"from br-tun, tagged with the network's local VLAN")
	e.Flow(flows.Output, 100, of.MustMatch(flows.RegOut.Is(uint64(port))),
		of.Apply(of.PushVLAN{EtherType: of.EthTypeVLAN}, of.Move{Src: flows.RegNet.Low(12), Dst: of.VlanVID.Bits(0, 11)}, of.Output{Port: port}),
		"to br-tun, tagged with the network's local VLAN")
}

func goTo(t *flows.Table) of.Instructions { return of.Goto(t.Number) }
