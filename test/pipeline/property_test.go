package pipeline

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// The same histories each time, unless -rapid.seed says otherwise.
func init() { flag.Set("rapid.seed", "1") }

// history changes a topology at random. Rows are replaced, never changed, as in the store.
type history struct {
	*topology
	t    *rapid.T
	next int // number of the next port, network or host
}

func (h *history) number() int { h.next++; return h.next }

// pick draws one of s.
func pick[T any](t *rapid.T, s []T, what string) (i int) {
	return rapid.IntRange(0, len(s)-1).Draw(t, what)
}

func (h *history) step() {
	switch op := rapid.SampledFrom([]string{"host", "network", "port", "port", "port", "port", "subnet", "change", "change", "change", "move", "plug", "vlan", "segment", "underlay", "remove", "remove", "remove network"}).Draw(h.t, "op"); {
	case op == "host":
		h.host(h.number())
	case op == "network" || len(h.networks) == 0:
		n := h.number()
		net := h.network(n, uint32(1000+n))
		for _, host := range h.hosts {
			h.vlans[vlanKey{host.Hostname, net.ID}] = uint16(n)
		}
	case op == "subnet":
		n, i := h.number(), pick(h.t, h.networks, "network")
		if !slices.ContainsFunc(h.subnets, func(s *model.Subnet) bool { return s.NetworkID == h.networks[i].ID }) {
			h.subnet(n, h.networks[i], "10.0.0.0/8", fmt.Sprintf("10.0.%d.%d", n>>8, n&255))
		}
	case op == "port" || len(h.ports) == 0:
		n := h.number()
		host := h.hosts[pick(h.t, h.hosts, "host")]
		addrs := []string{fmt.Sprintf("10.0.%d.%d", n>>8, n&255), fmt.Sprintf("2001:db8::%x", n)}
		p := h.port(n, h.networks[pick(h.t, h.networks, "network")], host, uint32(n), addrs[:rapid.IntRange(0, 2).Draw(h.t, "addresses")]...)
		p.PortSecurityEnabled = rapid.Bool().Draw(h.t, "port security")
	case op == "change":
		i := pick(h.t, h.ports, "port")
		p := *h.ports[i]
		n := h.number()
		switch rapid.SampledFrom([]string{"mac", "security", "address", "pair", "no pairs"}).Draw(h.t, "attribute") {
		case "mac":
			p.MACAddress = model.MAC{0xfa, 0x16, 0x3e, 0, byte(n >> 8), byte(n)}
		case "security":
			p.PortSecurityEnabled = !p.PortSecurityEnabled
		case "address":
			if p.DeviceOwner == "" {
				p.FixedIPs = append(slices.Clone(p.FixedIPs), model.FixedIP{IPAddress: addr4(10, 0, byte(n>>8), byte(n))})
			}
		case "pair":
			pair := model.AddressPair{IPAddress: rapid.SampledFrom(h.prefixes()).Draw(h.t, "prefix")}
			if rapid.Bool().Draw(h.t, "own MAC") {
				pair.MACAddress = rapid.SampledFrom(h.macs()).Draw(h.t, "MAC")
			}
			p.AllowedAddressPairs = append(slices.Clone(p.AllowedAddressPairs), pair)
		case "no pairs":
			p.AllowedAddressPairs = nil
		}
		h.ports[i] = &p
	case op == "move":
		i := pick(h.t, h.ports, "port")
		if p := *h.ports[i]; p.DeviceOwner == "" {
			p.HostID = h.hosts[pick(h.t, h.hosts, "host")].Hostname
			h.ports[i] = &p
		}
	case op == "plug": // again, where another VIF may have been, or not at all
		p := h.ports[pick(h.t, h.ports, "port")]
		if at := h.vifs[p.ID]; p.DeviceOwner == "" {
			if at.ofport != 0 && rapid.Bool().Draw(h.t, "unplug") {
				at.ofport = 0
			} else {
				at.ofport = uint32(h.number())
			}
			at.generation++
			h.vifs[p.ID] = at
		}
	case op == "vlan":
		net := h.networks[pick(h.t, h.networks, "network")]
		h.vlans[vlanKey{h.hosts[0].Hostname, net.ID}] = uint16(h.number())
	case op == "segment":
		i := pick(h.t, h.networks, "network")
		net := *h.networks[i]
		kinds := []string{model.TypeVXLAN, model.TypeGRE, model.TypeGeneve, model.TypeVLAN, model.TypeLocal}
		if !slices.ContainsFunc(h.networks, func(n *model.Network) bool { return n.Segment.NetworkType == model.TypeFlat }) {
			kinds = append(kinds, model.TypeFlat) // one is all that a physical network has
		}
		net.Segment = model.Segment{NetworkType: rapid.SampledFrom(kinds).Draw(h.t, "type"), SegmentationID: uint32(1000 + h.number())}
		h.networks[i] = &net
	case op == "underlay":
		i := pick(h.t, h.hosts, "host")
		host := *h.hosts[i]
		if host.EncapIP = addr4(172, 31, 0, byte(h.number())); rapid.Bool().Draw(h.t, "IPv6") {
			host.EncapIP = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(h.number())})
		}
		host.EncapTypes = rapid.SampledFrom([][]string{{"vxlan"}, {"gre", "geneve"}, {"vxlan", "gre", "geneve"}}).Draw(h.t, "tunnels")
		h.hosts[i] = &host
	case op == "remove":
		i := pick(h.t, h.ports, "port")
		if h.ports[i].DeviceOwner == "" {
			h.ports = slices.Delete(slices.Clone(h.ports), i, i+1)
		}
	case op == "remove network":
		h.removeNetwork(pick(h.t, h.networks, "network"))
	}
	// What is new on a host gets the number that it has on the others.
	for i, net := range h.networks {
		for _, host := range h.hosts {
			if k := (vlanKey{host.Hostname, net.ID}); h.vlans[k] == 0 {
				h.vlans[k] = uint16(3000 + i + h.number())
			}
		}
	}
}

