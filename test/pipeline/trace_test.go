package pipeline

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/flows"
)

// Lines of ofproto/trace.
var (
	traceBridge = regexp.MustCompile(`^bridge\("(.*)"\)$`)
	traceTable  = regexp.MustCompile(`^(\d+)\. `)
	traceTunID  = regexp.MustCompile(`^set_field:(0x[0-9a-f]+)->tun_id$`)
	traceTunDst = regexp.MustCompile(`^set_field:([0-9a-f.:]+)->tun_(?:ipv6_)?dst$`)
	traceLoad   = regexp.MustCompile(`^load:0x([0-9a-f]+)->NXM_NX_TUN_IPV4_DST\[\]$`)
	traceLoad6  = regexp.MustCompile(`^load:0x([0-9a-f]+)->NXM_NX_TUN_IPV6_DST\[0\.\.63\],load:0x([0-9a-f]+)->NXM_NX_TUN_IPV6_DST\[64\.\.127\]$`)
	traceVID    = regexp.MustCompile(`^set_field:(\d+)->vlan_vid$`)
	traceOutput = regexp.MustCompile(`^(?:-> output port is |output:)(\d+)$`) // from a register, or not
)

// trace sends a packet through the switch and says in a word a copy where it went, sorted: "v12" for
// the VIF on port 12, "172.31.0.2/5001" for a host and VNI ("gre:…" for a key, "geneve:…"), "wire/101"
// for the physical network with a tag, "answered" for the port it came from, "punted"; or "drop" with
// the last table. final is the packet as it was in the end.
func (s *realSwitch) trace(bridge, packet string) (went, final string) {
	s.t.Helper()
	return s.traced(bridge, packet)
}

// traceFrame is trace for the bytes of a frame, in hex, from a port on br-int. What it makes the switch
// learn is learnt.
func (s *realSwitch) traceFrame(port uint32, frame string) (went, final string) {
	s.t.Helper()
	return s.traced("br-int", fmt.Sprintf("in_port=%d", port), frame)
}

func (s *realSwitch) traced(bridge, packet string, more ...string) (went, final string) {
	s.t.Helper()
	out, err := s.Appctl(append([]string{"ofproto/trace", bridge, packet}, more...)...)
	if err != nil {
		s.t.Fatalf("%s: %v", packet, err)
	}
	var copies []string
	var vni, dst, tag, last string
	before, now := 0, 0 // copies without the last line's, and with it
	type level struct { // a bridge, and how far what happens there is indented
		bridge string
		indent int
	}
	levels := []level{{bridge, 0}}
	for line := range strings.Lines(out) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		for indent < levels[len(levels)-1].indent {
			levels = levels[:len(levels)-1]
		}
		bridge = levels[len(levels)-1].bridge
		if m := traceBridge.FindStringSubmatch(line); m != nil {
			levels = append(levels, level{m[1], indent})
		} else if m := traceTable.FindStringSubmatch(line); m != nil {
			number, _ := strconv.Atoi(m[1])
			b := flows.Bridges[slices.IndexFunc(flows.Bridges[:], func(b flows.Bridge) bool { return b.String() == bridge })]
			table := flows.TableOf(b, uint8(number))
			if table == nil {
				s.t.Fatalf("%s: went to table %d, which is not declared:\n%s", packet, number, out)
			}
			last, tag = table.String(), ""
		} else if m := traceTunID.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[1], 0, 64)
			vni = strconv.FormatUint(n, 10)
		} else if m := traceTunDst.FindStringSubmatch(line); m != nil {
			dst = m[1]
		} else if m := traceLoad.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[1], 16, 32)
			dst = addr4(byte(n>>24), byte(n>>16), byte(n>>8), byte(n)).String()
		} else if m := traceLoad6.FindStringSubmatch(line); m != nil {
			var addr [16]byte
			for i, half := range m[1:] {
				n, _ := strconv.ParseUint(half, 16, 64)
				binary.BigEndian.PutUint64(addr[8-8*i:], n)
			}
			dst = netip.AddrFrom16(addr).String()
		} else if m := traceVID.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			tag = "/" + strconv.Itoa(n&0xfff)
		} else if m := traceOutput.FindStringSubmatch(line); m != nil {
			switch port, _ := strconv.Atoi(m[1]); {
			case port == 1: // to the other bridge: what follows
			case bridge == "br-tun":
				copies = append(copies, map[int]string{4: "", 5: "gre:", 6: "geneve:"}[port]+dst+"/"+vni)
			case port == uplink:
				copies = append(copies, "wire"+tag)
			default:
				copies = append(copies, "v"+m[1])
			}
		} else if line == ">> skipping output to input port" && len(copies) > before {
			copies = copies[:before]
		} else if line == "IN_PORT" {
			copies = append(copies, "answered")
		} else if strings.HasPrefix(line, "controller(") {
			copies = append(copies, "punted")
		} else if f, ok := strings.CutPrefix(line, "Final flow: "); ok {
			final = f
		}
		before, now = now, len(copies)
	}
	if len(copies) == 0 {
		return "drop in " + last, final
	}
	slices.Sort(copies)
	return strings.Join(copies, " "), final
}

