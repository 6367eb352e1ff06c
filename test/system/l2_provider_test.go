package system

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// A physical network that is also the controller's: one host has its only address on the provider bridge,
// another gets a bridge for the network, another one, and none any more, while the controller looks on.
func TestProviderBridges(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	physnet, err := d.bed.AddPhysical(physical)
	if err != nil {
		t.Fatal(err)
	}
	single, err := d.bed.AddSingleNICHost("single", physnet)
	if err != nil {
		t.Fatal(err)
	}
	other, err := d.bed.AddHost("other")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU, "--flat-networks="+physical, "--vlan-ranges="+physical+":100:199")
	d.serve()
	w := &layer2{deployment: d, hosts: []*testbed.Host{single, other}, physnet: physnet, made: new(int)}
	w.singleNIC(single)
	w.enrolHost(other, nil)
	w.quiet(other.Name)
	w.mappings(single, other)
}

const mappings = "external_ids:tunbridge-bridge-mappings"

// singleNIC enrols a host through the bridge that is then given a patch port. A bridge that is cut off,
// as by a Controller row, loses hundreds of pings; one or two a busy machine may.
func (w *layer2) singleNIC(h *testbed.Host) {
	if err := h.AwaitBridge("br-ex"); err != nil {
		w.t.Fatal(err)
	}
	there, err := w.bed.Underlay.StartPing(h.Management, 2*time.Millisecond)
	if err != nil {
		w.t.Fatal(err)
	}
	back, err := h.StartPing(testbed.ManagementAddr, 2*time.Millisecond)
	if err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	w.enrolHost(h, map[string]string{"tunbridge-bridge-mappings": physical + ":br-ex"})
	w.quiet(h.Name)
	networks := []*network{w.network("flat", "10.0.0.0/24"), w.network("vlan", "10.0.0.0/24")}
	for i, n := range networks {
		near, far := w.guest(n, h, nil), w.guest(n, h, nil)
		w.become("ACTIVE", near.port, far.port)
		machine, err := w.physnet.AddMachine("outside"+n.Name, int(n.VNI), netip.MustParsePrefix(fmt.Sprintf("10.0.0.24%d/24", i)))
		if err != nil {
			w.t.Fatal(err)
		}
		w.reaches(near, far.address())
		w.reaches(near, netip.MustParseAddr(fmt.Sprintf("10.0.0.24%d", i)))
		w.await("a guest reached from outside", func() error {
			r, err := machine.Ping(near.address(), 3, 10*time.Millisecond)
			if err == nil && r.Lost() > 0 {
				err = fmt.Errorf("%s", r)
			}
			return err
		})
	}
	for way, ping := range map[string]*testbed.Pinger{"to the host": there, "from the host": back} {
		r, err := ping.Stop()
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Logf("%s, while it was enrolled: %s", way, r)
		if r.Sent < 50 || r.Lost() > 2 {
			w.t.Errorf("%s, while it was enrolled: %s", way, r)
		}
	}
	left, err := h.Vsctl("get", "Bridge", "br-ex", "fail_mode", "controller", "protocols", "external_ids", "other_config")
	if err != nil {
		w.t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(left), " "); got != "standalone [] [] {} {}" {
		w.t.Errorf("fail_mode, controller, protocols, external_ids and other_config of br-ex: %s", got)
	}
}

// mappings gives a host a bridge for the physical network, another one, and takes it away.
func (w *layer2) mappings(single, h *testbed.Host) {
	vsctl := func(args ...string) string {
		w.t.Helper()
		out, err := h.Vsctl(args...)
		if err != nil {
			w.t.Fatal(err)
		}
		return out
	}
	binding := func(g *guest) string {
		w.t.Helper()
		var shown struct {
			Port struct {
				VIFType string `json:"binding:vif_type"`
			}
		}
		w.must(http.MethodGet, "/v2.0/ports/"+g.port.ID, nil, &shown)
		return shown.Port.VIFType
	}
	n := w.network("vlan", "10.0.0.0/24")
	far, g := w.guest(n, single, nil), w.unplugged(n, h, nil)
	w.become("ACTIVE", far.port)

	// Without one.
	if got := binding(g); got != "binding_failed" {
		w.t.Errorf("on a host without a bridge for the network the port has binding:vif_type %s", got)
	}
	w.logged("port cannot be bound", g.port.ID, h.Name, "physical network "+physical, "tunbridge-bridge-mappings")
	w.start(g, h)
	w.saysOf(h.Name, g.port.device(), "physical network "+physical, "tunbridge-bridge-mappings")

	// One is added; named before it is there.
	vsctl("set", "Open_vSwitch", ".", mappings+"="+physical+":br-ex")
	w.await("the missing bridge named", func() error {
		state, err := w.host(h.Name)
		if err == nil && !strings.Contains(fmt.Sprint(state.LastError, state.VIFs), "br-ex") {
			err = fmt.Errorf("error %q, VIFs %v", state.LastError, state.VIFs)
		}
		return err
	})
	if err := h.Connect(w.physnet, "br-ex"); err != nil {
		w.t.Fatal(err)
	}
	w.become("ACTIVE", g.port)
	if got := binding(g); got != "ovs" {
		w.t.Errorf("with a bridge for the network the port has binding:vif_type %s", got)
	}
	w.reaches(g, far.address())
	w.reaches(far, g.address())

	// The network is on another bridge: the first is left as it was.
	vsctl("del-port", "br-ex", "ex0", "--", "add-br", "br-prov", "--", "set", "Bridge", "br-prov", "datapath_type=netdev", "fail_mode=standalone",
		"--", "add-port", "br-prov", "ex0", "--", "set", "Open_vSwitch", ".", mappings+"="+physical+":br-prov")
	w.await("the patch moved", func() error {
		return is(vsctl("list-ports", "br-ex")+"|"+strings.Join(strings.Fields(vsctl("list-ports", "br-prov")), " "), "|ex0 phy-br-prov")
	})
	w.become("ACTIVE", g.port)
	w.reaches(g, far.address())
	w.reaches(far, g.address())

	// There is none any more.
	vsctl("remove", "Open_vSwitch", ".", "external_ids", "tunbridge-bridge-mappings")
	w.become("DOWN", g.port)
	w.saysOf(h.Name, g.port.device(), "physical network "+physical, "tunbridge-bridge-mappings")
	w.await("the patch gone", func() error {
		ports := vsctl("list-ports", "br-prov")
		if strings.Contains(vsctl("list-ports", "br-int"), "int-br") {
			ports += " and one on br-int"
		}
		return is(ports, "ex0")
	})
	w.await("silence", func() error {
		r, err := far.Ping(g.address(), 3, 10*time.Millisecond)
		if err == nil && r.Received > 0 {
			err = fmt.Errorf("%s", r)
		}
		return err
	})
	vsctl("set", "Open_vSwitch", ".", mappings+"="+physical+":br-prov")
	w.become("ACTIVE", g.port)
	w.reaches(far, g.address())
}
