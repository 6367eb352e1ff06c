package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// recorded is a request that a Neutron 21 server was sent, and its answer.
type recorded struct {
	Name    string
	As      string // a key of callers; "" has no token
	Method  string
	Path    string
	Headers map[string]string
	Body    json.RawMessage // a string is sent as it is
	Status  int
	Answer  map[string]any
}

// callers are those of the recording.
var callers = map[string]*Caller{
	"admin":       {Project: "d640a9d1100345b4a37adf7e03f20e38", Admin: true},
	"demo":        {Project: "5a4fff6b0495478f9e8059b596ade451", Member: true},
	"demo_reader": {Project: "5a4fff6b0495478f9e8059b596ade451", Reader: true},
	"alt_demo":    {Project: "bb0f6c88f835478e99e8a4437266b81b", Member: true},
}

func recordedCaller(r *http.Request) (*Caller, error) {
	if c, ok := callers[r.Header.Get("X-Caller")]; ok {
		return c, nil
	}
	return nil, &unauthorized{`Keystone uri="http://127.0.0.1:5000/v3"`}
}

// derived are attributes whose values follow from the request, so that they must be Neutron's.
var derived = []string{
	"name", "description", "project_id", "tenant_id", "admin_state_up", "shared", "router:external", "mtu", "port_security_enabled",
	"dns_domain", "provider:network_type", "provider:physical_network", "status", "l2_adjacency", "network_id", "ip_version",
	"cidr", "gateway_ip", "enable_dhcp", "allocation_pools", "dns_nameservers", "host_routes", "ipv6_ra_mode", "ipv6_address_mode",
	"device_id", "device_owner", "extra_dhcp_opts", "binding:vnic_type", "binding:host_id", "binding:vif_type", "binding:profile",
	"dns_name", "ip_allocation", "prefixes", "is_default", "default_quota", "object_type", "action", "target_tenant", "tags",
	"alias", "updated",
}

// TestNeutronAnswers sends what a real Neutron was sent, in the same order, and compares status, keys,
// types, error types and messages, and the values that follow from the request. Every difference must be
// one of those that are listed, and every one that is listed must be there; docs/neutron.md shows them.
func TestNeutronAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/neutron.json")
	if err != nil {
		t.Fatal(err)
	}
	var script []recorded
	if err := json.Unmarshal(text, &script); err != nil {
		t.Fatal(err)
	}
	r := newReplay(t)
	var found []finding
	for i := range script {
		found = append(found, r.send(&script[i])...)
	}
	page := judge(t, len(script), found)
	t.Log(strings.Split(string(page), "\n\n")[3]) // the counts
	golden(t, "../docs/neutron.md", page)
}

// replay sends the recording to a server and keeps what Neutron's ids are with us.
type replay struct {
	*bench
	ids, back map[string]string // recorded → ours, ours → recorded
	described *description
	request   string // the one being compared
	found     []finding
}

func newReplay(t *testing.T) *replay {
	b := newBench(t, func(o *Options) {
		o.Authenticate = recordedCaller
		o.DNSDomain = "openstacklocal"
		o.Quotas = Quotas{"network": 100, "subnet": 100, "port": 500, "subnetpool": -1, "rbac_policy": 10}
		o.Segments.Flat = []string{"physnet1", "public"}
		o.Segments.VLAN = vlanRanges("physnet2:1:99", "physnet1:100:199")
	})
	b.host("h1", "h2")
	b.alive("h1", true)
	b.alive("h2", true)
	if _, err := b.store.Update(t.Context(), func(tx *store.Tx) error {
		h, _ := tx.HostByName("h1")
		mapped := *h
		mapped.BridgeMappings = map[string]string{"physnet1": "br-phys"}
		return tx.PutHost(&mapped)
	}); err != nil {
		t.Fatal(err)
	}
	r := &replay{bench: b, ids: make(map[string]string), back: make(map[string]string), described: newDescription(t, b.server, nil)}
	for recorded, agent := range map[string]uuid.UUID{
		"78a9b742-033b-42c8-8c92-ff8ed1e2d9b9": (&model.Host{ID: "id-h1"}).AgentID(model.AgentOVS),
		"94202ab9-192c-45d7-b01a-2b0fb384d486": (&model.Host{ID: "id-h1"}).AgentID(model.AgentDHCP),
		"6edaac71-6343-4e3e-af4f-ccca85812008": (&model.Host{ID: "id-h2"}).AgentID(model.AgentDHCP), // Neutron's for metadata
	} {
		r.ids[recorded], r.back[agent.String()] = agent.String(), recorded
	}
	// What was there before.
	external := b.send("POST", "/v2.0/networks", `{"network":{"name":"tempest-public","router:external":true}}`, "X-Caller: admin")
	r.learn(map[string]any{"id": "fdf32f00-6270-4650-a092-d4fb8099fe12"}, external.body["network"])
	return r
}

