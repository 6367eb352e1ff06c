package system

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/store"
)

// The controller is killed and started on the same data: no flow is touched, nothing is forgotten, and
// what happened meanwhile is made good.
func TestControllerIsKilled(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	blue, red := d.addNetwork("blue", "10.0.0.0/24"), d.addNetwork("red", "10.0.0.0/24")
	a1, a2, b1, r1 := d.addPort(blue, h1.Name), d.addPort(blue, h1.Name), d.addPort(blue, h2.Name), d.addPort(red, h1.Name)
	d.plug(h1, a1, a2, r1)
	d.plug(h2, b1)
	d.become("ACTIVE", a1, a2, b1, r1)
	d.settled(hosts...)
	before := map[string]string{}
	for _, h := range hosts {
		for _, bridge := range []string{"br-int", "br-tun"} {
			before[h.Name+bridge] = d.rules(h, bridge)
		}
	}
	time.Sleep(300 * time.Millisecond) // a flow added from now on is younger than the kill by more than the clocks differ
	killed := time.Now()
	d.kill()
	frame := plainFrame(a1, a2)
	if err := h1.Inject(a1.device(), frame); err != nil {
		t.Fatal(err)
	}
	d.delivered(h1, a2, frame) // without a controller
	d.serve()
	d.settled(hosts...)
	d.become("ACTIVE", a1, a2, b1, r1)
	for _, h := range hosts {
		for _, bridge := range []string{"br-int", "br-tun"} {
			if got := d.rules(h, bridge); got != before[h.Name+bridge] {
				t.Errorf("host %s: %s has\n%s\nand had before the kill\n%s", h.Name, bridge, got, before[h.Name+bridge])
			}
			if added := d.newest(h, bridge); added.After(killed) {
				t.Errorf("host %s: %s: a flow was added %s after the kill", h.Name, bridge, added.Sub(killed))
			}
		}
	}
	for _, p := range []*port{a1, a2, b1, r1} {
		if shown, err := d.port(p.ID); err != nil || shown.MAC != p.MAC || shown.address() != p.address() || shown.Host != p.Host {
			t.Errorf("after the restart the API shows %+v, error %v, want %+v", shown, err, *p)
		}
	}

	// Meanwhile: one VIF goes, another comes.
	late := d.addPort(blue, h2.Name)
	d.kill()
	d.unplug(h1, a2)
	d.plug(h2, late)
	d.serve()
	d.settled(hosts...)
	d.become("ACTIVE", late)
	d.become("DOWN", a2)
	if got := d.sends(h2, b1, late.MAC); got != late.device() {
		t.Errorf("the VIF that came meanwhile is reached at %q", got)
	}
	if got := d.sends(h1, a1, late.MAC); got != through(h2, blue) {
		t.Errorf("the VIF that came meanwhile is reached from the other host at %q", got)
	}
}

// A switch that is killed has lost its flows and gets them back.
func TestSwitchIsKilled(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	blue := d.addNetwork("blue", "10.0.0.0/24")
	a1, a2, b1 := d.addPort(blue, h1.Name), d.addPort(blue, h1.Name), d.addPort(blue, h2.Name)
	d.plug(h1, a1, a2)
	d.plug(h2, b1)
	d.become("ACTIVE", a1, a2, b1)
	d.settled(hosts...)
	state, err := d.host(h1.Name)
	if err != nil {
		t.Fatal(err)
	}
	integration, tunnel, other := d.rules(h1, "br-int"), d.rules(h1, "br-tun"), d.newest(h2, "br-int")
	meters, err := h1.Ofctl("dump-meters", "br-int")
	if err != nil {
		t.Fatal(err)
	}
	if err := h1.KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := h1.StartVswitchd(); err != nil {
		t.Fatal(err)
	}
	d.await("the restart noticed", func() error {
		now, err := d.host(h1.Name)
		if err == nil && now.Restarts == state.Restarts {
			err = fmt.Errorf("%d restarts counted", now.Restarts)
		}
		return err
	})
	d.settled(hosts...)
	d.become("ACTIVE", a1, a2, b1)
	if got := d.rules(h1, "br-int"); got != integration {
		t.Errorf("br-int has\n%s\nand had\n%s", got, integration)
	}
	if got := d.rules(h1, "br-tun"); got != tunnel {
		t.Errorf("br-tun has\n%s\nand had\n%s", got, tunnel)
	}
	if got, err := h1.Ofctl("dump-meters", "br-int"); err != nil || lines(got) != lines(meters) {
		t.Errorf("br-int has the meters\n%s\nerror %v, and had\n%s", got, err, meters)
	}
	frame := plainFrame(a1, a2)
	if err := h1.Inject(a1.device(), frame); err != nil {
		t.Fatal(err)
	}
	d.delivered(h1, a2, frame)
	if got := d.newest(h2, "br-int"); got.Sub(other) > time.Second {
		t.Error("flows of the other host were touched")
	}
	if state, err := d.host(h1.Name); err != nil || state.Repairs != 0 {
		t.Errorf("a restart was taken for a foreign change: %d repairs, error %v", state.Repairs, err)
	}
}

