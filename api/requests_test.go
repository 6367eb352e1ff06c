package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

func TestDiscovery(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Authenticate = func(*http.Request) (*Caller, error) {
			return nil, &Error{http.StatusUnauthorized, "Unauthorized", "no"}
		}
	})
	if got := b.send("GET", "/", "").text; got != `{"versions":[{"id":"v2.0","status":"CURRENT","links":[{"rel":"self","href":"http://api.test/v2.0/"}]}]}` {
		t.Errorf("versions: %s", got)
	}
	for _, path := range []string{"/v2.0/", "/v2.0/networks", "/v2.0/nonesuch", "/elsewhere"} {
		if out := b.send("GET", path, ""); out.status != http.StatusUnauthorized {
			t.Errorf("%s without a caller: %d", path, out.status)
		}
	}
	b = newBench(t)
	want := `{"resources":[` +
		`{"name":"network","collection":"networks","links":[{"rel":"self","href":"https://api.test/v2.0/networks"}]},` +
		`{"name":"subnet","collection":"subnets","links":[{"rel":"self","href":"https://api.test/v2.0/subnets"}]},` +
		`{"name":"subnetpool","collection":"subnetpools","links":[{"rel":"self","href":"https://api.test/v2.0/subnetpools"}]},` +
		`{"name":"port","collection":"ports","links":[{"rel":"self","href":"https://api.test/v2.0/ports"}]}]}`
	if got := b.send("GET", "/v2.0/", "", "X-Forwarded-Proto: https").text; got != want {
		t.Errorf("the resources: %s", got)
	}
	advertised := make(map[string]bool)
	for _, e := range b.send("GET", "/v2.0/extensions", "").body["extensions"].([]any) {
		alias := e.(map[string]any)["alias"].(string)
		advertised[alias] = true
		if shown := b.must("GET", "/v2.0/extensions/"+alias, "", "extension"); shown["alias"] != alias {
			t.Errorf("%s: %v", alias, shown)
		}
	}
	for _, e := range model.Extensions {
		if advertised[e.Alias] != e.Advertised {
			t.Errorf("%s is advertised: %v", e.Alias, advertised[e.Alias])
		}
	}
	for _, alias := range strings.Fields(`provider external-net binding binding-extended port-security allowed-address-pairs net-mtu
		net-mtu-writable extra_dhcp_opt quotas quota_details quota-check-limit agent agent_sort_key dhcp_agent_scheduler project-id
		pagination sorting sort-key-validation filter-validation empty-string-filtering ip-substring-filtering
		standard-attr-description standard-attr-timestamp standard-attr-revisions revision-if-match standard-attr-tag tag-creation
		tag-ports-during-bulk-creation ip_allocation subnet_allocation default-subnetpools availability_zone
		network_availability_zone availability_zone_filter rbac-policies network-ip-availability dns-integration`) {
		if !advertised[alias] {
			t.Errorf("clients look for %s", alias)
		}
	}
	for _, alias := range []string{"router", "nope"} {
		if out := b.send("GET", "/v2.0/extensions/"+alias, ""); out.status != http.StatusNotFound || out.body["title"] != "Not Found" {
			t.Errorf("%s: %d %s", alias, out.status, out.text)
		}
	}
}

// TestRoutes walks the table: everything is named once and belongs to a known extension.
func TestRoutes(t *testing.T) {
	names := make(map[string]bool)
	for _, r := range newBench(t).server.Routes() {
		if r.serve == nil || r.Access == 0 {
			t.Errorf("%s %s is not complete", r.Method, r.Path)
		}
		if r.Name != "" && names[r.Name] {
			t.Errorf("two routes are named %s", r.Name)
		}
		names[r.Name] = true
		if r.Extension != "" && !slices.ContainsFunc(model.Extensions, func(e model.Extension) bool { return e.Alias == r.Extension }) {
			t.Errorf("%s: unknown extension %s", r.Name, r.Extension)
		}
	}
}

