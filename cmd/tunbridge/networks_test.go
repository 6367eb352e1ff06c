package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/ipam"
)

// configured is serve as a configuration file and flags make it.
func configured(t *testing.T, file string, flags ...string) (*serve, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tunbridge.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var p struct {
		Serve serve `cmd:""`
	}
	parser, err := kong.New(&p, kong.DefaultEnvars("TUNBRIDGE"), kong.Configuration(loadConfig), kong.Vars{"datadir": t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve", "--config", path}, flags...))
	return &p.Serve, err
}

func TestNetworkKeys(t *testing.T) {
	few := ipam.Range{First: 1, Last: 1<<20 - 1}
	for _, c := range []struct {
		file     string
		flags    []string
		segments api.Segments
		mtus     api.MTUs
	}{
		{"", nil,
			api.Segments{VXLAN: few, GRE: few, Geneve: few, Tenant: []string{"vxlan"}},
			api.MTUs{Underlay: 1500, Physical: map[string]int{}}},
		{"flat-networks: [physnet1, public]\nvlan-ranges: [physnet1:100:199, physnet2]\nvxlan-range: 5:6\ngre-range: 1:4294967295\n" +
			"tenant-network-types: [vlan, geneve]\nphysical-network-mtus: [physnet1:9000, public:1400]\nunderlay-mtu: 1600\n", []string{"--vxlan-range=7:8", "--underlay-ip-version=6"},
			api.Segments{
				Flat:  []string{"physnet1", "public"},
				VLAN:  []ipam.VLANRange{{PhysicalNetwork: "physnet1", IDs: ipam.Range{First: 100, Last: 199}}, {PhysicalNetwork: "physnet2"}},
				VXLAN: ipam.Range{First: 7, Last: 8}, GRE: ipam.Range{First: 1, Last: 1<<32 - 1}, Geneve: few,
				Tenant: []string{"vlan", "geneve"}},
			api.MTUs{Underlay: 1600, UnderlayIPv6: true, Physical: map[string]int{"physnet1": 9000, "public": 1400}}},
		{"", []string{"--flat-networks=a", "--flat-networks=b", "--vlan-ranges=c:1:2", "--vlan-ranges=c:5:6"},
			api.Segments{Flat: []string{"a", "b"}, VXLAN: few, GRE: few, Geneve: few, Tenant: []string{"vxlan"},
				VLAN: []ipam.VLANRange{{PhysicalNetwork: "c", IDs: ipam.Range{First: 1, Last: 2}}, {PhysicalNetwork: "c", IDs: ipam.Range{First: 5, Last: 6}}}},
			api.MTUs{Underlay: 1500, Physical: map[string]int{}}},
	} {
		s, err := configured(t, c.file, c.flags...)
		if err != nil {
			t.Errorf("%s %q: %v", c.file, c.flags, err)
			continue
		}
		segments, err := s.segments()
		if err != nil {
			t.Error(err)
		}
		mtus, err := s.mtus()
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(c.segments, segments) + cmp.Diff(c.mtus, mtus); d != "" {
			t.Errorf("%s %q: -want +got:\n%s", c.file, c.flags, d)
		}
	}
}

func TestNetworkKeysRefused(t *testing.T) {
	for _, file := range []string{
		"vxlan-range: 5", "gre-range: 0:5", "vlan-ranges: [p:1:5000]", "flat-network: [p]", "underlay-ip-version: 5", "underlay-mtu: 100",
		"geneve-range: 1:16777216", "tenant-network-types: [flat]", "tenant-network-types: [vlan]", "physical-network-mtus: [p:1500]", "physical-network-mtus: [p]",
	} {
		s, err := configured(t, file)
		if err == nil {
			_, err = s.segments()
		}
		if err == nil {
			_, err = s.mtus()
		}
		if err == nil {
			t.Errorf("%s is accepted", file)
		}
	}
}
