package l2pop_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/l2pop"
)

func hostN(n byte) *model.Host {
	return &model.Host{ID: uuid.UUID{15: n}.String(), EncapIP: netip.AddrFrom4([4]byte{172, 31, 0, n}), EncapTypes: []string{"vxlan"}}
}

func port(n byte, addrs ...string) *model.Port {
	p := &model.Port{Common: model.Common{ID: uuid.UUID{0: n}}, MACAddress: model.MAC{0xfa, 0x16, 0x3e, 0, 0, n}, PortSecurityEnabled: true}
	for _, a := range addrs {
		p.FixedIPs = append(p.FixedIPs, model.FixedIP{IPAddress: netip.MustParseAddr(a)})
	}
	return p
}

// view is host 1 with network 00000000-…, VNI 5001, local VLAN 7: port 10 is here, ports 20 and 21 are
// on host 2.
func view() *flows.View {
	n := &flows.Network{Network: &model.Network{Segment: model.Segment{NetworkType: "vxlan", SegmentationID: 5001}}, LocalVLAN: 7}
	n.Local = []*flows.LocalPort{{Port: port(10, "10.0.0.10", "2001:db8::10"), Key: 11, OFPort: 11}}
	n.Remote = []*flows.RemotePort{{Port: port(20, "10.0.0.20", "2001:db8::20"), Host: hostN(2)}, {Port: port(21, "10.0.0.21"), Host: hostN(2)}}
	return &flows.View{Host: hostN(1), Ports: flows.BridgePorts{PatchInt: 1, VXLAN: 4}, Peers: []*model.Host{hostN(2), hostN(3)}, Networks: []*flows.Network{n}}
}

