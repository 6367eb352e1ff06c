package pipeline

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/l2"
	"github.com/tunbridge/tunbridge/l2pop"
	"github.com/tunbridge/tunbridge/metadata"
	"github.com/tunbridge/tunbridge/probe"
)

// features are all that a host is compiled with.
func features() []flows.Feature {
	return []flows.Feature{l2.Feature{}, l2pop.Feature{}, dhcp.New(dhcp.Options{Metadata: true}), metadata.Feature{}, probe.Feature{}}
}

// The OpenFlow port numbers of the ports that a controller makes: patch ports and tunnel ports, and on
// br-int the patch to the one physical network.
var bridgePorts = flows.BridgePorts{PatchTun: 1, PatchInt: 1, VXLAN: 4, GRE: 5, Geneve: 6}

const uplink = 2

// topology is a deployment: hosts, networks, and ports on them.
type topology struct {
	hosts    []*model.Host
	networks []*model.Network
	subnets  []*model.Subnet
	ports    []*model.Port
	vifs     map[uuid.UUID]vif
	vlans    map[vlanKey]uint16
}

// vif is where a port's VIF is on its host.
type vif struct{ ofport, generation uint32 }

// vlanKey is a network on a host.
type vlanKey struct {
	host    string
	network uuid.UUID
}

// id makes a UUID that is easy to read: its first 48 bits, which a cookie shows, say kind and number.
func id(kind uint16, n uint32) (u uuid.UUID) {
	binary.BigEndian.PutUint16(u[:], kind)
	binary.BigEndian.PutUint32(u[2:], n)
	u[6], u[8] = 0x40, 0x80
	return u
}

