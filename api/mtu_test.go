package api

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/store"
)

// TestMTU has a network of each type over underlays of several kinds.
func TestMTU(t *testing.T) {
	types := [][3]string{{"vxlan"}, {"geneve"}, {"gre"}, {"local"}, {"flat", "physnet1"}, {"vlan", "physnet1"}, {"vlan", "physnet2", "7"}}
	for _, c := range []struct {
		mtus MTUs
		want [7]int
	}{
		{MTUs{}, [7]int{1450, 1450, 1458, 1500, 1500, 1500, 1500}},
		{MTUs{Underlay: 9000}, [7]int{8950, 8950, 8958, 9000, 9000, 9000, 9000}},
		{MTUs{UnderlayIPv6: true}, [7]int{1430, 1430, 1438, 1500, 1500, 1500, 1500}},
		{MTUs{Underlay: 9000, Physical: map[string]int{"physnet1": 1600}}, [7]int{8950, 8950, 8958, 9000, 1600, 1600, 9000}},
	} {
		b := newBench(t, everyType, func(o *Options) { o.MTUs = c.mtus })
		for i, s := range types {
			body := segmentBody(s[0], s[1], s[2])
			n := b.must("POST", "/v2.0/networks", body, "network")
			if fmt.Sprint(n["mtu"]) != fmt.Sprint(c.want[i]) {
				t.Errorf("%+v: %s: mtu %v, not %d", c.mtus, body, n["mtu"], c.want[i])
			}
			path := "/v2.0/networks/" + n["id"].(string)
			tooBig := fmt.Sprintf("Invalid input for operation: mtu '%d': Requested MTU is too big, maximum is %d.", c.want[i]+1, c.want[i])
			b.refused("PUT", path, fmt.Sprintf(`{"network":{"mtu":%d}}`, c.want[i]+1), 400, "InvalidInput", tooBig)
			b.refused("POST", "/v2.0/networks", fmt.Sprintf(`{"network":{"provider:network_type":"local","mtu":%d}}`, c.want[3]+1), 400, "InvalidInput",
				fmt.Sprintf("Invalid input for operation: mtu '%d': Requested MTU is too big, maximum is %d.", c.want[3]+1, c.want[3]))
			b.must("PUT", path, `{"network":{"mtu":1000}}`, "network")
			if n := b.must("PUT", path, `{"network":{"mtu":0}}`, "network"); fmt.Sprint(n["mtu"]) != fmt.Sprint(c.want[i]) {
				t.Errorf("%s: mtu 0 is %v", body, n["mtu"])
			}
		}
	}
}

// TestMTULimits keeps the MTU of a network at what its subnets need.
func TestMTULimits(t *testing.T) {
	b := newBench(t)
	n := b.network()
	b.must("PUT", "/v2.0/networks/"+n, `{"network":{"mtu":1279}}`, "network")
	out := b.send("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":6,"cidr":"fd00::/64"}}`, n))
	if out.status != 409 || !strings.Contains(out.text, "NetworkMTUSubnetConflict") {
		t.Errorf("an IPv6 subnet on an MTU of 1279: %d %s", out.status, out.text)
	}
	b.must("PUT", "/v2.0/networks/"+n, `{"network":{"mtu":1280}}`, "network")
	b.subnet(n, "fd00::/64", "")
	b.refused("PUT", "/v2.0/networks/"+n, `{"network":{"mtu":1279}}`, 409, "NetworkMTUSubnetConflict", "MTU of "+n+" is not valid, subnet requires a minimum of 1280")
}

// TestMTUStays starts a server with another underlay on the same store: networks keep what they have
// until mtu is set, and those that have too much are named.
func TestMTUStays(t *testing.T) {
	st := store.OpenMemory()
	defer st.Close()
	var log strings.Builder
	start := func(underlay int) *bench {
		log.Reset()
		return &bench{t, New(Options{Store: st, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), MTUs: MTUs{Underlay: underlay}}), st}
	}
	b := start(9000)
	n := b.network()
	b.must("POST", "/v2.0/networks", `{"network":{"mtu":1400}}`, "network")
	path := "/v2.0/networks/" + n
	b = start(1500)
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), n) || !strings.Contains(log.String(), "largest=1450") {
		t.Errorf("logged at start: %s", log.String())
	}
	if got := b.must("PUT", path, `{"network":{"name":"renamed"}}`, "network"); fmt.Sprint(got["mtu"]) != "8950" {
		t.Errorf("after a change of the underlay: mtu %v", got["mtu"])
	}
	b.refused("PUT", path, `{"network":{"mtu":8950}}`, 400, "InvalidInput", "Invalid input for operation: mtu '8950': Requested MTU is too big, maximum is 1450.")
	if got := b.must("PUT", path, `{"network":{"mtu":0}}`, "network"); fmt.Sprint(got["mtu"]) != "1450" {
		t.Errorf("mtu 0: %v", got["mtu"])
	}
	if start(1500); log.Len() > 0 {
		t.Errorf("logged at start: %s", log.String())
	}
}

func TestPhysicalMTUText(t *testing.T) {
	var p PhysicalMTU
	if err := p.UnmarshalText([]byte("physnet1:9000")); err != nil || p != (PhysicalMTU{"physnet1", 9000}) {
		t.Errorf("%v %v", p, err)
	}
	for _, text := range []string{"", "physnet1", "physnet1:", ":9000", "physnet1:67", "physnet1:x", "physnet1:1:2"} {
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for an MTU", text)
		}
	}
}
