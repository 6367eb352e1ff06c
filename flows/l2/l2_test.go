package l2_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/l2"
)

var (
	host   = &model.Host{ID: "00000000-0000-4000-8000-000000000001", EncapIP: netip.MustParseAddr("172.31.0.1")}
	portID = uuid.MustParse("aaaaaaaa-aaaa-4000-8000-000000000000")
)

// view has network 00000000-… with local VLAN 7 and the ports given, as port 11, 12 …
func view(networkType string, ports ...*model.Port) *flows.View {
	n := &flows.Network{Network: &model.Network{Segment: model.Segment{NetworkType: networkType, SegmentationID: 5001}}, LocalVLAN: 7}
	for i, p := range ports {
		key := uint32(11 + i)
		n.Local = append(n.Local, &flows.LocalPort{Port: p, Key: key, OFPort: key, Generation: 2})
	}
	return &flows.View{Host: host, Ports: flows.BridgePorts{PatchTun: 1}, Networks: []*flows.Network{n}}
}

func port(pairs ...model.AddressPair) *model.Port {
	return &model.Port{Common: model.Common{ID: portID}, MACAddress: model.MAC{0xfa, 0x16, 0x3e, 0, 0, 1}, PortSecurityEnabled: true,
		FixedIPs: []model.FixedIP{{IPAddress: netip.MustParseAddr("10.0.0.11")}, {IPAddress: netip.MustParseAddr("2001:db8::11")}}, AllowedAddressPairs: pairs}
}

