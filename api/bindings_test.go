package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// TestBindings walks a port through a migration, and through everything that must not be.
func TestBindings(t *testing.T) {
	b := newBench(t)
	b.host("h1", "h2")
	n := b.network()
	id := b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"binding:host_id":"h1","binding:profile":{"a":1}}}`, n), "port")["id"].(string)
	all := "/v2.0/ports/" + id + "/bindings"
	list := func(query string) string {
		t.Helper()
		var shown struct {
			Bindings []struct {
				Host, Status, VIFType string
				Type                  string          `json:"vif_type"`
				Profile               json.RawMessage `json:"profile"`
			}
		}
		out := b.send("GET", all+query, "")
		if out.status != http.StatusOK || json.Unmarshal([]byte(out.text), &shown) != nil {
			t.Fatalf("%s: %d %s", all+query, out.status, out.text)
		}
		text := ""
		for _, v := range shown.Bindings {
			text += fmt.Sprint(v.Host, " ", v.Status, " ", v.Type, " ", string(v.Profile), "; ")
		}
		return text
	}
	expect := func(what, want string) {
		t.Helper()
		if got := list(""); got != want {
			t.Errorf("%s: %s, not %s", what, got, want)
		}
	}
	port := func(what, host, status string) {
		t.Helper()
		p := b.must("GET", "/v2.0/ports/"+id, "", "port")
		if p["binding:host_id"] != host || p["status"] != status {
			t.Errorf("%s: on %v, %v", what, p["binding:host_id"], p["status"])
		}
	}
	wired := func(host, status string) {
		b.store.SetPortStatus(model.PortStatus{PortID: uuid.MustParse(id), Host: host, Status: status})
		if err := b.store.FlushStatus(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	expect("bound", `h1 ACTIVE ovs {"a":1}; `)
	wired("h1", model.StatusActive)
	made := b.must("POST", all, `{"binding":{"host":"h2","vnic_type":"normal","profile":{"b":2}}}`, "binding")
	if made["status"] != "INACTIVE" || made["vif_type"] != "ovs" || made["vif_details"].(map[string]any)["bridge_name"] != "br-int" {
		t.Errorf("made %v", made)
	}
	expect("migrating", `h1 ACTIVE ovs {"a":1}; h2 INACTIVE ovs {"b":2}; `)
	if got := list("?host=h2"); got != `h2 INACTIVE ovs {"b":2}; ` {
		t.Errorf("of h2: %s", got)
	}
	if got := list("?status=ACTIVE&fields=host"); got != `h1   ; ` {
		t.Errorf("the host of the active one: %s", got)
	}
	if shown := b.must("GET", all+"/h2", "", "binding"); shown["status"] != "INACTIVE" {
		t.Errorf("shown %v", shown)
	}

	b.refused("POST", all, `{"binding":{"host":"h2"}}`, 409, "PortBindingAlreadyExists", "Binding for port "+id+" on host h2 already exists.")
	b.refused("POST", all, `{"binding":{"host":"h1"}}`, 409, "PortBindingAlreadyExists", "Binding for port "+id+" on host h1 already exists.")
	b.refused("POST", all, `{"binding":{"host":"h9"}}`, 409, "PortBindingError",
		"Binding for port "+id+" on host h9 could not be created or updated: host h9 is not enrolled: binding:host_id must be the external_ids:hostname of a host")
	b.refused("POST", all, `{"binding":{}}`, 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'host' not specified")
	b.refused("POST", all, `{"binding":{"host":""}}`, 400, "HTTPBadRequest", "Invalid input for host. Reason: '' is no hostname.")
	b.refused("POST", all, `{"bindings":[{"host":"h2"}]}`, 400, "HTTPBadRequest", "A port is bound to one host at a time")
	b.refused("PUT", all+"/h2", `{"binding":{"host":"h1"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute host")
	b.refused("PUT", all+"/h1/activate", "", 409, "PortBindingAlreadyActive", "Binding for port "+id+" on host h1 is already active.")
	for _, op := range []string{"GET /h3", "DELETE /h3", "PUT /h3", "PUT /h3/activate"} {
		var method, path string
		fmt.Sscan(op, &method, &path)
		b.refused(method, all+path, `{"binding":{}}`, 404, "PortBindingNotFound", "Binding for port "+id+" for host h3 could not be found.")
	}
	nobody := uuid.NewString()
	b.refused("GET", "/v2.0/ports/"+nobody+"/bindings", "", 404, "PortNotFound", "Port "+nobody+" could not be found.")

	b.must("PUT", all+"/h2", `{"binding":{"profile":{"c":3}}}`, "binding")
	b.must("PUT", all+"/h1", `{"binding":{"profile":null}}`, "binding")
	expect("profiles changed", `h1 ACTIVE ovs {}; h2 INACTIVE ovs {"c":3}; `)

	// The destination is wired while the port still is at its source.
	port("before", "h1", "ACTIVE")
	wired("h2", model.StatusActive)
	port("both wired", "h1", "ACTIVE")
	if _, err := b.store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.PutClaim(&model.Claim{PortID: uuid.MustParse(id), Host: "h2"})
	}); err != nil {
		t.Fatal(err)
	}
	wired("h1", model.StatusDown)
	port("heard at the destination", "h1", "ACTIVE")
	if out := b.send("PUT", all+"/h2/activate", ""); out.status != http.StatusOK || out.body["host"] != "h2" || out.body["status"] != "ACTIVE" {
		t.Errorf("activated: %d %s", out.status, out.text)
	}
	port("activated", "h2", "ACTIVE")
	expect("activated", `h2 ACTIVE ovs {"c":3}; h1 INACTIVE unbound {}; `)
	if _, claimed := b.store.Snapshot().Claim(uuid.MustParse(id)); claimed {
		t.Error("the claim has outlived the migration")
	}
	p, _ := b.store.Snapshot().Port(uuid.MustParse(id))
	if holders := b.store.Snapshot().Holders(nil, p); fmt.Sprint(holders) != "[h2]" {
		t.Errorf("after its activation the port is held by %v", holders)
	}
	if out := b.send("DELETE", all+"/h1", ""); out.status != http.StatusNoContent {
		t.Errorf("the source's binding deleted: %d %s", out.status, out.text)
	}
	expect("the source's binding deleted", `h2 ACTIVE ovs {"c":3}; `)

	// An evacuation takes the binding along; what unbinds, unbinds everywhere.
	b.must("POST", all, `{"binding":{"host":"h1"}}`, "binding")
	b.must("PUT", "/v2.0/ports/"+id, `{"port":{"binding:host_id":"h1"}}`, "port")
	expect("moved by the port's own binding", `h1 ACTIVE ovs {"c":3}; `)
	b.must("POST", all, `{"binding":{"host":"h2"}}`, "binding")
	if out := b.send("DELETE", all+"/h1", ""); out.status != http.StatusNoContent {
		t.Errorf("the active binding deleted: %d %s", out.status, out.text)
	}
	expect("unbound", "")
	if out := b.send("DELETE", "/v2.0/ports/"+id, ""); out.status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", out.status, out.text)
	}
	if broken := b.store.Check(t.Context()); broken != nil {
		t.Error(broken)
	}
}

