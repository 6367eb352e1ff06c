package clients

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/apiversions"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/dns"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/extradhcpopts"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/mtu"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/networkipavailabilities"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsecurity"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/rbacpolicies"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/subnetpools"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

// nobody is the id of nothing.
const nobody = "00000000-0000-4000-8000-000000000000"

// library is gophercloud signed in as admin.
type library struct {
	*gophercloud.ServiceClient
	t    *testing.T
	ctx  context.Context
	acme string // another project
}

// network and port are what the base packages and their extensions read of one answer.
type network struct {
	networks.Network
	external.NetworkExternalExt
	mtu.NetworkMTUExt
	provider.NetworkProviderExt
	portsecurity.PortSecurityExt
	dns.NetworkDNSExt
}

type port struct {
	ports.Port
	portsbinding.PortsBindingExt
	portsecurity.PortSecurityExt
	extradhcpopts.ExtraDHCPOptsExt
	dns.PortDNSExt
}

func (c *cloud) gophercloud(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	identity, err := c.keystone.SignIn(ctx, "admin", "admin")
	if err != nil {
		t.Fatal(err)
	}
	l := &library{ServiceClient: &gophercloud.ServiceClient{ProviderClient: identity.ProviderClient, Endpoint: c.api + "/", ResourceBase: c.api + "/v2.0/", Type: "network"},
		t: t, ctx: ctx, acme: c.acme}
	navy := l.networks()
	v4 := l.subnets(navy)
	guest := l.ports(navy, v4)
	l.subnetPools()
	l.tags(navy, v4, guest)
	l.rights(navy)
	l.quotas()
	l.agents(navy, c.hosts[1], c.ovsdb)
	l.rest(navy, v4)
	l.complete()
	l.refused("delete a network with ports", http.StatusConflict, networks.Delete(ctx, l.ServiceClient, navy).ExtractErr())
	l.need("delete port", ports.Delete(ctx, l.ServiceClient, guest).ExtractErr())
	l.need("delete subnet", subnets.Delete(ctx, l.ServiceClient, v4).ExtractErr())
	l.need("delete network", networks.Delete(ctx, l.ServiceClient, navy).ExtractErr())
	_, err = networks.Get(ctx, l.ServiceClient, navy).Extract()
	l.refused("show a deleted network", http.StatusNotFound, err)
}

