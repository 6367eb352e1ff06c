package eval

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// groupTable holds no flows of a test's bridge: a flow there is a bucket of the group that its priority names.
const groupTable = 254

// Ports of a test's bridge.
const (
	patch, tunnelPort, uplink, vif, other, dead = 1, 2, 3, 4, 5, 6
)

// bridge makes a bridge of flows in ovs-ofctl's words. groups says which groups are of a type but all.
func bridge(t testing.TB, groups map[uint32]of.GroupType, text string) *Bridge {
	t.Helper()
	list, err := of.ParseFlows(text)
	if err != nil {
		t.Fatal(err)
	}
	var installed []of.FlowStats
	made := map[uint32]*of.GroupDesc{}
	for i := range list {
		f := list[i].FlowStats
		if f.Table != groupTable {
			installed = append(installed, f)
			continue
		}
		id := uint32(f.Priority)
		if made[id] == nil {
			made[id] = &of.GroupDesc{ID: id, Type: groups[id]}
		}
		made[id].Buckets = append(made[id].Buckets, of.Bucket{ID: uint32(i), Weight: uint16(f.Cookie), WatchPort: uint32(f.Cookie), Actions: f.Instructions.Applied()})
	}
	var all []of.GroupDesc
	for _, g := range made {
		all = append(all, *g)
	}
	return NewBridge(installed, all, []Port{
		{Number: patch, Name: "patch", Peer: patch}, {Number: tunnelPort, Name: "vxlan-tb", Tunnel: "vxlan"}, {Number: uplink, Name: "int-br-ex", Physical: "physnet1", Provider: "br-ex"},
		{Number: vif, Name: "tap4", VIF: "web"}, {Number: other, Name: "tap5"}, {Number: dead, Name: "tap6", Down: true},
	})
}

func packet(t testing.TB, text string) *Packet {
	t.Helper()
	f, err := of.ParseFlowText(text + " actions=drop")
	if err != nil {
		t.Fatal(err)
	}
	return NewPacket(slices.Collect(f.Match.Fields())...)
}

// told is what became of the copies: the kind, and the port or why.
func told(r *Result) (list []string) {
	names := [...]string{"to", "answered", "punted", "left", "taken", "dropped", "lost", "unknown"}
	for _, e := range r.Ends {
		what := names[e.Kind]
		switch e.Kind {
		case Delivered, Answered:
			what += " " + e.Port.Name
		case Left:
			what += fmt.Sprintf(" %#x", e.Packet.Get(of.VlanVID).Uint())
		case Dropped:
			what += fmt.Sprintf(" in %d: %s", e.Last.Table, e.Why)
		case Lost, Unknown:
			what += ": " + e.Why
		}
		list = append(list, what)
	}
	return list
}