func replace(s string, ids map[string]string) string {
	for from, to := range ids {
		s = strings.ReplaceAll(s, from, to)
	}
	return s
}

// send sends one request and compares the answer.
func (r *replay) send(rec *recorded) []finding {
	r.request, r.found = rec.Name, nil
	body := string(rec.Body)
	if rec.Body != nil && rec.Body[0] == '"' {
		json.Unmarshal(rec.Body, &body)
	}
	body = pinned(r.without(body), rec.Answer)
	headers := []string{"X-Caller: " + rec.As}
	for name, value := range rec.Headers {
		headers = append(headers, name+": "+value)
	}
	if port, plugged := r.ids["f2f0f1c9-6253-4b9a-ae19-dca3149d945b"]; plugged {
		r.plug(port, map[bool]string{true: model.StatusActive, false: model.StatusDown}[strings.Contains(rec.Name, "ACTIVE")])
	}
	if rec.Name == "errors: quota: first network" {
		r.bench.send("PUT", "/v2.0/quotas/"+callers["alt_demo"].Project, `{"quota":{"network":1,"subnet":0,"port":0}}`, "X-Caller: admin")
	}
	got := r.bench.send(rec.Method, replace(rec.Path, r.ids), replace(body, r.ids), headers...)
	r.described.checkAnswer(r.t, rec.Name, routeOf(r.server, rec.Method, rec.Path), got.status, got.text)
	for collection := range rec.Answer {
		r.learn(rec.Answer[collection], got.body[collection])
		if rec.Method == http.MethodPost {
			was, _ := rec.Answer[collection].([]any)
			is, _ := got.body[collection].([]any)
			for i := range min(len(was), len(is)) {
				r.learn(was[i], is[i])
			}
		}
	}
	if got.status != rec.Status {
		r.differs("status", rec.Status, fmt.Sprint(got.status, " ", got.text))
		return r.found
	}
	if got.header.Get("X-Openstack-Request-Id") == "" {
		r.t.Errorf("%s: no request id", rec.Name)
	}
	if rec.Status == http.StatusUnauthorized && got.header.Get("WWW-Authenticate") == "" {
		r.t.Errorf("%s: no challenge", rec.Name)
	}
	var answer map[string]any
	if got.text != "" {
		if err := json.Unmarshal([]byte(strings.ReplaceAll(replace(got.text, r.back), "http://api.test", "http://127.0.0.1:9696")), &answer); err != nil {
			r.t.Fatal(err)
		}
	}
	r.compareBody(rec.Answer, answer)
	return r.found
}

func (r *replay) learn(recorded, ours any) {
	was, _ := recorded.(map[string]any)
	is, _ := ours.(map[string]any)
	if w, ok := was["id"].(string); ok {
		if i, ok := is["id"].(string); ok {
			r.ids[w], r.back[i] = i, w
		}
	}
}

// without takes out of a body what the list says that we do not know, so that the rest is compared.
func (r *replay) without(body string) string {
	for _, d := range differences {
		if d.left != "" && strings.HasPrefix(r.request, d.requests) {
			r.differs("request", "accepted", "unknown")
			body = strings.Replace(body, d.left, "", 1)
		}
	}
	return body
}

// pinned asks for the addresses that Neutron chose at random, so that what comes later finds the same
// ones taken and free.
func pinned(body string, answer map[string]any) string {
	var request map[string]any
	if json.Unmarshal([]byte(body), &request) != nil {
		return body
	}
	changed := pin(request["port"], answer["port"])
	asked, _ := request["ports"].([]any)
	got, _ := answer["ports"].([]any)
	for i := range min(len(asked), len(got)) {
		changed = pin(asked[i], got[i]) || changed
	}
	if !changed {
		return body
	}
	text, _ := json.Marshal(request)
	return string(text)
}

