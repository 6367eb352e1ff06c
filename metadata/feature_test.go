package metadata

import (
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/flows"
)

// Four flows a host, whatever its networks.
func TestFlows(t *testing.T) {
	const want = `table=20,priority=100,tcp,nw_dst=169.254.169.254,tp_dst=80 actions=set_field:0x4->reg10,goto_table:21
table=20,priority=100,tcp6,ipv6_dst=fe80::a9fe:a9fe,tp_dst=80 actions=set_field:0x4->reg10,goto_table:21
table=30,priority=95,arp,arp_tpa=169.254.169.254,arp_op=1 actions=set_field:0x200a9fea9fe->xreg4,goto_table:31
table=30,priority=95,icmp6,icmp_type=135,nd_target=fe80::a9fe:a9fe actions=set_field:0x200a9fea9fe->xreg4,goto_table:31`
	for _, networks := range []int{0, 1, 7} {
		c := flows.NewCompiler(Feature{})
		if err := c.Compile(deployment(networks)); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(c.Plan()[flows.BrInt].String()) {
			_, line, _ = strings.Cut(line, ",")
			line, _, _ = strings.Cut(line, "  #")
			lines = append(lines, line)
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}