// lines sorts the lines of a dump, but for its heading, which has a transaction's number.
func lines(dump string) string {
	l := strings.Split(strings.TrimSpace(dump), "\n")[1:]
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// The host's database is killed and started: the host enrols again by itself, and keeps its flows.
func TestDatabaseIsKilled(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	blue := d.addNetwork("blue", "10.0.0.0/24")
	p := d.addPort(blue, h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)
	d.settled(h)
	time.Sleep(300 * time.Millisecond)
	killed := time.Now()
	if err := h.KillOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.await("the loss noticed", func() error {
		state, err := d.host(h.Name)
		if err == nil && state.OVSDB != nil {
			err = fmt.Errorf("it is still connected")
		}
		return err
	})
	if err := h.StartOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.settled(h)
	d.become("ACTIVE", p)
	if added := d.newest(h, "br-int"); added.After(killed) {
		t.Errorf("a flow was added %s after the kill", added.Sub(killed))
	}
	q := d.addPort(blue, h.Name)
	d.plug(h, q)
	d.become("ACTIVE", q)
}

// What changes on a host while it is not connected is seen when it is again.
func TestHostIsAway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h, other := hosts[0], hosts[1]
	n := d.addNetwork("blue", "10.0.0.0/24")
	stays, goes, claimed, elsewhere := d.addPort(n, h.Name), d.addPort(n, h.Name), d.addPort(n, ""), d.addPort(n, other.Name)
	d.plug(h, stays, goes, claimed)
	d.plug(other, elsewhere)
	d.become("ACTIVE", stays, goes, claimed, elsewhere)
	d.settled(hosts...)
	if _, err := h.Vsctl("del-manager"); err != nil {
		t.Fatal(err)
	}
	d.await("the loss noticed", func() error {
		state, err := d.host(h.Name)
		if err == nil && state.OVSDB != nil {
			err = fmt.Errorf("it is still connected")
		}
		return err
	})
	d.unplug(h, goes, claimed)
	comes := d.addPort(n, h.Name)
	d.plug(h, comes)
	d.must(http.MethodDelete, "/v2.0/ports/"+elsewhere.ID, nil, nil)
	d.enrol(h, nil)
	d.settled(hosts...)
	d.become("ACTIVE", stays, comes)
	d.become("DOWN", goes, claimed)
	if shown, err := d.port(claimed.ID); err != nil || shown.Host != "" {
		t.Errorf("a port whose VIF is gone is still claimed by %q, error %v", shown.Host, err)
	}
	if n := d.flowsOf(h, elsewhere.ID); n != 0 {
		t.Errorf("%d flows of a port that was deleted meanwhile", n)
	}
}

// The controller is killed in the middle of a thousand concurrent requests: what was answered is there,
// and the store is whole.
func TestKilledWhileCreating(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	n := d.addNetwork("blue", "10.0.0.0/16")
	const requests, workers, enough = 1000, 50, 300
	var mu sync.Mutex
	answered := map[string]bool{}
	half := make(chan struct{})
	jobs := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				var made struct{ Port port }
				status, err := d.call(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": n.ID, "name": fmt.Sprint(i)}}, &made)
				if err != nil {
					continue // the controller is gone
				}
				if status != http.StatusCreated {
					t.Errorf("create: status %d", status)
					continue
				}
				mu.Lock()
				answered[made.Port.ID] = true
				if len(answered) == enough {
					close(half)
				}
				mu.Unlock()
			}
		})
	}
	go func() {
		for i := range requests {
			jobs <- i
		}
		close(jobs)
	}()
	select {
	case <-half:
	case <-time.After(patience):
		t.Fatal("the creates make no progress")
	}
	d.kill()
	wg.Wait()
	if len(answered) == requests {
		t.Fatal("all requests were answered before the kill")
	}
	t.Logf("%d of %d requests were answered", len(answered), requests)

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := store.OpenEmbedded(ctx, d.dataDir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Check(ctx) {
		t.Errorf("check: %v", err)
	}
	snap := s.Snapshot()
	for id := range answered {
		if _, ok := snap.Port(uuid.MustParse(id)); !ok {
			t.Errorf("port %s was answered 201 and is not in the store", id)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d.serve()
	var list struct{ Ports []port }
	d.must(http.MethodGet, "/v2.0/ports?network_id="+n.ID, nil, &list)
	addresses := map[string]bool{}
	for _, p := range list.Ports {
		delete(answered, p.ID)
		if addresses[p.address()] {
			t.Errorf("address %s was given twice", p.address())
		}
		addresses[p.address()] = true
	}
	if len(answered) > 0 {
		t.Errorf("%d ports that were answered 201 are not in the list", len(answered))
	}
}