func pin(request, answer any) bool {
	asked, _ := request.(map[string]any)
	got, _ := answer.(map[string]any)
	chosen := asked["network_id"] != nil && asked["fixed_ips"] == nil
	wanted, _ := asked["fixed_ips"].([]any)
	for _, f := range wanted {
		f, _ := f.(map[string]any)
		chosen = chosen || f["ip_address"] == nil
	}
	if !chosen || got["fixed_ips"] == nil || strings.Contains(fmt.Sprint(got["fixed_ips"]), "::") {
		return false // its own choice, or nothing to choose: SLAAC
	}
	asked["fixed_ips"] = got["fixed_ips"]
	return true
}

func (r *replay) differs(field string, neutron, ours any) {
	r.found = append(r.found, finding{r.request, field, fmt.Sprint(neutron), fmt.Sprint(ours)})
}

// compareBody compares two bodies.
func (r *replay) compareBody(want, got map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, has := want[key]; !has {
			r.differs(key, "absent", got[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		g, has := got[key]
		switch w := want[key].(type) {
		case map[string]any:
			ours, object := g.(map[string]any)
			switch {
			case !object:
				r.differs(key, "an object", g)
			case key == "NeutronError":
				r.compareError(w, ours)
			default:
				r.compareObject(w, ours)
			}
		case []any:
			ours, list := g.([]any)
			if !list {
				r.differs(key, "a list", g)
				continue
			}
			r.compareList(key, w, ours)
		default:
			if !has || !cmp.Equal(w, g) {
				r.differs(key, w, g)
			}
		}
	}
}

func (r *replay) compareError(want, got map[string]any) {
	const list = "id for these ports is: " // the recording had other ports on its networks
	for _, e := range []map[string]any{want, got} {
		e["message"], _, _ = strings.Cut(fmt.Sprint(e["message"]), list)
	}
	for _, key := range []string{"type", "message", "detail"} {
		if want[key] != got[key] {
			r.differs(key, want[key], got[key])
		}
	}
	if len(got) != 3 {
		r.t.Errorf("%s: an error of %v", r.request, got)
	}
}

// compareList compares two lists, of which each item is told by its id, or what else names it.
func (r *replay) compareList(key string, want, got []any) {
	name := func(v any) string {
		o, _ := v.(map[string]any)
		for _, k := range []string{"id", "alias", "host", "name", "project_id"} {
			if s, ok := o[k].(string); ok {
				return s
			}
		}
		return fmt.Sprint(v)
	}
	ours := make(map[string]any)
	for _, g := range got {
		ours[name(g)] = g
	}
	for _, w := range want {
		g, has := ours[name(w)]
		if !has {
			r.differs(key, w, "absent")
			continue
		}
		delete(ours, name(g))
		if o, isObject := w.(map[string]any); isObject {
			g, _ := g.(map[string]any)
			r.compareObject(o, g)
		}
	}
	for _, left := range slices.Sorted(maps.Keys(ours)) {
		r.differs(key, "absent", ours[left])
	}
}

// compareObject compares two resources: their attributes, the types of these, and the values that follow
// from the request.
func (r *replay) compareObject(want, got map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w := want[name]
		g, has := got[name]
		switch {
		case !has:
			r.differs(name, w, "absent")
		case (w == nil) != (g == nil) && name != "provider:segmentation_id" || w != nil && g != nil && fmt.Sprintf("%T", w) != fmt.Sprintf("%T", g):
			r.differs(name, w, g)
		case slices.Contains(derived, name) && !cmp.Equal(w, g):
			r.differs(name, w, g)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, has := want[name]; !has {
			r.differs(name, "absent", got[name])
		}
	}
}

// host enrols hosts that can carry VXLAN.
func (b *bench) host(names ...string) {
	b.t.Helper()
	_, err := b.store.Update(b.t.Context(), func(tx *store.Tx) error {
		for i, name := range names {
			h := &model.Host{ID: "id-" + name, Hostname: name, Datapath: "netdev", EncapTypes: []string{"vxlan"},
				EncapIP: netip.AddrFrom4([4]byte{172, 31, 0, byte(i + 1)}), EnrolledAt: now()}
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// plug makes a port's status what a controller would say.
func (b *bench) plug(port, status string) {
	b.t.Helper()
	b.store.SetPortStatus(model.PortStatus{PortID: uuid.MustParse(port), Status: status, Host: "h1"})
	if err := b.store.FlushStatus(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}
