package pipeline

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/eval"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// reader reads what package eval is given of the switch, as often as it is called.
func (s *realSwitch) reader() func() *eval.Host {
	var reads [len(flows.Bridges)]func() *eval.Bridge
	for _, b := range flows.Bridges {
		conn, ctx := s.connect(b)
		reads[b] = func() *eval.Bridge {
			var (
				installed []openflow.FlowStats
				groups    []openflow.GroupDesc
				ports     []eval.Port
			)
			if err := errors.Join(
				conn.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error { installed = append(installed, *f); return nil }),
				conn.DumpGroups(ctx, func(g *openflow.GroupDesc) error { groups = append(groups, *g); return nil }),
				conn.DumpPorts(ctx, func(p *openflow.Port) error { ports = append(ports, portOf(p)); return nil }),
			); err != nil {
				s.t.Fatalf("%s: %v", b, err)
			}
			return eval.NewBridge(installed, groups, ports)
		}
	}
	return func() *eval.Host {
		h := &eval.Host{Name: s.Name}
		for b, read := range reads {
			h.Bridges[b] = read()
		}
		return h
	}
}

// portOf is what a port of such a switch leads to.
func portOf(p *openflow.Port) eval.Port {
	port := eval.Port{Number: p.Number, Name: p.Name}
	switch p.Name {
	case "patch-tun":
		port.Peer = bridgePorts.PatchInt
	case "patch-int":
		port.Peer = bridgePorts.PatchTun
	case model.TypeVXLAN, model.TypeGRE, model.TypeGeneve:
		port.Tunnel = p.Name
	case "uplink":
		port.Physical, port.Provider = "physnet1", "br-ex"
	default:
		port.VIF = p.Name
	}
	return port
}

// inMatches are the names in a match of fields that have others in a packet.
var inMatches = strings.NewReplacer("udp_", "tp_", "tcp_", "tp_", "icmpv6_", "icmp_")

// packetOf reads a packet in ofproto/trace's words.
func packetOf(t tester, text string) *eval.Packet {
	t.Helper()
	f, err := openflow.ParseFlowText(inMatches.Replace(text) + " actions=drop")
	if err != nil || len(f.Unknown) > 0 {
		t.Fatalf("%s: %v, not known: %q", text, err, f.Unknown)
	}
	return eval.NewPacket(slices.Collect(f.Match.Fields())...)
}

// tester is what a test and a drawn case have in common.
type tester interface {
	Helper()
	Fatalf(string, ...any)
}

// evaluate follows a packet as trace does, and says it in the same words. final is nil unless a single
// copy ended on the bridge on which it began.
func evaluate(t tester, h *eval.Host, bridge, packet string) (went string, final *eval.Packet) {
	t.Helper()
	b := flows.BrInt
	if bridge == flows.BrTun.String() {
		b = flows.BrTun
	}
	p := packetOf(t, packet)
	result := eval.Run(eval.Alone{}, h, b, uint32(p.Get(openflow.InPort).Uint()), p)
	var copies []string
	for _, e := range result.Ends {
		switch e.Kind {
		case eval.Delivered:
			copies = append(copies, fmt.Sprintf("v%d", e.Port.Number))
		case eval.Answered:
			copies = append(copies, "answered")
		case eval.Punted:
			copies = append(copies, "punted")
		case eval.Left:
			tag := ""
			if vid := e.Packet.Get(openflow.VlanVID).Uint(); vid != 0 {
				tag = fmt.Sprintf("/%d", vid&0xfff)
			}
			copies = append(copies, "wire"+tag)
		case eval.Lost:
			to := e.Packet.Get(openflow.TunDst).Addr()
			if to.IsUnspecified() {
				to = e.Packet.Get(openflow.TunIPv6Dst).Addr()
			}
			kind := map[string]string{model.TypeGRE: "gre:", model.TypeGeneve: "geneve:"}[e.Port.Tunnel]
			copies = append(copies, fmt.Sprintf("%s%s/%d", kind, to, e.Packet.Get(openflow.TunID).Uint()))
		case eval.Dropped:
			if len(result.Ends) == 1 {
				return "drop in " + flows.TableOf(e.Bridge, e.Last.Table).String(), nil
			}
		default:
			t.Fatalf("%s: %s", packet, e.Why)
		}
	}
	if len(copies) == 0 && len(result.Ends) == 0 {
		t.Fatalf("%s: nothing became of it", packet)
	}
	slices.Sort(copies)
	if e := result.Ends[0]; len(result.Ends) == 1 && e.Bridge == b && e.Kind != eval.Left {
		final = e.Packet
	}
	return strings.Join(copies, " "), final
}

