package pipeline

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// unsafe is an overlay with ports without port security on h1 (v12, v13) and h2, none on h3, and a vlan
// network with one on h1 (v22).
func unsafe() *topology {
	t := newTopology()
	h1, h2, h3 := t.host(1), t.host(2), t.host(3)
	overlay, vlan := t.network(1, 5001), t.segment(2, model.TypeVLAN, 77)
	for i, h := range t.hosts {
		t.vlans[vlanKey{h.Hostname, overlay.ID}], t.vlans[vlanKey{h.Hostname, vlan.ID}] = uint16(1+i), uint16(11+i)
	}
	t.port(0x11, overlay, h1, 11, "10.0.0.11")
	t.port(0x12, overlay, h1, 12, "10.0.0.12").PortSecurityEnabled = false
	t.port(0x13, overlay, h1, 13, "10.0.0.13").PortSecurityEnabled = false
	t.port(0x14, overlay, h2, 11, "10.0.0.14")
	t.port(0x15, overlay, h2, 12, "10.0.0.15").PortSecurityEnabled = false
	t.port(0x16, overlay, h3, 11, "10.0.0.16")
	t.port(0x21, vlan, h1, 21, "10.0.1.21")
	t.port(0x22, vlan, h1, 22, "10.0.1.22").PortSecurityEnabled = false
	t.port(0x23, vlan, h2, 21, "10.0.1.23")
	return t
}

