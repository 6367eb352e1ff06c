package pipeline

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// count is how many flows are wanted on each bridge of h1.
func count(t *testing.T, top *topology) (n [len(flows.Bridges)]int) {
	c := compile(t, top.view(top.hosts[0]), features()...)
	for _, b := range flows.Bridges {
		for range c.Wanted(b) {
			n[b]++
		}
	}
	return n
}

// countByOwner is how many flows of h1 each feature wants, on both bridges.
func countByOwner(t *testing.T, top *topology) map[flows.Owner]int {
	c, n := compile(t, top.view(top.hosts[0]), features()...), map[flows.Owner]int{}
	for _, b := range flows.Bridges {
		for f := range c.Wanted(b) {
			n[f.Owner]++
		}
	}
	return n
}

// What each object adds to a host's flows: published, and bounded for ports with one MAC and one IPv4
// address, punt and answers included.
func TestFlowBudget(t *testing.T) {
	top := newTopology()
	h1, h2 := top.host(1), top.host(2)
	net := top.network(1, 5001)
	top.vlans[vlanKey{"h1", net.ID}] = 1
	last := count(t, top)
	var table strings.Builder
	table.WriteString("| Per | br-int | br-tun |\n|---|---|---|\n")
	row := func(what string, most int) {
		t.Helper()
		now := count(t, top)
		added := [...]int{now[flows.BrInt] - last[flows.BrInt], now[flows.BrTun] - last[flows.BrTun]}
		fmt.Fprintf(&table, "| %s | %d | %d |\n", what, added[flows.BrInt], added[flows.BrTun])
		if most > 0 && added[flows.BrInt]+added[flows.BrTun] > most {
			t.Errorf("%s: %d + %d flows, the budget is %d", what, added[flows.BrInt], added[flows.BrTun], most)
		}
		last = now
	}
	last = [len(flows.Bridges)]int{0, 1} // without the one of h2
	row("host, fixed", 0)
	top.host(3)
	row("other host", 0)

	// A network comes with its first port: what is left of that without the port, is the network's.
	host, numbers := 100, uint16(2)
	add := func(net *model.Network) { top.vlans[vlanKey{"h1", net.ID}], numbers = numbers, numbers+1 }
	port := func(net *model.Network, on *model.Host, addrs ...string) *model.Port {
		host++
		return top.port(host, net, on, uint32(host), addrs...)
	}
	port(net, h1, "10.0.0.200")
	before := count(t, top)
	port(net, h1, "10.0.0.201")
	one := count(t, top)
	for b := range one {
		one[b] -= before[b]
	}
	for i, kind := range []string{model.TypeVXLAN, model.TypeGRE, model.TypeGeneve, model.TypeVLAN, model.TypeFlat, model.TypeLocal} {
		last = count(t, top)
		net := top.segment(10+i, kind, 77)
		add(net)
		port(net, h1, "10.0.0.202")
		for b := range one {
			last[b] += one[b]
		}
		row(kind+" network with a port here", 0)
	}
	last = count(t, top)
	top.subnet(0xd1, net, "10.0.0.0/24", "10.0.0.2")
	row("… with DHCPv4", 0)
	v6 := &model.Subnet{Common: model.Common{ID: id(0xd, 0xd6)}, NetworkID: net.ID, IPVersion: 6, CIDR: netip.MustParsePrefix("2001:db8::/64"), EnableDHCP: true}
	top.subnets = append(top.subnets, v6)
	row("… with DHCPv6", 0)
	v6.IPv6RAMode = model.DHCPv6Stateful
	row("… with router advertisements", 0)

	// Of each port also which feature has how many.
	features := map[flows.Owner]string{}
	heading, rule := "\n| Of these, by feature |", "\n|---|"
	for _, c := range []struct {
		what  string
		on    *model.Host
		addrs []string
		most  int
	}{
		{"local port, one IPv4 address", h1, []string{"10.0.0.13"}, 10},
		{"local port, one IPv4 and one IPv6 address", h1, []string{"10.0.0.14", "2001:db8::14"}, 0},
		{"remote port, one IPv4 address", h2, []string{"10.0.0.16"}, 2},
		{"remote port, one IPv4 and one IPv6 address", h2, []string{"10.0.0.17", "2001:db8::17"}, 0},
	} {
		was := countByOwner(t, top)
		port(net, c.on, c.addrs...)
		row(c.what, c.most)
		heading, rule = heading+" "+c.what+" |", rule+"---|"
		for owner, n := range countByOwner(t, top) {
			features[owner] += fmt.Sprintf(" %d |", n-was[owner])
		}
	}
	port(top.networks[4], h2, "10.0.0.18")
	row("remote port of a vlan or flat network, one IPv4 address", 2)

	// Where a port has no port security.
	port(net, h2, "10.0.0.31").PortSecurityEnabled = false
	row("the first remote port without port security in a network", 0)
	port(net, h2, "10.0.0.32").PortSecurityEnabled = false
	row("… another one", 2)
	lonely := top.segment(20, model.TypeVXLAN, 78)
	add(lonely)
	port(lonely, h1, "10.0.0.33")
	last = count(t, top)
	port(lonely, h1, "10.0.0.34").PortSecurityEnabled = false
	row("the first local port without port security in a network", 0)
	port(lonely, h1, "10.0.0.35").PortSecurityEnabled = false
	row("… another one", 10)
	port(lonely, h2, "10.0.0.36")
	row("remote port in a network with such a port here, one IPv4 address", 3)
	table.WriteString(heading + rule + "\n")
	for _, owner := range slices.Sorted(maps.Keys(features)) {
		fmt.Fprintf(&table, "| %s |%s\n", owner, features[owner])
	}
	golden(t, "budget.md", table.String())
}