// agrees compares what we think with what Open vSwitch says, also of how the packet has changed. What that
// makes it learn is learnt.
func agrees(t tester, s *realSwitch, h *eval.Host, bridge, packet string) (went string) {
	t.Helper()
	want, changed := s.trace(bridge, packet)
	got, final := evaluate(t, h, bridge, packet)
	const drop = "drop in "
	// Of several copies which are all dropped the switch names the last, and we one that no flow turned back.
	same := got == want || strings.HasPrefix(want, drop) && (got == "" || strings.HasPrefix(got, drop)) && strings.Contains(want, flows.Output.String())
	if !same {
		t.Fatalf("%s %s: %s\n        we say %q\nOpen vSwitch %q", s.Name, bridge, packet, got, want)
	}
	if final != nil {
		f, err := openflow.ParseFlowText(changed + " actions=drop")
		if err != nil {
			t.Fatalf("%q: %v", changed, err)
		}
		for v := range f.Match.Fields() {
			if got := final.Get(v.Field); got.Value != v.Value && v.Field != openflow.IPFrag {
				t.Fatalf("%s %s: %s\nin the end we have %s, Open vSwitch\n%s", s.Name, bridge, packet, got, changed)
			}
		}
	}
	return want
}

// Whatever packet a guest or another host sends, package eval says of the flows of a real switch what
// that says itself.
func TestEvalAgrees(t *testing.T) {
	top := mixed()
	wanted := map[string]*flows.Compiler{}
	for _, h := range top.hosts[:2] {
		wanted[h.Hostname] = compile(t, top.view(h), features()...)
	}
	switches := newSwitches(t, top, wanted)
	read := map[string]func() *eval.Host{}
	for name, s := range switches {
		read[name] = s.reader()
	}
	went := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"h1", "h2"}).Draw(t, "host")
		for range 5 {
			bridge, packet := anyPacket(t, top, name)
			went[strings.TrimRight(strings.Fields(agrees(t, switches[name], read[name](), bridge, packet) + " ")[0], "0123456789./:")]++
		}
	})
	t.Logf("packets by what became of them: %v", went)
	for _, kind := range []string{"v", "wire", "answered", "punted", "drop"} {
		if went[kind] == 0 {
			t.Errorf("no packet was %s", kind)
		}
	}
}

// mixed is the deployment of other tests with a network of each further type.
func mixed() *topology {
	top := deployment()
	h1, h2 := top.hosts[0], top.hosts[1]
	for i, networkType := range []string{model.TypeVLAN, model.TypeFlat, model.TypeGRE, model.TypeGeneve, model.TypeLocal} {
		key := uint32(100 + i)
		if networkType == model.TypeFlat || networkType == model.TypeLocal {
			key = 0
		}
		net := top.segment(10+i, networkType, key)
		top.vlans[vlanKey{"h1", net.ID}], top.vlans[vlanKey{"h2", net.ID}] = uint16(10+i), uint16(20+i)
		n := 0xe00 + 16*i
		top.port(n, net, h1, uint32(30+2*i), "10.0.0.11")
		top.port(n+1, net, h1, uint32(31+2*i), "10.0.0.12").PortSecurityEnabled = i%2 == 0
		top.port(n+2, net, h2, uint32(30+2*i), "10.0.0.13")
	}
	return top
}

