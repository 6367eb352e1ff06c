package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
)

// values are what attributes may be given: something for every kind, and what is nothing for any.
var values = []any{
	nil, true, false, "true", 0, -1, 1, 4, 6, 24, 64, 128, 129, 1400, 1 << 31, json.Number("9223372036854775808"), json.Number("1e400"), 1.5, "", "x", "0", "\x00", strings.Repeat("é", 300),
	"10.0.0.0/8", "10.1.0.0/24", "::/0", "fd00::/64", "fd00::5", "fe80::1", "10.0.0.5", "10.1.0.9", "255.255.255.255", "fa:16:3e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff",
	[]any{}, []any{nil}, []any{"x", "x"}, []any{"10.0.0.0/8"}, []any{"192.0.2.53"}, []any{[]any{}}, []any{map[string]any{}}, map[string]any{}, map[string]any{"a": map[string]any{}},
	[]any{map[string]any{"start": "10.1.0.2", "end": "10.1.0.9"}}, []any{map[string]any{"destination": "10.9.0.0/16", "nexthop": "10.1.0.4"}},
	[]any{map[string]any{"ip_address": "10.1.0.5"}}, []any{map[string]any{"opt_name": "mtu", "opt_value": "1400"}}, []any{map[string]any{"ip_address": "10.0.0.0/8", "mac_address": "fa:16:3e:00:00:09"}},
	"slaac", "dhcpv6-stateful", "normal", "direct", "vxlan", "gre", "vlan", "flat", "local", "physnet1", "h1", "compute:nova", "network:dhcp", "network:router_interface",
	"a.example.", "-", "network", "access_as_shared", "access_as_external", "*", "12d63079-fddf-421d-ac8c-ae934ced5c99", "2026-11-21T22:05:26Z", "asc", "id",
}