// wanted is what v needs on br-int for objects of a kind, one "table priority match actions" a line,
// groups and meters first.
func wanted(t *testing.T, v *flows.View, kind flows.Kind) string {
	t.Helper()
	c := flows.NewCompiler(l2.Feature{})
	if err := c.Compile(v); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(c.Plan()[flows.BrInt].String()) {
		line, cause, _ := strings.Cut(strings.TrimPrefix(line, "br-int: + "), "  # ")
		if strings.HasPrefix(line, "cookie=") {
			if strings.HasPrefix(cause, "l2: "+kind.String()+" ") {
				_, line, _ = strings.Cut(line, ",")
				lines = append(lines, line)
			}
		} else {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNetwork(t *testing.T) {
	same(t, wanted(t, view("vxlan", port()), flows.KindNetwork), `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=7,bucket=bucket_id:1,actions=set_field:0x1->reg7,resubmit(,90)
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
table=60,priority=50,reg6=0x7 actions=set_field:0x1->reg7,goto_table:90
table=65,priority=100,reg6=0x7 actions=group:7`)
	same(t, wanted(t, view("local", port()), flows.KindNetwork), `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
table=65,priority=100,reg6=0x7 actions=group:7`)
}

// A network on a physical network leaves by its uplink, which knows where everybody is.
func TestProviderNetwork(t *testing.T) {
	provider := func(networkType string, ports ...*model.Port) *flows.View {
		v := view(networkType, ports...)
		v.Networks[0].Segment.SegmentationID, v.Networks[0].Uplink = 77, 2
		return v
	}
	const around = `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=7,bucket=bucket_id:2,actions=set_field:0x2->reg7,resubmit(,90)
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
`
	same(t, wanted(t, provider("flat", port()), flows.KindNetwork), around+`
table=0,priority=100,in_port=2,vlan_tci=0x0000/0x1fff actions=set_field:0x7->reg6,goto_table:60
table=60,priority=50,reg6=0x7 actions=set_field:0x2->reg7,goto_table:90
table=65,priority=100,reg6=0x7 actions=group:7`[1:])
	same(t, wanted(t, provider("vlan", port()), flows.KindNetwork), around+`
table=0,priority=100,in_port=2,dl_vlan=77 actions=pop_vlan,set_field:0x7->reg6,goto_table:60
table=60,priority=50,reg6=0x7 actions=set_field:0x2->reg7,goto_table:90
table=65,priority=100,reg6=0x7 actions=group:7
table=90,priority=110,reg6=0x7,reg7=0x2 actions=push_vlan:0x8100,set_field:4173->vlan_vid,output:2`[1:])

	// Without a bridge for its physical network, it is one for the host alone.
	v := provider("vlan", port())
	v.Networks[0].Uplink = 0
	same(t, wanted(t, v, flows.KindNetwork), `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
table=65,priority=100,reg6=0x7 actions=group:7`)
}

// With a port without port security, the network learns from it and from the uplink; what has a port
// elsewhere is known.
func TestLearningNetwork(t *testing.T) {
	open, other := port(), port()
	open.PortSecurityEnabled = false
	other.ID, other.MACAddress = uuid.MustParse("bbbbbbbb-bbbb-4000-8000-000000000000"), model.MAC{0xfa, 0x16, 0x3e, 0, 0, 2}
	other.AllowedAddressPairs = []model.AddressPair{{IPAddress: netip.MustParsePrefix("10.0.0.99/32"), MACAddress: model.MAC{0, 0, 0x5e, 0, 1, 1}}}
	v := view("vxlan", open)
	v.Networks[0].Remote = []*flows.RemotePort{{Port: other, Host: host}}
	same(t, wanted(t, v, flows.KindNetwork), `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=8199,type=all
group_id=7,bucket=bucket_id:1,actions=set_field:0x1->reg7,resubmit(,90)
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
group_id=8199,bucket=bucket_id:1,actions=set_field:0x1->reg7,resubmit(,90)
group_id=8199,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
table=0,priority=110,in_port=1,dl_vlan=7 actions=pop_vlan,set_field:0x7->reg6,set_field:0x1->reg5,goto_table:15
table=15,priority=100,reg5=0x1,reg6=0x7 actions=learn(table=61,idle_timeout=300,priority=10,delete_learned,cookie=0x203000000000000,limit=1024,NXM_NX_REG6[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG5[]->NXM_NX_REG7[]),goto_table:60
table=60,priority=100,reg6=0x7,dl_dst=00:00:5e:00:01:01 actions=set_field:0x1->reg7,goto_table:90
table=60,priority=50,reg6=0x7 actions=resubmit(,61),goto_table:62
table=62,priority=100,reg6=0x7,reg7=0 actions=group:8199
table=65,priority=100,reg6=0x7 actions=group:7`)
	if got := wanted(t, v, flows.KindPort); !strings.Contains(got, "table=60,priority=100,reg6=0x7,dl_dst=fa:16:3e:00:00:02 actions=set_field:0x1->reg7,goto_table:90") {
		t.Errorf("a port elsewhere is not known:\n%s", got)
	}
}

// A MAC of very many pairs is reached with everybody: a flow that names them all would be too long.
func TestMACOfMany(t *testing.T) {
	shared := model.AddressPair{IPAddress: netip.MustParsePrefix("10.0.0.99/32"), MACAddress: model.MAC{0, 0, 0x5e, 0, 1, 1}}
	for n, want := range map[int]string{flows.MaxHolders: "resubmit(,90)", flows.MaxHolders + 1: "goto_table:65"} {
		var ports []*model.Port
		for i := range n {
			p := port(shared)
			p.ID, p.MACAddress = uuid.UUID{0: byte(i >> 8), 1: byte(i), 2: 1}, model.MAC{0xfa, 0x16, 0x3e, 1, byte(i >> 8), byte(i)}
			ports = append(ports, p)
		}
		got := wanted(t, view("vxlan", ports...), flows.KindNetwork)
		_, line, _ := strings.Cut(got, "table=60,priority=100,reg6=0x7,dl_dst=00:00:5e:00:01:01 ")
		if line, _, _ = strings.Cut(line, "\n"); !strings.HasSuffix(line, want) {
			t.Errorf("%d holders: %q", n, line)
		}
	}
}

func TestPort(t *testing.T) {
	const around = `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
`
	const punted = `table=21,priority=100,reg5=0xb actions=meter:11,controller(userdata=00.00.00.0b.00.00.00.02)
table=60,priority=100,reg6=0x7,dl_dst=fa:16:3e:00:00:01 actions=set_field:0xb->reg7,goto_table:90`
	same(t, wanted(t, view("local", port()), flows.KindPort), around+`
table=0,priority=100,in_port=11,vlan_tci=0x0000/0x1fff actions=set_field:0xb->reg5,set_field:0x7->reg6,goto_table:10
table=10,priority=100,reg5=0xb,dl_src=fa:16:3e:00:00:01 actions=goto_table:11
table=12,priority=100,reg0=0,reg1=0,reg2=0xffff,reg3=0xa00000b,reg5=0xb actions=goto_table:13
table=12,priority=100,reg0=0x20010db8,reg1=0,reg2=0,reg3=0x11,reg5=0xb actions=goto_table:13
table=12,priority=100,reg0=0xfe800000,reg1=0,reg2=0xf8163eff,reg3=0xfe000001,reg5=0xb actions=goto_table:13
table=13,priority=100,reg5=0xb,reg8=0xfa16,reg9=0x3e000001 actions=goto_table:20
`[1:]+punted)

	open := port()
	open.PortSecurityEnabled = false
	same(t, wanted(t, view("local", open), flows.KindPort), `
meter=11,pktps,burst,rate=500,burst_size=1000
group_id=7,type=all
group_id=8199,type=all
group_id=7,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
group_id=8199,bucket=bucket_id:11,actions=set_field:0xb->reg7,resubmit(,90)
table=0,priority=100,in_port=11,vlan_tci=0x0000/0x1fff actions=set_field:0xb->reg5,set_field:0x7->reg6,goto_table:15
table=15,priority=100,reg5=0xb actions=learn(table=61,idle_timeout=300,priority=10,delete_learned,cookie=0x204aaaaaaaaaaaa,limit=256,NXM_NX_REG6[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG5[]->NXM_NX_REG7[]),goto_table:20
`[1:]+punted)
}

// What a pair adds to a port.
func TestAddressPairs(t *testing.T) {
	virtual := model.MAC{0, 0, 0x5e, 0, 1, 1}
	plain := strings.Split(wanted(t, view("local", port()), flows.KindPort), "\n")
	for name, tc := range map[string]struct {
		pair model.AddressPair
		want string
	}{
		"own address": {model.AddressPair{IPAddress: netip.MustParsePrefix("10.0.0.11/32")}, ""},
		"address":     {model.AddressPair{IPAddress: netip.MustParsePrefix("10.0.0.99/32")}, "table=12,priority=100,reg0=0,reg1=0,reg2=0xffff,reg3=0xa000063,reg5=0xb actions=goto_table:13"},
		"own MAC":     {model.AddressPair{IPAddress: netip.MustParsePrefix("10.0.0.11/32"), MACAddress: port().MACAddress}, ""},
		"MAC": {model.AddressPair{IPAddress: netip.MustParsePrefix("10.0.0.11/32"), MACAddress: virtual}, `
table=10,priority=100,reg5=0xb,dl_src=00:00:5e:00:01:01 actions=goto_table:11
table=12,priority=100,reg0=0xfe800000,reg1=0,reg2=0x2005eff,reg3=0xfe000101,reg5=0xb actions=goto_table:13
table=13,priority=100,reg5=0xb,reg8=0,reg9=0x5e000101 actions=goto_table:20`},
		"wide": {model.AddressPair{IPAddress: netip.MustParsePrefix("192.168.9.9/16")}, `
table=11,priority=115,arp,reg5=0xb,arp_spa=0.0.0.0,arp_tpa=192.168.0.0/16 actions=move:NXM_NX_ARP_SHA[]->OXM_OF_PKT_REG4[0..47],goto_table:13
table=11,priority=105,ip,reg5=0xb,nw_src=192.168.0.0/16 actions=goto_table:20
table=11,priority=105,arp,reg5=0xb,arp_spa=192.168.0.0/16 actions=move:NXM_NX_ARP_SHA[]->OXM_OF_PKT_REG4[0..47],goto_table:13`},
		"everything": {model.AddressPair{IPAddress: netip.MustParsePrefix("::/0")}, `
table=11,priority=117,icmp6,reg5=0xb,ipv6_src=::,icmp_type=135 actions=move:NXM_NX_ND_SLL[]->OXM_OF_PKT_REG4[0..47],goto_table:13
table=11,priority=115,icmp6,reg5=0xb,icmp_type=135 actions=move:NXM_NX_ND_SLL[]->OXM_OF_PKT_REG4[0..47],goto_table:13
table=11,priority=115,icmp6,reg5=0xb,icmp_type=136 actions=move:NXM_NX_ND_TLL[]->OXM_OF_PKT_REG4[0..47],goto_table:13
table=11,priority=105,ipv6,reg5=0xb actions=goto_table:20`},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Split(wanted(t, view("local", port(tc.pair)), flows.KindPort), "\n")
			got = slices.DeleteFunc(got, func(line string) bool { return slices.Contains(plain, line) })
			same(t, strings.Join(got, "\n"), tc.want)
		})
	}
}

// A MAC address that several ports may use leads to all of them; one that is a port's own, to that port.
func TestSharedMAC(t *testing.T) {
	virtual := model.AddressPair{IPAddress: netip.MustParsePrefix("10.0.0.99/32"), MACAddress: model.MAC{0, 0, 0x5e, 0, 1, 1}}
	a, b, owner := port(virtual), port(virtual), port()
	b.ID, b.MACAddress = uuid.MustParse("bbbbbbbb-bbbb-4000-8000-000000000000"), model.MAC{0xfa, 0x16, 0x3e, 0, 0, 2}
	owner.ID, owner.MACAddress = uuid.MustParse("cccccccc-cccc-4000-8000-000000000000"), virtual.MACAddress

	find := func(v *flows.View) string {
		var found []string
		for _, kind := range []flows.Kind{flows.KindNetwork, flows.KindPort} {
			for _, line := range strings.Split(wanted(t, v, kind), "\n") {
				if strings.Contains(line, "dl_dst=00:00:5e:00:01:01") {
					found = append(found, line)
				}
			}
		}
		return strings.Join(found, "\n")
	}
	v := view("vxlan", a, b)
	same(t, find(v), "table=60,priority=100,reg6=0x7,dl_dst=00:00:5e:00:01:01 actions=set_field:0xb->reg7,resubmit(,90),set_field:0xc->reg7,resubmit(,90)")
	v.Networks[0].Remote = []*flows.RemotePort{{Port: port(virtual), Host: host}}
	same(t, find(v), "table=60,priority=100,reg6=0x7,dl_dst=00:00:5e:00:01:01 actions=set_field:0xb->reg7,resubmit(,90),set_field:0xc->reg7,resubmit(,90),set_field:0x1->reg7,resubmit(,90)")
	v.Networks[0].Local = nil
	same(t, find(v), "")
	same(t, find(view("vxlan", a, b, owner)), "table=60,priority=100,reg6=0x7,dl_dst=00:00:5e:00:01:01 actions=set_field:0xd->reg7,goto_table:90")
}