func (l *library) need(what string, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

func (l *library) refused(what string, status int, err error) {
	l.t.Helper()
	if !gophercloud.ResponseCodeIs(err, status) {
		l.t.Fatalf("%s: %v, want status %d", what, err, status)
	}
}

func (l *library) same(what string, got, want any) {
	l.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		l.t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// list returns what name says of every row of all pages.
func list[T any](l *library, pager pagination.Pager, extract func(pagination.Page) ([]T, error), name func(T) string) []string {
	l.t.Helper()
	names := []string{}
	err := pager.EachPage(l.ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		rows, err := extract(page)
		for _, row := range rows {
			names = append(names, name(row))
		}
		return true, err
	})
	l.need("list", err)
	slices.Sort(names)
	return names
}

func (l *library) network(id string) (n network) {
	l.t.Helper()
	l.need("show network", networks.Get(l.ctx, l.ServiceClient, id).ExtractInto(&n))
	return n
}

func (l *library) port(id string) (p port) {
	l.t.Helper()
	l.need("show port", ports.Get(l.ctx, l.ServiceClient, id).ExtractInto(&p))
	return p
}

func (l *library) networkNames(o networks.ListOptsBuilder) []string {
	l.t.Helper()
	return list(l, networks.List(l.ServiceClient, o), networks.ExtractNetworks, func(n networks.Network) string { return n.Name })
}

func (l *library) networks() string {
	var made network
	l.need("create network", networks.Create(l.ctx, l.ServiceClient, dns.NetworkCreateOptsExt{DNSDomain: "navy.example.", CreateOptsBuilder: mtu.CreateOptsExt{MTU: 1400,
		CreateOptsBuilder: portsecurity.NetworkCreateOptsExt{PortSecurityEnabled: new(bool), CreateOptsBuilder: networks.CreateOpts{Name: "blue", Description: "first"}}}}).ExtractInto(&made))
	want := network{Network: networks.Network{ID: made.ID, Name: "blue", Description: "first", AdminStateUp: true, Status: "ACTIVE", Subnets: []string{}, TenantID: made.ProjectID, ProjectID: made.ProjectID,
		CreatedAt: made.CreatedAt, UpdatedAt: made.UpdatedAt, AvailabilityZoneHints: []string{}, Tags: []string{}, RevisionNumber: 1},
		NetworkMTUExt: mtu.NetworkMTUExt{MTU: 1400}, NetworkDNSExt: dns.NetworkDNSExt{DNSDomain: "navy.example."},
		NetworkProviderExt: provider.NetworkProviderExt{NetworkType: "vxlan", SegmentationID: made.SegmentationID}}
	l.same("made network", made, want)
	l.same("network", l.network(made.ID), want)
	if made.CreatedAt.IsZero() || made.ProjectID == "" || made.SegmentationID == "" {
		l.t.Fatalf("network %+v", made)
	}

	var lan network
	segment := provider.Segment{NetworkType: "vlan", PhysicalNetwork: "physnet1", SegmentationID: 122}
	l.need("create provider network", networks.Create(l.ctx, l.ServiceClient, external.CreateOptsExt{External: new(bool), CreateOptsBuilder: provider.CreateOptsExt{Segments: []provider.Segment{segment},
		CreateOptsBuilder: networks.CreateOpts{Name: "lan", Shared: new(true), AdminStateUp: new(bool), ProjectID: l.acme}}}).ExtractInto(&lan))
	segment.SegmentationID = 123
	l.need("renumber provider network", networks.Update(l.ctx, l.ServiceClient, lan.ID, external.UpdateOptsExt{External: new(true), UpdateOptsBuilder: provider.UpdateOptsExt{Segments: &[]provider.Segment{segment},
		UpdateOptsBuilder: networks.UpdateOpts{}}}).ExtractInto(&lan))
	other, overlay := segment, provider.Segment{NetworkType: "vxlan"} // of which the library sends 0 and ""
	other.SegmentationID = 124
	for _, c := range []struct {
		status   int
		segments []provider.Segment
	}{{http.StatusBadRequest, []provider.Segment{other, overlay}}, {http.StatusConflict, []provider.Segment{segment}}} {
		_, err := networks.Create(l.ctx, l.ServiceClient, provider.CreateOptsExt{Segments: c.segments, CreateOptsBuilder: networks.CreateOpts{Name: "none"}}).Extract()
		l.refused("create a network of segments", c.status, err)
	}
	anywhere, err := networks.Create(l.ctx, l.ServiceClient, provider.CreateOptsExt{Segments: []provider.Segment{overlay}, CreateOptsBuilder: networks.CreateOpts{Name: "anywhere"}}).Extract()
	l.need("create a network with a number that is chosen", err)
	if chosen := l.network(anywhere.ID); chosen.NetworkType != "vxlan" || chosen.SegmentationID == "0" || chosen.SegmentationID == "" {
		l.t.Fatalf("a number that is chosen: %+v", chosen)
	}
	l.need("delete it", networks.Delete(l.ctx, l.ServiceClient, anywhere.ID).ExtractErr())
	got := l.network(lan.ID)
	l.same("made provider network", got, lan)
	l.same("provider", got.NetworkProviderExt, provider.NetworkProviderExt{NetworkType: "vlan", PhysicalNetwork: "physnet1", SegmentationID: "123"})
	if !got.External || !got.Shared || got.AdminStateUp || got.ProjectID != l.acme {
		l.t.Fatalf("provider network %+v", got)
	}

	l.need("update network", networks.Update(l.ctx, l.ServiceClient, made.ID, dns.NetworkUpdateOptsExt{DNSDomain: new(""), UpdateOptsBuilder: mtu.UpdateOptsExt{MTU: 1300,
		UpdateOptsBuilder: portsecurity.NetworkUpdateOptsExt{PortSecurityEnabled: new(true), UpdateOptsBuilder: networks.UpdateOpts{Name: new("navy"), Description: new(""), AdminStateUp: new(bool)}}}}).Err)
	got = l.network(made.ID)
	want.Name, want.Description, want.AdminStateUp, want.MTU, want.DNSDomain, want.PortSecurityEnabled = "navy", "", false, 1300, "", true
	want.RevisionNumber, want.UpdatedAt = 2, got.UpdatedAt
	l.same("updated network", got, want)
	_, err = networks.Update(l.ctx, l.ServiceClient, made.ID, networks.UpdateOpts{Name: new("grey"), RevisionNumber: new(1)}).Extract()
	l.refused("update of an old revision", http.StatusPreconditionFailed, err)
	_, err = networks.Update(l.ctx, l.ServiceClient, made.ID, networks.UpdateOpts{AdminStateUp: new(true), RevisionNumber: new(2)}).Extract()
	l.need("update of this revision", err)

	for _, c := range []struct {
		opts networks.ListOptsBuilder
		want []string
	}{
		{networks.ListOpts{}, []string{"lan", "navy"}},
		{networks.ListOpts{Limit: 1, SortKey: "name", SortDir: "asc"}, []string{"lan", "navy"}}, // in pages
		{networks.ListOpts{Name: "lan"}, []string{"lan"}},
		{networks.ListOpts{Shared: new(bool)}, []string{"navy"}},
		{networks.ListOpts{AdminStateUp: new(true)}, []string{"navy"}},
		{networks.ListOpts{ProjectID: l.acme}, []string{"lan"}},
		{networks.ListOpts{RevisionNumber: new(3)}, []string{"navy"}},
		{networks.ListOpts{ID: nobody}, []string{}},
		{external.ListOptsExt{ListOptsBuilder: networks.ListOpts{}, External: new(true)}, []string{"lan"}},
		{mtu.ListOptsExt{ListOptsBuilder: networks.ListOpts{}, MTU: 1300}, []string{"navy"}},
	} {
		l.same("networks", l.networkNames(c.opts), c.want)
	}
	l.need("delete provider network", networks.Delete(l.ctx, l.ServiceClient, lan.ID).ExtractErr())
	return made.ID
}

func (l *library) subnets(network string) string {
	made, err := subnets.Create(l.ctx, l.ServiceClient, subnets.CreateOpts{NetworkID: network, Name: "v4", Description: "first", IPVersion: gophercloud.IPv4, CIDR: "10.1.0.0/24", GatewayIP: new("10.1.0.254"),
		AllocationPools: []subnets.AllocationPool{{Start: "10.1.0.10", End: "10.1.0.90"}}, DNSNameservers: []string{"192.0.2.53"},
		HostRoutes: []subnets.HostRoute{{DestinationCIDR: "198.51.100.0/24", NextHop: "10.1.0.9"}}}).Extract()
	l.need("create subnet", err)
	want := subnets.Subnet{ID: made.ID, NetworkID: network, Name: "v4", Description: "first", IPVersion: 4, CIDR: "10.1.0.0/24", GatewayIP: "10.1.0.254", DNSNameservers: []string{"192.0.2.53"},
		ServiceTypes: made.ServiceTypes, AllocationPools: []subnets.AllocationPool{{Start: "10.1.0.10", End: "10.1.0.90"}}, EnableDHCP: true, TenantID: made.ProjectID, ProjectID: made.ProjectID,
		HostRoutes: []subnets.HostRoute{{DestinationCIDR: "198.51.100.0/24", NextHop: "10.1.0.9"}}, Tags: []string{}, RevisionNumber: made.RevisionNumber, CreatedAt: made.CreatedAt, UpdatedAt: made.UpdatedAt}
	l.same("made subnet", *made, want)
	got, err := subnets.Get(l.ctx, l.ServiceClient, made.ID).Extract()
	l.need("show subnet", err)
	l.same("subnet", *got, want)

	six, err := subnets.Create(l.ctx, l.ServiceClient, subnets.CreateOpts{NetworkID: network, Name: "v6", IPVersion: gophercloud.IPv6, CIDR: "fd00:1::/64", IPv6AddressMode: "slaac", IPv6RAMode: "slaac"}).Extract()
	l.need("create IPv6 subnet", err)
	if six.GatewayIP != "fd00:1::" || six.IPv6RAMode != "slaac" || six.IPv6AddressMode != "slaac" {
		l.t.Fatalf("IPv6 subnet %+v", six)
	}
	_, err = subnets.Update(l.ctx, l.ServiceClient, made.ID, subnets.UpdateOpts{Name: new("four"), Description: new(""), GatewayIP: new(""), EnableDHCP: new(bool), DNSNameservers: &[]string{}, HostRoutes: &[]subnets.HostRoute{},
		AllocationPools: []subnets.AllocationPool{{Start: "10.1.0.30", End: "10.1.0.90"}}, RevisionNumber: new(made.RevisionNumber)}).Extract()
	l.need("update subnet", err)
	got, err = subnets.Get(l.ctx, l.ServiceClient, made.ID).Extract()
	l.need("show subnet", err)
	want.Name, want.Description, want.GatewayIP, want.EnableDHCP, want.DNSNameservers, want.HostRoutes = "four", "", "", false, []string{}, []subnets.HostRoute{}
	want.AllocationPools[0].Start, want.RevisionNumber, want.UpdatedAt = "10.1.0.30", made.RevisionNumber+1, got.UpdatedAt
	l.same("updated subnet", *got, want)
	for _, c := range []struct {
		opts subnets.ListOpts
		want []string
	}{
		{subnets.ListOpts{NetworkID: network, Limit: 1}, []string{"four", "v6"}},
		{subnets.ListOpts{IPVersion: 6}, []string{"v6"}},
		{subnets.ListOpts{CIDR: "10.1.0.0/24"}, []string{"four"}},
		{subnets.ListOpts{EnableDHCP: new(bool)}, []string{"four"}},
		{subnets.ListOpts{IPv6RAMode: "slaac", IPv6AddressMode: "slaac", GatewayIP: "fd00:1::"}, []string{"v6"}},
		{subnets.ListOpts{ProjectID: l.acme}, []string{}},
	} {
		l.same("subnets", list(l, subnets.List(l.ServiceClient, c.opts), subnets.ExtractSubnets, func(s subnets.Subnet) string { return s.Name }), c.want)
	}
	l.need("delete IPv6 subnet", subnets.Delete(l.ctx, l.ServiceClient, six.ID).ExtractErr())
	return made.ID
}

func (l *library) ports(network, subnet string) string {
	var made port
	l.need("create port", ports.Create(l.ctx, l.ServiceClient, dns.PortCreateOptsExt{DNSName: "guest", CreateOptsBuilder: extradhcpopts.CreateOptsExt{
		ExtraDHCPOpts: []extradhcpopts.CreateExtraDHCPOpt{{OptName: "26", OptValue: "1400", IPVersion: gophercloud.IPv4}},
		CreateOptsBuilder: portsbinding.CreateOptsExt{VNICType: "normal", Profile: map[string]any{"a": "1"}, CreateOptsBuilder: portsecurity.PortCreateOptsExt{PortSecurityEnabled: new(true),
			CreateOptsBuilder: ports.CreateOpts{NetworkID: network, Name: "p", Description: "first", AdminStateUp: new(bool), MACAddress: "02:00:00:00:00:07", DeviceID: "d1", DeviceOwner: "compute:nova",
				FixedIPs: []ports.IP{{SubnetID: subnet, IPAddress: "10.1.0.33"}}, AllowedAddressPairs: []ports.AddressPair{{IPAddress: "10.1.0.99", MACAddress: "02:00:00:00:00:08"}}}}}}}).ExtractInto(&made))
	want := port{Port: ports.Port{ID: made.ID, NetworkID: network, Name: "p", Description: "first", Status: "DOWN", MACAddress: "02:00:00:00:00:07", FixedIPs: []ports.IP{{SubnetID: subnet, IPAddress: "10.1.0.33"}},
		TenantID: made.ProjectID, ProjectID: made.ProjectID, DeviceOwner: "compute:nova", SecurityGroups: []string{}, DeviceID: "d1", Tags: []string{}, RevisionNumber: made.RevisionNumber,
		AllowedAddressPairs: []ports.AddressPair{{IPAddress: "10.1.0.99", MACAddress: "02:00:00:00:00:08"}}, CreatedAt: made.CreatedAt, UpdatedAt: made.UpdatedAt},
		PortsBindingExt:  portsbinding.PortsBindingExt{VIFType: "unbound", VNICType: "normal", VIFDetails: map[string]any{}, Profile: map[string]any{"a": "1"}},
		PortSecurityExt:  portsecurity.PortSecurityExt{PortSecurityEnabled: true},
		ExtraDHCPOptsExt: extradhcpopts.ExtraDHCPOptsExt{ExtraDHCPOpts: []extradhcpopts.ExtraDHCPOpt{{OptName: "26", OptValue: "1400", IPVersion: 4}}},
		PortDNSExt:       dns.PortDNSExt{DNSName: "guest", DNSAssignment: made.DNSAssignment}}
	l.same("made port", made, want)
	l.same("port", l.port(made.ID), want)
	if len(made.DNSAssignment) != 1 || made.DNSAssignment[0]["hostname"] != "guest" || made.DNSAssignment[0]["ip_address"] != "10.1.0.33" {
		l.t.Fatalf("dns_assignment %v", made.DNSAssignment)
	}
	_, err := ports.Create(l.ctx, l.ServiceClient, ports.CreateOpts{NetworkID: network, FixedIPs: []ports.IP{{IPAddress: "10.1.0.33"}}}).Extract()
	l.refused("create a port with a taken address", http.StatusConflict, err)

	l.need("update port", ports.Update(l.ctx, l.ServiceClient, made.ID, dns.PortUpdateOptsExt{DNSName: new("machine"), UpdateOptsBuilder: extradhcpopts.UpdateOptsExt{
		ExtraDHCPOpts: []extradhcpopts.UpdateExtraDHCPOpt{{OptName: "26"}, {OptName: "12", OptValue: new("x"), IPVersion: gophercloud.IPv4}},
		UpdateOptsBuilder: portsbinding.UpdateOptsExt{Profile: map[string]any{}, UpdateOptsBuilder: portsecurity.PortUpdateOptsExt{PortSecurityEnabled: new(bool),
			UpdateOptsBuilder: ports.UpdateOpts{Name: new("port"), AdminStateUp: new(true), DeviceID: new(""), DeviceOwner: new(""), AllowedAddressPairs: &[]ports.AddressPair{},
				FixedIPs: []ports.IP{{SubnetID: subnet, IPAddress: "10.1.0.34"}}, RevisionNumber: new(made.RevisionNumber)}}}}}).Err)
	got := l.port(made.ID)
	want.Name, want.AdminStateUp, want.DeviceID, want.DeviceOwner, want.AllowedAddressPairs, want.FixedIPs[0].IPAddress = "port", true, "", "", []ports.AddressPair{}, "10.1.0.34"
	want.Profile, want.PortSecurityEnabled, want.ExtraDHCPOpts = map[string]any{}, false, []extradhcpopts.ExtraDHCPOpt{{OptName: "12", OptValue: "x", IPVersion: 4}}
	want.DNSName, want.DNSAssignment, want.RevisionNumber, want.UpdatedAt = "machine", got.DNSAssignment, got.RevisionNumber, got.UpdatedAt
	l.same("updated port", got, want)
	_, err = ports.Update(l.ctx, l.ServiceClient, made.ID, ports.UpdateOpts{Name: new("grey"), RevisionNumber: new(made.RevisionNumber)}).Extract()
	l.refused("update of an old revision", http.StatusPreconditionFailed, err)

	other, err := ports.Create(l.ctx, l.ServiceClient, ports.CreateOpts{NetworkID: network, Name: "q"}).Extract()
	l.need("create a plain port", err)
	for _, c := range []struct {
		opts ports.ListOptsBuilder
		want []string
	}{
		{ports.ListOpts{NetworkID: network, Limit: 1, SortKey: "name", SortDir: "desc"}, []string{"port", "q"}},
		{ports.ListOpts{MACAddress: "02:00:00:00:00:07"}, []string{"port"}},
		{ports.ListOpts{FixedIPs: []ports.FixedIPOpts{{SubnetID: subnet, IPAddress: "10.1.0.34"}}}, []string{"port"}},
		{ports.ListOpts{FixedIPs: []ports.FixedIPOpts{{IPAddressSubstr: "0.34"}}}, []string{"port"}},
		{ports.ListOpts{Name: "q", Status: "DOWN"}, []string{"q"}},
		{ports.ListOpts{DeviceOwner: "compute:nova"}, []string{}},
		{dns.PortListOptsExt{ListOptsBuilder: ports.ListOpts{}, DNSName: "machine"}, []string{"port"}},
	} {
		l.same("ports", list(l, ports.List(l.ServiceClient, c.opts), ports.ExtractPorts, func(p ports.Port) string { return p.Name }), c.want)
	}
	l.need("delete port", ports.Delete(l.ctx, l.ServiceClient, other.ID).ExtractErr())
	return made.ID
}

func (l *library) subnetPools() {
	lake, err := networks.Create(l.ctx, l.ServiceClient, networks.CreateOpts{Name: "lake"}).Extract()
	l.need("create network", err)
	made, err := subnetpools.Create(l.ctx, l.ServiceClient, subnetpools.CreateOpts{Name: "pool", Description: "first", Prefixes: []string{"10.64.0.0/16"}, DefaultPrefixLen: 26, MinPrefixLen: 20, MaxPrefixLen: 28,
		DefaultQuota: 4096, Shared: true}).Extract()
	l.need("create subnet pool", err)
	want := subnetpools.SubnetPool{ID: made.ID, Name: "pool", Description: "first", DefaultQuota: 4096, TenantID: made.ProjectID, ProjectID: made.ProjectID, CreatedAt: made.CreatedAt, UpdatedAt: made.UpdatedAt,
		Prefixes: []string{"10.64.0.0/16"}, DefaultPrefixLen: 26, MinPrefixLen: 20, MaxPrefixLen: 28, IPversion: 4, Shared: true, RevisionNumber: made.RevisionNumber, Tags: []string{}}
	l.same("made subnet pool", *made, want)
	of, err := subnets.Create(l.ctx, l.ServiceClient, subnets.CreateOpts{NetworkID: lake.ID, Name: "pooled", IPVersion: gophercloud.IPv4, SubnetPoolID: made.ID, Prefixlen: 28}).Extract()
	l.need("create a subnet of a pool", err)
	l.same("subnets of the pool", list(l, subnets.List(l.ServiceClient, subnets.ListOpts{SubnetPoolID: made.ID}), subnets.ExtractSubnets, func(s subnets.Subnet) string { return s.CIDR }), []string{of.CIDR})
	l.refused("delete a pool in use", http.StatusBadRequest, subnetpools.Delete(l.ctx, l.ServiceClient, made.ID).ExtractErr())
	_, err = subnetpools.Update(l.ctx, l.ServiceClient, made.ID, subnetpools.UpdateOpts{Name: "puddle", Description: new(""), DefaultPrefixLen: 27, IsDefault: new(true), DefaultQuota: new(8192),
		Prefixes: []string{"10.64.0.0/16", "10.65.0.0/16"}, RevisionNumber: new(made.RevisionNumber)}).Extract()
	l.need("update subnet pool", err)
	got, err := subnetpools.Get(l.ctx, l.ServiceClient, made.ID).Extract()
	l.need("show subnet pool", err)
	want.Name, want.Description, want.DefaultPrefixLen, want.IsDefault, want.DefaultQuota, want.Prefixes = "puddle", "", 27, true, 8192, []string{"10.64.0.0/15"}
	want.RevisionNumber, want.UpdatedAt = made.RevisionNumber+1, got.UpdatedAt
	l.same("updated subnet pool", *got, want)
	l.need("add prefixes", subnetpools.AddPrefixes(l.ctx, l.ServiceClient, made.ID, subnetpools.PrefixesOpsOpts{Prefixes: []string{"10.80.0.0/16", "10.90.0.0/16"}}).Err)
	l.need("remove prefixes", subnetpools.RemovePrefixes(l.ctx, l.ServiceClient, made.ID, subnetpools.PrefixesOpsOpts{Prefixes: []string{"10.80.0.0/16"}}).Err)
	got, err = subnetpools.Get(l.ctx, l.ServiceClient, made.ID).Extract()
	l.need("show subnet pool", err)
	l.same("prefixes", got.Prefixes, []string{"10.64.0.0/15", "10.90.0.0/16"})
	for _, c := range []struct {
		opts subnetpools.ListOpts
		want []string
	}{{subnetpools.ListOpts{Limit: 1}, []string{"puddle"}}, {subnetpools.ListOpts{IsDefault: new(bool)}, []string{}}, {subnetpools.ListOpts{DefaultPrefixLen: 27, Shared: new(true)}, []string{"puddle"}}} {
		l.same("subnet pools", list(l, subnetpools.List(l.ServiceClient, c.opts), subnetpools.ExtractSubnetPools, func(p subnetpools.SubnetPool) string { return p.Name }), c.want)
	}
	l.need("delete the pool's subnet", subnets.Delete(l.ctx, l.ServiceClient, of.ID).ExtractErr())
	l.need("delete the pool's network", networks.Delete(l.ctx, l.ServiceClient, lake.ID).ExtractErr())
	l.need("delete the pool", subnetpools.Delete(l.ctx, l.ServiceClient, made.ID).ExtractErr())
}

func (l *library) tags(network, subnet, port string) {
	for kind, id := range map[string]string{"networks": network, "subnets": subnet, "ports": port} {
		tags := func(want ...string) {
			l.t.Helper()
			got, err := attributestags.List(l.ctx, l.ServiceClient, kind, id).Extract()
			l.need("tags of "+kind, err)
			slices.Sort(got)
			l.same("tags of "+kind, got, append([]string{}, want...))
		}
		_, err := attributestags.ReplaceAll(l.ctx, l.ServiceClient, kind, id, attributestags.ReplaceAllOpts{Tags: []string{"red", "blue"}}).Extract()
		l.need("replace tags", err)
		tags("blue", "red")
		l.need("add tag", attributestags.Add(l.ctx, l.ServiceClient, kind, id, "green").ExtractErr())
		tags("blue", "green", "red")
		l.need("delete tag", attributestags.Delete(l.ctx, l.ServiceClient, kind, id, "red").ExtractErr())
		for tag, want := range map[string]bool{"green": true, "red": false} {
			found, err := attributestags.Confirm(l.ctx, l.ServiceClient, kind, id, tag).Extract()
			l.need("confirm tag", err)
			l.same(tag+" of "+kind, found, want)
		}
		l.refused("delete a tag that is not there", http.StatusNotFound, attributestags.Delete(l.ctx, l.ServiceClient, kind, id, "red").ExtractErr())
		if kind == "networks" {
			l.same("by tags", l.networkNames(networks.ListOpts{Tags: "blue,green"}), []string{"navy"})
			l.same("by no tag", l.networkNames(networks.ListOpts{NotTagsAny: "red,green"}), []string{})
		}
		l.need("delete tags", attributestags.DeleteAll(l.ctx, l.ServiceClient, kind, id).ExtractErr())
		tags()
	}
}

func (l *library) rights(network string) {
	made, err := rbacpolicies.Create(l.ctx, l.ServiceClient, rbacpolicies.CreateOpts{Action: rbacpolicies.ActionAccessShared, ObjectType: "network", ObjectID: network, TargetTenant: l.acme}).Extract()
	l.need("create RBAC policy", err)
	want := rbacpolicies.RBACPolicy{ID: made.ID, Action: rbacpolicies.ActionAccessShared, ObjectID: network, ObjectType: "network", TenantID: made.ProjectID, ProjectID: made.ProjectID, TargetTenant: l.acme, Tags: made.Tags}
	l.same("made RBAC policy", *made, want)
	got, err := rbacpolicies.Get(l.ctx, l.ServiceClient, made.ID).Extract()
	l.need("show RBAC policy", err)
	l.same("RBAC policy", *got, want)
	id := func(p rbacpolicies.RBACPolicy) string { return p.ID }
	l.same("by object", list(l, rbacpolicies.List(l.ServiceClient, rbacpolicies.ListOpts{ObjectID: network, TargetTenant: l.acme}), rbacpolicies.ExtractRBACPolicies, id), []string{made.ID})
	l.same("by action", list(l, rbacpolicies.List(l.ServiceClient, rbacpolicies.ListOpts{Action: rbacpolicies.ActionAccessExternal}), rbacpolicies.ExtractRBACPolicies, id), []string{})
	_, err = rbacpolicies.Update(l.ctx, l.ServiceClient, made.ID, rbacpolicies.UpdateOpts{TargetTenant: "*"}).Extract()
	l.need("update RBAC policy", err)
	l.same("shared", l.network(network).Shared, true)
	l.need("delete RBAC policy", rbacpolicies.Delete(l.ctx, l.ServiceClient, made.ID).ExtractErr())
	l.same("shared", l.network(network).Shared, false)
}

func (l *library) quotas() {
	_, err := quotas.Update(l.ctx, l.ServiceClient, l.acme, quotas.UpdateOpts{Network: new(7), Subnet: new(8), Port: new(9), SubnetPool: new(3), RBACPolicy: new(0)}).Extract()
	l.need("update quota", err)
	got, err := quotas.Get(l.ctx, l.ServiceClient, l.acme).Extract()
	l.need("show quota", err)
	l.same("quota", *got, quotas.Quota{Network: 7, Subnet: 8, Port: 9, SubnetPool: 3, RBACPolicy: 0})
	detail, err := quotas.GetDetail(l.ctx, l.ServiceClient, l.acme).Extract()
	l.need("quota in detail", err)
	l.same("quota in detail", detail.Port, quotas.QuotaDetail{Limit: 9})
	l.need("delete quota", quotas.Delete(l.ctx, l.ServiceClient, l.acme).ExtractErr())
	got, err = quotas.Get(l.ctx, l.ServiceClient, l.acme).Extract()
	l.need("show quota", err)
	l.same("quota", *got, quotas.Quota{Network: 100, Subnet: 100, Port: 500, SubnetPool: -1, RBACPolicy: 10})
}

func (l *library) rest(network, subnet string) {
	row, err := networkipavailabilities.Get(l.ctx, l.ServiceClient, network).Extract()
	l.need("show IP availability", err)
	l.same("IP availability", *row, networkipavailabilities.NetworkIPAvailability{NetworkID: network, NetworkName: "navy", ProjectID: row.ProjectID, TenantID: row.ProjectID, TotalIPs: "61", UsedIPs: "1",
		SubnetIPAvailabilities: []networkipavailabilities.SubnetIPAvailability{{SubnetID: subnet, SubnetName: "four", CIDR: "10.1.0.0/24", IPVersion: 4, TotalIPs: "61", UsedIPs: "1"}}})
	name := func(n networkipavailabilities.NetworkIPAvailability) string { return n.NetworkName }
	l.same("IP availability of IPv4", list(l, networkipavailabilities.List(l.ServiceClient, networkipavailabilities.ListOpts{IPVersion: "4"}), networkipavailabilities.ExtractNetworkIPAvailabilities, name), []string{"navy"})
	l.same("IP availability of acme", list(l, networkipavailabilities.List(l.ServiceClient, networkipavailabilities.ListOpts{ProjectID: l.acme}), networkipavailabilities.ExtractNetworkIPAvailabilities, name), []string{})

	versions := list(l, apiversions.ListVersions(l.ServiceClient), apiversions.ExtractAPIVersions, func(v apiversions.APIVersion) string { return v.ID + " " + v.Status })
	l.same("versions", versions, []string{"v2.0 CURRENT"})
	resources := list(l, apiversions.ListVersionResources(l.ServiceClient, "v2.0"), apiversions.ExtractVersionResources, func(r apiversions.APIVersionResource) string { return r.Collection })
	l.same("resources of v2.0", resources, []string{"networks", "ports", "subnetpools", "subnets"})

	aliases := list(l, extensions.List(l.ServiceClient), extensions.ExtractExtensions, func(e extensions.Extension) string { return e.Alias })
	for _, alias := range []string{"binding", "external-net", "net-mtu", "port-security", "provider", "rbac-policies", "standard-attr-tag"} {
		if !slices.Contains(aliases, alias) {
			l.t.Fatalf("no extension %s in %v", alias, aliases)
		}
	}
	one, err := extensions.Get(l.ctx, l.ServiceClient, "provider").Extract()
	l.need("show extension", err)
	l.same("extension", one.Alias, "provider")
}