func addr4(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

func newTopology() *topology {
	return &topology{vifs: map[uuid.UUID]vif{}, vlans: map[vlanKey]uint16{}}
}

func (t *topology) host(n int) *model.Host {
	name := fmt.Sprintf("h%d", n)
	for _, h := range t.hosts {
		if h.Hostname == name {
			return h
		}
	}
	h := &model.Host{ID: id(0xa, uint32(n)).String(), Hostname: name, EncapIP: addr4(172, 31, byte(n>>8), byte(n)), EncapTypes: []string{"vxlan", "gre", "geneve"}, BridgeMappings: map[string]string{"physnet1": "br-ex"}}
	t.hosts = append(t.hosts, h)
	return h
}

func (t *topology) network(n int, vni uint32) *model.Network {
	return t.segment(n, model.TypeVXLAN, vni)
}

// segment adds a network of some type, on the one physical network if it is of such.
func (t *topology) segment(n int, networkType string, segmentationID uint32) *model.Network {
	net := &model.Network{Common: model.Common{ID: id(0xb, uint32(n)), Name: fmt.Sprintf("net%d", n)}, AdminStateUp: true, PortSecurityEnabled: true}
	net.Segment = model.Segment{NetworkType: networkType, SegmentationID: segmentationID}
	if net.Segment.Provider() {
		net.Segment.PhysicalNetwork = "physnet1"
	}
	t.networks = append(t.networks, net)
	return net
}

// port adds a port with fa:16:3e:00:00:00 + n for its MAC address, bound to host and plugged there as ofport.
func (t *topology) port(n int, net *model.Network, host *model.Host, ofport uint32, addrs ...string) *model.Port {
	p := &model.Port{Common: model.Common{ID: id(0xc, uint32(n))}, NetworkID: net.ID, AdminStateUp: true, PortSecurityEnabled: true,
		MACAddress: model.MAC{0xfa, 0x16, 0x3e, byte(n >> 16), byte(n >> 8), byte(n)}, HostID: host.Hostname}
	for _, a := range addrs {
		p.FixedIPs = append(p.FixedIPs, model.FixedIP{IPAddress: netip.MustParseAddr(a)})
	}
	t.ports = append(t.ports, p)
	t.vifs[p.ID] = vif{ofport, 1}
	return p
}

// subnet adds a subnet with DHCP, answered from addr on every host.
func (t *topology) subnet(n int, net *model.Network, cidr, addr string) {
	s := &model.Subnet{Common: model.Common{ID: id(0xd, uint32(n))}, NetworkID: net.ID, IPVersion: 4, CIDR: netip.MustParsePrefix(cidr), EnableDHCP: true}
	t.subnets = append(t.subnets, s)
	p := t.port(n, net, &model.Host{}, 0, addr)
	p.DeviceOwner, p.FixedIPs[0].SubnetID = model.OwnerDHCP, s.ID
}

// view is what the compiler of a host is shown. It has nothing in common with an earlier view: see share.
func (t *topology) view(host *model.Host) *flows.View {
	v := &flows.View{Host: host, Ports: bridgePorts}
	byName := map[string]*model.Host{}
	for _, h := range t.hosts {
		byName[h.Hostname] = h
		if h.ID != host.ID {
			v.Peers = append(v.Peers, h)
		}
	}
	slices.SortFunc(v.Peers, func(a, b *model.Host) int { return cmp.Compare(a.ID, b.ID) })
	for _, net := range t.networks {
		n := &flows.Network{Network: net, LocalVLAN: t.vlans[vlanKey{host.Hostname, net.ID}]}
		if net.Segment.Provider() {
			n.Uplink = uplink
		}
		for _, s := range t.subnets {
			if s.NetworkID == net.ID {
				n.Subnets = append(n.Subnets, s)
			}
		}
		for _, p := range t.ports {
			switch at := t.vifs[p.ID]; {
			case p.NetworkID != net.ID:
			case p.DeviceOwner == model.OwnerDHCP:
				n.DHCP = p
			case p.HostID == host.Hostname && at.ofport != 0:
				n.Local = append(n.Local, &flows.LocalPort{Port: p, Key: at.ofport, OFPort: at.ofport, Generation: at.generation})
			case p.HostID != host.Hostname && byName[p.HostID] != nil:
				n.Remote = append(n.Remote, &flows.RemotePort{Port: p, Host: byName[p.HostID]})
			}
		}
		if len(n.Local) == 0 {
			continue
		}
		slices.SortFunc(n.Local, func(a, b *flows.LocalPort) int { return cmp.Compare(a.Key, b.Key) })
		slices.SortFunc(n.Remote, func(a, b *flows.RemotePort) int { return slices.Compare(a.ID[:], b.ID[:]) })
		v.Networks = append(v.Networks, n)
	}
	slices.SortFunc(v.Networks, func(a, b *flows.Network) int { return cmp.Compare(a.LocalVLAN, b.LocalVLAN) })
	return v
}

// share replaces what is the same in a view as in the one before by the very same pointers.
func share(v, before *flows.View) *flows.View {
	if before == nil {
		return v
	}
	if slices.Equal(v.Peers, before.Peers) {
		v.Peers = before.Peers
	}
	for i, n := range v.Networks {
		j := slices.IndexFunc(before.Networks, func(b *flows.Network) bool { return b.ID == n.ID })
		if j < 0 {
			continue
		}
		was := before.Networks[j]
		for k, p := range n.Local {
			if l := slices.IndexFunc(was.Local, func(b *flows.LocalPort) bool { return *b == *p }); l >= 0 {
				n.Local[k] = was.Local[l]
			}
		}
		for k, p := range n.Remote {
			if l := slices.IndexFunc(was.Remote, func(b *flows.RemotePort) bool { return *b == *p }); l >= 0 {
				n.Remote[k] = was.Remote[l]
			}
		}
		if reflect.DeepEqual(n, was) {
			v.Networks[i] = was
		}
	}
	return v
}

// deployment is what most tests look at. Networks A and B have the same addresses; A has local VLAN 1
// on h1 and 7 on h2.
func deployment() *topology {
	t := newTopology()
	h1, h2, h3 := t.host(1), t.host(2), t.host(3)
	a, b := t.network(1, 5001), t.network(2, 5002)
	t.vlans = map[vlanKey]uint16{{"h1", a.ID}: 1, {"h2", a.ID}: 7, {"h3", a.ID}: 1, {"h1", b.ID}: 2, {"h2", b.ID}: 3}

	t.subnet(0xd1, a, "10.0.0.0/24", "10.0.0.2")
	t.port(0xa1, a, h1, 11, "10.0.0.11", "2001:db8::11")
	t.port(0xa2, a, h1, 12, "10.0.0.12")
	t.port(0xa3, a, h2, 13, "10.0.0.13", "2001:db8::13")
	t.port(0xa4, a, h2, 14, "10.0.0.14").PortSecurityEnabled = false

	// A virtual address that three ports on all hosts share, with a MAC address of its own.
	virtual := []model.AddressPair{{IPAddress: netip.MustParsePrefix("10.0.0.200/32"), MACAddress: model.MAC{0, 0, 0x5e, 0, 1, 1}}}
	t.port(0xa5, a, h3, 11, "10.0.0.15").AllowedAddressPairs = virtual
	t.port(0xa6, a, h1, 16, "10.0.0.16").AllowedAddressPairs = virtual
	t.port(0xa7, a, h2, 17, "10.0.0.17").AllowedAddressPairs = virtual
	t.port(0xa8, a, h2, 18, "10.0.0.200")

	// A guest that routes for others.
	t.port(0xa9, a, h1, 19, "10.0.0.19", "2001:db8::19").AllowedAddressPairs = []model.AddressPair{
		{IPAddress: netip.MustParsePrefix("192.168.0.0/16")}, {IPAddress: netip.MustParsePrefix("2001:db8:ffff::/48")}, {IPAddress: netip.MustParsePrefix("10.0.0.99/32")}}

	t.port(0xb1, b, h1, 21, "10.0.0.11")
	t.port(0xb2, b, h2, 23, "10.0.0.13")
	return t
}

// compile compiles v from nothing and verifies all that is wanted.
func compile(t testing.TB, v *flows.View, features ...flows.Feature) *flows.Compiler {
	t.Helper()
	c := flows.NewCompiler(features...)
	if err := c.Compile(v); err != nil {
		t.Fatal(err)
	}
	return c
}
