package l2

import (
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// networkDeps is all that network reads.
type networkDeps struct {
	network  *flows.Network
	patchTun uint32
}

// network emits a network's flood set, its way off the host, and its local ports.
func network(e *flows.Emitter, n *flows.Network, patchTun uint32) {
	net := flows.RegNet.Is(uint64(n.LocalVLAN))
	flood := e.Flood(flows.BrInt, n.LocalVLAN, len(n.Local)+1)
	e.Flow(flows.L2Flood, 100, of.MustMatch(net), of.Apply(of.Group{ID: flood.Group}), "members of the network: its ports here, and br-tun")
	overlay := n.Segment.NetworkType == "vxlan"
	if overlay {
		e.Flow(flows.L2, 50, of.MustMatch(net), of.ApplyGoto(flows.Output.Number, flows.RegOut.Set(uint64(patchTun))),
			"a mac_address that is not here is on another host: provider:network_type vxlan")
		e.Member(flood, patchTun, of.MustActions(deliver(nil, patchTun)...))
	}
	for _, p := range n.Local {
		e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, portDeps{p, n.LocalVLAN, flood}, func(e *flows.Emitter) {
			port(e, p, n.LocalVLAN, flood)
		})
	}
	for mac, holders := range n.PairMACs() {
		if len(holders.Local) == 0 {
			continue // as any other address that is not here
		}
		var actions []of.Action
		for _, p := range holders.Local {
			actions = deliver(actions, p.Key)
		}
		if overlay && len(holders.Remote) > 0 {
			actions = deliver(actions, patchTun) // last: it leaves a tag on the frame
		}
		e.Flow(flows.L2, 100, of.MustMatch(net, of.EthDst.MAC(of.MAC(mac))), of.Apply(actions...), "mac_address of allowed_address_pairs: to all its holders")
	}
}

// deliver appends what sends a copy of the frame to the port with a key, and goes on.
func deliver(actions []of.Action, key uint32) []of.Action {
	return append(actions, flows.RegOut.Set(uint64(key)), of.Resubmit{Table: flows.Output.Number})
}

// portDeps is all that port reads.
type portDeps struct {
	port      *flows.LocalPort
	localVLAN uint16
	flood     flows.Flood
}

// port emits what a VIF here needs: who it is, what it may send, what it may ask of the controller, and
// where frames for it go.
func port(e *flows.Emitter, p *flows.LocalPort, localVLAN uint16, flood flows.Flood) {
	key, net := flows.RegPort.Is(uint64(p.Key)), flows.RegNet.Is(uint64(localVLAN))
	first := flows.PuntSelect
	if p.PortSecurityEnabled {
		first = flows.PortSecMAC
		portSecurity(e, p)
	}
	e.Flow(flows.Classify, 100, of.MustMatch(of.InPort.Is(uint64(p.OFPort)), of.VlanVID.Is(0)),
		of.ApplyGoto(first.Number, flows.RegPort.Set(uint64(p.Key)), flows.RegNet.Set(uint64(localVLAN))), "the port's VIF, untagged")

	e.Meter(flows.BrInt, flows.Meter{ID: p.Key, Rate: flows.PuntRate, Burst: flows.PuntBurst})
	e.Flow(flows.PuntMeter, 100, of.MustMatch(key),
		of.Apply(of.Meter{ID: p.Key}, of.Controller{MaxLen: 0xffff, UserData: flows.AppendUserdata(nil, p.Key, p.Generation)}), "the port's VIF may ask the controller, within its meter")

	e.Flow(flows.L2, 100, of.MustMatch(net, of.EthDst.MAC(of.MAC(p.MACAddress))),
		of.ApplyGoto(flows.Output.Number, flows.RegOut.Set(uint64(p.Key))), "mac_address of the port")
	e.Member(flood, p.Key, of.MustActions(deliver(nil, p.Key)...))
}
