package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/test/nova"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// cloud is a deployment with a Nova.
type cloud struct {
	*deployment
	nova *nova.Nova
	url  string   // of its compute API
	last sync.Map // port → *testbed.Switch that its VIF was plugged into last

	mu      sync.Mutex
	unwired []string // ports of which Nova was told that they are plugged when their flows were not there
}

// addNova gives a deployment whose controller does not run yet a Nova, which listens on an address where
// the controller is.
func addNova(t *testing.T, d *deployment, address string) *cloud {
	t.Helper()
	c := &cloud{deployment: d, nova: &nova.Nova{Neutron: "http://" + d.api, HTTP: d.http, PlugTimeout: patience}}
	c.nova.OnEvent = c.witness
	listener, err := d.where.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(c.nova)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	c.url = server.URL + "/v2.1"
	return c
}

// taps plugs VIFs on cheap hosts as os-vif does.
type taps struct {
	*cloud
	hosts map[string]*testbed.CheapHost
}

func vifOf(i *nova.Instance, nic *nova.NIC) testbed.VIF {
	mac, _ := net.ParseMAC(nic.MAC)
	return testbed.VIF{PortID: nic.Port, MAC: mac, ServerID: i.ID}
}

func (t *taps) Plug(host string, i *nova.Instance, nic *nova.NIC) error {
	t.last.Store(nic.Port, &t.hosts[host].Switch)
	return t.hosts[host].PlugVIF(vifOf(i, nic))
}

func (t *taps) Unplug(host string, i *nova.Instance, nic *nova.NIC) error {
	return t.hosts[host].UnplugVIF(vifOf(i, nic))
}

// addTaps is addNova with cheap hosts.
func addTaps(t *testing.T, d *deployment) *taps {
	t.Helper()
	c := &taps{cloud: addNova(t, d, "127.0.0.1:0"), hosts: map[string]*testbed.CheapHost{}}
	c.nova.Plugger = c
	return c
}

// deployCloud is a controller with a Nova and cheap hosts.
func deployCloud(t *testing.T, hosts ...string) *taps {
	t.Helper()
	d := prepare(t)
	c := addTaps(t, d)
	d.flags = append(d.flags, "--nova-url", c.url)
	c.start(hosts...)
	return c
}

// start starts the controller, then hosts.
func (t *taps) start(hosts ...string) {
	t.t.Helper()
	t.serve()
	for _, h := range t.addHosts(hosts...) {
		t.hosts[h.Name] = h
	}
}

// witness looks at the switch in the moment in which Nova hears that a port is plugged.
func (c *cloud) witness(e nova.Event) {
	if e.Name != "network-vif-plugged" {
		return
	}
	at, _ := c.last.Load(e.Tag)
	id := uuid.MustParse(e.Tag)
	dump, err := at.(*testbed.Switch).DumpFlows("br-int")
	if err == nil && strings.Contains(dump, fmt.Sprintf("cookie=0x204%x,", id[:6])) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwired = append(c.unwired, e.Tag)
}

// neverEarly says whether Nova was told of a port before its flows were there.
func (c *cloud) neverEarly() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unwired) > 0 {
		c.t.Errorf("Nova was told that ports %v are plugged before their flows were there", c.unwired)
	}
}

func (c *cloud) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *cloud) instance(name string) *nova.Instance {
	return &nova.Instance{ID: uuid.NewString(), Project: "default", Name: name}
}

// heard waits for the events of a port since a mark, in their order, and for no others to come with them.
func (c *cloud) heard(what string, m nova.Mark, port string, want ...string) {
	c.t.Helper()
	c.await("events of "+what, func() error {
		var got []string
		for _, e := range c.nova.Since(m) {
			if e.Tag == port {
				got = append(got, strings.TrimPrefix(e.Name, "network-"))
			}
		}
		return is(strings.Join(got, " "), strings.Join(want, " "))
	})
}