// anyPacket draws a packet that comes into a host from a VIF, a tunnel, the physical network, or nowhere.
func anyPacket(t *rapid.T, top *topology, host string) (bridge, packet string) {
	port := rapid.SampledFrom(top.ports)
	from := rapid.SampledFrom(slices.DeleteFunc(slices.Clone(top.ports), func(p *model.Port) bool { return p.HostID != host })).Draw(t, "from")
	mostly := func(label, usual string, others ...string) string {
		if rapid.IntRange(0, 14).Draw(t, label+" is unusual") > 0 {
			return usual
		}
		return rapid.SampledFrom(others).Draw(t, label)
	}
	at := []string{fmt.Sprintf("in_port=%d", top.vifs[from.ID].ofport)}
	bridge = "br-int"
	switch rapid.SampledFrom([]string{"VIF", "VIF", "VIF", "VIF", "VIF", "tunnel", "tunnel", "wire", "nowhere"}).Draw(t, "where") {
	case "tunnel":
		bridge = "br-tun"
		at = []string{fmt.Sprintf("in_port=%d", rapid.SampledFrom([]int{4, 4, 5, 6}).Draw(t, "tunnel")),
			"tun_src=" + rapid.SampledFrom([]string{"172.31.0.1", "172.31.0.2", "172.31.0.3", "172.31.0.9"}).Draw(t, "tun_src"),
			fmt.Sprintf("tun_id=%d", rapid.SampledFrom([]int{5001, 5001, 5002, 102, 103, 7777}).Draw(t, "key"))}
	case "wire":
		at = []string{fmt.Sprintf("in_port=%d", uplink)}
	case "nowhere":
		at = []string{"in_port=99"}
	}
	mac := func(label string) string {
		return mostly(label, from.MACAddress.String(), "fa:16:3e:99:99:99", "00:00:5e:00:01:01", port.Draw(t, "other").MACAddress.String())
	}
	addr := func(label string) string {
		return mostly(label, from.FixedIPs[0].IPAddress.String(), "10.0.0.77", "0.0.0.0", "192.168.7.7", "10.0.0.200", "10.0.0.11", "10.0.0.13")
	}
	src, to := mac("dl_src"), port.Draw(t, "to").MACAddress.String()
	dst := rapid.SampledFrom([]string{to, to, "ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff", "33:33:ff:00:00:13", "fa:16:3e:99:99:99", "00:00:5e:00:01:01", "01:80:c2:00:00:0e"}).Draw(t, "dl_dst")
	at = append(at, "dl_src="+src, "dl_dst="+dst)
	number := func(label string, of ...int) string { return strconv.Itoa(rapid.SampledFrom(of).Draw(t, label)) }
	tag := mostly("tag", "none", "0", "1", "100", "101")
	if slices.Contains(at, fmt.Sprintf("in_port=%d", uplink)) {
		tag = number("tag of the network", 100, 100, 0, 101)
	}
	if tag != "none" {
		at = append(at, "dl_vlan="+tag, "dl_vlan_pcp="+number("pcp", 0, 0, 5))
	}
	six := func(label string) string {
		usual := "2001:db8::11"
		if len(from.FixedIPs) > 1 {
			usual = from.FixedIPs[1].IPAddress.String()
		}
		return mostly(label, usual, "2001:db8::13", "2001:db8::19", "fe80::f816:3eff:fe00:a1", "::", "2001:db8:ffff::7", "::ffff:1.2.3.4")
	}
	switch rapid.SampledFrom([]string{"arp", "arp", "rarp", "ip", "udp", "tcp", "ipv6", "nd", "na", "icmp6", "udp6", "tcp6", "other"}).Draw(t, "kind") {
	case "arp":
		at = append(at, "arp", "arp_op="+number("op", 1, 1, 2), "arp_spa="+addr("spa"), "arp_tpa="+rapid.SampledFrom([]string{"10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.2", "10.0.0.77"}).Draw(t, "tpa"), "arp_sha="+mac("sha"), "arp_tha=00:00:00:00:00:00")
	case "rarp":
		at = append(at, "rarp", "arp_op=3", "arp_sha="+mac("sha"), "arp_tha="+mac("tha"))
	case "ip":
		at = append(at, "icmp", "nw_src="+addr("nw_src"), "nw_dst="+addr("nw_dst"), "icmp_type=8", "icmp_code=0")
	case "udp":
		at = append(at, "udp", "nw_src="+addr("nw_src"), "nw_dst="+rapid.SampledFrom([]string{"255.255.255.255", "10.0.0.2", "10.0.0.13"}).Draw(t, "nw_dst"),
			"udp_src="+number("tp_src", 67, 68, 1000), "udp_dst="+number("tp_dst", 67, 68, 53))
	case "tcp":
		at = append(at, "tcp", "nw_src="+addr("nw_src"), "nw_dst="+rapid.SampledFrom([]string{"169.254.169.254", "10.0.0.13"}).Draw(t, "nw_dst"), "tcp_src=4000", "tcp_dst="+number("tp_dst", 80, 443))
	case "ipv6":
		at = append(at, "ipv6", "ipv6_src="+six("ipv6_src"), "ipv6_dst="+six("ipv6_dst"))
	case "nd":
		at = append(at, "icmp6", "icmpv6_type=135", "icmpv6_code=0", "ipv6_src="+six("ipv6_src"), "ipv6_dst="+six("ipv6_dst"), "nd_target="+rapid.SampledFrom([]string{"2001:db8::11", "2001:db8::13", "2001:db8::77", "fe80::a9fe:a9fe"}).Draw(t, "target"), "nd_sll="+mac("sll"))
	case "na":
		at = append(at, "icmp6", "icmpv6_type=136", "icmpv6_code=0", "ipv6_src="+six("ipv6_src"), "ipv6_dst="+six("ipv6_dst"), "nd_target="+six("target"), "nd_tll="+mac("tll"))
	case "icmp6":
		at = append(at, "icmp6", "icmpv6_type="+number("type", 128, 133, 134, 137, 143), "icmpv6_code=0", "ipv6_src="+six("ipv6_src"), "ipv6_dst="+six("ipv6_dst"))
	case "udp6":
		at = append(at, "udp6", "ipv6_src="+six("ipv6_src"), "ipv6_dst="+rapid.SampledFrom([]string{"ff02::1:2", "2001:db8::13"}).Draw(t, "ipv6_dst"), "udp_src="+number("tp_src", 546, 547), "udp_dst="+number("tp_dst", 546, 547))
	case "tcp6":
		at = append(at, "tcp6", "ipv6_src="+six("ipv6_src"), "ipv6_dst="+rapid.SampledFrom([]string{"fe80::a9fe:a9fe", "2001:db8::13"}).Draw(t, "ipv6_dst"), "tcp_src=4000", "tcp_dst="+number("tp_dst", 80, 443))
	case "other":
		at = append(at, "dl_type=0x88cc")
	}
	return bridge, strings.Join(at, ",")
}

