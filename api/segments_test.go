package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

func vlanRanges(texts ...string) []ipam.VLANRange {
	ranges := make([]ipam.VLANRange, len(texts))
	for i, text := range texts {
		if err := ranges[i].UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
	}
	return ranges
}

// everyType allows networks of every type.
func everyType(o *Options) {
	o.Segments.Flat = []string{"physnet1"}
	o.Segments.VLAN = vlanRanges("physnet1:100:101", "physnet2")
}

// segmentBody asks for a segment; an empty part is left out.
func segmentBody(networkType, physicalNetwork, id string) string {
	var parts []string
	if networkType != "" {
		parts = append(parts, `"provider:network_type":"`+networkType+`"`)
	}
	if physicalNetwork != "" {
		parts = append(parts, `"provider:physical_network":"`+physicalNetwork+`"`)
	}
	if id != "" {
		parts = append(parts, `"provider:segmentation_id":`+id)
	}
	return `{"network":{` + strings.Join(parts, ",") + `}}`
}

// provider is a network's segment as the API shows it.
func provider(n map[string]any) string {
	return fmt.Sprint(n["provider:network_type"], " ", n["provider:physical_network"], " ", n["provider:segmentation_id"])
}

// TestSegments makes a network of every type, and sees that each has what was asked for.
func TestSegments(t *testing.T) {
	b := newBench(t, everyType)
	for _, c := range [][4]string{
		{"local", "", "", "local <nil> <nil>"},
		{"local", "", "", "local <nil> <nil>"}, // there may be many
		{"local", "", "null", "local <nil> <nil>"},
		{"flat", "physnet1", "", "flat physnet1 <nil>"},
		{"vlan", "physnet1", "1", "vlan physnet1 1"},
		{"vlan", "physnet1", "4094", "vlan physnet1 4094"},
		{"vlan", "physnet2", "1", "vlan physnet2 1"},
		{"vxlan", "", "1", "vxlan <nil> 1"},
		{"vxlan", "", "16777215", "vxlan <nil> 16777215"},
		{"geneve", "", "1", "geneve <nil> 1"},
		{"geneve", "", "16777215", "geneve <nil> 16777215"},
		{"gre", "", "1", "gre <nil> 1"},
		{"gre", "", "4294967295", "gre <nil> 4294967295"},
	} {
		body := segmentBody(c[0], c[1], c[2])
		n := b.must("POST", "/v2.0/networks", body, "network")
		if got := provider(n); got != c[3] {
			t.Errorf("%s: %s", body, got)
		}
		if got := provider(b.must("GET", "/v2.0/networks/"+n["id"].(string), "", "network")); got != c[3] {
			t.Errorf("%s, read again: %s", body, got)
		}
	}
	for _, networkType := range []string{"vxlan", "gre", "geneve"} {
		n := b.must("POST", "/v2.0/networks", segmentBody(networkType, "", ""), "network")
		id, err := n["provider:segmentation_id"].(json.Number).Int64()
		if err != nil || id < 2 || id > 1<<20-1 || n["provider:network_type"] != networkType {
			t.Errorf("a chosen segment: %s", provider(n))
		}
	}
	for networkType, want := range map[string]int{"vlan": 3, "flat": 1, "local": 3} {
		if all := b.send("GET", "/v2.0/networks?provider:network_type="+networkType, "").body["networks"].([]any); len(all) != want {
			t.Errorf("%d networks of type %s, not %d", len(all), networkType, want)
		}
	}
}