// What a user does to an instance, by the requests of a real Nova, and what Nova hears of it.
func TestNovaSequences(t *testing.T) {
	t.Parallel()
	c := deployCloud(t, "compute01", "compute02")
	ctx, n := t.Context(), c.nova
	blue, red := c.addNetwork("blue", "10.0.0.0/24"), c.addNetwork("red", "10.1.0.0/24")

	i := c.instance("vm1")
	c.must("boot", n.Boot(ctx, i, "compute01", blue.ID))
	first := i.NICs[0].Port
	c.heard("boot", 0, first, "changed", "vif-plugged")

	// A port with an address of the user's choice; one that is in use is nobody else's.
	var made struct{ Port port }
	c.deployment.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": red.ID, "fixed_ips": []object{{"ip_address": "10.1.0.77"}}}}, &made)
	m := n.Mark()
	c.must("attach", n.Attach(ctx, i, made.Port.ID))
	second := i.NICs[1]
	if second.Addresses[0].Address != "10.1.0.77" {
		t.Errorf("attached with %v", second.Addresses)
	}
	c.heard("attach", m, second.Port, "changed", "vif-plugged")
	if err := n.BootPort(ctx, c.instance("thief"), "compute02", second.Port); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("another instance with the same port: %v", err)
	}
	other := c.instance("vm2")
	var free struct{ Port port }
	c.deployment.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": red.ID, "fixed_ips": []object{{"ip_address": "10.1.0.78"}}}}, &free)
	c.must("boot with a port", n.BootPort(ctx, other, "compute02", free.Port.ID))
	c.must("boot with an address", n.BootAddress(ctx, c.instance("vm3"), "compute02", red.ID, "10.1.0.79"))
	if err := n.BootAddress(ctx, c.instance("late"), "compute02", red.ID, "10.1.0.79"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("an address that another instance has: %v", err)
	}
	var refusal *nova.Refusal
	if err := n.BootAddress(ctx, c.instance("lost"), "compute02", red.ID, "10.9.0.1"); !errors.As(err, &refusal) || refusal.Status != http.StatusBadRequest || refusal.Type != "InvalidIpForNetwork" {
		t.Errorf("an address of no subnet: %v", err)
	}
	if err := n.Boot(ctx, c.instance("astray"), "compute09", red.ID); err == nil || !strings.Contains(err.Error(), "binding_failed") {
		t.Errorf("a host that is not enrolled: %v", err)
	}

	m = n.Mark()
	address, err := n.AddFixedIP(ctx, i, first)
	c.must("add fixed ip", err)
	c.heard("add fixed ip", m, first, "changed")
	m = n.Mark()
	c.must("remove fixed ip", n.RemoveFixedIP(ctx, i, address))
	c.heard("remove fixed ip", m, first, "changed")

	// A hard reboot has no requests, but new VIFs.
	m = n.Mark()
	c.must("hard reboot", n.HardReboot(ctx, i))
	c.await("plugged again after a hard reboot", func() error {
		for _, port := range []string{first, second.Port} {
			events := n.Since(m)
			if at := slices.IndexFunc(events, func(e nova.Event) bool { return e.Tag == port && e.Name == "network-vif-plugged" }); at < 0 {
				return fmt.Errorf("port %s is not", port)
			}
		}
		return nil
	})
	c.become("ACTIVE", &port{ID: first}, &port{ID: second.Port})

	m = n.Mark()
	c.must("attach a network", n.AttachNetwork(ctx, i, red.ID))
	third := i.NICs[2].Port
	c.heard("attach a network", m, third, "changed", "vif-plugged")

	m = n.Mark()
	c.must("detach", n.Detach(ctx, i, second.Port))
	if shown, err := c.port(second.Port); err != nil || shown.Host != "" || shown.Status != "DOWN" {
		t.Errorf("a port that was given back: %+v, %v", shown, err)
	}
	m = n.Mark()
	c.must("delete", n.Delete(ctx, i))
	for _, port := range []string{first, third} {
		if _, err := c.nova.Await(ctx, m, "network-vif-deleted", port); err != nil {
			t.Error(err)
		}
		if status, err := c.call(http.MethodGet, "/v2.0/ports/"+port, nil, nil); err != nil || status != http.StatusNotFound {
			t.Errorf("port %s of a deleted instance: %d, %v", port, status, err)
		}
	}
	for _, e := range n.Since(0) {
		if e.Code != http.StatusOK {
			t.Errorf("Nova had no use for %+v", e)
		}
	}
	c.neverEarly()
}

// Events survive both ends.
func TestNovaAway(t *testing.T) {
	t.Parallel()
	c := deployCloud(t, "compute01")
	ctx, n := t.Context(), c.nova
	blue := c.addNetwork("blue", "10.0.0.0/24")
	i := c.instance("vm1")
	n.SetAway(true)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := n.Boot(short, i, "compute01", blue.ID); err == nil {
		t.Fatal("an instance boots though Nova hears nothing")
	}
	c.become("ACTIVE", &port{ID: i.NICs[0].Port})
	c.kill()
	c.serve()
	n.SetAway(false)
	if _, err := n.Await(ctx, 0, "network-vif-plugged", i.NICs[0].Port); err != nil {
		t.Error(err)
	}
	c.heard("an instance whose events were late", 0, i.NICs[0].Port, "changed", "vif-plugged")
}

