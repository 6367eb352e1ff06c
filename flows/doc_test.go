package flows

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/pipeline.md anew")

const (
	pipelineDoc = "../docs/pipeline.md"
	budget      = "../test/pipeline/testdata/budget.md" // measured there
)

// docs/pipeline.md says what is declared here.
func TestPipelineDoc(t *testing.T) {
	measured, err := os.ReadFile(budget)
	if err != nil {
		t.Fatal(err)
	}
	got := pipelineText(string(measured))
	if *update {
		if err := os.WriteFile(pipelineDoc, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(pipelineDoc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/pipeline.md is stale; run go test ./flows -run TestPipelineDoc -update (-is +should be):\n%s", diff)
	}
}

func pipelineText(measured string) string {
	var s strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	p(`# The pipeline

<!-- Generated from package flows: go test ./flows -run TestPipelineDoc -update -->

What the flows of a host mean. The switch knows the tables' names:

    ovs-ofctl -O OpenFlow15 --names dump-flows br-int

Each flow's cookie says what it is there for. It is emitted by one owner, a package of the program.`)
	for _, b := range Bridges {
		p("\n## %s\n", b)
		p("| Table | Name | Does | Owners |\n|---|---|---|---|")
		for _, t := range Pipeline() {
			if t.Bridge == b {
				owners := make([]string, len(t.Owners))
				for i, o := range t.Owners {
					owners[i] = o.String()
				}
				if t.Learned {
					owners = append(owners, "the switch itself")
				}
				p("| %d | %s | %s | %s |", t.Number, t.Name, t.Purpose, strings.Join(owners, ", "))
			}
		}
	}
	for _, t := range Pipeline() {
		if t.Prefixes != nil {
			p("\nIn %s the switch looks up %s by prefix (Flow_Table.prefixes): one megaflow serves many sources.", t, strings.Join(t.Prefixes, " and "))
		}
	}
	p("\nA packet moves to higher numbers only. Exceptions:\n")
	for _, l := range loops {
		p("- from %s to %s", l.from, l.to)
	}
	p(`
## Register fields

On br-int; br-tun has none, since only the frame with its local VLAN tag crosses the patch port. "Live"
is from the first table that may write the field to the last that may read it; no two live fields share
a bit.

| Name | Field | Bits | Live | Holds |
|---|---|---|---|---|`)
	byLife := slices.Clone(Registers())
	slices.SortStableFunc(byLife, func(a, b *Reg) int { return int(a.First.Number) - int(b.First.Number) })
	for _, r := range byLife {
		p("| %s | %s | %d | %d–%d | %s |", r.Name, r.Field, r.Bits, r.First.Number, r.Last.Number, r.Purpose)
	}
	p(`
Groups, on both bridges: the id of a network's flood set is its local VLAN; 0x2000 | local VLAN is that
of the set which unicast to an unknown MAC reaches, where a port has no port security. Beyond %d members
a set's buckets are groups with the id part<<16 | the set's. Bucket ids are port keys on br-int and
tunnel addresses on br-tun: an IPv4 address as a number; an IPv6 address as 32 bits of its hash or, if
those are above 0xffffff00 or a lower address of the set has them, the next number. Meters: on br-int the id is
the port's key; on br-tun 1 limits the probes of other hosts and 2 those that came back.

## Cookies

    bits 63–56 owner   55–48 kind of object   47–0 the first 48 bits of the object's UUID

so that the flows of port a1b2c3d4-e5f6-… carry 0x….a1b2c3d4e5f6. A cookie says why a flow is there;
nothing is selected by it.
`, maxBuckets)
	p("- Owners: %s", numbered(ownerNames))
	p("- Kinds: %s", numbered(kindNames))
	p(`
## Punts

Table %d names the operation in REG_OP, table %d has one flow per VIF: its meter (%d packets/s, burst
%d), then the controller with 8 bytes of userdata: the port's key and its generation, 32 bits each,
most significant byte first. A VIF that took over a port number has another generation.

| REG_OP | Name | Answered by | What |
|---|---|---|---|`, PuntSelect.Number, PuntMeter.Number, PuntRate, PuntBurst)
	for _, o := range operations {
		p("| %d | %s | %s | %s |", uint32(o.Op), o.Op, o.Owner, o.Purpose)
	}
	p("\n## Flow budget\n\nMeasured by the tests, all owners together. Limits: 10 per local port, 2 per remote port (3 where a port\nof its network here has no port security), with one MAC and one IPv4 address.\n\n%s", strings.TrimSuffix(measured, "\n"))
	return s.String()
}

// numbered lists names by number.
func numbered[N ~uint8](names map[N]string) string {
	var list []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		list = append(list, fmt.Sprintf("%d %s", n, names[n]))
	}
	return strings.Join(list, ", ")
}
