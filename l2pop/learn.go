package l2pop

import (
	"net/netip"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Behind a port without port security on another host may be MACs that the API does not know. Which
// host, is learnt from frames of the network; until then unicast to them goes to the hosts with such a
// port and to no other.
const (
	learnIdle  = 300  // seconds, as IEEE 802.1Q 8.8.3 recommends
	learnLimit = 1024 // MACs of a network: more are reached all the same, with the unknown
)

// learn remembers which host the frame came from.
func learn(e *flows.Emitter, t tunnel) of.Learn {
	return of.Learn{Table: flows.TunLearned.Number, Priority: 10, IdleTimeout: learnIdle, Limit: learnLimit, DeleteLearned: true, Cookie: e.Cookie(), Specs: []of.LearnSpec{
		{Kind: of.LearnMatch, Dst: of.VlanTCI.Bits(0, 11), Src: of.VlanTCI.Bits(0, 11)},
		{Kind: of.LearnMatch, Dst: of.EthDst.All(), Src: of.EthSrc.All()},
		{Kind: of.LearnLoad, Dst: t.dst().All(), Src: t.src().All()},
	}}
}

// unknown emits the way to a MAC of no port: to the host that it was heard from, else to those where it
// may be.
func unknown(e *flows.Emitter, localVLAN uint16, tag of.FieldValue, t tunnel, open []netip.Addr) {
	nobody := netip.IPv4Unspecified()
	if t.ipv6 {
		nobody = netip.IPv6Unspecified()
	}
	group := flood(e, flows.UnknownGroup(localVLAN), t, open)
	e.Flow(flows.TunUnicast, 50, of.MustMatch(tag), of.ApplyGoto(flows.TunUnknown.Number, of.Resubmit{Table: flows.TunLearned.Number}), "perhaps behind a port without port_security_enabled")
	e.Flow(flows.TunUnknown, 100, of.MustMatch(tag, t.dst().Addr(nobody)), of.Apply(append(t.enter(), of.Group{ID: group})...), "not learnt: to the hosts with a port without port_security_enabled")
	e.Flow(flows.TunUnknown, 90, of.MustMatch(tag), of.Apply(append(t.enter(), of.Output{Port: t.port})...), "to the host that it was learnt from")
}
