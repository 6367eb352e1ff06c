package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
)

// furnished is a server that has two of every resource.
func furnished(t *testing.T) *bench {
	b := newBench(t)
	b.host("h1", "h2")
	b.alive("h1", true)
	for i, more := range []string{`"name":"a"`, `"name":"b","description":"second","mtu":1400,"shared":true,"dns_domain":"b.example.","admin_state_up":false,"tags":["x"],"project_id":"other","availability_zone_hints":["nova"]`} {
		n := b.must("POST", "/v2.0/networks", `{"network":{`+more+`}}`, "network")["id"].(string)
		pool := b.must("POST", "/v2.0/subnetpools", fmt.Sprintf(`{"subnetpool":{"name":"p%d","prefixes":["10.%d.0.0/16"],"default_prefixlen":%d,"is_default":%v}}`, i, i, 24+i, i == 1), "subnetpool")["id"].(string)
		b.must("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"subnetpool_id":%q,"name":"s%d","enable_dhcp":%v}}`, n, pool, i, i == 0), "subnet")
		b.must("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":6,"cidr":"fd0%d::/64","ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac","gateway_ip":null}}`, n, i), "subnet")
		b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"name":"v%d","binding:host_id":"h%d","device_id":"vm%d","device_owner":"compute:nova","dns_name":"web%d"}}`, n, i, i+1, i, i), "port")
		b.must("POST", "/v2.0/rbac-policies", fmt.Sprintf(`{"rbac_policy":{"object_type":"network","object_id":%q,"action":"access_as_external","target_tenant":"t%d"}}`, n, i), "rbac_policy")
	}
	return b
}

// TestEveryFilterAndSortKey asks for what is there by each attribute that is declared to select, in the
// form that it is shown, and orders by each that is declared to sort.
func TestEveryFilterAndSortKey(t *testing.T) {
	b := furnished(t)
	tried := 0
	for _, s := range model.Schemas() {
		if s == model.Quotas {
			continue // they are not filtered: a quota is named by its project
		}
		path := "/v2.0/" + s.Collection
		if strings.HasSuffix(s.Name, "_policy") || strings.HasSuffix(s.Name, "_availability") {
			path = "/v2.0/" + strings.ReplaceAll(s.Collection, "_", "-")
		}
		list := func(query string) []map[string]any {
			t.Helper()
			out := b.send("GET", path+"?"+query, "")
			if out.status != http.StatusOK {
				t.Fatalf("%s?%s: %d %s", path, query, out.status, out.text)
			}
			var all []map[string]any
			for _, item := range out.body[s.Collection].([]any) {
				all = append(all, item.(map[string]any))
			}
			return all
		}
		key := s.Attributes[0].Name // what tells the items apart
		all := list("")
		if len(all) == 0 {
			t.Fatalf("no %s", s.Collection)
		}
		names := func(items []map[string]any) (all []string) {
			for _, item := range items {
				all = append(all, fmt.Sprint(item[key]))
			}
			return all
		}
		for _, a := range s.Attributes {
			if a.Sort {
				by := func(direction string) []string {
					return b.column(list(fmt.Sprintf("fields=%s&sort_key=%s&sort_dir=%s", url.QueryEscape(a.Name), url.QueryEscape(a.Name), direction)), a)
				}
				first, last := by("asc"), by("desc")
				if len(first) != len(all) {
					t.Errorf("%s by %s: %d of %d", s.Collection, a.Name, len(first), len(all))
				}
				slices.Reverse(last)
				if !slices.Equal(first, last) {
					t.Errorf("%s up by %s is %v, down %v", s.Collection, a.Name, first, last)
				}
			}
			if !a.Filter || a.Hidden {
				continue
			}
			for _, item := range all {
				var value string
				switch v := item[a.Name].(type) {
				case nil:
					continue // none is asked for by the empty text, where it can be
				case []any:
					if len(v) == 0 {
						continue
					}
					value = fmt.Sprint(v[0])
					if f, ok := v[0].(map[string]any); ok {
						value = fmt.Sprintf("ip_address=%v", f["ip_address"])
					}
				default:
					value = fmt.Sprint(v)
				}
				tried++
				query := url.QueryEscape(a.Name) + "=" + url.QueryEscape(value)
				found := list(query)
				if !slices.Contains(names(found), fmt.Sprint(item[key])) {
					t.Errorf("%s?%s: does not find what shows it", path, query)
				}
				for _, f := range found {
					if got, _ := json.Marshal(f[a.Name]); !strings.Contains(string(got), strings.TrimPrefix(value, "ip_address=")) {
						t.Errorf("%s?%s: finds one of %s", path, query, got)
					}
				}
				if a.Alias != "" && len(list(a.Alias+"="+url.QueryEscape(value))) != len(found) {
					t.Errorf("%s: %s finds another number than %s", path, a.Alias, a.Name)
				}
			}
		}
		b.refused("GET", path+"?nonsense=1", "", 400, "HTTPBadRequest", "['nonsense'] is invalid attribute for filtering")
		b.refused("GET", path+"?sort_key=nonsense&sort_dir=asc", "", 400, "HTTPBadRequest", "['nonsense'] is invalid attribute for sort_keys")
	}
	if tried < 100 {
		t.Errorf("only %d filters were tried", tried)
	}
}