func TestSegmentRefusals(t *testing.T) {
	b := newBench(t, everyType)
	b.must("POST", "/v2.0/networks", segmentBody("flat", "physnet1", ""), "network")
	b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "5"), "network")
	for _, networkType := range []string{"vxlan", "gre", "geneve"} {
		b.must("POST", "/v2.0/networks", segmentBody(networkType, "", "5"), "network")
		b.refused("POST", "/v2.0/networks", segmentBody(networkType, "", "5"), 409, "TunnelIdInUse", "Unable to create the network. The tunnel ID 5 is in use.")
	}
	b.refused("POST", "/v2.0/networks", segmentBody("flat", "physnet1", ""), 409, "FlatNetworkInUse", "Unable to create the flat network. Physical network physnet1 is in use.")
	b.refused("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "5"), 409, "VlanIdInUse", "Unable to create the network. The VLAN 5 on physical network physnet1 is in use.")
	b.refused("POST", "/v2.0/networks", segmentBody("vlan", "physnet2", ""), 503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.")
	for _, c := range [][4]string{
		{"", "", "5", "network_type required"},
		{"", "physnet1", "", "network_type required"},
		{"", "", "0", "network_type required"},
		{"bogus", "", "", "network_type value 'bogus' not supported"},
		{"local", "physnet1", "", "physical_network prohibited for local provider network"},
		{"local", "", "5", "segmentation_id prohibited for local provider network"},
		{"flat", "", "", "physical_network required for flat provider network"},
		{"flat", "physnet9", "", "physical_network 'physnet9' unknown for flat provider network"},
		{"flat", "physnet1", "5", "segmentation_id prohibited for flat provider network"},
		{"vlan", "physnet9", "5", "physical_network 'physnet9' unknown for VLAN provider network"},
		{"vlan", "", "5", "segmentation_id requires physical_network for VLAN provider network"},
		{"vlan", "physnet1", "0", "segmentation_id 0 out of range (1 through 4094)"},
		{"vlan", "physnet1", "4095", "segmentation_id 4095 out of range (1 through 4094)"},
		{"vxlan", "physnet1", "5", "provider:physical_network specified for vxlan network"},
		{"gre", "physnet1", "", "provider:physical_network specified for gre network"},
		{"geneve", "physnet1", "", "provider:physical_network specified for geneve network"},
		{"vxlan", "", "0", "segmentation_id 0 out of range (1 through 16777215)"},
		{"vxlan", "", "16777216", "segmentation_id 16777216 out of range (1 through 16777215)"},
		{"geneve", "", "16777216", "segmentation_id 16777216 out of range (1 through 16777215)"},
		{"gre", "", "0", "segmentation_id 0 out of range (1 through 4294967295)"},
	} {
		b.refused("POST", "/v2.0/networks", segmentBody(c[0], c[1], c[2]), 400, "InvalidInput", "Invalid input for operation: "+c[3]+".")
	}
	for id, reason := range map[string]string{"4294967296": "'4294967296' is too large", "-1": "'-1' should be non-negative", `"x"`: "'x' is not an integer"} {
		out := b.send("POST", "/v2.0/networks", segmentBody("gre", "", id))
		if out.status != 400 || !strings.Contains(out.text, reason) {
			t.Errorf("segmentation id %s: %d %s", id, out.status, out.text)
		}
	}
}

// TestSegmentList asks for segments in the list of networks that have several.
func TestSegmentList(t *testing.T) {
	b := newBench(t, everyType)
	post := func(segments string) string { return `{"network":{"segments":` + segments + `}}` }
	for _, c := range [][2]string{
		{`[{"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":7}]`, "vlan physnet1 7"},
		{`[{"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":0}]`, "vlan physnet1 10"}, // 100 or 101
		{`[{"provider:network_type":"flat","provider:physical_network":"physnet1","provider:segmentation_id":0}]`, "flat physnet1 <nil>"},
		{`[{"provider:network_type":"geneve","provider:physical_network":"","provider:segmentation_id":9}]`, "geneve <nil> 9"},
		{`[{"provider:network_type":"gre","provider:physical_network":null,"provider:segmentation_id":"4294967295"}]`, "gre <nil> 4294967295"},
		{`[{"provider:network_type":"local"}]`, "local <nil> <nil>"},
	} {
		n := b.must("POST", "/v2.0/networks", post(c[0]), "network")
		if got := provider(n); !strings.HasPrefix(got, c[1]) || n["segments"] != nil {
			t.Errorf("%s: %s, segments %v", c[0], got, n["segments"])
		}
		if got := provider(b.must("GET", "/v2.0/networks/"+n["id"].(string), "", "network")); got != provider(n) {
			t.Errorf("%s, read again: %s", c[0], got)
		}
	}
	for _, none := range []string{"[]", "null"} {
		if n := b.must("POST", "/v2.0/networks", post(none), "network"); n["provider:network_type"] != "vxlan" {
			t.Errorf("%s: %s", none, provider(n))
		}
	}
	both := `{"network":{"segments":[{"provider:network_type":"vxlan"}],"provider:network_type":"vxlan"}}`
	b.refused("POST", "/v2.0/networks", both, 400, "SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set.")
	b.refused("POST", "/v2.0/networks", post(`[{"provider:physical_network":"physnet1"}]`), 400, "InvalidInput", "Invalid input for operation: network_type required.")
	b.refused("POST", "/v2.0/networks", post(`[{"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":7}]`), 409, "VlanIdInUse",
		"Unable to create the network. The VLAN 7 on physical network physnet1 is in use.")
	b.refused("POST", "/v2.0/networks", post(`[{"colour":"blue"}]`), 400, "HTTPBadRequest", "Invalid input for segments. Reason: Unrecognized attribute(s) 'colour'.")
	for segments, reason := range map[string]string{
		`[{"provider:network_type":"vxlan"},{"provider:network_type":"vlan"}]`: "a network has one segment, not 2",
		`{"provider:network_type":"vxlan"}`:                                    "is not a list",
		`["vxlan"]`:                                                            "Invalid data format for segments: 'vxlan'",
		`[{"provider:network_type":7}]`:                                        "'7' is not a valid string",
		`[{"provider:physical_network":["x"]}]`:                                "is not a valid string",
		`[{"provider:segmentation_id":-1}]`:                                    "'-1' should be non-negative",
	} {
		if out := b.send("POST", "/v2.0/networks", post(segments)); out.status != 400 || !strings.Contains(out.text, reason) {
			t.Errorf("%s: %d %s", segments, out.status, out.text)
		}
	}

	n := "/v2.0/networks/" + b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "8"), "network")["id"].(string)
	for _, c := range [][2]string{{"9", "vlan physnet1 9"}, {"0", "vlan physnet1 9"}} { // 0 is none: it stays
		changed := b.must("PUT", n, post(`[{"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":`+c[0]+`}]`), "network")
		if got := provider(changed); got != c[1] {
			t.Errorf("renumbered to %s: %s", c[0], got)
		}
	}
	if got := b.send("PUT", n, post(`[{"provider:network_type":"vxlan"}]`)); got.status != 400 || !strings.Contains(got.text, "does not support updating") {
		t.Errorf("of another type: %d %s", got.status, got.text)
	}
}

