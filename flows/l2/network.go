package l2

import (
	"slices"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// networkDeps is all that network reads.
type networkDeps struct {
	network  *flows.Network
	patchTun uint32
}

// domain is what the flows of a network's ports depend on beside the port.
type domain struct {
	localVLAN uint16
	uplink    uint32      // to the network's other hosts: the patch to br-tun or to the provider bridge; 0: there is no way
	flood     flows.Flood // all members
	unknown   flows.Flood // those that unicast to an unknown MAC reaches; none unless a VIF here has no port security
	puntRate  uint32
}

func (d *domain) net() of.FieldValue { return flows.RegNet.Is(uint64(d.localVLAN)) }

// learns says whether MACs must be learnt here: a VIF may send from any.
func (d *domain) learns() bool { return d.unknown != flows.Flood{} }

// network emits a network's flood set, its way to other hosts, and its ports.
func network(e *flows.Emitter, n *flows.Network, patchTun, puntRate uint32) {
	d := domain{localVLAN: n.LocalVLAN, uplink: n.Uplink, puntRate: puntRate}
	if n.Segment.Overlay() {
		d.uplink = patchTun
	}
	d.flood = e.Flood(flows.BrInt, flows.FloodGroup(n.LocalVLAN), len(n.Local)+1)
	e.Flow(flows.L2Flood, 100, of.MustMatch(d.net()), of.Apply(of.Group{ID: d.flood.Group}), "members of the network: its ports here, and the way to other hosts")
	open := 0
	for _, p := range n.Local {
		if !p.PortSecurityEnabled {
			open++
		}
	}
	if open > 0 {
		d.unknown = e.Flood(flows.BrInt, flows.UnknownGroup(n.LocalVLAN), open+1)
		unknown(e, &d)
	}
	if d.uplink != 0 {
		uplink(e, n, &d)
	}
	for _, p := range n.Local {
		e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, portDeps{p, d}, func(e *flows.Emitter) { port(e, p, &d) })
	}
	if d.learns() && d.uplink != 0 {
		for _, p := range n.Remote {
			e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, remoteDeps{p, d.localVLAN, d.uplink}, func(e *flows.Emitter) {
				e.Flow(flows.L2, 100, of.MustMatch(d.net(), of.EthDst.MAC(of.MAC(p.MACAddress))), leave(d.uplink), "mac_address of a port elsewhere: no port here takes it by sending from it")
			})
		}
	}
	pairMACs(e, n, &d)
}

// pairMACs emits where the MACs of allowed_address_pairs are: with all ports that may use them. In
// practice these are two or three (VRRP), so that they stand in the flow itself; a group would need an
// id of its own. A MAC of a great many is where everybody is.
func pairMACs(e *flows.Emitter, n *flows.Network, d *domain) {
	for mac, holders := range n.PairMACs() {
		match := of.MustMatch(d.net(), of.EthDst.MAC(of.MAC(mac)))
		switch {
		case len(holders.Local) > flows.MaxHolders:
			e.Flow(flows.L2, 100, match, goTo(flows.L2Flood), "mac_address of very many allowed_address_pairs: to all members")
		case len(holders.Local) > 0:
			var actions []of.Action
			for _, p := range holders.Local {
				actions = deliver(actions, p.Key)
			}
			if d.uplink != 0 && (len(holders.Remote) > 0 || slices.ContainsFunc(holders.Local, func(p *flows.LocalPort) bool { return p.Also != nil })) {
				actions = deliver(actions, d.uplink) // last: it leaves a tag on the frame
			}
			e.Flow(flows.L2, 100, match, of.Apply(actions...), "mac_address of allowed_address_pairs: to all its holders")
		case d.learns() && d.uplink != 0:
			e.Flow(flows.L2, 100, match, leave(d.uplink), "mac_address of allowed_address_pairs: all its holders are elsewhere")
		}
	}
}

// deliver appends what sends a copy of the frame to the port with a key, and goes on.
func deliver(actions []of.Action, key uint32) []of.Action {
	return append(actions, flows.RegOut.Set(uint64(key)), of.Resubmit{Table: flows.Output.Number})
}

// leave sends the frame to the port with a key, and is done.
func leave(key uint32) of.Instructions {
	return of.ApplyGoto(flows.Output.Number, flows.RegOut.Set(uint64(key)))
}

// remoteDeps is all that the flow of a port elsewhere reads.
type remoteDeps struct {
	port      *flows.RemotePort
	localVLAN uint16
	uplink    uint32
}

// portDeps is all that port reads.
type portDeps struct {
	port   *flows.LocalPort
	domain domain
}

// port emits what a VIF here needs: who it is, what it may send, what it may ask of the controller, and
// where frames for it go.
func port(e *flows.Emitter, p *flows.LocalPort, d *domain) {
	key := flows.RegPort.Is(uint64(p.Key))
	first := flows.PortSecMAC
	if p.PortSecurityEnabled {
		portSecurity(e, p)
	} else {
		first = flows.MACLearn
		learnFrom(e, p, d)
	}
	e.Flow(flows.Classify, 100, of.MustMatch(of.InPort.Is(uint64(p.OFPort)), of.VlanVID.Is(0)),
		of.ApplyGoto(first.Number, flows.RegPort.Set(uint64(p.Key)), flows.RegNet.Set(uint64(d.localVLAN))), "the port's VIF, untagged")

	e.Meter(flows.BrInt, flows.Meter{ID: p.Key, Rate: d.puntRate, Burst: d.puntRate * flows.PuntBurst / flows.PuntRate})
	e.Flow(flows.PuntMeter, 100, of.MustMatch(key),
		of.Apply(of.Meter{ID: p.Key}, of.Controller{MaxLen: 0xffff, UserData: flows.AppendUserdata(nil, p.Key, p.Generation)}), "the port's VIF may ask the controller, within its meter")

	to, reason := leave(p.Key), "mac_address of the port"
	if p.Also != nil && d.uplink != 0 {
		to, reason = of.Apply(deliver(deliver(nil, p.Key), d.uplink)...), "mac_address of the port, which migrates: here and at the other end"
	}
	e.Flow(flows.L2, 100, of.MustMatch(d.net(), of.EthDst.MAC(of.MAC(p.MACAddress))), to, reason)
	e.Member(d.flood, p.Key, of.MustActions(deliver(nil, p.Key)...))
}
