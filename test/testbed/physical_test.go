package testbed_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

func addPhysical(t *testing.T, bed *testbed.Bed) *testbed.Physical {
	t.Helper()
	p, err := bed.AddPhysical("physnet1")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func addMachine(t *testing.T, p *testbed.Physical, name string, vlan int, address string) *testbed.Machine {
	t.Helper()
	m, err := p.AddMachine(name, vlan, netip.MustParsePrefix(address))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reaches pings and says whether every request was answered, or none.
func reaches(t *testing.T, from testbed.Namespace, to string) bool {
	t.Helper()
	r, err := from.Ping(netip.MustParseAddr(to), 5, 20*time.Millisecond)
	if err != nil || (r.Received > 0 && r.Lost() > 0) {
		t.Fatalf("ping %s: %v, error %v", to, r, err)
	}
	return r.Received > 0
}

// tags counts frames of ICMP by their VLAN tag; 0 is none.
func tags(frames []testbed.Frame) map[int]int {
	seen := map[int]int{}
	for _, f := range frames {
		tag, rest := 0, f.Raw[12:]
		if binary.BigEndian.Uint16(rest) == 0x8100 {
			tag, rest = int(binary.BigEndian.Uint16(rest[2:])&0xfff), rest[4:]
		}
		if binary.BigEndian.Uint16(rest) == 0x0800 && rest[2+9] == 1 {
			seen[tag]++
		}
	}
	return seen
}

// A physical network keeps its VLANs apart between hosts' provider bridges and
// machines, and tells which frame had which tag.
func TestPhysicalNetworkCarriesVLANs(t *testing.T) {
	testbed.RequireRoot(t)
	bed := newBed(t)
	p := addPhysical(t, bed)
	hosts, err := bed.AddHosts("h1", "h2")
	if err != nil {
		t.Fatal(err)
	}
	// On each host a VM without a tag, and one in VLAN 100.
	var vms []*testbed.VM
	for i, vlan := range []int{0, 0, 100, 100} {
		h, v := hosts[i%2], vif(i+1)
		if i < len(hosts) {
			if err := h.Connect(p, "br-ex"); err != nil {
				t.Fatal(err)
			}
		}
		v.Bridge = "br-ex"
		vm, err := h.AddVM(fmt.Sprintf("vm%d", i+1), v)
		if err != nil {
			t.Fatal(err)
		}
		if err := vm.AddAddress(netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i+1))); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Vsctl("set", "Port", vm.Device(), fmt.Sprintf("tag=%d", vlan)); err != nil {
			t.Fatal(err)
		}
		vms = append(vms, vm)
	}
	flat, tagged := addMachine(t, p, "flat", 0, "10.0.0.100/24"), addMachine(t, p, "tagged", 100, "10.0.0.101/24")

	capture, err := p.Capture(p.Port(hosts[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, from := range []testbed.Namespace{vms[0].Namespace, vms[2].Namespace, flat.Namespace, tagged.Namespace} {
		for j, vm := range vms {
			if got, want := reaches(t, from, fmt.Sprintf("10.0.0.%d", j+1)), i%2 == j/2; got != want {
				t.Errorf("%s reaches %s: %t, want %t", from.NetworkName(), vm.Name, got, want)
			}
		}
	}
	frames, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	// To and from h1: its VM's pings to the other host, the machine's to h1.
	if seen := tags(frames); seen[0] != 20 || seen[100] != 20 || len(seen) != 2 {
		t.Errorf("ICMP on the wire of h1, by tag: %v, want 20 without, 20 with 100", seen)
	}
}

// Hosts with one NIC have their management, their tunnels and their provider
// network on br-ex, also after vswitchd was away.
func TestSingleNICHost(t *testing.T) {
	testbed.RequireRoot(t)
	bed := newBed(t)
	p := addPhysical(t, bed)
	var hosts []*testbed.Host
	for _, name := range []string{"h1", "h2"} {
		h, err := bed.AddSingleNICHost(name, p)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	a, _ := tunnel(t, bed, hosts)
	if !reaches(t, a.Namespace, "10.0.0.2") {
		t.Error("no answer through the tunnel")
	}
	if err := hosts[0].KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := hosts[0].StartVswitchd(); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if !reaches(t, bed.Underlay, h.Management.String()) || !reaches(t, h.Namespace, testbed.ManagementAddr.String()) {
			t.Errorf("%s and the controller's address: no answer", h.Name)
		}
	}
	stream(t, hosts[0].Namespace, bed.Underlay, testbed.ManagementAddr.String()+":6640")
	stream(t, bed.Underlay, hosts[1].Namespace, hosts[1].Management.String()+":7")
	if m := addMachine(t, p, "router", 0, "10.77.99.1/16"); !reaches(t, m.Namespace, hosts[0].Management.String()) {
		t.Error("a machine on the same network does not reach h1")
	}
	if m := addMachine(t, p, "elsewhere", 7, "10.77.99.2/16"); reaches(t, m.Namespace, hosts[0].Management.String()) {
		t.Error("a machine in VLAN 7 reaches h1")
	}
}

// Tunnels over IPv6, and a VTEP's address changed at run time.
func TestSetVTEP(t *testing.T) {
	testbed.RequireRoot(t)
	bed, a, b := twoHosts(t)
	for i, addresses := range [][2]string{{"fd00::1", "fd00::2"}, {"fd00::1", "fd00::77"}, {"172.31.5.1", "172.31.5.2"}} {
		for j, vm := range []*testbed.VM{a, b} {
			h := vm.Host
			if to := netip.MustParseAddr(addresses[j]); to != h.VTEP {
				if err := h.SetVTEP(to); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := h.Vsctl("set", "Interface", "vxlan0", fmt.Sprintf("options:local_ip=%q", addresses[j])); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Ofctl("del-flows", "br-int"); err != nil {
				t.Fatal(err)
			}
			forward(t, h, vm, netip.MustParseAddr(addresses[1-j]))
		}
		if err := bed.WarmTunnels(); err != nil {
			t.Fatal(err)
		}
		if !reaches(t, a.Namespace, "10.0.0.2") {
			t.Errorf("change %d, to %v: no answer", i+1, addresses)
		}
	}
}

func TestLeaveUnderlay(t *testing.T) {
	testbed.RequireRoot(t)
	bed, a, b := twoHosts(t)
	if err := b.Host.LeaveUnderlay(); err != nil {
		t.Fatal(err)
	}
	if reaches(t, a.Namespace, "10.0.0.2") {
		t.Error("b answers without an underlay")
	}
	if err := b.Host.JoinUnderlay(); err != nil {
		t.Fatal(err)
	}
	if err := bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	if !reaches(t, a.Namespace, "10.0.0.2") {
		t.Error("b does not answer, back on the underlay")
	}
}
