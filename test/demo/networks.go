package demo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// plan is what is made: a network of every type on the same hosts, and one more. All have the subnet
// 10.0.0.0/24, so that addresses keep nothing apart.
var plan = []network{
	{Name: "vxlan", Type: "vxlan", places: places{0: {11, 13}, 1: {12, 14}}}, // of the tenants' default type
	{Name: "twin", Type: "vxlan", places: places{0: {11}, 1: {15}}},          // 10.0.0.11 once more
	{Name: "gre", Type: "gre", asked: object{"provider:segmentation_id": 4_000_000_001}, places: places{0: {21}, 1: {22}}},
	{Name: "geneve", Type: "geneve", asked: object{"provider:segmentation_id": 0xabcdef}, places: places{0: {31}, 1: {32}}},
	{Name: "vlan", Type: "vlan", asked: object{"provider:physical_network": physicalNetwork, "provider:segmentation_id": 120},
		places: places{0: {41}, 1: {42}}, outside: 49},
	{Name: "flat", Type: "flat", asked: object{"provider:physical_network": physicalNetwork}, places: places{0: {51}, 1: {52}}, outside: 59},
	{Name: "local", Type: "local", asked: object{}, places: places{0: {61, 62}}},
}

// places are the guests' addresses, 10.0.0.N, on each host.
type places [2][]byte

// network is a network with its guests and what is on it elsewhere.
type network struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"provider:network_type"`
	Segment uint32 `json:"provider:segmentation_id"` // 0 for null
	MTU     int    `json:"mtu"`

	asked   object // attributes besides the type's; nil: not even that is asked for
	places  places
	outside byte // the outside machine's 10.0.0.N; 0: none

	guests  []*guest
	machine *endpoint
}

// endpoint is whatever has an address on a network.
type endpoint struct {
	testbed.Namespace
	name    string
	mac     net.HardwareAddr
	address netip.Addr
	network *network
}

// guest is a VM with the port it is plugged as.
type guest struct {
	endpoint
	vm   *testbed.VM
	port port
}

// port is what the API says of a port.
type port struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	MAC      string `json:"mac_address"`
	FixedIPs []struct {
		Address netip.Addr `json:"ip_address"`
	} `json:"fixed_ips"`
}

// addNetwork makes a network of the plan, with a subnet.
func (d *Deployment) addNetwork(ctx context.Context, n *network) error {
	body := object{"name": n.Name}
	if n.asked != nil {
		body["provider:network_type"] = n.Type
		for name, value := range n.asked {
			body[name] = value
		}
	}
	var made struct{ Network network }
	if err := d.call(ctx, http.MethodPost, "/v2.0/networks", object{"network": body}, &made); err != nil {
		return err
	}
	is := made.Network
	if is.Type != n.Type || is.Segment == 0 != (n.Type == "flat" || n.Type == "local") {
		return fmt.Errorf("network %s is of type %s with segment %d", n.Name, is.Type, is.Segment)
	}
	if asked, ok := n.asked["provider:segmentation_id"].(int); ok && int(is.Segment) != asked {
		return fmt.Errorf("network %s has segment %d, asked for was %d", n.Name, is.Segment, asked)
	}
	n.ID, n.Segment, n.MTU = is.ID, is.Segment, is.MTU
	return d.call(ctx, http.MethodPost, "/v2.0/subnets", object{"subnet": object{"name": n.Name, "network_id": n.ID, "ip_version": 4, "cidr": "10.0.0.0/24",
		"dns_nameservers": []string{"192.0.2.53"}, "host_routes": []object{{"destination": "198.51.100.0/24", "nexthop": "10.0.0.9"}}}}, &struct{}{})
}

// populate gives a network its guests, and its machine outside.
func (d *Deployment) populate(ctx context.Context, n *network) error {
	for i, numbers := range n.places {
		for _, number := range numbers {
			if err := d.addGuest(ctx, n, d.Hosts[i], fmt.Sprintf("%s%d", n.Name, len(n.guests)+1), address(number)); err != nil {
				return err
			}
		}
	}
	if n.outside == 0 {
		return nil
	}
	name, at := n.Name+"-outside", address(n.outside)
	m, err := d.physical.AddMachine(name, int(n.Segment), netip.PrefixFrom(at, 24))
	if err != nil {
		return err
	}
	n.machine = &endpoint{m.Namespace, name, m.MAC, at, n}
	return nil
}

func address(number byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, number}) }

// addGuest makes a port bound to the host, and plugs a VM as it.
func (d *Deployment) addGuest(ctx context.Context, n *network, host *testbed.Host, name string, at netip.Addr) error {
	var made struct{ Port port }
	body := object{"network_id": n.ID, "name": name, "fixed_ips": []object{{"ip_address": at}}, "binding:host_id": host.Name}
	if err := d.call(ctx, http.MethodPost, "/v2.0/ports", object{"port": body}, &made); err != nil {
		return err
	}
	mac, err := net.ParseMAC(made.Port.MAC)
	if err != nil {
		return err
	}
	if ips := made.Port.FixedIPs; len(ips) != 1 || ips[0].Address != at {
		return fmt.Errorf("port %s has addresses %v, asked for was %s", name, ips, at)
	}
	vm, err := host.AddVM(name, testbed.VIF{PortID: made.Port.ID, MAC: mac})
	if err != nil {
		return err
	}
	n.guests = append(n.guests, &guest{endpoint{vm.Namespace, name, mac, at, n}, vm, made.Port})
	return nil
}

// endpoints are the network's guests and its machine outside.
func (n *network) endpoints() (all []*endpoint) {
	for _, g := range n.guests {
		all = append(all, &g.endpoint)
	}
	if n.machine != nil {
		all = append(all, n.machine)
	}
	return all
}

// has says whether an address is one of the network's.
func (n *network) has(a netip.Addr) bool {
	return slices.ContainsFunc(n.endpoints(), func(e *endpoint) bool { return e.address == a })
}

func (d *Deployment) allGuests() (all []*guest) {
	for _, n := range d.networks {
		all = append(all, n.guests...)
	}
	return all
}

func (d *Deployment) allEndpoints() (all []*endpoint) {
	for _, n := range d.networks {
		all = append(all, n.endpoints()...)
	}
	return all
}

// network finds one of the plan's.
func (d *Deployment) network(name string) *network {
	return d.networks[slices.IndexFunc(d.networks, func(n *network) bool { return n.Name == name })]
}

// each calls f for every element, so many at a time, and returns the first error.
func each[T any](all []T, atOnce int, f func(T) error) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, one := range all {
		g.Go(func() error { return f(one) })
	}
	return g.Wait()
}