// fitting are values that may be right, by the kind of attribute, or by its name.
var fitting = map[string][]any{
	"string": {"x", "y"}, "boolean": {true, false}, "integer": {24, 26, 1280, 1400, 5}, "strings": {[]any{"a"}, []any{}}, "dns_domain": {"a.example."}, "device_owner": {"compute:nova"},
	"ip_version": {4, 4, 4, 6}, "cidr": {"10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "fd00::/64"}, "prefixes": {[]any{"10.0.0.0/8"}}, "address": {"10.1.0.1", "10.2.0.1", nil},
	"object_type": {"network"}, "action": {"access_as_shared", "access_as_external"}, "binding:vnic_type": {"normal"}, "binding:host_id": {"h1", "h2"}, "host": {"h1", "h2"},
	"provider:network_type": {"vxlan", "gre", "local"}, "dhcp-options": {[]any{}}, "metadata": {map[string]any{"hostname": "vm"}}, "object": {map[string]any{"a": 1}},
	"ipv6_ra_mode": {nil}, "ipv6_address_mode": {nil}, "subnetpool_id": {nil}, "fixed-ips": {[]any{}}, "routes": {[]any{}}, "addresses": {[]any{"192.0.2.53"}},
}

// mutations draws requests.
type mutations struct {
	*bench
	*rand.Rand
	ids map[string][]string // by the collection
}

func (m *mutations) one(of ...string) string { return of[m.IntN(len(of))] }

// value draws any: of those above, or the id of something that is there.
func (m *mutations) value() any {
	if all := m.ids[m.one("networks", "subnets", "ports", "subnetpools")]; m.IntN(4) == 0 && len(all) > 0 {
		return m.one(all...)
	}
	return values[m.IntN(len(values))]
}

// object draws attributes: mostly what is required and some others, with values that fit.
func (m *mutations) object(s *model.Schema, create bool) map[string]any {
	o := map[string]any{}
	for _, a := range s.Attributes {
		allowed := create && a.Post || !create && a.Put
		if !(create && a.Required && m.IntN(20) > 0 || allowed && (m.IntN(12) == 0 || a.Name == "cidr" && m.IntN(4) > 0) || m.IntN(200) == 0) {
			continue
		}
		fits, named := fitting[a.Name]
		if !named {
			fits = fitting[a.Kind]
		}
		switch networks := m.ids["networks"]; {
		case m.IntN(6) == 0 || a.Kind != "uuid" && len(fits) == 0:
			o[a.Name] = m.value()
		case a.Kind == "uuid" && len(networks) > 0:
			o[a.Name] = m.one(networks...)
		case len(fits) > 0:
			o[a.Name] = fits[m.IntN(len(fits))]
		}
	}
	return o
}

var pathVariable = regexp.MustCompile(`\{(\w+)\}`)

func (m *mutations) request(r Route) (path, body string) {
	collection := strings.Split(r.Path+"///", "/")[2]
	path = pathVariable.ReplaceAllStringFunc(r.Path, func(name string) string {
		if all := m.ids[collection]; name == "{id}" && len(all) > 0 && m.IntN(10) > 0 {
			return all[m.IntN(len(all))]
		}
		return url.PathEscape(fmt.Sprint(m.value()))
	})
	if m.IntN(4) == 0 {
		path += "?"
		for range 1 + m.IntN(3) {
			key := m.one("fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse", "tags", "not-tags-any", "name", "id", "fixed_ips", "changed_since", "network_id", "shared", "mtu")
			path += key + "=" + url.QueryEscape(fmt.Sprint(m.value())) + "&"
		}
	}
	var content any = map[string]any{m.one("tags", "prefixes", "network_id"): m.value()}
	if s := r.Schema; s != nil && m.IntN(20) > 0 {
		create := r.Method == http.MethodPost
		content = map[string]any{s.Name: m.object(s, create)}
		if create && m.IntN(8) == 0 {
			content = map[string]any{s.Collection: []any{m.object(s, create), m.object(s, create)}}
		}
	}
	text, err := json.Marshal(content)
	if err != nil {
		m.t.Fatal(err)
	}
	return path, string(text)
}

// TestMutations sends every operation what is nearly right: no answer is a fault of ours, each is JSON and
// each refusal says why. What the store holds afterwards is checked by the bench.
func TestMutations(t *testing.T) {
	t.Parallel()
	m := &mutations{newBench(t, everyType), rand.New(rand.NewPCG(1, 2)), map[string][]string{}}
	m.host("h1", "h2")
	routes := slices.DeleteFunc(slices.Clone(m.server.Routes()), func(r Route) bool {
		return r.Method == http.MethodDelete && strings.Count(r.Path, "/") == 2
	})
	written := 0
	for i := range 15000 {
		if i%50 == 0 {
			for _, collection := range []string{"networks", "subnets", "ports", "subnetpools", "rbac-policies", "agents"} {
				list := m.send("GET", "/v2.0/"+collection+"?fields=id", "").body[strings.ReplaceAll(collection, "-", "_")].([]any)
				m.ids[collection] = nil
				for _, row := range list {
					m.ids[collection] = append(m.ids[collection], row.(map[string]any)["id"].(string))
				}
			}
		}
		r := routes[m.IntN(len(routes))]
		if r.Schema == nil || r.Method == http.MethodGet { // the more of what changes something
			r = routes[m.IntN(len(routes))]
		}
		if r.Method == http.MethodDelete && m.IntN(3) > 0 {
			continue
		}
		path, body := m.request(r)
		if r.Method == http.MethodGet || r.Method == http.MethodDelete {
			body = ""
		}
		out := m.send(r.Method, path, body)
		e, _ := out.body["NeutronError"].(map[string]any)
		switch {
		case out.status < 300 && r.Method == http.MethodGet:
		case out.status < 300:
			written++
		case out.status >= 500 && out.status != http.StatusNotImplemented && e["type"] != "NoNetworkAvailable":
			t.Errorf("%s %s %.300s: %d %s", r.Method, path, body, out.status, out.text)
		case e == nil && r.Name != "get_extension", e != nil && (e["type"] == "" || e["message"] == "" || e["detail"] != ""):
			t.Errorf("%s %s %.300s: %d %s says not why", r.Method, path, body, out.status, out.text)
		}
	}
	if written < 200 {
		t.Errorf("only %d changes were right", written)
	}
}