func (h *history) removeNetwork(i int) {
	id := h.networks[i].ID
	h.networks = slices.Delete(slices.Clone(h.networks), i, i+1)
	h.ports = slices.DeleteFunc(slices.Clone(h.ports), func(p *model.Port) bool { return p.NetworkID == id })
	h.subnets = slices.DeleteFunc(slices.Clone(h.subnets), func(s *model.Subnet) bool { return s.NetworkID == id })
}

// prefixes are worth having as a pair: other ports' addresses, wide ones, a virtual one.
func (h *history) prefixes() []netip.Prefix {
	prefixes := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("10.0.255.1/32"), netip.MustParsePrefix("2001:db8::/64")}
	for _, p := range h.ports {
		for _, ip := range p.FixedIPs {
			prefixes = append(prefixes, netip.PrefixFrom(ip.IPAddress, ip.IPAddress.BitLen()))
		}
	}
	return prefixes
}

// macs are worth having in a pair: virtual ones, other ports' own.
func (h *history) macs() []model.MAC {
	macs := []model.MAC{{0, 0, 0x5e, 0, 1, 1}, {0, 0, 0x5e, 0, 1, 2}}
	for _, p := range h.ports {
		macs = append(macs, p.MACAddress)
	}
	return macs
}

// sabotage changes the switch behind the controller's back.
func sabotage(t *rapid.T, s *modelSwitch) {
	for k := range s.flows {
		switch rapid.IntRange(0, 3).Draw(t, "sabotage") {
		case 0:
			delete(s.flows, k)
		case 1:
			s.flows[k] = modelFlow{s.flows[k].cookie, openflow.Drop}
		case 2:
			s.flows[k] = modelFlow{0xbad, s.flows[k].do}
		}
		k.Priority++
		s.flows[k] = modelFlow{0, openflow.Drop}
		break
	}
	for id, buckets := range s.groups {
		for b := range buckets {
			delete(buckets, b)
			break
		}
		buckets[0xabcdef] = ""
		s.groups[id+20000] = map[uint32]openflow.Actions{7: ""}
		break
	}
	for id, band := range s.meters {
		band.Rate++
		s.meters[id] = band
		s.meters[id+50000] = band
		break
	}
}