// The guests of the deployment, as a packet's start.
const (
	a1     = "in_port=11,dl_src=fa:16:3e:00:00:a1,"
	a6     = "in_port=16,dl_src=fa:16:3e:00:00:a6,"
	a9     = "in_port=19,dl_src=fa:16:3e:00:00:a9,"
	b1     = "in_port=21,dl_src=fa:16:3e:00:00:b1,"
	a4     = "in_port=14,dl_src=fa:16:3e:00:00:a4,"
	fromH2 = "in_port=4,tun_src=172.31.0.2,tun_id=5001,dl_src=fa:16:3e:00:00:a3,"

	all      = "dl_dst=ff:ff:ff:ff:ff:ff,"
	nodes    = "dl_dst=33:33:00:00:00:01,"
	floodA   = "172.31.0.2/5001 172.31.0.3/5001 v12 v16 v19" // from a1
	floodA9  = "172.31.0.2/5001 172.31.0.3/5001 v11 v12 v16"
	floodA6  = "172.31.0.2/5001 172.31.0.3/5001 v11 v12 v19"
	dropMAC  = "drop in br-int 10 port_security_mac"
	dropKind = "drop in br-int 11 port_security_kind"
	dropIP   = "drop in br-int 12 port_security_ip"
	dropLLA  = "drop in br-int 13 port_security_lla"
)

