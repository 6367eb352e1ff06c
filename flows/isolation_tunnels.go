package flows

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// tunnelTypes are the types of networks that tunnels carry.
var tunnelTypes = []string{model.TypeVXLAN, model.TypeGRE, model.TypeGeneve}

// arrivalOf is the type of the networks whose frames a table of br-tun takes from tunnels; "" for none.
func arrivalOf(table uint8) string {
	for _, networkType := range tunnelTypes {
		if Arrivals[networkType].Number == table {
			return networkType
		}
	}
	return ""
}

// tunnels examines br-tun, flow by flow: each says itself which network it is about.
func (c *isolation) tunnels() {
	for _, list := range c.tables {
		for _, f := range list {
			switch networkType := arrivalOf(f.Table); {
			case f.Table == TunClassify.Number:
				c.arrival(f)
			case networkType != "":
				c.fromTunnel(f, networkType)
			default:
				vid, _ := sole(f.Match, openflow.VlanVID, vidMask)
				c.apply(&frame{flow: f, frameState: frameState{net: vid, tag: tagKnown, vid: vid}}, f.Instructions)
			}
		}
	}
}

// arrival examines a flow of the first table: frames of a tunnel go to the table of its type, and only those
// of an enrolled host.
func (c *isolation) arrival(f *openflow.FlowStats) {
	if f.Instructions == openflow.Drop {
		return
	}
	fr := &frame{flow: f}
	if tapped(f.Instructions) {
		return
	}
	port, isPort := sole(f.Match, openflow.InPort, 0xffffffff)
	to := TunFromInt
	if port != c.view.Ports.PatchInt {
		to = nil
		for _, networkType := range tunnelTypes {
			if isPort && c.view.Ports.Tunnel(networkType) == port && port != 0 {
				to = Arrivals[networkType]
			}
		}
		if to == nil {
			c.leak(fr, "frames of %s come in", c.port(port))
			return
		}
		if address, is := c.stranger(f.Match); is {
			c.leak(fr, "frames come in through a tunnel from %s, which is no enrolled host's", address)
		}
	}
	for i := range f.Instructions.All() {
		if g, ok := i.(openflow.GotoTable); !ok || g.Table != to.Number {
			c.leak(fr, "frames of %s go past %s: %s", c.port(port), to, i.AppendText(nil))
		}
	}
}

// tapped says whether a flow only shows a frame to the tap, to be classified afterwards.
func tapped(do openflow.Instructions) bool {
	if do != openflow.Apply(slices.Collect(do.Applied().All())...) {
		return false
	}
	for a := range do.Applied().All() {
		switch a := a.(type) {
		case openflow.SetField:
			if a.Field != RegTun.Field {
				return false
			}
		case openflow.Resubmit:
			if a.Port != 0 || a.Table != TunTap.Number && a.Table != TunClassify.Number {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// stranger says whether a match demands the tunnel address of no enrolled host, and which.
func (c *isolation) stranger(m openflow.Match) (address string, is bool) {
	for _, field := range []openflow.Field{openflow.TunSrc, openflow.TunIPv6Src} {
		if v, ok := m.Get(field); ok && v.Exact() {
			return v.Addr().String(), !c.peers[v.Addr()]
		}
	}
	return netip.IPv4Unspecified().String() + "/0", true
}

// fromTunnel examines a flow for a key of tunnels of a type.
func (c *isolation) fromTunnel(f *openflow.FlowStats, networkType string) {
	if f.Instructions == openflow.Drop {
		return
	}
	fr := &frame{flow: f}
	key, ok := f.Match.Get(openflow.TunID)
	if !ok || !key.Exact() {
		c.leak(fr, "frames of any tun_id come in: %s", f.Instructions)
		return
	}
	if key.Value.Lo != 0 { // 0 is the probes': they go back, or to the controller
		fr.net = c.byKey[tunnelKey{networkType, key.Value.Lo}]
	}
	if fr.net == 0 {
		fr.from = fmt.Sprintf("tun_id %d, which is that of no network here,", key.Value.Lo)
	}
	c.apply(fr, f.Instructions)
}

// tunnelOutput examines a frame's leaving br-tun.
func (c *isolation) tunnelOutput(f *frame, port uint32) {
	n, p := c.byVLAN[f.net], c.view.Ports
	switch {
	case n == nil:
		c.leak(f, "frames of %s go to %s", c.origin(f), c.port(port))
	case port == p.PatchInt:
		if f.tag != tagKnown || f.vid != f.net {
			c.leak(f, "frames of %s go to br-int %s, which is %s", c.network(f.net), f.tagged(), c.network(f.vid))
		}
	case port != p.Tunnel(n.Segment.NetworkType):
		c.leak(f, "frames of %s, which is %s, go to %s", c.network(f.net), n.Segment.NetworkType, c.port(port))
	case !f.keySet || f.key != uint64(n.Segment.SegmentationID):
		c.leak(f, "frames of %s, whose segmentation_id is %d, go to %s with %s", c.network(f.net), n.Segment.SegmentationID, c.port(port), f.keyed(c))
	}
}

// keyed says which key the frame has, and whose that is.
func (f *frame) keyed(c *isolation) string {
	if !f.keySet {
		return "no tun_id of ours"
	}
	for _, networkType := range tunnelTypes {
		if vlan := c.byKey[tunnelKey{networkType, f.key}]; vlan != 0 && c.view.Ports.Tunnel(networkType) != 0 {
			return fmt.Sprintf("tun_id %d, that of %s", f.key, c.network(vlan))
		}
	}
	return fmt.Sprintf("tun_id %d, that of no network here", f.key)
}