// TestPages reads a list forwards and backwards by its links.
func TestPages(t *testing.T) {
	b := newBench(t)
	b.must("POST", "/v2.0/networks", `{"networks":[{"name":"e"},{"name":"a"},{"name":"c"},{"name":"b"},{"name":"d"},{"name":"x","admin_state_up":false}]}`, "")
	read := func(path string) (names, next, previous string) {
		t.Helper()
		out := b.send("GET", path, "")
		if out.status != 200 {
			t.Fatalf("%s: %d %s", path, out.status, out.text)
		}
		for _, n := range out.body["networks"].([]any) {
			names += n.(map[string]any)["name"].(string)
		}
		links, _ := out.body["networks_links"].([]any)
		for _, l := range links {
			l := l.(map[string]any)
			href := strings.TrimPrefix(l["href"].(string), "http://api.test")
			if l["rel"] == "next" {
				next = href
			} else {
				previous = href
			}
		}
		return names, next, previous
	}
	const first = "/v2.0/networks?sort_key=name&sort_dir=asc&admin_state_up=True&limit=2&fields=id&fields=name"
	names, next, previous := read(first)
	if names != "ab" || previous == "" || !strings.HasPrefix(next, first+"&marker=") {
		t.Errorf("the first page: %s, next %s", names, next)
	}
	names, next, back := read(next)
	if names != "cd" || back == "" {
		t.Errorf("the second page: %s", names)
	}
	names, next, _ = read(next)
	if names != "e" || next != "" {
		t.Errorf("the last page: %s, next %s", names, next)
	}
	if !strings.HasSuffix(back, "&page_reverse=True") {
		t.Errorf("back is %s", back)
	}
	names, next, previous = read(back)
	if names != "ab" || next == "" {
		t.Errorf("back to the first page: %s", names)
	}
	if names, next, previous = read(previous); names != "" || next == "" || previous != "" {
		t.Errorf("before the first page: %q, next %s, previous %s", names, next, previous)
	}
	if names, _, _ = read(first + "&page_reverse=true"); names != "de" {
		t.Errorf("the last page, asked for without a marker: %s", names)
	}
	if names, next, _ = read("/v2.0/networks?limit=0"); len(names) != 6 || next != "" {
		t.Errorf("limit 0: %s, next %s", names, next)
	}
	id := strings.TrimSpace(b.send("GET", "/v2.0/networks?name=x&fields=id", "").body["networks"].([]any)[0].(map[string]any)["id"].(string))
	if names, _, _ = read("/v2.0/networks?sort_key=name&sort_dir=desc&admin_state_up=True&limit=9&marker=" + id); names != "edcba" {
		t.Errorf("after a marker that is filtered out: %s", names)
	}
}

