package openflow

import (
	"strings"
	"testing"
)

// What this package prints, it reads: the match to the byte, the actions to the text, for CONTROLLER:64 stands
// for two encodings.
func TestTextRoundTrip(t *testing.T) {
	g := newGenerator(7)
	for range 20000 {
		m := g.flow()
		want := FlowStats{Table: m.Table, Priority: m.Priority, Cookie: m.Cookie, IdleTimeout: m.IdleTimeout, HardTimeout: m.HardTimeout, Importance: m.Importance,
			Flags: m.Flags, Match: m.Match, Instructions: m.Instructions, Counters: Counters{Duration: 1500e6, Idle: 7e9, Packets: g.Uint64(), Bytes: ^uint64(0)}}
		text := want.String()
		got, err := ParseFlowText(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Unknown) > 0 || got.String() != text || got.Match != want.Match || got.Counters != want.Counters {
			t.Fatalf("unknown %q\n got %s\nwant %s", got.Unknown, got, text)
		}
	}
}

// A switch's flows are read from what ovs-ofctl prints of them.
func TestReadsADump(t *testing.T) {
	s := startBridge(t)
	g := newGenerator(8)
	var messages []Message
	for id := uint32(1); id <= 3; id++ {
		messages = append(messages, MeterMod{ID: id, Flags: MeterPktps, Bands: []MeterBand{{Rate: 10}}}, GroupMod{ID: id})
	}
	for range 2000 {
		messages = append(messages, g.flow())
	}
	s.do(messages...)
	dump := s.ofctl("dump-flows")
	list, err := ParseFlows(dump)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range list {
		if len(f.Unknown) > 0 {
			t.Errorf("unknown %q of %s", f.Unknown, f)
		}
		texts = append(texts, f.String())
	}
	if len(texts) < 1900 {
		t.Fatalf("%d flows are left", len(texts))
	}
	sameText(t, texts, dump)
}

// others are flows as the Neutron agent and OVN make them, and what of each this package keeps as it stands.
var others = []struct{ flow, unknown string }{
	{"cookie=0x8a1b2c3d4e5f6071,table=0,priority=10,icmp6,in_port=3,icmp_type=136,actions=resubmit(,24)", ""},
	{"cookie=0x8a1b2c3d4e5f6071,table=0,priority=3,in_port=1,dl_vlan=101,actions=mod_vlan_vid:7,resubmit(,58)", "mod_vlan_vid:7"},
	{"cookie=0x8a1b2c3d4e5f6071,table=24,priority=2,arp,in_port=3,arp_spa=10.0.0.5,actions=resubmit(,25)", ""},
	{"cookie=0x8a1b2c3d4e5f6071,table=60,priority=100,in_port=3,actions=load:0x3->NXM_NX_REG5[],load:0x7->NXM_NX_REG6[],resubmit(,71)", ""},
	{"cookie=0x8a1b2c3d4e5f6071,table=71,priority=65,ct_state=-trk,ip,reg5=0x3,dl_src=fa:16:3e:00:00:01,nw_src=10.0.0.5,actions=ct(table=72,zone=NXM_NX_REG6[0..15])", "ct(table=72,zone=NXM_NX_REG6[0..15])"},
	{"cookie=0x8a1b2c3d4e5f6071,table=72,priority=73,ct_state=+est-rel-rpl,tcp,reg5=0x3,tp_dst=0x50/0xfff0,actions=conjunction(9,2/2)", "conjunction(9,2/2)"},
	{"cookie=0x8a1b2c3d4e5f6071,table=72,priority=73,conj_id=9,ct_state=+new-est,ip,reg5=0x3,actions=ct(commit,zone=NXM_NX_REG6[0..15]),resubmit(,92)", "ct(commit,zone=NXM_NX_REG6[0..15])"},
	{"cookie=0x8a1b2c3d4e5f6071,table=2,priority=0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=resubmit(,22)", ""},
	{"cookie=0x8a1b2c3d4e5f6071,table=10,priority=1,actions=learn(table=20,hard_timeout=300,priority=1,cookie=0x8a1b2c3d4e5f6071,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:1", "learn("},
	{"cookie=0x8a1b2c3d4e5f6071,table=22,priority=1,dl_vlan=7,actions=strip_vlan,load:0x1f->NXM_NX_TUN_ID[],output:2,output:3", ""},
	{"cookie=0x8a1b2c3d4e5f6071,table=60,priority=3,actions=NORMAL", ""},
	{"cookie=0xb0f0c8c5,table=8,priority=100,in_port=2,actions=load:0x5->NXM_NX_REG13[],load:0x1->NXM_NX_REG11[],load:0x2->OXM_OF_METADATA[],load:0x1->NXM_NX_REG14[],resubmit(,8)", ""},
	{"cookie=0xb0f0c8c5,table=9,priority=100,metadata=0x2,vlan_tci=0x1000/0x1000,actions=drop", ""},
	{"cookie=0xb0f0c8c5,table=21,priority=120,ct_state=+est+trk,tun_metadata0=0x1,metadata=0x2,actions=resubmit(,22)", "tun_metadata0=0x1"},
	{"cookie=0xb0f0c8c5,table=17,priority=100,ip,reg10=0x1/0x1,metadata=0x3,actions=ct(table=18,zone=NXM_NX_REG13[0..15],nat)", "nat"},
	{"cookie=0xb0f0c8c5,table=30,priority=50,arp,arp_op=1,metadata=0x3,arp_tpa=10.0.0.1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:0a:00:00:00:00:01,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xa0000000001->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0xa000001->NXM_OF_ARP_SPA[],move:NXM_NX_REG14[]->NXM_NX_REG15[],load:0x1->NXM_NX_REG10[0],resubmit(,37)", ""},
	{"cookie=0xb0f0c8c5,table=37,priority=100,reg15=0x8000,metadata=0x2,actions=load:0x1->NXM_NX_REG15[],resubmit(,38),group:3", ""},
	{"cookie=0xb0f0c8c5,table=41,priority=110,ip,metadata=0x4,actions=check_pkt_larger(1518)->NXM_NX_REG10[3],clone(ct_clear,load:0->NXM_NX_REG11[],resubmit(,8))", "check_pkt_larger(1518)->NXM_NX_REG10[3]"},
	{"cookie=0xb0f0c8c5,table=22,priority=100,udp,metadata=0x2,nw_src=0.0.0.0,tp_src=68,tp_dst=67,actions=controller(userdata=00.00.00.02.00.00.00.00,pause),resubmit(,23)", ""},
	{"cookie=0xb0f0c8c5,table=12,priority=90,ipv6,metadata=0x4,nw_ttl=0,actions=dec_ttl(0,1),ct_clear,exit", "exit"},
}

