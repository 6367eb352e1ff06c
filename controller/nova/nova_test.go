package nova

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// compute is the part of Nova's API that events go to.
type compute struct {
	*httptest.Server

	mu       sync.Mutex
	status   int            // of every answer; 0: as Nova would
	codes    map[string]int // by port or event name; 200 for the others
	requests [][]string     // the events of each request, "name port"
	tokens   []string
}

func serveCompute(t *testing.T) *compute {
	c := &compute{codes: map[string]int{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *compute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	type event struct {
		told
		Code int `json:"code,omitempty"`
	}
	var body struct {
		Events []event `json:"events"`
	}
	text, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || r.URL.Path != "/v2.1/os-server-external-events" || json.Unmarshal(text, &body) != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c.tokens = append(c.tokens, r.Header.Get("X-Auth-Token"))
	status, found := http.StatusOK, false
	var names []string
	for i := range body.Events {
		e := &body.Events[i]
		names = append(names, e.Name+" "+e.Tag)
		for _, key := range []string{e.Tag, e.Name} {
			if code := c.codes[key]; code != 0 {
				e.Code, status = code, http.StatusMultiStatus
			}
		}
		if e.Code == http.StatusBadRequest {
			c.requests = append(c.requests, names)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if e.Code == 0 {
			e.Code, found = http.StatusOK, true
		}
	}
	if c.status != 0 {
		status = c.status
	} else {
		c.requests = append(c.requests, names)
		if !found && status == http.StatusMultiStatus && body.Events[0].Code == http.StatusNotFound {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"itemNotFound": {"code": 404, "message": "No instances found for any event"}}`)
			return
		}
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"events": body.Events})
}

func (c *compute) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// heard is all events in their order, requests apart.
func (c *compute) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, r := range c.requests {
		all = append(all, strings.Join(r, ", "))
	}
	return strings.Join(all, "; ")
}

// bench is a store with instances' ports a, b and c, and a notifier.
type bench struct {
	t     *testing.T
	store *store.Store
	nova  *compute
	ports map[string]*model.Port
	stop  context.CancelFunc
	ended chan struct{}
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, store: store.OpenMemory(), nova: serveCompute(t), ports: map[string]*model.Port{}}
	t.Cleanup(func() { b.store.Close() })
	network := &model.Network{Common: model.Common{ID: uuid.New()}}
	b.update(func(tx *store.Tx) error { return tx.PutNetwork(network) })
	for i, name := range []string{"a", "b", "c"} {
		p := &model.Port{Common: model.Common{ID: uuid.New()}, NetworkID: network.ID, MACAddress: model.MAC{2, 5: byte(i)},
			HostID: "h1", DeviceOwner: "compute:nova", DeviceID: uuid.NewString()}
		b.ports[name] = p
		b.update(func(tx *store.Tx) error { return tx.PutPort(p) })
	}
	return b
}

func (b *bench) update(f func(*store.Tx) error) {
	b.t.Helper()
	if _, err := b.store.Update(b.t.Context(), f); err != nil {
		b.t.Fatal(err)
	}
}

// start runs a notifier; end ends it.
func (b *bench) start(gather time.Duration) {
	ctx, stop := context.WithCancel(b.t.Context())
	b.stop, b.ended = stop, make(chan struct{})
	n := New(Options{Store: b.store, Endpoint: At(b.nova.URL+"/v2.1/", http.DefaultClient), Gather: gather})
	go func() {
		defer close(b.ended)
		_ = n.Run(ctx)
	}()
	b.t.Cleanup(b.end)
}

func (b *bench) end() {
	b.stop()
	<-b.ended
}

func (b *bench) change(name string) {
	b.t.Helper()
	row := *b.ports[name]
	row.RevisionNumber++
	b.ports[name] = &row
	b.update(func(tx *store.Tx) error { return tx.PutPort(&row) })
}

func (b *bench) say(name, status string) {
	b.t.Helper()
	b.store.SetPortStatus(model.PortStatus{PortID: b.ports[name].ID, Host: "h1", Status: status})
	if err := b.store.FlushStatus(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// expect waits until Nova has heard what is wanted: requests apart by ";", their events as "plugged a".
func (b *bench) expect(want string) { b.t.Helper(); b.await(want, b.nova.heard) }

// expectEvents is expect, however the events came in requests.
func (b *bench) expectEvents(want string) {
	b.t.Helper()
	b.await(want, func() string { return strings.ReplaceAll(b.nova.heard(), ";", ",") })
}

func (b *bench) await(want string, heard func() string) {
	b.t.Helper()
	words := regexp.MustCompile(`[a-z]+`)
	want = words.ReplaceAllStringFunc(want, func(word string) string {
		if p := b.ports[word]; p != nil {
			return p.ID.String()
		}
		return map[string]string{"changed": model.EventChanged, "unplugged": model.EventUnplugged, "plugged": model.EventPlugged}[word]
	})
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if got = heard(); got == want {
			return
		}
	}
	b.t.Fatalf("Nova has heard\n%s, not\n%s", got, want)
}

// empty waits until nothing is left to tell.
func (b *bench) empty() {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		left := slices.Collect(b.store.Snapshot().Events())
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%d events are left, %+v the first", len(left), left[0])
		}
	}
}

// Changes wait for each other; what an instance waits for goes at once and takes them along.
func TestGathering(t *testing.T) {
	b := newBench(t)
	b.start(time.Hour)
	b.change("a")
	b.change("a")
	b.change("b")
	time.Sleep(30 * time.Millisecond)
	b.expect("")
	b.say("a", "ACTIVE")
	b.expect("changed a, changed b, plugged a")
	b.empty()
	b.end()
	b.start(20 * time.Millisecond)
	b.change("b")
	b.change("b")
	b.expect("changed a, changed b, plugged a; changed b")
	b.say("a", "DOWN")
	b.update(func(tx *store.Tx) error { return tx.DeletePort(b.ports["a"].ID) })
	b.empty()
	if got := b.nova.heard(); !strings.Contains(got, model.EventDeleted+" "+b.ports["a"].ID.String()) {
		t.Errorf("Nova has heard %s", got)
	}
}

// Nothing is lost while Nova is away, nor with the process, and the order of a port's events stays.
func TestNovaAway(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusNotFound, http.StatusForbidden} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			b := newBench(t)
			b.nova.status = status
			b.start(time.Millisecond)
			b.say("a", "ACTIVE")
			b.say("a", "DOWN")
			time.Sleep(20 * time.Millisecond)
			b.end()
			b.start(time.Millisecond)
			b.say("a", "ACTIVE")
			b.change("a")
			b.nova.set(func() { b.nova.status = 0 })
			b.expectEvents("plugged a, unplugged a, plugged a, changed a")
			b.empty()
		})
	}
}

// One event that Nova does not want stops no other; one that it cannot place yet holds up its port alone.
func TestCodes(t *testing.T) {
	b := newBench(t)
	b.nova.codes[b.ports["a"].ID.String()] = http.StatusNotFound
	b.nova.codes[b.ports["b"].ID.String()] = http.StatusUnprocessableEntity
	for _, name := range []string{"a", "b", "c"} {
		b.store.KeepEvents()
		b.say(name, "ACTIVE")
	}
	b.start(time.Millisecond)
	b.expect("plugged a, plugged b, plugged c")
	b.change("b")
	b.change("c")
	b.expect("plugged a, plugged b, plugged c; changed c")
	b.nova.set(func() { clear(b.nova.codes) })
	b.expect("plugged a, plugged b, plugged c; changed c; plugged b, changed b")
	b.empty()

	// All unknown: Nova answers the whole request with 404. One malformed: with 400.
	b.nova.set(func() { b.nova.codes[model.EventUnplugged] = http.StatusNotFound; b.nova.requests = nil })
	b.say("a", "DOWN")
	b.expect("unplugged a")
	b.empty()
	b.end()
	b.nova.set(func() {
		clear(b.nova.codes)
		b.nova.codes[b.ports["b"].ID.String()] = http.StatusBadRequest
		b.nova.requests = nil
	})
	for _, name := range []string{"a", "b", "c"} {
		b.change(name)
	}
	b.start(time.Millisecond)
	b.expect("changed a, changed b; changed a; changed b; changed c")
	b.empty()
}

// The service's token is renewed when Nova no longer takes it; the endpoint is the catalog's.
func TestKeystone(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	issued, accepted := 0, 1
	keystone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/v3/auth/tokens" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var asked struct {
			Auth struct {
				Identity struct {
					Password struct {
						User struct {
							Name, Password string
							Domain         struct{ Name string }
						}
					}
				}
				Scope struct {
					Project struct {
						Name   string
						Domain struct{ Name string }
					}
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		u, p := asked.Auth.Identity.Password.User, asked.Auth.Scope.Project
		if u.Name != "tunbridge" || u.Password != "secret" || u.Domain.Name != "Users" || p.Name != "service" || p.Domain.Name != "Projects" {
			t.Errorf("asked for a token with %+v", asked)
		}
		issued++
		w.Header().Set("X-Subject-Token", fmt.Sprint("token", issued))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":{"expires_at":"2099-01-01T00:00:00.000000Z","catalog":[{"type":"compute","name":"nova","endpoints":[
			{"interface":"public","region":"other","region_id":"other","url":"http://127.0.0.1:1/v2.1"},
			{"interface":"public","region":"here","region_id":"here","url":"%s/v2.1"}]}]}}`, b.nova.URL)
	}))
	defer keystone.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		good := r.Header.Get("X-Auth-Token") == fmt.Sprint("token", accepted)
		mu.Unlock()
		if !good {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		b.nova.ServeHTTP(w, r)
	}))
	defer front.Close()
	b.nova.Server.URL = front.URL
	e := WithKeystone(Service{Keystone: keystone.URL + "/v3", Username: "tunbridge", Password: func() (string, error) { return "secret", nil }, Project: "service", UserDomain: "Users", ProjectDomain: "Projects", Region: "here"}, "", http.DefaultClient)
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusOK, http.StatusUnauthorized} {
		switch i {
		case 2: // the token has expired
			mu.Lock()
			accepted = 2
			mu.Unlock()
		case 3: // the service may do nothing any more
			mu.Lock()
			accepted = -1
			mu.Unlock()
		}
		status, _, err := e.Post(t.Context(), "/os-server-external-events", []byte(`{"events":[]}`))
		if err != nil || status != want {
			t.Errorf("request %d: %d, %v, not %d", i, status, err, want)
		}
	}
	if issued != 3 {
		t.Errorf("%d tokens were asked for", issued)
	}
	if got := fmt.Sprint(b.nova.tokens); got != "[token1 token1 token2]" {
		t.Errorf("Nova was shown %s", got)
	}
	keystone.Close()
	if _, _, err := e.Post(t.Context(), "/x", nil); err == nil || !strings.Contains(err.Error(), "keystone at "+keystone.URL) {
		t.Errorf("without Keystone: %v", err)
	}
}
