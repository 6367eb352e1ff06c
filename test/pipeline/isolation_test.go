package pipeline

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// Whatever happens to the deployment, what is wanted keeps its networks apart.
func TestIsolationOfWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{newTopology(), t, 0}
		h.host(h.number())
		h.host(h.number())
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			h.step()
		}
		for _, host := range h.hosts {
			c, v := flows.NewCompiler(features()...), h.view(host)
			if err := c.Compile(v); err != nil {
				t.Fatal(err)
			}
			switches := [len(flows.Bridges)]*modelSwitch{newModelSwitch(), newModelSwitch()}
			carryOut(t, c, &switches)
			for _, b := range flows.Bridges {
				for _, l := range flows.Isolation(v, b, switches[b].dump()) {
					t.Errorf("%s: %s: %s: %s", host.Hostname, b, l.Flow, l.Text)
				}
			}
		}
	})
}

// dump is all that a bridge holds.
func (s *realSwitch) dump(b flows.Bridge) (in flows.Installed) {
	s.t.Helper()
	conn, ctx := s.connect(b)
	if err := errors.Join(
		conn.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error { in.Flows = append(in.Flows, *f); return nil }),
		conn.DumpGroups(ctx, func(g *openflow.GroupDesc) error { in.Groups = append(in.Groups, *g); return nil }),
	); err != nil {
		s.t.Fatalf("%s: %v", b, err)
	}
	return in
}