// Whatever happens to the deployment: compiling on from the last view gives what compiling from
// nothing gives; the plans, carried out by a switch, bring it there; each flow keeps to the pipeline;
// and when the last network goes, so does all that was there for one.
func TestIncrementalEqualsFresh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{newTopology(), t, 0}
		h.host(h.number())
		h.host(h.number())
		h.host(h.number())
		var (
			c        = flows.NewCompiler(features()...)
			switches = [len(flows.Bridges)]*modelSwitch{newModelSwitch(), newModelSwitch()}
			before   *flows.View
		)
		check := func() {
			v := share(h.view(h.hosts[0]), before)
			before = v
			if err := c.Compile(v); err != nil {
				t.Fatal(err)
			}
			carryOut(t, c, &switches)

			fresh := flows.NewCompiler(features()...)
			if err := fresh.Compile(h.view(h.hosts[0])); err != nil {
				t.Fatal(err)
			}
			want := [len(flows.Bridges)]*modelSwitch{newModelSwitch(), newModelSwitch()}
			carryOut(t, fresh, &want)
			for _, b := range flows.Bridges {
				if err := switches[b].differs(want[b]); err != nil {
					t.Fatalf("%s: incremental and fresh: %v", b, err)
				}
				for f, others := range fresh.Wanted(b) {
					g, gothers := c.Lookup(b, f.Key)
					if g == nil || *g != *f || len(others) != len(gothers) {
						t.Fatalf("%s: incremental %v with %d more causes, fresh %v with %d", b, g, len(gothers), f, len(others))
					}
					if err := flows.Verify(flows.TableOf(b, f.Table), f); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				h.step()
			}
			check()
			if rapid.IntRange(0, 3).Draw(t, "dump") == 0 {
				for _, b := range flows.Bridges {
					c.Load(b, switches[b].dump())
				}
				if p := c.Plan(); !p.Empty() {
					t.Fatalf("after a dump of what is wanted there is something to do:\n%s", p)
				}
				for _, b := range flows.Bridges {
					sabotage(t, switches[b])
					c.Load(b, switches[b].dump())
				}
				check()
			}
		}
		for len(h.networks) > 0 {
			h.removeNetwork(0)
			check()
		}
		for _, b := range flows.Bridges {
			s := switches[b]
			if b == flows.BrTun { // those of probes are the host's
				delete(s.meters, 1)
				delete(s.meters, 2)
			}
			if len(s.groups)+len(s.meters) > 0 {
				t.Fatalf("%s: without a network there are groups %v and meters %v", b, s.groups, s.meters)
			}
			for k, f := range s.flows {
				if _, kind, _ := flows.CookieParts(f.cookie); kind != flows.KindHost && kind != flows.KindPeer {
					t.Fatalf("%s: without a network there is %v of a %s", b, k, kind)
				}
			}
		}
	})
}

// carryOut sends the plan to the switches as a controller does, in its parts.
func carryOut(t *rapid.T, c *flows.Compiler, switches *[len(flows.Bridges)]*modelSwitch) {
	p := c.Plan()
	appears, goes := p[flows.BrTun].Split()
	for _, b := range []*flows.BridgePlan{&appears, &p[flows.BrInt], &goes} {
		if err := switches[b.Bridge].carry(b); err != nil {
			t.Fatalf("%v\n%s", err, p)
		}
		c.Committed(b)
	}
	if again := c.Plan(); !again.Empty() {
		t.Fatalf("the plan was carried out, and there is more to do:\n%s", again)
	}
}
