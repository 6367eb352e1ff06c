package system

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// changing is what a random history makes of networks, ports and guests on real hosts, as far as it can be
// told from outside.
type changing struct {
	*layer2
	*rand.Rand
	types    []string // of the next networks
	networks []*varied
	members  []*member
	marks    marks
	probes   []*probe // all that were sent: a frame's number is its place in here
	traced   int      // of them
	arrived  int
	stopped  int // by port security
	history  []string
}

// varied is a network of a history.
type varied struct {
	*network
	networkType string
	up, dhcp    bool // admin_state_up; enable_dhcp of its IPv4 subnet
}

// provider says whether it is on the physical network.
func (n *varied) provider() bool { return n.networkType == "flat" || n.networkType == "vlan" }

// member is a port of a history, with its guest.
// The guest it has is another machine whenever it is plugged.
type member struct {
	*guest
	network  *varied
	up, safe bool             // admin_state_up, port_security_enabled
	pair     *pair            // of its allowed_address_pairs; nil: none
	on       *testbed.Host    // where the guest is plugged; nil: nowhere
	ear      *testbed.Capture // at the guest
}

// pair is an allowed address pair.
type pair struct {
	ip  netip.Prefix
	mac net.HardwareAddr // nil: the port's own
}

func single(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }

// list is the attribute of a port that has the pair.
func (a *pair) list() []object {
	switch {
	case a == nil:
		return []object{}
	case a.mac == nil:
		return []object{{"ip_address": a.ip.String()}}
	}
	return []object{{"ip_address": a.ip.String(), "mac_address": a.mac.String()}}
}

// beginnings are the types of the networks that histories begin with, in turn.
var beginnings = [...][]string{{"vxlan", "vlan", "gre"}, {"geneve", "flat", "local"}}

// What a history has of each.
const (
	manyNetworks = 3
	mostMembers  = 12
)

// framesFor is how long a history goes on, if a little has happened.
const framesFor = 8 * time.Second

// histories lets random things happen to ports, networks and guests, and after each sends real frames from
// every port to every other one: they go where trace says that they go, and where they must, by what was asked.
func (w *layer2) histories() {
	seed, many, steps := uint64(1), uint64(2), 6
	if text := os.Getenv("RAPID_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	if seed == 0 { // as rapid takes it: another one each time
		seed = rand.Uint64N(1 << 32)
	}
	if soaking {
		many, steps = 10*many, 15
	}
	var sent, traced, arrived, stopped int
	for i := range many {
		c := &changing{layer2: w, Rand: rand.New(rand.NewPCG(seed+i, 0)), types: slices.Clone(beginnings[(seed+i)%2])}
		c.did("RAPID_SEED=%d", seed+i)
		c.live(steps)
		sent, traced, arrived, stopped = sent+len(c.probes), traced+c.traced, arrived+c.arrived, stopped+c.stopped
	}
	w.t.Logf("%d frames from seed %d on, %d of them traced; %d arrivals, %d stopped by port security", sent, seed, traced, arrived, stopped)
	if traced < sent/8 || arrived < sent/8 || stopped < sent/20 {
		w.t.Error("that says nothing")
	}
}

func (c *changing) did(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf(format, args...))
}

// live makes three networks with three guests each, takes so many steps, and removes all.
func (c *changing) live(steps int) {
	for len(c.networks) < manyNetworks {
		c.found(3)
	}
	c.judge()
	for began, i := time.Now(), 0; i < steps && (soaking || i < 3 || time.Since(began) < framesFor); i++ {
		for range 1 + c.IntN(3) {
			c.step()
		}
		if len(c.members) > 0 && c.IntN(3) == 0 {
			c.captured(draw(c.Rand, c.members), c.judge)
		} else {
			c.judge()
		}
	}
	for len(c.networks) > 0 {
		c.dissolve(c.networks[0])
	}
	c.late()
}

