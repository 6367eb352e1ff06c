package main

import (
	"fmt"
	"slices"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/ipam"
)

// networkKeys are the keys that say which networks there can be and how large their packets.
type networkKeys struct {
	FlatNetworks        []string          `help:"Physical networks that may carry a flat network, one each; * for any." placeholder:"PHYSNET"`
	VLANRanges          []ipam.VLANRange  `name:"vlan-ranges" help:"Physical networks that may carry vlan networks, with the VLAN IDs for networks that name none." placeholder:"PHYSNET[:LOW:HIGH]"`
	VXLANRange          ipam.Range        `name:"vxlan-range" help:"VNIs for vxlan networks that name none, up to 16777215." default:"1:1048575"`
	GRERange            ipam.Range        `name:"gre-range" help:"Keys for gre networks that name none, up to 4294967295." default:"1:1048575"`
	GeneveRange         ipam.Range        `help:"VNIs for geneve networks that name none, up to 16777215." default:"1:1048575"`
	TenantNetworkTypes  []string          `help:"Types of networks that name none, in order: the first with a free segment. Of vxlan, gre, geneve, vlan, local." default:"vxlan"`
	UnderlayMTU         int               `name:"underlay-mtu" help:"MTU of the network between the hosts, bytes." default:"1500"`
	UnderlayIPVersion   int               `name:"underlay-ip-version" help:"IP version of the hosts' tunnel addresses, 4 or 6: what tunnels leave of the MTU follows from it." enum:"4,6" default:"4"`
	PhysicalNetworkMTUs []api.PhysicalMTU `name:"physical-network-mtus" help:"MTUs of physical networks; others have underlay-mtu." placeholder:"PHYSNET:MTU"`
}

// segments are the keys as the API takes them.
func (k *networkKeys) segments() (api.Segments, error) {
	s := api.Segments{Flat: k.FlatNetworks, VLAN: k.VLANRanges, VXLAN: k.VXLANRange, GRE: k.GRERange, Geneve: k.GeneveRange, Tenant: k.TenantNetworkTypes}
	return s, s.Check()
}

func (k *networkKeys) mtus() (api.MTUs, error) {
	m := api.MTUs{Underlay: k.UnderlayMTU, UnderlayIPv6: k.UnderlayIPVersion == 6, Physical: make(map[string]int)}
	for _, p := range k.PhysicalNetworkMTUs {
		if !slices.Contains(k.FlatNetworks, p.PhysicalNetwork) && !slices.Contains(k.FlatNetworks, "*") &&
			!slices.ContainsFunc(k.VLANRanges, func(v ipam.VLANRange) bool { return v.PhysicalNetwork == p.PhysicalNetwork }) {
			return m, fmt.Errorf("physical-network-mtus: %s is in neither flat-networks nor vlan-ranges", p.PhysicalNetwork)
		}
		m.Physical[p.PhysicalNetwork] = p.MTU
	}
	if k.UnderlayMTU < 576 {
		return m, fmt.Errorf("underlay-mtu: %d is too small: want at least 576", k.UnderlayMTU)
	}
	return m, nil
}
