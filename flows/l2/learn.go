package l2

import (
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Where a VIF has no port security, others may be behind it that the API does not know. Their MACs are
// learnt: from such VIFs, and from the uplink, where they may have moved to. Known MACs are looked up
// before, so that nobody takes one by sending from it.
const (
	learnIdle    = 300  // seconds, as IEEE 802.1Q 8.8.3 recommends
	learnPort    = 256  // MACs behind one VIF: more are reached all the same, with the unknown
	learnNetwork = 1024 // MACs of a network behind the uplink
)

// unknown emits where frames of the network go whose destination no port has: to who sent from it
// lately, else to all who might.
func unknown(e *flows.Emitter, d *domain) {
	e.Flow(flows.L2, 50, of.MustMatch(d.net()), of.ApplyGoto(flows.L2Unknown.Number, of.Resubmit{Table: flows.L2Learned.Number}), "perhaps behind a port without port_security_enabled")
	e.Flow(flows.L2Unknown, 100, of.MustMatch(d.net(), flows.RegOut.Is(0)), of.Apply(of.Group{ID: d.unknown.Group}), "not learnt: to the ports without port_security_enabled, and to other hosts")
	if d.uplink != 0 {
		e.Member(d.unknown, d.uplink, of.MustActions(deliver(nil, d.uplink)...))
		e.Flow(flows.MACLearn, 100, of.MustMatch(flows.RegPort.Is(uint64(d.uplink)), d.net()), of.ApplyGoto(flows.L2.Number, learn(e, learnNetwork)), "from other hosts")
	}
}

// learnFrom emits what a VIF without port security has in place of it.
func learnFrom(e *flows.Emitter, p *flows.LocalPort, d *domain) {
	e.Flow(flows.MACLearn, 100, of.MustMatch(flows.RegPort.Is(uint64(p.Key))), of.ApplyGoto(flows.PuntSelect.Number, learn(e, learnPort)), "port_security_enabled of the port is false")
	e.Member(d.unknown, p.Key, of.MustActions(deliver(nil, p.Key)...))
}

// learn remembers which port the frame's source is behind.
func learn(e *flows.Emitter, limit uint32) of.Learn {
	return of.Learn{Table: flows.L2Learned.Number, Priority: 10, IdleTimeout: learnIdle, Limit: limit, DeleteLearned: true, Cookie: e.Cookie(), Specs: []of.LearnSpec{
		{Kind: of.LearnMatch, Dst: flows.RegNet.All(), Src: flows.RegNet.All()},
		{Kind: of.LearnMatch, Dst: of.EthDst.All(), Src: of.EthSrc.All()},
		{Kind: of.LearnLoad, Dst: flows.RegOut.All(), Src: flows.RegPort.All()},
	}}
}
