package metadata

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
)

// openstackVersions are those of OpenStack's metadata that differ for a client; here they hold the same.
var openstackVersions = []string{"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14", "latest"}

// openstack is the tree below /openstack.
func openstack(m *machine) *node {
	k := m.kept()
	files := map[string]*node{
		"meta_data.json":    document(func() any { return metaData(m, k) }),
		"network_data.json": document(func() any { return networkData(m) }),
		"vendor_data.json":  text("{}"),
		"vendor_data2.json": text("{}"),
	}
	if len(k.UserData) > 0 {
		files["user_data"] = text(string(k.UserData))
	}
	return versions(openstackVersions, directory(files, ""))
}

// metaData is meta_data.json.
func metaData(m *machine, k *model.Metadata) map[string]any {
	keys := []map[string]string{}
	for _, name := range publicKeys(k) {
		keys = append(keys, map[string]string{"name": name, "type": "ssh", "data": k.PublicKeys[name]})
	}
	d := map[string]any{
		"uuid":              m.instance(),
		"name":              m.hostname(),
		"hostname":          m.hostname(),
		"project_id":        m.port.ProjectID,
		"availability_zone": zone,
		"launch_index":      0,
		"keys":              keys,
		"devices":           []any{},
	}
	if k.PublicKeys != nil {
		d["public_keys"] = k.PublicKeys
	}
	if k.Meta != nil {
		d["meta"] = k.Meta
	}
	return d
}

// zone is the availability zone of everything, as it is for Nova by default.
const zone = "nova"

// The parts of network_data.json.
type (
	networkDocument struct {
		Links    []linkDocument    `json:"links"`
		Networks []subnetDocument  `json:"networks"`
		Services []serviceDocument `json:"services"`
	}
	linkDocument struct {
		ID    string `json:"id"`
		VIFID string `json:"vif_id"`
		Type  string `json:"type"`
		MTU   int    `json:"mtu"`
		MAC   string `json:"ethernet_mac_address"`
	}
	subnetDocument struct {
		ID        string            `json:"id"`
		Type      string            `json:"type"`
		Link      string            `json:"link"`
		NetworkID string            `json:"network_id"`
		Address   string            `json:"ip_address,omitempty"`
		Netmask   string            `json:"netmask,omitempty"`
		Routes    []routeDocument   `json:"routes,omitempty"`
		Services  []serviceDocument `json:"services,omitempty"`
	}
	routeDocument struct {
		Network string `json:"network"`
		Netmask string `json:"netmask"`
		Gateway string `json:"gateway"`
	}
	serviceDocument struct {
		Type    string `json:"type"`
		Address string `json:"address"`
	}
)

// networkData is network_data.json: each VIF of the machine as a link, each address as a network. What
// DHCP or a router's advertisements tell is named and left to them.
func networkData(m *machine) networkDocument {
	d := networkDocument{Links: []linkDocument{}, Networks: []subnetDocument{}, Services: []serviceDocument{}}
	told := map[netip.Addr]bool{}
	for _, p := range m.ports() {
		link := ("tap" + p.ID.String())[:14]
		d.Links = append(d.Links, linkDocument{link, p.ID.String(), "ovs", p.network.MTU, p.MACAddress.String()})
		for _, f := range p.FixedIPs {
			s := p.network.Subnet(f.SubnetID)
			if s == nil {
				continue
			}
			n := subnetDocument{ID: fmt.Sprintf("network%d", len(d.Networks)), Link: link, NetworkID: p.NetworkID.String(), Type: subnetType(s)}
			if n.Type == "ipv4" || n.Type == "ipv6" {
				n.Address, n.Netmask = f.IPAddress.String(), netmask(s.CIDR)
				n.Routes = routesOf(s)
				for _, a := range s.DNSNameservers {
					n.Services = append(n.Services, serviceDocument{"dns", a.String()})
				}
			}
			d.Networks = append(d.Networks, n)
			for _, a := range s.DNSNameservers {
				if !told[a] {
					told[a] = true
					d.Services = append(d.Services, serviceDocument{"dns", a.String()})
				}
			}
		}
	}
	return d
}

// subnetType is how a machine learns its address in a subnet, in OpenStack's words.
func subnetType(s *model.Subnet) string {
	switch {
	case s.CIDR.Addr().Is4() && s.EnableDHCP:
		return "ipv4_dhcp"
	case s.CIDR.Addr().Is4():
		return "ipv4"
	case s.EnableDHCP && s.IPv6AddressMode != "":
		return "ipv6_" + s.IPv6AddressMode
	}
	return "ipv6"
}

// routesOf are a subnet's gateway and host routes.
func routesOf(s *model.Subnet) (routes []routeDocument) {
	if s.GatewayIP.IsValid() {
		anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if s.GatewayIP.Is6() {
			anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		routes = append(routes, routeTo(anywhere, s.GatewayIP))
	}
	for _, r := range s.HostRoutes {
		routes = append(routes, routeTo(r.Destination, r.Nexthop))
	}
	return routes
}

func routeTo(p netip.Prefix, gateway netip.Addr) routeDocument {
	return routeDocument{p.Addr().String(), netmask(p), gateway.String()}
}

// netmask is a prefix's length as a mask: 255.255.255.0, ffff:ffff:ffff:ffff::.
func netmask(p netip.Prefix) string {
	a, _ := netip.AddrFromSlice(net.CIDRMask(p.Bits(), p.Addr().BitLen()))
	return a.String()
}