// draw takes one of a list.
func draw[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// stage are the hosts of the history: the last has no bridge for the physical network.
func (c *changing) stage() []*testbed.Host {
	return []*testbed.Host{c.hosts[0], c.hosts[1], c.hosts[3]}
}

// step changes one thing.
func (c *changing) step() {
	if len(c.networks) < manyNetworks || len(c.members) < manyNetworks {
		c.found(2)
		return
	}
	n, p := draw(c.Rand, c.networks), draw(c.Rand, c.members)
	host := c.place(p.network)
	switch draw(c.Rand, []string{"boot", "boot", "boot", "boot", "remove", "plug", "plug", "unplug", "up", "up", "secure", "secure", "pair", "pair", "pair", "move", "move", "move",
		"readdress", "dhcp", "dhcp", "network up", "delete network"}) {
	case "boot":
		if len(c.members) < mostMembers {
			c.boot(n, c.place(n))
		}
	case "remove":
		c.remove(p)
	case "plug":
		if p.on == nil {
			c.plugOn(p, host)
		}
	case "unplug":
		c.unplugFrom(p)
	case "up":
		p.up = !p.up
		c.change(p, object{"admin_state_up": p.up})
	case "secure":
		p.safe, p.pair = !p.safe, nil
		c.change(p, object{"port_security_enabled": p.safe, "allowed_address_pairs": []object{}})
	case "pair":
		if p.safe {
			p.pair = draw(c.Rand, []*pair{nil, {ip: sharedRange}, {ip: single(sharedIP)}, {ip: single(sharedIP), mac: p.pairMAC()}, {ip: single(draw(c.Rand, c.members).address())}})
			c.change(p, object{"allowed_address_pairs": p.pair.list()})
		}
	case "move":
		if c.IntN(2) == 0 {
			c.unplugFrom(p)
		}
		c.change(p, object{"binding:host_id": host.Name})
		c.unplugFrom(p)
		c.plugOn(p, host)
	case "readdress":
		c.change(p, object{"fixed_ips": []object{{"subnet_id": p.subnet()}}})
	case "dhcp":
		p.network.dhcp = !p.network.dhcp
		c.did("network %s: enable_dhcp %t", p.network.Name, p.network.dhcp)
		c.must(http.MethodPut, "/v2.0/subnets/"+p.subnet(), object{"subnet": object{"enable_dhcp": p.network.dhcp}}, nil)
	case "network up":
		n.up = !n.up
		c.did("network %s: admin_state_up %t", n.Name, n.up)
		c.must(http.MethodPut, "/v2.0/networks/"+n.ID, object{"network": object{"admin_state_up": n.up}}, nil)
	case "delete network":
		c.dissolve(n)
	}
}

// found makes a network of the next type, with guests. All have the same addresses.
func (c *changing) found(guests int) {
	if len(c.types) == 0 {
		for _, i := range c.Perm(len(allTypes)) {
			c.types = append(c.types, allTypes[i])
		}
	}
	n := &varied{networkType: c.types[0], up: true, dhcp: true}
	c.types = c.types[1:]
	if n.networkType == "flat" && slices.ContainsFunc(c.networks, func(o *varied) bool { return o.networkType == "flat" }) {
		n.networkType = "vxlan" // the physical network has room for one
	}
	cidrs := []string{"10.0.0.0/24", "2001:db8::/64"}
	n.network = c.networkOf(n.networkType, fmt.Sprintf("%s%d", n.networkType, len(c.history)), cidrs[:1+c.IntN(2)]...)
	c.did("create network %s", n.Name)
	c.networks = append(c.networks, n)
	for range guests {
		c.boot(n, c.place(n))
	}
}

// place draws a host for a port of a network: mostly one where others can be reached.
func (c *changing) place(n *varied) *testbed.Host {
	stage := c.stage()
	if n.provider() && c.IntN(6) > 0 || n.networkType == "local" {
		stage = stage[:2]
	}
	return draw(c.Rand, stage)
}

// dissolve deletes a network with all its ports.
func (c *changing) dissolve(n *varied) {
	for _, p := range slices.Clone(c.members) {
		if p.network == n {
			c.remove(p)
		}
	}
	c.did("delete network %s", n.Name)
	c.must(http.MethodDelete, "/v2.0/networks/"+n.ID, nil, nil)
	c.networks = slices.DeleteFunc(c.networks, func(o *varied) bool { return o == n })
}

// boot makes a port on a host, and plugs a guest there.
func (c *changing) boot(n *varied, host *testbed.Host) {
	c.t.Helper()
	*c.made++
	p := &member{guest: &guest{VM: &testbed.VM{Name: fmt.Sprintf("vm%d", *c.made)}, port: c.addPort(n.network, host.Name)}, network: n, up: true, safe: true}
	c.members = append(c.members, p)
	c.did("create port %s (%s, %s) of %s on %s", p.Name, p.port.MAC, p.address(), n.Name, host.Name)
	c.plugOn(p, host)
}

// plugOn plugs the port's guest.
func (c *changing) plugOn(p *member, host *testbed.Host) {
	c.t.Helper()
	c.did("plug %s on %s", p.Name, host.Name)
	vm, err := host.AddVM(p.Name, p.port.vif())
	if err != nil {
		c.t.Fatal(err)
	}
	p.VM, p.on = vm, host
	if p.ear, err = vm.Capture("eth0", c.hears(p)); err != nil {
		c.t.Fatal(err)
	}
}

// unplugFrom unplugs the port's guest, if it is plugged.
func (c *changing) unplugFrom(p *member) {
	c.t.Helper()
	if p.on == nil {
		return
	}
	c.did("unplug %s from %s", p.Name, p.on.Name)
	if _, err := p.ear.Stop(); err != nil {
		c.t.Fatal(err)
	}
	if err := p.Remove(); err != nil {
		c.t.Fatal(err)
	}
	p.on = nil
}

// remove deletes a port and unplugs its guest, in either order.
func (c *changing) remove(p *member) {
	c.t.Helper()
	if c.IntN(2) == 0 {
		c.unplugFrom(p)
	}
	c.did("delete %s", p.Name)
	c.must(http.MethodDelete, "/v2.0/ports/"+p.port.ID, nil, nil)
	c.unplugFrom(p)
	c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == p })
}

// change updates a port.
func (c *changing) change(p *member, what object) {
	c.t.Helper()
	c.did("update %s with %v", p.Name, what)
	c.update(p.guest, what)
}

// addressOf is the port's address of a version of IP, and its subnet.
func (p *member) addressOf(v6 bool) (at netip.Addr, subnet string) {
	for _, ip := range p.port.FixedIPs {
		if a := netip.MustParseAddr(ip.Address); a.Is6() == v6 {
			return a, ip.SubnetID
		}
	}
	return at, subnet
}

func (p *member) address() netip.Addr { a, _ := p.addressOf(false); return a }

// subnet is the network's IPv4 subnet.
func (p *member) subnet() string { _, id := p.addressOf(false); return id }

// wired says whether the port's guest can be heard and be spoken to.
func (p *member) wired() bool {
	if p.on == nil || p.port.Host != p.on.Name || !p.up || !p.network.up {
		return false
	}
	return !p.network.provider() || slices.Contains(physicalHosts, p.on.Name)
}