// column is an attribute of all items, of which nothing else was asked for.
func (b *bench) column(items []map[string]any, a *model.Attribute) (all []string) {
	b.t.Helper()
	for _, item := range items {
		v, has := item[a.Name]
		if !has || len(item) != 1 && (a.Alias == "" || len(item) != 2) {
			b.t.Errorf("fields=%s shows %v", a.Name, item)
		}
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// TestTagsOfResources tags each resource that can be, when it is created and later.
func TestTagsOfResources(t *testing.T) {
	b := newBench(t)
	n := b.network()
	for _, c := range []struct{ name, body string }{
		{"network", `"name":"tagged"`},
		{"subnet", `"ip_version":4,"cidr":"10.0.0.0/24","network_id":"` + n + `"`},
		{"subnetpool", `"prefixes":["10.9.0.0/16"],"name":"p"`},
		{"port", `"network_id":"` + n + `"`},
	} {
		all := "/v2.0/" + c.name + "s"
		made := b.must("POST", all, fmt.Sprintf(`{%q:{%s,"tags":["red","blue"]}}`, c.name, c.body), c.name)
		one := all + "/" + made["id"].(string)
		is := func(want string) {
			t.Helper()
			if got := fmt.Sprint(b.must("GET", one, "", c.name)["tags"]); got != want {
				t.Errorf("%s: %s, not %s", c.name, got, want)
			}
		}
		is("[blue red]")
		revision := b.must("GET", one, "", c.name)["revision_number"]
		b.must("PUT", one+"/tags/green", "", "")
		b.must("PUT", one+"/tags/green", "", "")
		b.must("DELETE", one+"/tags/red", "", "")
		is("[blue green]")
		if now := b.must("GET", one, "", c.name)["revision_number"]; now == revision {
			t.Errorf("%s: the revision is %v as before", c.name, now)
		}
		for query, want := range map[string]int{
			"tags=blue,green": 1, "tags=blue,red": 0, "tags-any=red,green": 1, "not-tags=blue,green": 0, "not-tags=blue,red": 1,
			"not-tags-any=red": 1, "not-tags-any=blue": 0, "tags=blue&tags=green": 1,
		} {
			if got := b.send("GET", all+"?id="+made["id"].(string)+"&"+query, "").body[c.name+"s"].([]any); len(got) != want {
				t.Errorf("%s?%s finds %d, not %d", all, query, len(got), want)
			}
		}
		b.refused("GET", one+"/tags/red", "", 404, "TagNotFound", "Tag red could not be found.")
		b.refused("DELETE", one+"/tags/red", "", 404, "TagNotFound", "Tag red could not be found.")
		b.refused("PUT", one+"/tags", `{"tags":["`+many(51)+`"]}`, 400, "HTTPBadRequest", "Invalid input for tags. Reason: the number of tags exceeds the maximum of 50.")
		b.must("PUT", one+"/tags", `{"tags":["`+many(50)+`"]}`, "")
		b.must("DELETE", one+"/tags", "", "")
		is("[]")
	}
	out := b.send("POST", "/v2.0/ports", fmt.Sprintf(`{"ports":[{"network_id":%q,"tags":["a"]},{"network_id":%q,"tags":["b","a"]}]}`, n, n))
	if out.status != 201 || len(b.send("GET", "/v2.0/ports?tags=a", "").body["ports"].([]any)) != 2 {
		t.Errorf("tags of ports that are created together: %d %s", out.status, out.text)
	}
}

// many are that many tags, as a list in JSON without its ends.
func many(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%02d", i)
	}
	return strings.Join(tags, `","`)
}

// TestRevisions makes every change of what has a revision depend on it.
func TestRevisions(t *testing.T) {
	b := newBench(t)
	n := b.network()
	for _, c := range []struct{ name, body, change string }{
		{"network", `"name":"x"`, `"name":"y"`},
		{"subnet", `"ip_version":4,"cidr":"10.0.0.0/24","network_id":"` + n + `"`, `"enable_dhcp":false`},
		{"subnetpool", `"prefixes":["10.9.0.0/16"],"name":"p"`, `"name":"q"`},
		{"port", `"network_id":"` + n + `"`, `"admin_state_up":false`},
	} {
		all := "/v2.0/" + c.name + "s"
		made := b.must("POST", all, fmt.Sprintf(`{%q:{%s}}`, c.name, c.body), c.name)
		one := all + "/" + made["id"].(string)
		if made["revision_number"] != json.Number("1") || made["created_at"] != made["updated_at"] {
			t.Errorf("%s: new, and %v", c.name, made)
		}
		change := fmt.Sprintf(`{%q:{%s}}`, c.name, c.change)
		stale := func(method, path, body string) {
			t.Helper()
			now := b.must("GET", one, "", c.name)["revision_number"]
			b.refused(method, path, body, 412, "RevisionNumberConstraintFailed", fmt.Sprintf("Constrained to 9, but current revision is %v", now), "If-Match: revision_number=9")
		}
		stale("PUT", one, change)
		stale("PUT", one+"/tags", `{"tags":["a"]}`)
		stale("PUT", one+"/tags/a", "")
		stale("DELETE", one+"/tags", "")
		stale("DELETE", one, "")
		b.refused("PUT", one, change, 400, "HTTPBadRequest", "If-Match must be revision_number=N and not '1'", "If-Match: 1")
		out := b.send("PUT", one, change, "If-Match: revision_number=1")
		if after, _ := out.body[c.name].(map[string]any); out.status != 200 || after["revision_number"] != json.Number("2") {
			t.Errorf("%s: %d %s", c.name, out.status, out.text)
		}
		if out := b.send("PUT", one, change, `If-Match: "revision_number=2"`); out.status != 200 {
			t.Errorf("%s, in quotes: %d %s", c.name, out.status, out.text)
		}
		if c.name == "subnetpool" {
			stale("PUT", one+"/add_prefixes", `{"prefixes":["10.10.0.0/16"]}`)
		}
		now := b.must("GET", one, "", c.name)["revision_number"]
		if out := b.send("DELETE", one, "", fmt.Sprintf("If-Match: revision_number=%v", now)); out.status != 204 {
			t.Errorf("%s: %d %s", c.name, out.status, out.text)
		}
	}
}