// TestDefaultNetwork: there is none, which clients may say and not change.
func TestDefaultNetwork(t *testing.T) {
	b := newBench(t)
	n := b.must("POST", "/v2.0/networks", `{"network":{"is_default":false}}`, "network")
	one := "/v2.0/networks/" + n["id"].(string)
	if changed := b.must("PUT", one, `{"network":{"is_default":false}}`, "network"); changed["revision_number"] != n["revision_number"] {
		t.Errorf("nothing has changed: %v", changed)
	}
	const why = "Invalid input for is_default. Reason: 'True' is not possible: no network is made for projects that have none, so none is the default one."
	b.refused("POST", "/v2.0/networks", `{"network":{"is_default":true}}`, 400, "HTTPBadRequest", why)
	b.refused("PUT", one, `{"network":{"is_default":true}}`, 400, "HTTPBadRequest", why)
}

// TestFlatAnywhere is the operator's "*".
func TestFlatAnywhere(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Segments.Flat = []string{"*"} })
	for _, name := range []string{"a", "b/c", "d:1"} {
		b.must("POST", "/v2.0/networks", segmentBody("flat", name, ""), "network")
		b.refused("POST", "/v2.0/networks", segmentBody("flat", name, ""), 409, "FlatNetworkInUse", "Unable to create the flat network. Physical network "+name+" is in use.")
	}
	b.must("POST", "/v2.0/networks", segmentBody("flat", "*", ""), "network")
}