// wanted is what v needs on a bridge for what is not the host itself, one "table priority match actions"
// a line, groups first.
func wanted(t *testing.T, v *flows.View, b flows.Bridge) string {
	t.Helper()
	c := flows.NewCompiler(l2pop.Feature{})
	if err := c.Compile(v); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(c.Plan()[b].String()) {
		line, cause, _ := strings.Cut(strings.TrimPrefix(line, b.String()+": + "), "  # ")
		if strings.HasPrefix(line, "cookie=") {
			if strings.HasPrefix(cause, "l2pop: host ") {
				continue
			}
			_, line, _ = strings.Cut(line, ",")
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTunnels(t *testing.T) {
	same(t, wanted(t, view(), flows.BrTun), `
group_id=7,type=all
group_id=7,bucket=bucket_id:2887712770,actions=set_field:172.31.0.2->tun_dst,output:4
table=0,priority=100,tun_src=172.31.0.2,in_port=4 actions=goto_table:4
table=0,priority=100,tun_src=172.31.0.3,in_port=4 actions=goto_table:4
table=4,priority=100,tun_id=0x1389 actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:14 actions=pop_vlan,set_field:0x1389->tun_id,set_field:172.31.0.2->tun_dst,output:4
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:15 actions=pop_vlan,set_field:0x1389->tun_id,set_field:172.31.0.2->tun_dst,output:4
table=22,priority=100,dl_vlan=7 actions=pop_vlan,set_field:0x1389->tun_id,group:7`)

	local := view()
	local.Networks[0].Segment = model.Segment{NetworkType: "local"}
	same(t, wanted(t, local, flows.BrTun), `
table=0,priority=100,tun_src=172.31.0.2,in_port=4 actions=goto_table:4
table=0,priority=100,tun_src=172.31.0.3,in_port=4 actions=goto_table:4`)

	// A host that is not on the same underlay, or has no such tunnels, is not reached.
	for name, change := range map[string]func(h *model.Host){
		"IPv6":       func(h *model.Host) { h.EncapIP = netip.MustParseAddr("2001:db8:f::2") },
		"no address": func(h *model.Host) { h.EncapIP = netip.Addr{} },
		"GRE only":   func(h *model.Host) { h.EncapTypes = []string{"gre"} },
	} {
		v, far := view(), hostN(2)
		change(far)
		for _, p := range v.Networks[0].Remote {
			p.Host = far
		}
		v.Peers = []*model.Host{far}
		t.Run(name, func(t *testing.T) {
			same(t, wanted(t, v, flows.BrTun), `
group_id=7,type=all
table=4,priority=100,tun_id=0x1389 actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1
table=22,priority=100,dl_vlan=7 actions=pop_vlan,set_field:0x1389->tun_id,group:7`)
		})
	}
}

// The other kinds of tunnel, a physical network, and a host without the tunnel port.
func TestOtherTypes(t *testing.T) {
	const peer = `
table=0,priority=100,tun_src=172.31.0.2,in_port=4 actions=goto_table:4
table=0,priority=100,tun_src=172.31.0.3,in_port=4 actions=goto_table:4`
	typed := func(networkType string) *flows.View {
		v := view()
		v.Ports.GRE, v.Ports.Geneve = 5, 6
		v.Networks[0].Segment = model.Segment{NetworkType: networkType, SegmentationID: 501}
		v.Networks[0].Remote[0].Host.EncapTypes = []string{"gre", "geneve"}
		v.Networks[0].Remote = v.Networks[0].Remote[:1]
		v.Peers = v.Peers[1:]
		return v
	}
	const one = "table=0,priority=100,tun_src=172.31.0.3,in_port=4 actions=goto_table:4\n"
	same(t, wanted(t, typed("gre"), flows.BrTun), `
group_id=7,type=all
group_id=7,bucket=bucket_id:2887712770,actions=set_field:172.31.0.2->tun_dst,output:5
`+one+`table=3,priority=100,tun_id=0x1f5 actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:14 actions=pop_vlan,set_field:0x1f5->tun_id,set_field:172.31.0.2->tun_dst,output:5
table=22,priority=100,dl_vlan=7 actions=pop_vlan,set_field:0x1f5->tun_id,group:7`)
	same(t, wanted(t, typed("geneve"), flows.BrTun), `
group_id=7,type=all
group_id=7,bucket=bucket_id:2887712770,actions=set_field:172.31.0.2->tun_dst,output:6
`+one+`table=6,priority=100,tun_id=0x1f5 actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:14 actions=pop_vlan,set_field:0x1f5->tun_id,set_field:172.31.0.2->tun_dst,output:6
table=22,priority=100,dl_vlan=7 actions=pop_vlan,set_field:0x1f5->tun_id,group:7`)
	same(t, wanted(t, typed("vlan"), flows.BrTun), one)

	v := view()
	v.Networks[0].Segment.NetworkType = "geneve"
	same(t, wanted(t, v, flows.BrTun), peer)
}

// Where a port elsewhere has no port security, what is behind it is learnt, over IPv6 too.
func TestLearning(t *testing.T) {
	v := view()
	v.Host.EncapIP = netip.MustParseAddr("fd00::1")
	for i, p := range v.Networks[0].Remote {
		p.Host.EncapIP = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(2 + i)})
		p.PortSecurityEnabled = i == 0
	}
	v.Peers = v.Peers[:0]
	same(t, wanted(t, v, flows.BrTun), `
group_id=7,type=all
group_id=8199,type=all
group_id=7,bucket=bucket_id:2499960414,actions=set_field:fd00::2->tun_ipv6_dst,output:4
group_id=7,bucket=bucket_id:2516738033,actions=set_field:fd00::3->tun_ipv6_dst,output:4
group_id=8199,bucket=bucket_id:2516738033,actions=set_field:fd00::3->tun_ipv6_dst,output:4
table=4,priority=100,tun_id=0x1389 actions=push_vlan:0x8100,set_field:4103->vlan_vid,goto_table:10
table=10,priority=100,dl_vlan=7 actions=learn(table=21,idle_timeout=300,priority=10,delete_learned,cookie=0x303000000000000,limit=1024,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_TUN_IPV6_SRC[]->NXM_NX_TUN_IPV6_DST[]),output:1
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:14 actions=pop_vlan,set_field:0x1389->tun_id,set_field:fd00::2->tun_ipv6_dst,output:4
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:15 actions=pop_vlan,set_field:0x1389->tun_id,set_field:fd00::3->tun_ipv6_dst,output:4
table=20,priority=50,dl_vlan=7 actions=resubmit(,21),goto_table:23
table=22,priority=100,dl_vlan=7 actions=pop_vlan,set_field:0x1389->tun_id,group:7
table=23,priority=100,tun_ipv6_dst=::,dl_vlan=7 actions=pop_vlan,set_field:0x1389->tun_id,group:8199
table=23,priority=90,dl_vlan=7 actions=pop_vlan,set_field:0x1389->tun_id,output:4`)
}

func TestAnswers(t *testing.T) {
	const (
		own = `
table=30,priority=110,arp,reg5=0xb,arp_tpa=10.0.0.10 actions=goto_table:60
table=30,priority=110,icmp6,reg5=0xb,icmp_type=135,nd_target=2001:db8::10 actions=goto_table:60`
		here = `
table=30,priority=100,arp,reg6=0x7,dl_dst=ff:ff:ff:ff:ff:ff,arp_tpa=10.0.0.10,arp_op=1 actions=set_field:0xfa163e00000a->xreg4,goto_table:31`
		v4 = `
table=30,priority=100,arp,reg6=0x7,dl_dst=ff:ff:ff:ff:ff:ff,arp_tpa=10.0.0.20,arp_op=1 actions=set_field:0xfa163e000014->xreg4,goto_table:31`
		v4b = `
table=30,priority=100,arp,reg6=0x7,dl_dst=ff:ff:ff:ff:ff:ff,arp_tpa=10.0.0.21,arp_op=1 actions=set_field:0xfa163e000015->xreg4,goto_table:31`
		hereV6 = `
table=30,priority=100,icmp6,reg6=0x7,dl_dst=33:33:00:00:00:00/ff:ff:00:00:00:00,icmp_type=135,nd_target=2001:db8::10 actions=set_field:0xfa163e00000a->xreg4,goto_table:31`
		v6 = `
table=30,priority=100,icmp6,reg6=0x7,dl_dst=33:33:00:00:00:00/ff:ff:00:00:00:00,icmp_type=135,nd_target=2001:db8::20 actions=set_field:0xfa163e000014->xreg4,goto_table:31`
	)
	same(t, wanted(t, view(), flows.BrInt), own+here+v4+v4b+hereV6+v6)

	// Another port may have taken 10.0.0.20 and 2001:db8::10: nobody answers for it here. A wide pair,
	// and a port's pair of its own address, change nothing.
	v := view()
	v.Networks[0].Local[0].AllowedAddressPairs = []model.AddressPair{
		{IPAddress: netip.MustParsePrefix("10.0.0.20/32")}, {IPAddress: netip.MustParsePrefix("10.0.0.10/32")}, {IPAddress: netip.MustParsePrefix("10.0.0.0/24")}}
	v.Networks[0].Remote[1].AllowedAddressPairs = []model.AddressPair{{IPAddress: netip.MustParsePrefix("2001:db8::10/128")}}
	same(t, wanted(t, v, flows.BrInt), own+here+v4b+v6)
}

// A MAC address that several ports may use is reached on all their hosts, once each.
func TestSharedMAC(t *testing.T) {
	v := view()
	pairs := []model.AddressPair{{IPAddress: netip.MustParsePrefix("10.0.0.99/32"), MACAddress: model.MAC{0, 0, 0x5e, 0, 1, 1}}}
	for _, p := range v.Networks[0].Remote {
		p.AllowedAddressPairs = pairs
	}
	third := &flows.RemotePort{Port: port(30), Host: hostN(3)}
	third.AllowedAddressPairs = pairs
	v.Networks[0].Remote = append(v.Networks[0].Remote, third)
	const want = "table=20,priority=100,dl_vlan=7,dl_dst=00:00:5e:00:01:01 actions=pop_vlan,set_field:0x1389->tun_id,set_field:172.31.0.2->tun_dst,output:4,set_field:172.31.0.3->tun_dst,output:4"
	if got := wanted(t, v, flows.BrTun); !strings.Contains(got, want) {
		t.Errorf("got:\n%s\nwithout:\n%s", got, want)
	}
}

// A port that migrates is sent to at both ends, and heard where it comes to.
func TestMigration(t *testing.T) {
	v := view()
	n := v.Networks[0]
	n.Remote = []*flows.RemotePort{{Port: port(20, "10.0.0.20"), Host: hostN(2), Also: hostN(3)}}
	n.Local[0].Also, n.Local[0].Awaited, n.Local[0].Generation = hostN(3), true, 2
	n.Local[0].FixedIPs = nil
	same(t, wanted(t, v, flows.BrTun), `
group_id=7,type=all
group_id=7,bucket=bucket_id:2887712770,actions=set_field:172.31.0.2->tun_dst,output:4
group_id=7,bucket=bucket_id:2887712771,actions=set_field:172.31.0.3->tun_dst,output:4
table=0,priority=100,tun_src=172.31.0.2,in_port=4 actions=goto_table:4
table=0,priority=100,tun_src=172.31.0.3,in_port=4 actions=goto_table:4
table=4,priority=100,tun_id=0x1389 actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:0a actions=pop_vlan,set_field:0x1389->tun_id,set_field:172.31.0.3->tun_dst,output:4
table=20,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:14 actions=pop_vlan,set_field:0x1389->tun_id,set_field:172.31.0.2->tun_dst,output:4,set_field:172.31.0.3->tun_dst,output:4
table=22,priority=100,dl_vlan=7 actions=pop_vlan,set_field:0x1389->tun_id,group:7`)
	heard := " actions=set_field:0x5->reg10,meter:11,controller(userdata=00.00.00.0b.00.00.00.02),goto_table:30"
	got := wanted(t, v, flows.BrInt)
	for _, match := range []string{"rarp,reg5=0xb", "arp,reg5=0xb", "icmp6,reg5=0xb,icmp_type=135", "icmp6,reg5=0xb,icmp_type=136"} {
		if want := "table=20,priority=95," + match + heard; !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}