// A flood set of any size is made of groups that can be read back: the model refuses bigger ones.
func TestBigFloodSet(t *testing.T) {
	for _, size := range []int{249, 250, 251, 700, 3000} {
		top := newTopology()
		net := top.network(1, 5001)
		h1 := top.host(1)
		top.vlans[vlanKey{"h1", net.ID}] = 1
		for i := range size {
			top.port(1+i, net, h1, uint32(11+i))
			top.port(10001+i, net, top.host(2+i), 11)
		}
		c := compile(t, top.view(h1), features()...)
		p := c.Plan()
		for b, members := range []int{size + 1, size} {
			s := newModelSwitch()
			if err := s.carry(&p[b]); err != nil {
				t.Fatalf("%d members: %v", size, err)
			}
			found := 0
			for id, buckets := range s.groups {
				parts := 0
				for _, actions := range buckets {
					for part := range groupsOf(actions) {
						parts++
						if len(s.groups[part]) == 0 {
							t.Errorf("%d members: group %d hands to %d, which is empty", size, id, part)
						}
					}
				}
				found += len(buckets) - parts
			}
			if found != members {
				t.Errorf("%s: %d of %d members are in a group", flows.Bridge(b), found, members)
			}
		}
	}
}

// settled is a host in a deployment with so many ports in a network, every tenth of them its own.
func settled(tb testing.TB, networks, ports int) (*topology, *flows.View, *flows.Compiler) {
	top := newTopology()
	for h := range 10 {
		top.host(1 + h)
	}
	for n := range networks {
		net := top.network(1+n, uint32(5001+n))
		top.subnet(1_000_000+n, net, "10.0.0.0/16", "10.0.0.2")
		for _, h := range top.hosts {
			top.vlans[vlanKey{h.Hostname, net.ID}] = uint16(1 + n)
		}
		for i := range ports {
			number := n*ports + i
			top.port(1+number, net, top.hosts[i%10], uint32(11+number/10), fmt.Sprintf("10.0.%d.%d", 1+i>>8, i&255))
		}
	}
	v := top.view(top.hosts[0])
	return top, v, compile(tb, v, features()...)
}

// 10 networks of 100 ports each, 10 here: compile, plan and messages from nothing.
func BenchmarkFresh1000Ports(b *testing.B) {
	_, v, _ := settled(b, 10, 100)
	b.ReportAllocs()
	for b.Loop() {
		c := flows.NewCompiler(features()...)
		if err := c.Compile(v); err != nil {
			b.Fatal(err)
		}
		p := c.Plan()
		for i := range p {
			p[i].Messages()
		}
	}
}

// The same host when one remote port of one network gets another address.
func BenchmarkOneChangedPort(b *testing.B) {
	for _, size := range []struct{ networks, ports int }{{10, 100}, {1, 1000}} {
		b.Run(fmt.Sprintf("%dx%d", size.networks, size.ports), func(b *testing.B) {
			_, v, c := settled(b, size.networks, size.ports)
			plans := func() {
				p := c.Plan()
				for i := range p {
					p[i].Messages()
					c.Committed(&p[i])
				}
			}
			plans()
			var views [2]*flows.View
			for i := range views {
				changed, n := *v, *v.Networks[0]
				r := *n.Remote[0]
				port := *r.Port
				port.FixedIPs = []model.FixedIP{port.FixedIPs[0]}
				port.FixedIPs[0].IPAddress = addr4(10, 1, 0, byte(1+i))
				r.Port = &port
				n.Remote = append([]*flows.RemotePort{&r}, n.Remote[1:]...)
				changed.Networks = append([]*flows.Network{&n}, v.Networks[1:]...)
				views[i] = &changed
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := c.Compile(views[i%2]); err != nil {
					b.Fatal(err)
				}
				plans()
			}
		})
	}
}

// A dump of all that is wanted, compared.
func BenchmarkDump1000Ports(b *testing.B) {
	_, _, c := settled(b, 10, 100)
	p := c.Plan()
	var dumps [len(flows.Bridges)]flows.Installed
	for i := range p {
		s := newModelSwitch()
		if err := s.carry(&p[i]); err != nil {
			b.Fatal(err)
		}
		dumps[i] = s.dump()
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range dumps {
			c.Load(flows.Bridge(i), dumps[i])
		}
		if p := c.Plan(); !p.Empty() {
			b.Fatal(p)
		}
	}
}
