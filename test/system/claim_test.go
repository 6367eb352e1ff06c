package system

import (
	"fmt"
	"net/http"
	"testing"
)

// is compares.
func is[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}

func isNot[T comparable](got, other T) error {
	if got == other {
		return fmt.Errorf("still %v", got)
	}
	return nil
}

// A port without a binding belongs to the first host whose VIF names it, until that VIF goes.
func TestUnboundPortIsClaimed(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h1, h2 := hosts[0], hosts[1]
	n := d.addNetwork("blue", "10.0.0.0/24")
	p, other := d.addPort(n, ""), d.addPort(n, h2.Name)
	d.plug(h2, other)
	if p.Host != "" {
		t.Errorf("a port without a binding shows host %q", p.Host)
	}
	d.plug(h1, p)
	d.become("ACTIVE", p, other)
	if shown, err := d.port(p.ID); err != nil || shown.Host != h1.Name {
		t.Errorf("claimed by %s, the port shows host %q, error %v", h1.Name, shown.Host, err)
	}
	d.settled(h2)
	if got := d.sends(h2, other, p.MAC); got != through(h1, n) {
		t.Errorf("from the other host it is reached at %q", got)
	}
	d.plug(h2, p)
	d.reason(h2, p.device(), "bound to host compute01")

	d.unplug(h1, p)
	d.await("the other host's claim", func() error {
		shown, err := d.port(p.ID)
		if err == nil {
			err = is(shown.Host+" "+shown.Status, "compute02 ACTIVE")
		}
		return err
	})
	d.settled(h1, h2)
	if got := d.sends(h2, other, p.MAC); got != p.device() {
		t.Errorf("on the second host it is reached at %q", got)
	}
	d.unplug(h2, p)
	d.await("no claim", func() error {
		shown, err := d.port(p.ID)
		if err == nil {
			err = is(shown.Host+" "+shown.Status, " DOWN")
		}
		return err
	})

	// A claim lives as long as the VIF, also when the controller does not.
	d.plug(h1, p)
	d.become("ACTIVE", p)
	d.kill()
	d.unplug(h1, p)
	d.serve()
	d.settled(h1, h2)
	d.await("no claim after a restart", func() error {
		shown, err := d.port(p.ID)
		if err == nil {
			err = is(shown.Host+" "+shown.Status, " DOWN")
		}
		return err
	})
}

// A host that cannot have a port does not claim it, and says what it lacks; when that comes, it does.
func TestUnboundPortIsClaimedByWhoCanHaveIt(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--flat-networks="+physical)
	hosts := d.addHosts("compute01", "compute02")
	for _, h := range hosts {
		if _, err := h.Vsctl("add-br", "br-ex"); err != nil {
			t.Fatal(err)
		}
	}
	n := d.networkOf("flat", "flat", "10.0.0.0/24")
	p, q := d.addPort(n, ""), d.addPort(n, "")
	d.plug(hosts[1], p, q)
	d.reason(hosts[1], p.device(), physical, "tunbridge-bridge-mappings")
	d.reason(hosts[1], q.device(), physical, "tunbridge-bridge-mappings")
	d.enrolPhysical(hosts[0])
	d.settled(hosts...)
	d.plug(hosts[0], p)
	d.become("ACTIVE", p)
	if shown, err := d.port(p.ID); err != nil || shown.Host != hosts[0].Name {
		t.Errorf("claimed by %q, error %v, want the host with the bridge", shown.Host, err)
	}
	d.reason(hosts[1], p.device(), "bound to host "+hosts[0].Name)
	if shown, err := d.port(q.ID); err != nil || shown.Host != "" {
		t.Errorf("a host without the bridge has claimed a port: %q, error %v", shown.Host, err)
	}
	d.enrolPhysical(hosts[1])
	d.become("ACTIVE", q)
}

// What happens to a claimed port while its host is away is told when the host is back.
func TestClaimedPortOfHostAway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	down, gone := d.addPort(n, ""), d.addPort(n, "")
	d.plug(h, down, gone)
	d.become("ACTIVE", down, gone)
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
	d.must(http.MethodPut, "/v2.0/ports/"+down.ID, object{"port": object{"admin_state_up": false}}, nil)
	if err := h.StartOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.become("DOWN", down)
	d.settled(h)

	// A claim that went while the host was away leaves nothing behind for the next one.
	if _, err := h.Vsctl("del-manager"); err != nil {
		t.Fatal(err)
	}
	d.unplug(h, gone)
	d.must(http.MethodPut, "/v2.0/ports/"+gone.ID, object{"port": object{"admin_state_up": false}}, nil)
	d.enrol(h, nil)
	d.become("DOWN", gone)
	d.plug(h, gone)
	d.reason(h, gone.device(), "admin_state_up")
	d.become("DOWN", gone)
}

func TestUnboundPortIsNotClaimed(t *testing.T) {
	t.Parallel()
	d := deploy(t, "--no-claim-unbound")
	h := d.addHosts("compute01")[0]
	p := d.addPort(d.addNetwork("blue", "10.0.0.0/24"), "")
	d.plug(h, p)
	d.reason(h, p.device(), "binding:host_id", "compute01")
	d.become("DOWN", p)
	if n := d.flowsOf(h, p.ID) + d.flowsOf(h, p.NetworkID); n != 0 {
		t.Errorf("%d flows of a port that is not bound, and its network", n)
	}
}
