package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// holding is what the bridges of a host hold that has been sent all that is wanted.
func holding(t testing.TB, c *flows.Compiler) (in [len(flows.Bridges)]flows.Installed) {
	t.Helper()
	for i, p := range c.Plan() {
		s := newModelSwitch()
		if err := s.carry(&p); err != nil {
			t.Fatal(err)
		}
		in[i] = s.dump()
	}
	return in
}

// However many networks there are, each way of mixing two of them up is found, as one of these two, and told with
// the names of both; and what is for all networks is told of in a few words.
func TestIsolationAtEverySize(t *testing.T) {
	for _, networks := range []int{3, 1000} {
		t.Run(fmt.Sprint(networks, " networks"), func(t *testing.T) {
			top := crowded(model.TypeVXLAN, networks, 2, 1)
			for _, n := range []int{networks - 2, networks - 1} { // something is learned in the last two
				top.ports[3*n].PortSecurityEnabled = false
			}
			v := top.view(top.hosts[0])
			in := holding(t, compile(t, v, features()...))
			for _, b := range flows.Bridges {
				for _, l := range flows.Isolation(v, b, in[b]) {
					t.Fatalf("before anything was done: %s: %s: %s", b, l.Flow, l.Text)
				}
			}
			a, b := v.Networks[networks-2], v.Networks[networks-1]
			words := strings.NewReplacer(
				"{A}", fmt.Sprint(a.LocalVLAN), "{A.port}", fmt.Sprint(a.Local[1].OFPort), "{A.mac}", a.Local[1].MACAddress.String(), "{A.tag}", fmt.Sprint(openflow.VIDPresent|uint32(a.LocalVLAN)), "{A.key}", fmt.Sprint(a.Segment.SegmentationID),
				"{B}", fmt.Sprint(b.LocalVLAN), "{B.port}", fmt.Sprint(b.Local[1].OFPort), "{B.mac}", b.Local[1].MACAddress.String(), "{B.tag}", fmt.Sprint(openflow.VIDPresent|uint32(b.LocalVLAN)), "{B.key}", fmt.Sprint(b.Segment.SegmentationID),
				"{network A}", fmt.Sprintf("network %s (%s)", a.Name, a.ID), "{network B}", fmt.Sprintf("network %s (%s)", b.Name, b.ID),
				"{port A}", fmt.Sprintf("port %s (%s) of network %s (%s)", a.Local[1].MACAddress, a.Local[1].ID, a.Name, a.ID), "{port B}", fmt.Sprintf("port %s (%s) of network %s (%s)", b.Local[1].MACAddress, b.Local[1].ID, b.Name, b.ID),
			)
			for _, tc := range []struct {
				bridge     flows.Bridge
				what, does string // a flow, or actions for a new bucket of A's flood set
				want       string // what is said of it
			}{
				{flows.BrInt, "REG_NET after classify", "table=20,priority=150,reg5={A.port},actions=set_field:{B}->reg6,goto_table:60", "REG_NET of frames of {network A} is written"},
				{flows.BrInt, "a part of REG_NET, in every network", "table=60,priority=150,actions=load:1->NXM_NX_REG6[0..2],goto_table:90", "REG_NET of frames of "},
				{flows.BrInt, "a port in another network", "table=0,priority=150,in_port={A.port},vlan_tci=0/0x1fff,actions=set_field:{A.port}->reg5,set_field:{B}->reg6,goto_table:10", "frames of {port A} become those of {network B}"},
				{flows.BrInt, "taken for another's", "table=0,priority=150,in_port={A.port},vlan_tci=0/0x1fff,actions=set_field:{B.port}->reg5,set_field:{A}->reg6,goto_table:10", "frames of {network A} are taken for those of {port B}"},
				{flows.BrInt, "REG_PORT after classify", "table=20,priority=150,reg6={A},actions=set_field:{B.port}->reg5,goto_table:60", "REG_PORT of frames of {network A} is written"},
				{flows.BrInt, "classified again", "table=0,priority=150,in_port={A.port},vlan_tci=0/0x1fff,actions=set_field:{A}->reg6,resubmit(,0)", "frames of {network A} are classified once more"},
				{flows.BrInt, "back to classify", "table=60,priority=150,reg6={A},actions=resubmit(,0)", "frames of {network A} are classified once more"},
				{flows.BrInt, "as if from elsewhere", "table=60,priority=150,reg6={A},actions=resubmit({B.port},60)", "frames of {network A} go on as those of {port B}"},
				{flows.BrInt, "unicast to another network", "table=60,priority=150,reg6={A},dl_dst={B.mac},actions=set_field:{B.port}->reg7,goto_table:90", "frames of {network A} go to {port B}"},
				{flows.BrInt, "unicast from every network", "table=60,priority=150,dl_dst={B.mac},actions=set_field:{B.port}->reg7,goto_table:90", " go to {port B}"},
				{flows.BrInt, "straight out", "table=60,priority=150,reg6={A},actions=output:{B.port}", "frames of {network A} go to {port B}"},
				{flows.BrInt, "out of classify", "table=0,priority=150,in_port={A.port},actions=output:{B.port}", "frames of no network go to {port B}"},
				{flows.BrInt, "an output of another network", "table=90,priority=150,reg6={A},reg7={A.port},actions=output:{B.port}", "frames of {network A} go to {port B}"},
				{flows.BrInt, "an output of what has none", "table=90,priority=150,reg6={A},reg7=0,actions=output:{B.port}", "frames of {network A} go to {port B}"},
				{flows.BrInt, "from where nothing is sent", "table=62,priority=150,reg6={A},actions=output:NXM_NX_REG7[0..15]", "frames of {network A} go to a port that REG_OUT says"},
				{flows.BrInt, "the network for a port", "table=90,priority=150,reg6={A},actions=output:NXM_NX_REG6[0..15]", "frames of {network A} go to a port that NXM_NX_REG6[0..15] says"},
				{flows.BrInt, "the tap", "table=85,priority=150,actions=output:{B.port}", " go to {port B}"},
				{flows.BrInt, "a bucket", "set_field:{B.port}->reg7,resubmit(,90)", "frames of {network A} go to {port B}"},
				{flows.BrInt, "another's group", "table=65,priority=150,reg6={A},actions=group:{B}", "frames of {network A} go to port "},
				{flows.BrInt, "a learned flow", "table=61,priority=10,reg6={A},dl_dst=fa:16:3e:99:99:99,actions=load:{B.port}->NXM_NX_REG7[]", "frames of {network A} go to {port B}"},
				{flows.BrInt, "learns for all", "table=15,priority=150,reg5={A.port},actions=learn(table=61,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG5[]->NXM_NX_REG7[]),goto_table:20", "not for that network alone"},
				{flows.BrInt, "to br-tun under another VLAN", "table=90,priority=150,reg6={A},reg7=1,actions=push_vlan:0x8100,set_field:{B.tag}->vlan_vid,output:1", "frames of {network A} go to br-tun tagged {B}"},
				{flows.BrInt, "a tag before it is sent", "table=60,priority=150,reg6={A},actions=push_vlan:0x8100,set_field:{B.tag}->vlan_vid,goto_table:90", "frames of {network A} go on to table 90 tagged {B}"},
				{flows.BrInt, "… in every network", "table=60,priority=150,actions=set_field:{B.tag}->vlan_vid,goto_table:90", "go on to table 90 tagged {B}"},
				{flows.BrInt, "a tag as a whole", "table=90,priority=150,reg6={A},reg7=1,actions=load:{B.tag}->NXM_OF_VLAN_TCI[],output:1", "frames of {network A} go to br-tun tagged {B}"},

				{flows.BrTun, "another's key", "table=20,priority=150,dl_vlan={A},dl_dst={B.mac},actions=pop_vlan,set_field:{B.key}->tun_id,set_field:172.31.0.2->tun_dst,output:4", "with tun_id {B.key}, that of {network B}"},
				{flows.BrTun, "a key's other network", "table=4,priority=150,tun_id={A.key},actions=push_vlan:0x8100,set_field:{B.tag}->vlan_vid,output:1", "frames of {network A} become those of {network B}"},
				{flows.BrTun, "… by its tag as a whole", "table=4,priority=150,tun_id={A.key},actions=load:{B.tag}->NXM_OF_VLAN_TCI[],output:1", "frames of {network A} become those of {network B}"},
				{flows.BrTun, "a key of nobody", "table=4,priority=150,tun_id=0xfffff,actions=push_vlan:0x8100,set_field:{B.tag}->vlan_vid,output:1", "frames of tun_id 1048575, which is that of no network here, become those of {network B}"},
				{flows.BrTun, "every frame becomes another's", "table=2,priority=150,actions=set_field:{B.tag}->vlan_vid,goto_table:20", "frames of no network become those of {network B}"},
				{flows.BrTun, "as if from a tunnel", "table=2,priority=150,dl_vlan={A},actions=set_field:{B.key}->tun_id,resubmit(,4)", "frames of {network A} go to table 4, as if a tunnel had brought them"},
				{flows.BrTun, "a table of nobody", "table=50,priority=150,dl_vlan={A},actions=pop_vlan,set_field:{B.key}->tun_id,output:4", "with tun_id {B.key}, that of {network B}"},
				{flows.BrTun, "a bucket", "set_field:{B.key}->tun_id,output:4", "with tun_id {B.key}, that of {network B}"},
			} {
				wrong := in[tc.bridge]
				wrong.Flows, wrong.Groups = slices.Clone(wrong.Flows), slices.Clone(wrong.Groups)
				does := words.Replace(tc.does)
				if strings.HasPrefix(does, "table=") {
					f, err := openflow.ParseFlowText(does)
					if err != nil || len(f.Unknown) > 0 {
						t.Fatalf("%s: %s: error %v, not known: %q", tc.what, does, err, f.Unknown)
					}
					wrong.Flows = append(wrong.Flows, f.FlowStats)
				} else {
					f, err := openflow.ParseFlowText("actions=" + does)
					if err != nil || len(f.Unknown) > 0 {
						t.Fatalf("%s: %s: error %v, not known: %q", tc.what, does, err, f.Unknown)
					}
					i := slices.IndexFunc(wrong.Groups, func(g openflow.GroupDesc) bool { return g.ID == uint32(a.LocalVLAN) })
					g := &wrong.Groups[i]
					g.Buckets = append(slices.Clone(g.Buckets), openflow.Bucket{ID: 9999, Actions: openflow.MustActions(slices.Collect(f.Instructions.Applied().All())...)})
				}
				leaks := flows.Isolation(v, tc.bridge, wrong)
				want := words.Replace(tc.want)
				if !slices.ContainsFunc(leaks, func(l flows.Leak) bool { return strings.Contains(l.Text, want) }) {
					t.Errorf("%s %s: expected %q, found %d:", tc.bridge, tc.what, want, len(leaks))
					for _, l := range leaks[:min(len(leaks), 10)] {
						t.Errorf("    %s: %s (and %d more)", l.Flow, l.Text, l.More)
					}
				}
				if len(leaks) > 8 {
					t.Errorf("%s %s: is told of with %d leaks", tc.bridge, tc.what, len(leaks))
				}
				if every := strings.HasPrefix(want, " go to"); every {
					more := 0
					for _, l := range leaks {
						more += 1 + l.More
					}
					if more < networks-1 {
						t.Errorf("%s %s: %d leaks are counted for %d networks", tc.bridge, tc.what, more, networks)
					}
				}
			}
		})
	}
}
