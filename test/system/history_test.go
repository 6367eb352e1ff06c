package system

import (
	"errors"
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
	away     map[*testbed.CheapHost]bool // without a connection to the controller
	networks map[string]*drawn
	ports    map[string]*planned
	traced   map[string]int // frames followed, by network type, and "to nobody"
	next     int
	history  []string
}

func (w *world) did(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// drawn is a network and its type.
type drawn struct {
	*network
	networkType string
}

// planned is a port, what was asked for it, and where it is plugged.
type planned struct {
	*port
	network  *drawn
	up, safe bool // admin_state_up, port_security_enabled
	plugged  map[*testbed.CheapHost]bool
}

// physicalHosts are those with a bridge for the physical network.
var physicalHosts = []string{"compute01", "compute02"}

// carries says whether a host can have ports of the network.
func (n *drawn) carries(host string) bool {
	return n.networkType != "flat" && n.networkType != "vlan" || slices.Contains(physicalHosts, host)
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
	action := rapid.SampledFrom([]string{"network", "port", "boot", "boot", "boot", "boot", "boot", "plug", "plug", "plug", "unplug", "unplug", "delete", "down", "bind", "readdress", "delete network", "secure", "leave", "leave", "return", "restart switch", "restart database", "restart"}).Draw(t, "action")
	update := func(what object) {
		var made struct{ Port port }
		w.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": what}, &made)
		*p.port = made.Port
		w.did("update %s with %v", p.ID, what)
	}
	switch {
	case action == "network" || !hasNetwork:
		w.next++
		made := &drawn{networkType: rapid.SampledFrom(allTypes).Draw(t, "type")}
		if made.networkType == "flat" && w.hasFlat() {
			return // the physical network has room for one
		}
		made.network = w.networkOf(made.networkType, fmt.Sprint("net", w.next), "10.0.0.0/24")
		w.did("create %s network %s", made.networkType, made.Name)
		w.networks[made.Name] = made
	case action == "port" || action == "boot" || !hasPort:
		w.next++
		if action == "boot" {
			binding = host.Name
		}
		made := &planned{port: w.addPort(n.network, binding), network: n, up: true, safe: true, plugged: map[*testbed.CheapHost]bool{}}
		w.ports[fmt.Sprint(w.next)] = made
		w.did("create port %s on %s, host %q", made.ID, n.Name, binding)
		if action == "boot" {
			w.plugOn(host, made)
		}
	case action == "plug":
		w.plugOn(host, p)
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
	case action == "secure":
		p.safe = !p.safe
		update(object{"port_security_enabled": p.safe})
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
	case action == "leave" && !w.away[host]:
		w.did("%s leaves", host.Name)
		if _, err := host.Vsctl("del-manager"); err != nil {
			w.t.Fatal(err)
		}
		w.away[host] = true
	case action == "return" && w.away[host]:
		w.back(host)
	case action == "restart switch":
		w.did("restart the switch of %s", host.Name)
		if err := errors.Join(host.KillVswitchd(), host.StartVswitchd()); err != nil {
			w.t.Fatal(err)
		}
	case action == "restart database":
		w.did("restart the database of %s", host.Name)
		if err := errors.Join(host.KillOVSDB(), host.StartOVSDB()); err != nil {
			w.t.Fatal(err)
		}
	case action == "restart" && rapid.IntRange(0, 3).Draw(t, "really") == 0:
		w.did("kill and start the controller")
		w.kill()
		w.serve()
	}
}

func (w *world) plugOn(h *testbed.CheapHost, p *planned) {
	w.plug(h, p.port)
	p.plugged[h] = true
	w.did("plug %s on %s", p.ID, h.Name)
}

func (w *world) hasFlat() bool {
	for _, n := range w.networks {
		if n.networkType == "flat" {
			return true
		}
	}
	return false
}

// back lets a host that left return.
func (w *world) back(h *testbed.CheapHost) {
	w.did("%s returns", h.Name)
	w.enrolPhysical(h)
	delete(w.away, h)
}

// enrolPhysical enrols a host with its bridge for the physical network, if it has one.
func (d *deployment) enrolPhysical(h *testbed.CheapHost) {
	d.t.Helper()
	var ids map[string]string
	if slices.Contains(physicalHosts, h.Name) {
		ids = map[string]string{"tunbridge-bridge-mappings": physical + ":br-ex"}
	}
	d.enrol(h, ids)
}

func (w *world) unplugAll(p *planned) {
	for h := range p.plugged {
		w.unplug(h, p.port)
	}
}

// check lets all hosts return, waits until every port has the status that follows from what was asked,
// and compares every host with a recompute from nothing.
func (w *world) check() {
	for _, h := range w.hosts {
		if w.away[h] {
			w.back(h)
		}
	}
	w.settled(w.hosts...)
	for _, p := range w.ports {
		w.await("port "+p.ID, func() error {
			shown, err := w.port(p.ID)
			if err != nil {
				return err
			}
			want := "DOWN"
			for h := range p.plugged {
				if shown.Host == "" && p.network.carries(h.Name) {
					return fmt.Errorf("plugged on host %s, which does not claim it: %+v", h.Name, shown)
				}
				if p.up && shown.Host == h.Name && p.network.carries(h.Name) {
					want = "ACTIVE"
				}
			}
			p.Status, p.Host = shown.Status, shown.Host
			return is(shown.Status, want)
		})
	}
	w.verify()
}

// trace follows a frame from each port to each other one and to all, and compares where it arrives with
// who is there to be reached.
func (w *world) trace() {
	walker := w.walk(w.hosts)
	here := func(p *planned) *testbed.CheapHost {
		i := slices.IndexFunc(w.hosts, func(h *testbed.CheapHost) bool { return h.Name == p.Host })
		if p.Status != "ACTIVE" || i < 0 {
			return nil
		}
		return w.hosts[i]
	}
	for _, from := range w.ports {
		h := here(from)
		if h == nil {
			continue
		}
		var members []string
		for _, to := range w.ports {
			if to == from {
				continue
			}
			var want []string
			reaches := here(to) != nil && to.network == from.network && (to.network.networkType != "local" || here(to) == h)
			if reaches {
				want = []string{to.Host + "/" + to.device()}
				members = append(members, want...)
			}
			if reaches {
				w.traced[from.network.networkType]++
			} else {
				w.traced["to nobody"]++
			}
			got := walker.reached(h, from.port, to.MAC)
			w.agrees(from, to.MAC, got)
			if reaches && !slices.Equal(got, want) || !reaches && slices.ContainsFunc(got, func(at string) bool { return strings.HasSuffix(at, to.device()) }) {
				w.t.Fatalf("%s network: unicast from port %s on %s to port %s (%s, host %q) arrives at %q, want %q", from.network.networkType, from.ID, from.Host, to.ID, to.Status, to.Host, got, want)
			}
		}
		slices.Sort(members)
		got := walker.reached(h, from.port, broadcast)
		w.agrees(from, broadcast, got)
		if !slices.Equal(got, members) {
			w.t.Fatalf("%s network: a broadcast of port %s on %s arrives at %q, want %q", from.network.networkType, from.ID, from.Host, got, members)
		}
	}
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

// Whatever was asked and plugged in whatever order, on networks of every type, and whoever was away
// meanwhile: in the end the hosts have what a recompute from nothing wants; the ports are up that should
// be, and reach whom they should and nobody else; and with everything deleted nothing is left.
func TestHistories(t *testing.T) {
	t.Parallel()
	// What fails here may not fail again: it is told at once, not shrunk.
	settings := map[string]string{"rapid.nofailfile": "true"}
	if seed := os.Getenv("RAPID_SEED"); seed != "" {
		settings["rapid.seed"] = seed
	}
	if soaking {
		settings["rapid.checks"] = "10" // in each of twenty runs
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing passes the tunnels of these hosts: probes would find them down, and traces say so.
	d := deploy(t, "--flat-networks="+physical, "--vlan-ranges="+physical+":100:199", "--probe-interval=0")
	hosts := d.addHosts("compute01", "compute02", "compute03")
	for _, h := range hosts[:len(physicalHosts)] {
		if _, err := h.Vsctl("add-br", "br-ex"); err != nil {
			t.Fatal(err)
		}
		d.enrolPhysical(h)
	}
	d.settled(hosts...)
	bare := map[string]string{}
	for _, h := range hosts {
		bare[h.Name] = d.rules(h, "br-int") + d.rules(h, "br-tun")
	}
	started, histories, failed, traced := time.Now(), 0, false, map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		if failed || !soaking && time.Since(started) > historiesFor && histories >= 3 && len(traced) >= 2 {
			return
		}
		histories++
		w := &world{deployment: d.as(rt), hosts: hosts, away: map[*testbed.CheapHost]bool{}, traced: traced, networks: map[string]*drawn{}, ports: map[string]*planned{}}
		defer func() {
			d.process = w.process
			if failed = rt.Failed(); failed {
				t.Errorf("history %d:\n%s", histories, strings.Join(w.history, "\n"))
			}
		}()
		steps := rapid.IntRange(5, 40)
		if soaking {
			steps = rapid.IntRange(50, 80)
		}
		for range steps.Draw(rt, "steps") {
			w.step(rt)
			if rapid.IntRange(0, 9).Draw(rt, "look") == 0 {
				w.check()
			}
		}
		w.check()
		w.trace()
		w.clear()
		for _, h := range hosts {
			if got := w.rules(h, "br-int") + w.rules(h, "br-tun"); got != bare[h.Name] {
				rt.Fatalf("with everything deleted host %s has\n%s\nand had at first\n%s", h.Name, got, bare[h.Name])
			}
		}
	})
	t.Logf("%d histories; frames followed: %v", histories, traced)
	if !failed && (histories < 3 || len(traced) < 2) {
		t.Errorf("only %d histories, and frames to %v", histories, traced)
	}
}

// historiesFor is how long new histories are begun, if there were a few.
const historiesFor = 30 * time.Second