// TestTenantPools uses up the types one after the other, in their order, and what is deleted is free
// again.
func TestTenantPools(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Segments = Segments{VLAN: vlanRanges("physnet1:7:7", "physnet2", "physnet3:8:8"), GRE: ipam.Range{First: 1<<32 - 1, Last: 1<<32 - 1},
			VXLAN: ipam.Range{First: 5, Last: 6}, Geneve: ipam.Range{First: 9, Last: 9}, Tenant: []string{"vlan", "gre", "vxlan", "geneve"}}
	})
	made := make(map[string]string) // segment → id
	create := func(want ...string) {
		t.Helper()
		n := b.must("POST", "/v2.0/networks", `{"network":{}}`, "network")
		got := provider(n)
		for _, w := range want {
			if got == w && made[got] == "" {
				made[got] = n["id"].(string)
				return
			}
		}
		t.Errorf("a tenant network: %s, not one of %q", got, want)
	}
	create("vlan physnet1 7")
	create("vlan physnet3 8")
	create("gre <nil> 4294967295")
	create("vxlan <nil> 5", "vxlan <nil> 6")
	create("vxlan <nil> 5", "vxlan <nil> 6")
	create("geneve <nil> 9")
	b.refused("POST", "/v2.0/networks", `{"network":{}}`, 503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.")
	b.refused("POST", "/v2.0/networks", segmentBody("vlan", "", ""), 503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.")
	b.must("POST", "/v2.0/networks", segmentBody("vxlan", "", "5000"), "network") // what is named need not be in the range
	for _, segment := range []string{"vxlan <nil> 6", "vlan physnet3 8", "gre <nil> 4294967295"} {
		if out := b.send("DELETE", "/v2.0/networks/"+made[segment], ""); out.status != http.StatusNoContent {
			t.Fatalf("%d %s", out.status, out.text)
		}
		delete(made, segment)
		create(segment)
	}
	all := b.race(8, func(int) reply { return b.send("POST", "/v2.0/networks", `{"network":{}}`) })
	if all[503] != 8 {
		t.Errorf("with all pools used up: answers by status: %v", all)
	}
}

// TestLocalTenants have networks that end at their host, as many as they like.
func TestLocalTenants(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Segments.Tenant = []string{"local"} })
	for range 3 {
		if n := b.must("POST", "/v2.0/networks", `{"network":{}}`, "network"); provider(n) != "local <nil> <nil>" {
			t.Error(provider(n))
		}
	}
}

// TestSegmentRaces lets many want the same segment, or the last ones: none is given twice.
func TestSegmentRaces(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Segments = Segments{Flat: []string{"*"}, VLAN: vlanRanges("physnet1:100:119"), Tenant: []string{"vlan"}}
	})
	for i := range 20 {
		for what, body := range map[string]string{
			"a VLAN ID":          segmentBody("vlan", "physnet1", fmt.Sprint(1000+i)),
			"a physical network": segmentBody("flat", fmt.Sprint("p", i), ""),
			"a VNI":              segmentBody("vxlan", "", fmt.Sprint(1000+i)),
		} {
			if got := b.race(4, func(int) reply { return b.send("POST", "/v2.0/networks", body) }); got[201] != 1 || got[409] != 3 {
				t.Errorf("%s: answers by status: %v", what, got)
			}
		}
	}
	if got := b.race(30, func(int) reply { return b.send("POST", "/v2.0/networks", `{"network":{}}`) }); got[201] != 20 || got[503] != 10 {
		t.Errorf("30 for 20 VLAN IDs: answers by status: %v", got)
	}
	// Two networks want each other's number, and a third comes between.
	first := b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "1"), "network")["id"].(string)
	second := b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "2"), "network")["id"].(string)
	moved := b.race(3, func(i int) reply {
		return []func() reply{
			func() reply { return b.send("PUT", "/v2.0/networks/"+first, segmentBody("", "", "3")) },
			func() reply { return b.send("PUT", "/v2.0/networks/"+second, segmentBody("", "", "3")) },
			func() reply { return b.send("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "3")) },
		}[i]()
	})
	if moved[200]+moved[201] != 1 || moved[409] != 2 {
		t.Errorf("three for VLAN 3: answers by status: %v", moved)
	}
}

func TestSegmentUpdate(t *testing.T) {
	b := newBench(t, everyType)
	b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "6"), "network")
	n := b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "5"), "network")["id"].(string)
	path := "/v2.0/networks/" + n
	for _, same := range []string{segmentBody("vlan", "physnet1", "5"), segmentBody("vlan", "", ""), segmentBody("", "", "null"), `{"network":{"provider:physical_network":null}}`} {
		if got := b.must("PUT", path, same, "network"); provider(got) != "vlan physnet1 5" || fmt.Sprint(got["revision_number"]) != "1" {
			t.Errorf("%s: %s at revision %v", same, provider(got), got["revision_number"])
		}
	}
	if got := b.must("PUT", path, segmentBody("", "", "4094"), "network"); provider(got) != "vlan physnet1 4094" {
		t.Error(provider(got))
	}
	b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "5"), "network") // it is free
	b.refused("PUT", path, segmentBody("", "", "6"), 409, "VlanIdInUse", "Unable to create the network. The VLAN 6 on physical network physnet1 is in use.")
	b.refused("PUT", path, segmentBody("", "", "4095"), 400, "InvalidInput", "Invalid input for operation: segmentation_id 4095 out of range (1 through 4094).")
	b.refused("PUT", path, segmentBody("", "", "0"), 400, "InvalidInput", "Invalid input for operation: segmentation_id 0 out of range (1 through 4094).")
	fixed := "Invalid input for operation: Plugin does not support updating the following provider network attributes: provider:network_type, provider:physical_network."
	b.refused("PUT", path, segmentBody("flat", "", ""), 400, "InvalidInput", fixed)
	b.refused("PUT", path, segmentBody("", "physnet2", ""), 400, "InvalidInput", fixed)
	vxlan := "/v2.0/networks/" + b.network()
	b.refused("PUT", vxlan, segmentBody("", "", "1"), 400, "InvalidInput", "Invalid input for operation: Only VLAN type networks can be updated.")
	b.refused("PUT", vxlan, segmentBody("", "physnet1", ""), 400, "InvalidInput", fixed)
}