// On a real switch that holds networks of each type, each way of mixing them up is found, and named with who
// gets whose frames. Of the ports, 10+i and 20+i are network i's, and 76+i is its local VLAN.
func TestIsolationOnASwitch(t *testing.T) {
	top := everyType()
	top.port(0x99, top.networks[3], top.hosts[0], 33).PortSecurityEnabled = false // so that something is learned
	v := top.view(top.hosts[0])
	c := compile(t, v, features()...)
	s := newSwitches(t, top, map[string]*flows.Compiler{"h1": c})["h1"]
	leaks := func() (all []flows.Leak) {
		for _, b := range flows.Bridges {
			all = append(all, flows.Isolation(v, b, s.dump(b))...)
		}
		return all
	}
	for _, l := range leaks() {
		t.Errorf("before any was made: %s: %s: %s", l.Bridge, l.Flow, l.Text)
	}
	for name, tc := range map[string]struct {
		command, bridge, arg string
		want                 string // in the text or in the bucket of a leak
	}{
		"REG_NET after classify":         {"add-flow", "br-int", "table=20,priority=150,reg5=13,actions=set_field:80->reg6,goto_table:60", "REG_NET of frames of network net4"},
		"a bit of REG_NET":               {"add-flow", "br-int", "table=30,priority=150,actions=load:1->NXM_NX_REG6[3],goto_table:60", "REG_NET of frames of"},
		"REG_NET as a half":              {"add-flow", "br-int", "table=20,priority=150,reg6=79,actions=move:NXM_NX_REG5[]->OXM_OF_PKT_REG3[32..63],goto_table:60", "REG_NET of frames of network net4"},
		"a port in another network":      {"add-flow", "br-int", "table=0,priority=150,in_port=13,vlan_tci=0/0x1fff,actions=set_field:13->reg5,set_field:80->reg6,goto_table:10", "of network net4 (000b0000-0004-4000-8000-000000000000) become those of network net5 (000b0000-0005-4000-8000-000000000000)"},
		"a tag of a guest":               {"add-flow", "br-int", "table=0,priority=150,in_port=13,actions=set_field:13->reg5,set_field:79->reg6,goto_table:10", "become those of network net4"},
		"any network, by tag":            {"add-flow", "br-int", "table=0,priority=150,in_port=13,vlan_tci=0x1000/0x1000,actions=move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG6[0..11],pop_vlan,goto_table:60", "become those of any network"},
		"another network's provider tag": {"add-flow", "br-int", "table=0,priority=150,in_port=2,dl_vlan=78,actions=pop_vlan,set_field:78->reg6,goto_table:60", "frames of physical network physnet1 become those of network net3"},
		"unicast to another network":     {"add-flow", "br-int", "table=60,priority=150,reg6=79,dl_dst=fa:16:3e:00:00:50,actions=set_field:14->reg7,goto_table:90", "frames of network net4 (000b0000-0004-4000-8000-000000000000) go to port fa:16:3e:00:00:50 (000c0000-0050-4000-8000-000000000000) of network net5"},
		"unicast from any network":       {"add-flow", "br-int", "table=60,priority=150,dl_dst=fa:16:3e:00:00:50,actions=set_field:14->reg7,goto_table:90", "of network net5 (000b0000-0005-4000-8000-000000000000)"},
		"a bucket of another network":    {"insert-buckets", "br-int", "group_id=79,command_bucket_id=last,bucket=bucket_id:14,actions=set_field:14->reg7,resubmit(,90)", "group_id=79,bucket=bucket_id:14"},
		"learned wrongly":                {"add-flow", "br-int", "table=61,priority=10,reg6=79,dl_dst=fa:16:3e:99:99:99,actions=load:14->NXM_NX_REG7[]", "frames of network net4 (000b0000-0004-4000-8000-000000000000) go to port"},
		"learns for all networks":        {"add-flow", "br-int", "table=15,priority=150,reg5=33,actions=learn(table=61,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG5[]->NXM_NX_REG7[]),goto_table:20", "not for that network alone"},
		"straight out":                   {"add-flow", "br-int", "table=0,priority=150,in_port=13,actions=output:14", "frames of no network go to port"},
		"NORMAL":                         {"add-flow", "br-int", "table=60,priority=150,reg6=79,actions=NORMAL", "frames of network net4 (000b0000-0004-4000-8000-000000000000) go to port NORMAL"},
		"out of another's VLAN":          {"add-flow", "br-int", "table=90,priority=150,reg6=78,reg7=2,actions=push_vlan:0x8100,set_field:4174->vlan_vid,output:2", "frames of network net3 (000b0000-0003-4000-8000-000000000000) go to physical network physnet1 tagged 78"},
		"VLAN without its tag":           {"add-flow", "br-int", "table=90,priority=150,reg6=78,reg7=2,actions=output:2", "go to physical network physnet1 untagged"},
		"to br-tun under another VLAN":   {"add-flow", "br-int", "table=90,priority=150,reg6=79,reg7=1,actions=push_vlan:0x8100,set_field:4176->vlan_vid,output:1", "go to br-tun tagged 80"},
		"by conntrack":                   {"add-flow", "br-int", "table=40,priority=150,ip,actions=ct(table=60)", ""},
		"by conntrack, reached":          {"add-flow", "br-int", "table=60,priority=150,ip,actions=ct(table=90)", "none of ours"},

		"another network's key":     {"add-flow", "br-tun", "table=20,priority=150,dl_vlan=79,dl_dst=fa:16:3e:00:00:50,actions=pop_vlan,set_field:78->tun_id,set_field:172.31.0.2->tun_dst,output:4", "frames of network net4 (000b0000-0004-4000-8000-000000000000), whose segmentation_id is 77, go to the tunnels of port 4 with tun_id 78"},
		"another type of tunnel":    {"add-flow", "br-tun", "table=20,priority=150,dl_vlan=79,dl_dst=fa:16:3e:00:00:50,actions=pop_vlan,set_field:77->tun_id,set_field:172.31.0.2->tun_dst,output:5", "frames of network net4 (000b0000-0004-4000-8000-000000000000), which is vxlan, go to the tunnels of port 5"},
		"no key":                    {"add-flow", "br-tun", "table=20,priority=150,dl_vlan=79,actions=pop_vlan,output:4", "with no tun_id of ours"},
		"any network's":             {"add-flow", "br-tun", "table=20,priority=150,dl_dst=fa:16:3e:00:00:50,actions=set_field:77->tun_id,output:4", "frames of no network go to the tunnels of port 4"},
		"a key's other network":     {"add-flow", "br-tun", "table=4,priority=150,tun_id=77,actions=push_vlan:0x8100,set_field:4176->vlan_vid,output:1", "frames of network net4 (000b0000-0004-4000-8000-000000000000) become those of network net5"},
		"a key of nobody":           {"add-flow", "br-tun", "table=4,priority=150,tun_id=99,actions=push_vlan:0x8100,set_field:4176->vlan_vid,output:1", "frames of tun_id 99, which is that of no network here, become those of network net5"},
		"any key":                   {"add-flow", "br-tun", "table=4,priority=150,actions=push_vlan:0x8100,set_field:4176->vlan_vid,output:1", "frames of any tun_id come in"},
		"the table of another type": {"add-flow", "br-tun", "table=0,priority=150,in_port=4,tun_src=172.31.0.2,actions=goto_table:3", "go past br-tun 4 from_vxlan"},
		"a stranger's tunnel":       {"add-flow", "br-tun", "table=0,priority=150,in_port=4,tun_src=172.31.9.9,actions=goto_table:4", "from 172.31.9.9, which is no enrolled host's"},
		"everybody's tunnel":        {"add-flow", "br-tun", "table=0,priority=150,in_port=4,actions=goto_table:4", "from 0.0.0.0/0"},
		"another VLAN in between":   {"add-flow", "br-tun", "table=2,priority=150,dl_vlan=79,actions=set_field:4176->vlan_vid,goto_table:20", "frames of network net4 (000b0000-0004-4000-8000-000000000000) become those of network net5"},
		"a bucket of br-tun":        {"insert-buckets", "br-tun", "group_id=79,command_bucket_id=last,bucket=bucket_id:14,actions=set_field:172.31.0.2->tun_dst,output:5", "group_id=79,bucket=bucket_id:14"},
	} {
		s.ofctl(tc.command, tc.bridge, tc.arg)
		var found []string
		hit := tc.want == ""
		for _, l := range leaks() {
			text := l.Bridge.String() + ": " + l.Flow.String() + " " + l.Bucket + ": " + l.Text
			found = append(found, text)
			hit = hit || l.Bridge.String() == tc.bridge && (strings.Contains(l.Text, tc.want) || strings.HasPrefix(l.Bucket, tc.want))
		}
		if !hit || tc.want == "" && len(found) > 0 {
			t.Errorf("%s: expected %q, found:\n%s", name, tc.want, strings.Join(found, "\n"))
		}
		if !strings.HasPrefix(tc.arg, "group") {
			match, _, _ := strings.Cut(tc.arg, ",actions=")
			s.ofctl("--strict", "del-flows", tc.bridge, match)
		} else {
			s.ofctl("remove-buckets", tc.bridge, "group_id=79,command_bucket_id=14")
		}
		if left := leaks(); len(left) > 0 {
			t.Fatalf("%s: undone, and there is still %s: %s", name, left[0].Flow, left[0].Text)
		}
	}
}
