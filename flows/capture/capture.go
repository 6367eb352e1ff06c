// Package capture copies frames to the controller: of one port, or of all of a host. For a while only, for
// each flow has an end that the switch keeps by itself.
//
//	br-int  classify ─▶ tap_in ─▶ controller          output ─▶ tap_out ─▶ controller
//	            └─▶ classify again, as ever               └─▶ the VIF, or the physical network
//	br-tun  classify ─▶ tap ─▶ controller         nd_answer ─▶ tap_out ─▶ controller
//	            └─▶ classify again, as ever               └─▶ back to the VIF
//
// The copies are metered, those of all captures of a bridge together; the frames themselves are not held up. What
// the controller asks and answers, it copies itself.
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
				network(e, v, c.Network, false)
				vif(e, v, c.Port, c.Network)
				if v.Ports.Tunnel(c.Network.Segment.NetworkType) != 0 {
					e.Scope(hostOf(v), v.Ports, func(e *flows.Emitter) { taps(e, v.Ports) })
				}
				return
			}
			for _, n := range v.Networks {
				network(e, v, n, true)
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

// networkDeps is all that the flows of a network read.
type networkDeps struct {
	segment   model.Segment
	localVLAN uint16
	tunnel    uint32 // on br-tun
	uplink    uint32 // of a flat or VLAN network
	host      bool   // all of the host is captured
}

// portDeps is all that the flows of a port read.
type portDeps struct {
	port *flows.LocalPort
	networkDeps
	patchInt uint32
}

func depsOf(v *flows.View, n *flows.Network) networkDeps {
	return networkDeps{segment: n.Segment, localVLAN: n.LocalVLAN, tunnel: v.Ports.Tunnel(n.Segment.NetworkType), uplink: n.Uplink}
}

// many are broadcast and multicast.
var many = of.EthDst.MACMasked(of.MAC{1}, of.MAC{1})

// tag is what the network's frames have on the way to and from the physical network.
func (d *networkDeps) tag() of.FieldValue {
	if d.segment.NetworkType == model.TypeVLAN {
		return of.VlanVID.Is(of.VIDPresent | uint64(d.segment.SegmentationID))
	}
	return of.VlanVID.Is(0)
}

// network emits what copies frames of a network that are not of one port, and what leads to the taps of its
// physical network.
func network(e *flows.Emitter, v *flows.View, n *flows.Network, host bool) {
	d := depsOf(v, n)
	d.host = host
	e.Scope(flows.Object{Kind: flows.KindNetwork, ID: n.ID}, d, func(e *flows.Emitter) {
		const reason = "broadcast and multicast of a captured port's network"
		if d.tunnel != 0 {
			copied(e, flows.TunTap, 90, of.MustMatch(of.InPort.Is(uint64(d.tunnel)), of.TunID.Is(uint64(d.segment.SegmentationID)), many), flows.FromTunnelMany, uint32(d.localVLAN), 0, reason)
		}
		if d.uplink == 0 {
			return
		}
		in, out := of.InPort.Is(uint64(d.uplink)), flows.RegOut.Is(uint64(d.uplink))
		tapped(e, d.uplink, "something of the physical network is captured")
		copied(e, flows.TapIn, 90, of.MustMatch(in, d.tag(), many), flows.FromPhysicalMany, uint32(d.localVLAN), 0, reason)
		send := []of.Action{of.Resubmit{Table: flows.TapOut.Number}, of.OutputReg{Src: flows.RegOut.Low(16)}}
		if d.segment.NetworkType == model.TypeVLAN {
			send = append([]of.Action{of.PushVLAN{EtherType: of.EthTypeVLAN}, of.SetField{FieldValue: d.tag()}}, send...)
		}
		e.Flow(flows.Output, 200, of.MustMatch(flows.RegNet.Is(uint64(d.localVLAN)), out), of.Apply(send...), "something of the network is captured on its way to the physical network")
		if host {
			copied(e, flows.TapIn, 50, of.MustMatch(in), flows.FromPhysical, d.uplink, 0, "frames of the physical networks of a captured host")
			copied(e, flows.TapOut, 50, of.MustMatch(out), flows.ToPhysical, d.uplink, 0, "frames to the physical networks of a captured host")
		}
	})
}

// vif emits what copies a port's frames.
func vif(e *flows.Emitter, v *flows.View, p *flows.LocalPort, n *flows.Network) {
	d := portDeps{p, depsOf(v, n), v.Ports.PatchInt}
	e.Scope(flows.Object{Kind: flows.KindPort, ID: p.ID}, d, func(e *flows.Emitter) {
		const reason = "the port is captured"
		key, out, mac := flows.RegPort.Is(uint64(p.Key)), flows.RegOut.Is(uint64(p.Key)), of.MAC(p.MACAddress)
		tapped(e, p.OFPort, reason)
		copied(e, flows.TapIn, 100, of.MustMatch(of.InPort.Is(uint64(p.OFPort))), flows.FromVIF, p.Key, p.Generation, reason)
		e.Flow(flows.Output, 200, of.MustMatch(out), of.Apply(of.Resubmit{Table: flows.TapOut.Number}, of.OutputReg{Src: flows.RegOut.Low(16)}), reason)
		copied(e, flows.TapOut, 100, of.MustMatch(out), flows.ToVIF, p.Key, p.Generation, reason)
		copied(e, flows.TapOut, 100, of.MustMatch(key, flows.RegOut.Is(0)), flows.Answered, p.Key, p.Generation, "the port is captured: what the switch answers it")
		if d.uplink != 0 {
			copied(e, flows.TapIn, 100, of.MustMatch(of.InPort.Is(uint64(d.uplink)), d.tag(), of.EthDst.MAC(mac)), flows.FromPhysical, p.Key, p.Generation, reason)
			copied(e, flows.TapOut, 100, of.MustMatch(key, flows.RegOut.Is(uint64(d.uplink))), flows.ToPhysical, p.Key, p.Generation, reason)
		}
		if d.tunnel != 0 {
			copied(e, flows.TunTap, 100, of.MustMatch(of.InPort.Is(uint64(d.patchInt)), of.VlanVID.Is(of.VIDPresent|uint64(d.localVLAN)), of.EthSrc.MAC(mac)), flows.ToTunnel, p.Key, p.Generation, reason)
			copied(e, flows.TunTap, 100, of.MustMatch(of.InPort.Is(uint64(d.tunnel)), of.TunID.Is(uint64(d.segment.SegmentationID)), of.EthDst.MAC(mac)), flows.FromTunnel, p.Key, p.Generation, reason)
		}
	})
}

// tapped emits what shows the frames of a port of br-int to the tap. What would go back through it is not sent,
// and so not copied.
func tapped(e *flows.Emitter, port uint32, reason string) {
	in := of.InPort.Is(uint64(port))
	e.Flow(flows.Classify, 300, of.MustMatch(in, flows.RegTap.Is(0)), of.Apply(flows.RegTap.Set(1), of.Resubmit{Table: flows.TapIn.Number}, of.Resubmit{Table: flows.Classify.Number}), reason)
	e.Flow(flows.TapOut, 110, of.MustMatch(in, flows.RegOut.Is(uint64(port))), of.Drop, "a frame is not sent back through the port that it came by")
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
