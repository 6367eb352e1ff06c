package model

import (
	"net/netip"
	"strings"
	"testing"
)

func TestReaches(t *testing.T) {
	all := []string{TypeVXLAN, TypeGRE, TypeGeneve}
	address := netip.MustParseAddr("172.31.0.1")
	mapped := map[string]string{"physnet1": "br-ex"}
	for _, c := range []struct {
		what    string
		host    Host
		segment Segment
		lacks   string // what the reason must name
	}{
		{"local, on a bare host", Host{}, Segment{NetworkType: TypeLocal}, ""},
		{"flat", Host{BridgeMappings: mapped}, Segment{NetworkType: TypeFlat, PhysicalNetwork: "physnet1"}, ""},
		{"vlan", Host{BridgeMappings: mapped}, Segment{TypeVLAN, "physnet1", 7}, ""},
		{"flat without the physical network", Host{BridgeMappings: mapped, EncapIP: address, EncapTypes: all}, Segment{NetworkType: TypeFlat, PhysicalNetwork: "physnet2"}, "physnet2"},
		{"vlan without a mapping", Host{EncapIP: address, EncapTypes: all}, Segment{TypeVLAN, "physnet1", 7}, "tunbridge-bridge-mappings"},
		{"vxlan", Host{EncapIP: address, EncapTypes: all}, Segment{NetworkType: TypeVXLAN}, ""},
		{"geneve", Host{EncapIP: address, EncapTypes: all}, Segment{NetworkType: TypeGeneve}, ""},
		{"gre without an address", Host{EncapTypes: all, BridgeMappings: mapped}, Segment{NetworkType: TypeGRE}, "tunbridge-encap-ip"},
		{"gre on a host of vxlan", Host{EncapIP: address, EncapTypes: all[:1]}, Segment{NetworkType: TypeGRE}, "gre tunnels: external_ids:tunbridge-encap-types on the host has only vxlan"},
	} {
		c.host.Hostname = "compute01"
		err := c.host.Reaches(&Network{Segment: c.segment})
		switch {
		case (err == nil) != (c.lacks == ""):
			t.Errorf("%s: %v", c.what, err)
		case err != nil && (!strings.Contains(err.Error(), c.lacks) || !strings.Contains(err.Error(), "host compute01")):
			t.Errorf("%s: %q does not name the host and %q", c.what, err, c.lacks)
		}
	}
}