// A live migration in Nova's order: both ends have the port until its guest is heard at the destination.
func TestLiveMigration(t *testing.T) {
	t.Parallel()
	c := deployCloud(t, "compute01", "compute02", "compute03")
	ctx, n := t.Context(), c.nova
	h1, h2, h3 := c.hosts["compute01"], c.hosts["compute02"], c.hosts["compute03"]
	blue := c.addNetwork("blue", "10.0.0.0/24")
	peer := c.addPort(blue, h3.Name)
	c.plug(h3, peer)
	near, far := c.addPort(blue, h1.Name), c.addPort(blue, h2.Name)
	c.plug(h1, near)
	c.plug(h2, far)
	i := c.instance("vm1")
	c.must("boot", n.Boot(ctx, i, h1.Name, blue.ID))
	nic := i.NICs[0]
	moving := &port{ID: nic.Port, MAC: nic.MAC}
	status := func(what string) {
		t.Helper()
		if shown, err := c.port(nic.Port); err != nil || shown.Status != "ACTIVE" {
			t.Errorf("%s: the port is %s, %v", what, shown.Status, err)
		}
	}
	reached := func(what string, from *testbed.CheapHost, by *port, want string) {
		t.Helper()
		c.await(what, func() error { return is(c.sends(from, by, nic.MAC), want) })
	}
	reached("before", h3, peer, through(h1, blue))

	m := n.Mark()
	c.must("prepare", n.PrepareMigration(ctx, i, h2.Name))
	c.heard("the destination's VIF", m, nic.Port, "vif-plugged")
	status("plugged at both ends")
	if shown, _ := c.port(nic.Port); shown.Host != h1.Name {
		t.Errorf("the port is bound to %s before its activation", shown.Host)
	}
	both := words(through(h1, blue), through(h2, blue))
	reached("by a peer, to both", h3, peer, both)
	reached("at the source, to both", h1, near, words(moving.device(), through(h2, blue)))
	reached("at the destination, to both", h2, far, words(moving.device(), through(h1, blue)))

	// The hypervisor speaks for the guest; a stranger's word for it counts for nothing.
	forged := rarpFrame(far.vif().MAC)
	c.must("RARP of another MAC", h2.Inject(moving.device(), forged))
	time.Sleep(100 * time.Millisecond)
	reached("after a forged RARP", h3, peer, both)
	c.must("RARP", h2.Inject(moving.device(), rarpFrame(moving.vif().MAC)))
	reached("heard at the destination", h3, peer, through(h2, blue))
	reached("from the source's host", h1, near, through(h2, blue))
	reached("on the destination", h2, far, moving.device())
	c.delivered(h2, far, rarpFrame(moving.vif().MAC))
	status("heard at the destination")
	c.reason(h1, moving.device(), "bound to host compute02")

	m = n.Mark()
	c.must("activate", n.ActivateMigration(ctx, i, h2.Name))
	status("activated")
	c.must("finish", n.FinishMigration(ctx, i, h1.Name))
	c.settled(h1, h2, h3)
	status("gone from the source")
	reached("after it", h3, peer, through(h2, blue))
	for _, e := range n.Since(m) {
		if e.Name == "network-vif-unplugged" {
			t.Errorf("the source's VIF was unplugged, and Nova was told %+v", e)
		}
	}

	// The way back, by activation alone; and one that is called off.
	c.must("prepare the way back", n.PrepareMigration(ctx, i, h1.Name))
	reached("by a peer, to both again", h3, peer, both)
	c.must("call it off", n.AbortMigration(ctx, i, h1.Name))
	reached("called off", h3, peer, through(h2, blue))
	c.must("migrate back", n.Migrate(ctx, i, h1.Name, func() error { return nil }))
	reached("migrated back without a word", h3, peer, through(h1, blue))
	status("migrated back")

	// Its host dies, and it is built anew elsewhere.
	if err := h1.KillOVSDB(); err != nil {
		t.Fatal(err)
	}
	c.must("evacuate", n.Evacuate(ctx, i, h2.Name))
	reached("evacuated", h3, peer, through(h2, blue))
	status("evacuated")
	c.must("delete", n.Delete(ctx, i))
	c.neverEarly()
}

// rarpFrame is what QEMU broadcasts for a guest that has arrived.
func rarpFrame(mac net.HardwareAddr) []byte {
	frame := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3}, mac, make([]byte, 4), mac, make([]byte, 4))
	return append(frame, make([]byte, 60-len(frame))...)
}
