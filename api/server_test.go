package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/store"
)

// bench is a server on a store in memory.
type bench struct {
	t      *testing.T
	server *Server
	store  *store.Store
}

func newBench(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	st := store.OpenMemory()
	t.Cleanup(func() { st.Close() })
	o := Options{Store: st, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, c := range change {
		c(&o)
	}
	b := &bench{t, New(o), st}
	t.Cleanup(func() {
		for _, err := range st.Check(context.Background()) {
			t.Errorf("the store afterwards: %v", err)
		}
	})
	return b
}

// reply is an answer with its body decoded.
type reply struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

// send makes one request; headers are "Name: value".
func (b *bench) send(method, path, body string, headers ...string) reply {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://api.test"+path, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, r)
	out := reply{status: w.Code, header: w.Header(), text: w.Body.String()}
	if method == http.MethodHead {
		out.text = "" // net/http does not send it
	}
	if w.Body.Len() > 0 && method != http.MethodHead {
		d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
		d.UseNumber()
		if err := d.Decode(&out.body); err != nil {
			b.t.Errorf("%s %s: %q is no JSON object: %v", method, path, w.Body, err)
		}
	}
	return out
}

// must makes a request that has to succeed and returns what is under the key.
func (b *bench) must(method, path, body, key string) map[string]any {
	b.t.Helper()
	out := b.send(method, path, body)
	if out.status >= 300 {
		b.t.Fatalf("%s %s %s: %d %s", method, path, body, out.status, out.text)
	}
	object, _ := out.body[key].(map[string]any)
	return object
}

// refused makes a request that has to fail with this status, type and message.
func (b *bench) refused(method, path, body string, status int, kind, message string, headers ...string) {
	b.t.Helper()
	out := b.send(method, path, body, headers...)
	e, _ := out.body["NeutronError"].(map[string]any)
	if out.status != status || e["type"] != kind || e["message"] != message || e["detail"] != "" || len(e) != 3 {
		b.t.Errorf("%s %s %.200s:\n%d %s, not\n%d %s %s", method, path, body, out.status, out.text, status, kind, message)
	}
}

func (b *bench) network() string {
	b.t.Helper()
	return b.must("POST", "/v2.0/networks", `{"network":{"name":"n"}}`, "network")["id"].(string)
}

func (b *bench) subnet(network, cidr, more string) string {
	b.t.Helper()
	version := 4
	if strings.Contains(cidr, ":") {
		version = 6
	}
	return b.must("POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":%d,"cidr":%q%s}}`, network, version, cidr, more), "subnet")["id"].(string)
}

// TestWalk is what a first user does.
func TestWalk(t *testing.T) {
	b := newBench(t)
	n := b.network()
	s := b.subnet(n, "10.0.0.0/24", "")
	p := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, n), "port")
	fixed := p["fixed_ips"].([]any)
	if len(fixed) != 1 || fixed[0].(map[string]any)["subnet_id"] != s {
		t.Errorf("the port's addresses: %v", fixed)
	}
	if p["project_id"] != LabProject || p["status"] != "DOWN" || p["binding:vif_type"] != "unbound" || p["revision_number"] != json.Number("1") {
		t.Errorf("the port: %v", p)
	}
	for _, path := range []string{"/v2.0/ports/" + p["id"].(string), "/v2.0/subnets/" + s, "/v2.0/networks/" + n} {
		if out := b.send("DELETE", path, ""); out.status != http.StatusNoContent || out.text != "" {
			t.Errorf("DELETE %s: %d %s", path, out.status, out.text)
		}
		if out := b.send("GET", path, ""); out.status != http.StatusNotFound {
			t.Errorf("%s is still there: %s", path, out.text)
		}
	}
	for range b.store.Snapshot().Ports() {
		t.Error("a port was left")
	}
}