// TestBindingsAreForAdministrators checks who is forbidden, and who is told that there is no such port.
func TestBindingsAreForAdministrators(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Authenticate = recordedCaller })
	demo, other, admin := "X-Caller: demo", "X-Caller: alt_demo", "X-Caller: admin"
	n := b.send("POST", "/v2.0/networks", `{"network":{}}`, demo).body["network"].(map[string]any)["id"].(string)
	id := b.send("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q}}`, n), demo).body["port"].(map[string]any)["id"].(string)
	for _, c := range []struct {
		method, path, caller string
		want                 int
	}{
		{"GET", "", demo, 403}, {"POST", "", demo, 403}, {"GET", "/h1", demo, 403}, {"PUT", "/h1", demo, 403},
		{"PUT", "/h1/activate", demo, 403}, {"DELETE", "/h1", demo, 403},
		{"GET", "", other, 404}, {"DELETE", "/h1", other, 404}, {"GET", "", admin, 200},
	} {
		if out := b.send(c.method, "/v2.0/ports/"+id+"/bindings"+c.path, map[string]string{"POST": `{"binding":{"host":"h1"}}`, "PUT": `{"binding":{}}`}[c.method], c.caller); out.status != c.want {
			t.Errorf("%s %s by %s: %d %s, not %d", c.method, c.path, c.caller, out.status, out.text, c.want)
		}
	}
}
