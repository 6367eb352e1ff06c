// Package capture copies frames to the controller: of one port, or of all of a host. For a while only, for
// each flow has an end that the switch keeps by itself.
//
//	br-int  classify ─▶ tap_in ─▶ controller          output ─▶ tap_out ─▶ controller
//	            └─▶ classify again, as ever               └─▶ the VIF
//	br-tun  classify ─▶ tap ─▶ controller
//	            └─▶ classify again, as ever
//
// The copies are metered, those of all captures of a bridge together; the frames themselves are not held up. What
// the switch answers in place of others (ARP, neighbour discovery) goes back without passing output and is not
// copied; what the controller asks and answers, it copies itself.
package capture

import (
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Feature emits the flows of this package.
type Feature struct{}

var _ flows.Feature = Feature{}

// Owner is flows.OwnerCapture.
func (Feature) Owner() flows.Owner { return flows.OwnerCapture }

// meter limits the copies of a bridge. It is always there, so that nothing is left of a capture whose flows
// the switch has removed. Its number is above that of any port.
var meter = flows.Meter{ID: 0xff00, Rate: 2000, Burst: 2000}

// Compile emits the taps of each capture. Two captures may want the same tap.
func (Feature) Compile(v *flows.View, e *flows.Emitter) {
	e.Meter(flows.BrInt, meter)
	e.Meter(flows.BrTun, meter)
	for i := range v.Captures {
		c := &v.Captures[i]
		// This level is only to tell captures apart; it emits nothing itself.
		e.Scope(flows.Object{ID: c.ID}, v, func(e *flows.Emitter) {
			e = e.Until(c.Until)
			if c.Port != nil {
				vif(e, v, c.Port, c.Network)
				if v.Ports.Tunnel(c.Network.Segment.NetworkType) != 0 {
					e.Scope(hostOf(v), v.Ports, func(e *flows.Emitter) { taps(e, v.Ports) })
				}
				return
			}
			for _, n := range v.Networks {
				for _, p := range n.Local {
					vif(e, v, p, n)
				}
			}
			e.Scope(hostOf(v), v.Ports, func(e *flows.Emitter) {
				taps(e, v.Ports)
				for _, port := range tunnels(v.Ports) {
					copied(e, flows.TunTap, 50, of.MustMatch(of.InPort.Is(uint64(port))), flows.FromTunnel, 0, 0, "frames of the tunnels of a captured host")
				}
				copied(e, flows.TunTap, 50, of.MustMatch(of.InPort.Is(uint64(v.Ports.PatchInt))), flows.ToTunnel, 0, 0, "frames from br-int of a captured host")
			})
		})
	}
}

func hostOf(v *flows.View) flows.Object {
	return flows.Object{Kind: flows.KindHost, ID: flows.HostID(v.Host.ID)}
}

// portDeps is all that the flows of a port, or of its network, read.
type portDeps struct {
	port      *flows.LocalPort // nil: of the network
	segment   model.Segment
	localVLAN uint16
	ports     flows.BridgePorts
}

// vif emits what copies a port's frames.
func vif(e *flows.Emitter, v *flows.View, p *flows.LocalPort, n *flows.Network) {
	tunnel := v.Ports.Tunnel(n.Segment.NetworkType)
	if tunnel != 0 {
		e.Scope(flows.Object{Kind: flows.KindNetwork, ID: n.ID}, portDeps{nil, n.Segment, n.LocalVLAN, v.Ports}, func(e *flows.Emitter) {
			copied(e, flows.TunTap, 90, of.MustMatch(of.InPort.Is(uint64(tunnel)), of.TunID.Is(uint64(n.Segment.SegmentationID)), of.EthDst.MACMasked(of.MAC{1}, of.MAC{1})),
				flows.FromTunnelMany, uint32(n.LocalVLAN), 0, "broadcast and multicast of a captured port's network")
		})
	}
	e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, portDeps{p, n.Segment, n.LocalVLAN, v.Ports}, func(e *flows.Emitter) {
		const reason = "the port is captured"
		in := of.InPort.Is(uint64(p.OFPort))
		e.Flow(flows.Classify, 300, of.MustMatch(in, flows.RegTap.Is(0)), of.Apply(flows.RegTap.Set(1), of.Resubmit{Table: flows.TapIn.Number}, of.Resubmit{Table: flows.Classify.Number}), reason)
		copied(e, flows.TapIn, 100, of.MustMatch(in), flows.FromVIF, p.Key, p.Generation, reason)
		out := of.MustMatch(flows.RegOut.Is(uint64(p.Key)))
		e.Flow(flows.Output, 200, out, of.Apply(of.Resubmit{Table: flows.TapOut.Number}, of.OutputReg{Src: flows.RegOut.Low(16)}), reason)
		copied(e, flows.TapOut, 100, out, flows.ToVIF, p.Key, p.Generation, reason)
		if tunnel == 0 {
			return
		}
		mac := of.MAC(p.MACAddress)
		copied(e, flows.TunTap, 100, of.MustMatch(of.InPort.Is(uint64(v.Ports.PatchInt)), of.VlanVID.Is(of.VIDPresent|uint64(n.LocalVLAN)), of.EthSrc.MAC(mac)), flows.ToTunnel, p.Key, p.Generation, reason)
		copied(e, flows.TunTap, 100, of.MustMatch(of.InPort.Is(uint64(tunnel)), of.TunID.Is(uint64(n.Segment.SegmentationID)), of.EthDst.MAC(mac)), flows.FromTunnel, p.Key, p.Generation, reason)
	})
}

// taps emits what leads br-tun's frames to its tap.
func taps(e *flows.Emitter, ports flows.BridgePorts) {
	for _, port := range append(tunnels(ports), ports.PatchInt) {
		e.Flow(flows.TunClassify, 200, of.MustMatch(of.InPort.Is(uint64(port)), flows.RegTun.Is(0)),
			of.Apply(flows.RegTun.Set(1), of.Resubmit{Table: flows.TunTap.Number}, of.Resubmit{Table: flows.TunClassify.Number}), "something of the host is captured")
	}
}

// tunnels are the tunnel ports that there are.
func tunnels(ports flows.BridgePorts) (list []uint32) {
	for _, port := range []uint32{ports.VXLAN, ports.GRE, ports.Geneve} {
		if port != 0 {
			list = append(list, port)
		}
	}
	return list
}

func copied(e *flows.Emitter, t *flows.Table, priority uint16, m of.Match, point flows.CapturePoint, key, generation uint32, reason string) {
	e.Flow(t, priority, m, of.Apply(of.Controller{UserData: flows.AppendCaptured(nil, point, key, generation), MeterID: meter.ID}), reason)
}