// What our own flows have none of, or what a switch would not be asked for a trace.
func TestActions(t *testing.T) {
	for _, c := range []struct {
		name, flows, packet string
		groups              map[uint32]of.GroupType
		want                []string
	}{
		{name: "no flow", packet: "ip", want: []string{"dropped in 0: no flow matches"}},
		{name: "dropped by a flow", flows: "table=0 actions=drop", packet: "ip", want: []string{"dropped in 0: its flow drops it"}},
		{name: "sent nowhere", flows: "table=0 actions=set_field:1->reg0", packet: "ip", want: []string{"dropped in 0: its flow sends it nowhere"}},
		{name: "highest priority", flows: "table=0,priority=1 actions=output:4\ntable=0,priority=3,ip actions=output:5\ntable=0,priority=9,arp actions=drop", packet: "ip", want: []string{"to tap5"}},
		{name: "a port that is not there", flows: "table=0 actions=output:77", packet: "ip", want: []string{"dropped in 0: its flow sends it nowhere"}},
		{name: "back where it came from", flows: "table=0 actions=output:4", packet: "in_port=4,ip", want: []string{"dropped in 0: its flow sends it nowhere"}},
		{name: "back because it says so", flows: "table=0 actions=IN_PORT", packet: "in_port=4,ip", want: []string{"answered tap4"}},
		{name: "resubmit keeps changes", flows: "table=0 actions=resubmit(,1),output:NXM_NX_REG7[0..15]\ntable=1 actions=set_field:5->reg7", packet: "ip", want: []string{"to tap5"}},
		{name: "resubmit with another port", flows: "table=0 actions=resubmit(9,1),output:5\ntable=1,in_port=9 actions=output:4", packet: "in_port=5,ip", want: []string{"to tap4"}},
		{name: "clone does not keep changes", flows: "table=0 actions=clone(set_field:5->reg7),output:NXM_NX_REG7[0..15]", packet: "ip,reg7=4", want: []string{"to tap4"}},
		{name: "halves of registers", flows: "table=0 actions=move:NXM_NX_REG0[0..15]->NXM_NX_REG7[16..31],move:NXM_NX_REG7[16..31]->NXM_NX_XXREG1[0..15],output:NXM_NX_REG7[0..15]", packet: "ip,reg0=5", want: []string{"to tap5"}},
		{name: "metadata", flows: "table=0 actions=write_metadata:0x5/0xf,goto_table:1\ntable=1,metadata=0x75 actions=output:5", packet: "ip,metadata=0x7a", want: []string{"to tap5"}},
		{name: "action set", flows: "table=0 actions=write_actions(output:5),goto_table:1\ntable=1 actions=set_field:1->reg0", packet: "ip", want: []string{"to tap5"}},
		{name: "action set, emptied", flows: "table=0 actions=write_actions(output:5),goto_table:1\ntable=1 actions=clear_actions", packet: "ip", want: []string{"dropped in 1: its flow sends it nowhere"}},
		{name: "a field that it has not", flows: "table=0 actions=set_field:9->tcp_dst,goto_table:1\ntable=1,udp,tp_dst=53 actions=output:5", packet: "udp,tp_dst=53", want: []string{"to tap5"}},
		{name: "tags", flows: "table=0 actions=push_vlan:0x8100,set_field:4197->vlan_vid,output:3,pop_vlan,output:3", packet: "ip", want: []string{"left 0x1065", "left 0x0"}},
		{name: "TTL", flows: "table=0 actions=dec_ttl,output:5", packet: "ip,nw_ttl=1", want: []string{"punted"}},
		{name: "TTL left", flows: "table=0 actions=dec_ttl,goto_table:1\ntable=1,ip,nw_ttl=1 actions=output:5", packet: "ip,nw_ttl=2", want: []string{"to tap5"}},
		{name: "to the controller, metered", flows: "table=0 actions=meter:4,controller(max_len=65535,userdata=00.01)", packet: "ip", want: []string{"punted"}},
		{name: "LOCAL", flows: "table=0 actions=LOCAL", packet: "ip", want: []string{"taken"}},
		{name: "NORMAL", flows: "table=0 actions=NORMAL", packet: "ip", want: []string{"unknown: switched by NORMAL: where to is not in the flows"}},
		{name: "group that is not there", flows: "table=0 actions=group:7", packet: "ip", want: []string{"dropped in 0: its flow sends it nowhere"}},
		{name: "group of all", flows: "table=0 actions=group:7,output:6\ntable=254,priority=7 actions=push_vlan:0x8100,output:4\ntable=254,priority=7 actions=output:3", packet: "ip", want: []string{"to tap4", "left 0x0", "to tap6"}},
		{name: "group that selects", groups: map[uint32]of.GroupType{7: of.GroupTypeSelect}, packet: "ip", want: []string{"to tap5"},
			flows: "table=0 actions=group:7\ncookie=0,table=254,priority=7 actions=output:4\ncookie=1,table=254,priority=7 actions=output:5"},
		{name: "group for failing over", groups: map[uint32]of.GroupType{7: of.GroupTypeFailover}, packet: "ip", want: []string{"to tap4"},
			flows: "table=0 actions=group:7\ncookie=6,table=254,priority=7 actions=output:6\ncookie=4,table=254,priority=7 actions=output:4\ncookie=5,table=254,priority=7 actions=output:5"},
		{name: "indirect group", groups: map[uint32]of.GroupType{7: of.GroupTypeIndirect}, flows: "table=0 actions=group:7\ntable=254,priority=7 actions=output:4", packet: "ip", want: []string{"to tap4"}},
		{name: "a patch forgets registers", flows: "table=0,in_port=4 actions=set_field:7->reg0,set_field:5->tun_id,output:1\ntable=0,in_port=1,reg0=0,tun_id=0 actions=output:5", packet: "in_port=4,ip", want: []string{"to tap5"}},
		{name: "in circles", flows: "table=0 actions=resubmit(,0)", packet: "ip", want: []string{"unknown: the flows go round in circles: a switch gives up"}},
		{name: "in ever more circles", flows: "table=0 actions=group:7\ntable=254,priority=7 actions=group:7\ntable=254,priority=7 actions=group:7", packet: "ip", want: []string{"unknown: the flows go round in circles: a switch gives up"}},
		{name: "into a tunnel without end", flows: "table=0 actions=output:2", packet: "ip", want: []string{"dropped in 0: its flow sends it nowhere"}},
		{name: "into a tunnel", flows: "table=0 actions=set_field:172.31.0.9->tun_dst,output:2", packet: "ip", want: []string{"lost: the host with tunnel address 172.31.0.9 is not looked at"}},
	} {
		b := bridge(t, c.groups, c.flows)
		r := Run(Alone{}, &Host{Name: "h1", Bridges: [len(flows.Bridges)]*Bridge{b, b}}, flows.BrInt, uint32(max(1, packet(t, c.packet).Get(of.InPort).Uint())), packet(t, c.packet))
		got := told(r)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What a flow would learn is told, in the words of a flow.
func TestLearn(t *testing.T) {
	b := bridge(t, nil, "table=0 actions=learn(table=61,idle_timeout=300,priority=10,NXM_NX_REG6[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG5[]->NXM_NX_REG7[]),output:5")
	r := Run(Alone{}, &Host{Bridges: [len(flows.Bridges)]*Bridge{b, b}}, flows.BrInt, vif, packet(t, "ip,reg5=0x4,reg6=0x9,dl_src=fa:16:3e:00:00:01"))
	const want = "would learn into table 61: reg6=0x9,eth_dst=fa:16:3e:00:00:01,set_field:0x4->reg7"
	if got := r.Start.Steps[0].Steps[0].Text; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// An action that is not evaluated makes no answer up.
func TestRawAction(t *testing.T) {
	const clearCT = of.RawAction("\xff\xff\x00\x10\x00\x00\x23\x20\x00\x2b\x00\x00\x00\x00\x00\x00")
	b := NewBridge([]of.FlowStats{{Instructions: of.Apply(clearCT, of.Output{Port: other})}}, nil, []Port{{Number: other, Name: "tap5"}})
	got := told(Run(Alone{}, &Host{Bridges: [len(flows.Bridges)]*Bridge{b, b}}, flows.BrInt, vif, packet(t, "ip")))
	if len(got) != 2 || !strings.Contains(got[0], "ct_clear") || got[1] != "to tap5" {
		t.Errorf("%q", got)
	}
}

// loop is a fabric in which everything comes back to one host.
type loop struct{ host *Host }

func (l loop) Peer(*Host, string, netip.Addr) (*Host, error) { return l.host, nil }
func (l loop) Wire(*Host, string) ([]*Host, error) {
	return []*Host{l.host}, errors.New("nobody knows the others")
}

// FuzzEval follows any packet through any flows: it comes to an end, something becomes of it, and the
// flows and the packet are as before.
func FuzzEval(f *testing.F) {
	f.Add("table=0,in_port=4,dl_vlan=7 actions=pop_vlan,set_field:0x5->reg5,move:NXM_OF_IP_SRC[]->NXM_NX_XXREG0[0..31],goto_table:60\ntable=60,reg5=0x5 actions=group:7\n"+
		"table=254,priority=7 actions=set_field:5->reg7,resubmit(,90)\ntable=254,priority=7 actions=output:2\ntable=90 actions=output:NXM_NX_REG7[0..15]", "in_port=4,dl_vlan=7,ip,nw_src=10.0.0.1", uint8(0))
	f.Add("table=0 actions=output:1,output:3,set_field:172.31.0.1->tun_dst,output:2,IN_PORT,LOCAL,NORMAL", "arp,arp_op=1", uint8(1))
	f.Add("table=0 actions=resubmit(,0),resubmit(,0),clone(resubmit(,0)),group:7\ntable=254,priority=7 actions=group:7,resubmit(,0)", "ipv6", uint8(2))
	f.Add("table=0,icmp6,icmp_type=135 actions=set_field:136->icmpv6_type,set_field:2->nd_options_type,move:NXM_NX_ND_SLL[]->NXM_NX_ND_TLL[],dec_ttl,ct(commit),note:1.2", "icmp6,icmp_type=135,nd_sll=fa:16:3e:00:00:01", uint8(3))
	f.Fuzz(func(t *testing.T, text, what string, groupType uint8) {
		if list, err := of.ParseFlows(text); err != nil || len(list) > 50 {
			return
		}
		if _, err := of.ParseFlowText(what + " actions=drop"); err != nil {
			return
		}
		b := bridge(t, map[uint32]of.GroupType{7: of.GroupType(groupType)}, text)
		h := &Host{Name: "h1", Encap: netip.MustParseAddr("172.31.0.1"), Bridges: [len(flows.Bridges)]*Bridge{b, b}}
		p := packet(t, what)
		again := p.clone()
		r := Run(loop{h}, h, flows.BrInt, vif, p)
		if len(r.Ends) == 0 {
			t.Fatal("nothing became of it")
		}
		if !slices.Equal(told(r), told(Run(loop{h}, h, flows.BrInt, vif, again))) {
			t.Fatal("the second time it is something else")
		}
	})
}
