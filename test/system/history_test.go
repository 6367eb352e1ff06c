package system

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// world is what a history has made of a deployment, as far as it can be told from outside.
type world struct {
	*deployment
	hosts    []*testbed.CheapHost
	networks map[string]*network
	ports    map[string]*planned
	next     int
	history  []string
}

func (w *world) did(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// planned is a port, what was asked for it, and where it is plugged.
type planned struct {
	*port
	up      bool
	plugged map[*testbed.CheapHost]bool
}

// one draws an element of a map, in an order that does not change.
func one[V any](t *rapid.T, m map[string]V, label string) (v V, ok bool) {
	if len(m) == 0 {
		return v, false
	}
	keys := slices.Sorted(maps.Keys(m))
	return m[rapid.SampledFrom(keys).Draw(t, label)], true
}

// step draws one thing that a user or a host's operator does, and does it.
func (w *world) step(t *rapid.T) {
	n, hasNetwork := one(t, w.networks, "network")
	p, hasPort := one(t, w.ports, "port")
	host := rapid.SampledFrom(w.hosts).Draw(t, "host")
	binding := rapid.SampledFrom([]string{host.Name, ""}).Draw(t, "binding")
	action := rapid.SampledFrom([]string{"network", "port", "port", "port", "plug", "plug", "plug", "plug", "unplug", "unplug", "delete", "down", "bind", "readdress", "delete network", "empty", "restart"}).Draw(t, "action")
	update := func(what object) {
		var made struct{ Port port }
		w.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": what}, &made)
		*p.port = made.Port
		w.did("update %s with %v", p.ID, what)
	}
	switch {
	case action == "network" || !hasNetwork:
		w.next++
		made := w.addNetwork(fmt.Sprint("net", w.next), "10.0.0.0/24")
		w.did("create network %s", made.Name)
		w.networks[made.Name] = made
	case action == "port" || !hasPort:
		w.next++
		made := &planned{port: w.addPort(n, binding), up: true, plugged: map[*testbed.CheapHost]bool{}}
		w.ports[fmt.Sprint(w.next)] = made
		w.did("create port %s on %s, host %q", made.ID, n.Name, binding)
	case action == "plug":
		w.plug(host, p.port)
		p.plugged[host] = true
		w.did("plug %s on %s", p.ID, host.Name)
	case action == "unplug" && p.plugged[host]:
		w.unplug(host, p.port)
		delete(p.plugged, host)
		w.did("unplug %s on %s", p.ID, host.Name)
	case action == "delete":
		w.did("delete %s", p.ID)
		w.must(http.MethodDelete, "/v2.0/ports/"+p.ID, nil, nil)
		maps.DeleteFunc(w.ports, func(_ string, q *planned) bool {
			if q == p {
				w.unplugAll(p)
			}
			return q == p
		})
	case action == "down":
		p.up = !p.up
		update(object{"admin_state_up": p.up})
	case action == "bind":
		update(object{"binding:host_id": binding})
	case action == "readdress":
		update(object{"fixed_ips": []object{{"subnet_id": p.FixedIPs[0].SubnetID}}})
	case action == "delete network":
		w.did("delete %s and its ports", n.Name)
		for name, q := range w.ports {
			if q.NetworkID == n.ID {
				w.must(http.MethodDelete, "/v2.0/ports/"+q.ID, nil, nil)
				w.unplugAll(q)
				delete(w.ports, name)
			}
		}
		w.must(http.MethodDelete, "/v2.0/networks/"+n.ID, nil, nil)
		delete(w.networks, n.Name)
	case action == "restart" && rapid.IntRange(0, 3).Draw(t, "really") == 0:
		w.did("kill and start the controller")
		w.kill()
		w.serve()
	}
}

func (w *world) unplugAll(p *planned) {
	for h := range p.plugged {
		w.unplug(h, p.port)
	}
}

// check waits until every port has the status that follows from what was asked, and compares every
// host with a recompute from nothing.
func (w *world) check() {
	w.settled(w.hosts...)
	for _, p := range w.ports {
		w.await("port "+p.ID, func() error {
			shown, err := w.port(p.ID)
			if err != nil {
				return err
			}
			want := "DOWN"
			for h := range p.plugged {
				if p.up && shown.Host == h.Name {
					want = "ACTIVE"
				}
			}
			if shown.Host == "" && len(p.plugged) > 0 {
				return fmt.Errorf("plugged, and nobody claims it: %+v", shown)
			}
			return is(shown.Status, want)
		})
	}
	w.verify()
}

// clear deletes everything; then the hosts are as they were in the beginning.
func (w *world) clear() {
	for _, p := range w.ports {
		w.must(http.MethodDelete, "/v2.0/ports/"+p.ID, nil, nil)
		w.unplugAll(p)
	}
	for _, n := range w.networks {
		w.must(http.MethodDelete, "/v2.0/networks/"+n.ID, nil, nil)
	}
	w.await("hosts without VIFs", func() error {
		for _, h := range w.hosts {
			state, err := w.host(h.Name)
			if err == nil {
				err = is(len(state.VIFs)+len(state.LocalVLANs), 0)
			}
			if err == nil {
				err = unsettled(state)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Whatever was asked and plugged in whatever order, the hosts have in the end what a recompute from
// nothing wants; the ports are up that should be; and with everything deleted nothing is left.
func TestHistories(t *testing.T) {
	t.Parallel()
	// What fails here may not fail again: it is told at once, not shrunk.
	settings := map[string]string{"rapid.nofailfile": "true"}
	if seed := os.Getenv("RAPID_SEED"); seed != "" {
		settings["rapid.seed"] = seed
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02", "compute03")
	bare := map[string]string{}
	for _, h := range hosts {
		bare[h.Name] = d.rules(h, "br-int") + d.rules(h, "br-tun")
	}
	started, histories, failed := time.Now(), 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if failed || time.Since(started) > historiesFor {
			return
		}
		histories++
		w := &world{deployment: d.as(rt), hosts: hosts, networks: map[string]*network{}, ports: map[string]*planned{}}
		defer func() {
			d.process = w.process
			if failed = rt.Failed(); failed {
				t.Errorf("history %d:\n%s", histories, strings.Join(w.history, "\n"))
			}
		}()
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			w.step(rt)
			if rapid.IntRange(0, 9).Draw(rt, "look") == 0 {
				w.check()
			}
		}
		w.check()
		w.clear()
		for _, h := range hosts {
			if got := w.rules(h, "br-int") + w.rules(h, "br-tun"); got != bare[h.Name] {
				rt.Fatalf("with everything deleted host %s has\n%s\nand had at first\n%s", h.Name, got, bare[h.Name])
			}
		}
	})
	t.Logf("%d histories", histories)
	if !failed && histories < 3 {
		t.Errorf("only %d histories in %s", histories, historiesFor)
	}
}

// historiesFor is how long new histories are begun.
const historiesFor = 30 * time.Second
