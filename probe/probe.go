// Package probe measures the tunnels between hosts that share an overlay network: whether frames come
// back, how long that takes, and how large a guest's packets may be.
//
//	controller ─ packet-out ─▶ br-tun ══ tun_id 0 ══▶ br-tun of the peer
//	                                                    │ sends it back by itself
//	controller ◀─ packet-in ── br-tun ◀══════════════════┘
//
// A probe is an Ethernet frame as large as a guest's (frame.go), in a tunnel of the network's type with
// tun_id 0, which is no network's. The peer's switch returns it, so that a probe leaves and enters the
// controller by one host's connection: what is measured does not depend on the peer's session, or on
// which controller has it. Frames of others than enrolled hosts never get that far (br-tun's table 0).
//
// Each host has a Prober (prober.go): it is told what the host's view is, and by it what to send and
// when. A round of probes begins with one that goes no further than the host's own switch, which tells
// what of the round trip is the control channel's. Then it asks one path (path.go) for the least frame,
// the largest that a guest may send and, while that does not come back, some between.
//
// Read this file first, then path.go.
package probe

import (
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Feature emits the flows of this package.
type Feature struct{}

var _ flows.Feature = Feature{}

// Owner is flows.OwnerProbe.
func (Feature) Owner() flows.Owner { return flows.OwnerProbe }

// Meters of br-tun. One limits what a host returns, one what its own switch hands to the controller:
// both are far above what is sent to one host, and what one host sends (framesPerSecond).
var (
	returned = flows.Meter{ID: 1, Rate: 1000, Burst: 1000}
	punted   = flows.Meter{ID: 2, Rate: 100, Burst: 100}
)

// tunnelsDeps is all that the flows read.
type tunnelsDeps struct {
	ports flows.BridgePorts
	ipv6  bool
}

// Compile emits, for each kind of tunnel, what returns the probes of other hosts, which table 0 has
// proved to be enrolled, and what hands those that came back to the controller.
func (Feature) Compile(v *flows.View, e *flows.Emitter) {
	d := tunnelsDeps{v.Ports, v.Host.EncapIP.Is6()}
	e.Scope(flows.Object{Kind: flows.KindHost, ID: flows.HostID(v.Host.ID)}, d, func(e *flows.Emitter) {
		from, to := of.TunSrc, of.TunDst
		if d.ipv6 {
			from, to = of.TunIPv6Src, of.TunIPv6Dst
		}
		arriving := func(dst of.MAC) of.Match {
			return of.MustMatch(of.TunID.Is(0), of.EthType.Is(etherType), of.EthDst.MAC(dst))
		}
		e.Meter(flows.BrTun, returned)
		e.Meter(flows.BrTun, punted)
		for networkType, table := range flows.Arrivals {
			if d.ports.Tunnel(networkType) == 0 {
				continue
			}
			e.Flow(table, 100, arriving(outbound), of.Apply(of.Meter{ID: returned.ID}, of.SetField{FieldValue: of.EthDst.MAC(homebound)},
				of.Move{Src: from.All(), Dst: to.All()}, of.Output{Port: of.PortInPort}), "another host's probe goes back to it")
			e.Flow(table, 100, arriving(homebound), of.Apply(of.Meter{ID: punted.ID}, of.Controller{MaxLen: 0xffff, UserData: Userdata}), "this host's probe has come back")
		}
	})
}