func TestSegmentsCheck(t *testing.T) {
	for want, s := range map[string]Segments{
		"":             {VLAN: vlanRanges("p:1:2"), Tenant: []string{"geneve", "local", "gre", "vlan", "vxlan"}, GRE: ipam.Range{First: 1, Last: 1<<32 - 1}},
		"VLAN IDs":     {VLAN: vlanRanges("p"), Tenant: []string{"vlan"}},
		"type flat":    {Flat: []string{"p"}, Tenant: []string{"flat"}},
		`type "x"`:     {Tenant: []string{"x"}},
		"largest VNI":  {VXLAN: ipam.Range{First: 1, Last: 1 << 24}},
		"geneve range": {Geneve: ipam.Range{First: 1, Last: 1 << 24}},
	} {
		if err := s.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestBindingReaches binds ports on hosts that lack what their networks need: the log says what.
func TestBindingReaches(t *testing.T) {
	var log strings.Builder
	b := newBench(t, everyType, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	b.host("h1", "h2") // vxlan only
	_, err := b.store.Update(t.Context(), func(tx *store.Tx) error {
		h, _ := tx.HostByName("h2")
		mapped := *h
		mapped.BridgeMappings = map[string]string{"physnet1": "br-ex"}
		return tx.PutHost(&mapped)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ body, host, vifType, reason string }{
		{segmentBody("vxlan", "", ""), "h1", model.VIFOVS, ""},
		{segmentBody("gre", "", ""), "h1", model.VIFBindingFailed, "host h1 does not take part in gre tunnels"},
		{segmentBody("vlan", "physnet1", ""), "h1", model.VIFBindingFailed, "host h1 has no bridge for physical network physnet1"},
		{segmentBody("vlan", "physnet1", ""), "h2", model.VIFOVS, ""},
		{segmentBody("flat", "physnet1", ""), "h2", model.VIFOVS, ""},
		{segmentBody("local", "", ""), "h1", model.VIFOVS, ""},
		{segmentBody("local", "", ""), "h3", model.VIFBindingFailed, "host h3 is not enrolled"},
	} {
		n := b.must("POST", "/v2.0/networks", c.body, "network")["id"].(string)
		log.Reset()
		p := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"binding:host_id":%q}}`, n, c.host), "port")
		if p["binding:vif_type"] != c.vifType {
			t.Errorf("%s on %s: %v", c.body, c.host, p["binding:vif_type"])
		}
		if strings.Contains(log.String(), "level=WARN") != (c.reason != "") || !strings.Contains(log.String(), c.reason) {
			t.Errorf("%s on %s: logged %s", c.body, c.host, log.String())
		}
		if c.reason == "" {
			continue
		}
		log.Reset()
		b.must("PUT", "/v2.0/ports/"+p["id"].(string), `{"port":{"name":"again"}}`, "port")
		if !strings.Contains(log.String(), c.reason) {
			t.Errorf("%s on %s, updated: logged %s", c.body, c.host, log.String())
		}
	}
	// A port moves to a host that reaches its network.
	n := b.must("POST", "/v2.0/networks", segmentBody("vlan", "physnet1", "9"), "network")["id"].(string)
	p := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"binding:host_id":"h1"}}`, n), "port")["id"].(string)
	if moved := b.must("PUT", "/v2.0/ports/"+p, `{"port":{"binding:host_id":"h2"}}`, "port"); moved["binding:vif_type"] != model.VIFOVS {
		t.Errorf("moved to h2: %v", moved["binding:vif_type"])
	}
}