func TestReadsTheFlowsOfOthers(t *testing.T) {
	s := startBridge(t)
	s.mustDo(GroupMod{ID: 3})
	s.run("ovs-ofctl", "add-tlv-map", s.path("br0.mgmt"), "{class=0x102,type=0x80,len=4}->tun_metadata0")
	for version, unknown := range map[string]bool{"OpenFlow10": false, "OpenFlow15": true} {
		for _, o := range others {
			s.run("ovs-ofctl", "del-flows", s.path("br0.mgmt"))
			s.run("ovs-ofctl", "add-flow", s.path("br0.mgmt"), o.flow)
			dump := s.run("ovs-ofctl", "-O", version, "--no-names", "dump-flows", s.path("br0.mgmt"))
			list, err := ParseFlows(dump)
			if err != nil || len(list) != 1 {
				t.Errorf("%s: %d flows, %v:\n%s", version, len(list), err, dump)
				continue
			}
			f := list[0]
			if !strings.Contains(dump, f.ActionsText) || f.ActionsText == "" || f.Cookie>>24 == 0 {
				t.Errorf("%s: actions %q of\n%s", version, f.ActionsText, dump)
			}
			if len(f.Unknown) == 0 && version == "OpenFlow15" && !strings.Contains(dump, f.Instructions.String()) {
				t.Errorf("read as %s:\n%s", f.Instructions, dump)
			}
			if whole := strings.Join(f.Unknown, ","); unknown && o.unknown == "" && whole != "" || !strings.Contains(whole, o.unknown) && !strings.HasPrefix(o.unknown, "mod_") {
				t.Errorf("%s: unknown %q, expected %q:\n%s", version, f.Unknown, o.unknown, dump)
			}
		}
	}
}

func TestParseFlowsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"NXST_FLOW reply (xid=0x4):\n\nhello\n":              "line 3",
		"cookie=0x1, table=0, priority=99999 actions=drop\n": "priority=99999",
		"cookie=nothing, actions=drop":                       "cookie=nothing",
	} {
		if _, err := ParseFlows(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	f, err := ParseFlowText(`cookie=0x1, table=output, in_port="tap-1",tp_src=5 actions=output:"tap-2",goto_table:l2`)
	if err != nil || f.TableName != "output" || len(f.Unknown) != 4 || f.Match != "" || f.MatchText != `in_port="tap-1",tp_src=5` {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzFlowText(f *testing.F) {
	for _, o := range others {
		f.Add(o.flow)
	}
	g := newGenerator(9)
	for range 50 {
		m := g.flow()
		f.Add(FlowStats{Table: m.Table, Priority: m.Priority, Match: m.Match, Instructions: m.Instructions}.String())
	}
	f.Fuzz(func(t *testing.T, line string) {
		flow, err := ParseFlowText(line)
		if err != nil {
			return
		}
		again, err := ParseFlowText(flow.String())
		if err != nil || len(again.Unknown) > 0 || again.Match != flow.Match {
			t.Fatalf("%q is read as\n%s, and that as\n%s: %q, %v", line, flow, again, again.Unknown, err)
		}
	})
}