// underlay is the fabric between switches that were read.
type underlay struct {
	top   *topology
	hosts map[string]*eval.Host
}

func (u underlay) Peer(_ *eval.Host, _ string, to netip.Addr) (*eval.Host, error) {
	for _, h := range u.top.hosts {
		if h.EncapIP == to {
			return u.hosts[h.Hostname], nil
		}
	}
	return nil, errors.New("nobody has that address")
}

func (u underlay) Wire(from *eval.Host, _ string) (others []*eval.Host, err error) {
	for _, h := range u.hosts {
		if h != from {
			others = append(others, h)
		}
	}
	return others, nil
}

// From host to host, too, a packet is followed to where Open vSwitch brings it: for each pair of ports
// and for broadcasts, on networks of every type.
func TestEvalBetweenHosts(t *testing.T) {
	f, _ := newFabric(t, everyType())
	u := underlay{f.topology, map[string]*eval.Host{}}
	for name, s := range f.switches {
		h := s.reader()()
		for _, m := range f.hosts {
			if m.Hostname == name {
				h.Encap = m.EncapIP
			}
		}
		u.hosts[name] = h
	}
	pairs, reached := 0, 0
	for _, from := range f.ports {
		check := func(mac string) {
			t.Helper()
			packet := fmt.Sprintf("dl_dst=%s,ip,nw_src=%s,nw_dst=10.0.0.250", mac, from.FixedIPs[0].IPAddress)
			want := f.send(from, packet)
			port := f.vifs[from.ID].ofport
			result := eval.Run(u, u.hosts[from.HostID], flows.BrInt, port, packetOf(t, "dl_src="+from.MACAddress.String()+","+packet))
			var got []string
			for _, e := range result.Ends {
				if e.Kind == eval.Delivered {
					got = append(got, fmt.Sprintf("%s/v%d", e.Host.Name, e.Port.Number))
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("from %s: %s arrives at %q, Open vSwitch says %q", f.name(from), packet, got, want)
			}
			pairs++
			reached += len(got)
		}
		for _, to := range f.ports {
			if to != from && to.NetworkID == from.NetworkID {
				check(to.MACAddress.String())
			}
		}
		check("ff:ff:ff:ff:ff:ff")
	}
	t.Logf("%d packets, %d arrivals", pairs, reached)
	if reached < pairs {
		t.Errorf("of %d packets only %d arrived", pairs, reached)
	}
}

// A real dump of the largest flood set: a group of groups.
func TestEvalBigFlood(t *testing.T) {
	const size = 300
	top := newTopology()
	net, h1 := top.network(1, 5001), top.host(1)
	top.vlans[vlanKey{"h1", net.ID}] = 1
	top.port(1, net, h1, 11, "10.1.0.1")
	for i := range size {
		top.port(2+i, net, top.host(2+i), 11)
	}
	s := newSwitches(t, top, map[string]*flows.Compiler{"h1": compile(t, top.view(h1), features()...)})["h1"]
	went, _ := evaluate(t, s.reader()(), "br-int", "in_port=11,dl_src=fa:16:3e:00:00:01,"+all+"ip,nw_src=10.1.0.1")
	var want []string
	for i := range size {
		want = append(want, fmt.Sprintf("%s/5001", netip.AddrFrom4([4]byte{172, 31, byte((2 + i) >> 8), byte(2 + i)})))
	}
	slices.Sort(want)
	if went != strings.Join(want, " ") {
		t.Errorf("%d copies: %s", len(strings.Fields(went)), went)
	}
}
