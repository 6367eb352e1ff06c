package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/l2"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// sent counts what a VIF sent, by how far port security let it go.
type sent struct {
	in     uint64 // came in, untagged
	mac    uint64 // from a MAC address of the port's
	proved uint64 // from an address of the port's too
}

// proofs is what port security counted on a host. It drops what is not proved in one flow for all ports: whose the
// packets were follows from what came in of each port, less what passed.
type proofs struct {
	ports                                   map[uint64]*sent // by cookie
	unproved                                uint64           // was asked for no address, of all ports
	strangeMAC, strangeIP, strangeLinkLocal uint64           // dropped, of all ports
}

// proofsOf reads the counters of a host's flows.
func proofsOf(state *comparison) *proofs {
	c := &proofs{ports: map[uint64]*sent{}}
	for i := range state.installed[flows.BrInt].Flows {
		f := &state.installed[flows.BrInt].Flows[i]
		owner, kind, _ := flows.CookieParts(f.Cookie)
		if owner == flows.OwnerL2 && kind == flows.KindPort {
			mine := c.ports[f.Cookie]
			if mine == nil {
				mine = &sent{}
				c.ports[f.Cookie] = mine
			}
			switch f.Table {
			case flows.Classify.Number:
				mine.in += f.Packets
			case flows.PortSecMAC.Number:
				mine.mac += f.Packets
			case flows.PortSecIP.Number, flows.PortSecKind.Number: // the latter of a wide pair: no proof is needed further on
				mine.proved += f.Packets
			}
			continue
		}
		switch {
		case f.Table == flows.PortSecMAC.Number && f.Priority == 0:
			c.strangeMAC = f.Packets
		case f.Table == flows.PortSecIP.Number && f.Priority == 0:
			c.strangeIP = f.Packets
		case f.Table == flows.PortSecIP.Number && f.Priority == l2.LinkLocalPriority:
			c.strangeLinkLocal = f.Packets
		case f.Table == flows.PortSecKind.Number && (goesTo(f.Instructions, flows.PuntSelect) || !goesTo(f.Instructions, flows.PortSecIP)):
			c.unproved += f.Packets // the latter dropped for another reason, or proved by its link-layer address alone
		}
	}
	return c
}

// of is what a port sent.
func (c *proofs) of(p *model.Port) sent {
	if s := c.ports[flows.Object{Kind: flows.KindPort, ID: p.ID}.Cookie(flows.OwnerL2)]; s != nil {
		return *s
	}
	return sent{}
}

// spoofing tells how many packets of the guest port security dropped. By its MAC address that is known. By its IP
// address it is at least what is neither proved nor in a flow that asks for no proof, all ports' together, and at
// most what is not proved. Link-local addresses are dropped apart.
func (e *explanation) spoofing(state *comparison, p *model.Port) {
	c := proofsOf(state)
	s := c.of(p)
	// Counters that are older than others of the port, as after a pair was taken away, are no proof.
	if n := min(less(s.in, s.mac), c.strangeMAC); n > 0 {
		e.step(false, "the guest spoofs: %d of its packets were dropped, whose source MAC is neither %s nor in its allowed_address_pairs", n, p.MACAddress)
	}
	dropped := less(s.mac, s.proved+c.unproved)
	own, linkLocal := min(less(dropped, c.strangeLinkLocal), c.strangeIP), min(less(dropped, c.strangeIP), c.strangeLinkLocal)
	if own+linkLocal == 0 { // others' drops hide whether the port's are of the one kind or the other
		own = min(dropped, c.strangeIP)
	}
	if own > 0 {
		e.step(false, "the guest spoofs: at least %d of its packets were dropped, whose source address is neither in its fixed_ips nor in its allowed_address_pairs", own)
	} else if n := min(less(s.mac, s.proved), c.strangeIP); n > 0 {
		e.step(true, "perhaps the guest spoofs: of the %d packets on its host that were dropped for their source address, at most %d are its", c.strangeIP, n)
	}
	if linkLocal > 0 {
		e.step(false, "at least %d packets of the guest were dropped, whose source is a link-local address other than %s, that of its MAC address: "+
			"have the guest use that (IPv6 addr-gen-mode eui64), or add the other to its allowed_address_pairs", linkLocal, l2.LinkLocal(p.MACAddress))
	}
}

// spoofers tells whose the packets on a host may be that were dropped for their source.
func (e *explanation) spoofers(state *comparison, ports []*model.Port) {
	c := proofsOf(state)
	for _, kind := range []struct {
		what    string
		dropped uint64
		of      func(sent) uint64
	}{
		{"MAC address", c.strangeMAC, func(s sent) uint64 { return less(s.in, s.mac) }},
		{"IP address", c.strangeIP, func(s sent) uint64 { return less(s.mac, s.proved) }},
	} {
		type suspect struct {
			port *model.Port
			most uint64
		}
		var list []suspect
		for _, p := range ports {
			if n := min(kind.of(c.of(p)), kind.dropped); p.PortSecurityEnabled && n > 0 {
				list = append(list, suspect{p, n})
			}
		}
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(a, b suspect) int {
			return cmp.Or(cmp.Compare(b.most, a.most), cmp.Compare(a.port.ID.String(), b.port.ID.String()))
		})
		var told []string
		for _, x := range list[:min(len(list), mostListed)] {
			told = append(told, fmt.Sprintf("at most %d of %s", x.most, portName(x.port)))
		}
		e.step(true, "%d packets were dropped for their source %s, which is not their port's: %s", kind.dropped, kind.what, strings.Join(told, ", "))
	}
}

func less(a, b uint64) uint64 { return a - min(a, b) }

func goesTo(do openflow.Instructions, t *flows.Table) bool {
	for i := range do.All() {
		if g, ok := i.(openflow.GotoTable); ok && g.Table == t.Number {
			return true
		}
	}
	return false
}
