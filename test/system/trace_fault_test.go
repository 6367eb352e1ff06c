package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// What goes wrong between two guests is named in the first line of a trace, each fault made on real hosts.
func TestTraceNamesFaults(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	hosts, err := d.bed.AddHosts("compute01", "compute02")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU, "--probe-interval=1s")
	d.serve()
	two := hosts[1]
	for _, h := range hosts {
		if err := h.Enroll("tcp:"+d.ovsdb, nil); err != nil {
			t.Fatal(err)
		}
		d.quiet(h.Name)
	}
	n := d.addNetwork("blue", "10.0.0.0/24")
	vms := map[string]*testbed.VM{}
	plug := func(name string, h *testbed.Host) *port {
		p := d.addPort(n, h.Name)
		d.must(http.MethodPut, "/v2.0/ports/"+p.ID, object{"port": object{"name": name}}, nil)
		if vms[name], err = h.AddVM(name, p.vif()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	web, db := plug("web", hosts[0]), plug("db", two)
	d.become("ACTIVE", web, db)
	toDB := strings.Fields("trace web db")
	// first waits for the words in the first line, the first of them before it is folded, and the exit status.
	first := func(what string, status int, args []string, words ...string) {
		t.Helper()
		d.await(what, func() error {
			text, got, err := d.answer(args...)
			if err != nil {
				return err
			}
			line, err := firstLine(text, words[:1])
			for _, w := range words[1:] {
				if err == nil && !strings.Contains(line, w) {
					err = fmt.Errorf("it lacks %q: %s", w, line)
				}
			}
			if err == nil && got != status {
				err = fmt.Errorf("exit status %d: %s", got, line)
			}
			return err
		})
	}
	link := func(state string) func() error {
		return func() error {
			_, err := vms["db"].Exec("ip", "link", "set", "eth0", state)
			return err
		}
	}
	first("in order", 0, toDB, "arrives at "+db.device()+" of port db ("+db.ID+") on host compute02")
	for _, fault := range []struct {
		what       string
		make, mend func() error
		args       []string
		words      []string
	}{
		{"the underlay is cut", two.LeaveUnderlay, two.JoinUnderlay, nil, []string{"does not arrive: the vxlan tunnel from host compute01 to compute02 is down"}},
		{"the underlay's MTU is too small", func() error { return two.SetUnderlayMTU(1500) }, func() error { return two.SetUnderlayMTU(testbed.UnderlayMTU) },
			[]string{"--size", "1600"}, []string{"does not arrive: the MTU is too small: the vxlan tunnel from host compute01 to compute02", "carries packets of up to 1450 bytes, and this one has 1600"}},
		{"the guest's device is down", link("down"), link("up"), nil, []string{"does not arrive: nobody listens at " + db.device(), "the device has no carrier"}},
		{"the VIF is unplugged", vms["db"].Unplug, vms["db"].Plug, nil, []string{"does not arrive: VIF not plugged: no Interface on compute02 has iface-id", db.ID}},
		{"ovs-vswitchd is stopped", two.KillVswitchd, two.StartVswitchd, nil, []string{"whether it arrives cannot be told: ovs-vswitchd of host compute02 does not answer"}},
		{"the database is stopped", two.KillOVSDB, two.StartOVSDB, nil, []string{"whether it arrives cannot be told: host compute02 is not connected"}},
	} {
		args := append(toDB[:3:3], fault.args...)
		if err := fault.make(); err != nil {
			t.Fatalf("%s: %v", fault.what, err)
		}
		first(fault.what, 1, args, fault.words...)
		if err := fault.mend(); err != nil {
			t.Fatalf("mending %s: %v", fault.what, err)
		}
		first("made good: "+fault.what, 0, args, "arrives at "+db.device())
	}
}