// What real Open vSwitch does with packets.
func TestTrace(t *testing.T) {
	top := deployment()
	wanted := map[string]*flows.Compiler{}
	for _, h := range top.hosts[:2] {
		wanted[h.Hostname] = compile(t, top.view(h), features()...)
	}
	switches := newSwitches(t, top, wanted)

	for _, tc := range []struct {
		name, host, bridge, packet, went string
		final                            string // must be in the packet as it was in the end
	}{
		// Switching.
		{"unicast on the host", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a2,ip,nw_src=10.0.0.11,nw_dst=10.0.0.12", "v12", ""},
		{"unicast to another host", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a3,ip,nw_src=10.0.0.11,nw_dst=10.0.0.13", "172.31.0.2/5001", ""},
		{"unicast in IPv6", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a3,ipv6,ipv6_src=2001:db8::11,ipv6_dst=2001:db8::13", "172.31.0.2/5001", ""},
		{"from a link-local address", "h1", "br-int", a1 + nodes + "ipv6,ipv6_src=fe80::f816:3eff:fe00:a1,ipv6_dst=ff02::1", floodA, ""},
		{"broadcast", "h1", "br-int", a1 + all + "ip,nw_src=10.0.0.11,nw_dst=10.0.0.255", floodA, ""},
		{"unknown destination", "h1", "br-int", b1 + "dl_dst=fa:16:3e:99:99:99,ip,nw_src=10.0.0.11", "drop in br-tun 20 unicast", ""},
		{"unknown destination, perhaps behind a port", "h1", "br-int", a1 + "dl_dst=fa:16:3e:99:99:99,ip,nw_src=10.0.0.11", "172.31.0.2/5001", ""},
		{"unknown destination, into the host with the port", "h2", "br-tun", "in_port=4,tun_src=172.31.0.1,tun_id=5001,dl_src=fa:16:3e:00:00:a1,dl_dst=fa:16:3e:99:99:99,ip", "v14", ""},
		{"unknown destination, into a host without", "h1", "br-tun", fromH2 + "dl_dst=fa:16:3e:99:99:99,ip", "drop in br-int 90 output", ""},
		{"another's known MAC is not behind the port", "h2", "br-int", "in_port=13,dl_src=fa:16:3e:00:00:a3,dl_dst=fa:16:3e:00:00:a1,ip,nw_src=10.0.0.13", "172.31.0.1/5001", ""},
		{"priority tag", "h1", "br-int", a1 + "dl_vlan=0,dl_vlan_pcp=5,dl_dst=fa:16:3e:00:00:a2,ip,nw_src=10.0.0.11", "v12", ""},
		{"link-local protocol", "h1", "br-int", a1 + "dl_dst=01:80:c2:00:00:0e,dl_type=0x88cc", "drop in br-int 0 classify", ""},
		{"port of no VIF", "h1", "br-int", "in_port=99,dl_src=fa:16:3e:00:00:a1," + all + "arp", "drop in br-int 0 classify", ""},

		// Tunnels.
		{"from a host to a VIF", "h1", "br-tun", fromH2 + "dl_dst=fa:16:3e:00:00:a1,ip", "v11", ""},
		{"from a host to all", "h1", "br-tun", fromH2 + all + "arp,arp_op=1,arp_tpa=10.0.0.77", "v11 v12 v16 v19", ""},
		{"request in a tunnel is not answered", "h1", "br-tun", fromH2 + all + "arp,arp_op=1,arp_tpa=10.0.0.11", "v11 v12 v16 v19", ""},
		{"request in a tunnel is not punted", "h1", "br-tun", fromH2 + all + "udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67", "v11 v12 v16 v19", ""},
		{"what is elsewhere does not go back", "h1", "br-tun", fromH2 + "dl_dst=fa:16:3e:00:00:a5,ip", "drop in br-int 90 output", ""},
		{"from a stranger", "h1", "br-tun", "in_port=4,tun_src=172.31.0.66,tun_id=5001,dl_src=fa:16:3e:00:00:a3,dl_dst=fa:16:3e:00:00:a1,ip", "drop in br-tun 0 classify", ""},
		{"of a network that is not here", "h1", "br-tun", "in_port=4,tun_src=172.31.0.2,tun_id=7777,dl_src=fa:16:3e:00:00:a3,dl_dst=fa:16:3e:00:00:a1,ip", "drop in br-tun 4 from_vxlan", ""},

		// Isolation: networks A and B have the same addresses.
		{"to another network", "h1", "br-int", b1 + "dl_dst=fa:16:3e:00:00:a2,ip,nw_src=10.0.0.11", "drop in br-tun 20 unicast", ""},
		{"to all of its own", "h1", "br-int", b1 + all + "ip,nw_src=10.0.0.11,nw_dst=10.0.0.255", "172.31.0.2/5002", ""},
		{"same address, own network's answer", "h1", "br-int", b1 + all + "arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:b1,arp_tpa=10.0.0.13", "answered", "arp_sha=fa:16:3e:00:00:b2"},
		{"other network's VNI", "h1", "br-tun", "in_port=4,tun_src=172.31.0.2,tun_id=5002,dl_src=fa:16:3e:00:00:b2,dl_dst=fa:16:3e:00:00:a1,ip", "drop in br-int 90 output", ""},
		{"a guest's own tag", "h1", "br-int", a1 + "dl_vlan=2," + all + "ip,nw_src=10.0.0.11", "drop in br-int 0 classify", ""},

		// Answers.
		{"ARP for a port here", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.12", "answered",
			"dl_src=fa:16:3e:00:00:a2,dl_dst=fa:16:3e:00:00:a1,arp_spa=10.0.0.12,arp_tpa=10.0.0.11,arp_op=2,arp_sha=fa:16:3e:00:00:a2,arp_tha=fa:16:3e:00:00:a1"},
		{"ARP for a port elsewhere", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.13", "answered",
			"dl_src=fa:16:3e:00:00:a3,dl_dst=fa:16:3e:00:00:a1,arp_spa=10.0.0.13,arp_tpa=10.0.0.11,arp_op=2,arp_sha=fa:16:3e:00:00:a3,arp_tha=fa:16:3e:00:00:a1"},
		{"ARP for the DHCP address, unicast too", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:d1,arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.2", "answered", "arp_sha=fa:16:3e:00:00:d1"},
		{"ARP reachability probe", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a3,arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.13", "172.31.0.2/5001", ""},
		{"gratuitous ARP", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.11", floodA, ""},
		{"ARP probe for its own address", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=0.0.0.0,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.11", floodA, ""},
		{"ARP for an unknown address", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.77", floodA, ""},
		{"ARP for a port's address that is another's pair", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a1,arp_tpa=10.0.0.200", floodA, ""},
		{"RARP of a migrated VIF", "h1", "br-int", a1 + all + "rarp,arp_op=3,arp_sha=fa:16:3e:00:00:a1,arp_tha=fa:16:3e:00:00:a1", floodA, ""},
		{"solicitation", "h1", "br-int", a1 + "dl_dst=33:33:ff:00:00:13,icmp6,icmpv6_type=135,ipv6_src=2001:db8::11,nd_target=2001:db8::13,nd_sll=fa:16:3e:00:00:a1", "answered",
			"dl_src=fa:16:3e:00:00:a3,dl_dst=fa:16:3e:00:00:a1,ipv6_src=2001:db8::13,ipv6_dst=2001:db8::11"},
		{"solicitation without its option", "h1", "br-int", a1 + "dl_dst=33:33:ff:00:00:13,icmp6,icmpv6_type=135,ipv6_src=2001:db8::11,nd_target=2001:db8::13", "answered", "nd_tll=fa:16:3e:00:00:a3"},
		{"solicitation, unicast", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a3,icmp6,icmpv6_type=135,ipv6_src=2001:db8::11,nd_target=2001:db8::13,nd_sll=fa:16:3e:00:00:a1", "172.31.0.2/5001", ""},
		{"duplicate-address detection", "h1", "br-int", a1 + "dl_dst=33:33:ff:00:00:11,icmp6,icmpv6_type=135,ipv6_src=::,nd_target=2001:db8::11", floodA, ""},
		{"advertisement", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=136,ipv6_src=2001:db8::11,nd_target=2001:db8::11,nd_tll=fa:16:3e:00:00:a1", floodA, ""},

		// Punts.
		{"DHCP request", "h1", "br-int", a1 + all + "udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67", "punted", "reg10=0x1"},
		{"DHCP renewal", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:d1,udp,nw_src=10.0.0.11,nw_dst=10.0.0.2,udp_src=68,udp_dst=67", "punted", "reg10=0x1"},
		{"DHCP to a guest's server", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a2,udp,nw_src=10.0.0.11,nw_dst=10.0.0.12,udp_src=67,udp_dst=67", "v12", ""},
		{"DHCP where there is none", "h1", "br-int", b1 + all + "udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67", "172.31.0.2/5002", ""},
		{"router solicitation", "h1", "br-int", a1 + "dl_dst=33:33:00:00:00:02,icmp6,icmpv6_type=133,ipv6_src=::", floodA, ""},
		{"multicast report", "h1", "br-int", a1 + "dl_dst=33:33:00:00:00:16,icmp6,icmpv6_type=143,ipv6_src=::", floodA, ""},

		// Port security.
		{"another's MAC address", "h1", "br-int", "in_port=11,dl_src=fa:16:3e:00:00:a2," + all + "ip,nw_src=10.0.0.11", dropMAC, ""},
		{"another's IPv4 address", "h1", "br-int", a1 + all + "ip,nw_src=10.0.0.12", dropIP, ""},
		{"another's IPv6 address", "h1", "br-int", a1 + nodes + "ipv6,ipv6_src=2001:db8::13", dropIP, ""},
		{"another's link-local address", "h1", "br-int", a1 + nodes + "ipv6,ipv6_src=fe80::f816:3eff:fe00:a2", dropIP, ""},
		{"IPv4-mapped source", "h1", "br-int", a1 + nodes + "ipv6,ipv6_src=::ffff:10.0.0.11", dropKind, ""},
		{"ARP with another's address", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=10.0.0.12,arp_sha=fa:16:3e:00:00:a1", dropIP, ""},
		{"ARP with another's MAC address", "h1", "br-int", a1 + all + "arp,arp_op=2,arp_spa=10.0.0.11,arp_sha=fa:16:3e:00:00:a2", dropLLA, ""},
		{"ARP probe for another's address", "h1", "br-int", a1 + all + "arp,arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.12,arp_sha=fa:16:3e:00:00:a1", dropIP, ""},
		{"RARP with another's MAC address", "h1", "br-int", a1 + all + "rarp,arp_op=3,arp_sha=fa:16:3e:00:00:a2", dropLLA, ""},
		{"advertisement for another", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=136,ipv6_src=2001:db8::11,nd_target=2001:db8::13,nd_tll=fa:16:3e:00:00:a1", dropIP, ""},
		{"advertisement with another's MAC address", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=136,ipv6_src=2001:db8::11,nd_target=2001:db8::11,nd_tll=fa:16:3e:00:00:a2", dropLLA, ""},
		{"solicitation with another's MAC address", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=135,ipv6_src=2001:db8::11,nd_target=2001:db8::13,nd_sll=fa:16:3e:00:00:a2", dropLLA, ""},
		{"detection of another's address", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=135,ipv6_src=::,nd_target=2001:db8::13", dropIP, ""},
		{"DHCP server", "h1", "br-int", a1 + all + "udp,nw_src=10.0.0.11,nw_dst=255.255.255.255,udp_src=67,udp_dst=68", dropKind, ""},
		{"DHCPv6 server", "h1", "br-int", a1 + nodes + "udp6,ipv6_src=2001:db8::11,udp_src=547,udp_dst=546", dropKind, ""},
		{"router advertisement", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=134,ipv6_src=fe80::f816:3eff:fe00:a1", dropKind, ""},
		{"redirect", "h1", "br-int", a1 + nodes + "icmp6,icmpv6_type=137,ipv6_src=fe80::f816:3eff:fe00:a1", dropKind, ""},
		{"another protocol", "h1", "br-int", a1 + all + "dl_type=0x88cc", dropKind, ""},

		// Address pairs: a6 has a virtual address and MAC address in common with ports on h2 and h3.
		{"from a pair", "h1", "br-int", "in_port=16,dl_src=00:00:5e:00:01:01," + all + "arp,arp_op=2,arp_spa=10.0.0.200,arp_sha=00:00:5e:00:01:01", floodA6, ""},
		{"pair's address, own MAC address", "h1", "br-int", a6 + all + "ip,nw_src=10.0.0.200", floodA6, ""},
		{"pair of another port", "h1", "br-int", "in_port=11,dl_src=00:00:5e:00:01:01," + all + "ip,nw_src=10.0.0.200", dropMAC, ""},
		{"to a pair's MAC address", "h1", "br-int", a1 + "dl_dst=00:00:5e:00:01:01,ip,nw_src=10.0.0.11", "172.31.0.2/5001 172.31.0.3/5001 v16", ""},
		{"to a pair's MAC address, from a tunnel", "h1", "br-tun", fromH2 + "dl_dst=00:00:5e:00:01:01,ip", "v16", ""},
		{"from a wide pair", "h1", "br-int", a9 + "dl_dst=fa:16:3e:00:00:a3,ip,nw_src=192.168.7.7", "172.31.0.2/5001", ""},
		{"outside of a wide pair", "h1", "br-int", a9 + "dl_dst=fa:16:3e:00:00:a3,ip,nw_src=192.169.7.7", dropIP, ""},
		{"wide pair of another port", "h1", "br-int", a1 + "dl_dst=fa:16:3e:00:00:a3,ip,nw_src=192.168.7.7", dropIP, ""},
		{"ARP for a wide pair", "h1", "br-int", a9 + all + "arp,arp_op=2,arp_spa=192.168.7.7,arp_sha=fa:16:3e:00:00:a9", floodA9, ""},
		{"ARP probe for a wide pair", "h1", "br-int", a9 + all + "arp,arp_op=1,arp_spa=0.0.0.0,arp_tpa=192.168.7.7,arp_sha=fa:16:3e:00:00:a9", floodA9, ""},
		{"ARP for a wide pair, another's MAC address", "h1", "br-int", a9 + all + "arp,arp_op=2,arp_spa=192.168.7.7,arp_sha=fa:16:3e:00:00:a1", dropLLA, ""},
		{"IPv6 from a wide pair", "h1", "br-int", a9 + "dl_dst=fa:16:3e:00:00:a3,ipv6,ipv6_src=2001:db8:ffff::7", "172.31.0.2/5001", ""},
		{"detection in a wide pair", "h1", "br-int", a9 + nodes + "icmp6,icmpv6_type=135,ipv6_src=::,nd_target=2001:db8:ffff::7", floodA9, ""},
		{"solicitation from a wide pair", "h1", "br-int", a9 + "dl_dst=33:33:ff:00:00:13,icmp6,icmpv6_type=135,ipv6_src=2001:db8:ffff::7,nd_target=2001:db8::13,nd_sll=fa:16:3e:00:00:a9", "answered", ""},
		{"advertisement in a wide pair", "h1", "br-int", a9 + nodes + "icmp6,icmpv6_type=136,ipv6_src=2001:db8::19,nd_target=2001:db8:ffff::7,nd_tll=fa:16:3e:00:00:a9", floodA9, ""},
		{"advertisement for another from a wide pair", "h1", "br-int", a9 + nodes + "icmp6,icmpv6_type=136,ipv6_src=2001:db8:ffff::7,nd_target=2001:db8::13,nd_tll=fa:16:3e:00:00:a9", dropIP, ""},
		{"router advertisement from a wide pair", "h1", "br-int", a9 + nodes + "icmp6,icmpv6_type=134,ipv6_src=2001:db8:ffff::7", dropKind, ""},

		// Without port security, and the other host's local VLAN.
		{"no port security: another's addresses", "h2", "br-int", "in_port=14,dl_src=02:00:00:00:00:99,dl_dst=fa:16:3e:00:00:a1,ip,nw_src=1.2.3.4", "172.31.0.1/5001", ""},
		{"no port security: still in its network", "h2", "br-int", a4 + "dl_vlan=3," + all + "ip", "drop in br-int 0 classify", ""},
		{"no port security: DHCP request", "h2", "br-int", a4 + all + "udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67", "punted", "reg10=0x1"},
		{"no port security: DHCP server", "h2", "br-int", a4 + "dl_dst=fa:16:3e:00:00:a1,udp,nw_src=10.0.0.14,udp_src=67,udp_dst=68", "172.31.0.1/5001", ""},
		{"into the other host", "h2", "br-tun", "in_port=4,tun_src=172.31.0.1,tun_id=5001,dl_src=fa:16:3e:00:00:a1,dl_dst=fa:16:3e:00:00:a4,ip", "v14", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			went, final := switches[tc.host].trace(tc.bridge, tc.packet)
			if went != tc.went {
				t.Errorf("%s\n got %s\nwant %s", tc.packet, went, tc.went)
			}
			if !strings.Contains(final, tc.final) {
				t.Errorf("%s\n got %s\nwant %s", tc.packet, final, tc.final)
			}
		})
	}
}