// TestLists is Nova's way to ask: by index, by hundreds of ids.
func TestLists(t *testing.T) {
	b := newBench(t)
	n := b.network()
	s := b.subnet(n, "10.0.0.0/24", "")
	var ids []string
	for i := range 3 {
		ids = append(ids, b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"device_id":"vm%d","device_owner":"compute:nova"}}`, n, i), "port")["id"].(string))
	}
	var long strings.Builder
	for range 1800 {
		long.WriteString("&id=" + uuid.NewString())
	}
	for query, want := range map[string]int{
		"":                            4,
		"device_id=vm1":               1,
		"device_id=vm1&device_id=vm2": 2,
		"device_id=vm1&device_id=":    1, // all others have a device
		"device_id=vm1&network_id=" + uuid.NewString():          0,
		"network_id=" + n + "&device_owner=network:dhcp":        1,
		"network_id=" + n + "&network_id=" + n:                  4,
		"network_id=nope":                                       0,
		"id=" + ids[0] + "&id=" + ids[0] + "&id=nope":           1,
		"id=" + ids[0] + long.String():                          1,
		"fixed_ips=subnet_id%3D" + s:                            4,
		"device_owner=compute:nova&tenant_id=default&fields=id": 3,
	} {
		out := b.send("GET", "/v2.0/ports?"+query, "")
		got, _ := out.body["ports"].([]any)
		if out.status != 200 || len(got) != want {
			t.Errorf("%.80s: %d, %d ports, not %d", query, out.status, len(got), want)
		}
	}
	for path, want := range map[string]int{
		"/v2.0/subnets?network_id=" + n: 1, "/v2.0/subnets?id=" + s: 1, "/v2.0/subnets?shared=false": 1, "/v2.0/subnets?shared=true": 0,
		"/v2.0/subnets.json": 1, "/v2.0/subnets/": 1,
	} {
		if got, _ := b.send("GET", path, "").body["subnets"].([]any); len(got) != want {
			t.Errorf("%s: %d subnets, not %d", path, len(got), want)
		}
	}
}

// TestMalformedRequests are answered in Neutron's form, whatever they are.
func TestMalformedRequests(t *testing.T) {
	b := newBench(t)
	n := b.network()
	b.refused("GET", "/v2.0/networks?%zz", "", 400, "HTTPBadRequest", "The query %zz cannot be read")
	b.refused("GET", "/v2.0/networks?limit=-1", "", 400, "BadRequest", "Bad limit request: Limit must be an integer 0 or greater and not '-1'.")
	b.refused("PUT", "/v2.0/networks/"+n, `{"network":{}}`, 400, "HTTPBadRequest", "If-Match must be revision_number=N and not 'x'", "If-Match: x")
	b.refused("GET", "/v2.0//networks", "", 404, "HTTPNotFound", "The resource could not be found.")
	b.refused("GET", "/v2.0/networks/a%2Fb", "", 404, "HTTPNotFound", "The resource could not be found.")
	b.refused("GET", "/v2.0/networks/%00", "", 404, "NetworkNotFound", "Network \x00 could not be found.")
	b.refused("POST", "/v2.0/networks", `{"network":{"name":"`+strings.Repeat("x", maxBody)+`"}}`, 413, "HTTPRequestEntityTooLarge", "The body is larger than 8388608 bytes.")
	b.refused("POST", "/v2.0/networks", strings.Repeat("[", 100000), 400, "HTTPBadRequest", "Body contains invalid data")
	b.refused("PUT", "/v2.0/networks/"+n+"/tags", `{"tags":"x"}`, 400, "HTTPBadRequest", "Invalid tags body")
	b.refused("PUT", "/v2.0/networks/"+n+"/tags/"+strings.Repeat("t", 256), "", 400, "HTTPBadRequest", "Invalid input for tags. Reason: '"+strings.Repeat("t", 256)+"' is not a tag of 1 to 255 characters.")
	b.refused("POST", "/v2.0/networks?dry_run=true", `{"network":{}}`, 501, "HTTPNotImplemented", "Dry runs are not available.")
	if all, _ := b.send("GET", "/v2.0/networks", "").body["networks"].([]any); len(all) != 1 {
		t.Errorf("%d networks after refused requests", len(all))
	}
}

func TestDryRun(t *testing.T) {
	b := newBench(t)
	b.server.Plan = func(_ context.Context, before, after *store.Snapshot) (any, error) {
		count := func(s *store.Snapshot) (n int) {
			for range s.Networks() {
				n++
			}
			return n
		}
		return map[string]int{"before": count(before), "after": count(after)}, nil
	}
	n := b.network()
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/v2.0/networks", `{"networks":[{},{}]}`, `{"after":3,"before":1}`},
		{"DELETE", "/v2.0/networks/" + n, "", `{"after":0,"before":1}`},
	} {
		if got := b.send(c.method, c.path+"?dry_run=true", c.body); got.text != c.want {
			t.Errorf("%s %s: %d %s, not %s", c.method, c.path, got.status, got.text, c.want)
		}
	}
	b.refused("POST", "/v2.0/ports?dry_run=1", `{"port":{"network_id":"`+uuid.Nil.String()+`"}}`, 404, "NetworkNotFound", "Network "+uuid.Nil.String()+" could not be found.")
	if _, err := b.store.Update(t.Context(), func(tx *store.Tx) error {
		if _, ok := tx.Network(uuid.MustParse(n)); !ok {
			return errors.New("it was deleted")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestFaults are ours: the client gets 500 and no word of the cause, which is in the log.
func TestFaults(t *testing.T) {
	var log bytes.Buffer
	b := newBench(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Authenticate = func(r *http.Request) (*Caller, error) {
			if r.Header.Get("X-Fault") == "panic" {
				panic("a secret")
			}
			return nil, errors.New("a secret")
		}
	})
	for _, fault := range []string{"panic", "error"} {
		log.Reset()
		b.refused("GET", "/v2.0/networks", "", 500, "HTTPInternalServerError", errInternal.Message, "X-Fault: "+fault)
		if !strings.Contains(log.String(), "a secret") || !strings.Contains(log.String(), "status=500") {
			t.Errorf("%s: the log says %s", fault, &log)
		}
	}
}

// TestServer asks a real listener with a URL as long as Nova's longest.
func TestServer(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := HTTP(b.server)
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	out, err := http.Get("http://" + l.Addr().String() + "/v2.0/ports?id=x" + strings.Repeat("&id="+uuid.NewString(), 2000))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if text, err := io.ReadAll(out.Body); out.StatusCode != 200 || string(text) != `{"ports":[]}` {
		t.Errorf("%d %s %v", out.StatusCode, text, err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	ready := errors.New("the store does not answer")
	h := Health(func(context.Context) error { return ready })
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if status, body := get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, ready.Error()) {
		t.Errorf("not ready: %d %s", status, body)
	}
	if status, _ := get("/healthz"); status != http.StatusOK {
		t.Errorf("healthy: %d", status)
	}
	ready = nil
	if status, _ := get("/readyz"); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
}

// FuzzRequest sends any method, path, query and body: no fault of ours, and JSON whenever there is a
// body.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/v2.0/networks?name=a&limit=1&marker=x&sort_key=name&sort_dir=asc&page_reverse=True", "")
	f.Add("POST", "/v2.0/subnets", `{"subnet":{"network_id":"12d63079-fddf-421d-ac8c-ae934ced5c99","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	f.Add("PUT", "/v2.0/ports/12d63079-fddf-421d-ac8c-ae934ced5c99/tags", `{"tags":["a"]}`)
	f.Add("GET", "/v2.0/ports?fixed_ips=ip_address%3D10.0.0.1&changed_since=2026-11-21T22:05:26Z&tags=a,b", "")
	st := store.OpenMemory()
	f.Cleanup(func() { st.Close() })
	server := New(Options{Store: st, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		server.ServeHTTP(w, &http.Request{Method: method, URL: u, Host: "api.test", Header: http.Header{}, RequestURI: target,
			Body: io.NopCloser(strings.NewReader(body))})
		if w.Code >= 500 && w.Code != errNoDryRuns.Status && w.Code != http.StatusServiceUnavailable {
			t.Fatalf("%s %q %q: %d %s", method, target, body, w.Code, w.Body)
		}
		if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %q: no JSON: %s", method, target, w.Body)
		}
	})
}

// FuzzQuery asks for every collection with any query: no fault of ours, and JSON for an answer.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"fields=id&sort_key=name&sort_dir=desc&limit=1", "limit=2&page_reverse=True&marker=00000001-0000-4000-8000-000000000000",
		"tags=a,b&not-tags-any=c&changed_since=2026-11-21T22:05:26Z", "fixed_ips=ip_address%3D10.0.0.5&fixed_ips=subnet_id%3Dx&fixed_ips=ip_address_substr%3D0.0",
		"shared=true&admin_state_up=1&mtu=1450&provider:segmentation_id=7", "mac_address=fa:16:3e:00:00:01&cidr=10.0.0.0/24&gateway_ip=&ip_version=4",
	} {
		f.Add(seed)
	}
	st := store.OpenMemory()
	f.Cleanup(func() { st.Close() })
	server := New(Options{Store: st, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	send := func(method, path, query, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "api.test", Header: http.Header{},
			RequestURI: path, Body: io.NopCloser(strings.NewReader(body))})
		return w
	}
	for i := range 2 {
		send("POST", "/v2.0/networks", "", fmt.Sprintf(`{"network":{"name":"n%d","tags":["a"]}}`, i))
	}
	for n := range st.Snapshot().Networks() {
		send("POST", "/v2.0/subnets", "", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.0.0.0/24"}}`, n.ID))
		if w := send("POST", "/v2.0/ports", "", fmt.Sprintf(`{"port":{"network_id":%q,"name":"p"}}`, n.ID)); w.Code != http.StatusCreated {
			f.Fatal(w.Body)
		}
	}
	var lists []string
	for _, r := range server.Routes() {
		if r.Method == http.MethodGet && r.Schema != nil && !strings.Contains(r.Path, "{") {
			lists = append(lists, r.Path)
		}
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range lists {
			if w := send("GET", path, query, ""); w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s?%s: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}
