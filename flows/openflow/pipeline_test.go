package openflow

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// pair is a flow as ovs-ofctl reads it and the same flow made with this package.
type pair struct {
	text string
	flow FlowMod
}

var (
	mac1     = MAC{0xfa, 0x16, 0x3e, 0, 0, 1}
	metaIP   = netip.MustParseAddr("169.254.169.254")
	metaIP6  = netip.MustParseAddr("fe80::a9fe:a9fe")
	address  = netip.MustParseAddr("10.0.0.7")
	address6 = netip.MustParseAddr("fd00::7")
	remote   = netip.MustParseAddr("172.31.0.3")
	any4     = netip.IPv4Unspecified()
	any6     = netip.IPv6Unspecified()
	multi    = EthDst.MACMasked(MAC{1}, MAC{1})
	untagged = VlanTCI.Masked(0, 0x1fff)
)

func with(base []FieldValue, more ...FieldValue) Match { return MustMatch(append(base, more...)...) }
func neighbourMatch(typ uint64, more ...FieldValue) Match {
	return with(ICMP6(), append(more, ICMPv6Type.Is(typ))...)
}
func rule(table uint8, priority uint16, m Match, i Instructions) FlowMod {
	return FlowMod{Table: table, Priority: priority, Match: m, Instructions: i}
}

func set(v FieldValue) Action     { return SetField{v} }
func move(src, dst Subfield) Move { return Move{src, dst} }