// hear lets a bridge receive a packet for good: what it makes the switch learn, is learnt.
func (s *realSwitch) hear(bridge, packet string) {
	s.t.Helper()
	if _, err := s.Appctl("ofproto/trace", bridge, packet, "-generate"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *realSwitch) learned(b flows.Bridge, t *flows.Table) int {
	s.t.Helper()
	return strings.Count(s.ofctl("--no-names", "dump-flows", b.String(), fmt.Sprintf("table=%d", t.Number)), "priority=")
}

// Real Open vSwitch learns what sends from behind ports without port security, there and on hosts
// that hear of it, and nothing else.
func TestLearn(t *testing.T) {
	f, wanted := newFabric(t, unsafe())
	h1, h2, h3 := f.switches["h1"], f.switches["h2"], f.switches["h3"]
	const (
		stranger, moved, outside = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
		known                    = "fa:16:3e:00:00:14" // on h2
		toAll                    = ",dl_dst=ff:ff:ff:ff:ff:ff,ip,nw_src=192.0.2.1"
	)
	a := func(mac string) string {
		return "in_port=11,dl_src=fa:16:3e:00:00:11,ip,nw_src=10.0.0.11,dl_dst=" + mac
	}
	c := func(mac string) string {
		return "in_port=11,dl_src=fa:16:3e:00:00:16,ip,nw_src=10.0.0.16,dl_dst=" + mac
	}
	v := func(mac string) string {
		return "in_port=21,dl_src=fa:16:3e:00:00:21,ip,nw_src=10.0.1.21,dl_dst=" + mac
	}
	into := func(peer, mac string) string {
		return "in_port=4,tun_src=" + peer + ",tun_dst=172.31.0.9,tun_id=5001,dl_src=" + mac + toAll
	}
	goes := func(when string, s *realSwitch, packet, want string) {
		t.Helper()
		if went, _ := s.trace("br-int", packet); went != want {
			t.Errorf("%s: %s\n got %s\nwant %s", when, packet, went, want)
		}
	}

	goes("nobody sent", h1, a(stranger), "172.31.0.2/5001 v12 v13")
	goes("nobody sent", h3, c(stranger), "172.31.0.1/5001 172.31.0.2/5001")
	h1.hear("br-int", "in_port=12,dl_src="+stranger+toAll)
	goes("it sent", h1, a(stranger), "v12")
	h1.hear("br-int", "in_port=13,dl_src="+stranger+toAll)
	goes("it moved to another port", h1, a(stranger), "v13")
	h3.hear("br-tun", into("172.31.0.1", stranger))
	goes("it was heard elsewhere", h3, c(stranger), "172.31.0.1/5001")
	h1.hear("br-tun", into("172.31.0.2", stranger))
	h3.hear("br-tun", into("172.31.0.2", stranger))
	goes("it moved to another host", h1, a(stranger), "172.31.0.2/5001")
	goes("it moved to another host", h3, c(stranger), "172.31.0.2/5001")
	h1.hear("br-int", "in_port=12,dl_src="+stranger+toAll)
	goes("it moved back", h1, a(stranger), "v12")

	h1.hear("br-int", "in_port=12,dl_src="+known+toAll)
	goes("a port's own MAC was sent from", h1, a(known), "172.31.0.2/5001")
	h3.hear("br-tun", into("172.31.0.1", known))
	goes("a port's own MAC was sent from", h3, c(known), "172.31.0.2/5001")

	goes("outside, nobody sent", h1, v(outside), "v22 wire/77")
	h1.hear("br-int", "in_port=2,dl_vlan=77,dl_src="+outside+toAll)
	goes("outside, it sent", h1, v(outside), "wire/77")
	goes("no port without port security here", h2, "in_port=21,dl_src=fa:16:3e:00:00:23,ip,nw_src=10.0.1.23,dl_dst="+outside, "wire/77")
	h2.hear("br-int", "in_port=2,dl_vlan=77,dl_src="+outside+toAll)
	if n := h2.learned(flows.BrInt, flows.L2Learned); n != 0 {
		t.Errorf("h2 learnt %d MACs", n)
	}

	// A port learns so many and no more; the others are reached with the unknown.
	h1.hear("br-int", "in_port=13,dl_src="+moved+toAll)
	for i := range 300 {
		h1.hear("br-int", fmt.Sprintf("in_port=13,dl_src=02:00:00:01:%02x:%02x%s", i>>8, i&255, toAll))
	}
	if n := strings.Count(h1.ofctl("dump-flows", "br-int", "table=61"), "cookie=0x204000c00000013"); n != 256 {
		t.Errorf("%d MACs of one port are learnt", n)
	}
	goes("too many are behind the port", h1, a("02:00:00:01:01:2b"), "172.31.0.2/5001 v12 v13")
	goes("too many are behind another port", h1, a(stranger), "v12")

	// What is learnt is nobody's business but the switch's, and goes with its port.
	for name, s := range f.switches {
		s.install(wanted[name])
	}
	if n := h1.learned(flows.BrInt, flows.L2Learned); n < 256 {
		t.Errorf("after a dump %d MACs are learnt", n)
	}
	f.vifs[f.ports[2].ID] = vif{}
	if err := wanted["h1"].Compile(f.view(f.hosts[0])); err != nil {
		t.Fatal(err)
	}
	h1.install(wanted["h1"])
	if out := h1.ofctl("dump-flows", "br-int", "table=61"); strings.Contains(out, "cookie=0x204000c00000013") || !strings.Contains(out, "cookie=0x204000c00000012") {
		t.Errorf("after v13 went there is\n%s", out)
	}
	goes("its port went", h1, a(moved), "172.31.0.2/5001 v12")
	p := *f.ports[1]
	p.PortSecurityEnabled = true
	f.ports[1] = &p
	if err := wanted["h1"].Compile(f.view(f.hosts[0])); err != nil {
		t.Fatal(err)
	}
	h1.install(wanted["h1"])
	goes("no port here is without port security", h1, a(stranger), "172.31.0.2/5001")
}

// The same over an IPv6 underlay; a host with an IPv4 address is out of reach then.
func TestIPv6Underlay(t *testing.T) {
	top := unsafe()
	top.hosts[0].EncapIP, top.hosts[1].EncapIP = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	f, _ := newFabric(t, top)
	h1 := f.switches["h1"]
	const a = "in_port=11,dl_src=fa:16:3e:00:00:11,ip,nw_src=10.0.0.11,dl_dst="
	const fromH2 = "in_port=4,tun_ipv6_src=fd00::2,tun_ipv6_dst=fd00::1,tun_id=5001,dl_src=02:00:00:00:00:01,dl_dst="
	for _, tc := range []struct{ bridge, packet, went string }{
		{"br-int", a + "fa:16:3e:00:00:14", "fd00::2/5001"},
		{"br-int", a + "ff:ff:ff:ff:ff:ff", "fd00::2/5001 v12 v13"},
		{"br-int", a + "02:00:00:00:00:01", "fd00::2/5001 v12 v13"},
		{"br-int", a + "fa:16:3e:00:00:16", "fd00::2/5001"}, // h3 is unknown there, but h2 has a port without port security
		{"br-tun", fromH2 + "fa:16:3e:00:00:11,ip", "v11"},
		{"br-tun", strings.Replace(fromH2, "=fd00::2", "=fd00::3", 1) + "fa:16:3e:00:00:11,ip", "drop in br-tun 0 classify"},
		{"br-tun", "in_port=4,tun_src=172.31.0.3,tun_dst=172.31.0.1,tun_id=5001,dl_dst=fa:16:3e:00:00:11,ip", "drop in br-tun 0 classify"},
	} {
		if went, _ := h1.trace(tc.bridge, tc.packet); went != tc.went {
			t.Errorf("%s %s\n got %s\nwant %s", tc.bridge, tc.packet, went, tc.went)
		}
	}
	h1.hear("br-tun", fromH2+"ff:ff:ff:ff:ff:ff,ip")
	if went, _ := h1.trace("br-int", a+"02:00:00:00:00:01"); went != "fd00::2/5001" {
		t.Errorf("learnt over IPv6, and then went to %s", went)
	}
}
