package probe

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tunbridge/tunbridge/flows"
)

func compiled(t *testing.T, v *flows.View) string {
	t.Helper()
	c := flows.NewCompiler(Feature{})
	if err := c.Compile(v); err != nil {
		t.Fatal(err)
	}
	for _, b := range flows.Bridges {
		for f := range c.Wanted(b) {
			if err := flows.Verify(flows.TableOf(b, f.Table), f); err != nil {
				t.Error(err)
			}
		}
	}
	var lines []string
	for line := range strings.Lines(c.Plan()[flows.BrTun].String()) {
		line, _, _ = strings.Cut(strings.TrimPrefix(line, "br-tun: + "), "  # ")
		if strings.HasPrefix(line, "cookie=") {
			_, line, _ = strings.Cut(line, ",")
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

func TestFlows(t *testing.T) {
	v := &flows.View{Host: hostN(1), Ports: flows.BridgePorts{PatchInt: 1, VXLAN: 4}}
	want := `meter=1,pktps,burst,rate=1000,burst_size=1000
meter=2,pktps,burst,rate=100,burst_size=100
table=4,priority=100,tun_id=0,dl_dst=02:74:62:00:00:01,dl_type=0x88b5 actions=meter:1,set_field:02:74:62:00:00:02->eth_dst,move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],IN_PORT
table=4,priority=100,tun_id=0,dl_dst=02:74:62:00:00:02,dl_type=0x88b5 actions=meter:2,controller(userdata=70.72.6f.62.65)`
	if diff := cmp.Diff(want, compiled(t, v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	v.Host.EncapIP = netip.MustParseAddr("2001:db8::1")
	v.Ports = flows.BridgePorts{PatchInt: 1, GRE: 5, Geneve: 6}
	got := compiled(t, v)
	for _, s := range []string{"table=3,", "table=6,", "move:NXM_NX_TUN_IPV6_SRC[]->NXM_NX_TUN_IPV6_DST[]"} {
		if n := strings.Count(got, s); n != 2 {
			t.Errorf("%d times %q in\n%s", n, s, got)
		}
	}
}