// pipeline is every kind of flow that a layer-2 pipeline of Tunbridge's shape
// consists of.
func pipeline() []pair {
	mac48 := XReg4.Bits(0, 47)
	v4 := set(Reg2.Is(0xffff))
	return []pair{
		{"table=0,priority=200,dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0,actions=drop",
			rule(0, 200, MustMatch(EthDst.MACMasked(MAC{0x01, 0x80, 0xc2}, MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xf0})), Drop)},
		{"table=0,priority=100,in_port=1,vlan_tci=0x1000/0x1000,actions=move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG6[0..11],pop_vlan,goto_table:60",
			rule(0, 100, MustMatch(InPort.Is(1), VlanTCI.Masked(0x1000, 0x1000)), ApplyGoto(60, move(VlanTCI.Bits(0, 11), Reg6.Bits(0, 11)), PopVLAN{}))},
		{"table=0,priority=50,vlan_tci=0x1000/0x1fff,actions=pop_vlan,resubmit(,0)",
			rule(0, 50, MustMatch(VlanTCI.Masked(0x1000, 0x1fff)), Apply(PopVLAN{}, Resubmit{Table: 0}))},
		{"table=0,priority=0,actions=drop", rule(0, 0, "", Drop)},
		{"table=11,priority=120,udp,tp_src=67,tp_dst=68,actions=drop", rule(11, 120, with(UDP(), UDPSrc.Is(67), UDPDst.Is(68)), Drop)},
		{"table=11,priority=120,udp6,tp_src=547,tp_dst=546,actions=drop", rule(11, 120, with(UDP6(), UDPSrc.Is(547), UDPDst.Is(546)), Drop)},
		{"table=11,priority=120,icmp6,icmp_type=134,actions=drop", rule(11, 120, neighbourMatch(134), Drop)},
		{"table=11,priority=120,ipv6,ipv6_src=::ffff:0:0/96,actions=drop", rule(11, 120, with(IPv6(), IPv6Src.Prefix(netip.MustParsePrefix("::ffff:0:0/96"))), Drop)},
		{"table=11,priority=120,icmp6,icmp_type=135,ipv6_src=::,actions=move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG0[],move:NXM_NX_ND_SLL[]->OXM_OF_PKT_REG4[0..47],goto_table:12",
			rule(11, 120, neighbourMatch(135, IPv6Src.Addr(any6)), ApplyGoto(12, move(NDTarget.All(), XXReg0.All()), move(NDSll.All(), mac48)))},
		{"table=11,priority=110,icmp6,icmp_type=135,actions=move:NXM_NX_IPV6_SRC[]->NXM_NX_XXREG0[],move:NXM_NX_ND_SLL[]->OXM_OF_PKT_REG4[0..47],goto_table:12",
			rule(11, 110, neighbourMatch(135), ApplyGoto(12, move(IPv6Src.All(), XXReg0.All()), move(NDSll.All(), mac48)))},
		{"table=11,priority=110,icmp6,icmp_type=136,actions=move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG0[],move:NXM_NX_ND_TLL[]->OXM_OF_PKT_REG4[0..47],goto_table:12",
			rule(11, 110, neighbourMatch(136), ApplyGoto(12, move(NDTarget.All(), XXReg0.All()), move(NDTll.All(), mac48)))},
		{"table=11,priority=110,icmp6,icmp_type=143,ipv6_src=::,actions=goto_table:20", rule(11, 110, neighbourMatch(143, IPv6Src.Addr(any6)), Goto(20))},
		{"table=11,priority=110,udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67,actions=goto_table:20",
			rule(11, 110, with(UDP(), IPv4Src.Addr(any4), IPv4Dst.Is(0xffffffff), UDPSrc.Is(68), UDPDst.Is(67)), Goto(20))},
		{"table=11,priority=110,arp,arp_spa=0.0.0.0,actions=set_field:0xffff->reg2,move:NXM_OF_ARP_TPA[]->NXM_NX_REG3[],move:NXM_NX_ARP_SHA[]->OXM_OF_PKT_REG4[0..47],goto_table:12",
			rule(11, 110, with(ARP(), ARPSpa.Addr(any4)), ApplyGoto(12, v4, move(ARPTpa.All(), Reg3.All()), move(ARPSha.All(), mac48)))},
		{"table=11,priority=100,arp,actions=set_field:0xffff->reg2,move:NXM_OF_ARP_SPA[]->NXM_NX_REG3[],move:NXM_NX_ARP_SHA[]->OXM_OF_PKT_REG4[0..47],goto_table:12",
			rule(11, 100, with(ARP()), ApplyGoto(12, v4, move(ARPSpa.All(), Reg3.All()), move(ARPSha.All(), mac48)))},
		{"table=11,priority=100,rarp,actions=move:NXM_NX_ARP_SHA[]->OXM_OF_PKT_REG4[0..47],goto_table:13",
			rule(11, 100, with(RARP()), ApplyGoto(13, move(ARPSha.All(), mac48)))},
		{"table=11,priority=100,ip,actions=set_field:0xffff->reg2,move:NXM_OF_IP_SRC[]->NXM_NX_REG3[],goto_table:12",
			rule(11, 100, with(IPv4()), ApplyGoto(12, v4, move(IPv4Src.All(), Reg3.All())))},
		{"table=11,priority=100,ipv6,actions=move:NXM_NX_IPV6_SRC[]->NXM_NX_XXREG0[],goto_table:12",
			rule(11, 100, with(IPv6()), ApplyGoto(12, move(IPv6Src.All(), XXReg0.All())))},
		{"table=13,priority=90,xreg4=0,actions=goto_table:20", rule(13, 90, MustMatch(XReg4.Is(0)), Goto(20))},
		{"table=20,priority=100,tcp,nw_dst=169.254.169.254,tp_dst=80,actions=set_field:4->reg10,goto_table:21",
			rule(20, 100, with(TCP(), IPv4Dst.Addr(metaIP), TCPDst.Is(80)), ApplyGoto(21, set(Reg10.Is(4))))},
		{"table=20,priority=100,tcp6,ipv6_dst=fe80::a9fe:a9fe,tp_dst=80,actions=set_field:4->reg10,goto_table:21",
			rule(20, 100, with(TCP6(), IPv6Dst.Addr(metaIP6), TCPDst.Is(80)), ApplyGoto(21, set(Reg10.Is(4))))},
		{"table=20,priority=90,arp,arp_op=1,actions=goto_table:30", rule(20, 90, with(ARP(), ARPOp.Is(1)), Goto(30))},
		{"table=31,priority=100,arp,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:OXM_OF_PKT_REG4[0..47]->NXM_OF_ETH_SRC[],set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:OXM_OF_PKT_REG4[0..47]->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_NX_REG0[],move:NXM_OF_ARP_TPA[]->NXM_OF_ARP_SPA[],move:NXM_NX_REG0[]->NXM_OF_ARP_TPA[],in_port",
			rule(31, 100, with(ARP()), Apply(move(EthSrc.All(), EthDst.All()), move(mac48, EthSrc.All()), set(ARPOp.Is(2)), move(ARPSha.All(), ARPTha.All()),
				move(mac48, ARPSha.All()), move(ARPSpa.All(), Reg0.All()), move(ARPTpa.All(), ARPSpa.All()), move(Reg0.All(), ARPTpa.All()), Output{Port: PortInPort}))},
		{"table=31,priority=100,icmp6,icmp_type=135,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:OXM_OF_PKT_REG4[0..47]->NXM_OF_ETH_SRC[],move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],move:NXM_NX_ND_TARGET[]->NXM_NX_IPV6_SRC[],set_field:136->icmpv6_type,goto_table:32",
			rule(31, 100, neighbourMatch(135), ApplyGoto(32, move(EthSrc.All(), EthDst.All()), move(mac48, EthSrc.All()), move(IPv6Src.All(), IPv6Dst.All()),
				move(NDTarget.All(), IPv6Src.All()), set(ICMPv6Type.Is(136))))},
		{"table=32,priority=100,icmp6,icmp_type=136,actions=set_field:0x60000000->nd_reserved,set_field:2->nd_options_type,move:OXM_OF_PKT_REG4[0..47]->NXM_NX_ND_TLL[],in_port",
			rule(32, 100, neighbourMatch(136), Apply(set(NDReserved.Is(0x60000000)), set(NDOptionsType.Is(2)), move(mac48, NDTll.All()), Output{Port: PortInPort}))},
		{"table=60,priority=90,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=goto_table:65", rule(60, 90, MustMatch(multi), Goto(65))},
		{"table=90,priority=100,reg7=1,actions=push_vlan:0x8100,move:NXM_NX_REG6[0..11]->OXM_OF_VLAN_VID[0..11],output:1",
			rule(90, 100, MustMatch(Reg7.Is(1)), Apply(PushVLAN{EthTypeVLAN}, move(Reg6.Bits(0, 11), VlanVID.Bits(0, 11)), Output{Port: 1}))},
		{"table=90,priority=0,actions=output:NXM_NX_REG7[0..15]", rule(90, 0, "", Apply(OutputReg{Src: Reg7.Bits(0, 15)}))},

		{"table=60,priority=50,reg6=7,actions=set_field:1->reg7,goto_table:90", rule(60, 50, MustMatch(Reg6.Is(7)), ApplyGoto(90, set(Reg7.Is(1))))},
		{"table=65,priority=100,reg6=7,actions=group:7", rule(65, 100, MustMatch(Reg6.Is(7)), Apply(Group{7}))},
		{"table=20,priority=100,reg6=7,udp,nw_dst=255.255.255.255,tp_dst=67,actions=set_field:1->reg10,goto_table:21",
			rule(20, 100, with(UDP(), Reg6.Is(7), IPv4Dst.Is(0xffffffff), UDPDst.Is(67)), ApplyGoto(21, set(Reg10.Is(1))))},
		{"table=30,priority=100,reg6=7,arp,arp_op=1,arp_tpa=169.254.169.254,actions=set_field:0xfa163e000001->xreg4,goto_table:31",
			rule(30, 100, with(ARP(), Reg6.Is(7), ARPOp.Is(1), ARPTpa.Addr(metaIP)), ApplyGoto(31, set(XReg4.MAC(mac1))))},
		{"table=30,priority=100,reg6=7,icmp6,icmp_type=135,nd_target=fe80::a9fe:a9fe,actions=set_field:0xfa163e000001->xreg4,goto_table:31",
			rule(30, 100, neighbourMatch(135, Reg6.Is(7), NDTarget.Addr(metaIP6)), ApplyGoto(31, set(XReg4.MAC(mac1))))},
		{"table=0,priority=100,in_port=2,dl_vlan=1234,actions=pop_vlan,set_field:7->reg6,goto_table:60",
			rule(0, 100, MustMatch(InPort.Is(2), VlanVID.Is(VIDPresent|1234)), ApplyGoto(60, PopVLAN{}, set(Reg6.Is(7))))},
		{"table=90,priority=110,reg6=7,reg7=2,actions=push_vlan:0x8100,set_field:5330->vlan_vid,output:2",
			rule(90, 110, MustMatch(Reg7.Is(2), Reg6.Is(7)), Apply(PushVLAN{EthTypeVLAN}, set(VlanVID.Is(VIDPresent|1234)), Output{Port: 2}))},
		{"table=0,priority=100,in_port=3,vlan_tci=0x0000/0x1fff,actions=set_field:3->reg5,set_field:7->reg6,goto_table:10",
			rule(0, 100, MustMatch(InPort.Is(3), untagged), ApplyGoto(10, set(Reg5.Is(3)), set(Reg6.Is(7))))},
		{"table=10,priority=100,reg5=3,dl_src=fa:16:3e:00:00:01,actions=goto_table:11", rule(10, 100, MustMatch(Reg5.Is(3), EthSrc.MAC(mac1)), Goto(11))},
		{"table=12,priority=100,reg5=3,xxreg0=0xffff0a000007,actions=goto_table:13", rule(12, 100, MustMatch(Reg5.Is(3), XXReg0.Addr(address)), Goto(13))},
		{"table=12,priority=100,reg5=3,xxreg0=0xfd000000000000000000000000000007,actions=goto_table:13", rule(12, 100, MustMatch(Reg5.Is(3), XXReg0.Addr(address6)), Goto(13))},
		{"table=13,priority=100,reg5=3,xreg4=0xfa163e000001,actions=goto_table:20", rule(13, 100, MustMatch(Reg5.Is(3), XReg4.MAC(mac1)), Goto(20))},
		{"table=21,priority=100,reg5=3,actions=meter:3,controller(max_len=65535,userdata=00.00.00.03.00.00.00.01)",
			rule(21, 100, MustMatch(Reg5.Is(3)), Apply(Meter{3}, Controller{MaxLen: 65535, UserData: []byte{0, 0, 0, 3, 0, 0, 0, 1}}))},
		{"table=30,priority=110,reg5=3,arp,arp_tpa=10.0.0.7,actions=goto_table:60", rule(30, 110, with(ARP(), Reg5.Is(3), ARPTpa.Addr(address)), Goto(60))},
		{"table=30,priority=100,reg6=7,arp,arp_op=1,dl_dst=ff:ff:ff:ff:ff:ff,arp_tpa=10.0.0.7,actions=set_field:0xfa163e000001->xreg4,goto_table:31",
			rule(30, 100, with(ARP(), Reg6.Is(7), ARPOp.Is(1), EthDst.MAC(BroadcastMAC), ARPTpa.Addr(address)), ApplyGoto(31, set(XReg4.MAC(mac1))))},
		{"table=30,priority=100,reg6=7,dl_dst=33:33:00:00:00:00/ff:ff:00:00:00:00,icmp6,icmp_type=135,nd_target=fd00::7,actions=set_field:0xfa163e000001->xreg4,goto_table:31",
			rule(30, 100, neighbourMatch(135, Reg6.Is(7), EthDst.MACMasked(MAC{0x33, 0x33}, MAC{0xff, 0xff}), NDTarget.Addr(address6)), ApplyGoto(31, set(XReg4.MAC(mac1))))},
		{"table=60,priority=100,reg6=7,dl_dst=fa:16:3e:00:00:01,actions=set_field:3->reg7,goto_table:90",
			rule(60, 100, MustMatch(Reg6.Is(7), EthDst.MAC(mac1)), ApplyGoto(90, set(Reg7.Is(3))))},
		{"table=60,priority=51,reg6=7,actions=resubmit(,61),goto_table:62", rule(60, 51, MustMatch(Reg6.Is(7)), ApplyGoto(62, Resubmit{Table: 61}))},
		{"table=62,priority=100,reg6=7,reg7=0,actions=group:8199", rule(62, 100, MustMatch(Reg6.Is(7), Reg7.Is(0)), Apply(Group{0x2000 | 7}))},
		{"table=15,priority=100,reg5=3,actions=learn(table=61,idle_timeout=300,priority=10,delete_learned,cookie=0x204000c000000a4,limit=64,NXM_NX_REG6[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG5[]->NXM_NX_REG7[]),goto_table:20",
			rule(15, 100, MustMatch(Reg5.Is(3)), ApplyGoto(20, Learn{Table: 61, Priority: 10, IdleTimeout: 300, Cookie: 0x204000c000000a4, Limit: 64, DeleteLearned: true, Specs: []LearnSpec{
				{LearnMatch, Reg6.All(), Reg6.All()}, {LearnMatch, EthDst.All(), EthSrc.All()}, {LearnLoad, Reg7.All(), Reg5.All()}}}))},
		{"table=11,priority=115,reg5=3,ip,nw_src=10.0.0.0/8,actions=goto_table:20",
			rule(11, 115, with(IPv4(), Reg5.Is(3), IPv4Src.Prefix(netip.MustParsePrefix("10.0.0.0/8"))), Goto(20))},

		// br-tun
		{"table=100,priority=100,in_port=4,tun_src=172.31.0.3,actions=goto_table:104", rule(100, 100, MustMatch(InPort.Is(4), TunSrc.Addr(remote)), Goto(104))},
		{"table=104,priority=100,tun_id=5001,actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:1",
			rule(104, 100, MustMatch(TunID.Is(5001)), Apply(PushVLAN{EthTypeVLAN}, set(VlanVID.Is(VIDPresent|7)), Output{Port: 1}))},
		{"table=122,priority=100,dl_vlan=7,actions=pop_vlan,set_field:5001->tun_id,group:7",
			rule(122, 100, MustMatch(VlanVID.Is(VIDPresent|7)), Apply(PopVLAN{}, set(TunID.Is(5001)), Group{7}))},
		{"table=120,priority=100,dl_vlan=7,dl_dst=fa:16:3e:00:00:01,actions=pop_vlan,set_field:5001->tun_id,set_field:172.31.0.3->tun_dst,output:4",
			rule(120, 100, MustMatch(VlanVID.Is(VIDPresent|7), EthDst.MAC(mac1)), Apply(PopVLAN{}, set(TunID.Is(5001)), set(TunDst.Addr(remote)), Output{Port: 4}))},
		{"table=123,priority=100,dl_vlan=7,tun_dst=0.0.0.0,actions=resubmit(,122)",
			rule(123, 100, MustMatch(VlanVID.Is(VIDPresent|7), TunDst.Addr(any4)), Apply(Resubmit{Table: 122}))},

		{"table=110,priority=100,dl_vlan=7,actions=learn(table=121,hard_timeout=5,cookie=0x7,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_TUN_IPV6_SRC[]->NXM_NX_TUN_IPV6_DST[]),output:1",
			rule(110, 100, MustMatch(VlanVID.Is(VIDPresent|7)), Apply(Learn{Table: 121, Priority: defaultPriority, HardTimeout: 5, Cookie: 7, Specs: []LearnSpec{
				{LearnMatch, VlanTCI.Bits(0, 11), VlanTCI.Bits(0, 11)}, {LearnMatch, EthDst.All(), EthSrc.All()}, {LearnLoad, TunIPv6Dst.All(), TunIPv6Src.All()}}}, Output{Port: 1}))},

		// forms of actions that the pipeline doesn't have yet
		{"table=130,ip,actions=load:5->NXM_NX_REG6[0..11],dec_ttl,set_queue:3,resubmit(2,131),resubmit:3,controller:65535,normal",
			rule(130, defaultPriority, with(IPv4()), Apply(Load(5, Reg6.Bits(0, 11)), DecTTL{}, SetQueue{3}, Resubmit{2, 131}, Resubmit{3, TableAll},
				Output{PortController, 65535}, Output{Port: PortNormal}))},
		{"table=131,actions=controller(reason=invalid_ttl,id=3),note:01.02.03,clone(set_field:1->reg1,output:2),output:OXM_OF_PKT_REG4[0..15]",
			rule(131, defaultPriority, "", Apply(Controller{Reason: ReasonInvalidTTL, ControllerID: 3}, Note{[]byte{1, 2, 3}},
				Clone{MustActions(set(Reg1.Is(1)), Output{Port: 2})}, OutputReg{Src: XReg4.Bits(0, 15)}))},
		{"table=132,actions=controller(max_len=128,id=3,userdata=01,pause,meter_id=3),write_metadata:0x5/0xff,goto_table:140",
			FlowMod{Table: 132, Priority: defaultPriority, Instructions: must(NewInstructions(
				ApplyActions{MustActions(Controller{MaxLen: 128, ControllerID: 3, UserData: []byte{1}, Pause: true, MeterID: 3})},
				WriteMetadata{5, 0xff}, GotoTable{140}))}},
		{"table=133,actions=clear_actions,write_actions(output:2)",
			FlowMod{Table: 133, Priority: defaultPriority, Instructions: must(NewInstructions(ClearActions{}, WriteActions{MustActions(Output{Port: 2})}))}},
		{"table=134,idle_timeout=3,hard_timeout=4,importance=5,cookie=0x12345678,send_flow_rem,dl_vlan=5,dl_vlan_pcp=2,dl_type=0x88cc,actions=set_field:3->vlan_pcp,load:0xab->NXM_OF_ETH_DST[0..7]",
			FlowMod{Table: 134, Priority: defaultPriority, IdleTimeout: 3, HardTimeout: 4, Importance: 5, Cookie: 0x12345678, Flags: FlowSendRemoved,
				Match:        MustMatch(VlanTCI.Masked(0x5005, 0xffff), EthType.Is(0x88cc)),
				Instructions: Apply(set(VlanPCP.Is(3)), Load(0xab, EthDst.Bits(0, 7)))}},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pipelineFlows() (flows []FlowMod) {
	for _, p := range pipeline() {
		flows = append(flows, p.flow)
	}
	return flows
}

func TestBytesAreThoseOfOvsOfctl(t *testing.T) {
	var lines []string
	var want []FlowMod
	for _, p := range pipeline() {
		lines, want = append(lines, p.text), append(want, p.flow)
	}
	frames := recorded(t, "add-flows", inFile(t, lines...))
	if len(frames) != len(want) {
		t.Fatalf("%d messages for %d flows", len(frames), len(want))
	}
	for i, f := range frames {
		sameBytes(t, lines[i], mustAppend(t, nil, want[i], 0), f)
		var decoded FlowMod
		if err := decoded.Decode(f); err != nil {
			t.Errorf("%s: %v", lines[i], err)
		} else if decoded != want[i] {
			t.Errorf("%s: decoded as\n%v", lines[i], decoded)
		}
	}
}

func TestGroupBytesAreThoseOfOvsOfctl(t *testing.T) {
	tunnel := func(a netip.Addr) Actions { return MustActions(set(TunDst.Addr(a)), Output{Port: 4}) }
	for _, c := range []struct {
		command, text string
		group         GroupMod
	}{
		{"add-groups", "group_id=7,type=all,bucket=bucket_id:3,actions=set_field:3->reg7,resubmit(,90),bucket=bucket_id:1,actions=set_field:1->reg7,resubmit(,90)",
			GroupMod{ID: 7, Buckets: []Bucket{
				{ID: 3, Actions: MustActions(set(Reg7.Is(3)), Resubmit{Table: 90})}, {ID: 1, Actions: MustActions(set(Reg7.Is(1)), Resubmit{Table: 90})}}}},
		{"add-groups", "group_id=8,type=all,bucket=bucket_id:2887712771,actions=set_field:172.31.0.3->tun_dst,output:4",
			GroupMod{ID: 8, Buckets: []Bucket{{ID: 2887712771, Actions: tunnel(remote)}}}},
		{"add-groups", "group_id=9,type=select,bucket=bucket_id:1,weight:5,actions=output:1,bucket=bucket_id:2,actions=output:2",
			GroupMod{ID: 9, Type: GroupTypeSelect, Buckets: []Bucket{
				{ID: 1, Weight: 5, Actions: MustActions(Output{Port: 1})}, {ID: 2, Weight: 1, Actions: MustActions(Output{Port: 2})}}}},
		{"add-groups", "group_id=10,type=ff,bucket=bucket_id:1,watch_port:1,actions=output:1,bucket=bucket_id:2,watch_group:9,actions=output:2",
			GroupMod{ID: 10, Type: GroupTypeFailover, Buckets: []Bucket{
				{ID: 1, WatchPort: 1, Actions: MustActions(Output{Port: 1})}, {ID: 2, WatchGroup: 9, Actions: MustActions(Output{Port: 2})}}}},
		{"add-groups", "group_id=11,type=all", GroupMod{ID: 11}},
		{"insert-buckets", "group_id=7,command_bucket_id=last,bucket=bucket_id:4,actions=output:4",
			GroupMod{Command: GroupInsertBuckets, ID: 7, CommandBucketID: BucketLast, Buckets: []Bucket{{ID: 4, Actions: MustActions(Output{Port: 4})}}}},
		{"remove-buckets", "group_id=7,command_bucket_id=3", GroupMod{Command: GroupRemoveBuckets, ID: 7, CommandBucketID: 3}},
	} {
		arg := c.text
		if c.command == "add-groups" {
			arg = inFile(t, c.text)
		}
		frames := recorded(t, c.command, arg)
		if len(frames) != 1 {
			t.Fatalf("%s: %d messages", c.text, len(frames))
		}
		sameBytes(t, c.text, mustAppend(t, nil, c.group, 0), frames[0])
	}
}

// The switch must give back, byte for byte, what it was given: otherwise whoever
// compares would rewrite it for ever.
func TestSwitchGivesBackTheSameBytes(t *testing.T) {
	s := startBridge(t)
	s.mustDo(MeterMod{ID: 3, Flags: MeterPktps | MeterBurst, Bands: []MeterBand{{Rate: 20, Burst: 20}}},
		GroupMod{ID: 7, Buckets: []Bucket{{ID: 3, Actions: MustActions(set(Reg7.Is(3)), Resubmit{Table: 90})}, {ID: 1, Actions: MustActions(set(Reg7.Is(1)), Resubmit{Table: 90})}}},
		GroupMod{ID: 0x2007})
	sent := pipelineFlows()
	messages := make([]Message, len(sent))
	for i, f := range sent {
		messages[i] = f
	}
	s.mustDo(messages...)
	sameFlows(t, sent, s.flows())

	var texts []string
	for _, f := range s.flows() {
		texts = append(texts, f.String())
	}
	sameText(t, texts, s.ofctl("dump-flows"))
}

// sameFlows compares what was sent with what a dump gives, by table, priority and match.
func sameFlows(t *testing.T, sent []FlowMod, dumped []FlowStats) {
	t.Helper()
	type key struct {
		table    uint8
		priority uint16
		match    Match
	}
	have := map[key]FlowStats{}
	for _, f := range dumped {
		have[key{f.Table, f.Priority, f.Match}] = f
	}
	missing := 0
	for _, f := range sent {
		k := key{f.Table, f.Priority, f.Match}
		got, ok := have[k]
		switch {
		case !ok:
			missing++
			t.Errorf("not in the dump: %v\n%x", f, string(f.Match))
		case got.Instructions != f.Instructions:
			t.Errorf("%v\nthe dump has %v\n got %x\nwant %x", f, got.Instructions, string(got.Instructions), string(f.Instructions))
		case got.Cookie != f.Cookie || got.IdleTimeout != f.IdleTimeout || got.HardTimeout != f.HardTimeout || got.Importance != f.Importance || got.Flags != f.Flags:
			t.Errorf("%v\nthe dump has %v", f, got)
		}
		delete(have, k)
	}
	for _, f := range have {
		t.Errorf("only in the dump: %v\n%x", f, string(f.Match))
	}
}

// sameText compares flows with what ovs-ofctl dumps, counters and durations aside.
func sameText(t *testing.T, texts []string, dump string) {
	t.Helper()
	var want []string
	for line := range strings.Lines(dump) {
		if strings.Contains(line, "cookie=") {
			want = append(want, withoutTime(line))
		}
	}
	var got []string
	for _, text := range texts {
		got = append(got, withoutTime(text))
	}
	slices.Sort(want)
	slices.Sort(got)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("\n got %s\nwant %s", got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d flows, ovs-ofctl has %d", len(got), len(want))
	}
}

func withoutTime(line string) string {
	var kept []string
	for part := range strings.SplitSeq(strings.TrimSpace(line), ", ") {
		if !strings.HasPrefix(part, "duration=") && !strings.HasPrefix(part, "idle_age=") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ", ")
}
