package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What a machine is told is its project's: who owns the network sees the port, and not that.
func TestMetadataIsTheOwners(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Authenticate = recordedCaller })
	const admin, owner, other = "X-Caller: admin", "X-Caller: alt_demo", "X-Caller: demo"
	made := func(path, body, key, caller string) string {
		t.Helper()
		out := b.send("POST", path, body, caller)
		if out.status != http.StatusCreated {
			t.Fatalf("%s: %d %s", path, out.status, out.text)
		}
		return out.body[key].(map[string]any)["id"].(string)
	}
	n := made("/v2.0/networks", `{"network":{}}`, "network", other)
	p := "/v2.0/ports/" + made("/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"project_id":%q,"tunbridge:metadata":{"hostname":"web1"}}}`, n, callers["alt_demo"].Project), "port", admin)

	const set, shown = `{"port":{"tunbridge:metadata":{"hostname":"web2"}}}`, `"tunbridge:metadata":{"hostname":"web`
	for _, caller := range []string{admin, owner} {
		if out := b.send("PUT", p, set, caller); out.status != http.StatusOK || !strings.Contains(out.text, shown) {
			t.Errorf("%s: set: %d %s", caller, out.status, out.text)
		}
		for _, path := range []string{p, "/v2.0/ports", p + "?fields=tunbridge:metadata"} {
			if out := b.send("GET", path, "", caller); out.status != http.StatusOK || !strings.Contains(out.text, shown) {
				t.Errorf("%s: %s: %d %s", caller, path, out.status, out.text)
			}
		}
	}
	for _, path := range []string{p, "/v2.0/ports", p + "?fields=tunbridge:metadata"} {
		if out := b.send("GET", path, "", other); out.status != http.StatusOK || strings.Contains(out.text, "metadata") {
			t.Errorf("the network's owner: %s: %d %s", path, out.status, out.text)
		}
	}
	if out := b.send("PUT", p, set, other); out.status != http.StatusForbidden {
		t.Errorf("the network's owner sets it: %d %s", out.status, out.text)
	}
	if out := b.send("PUT", p, `{"port":{"tunbridge:metadata":null}}`, owner); out.status != http.StatusOK || !strings.Contains(out.text, `"tunbridge:metadata":{}`) {
		t.Errorf("taken away: %d %s", out.status, out.text)
	}
}
