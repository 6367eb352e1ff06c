package flows

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tunbridge/tunbridge/flows/openflow"
)

// text is a plan's messages in words, in the order in which they are sent.
func text(b *BridgePlan) string {
	var s strings.Builder
	before, bundle, after := b.Messages()
	for i, messages := range [][]openflow.Message{before, bundle, after} {
		for _, m := range messages {
			fmt.Fprintf(&s, "%s ", []string{"before", "bundle", "after"}[i])
			switch m := m.(type) {
			case *openflow.FlowMod:
				fmt.Fprintf(&s, "flow %s table %d priority %d %s\n", m.Command, m.Table, m.Priority, m.Instructions)
			case *openflow.GroupMod:
				fmt.Fprintf(&s, "group %d %s", m.ID, []string{"add", "modify", "delete", "insert", "", "remove"}[m.Command])
				for _, k := range m.Buckets {
					fmt.Fprintf(&s, " %d:%s", k.ID, k.Actions)
				}
				if m.Command == openflow.GroupRemoveBuckets {
					fmt.Fprintf(&s, " %d", m.CommandBucketID)
				}
				s.WriteByte('\n')
			case *openflow.MeterMod:
				fmt.Fprintf(&s, "meter %d %s %v\n", m.ID, []string{"add", "modify", "delete"}[m.Command], m.Bands)
			}
		}
	}
	return s.String()
}

// A group and a meter outlive the flows that use them, at both ends.
func TestPlanOrder(t *testing.T) {
	wanted := func(e *Emitter) {}
	c := NewCompiler(&stub{OwnerL2, func(v *View, e *Emitter) { wanted(e) }})
	step := func(name string, emit func(e *Emitter), want string) {
		t.Helper()
		wanted = emit
		if err := c.Compile(testView); err != nil {
			t.Fatal(err)
		}
		p := c.Plan()
		if diff := cmp.Diff(want, text(&p[BrInt])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		c.Committed(&p[BrInt])
		if again := c.Plan(); !again.Empty() {
			t.Errorf("%s: still to do:\n%s", name, again)
		}
	}
	out := func(port uint32) openflow.Actions {
		return openflow.MustActions(openflow.Output{Port: port})
	}
	step("all new", func(e *Emitter) {
		e.Meter(BrInt, Meter{ID: 5, Rate: 100, Burst: 100})
		e.Flow(PuntMeter, 100, "", openflow.Apply(openflow.Meter{ID: 5}, openflow.Controller{}), "x")
		e.Group(BrInt, 1)
		e.Bucket(BrInt, 1, 10, out(10))
		e.Bucket(BrInt, 1, 11, out(11))
		e.Flow(L2Flood, 100, "", openflow.Apply(openflow.Group{ID: 1}), "x")
	}, `before meter 5 add [{1 100 100 0}]
bundle group 1 add
bundle group 1 insert 10:output:10 11:output:11
bundle flow ADD table 21 priority 100 actions=meter:5,CONTROLLER:65535
bundle flow ADD table 65 priority 100 actions=group:1
`)
	step("changes", func(e *Emitter) {
		e.Meter(BrInt, Meter{ID: 5, Rate: 200, Burst: 100})
		e.Flow(PuntMeter, 100, "", openflow.Apply(openflow.Meter{ID: 5}), "x")
		e.Group(BrInt, 1)
		e.Bucket(BrInt, 1, 10, out(99))
		e.Bucket(BrInt, 1, 12, out(12))
		e.Flow(L2Flood, 100, "", openflow.Apply(openflow.Group{ID: 1}), "x")
	}, `before meter 5 modify [{1 200 100 0}]
bundle group 1 remove 10
bundle group 1 insert 10:output:99 12:output:12
bundle flow ADD table 21 priority 100 actions=meter:5
bundle group 1 remove 11
`)
	step("all gone", func(e *Emitter) {}, `bundle flow DEL_STRICT table 21 priority 100 actions=drop
bundle flow DEL_STRICT table 65 priority 100 actions=drop
bundle group 1 delete
after meter 5 delete []
`)
}

// What a dump holds beside what is wanted is undone, whoever it was; what is wanted stays untouched.
func TestPlanAfterDump(t *testing.T) {
	c := NewCompiler(&stub{OwnerL2, func(v *View, e *Emitter) {
		e.Group(BrInt, 1)
		e.Group(BrInt, 2)
		e.Bucket(BrInt, 1, 10, "")
		e.Flow(L2, 0, "", openflow.Drop, "x")
		e.Flow(L2Flood, 0, "", openflow.Drop, "x")
	}})
	if err := c.Compile(testView); err != nil {
		t.Fatal(err)
	}
	ours := Object{KindHost, HostID(testView.Host.ID)}.Cookie(OwnerL2)
	c.Load(BrInt, Installed{
		Flows: []openflow.FlowStats{
			{Table: L2.Number, Cookie: ours},
			{Table: L2Flood.Number, Cookie: 0xbad},
			{Table: 77, Priority: 7},
		},
		Groups: []openflow.GroupDesc{
			{ID: 1, Type: openflow.GroupTypeAll, Buckets: []openflow.Bucket{{ID: 10}, {ID: 11}}},
			{ID: 2, Type: openflow.GroupTypeSelect},
			{ID: 3, Type: openflow.GroupTypeAll, Buckets: []openflow.Bucket{{ID: 1}}},
		},
		Meters: []openflow.MeterConfig{{ID: 9, Flags: openflow.MeterKbps, Bands: []openflow.MeterBand{{Rate: 1}}}},
	})
	p := c.Plan()
	want := `bundle group 2 delete
bundle group 2 add
bundle flow ADD table 65 priority 0 actions=drop
bundle flow DEL_STRICT table 77 priority 7 actions=drop
bundle group 1 remove 11
bundle group 3 delete
after meter 9 delete []
`
	if diff := cmp.Diff(want, text(&p[BrInt])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !p[BrTun].Empty() {
		t.Errorf("br-tun: %s", p[BrTun].String())
	}
}

// Split's parts hold all of a plan, and nothing is away between them that is wanted.
func TestPlanSplit(t *testing.T) {
	b := &BridgePlan{
		AddGroups: []*Group{{ID: 1}}, DeleteGroups: []*Group{{ID: 1}, {ID: 2}},
		AddBuckets: []*Bucket{{Group: 3, ID: 1}}, DeleteBuckets: []*Bucket{{Group: 3, ID: 1}, {Group: 3, ID: 2}},
		AddFlows: []*Flow{{Key: Key{Table: 1}}}, DeleteFlows: []*Flow{{Key: Key{Table: 2}}},
		AddMeters: []*Meter{{ID: 1}}, DeleteMeters: []*Meter{{ID: 2}},
	}
	appears, goes := b.Split()
	if want := "before meter 1 add [{1 0 0 0}]\nbundle group 1 delete\nbundle group 1 add\nbundle group 3 remove 1\nbundle group 3 insert 1:drop\nbundle flow ADD table 1 priority 0 actions=drop\n"; text(&appears) != want {
		t.Errorf("appears:\n%s", text(&appears))
	}
	if want := "bundle flow DEL_STRICT table 2 priority 0 actions=drop\nbundle group 3 remove 2\nbundle group 2 delete\nafter meter 2 delete []\n"; text(&goes) != want {
		t.Errorf("goes:\n%s", text(&goes))
	}
}
