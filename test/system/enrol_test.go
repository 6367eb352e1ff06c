package system

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// A controller may dial its hosts, and does again when one was away.
func TestHostsAreDialled(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	hosts, err := d.bed.AddCheapHosts("compute01", "compute02")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		address := freeAddress(t)
		where, port, _ := strings.Cut(address, ":")
		if err := h.Enroll("ptcp:"+port+":"+where, map[string]string{"tunbridge-local-manager": "false"}); err != nil {
			t.Fatal(err)
		}
		d.flags = append(d.flags, "--hosts=tcp:"+address)
	}
	d.serve()
	d.settled(hosts...)
	n := d.addNetwork("blue", "10.0.0.0/24")
	p, q := d.addPort(n, hosts[0].Name), d.addPort(n, hosts[1].Name)
	d.plug(hosts[0], p)
	d.plug(hosts[1], q)
	d.become("ACTIVE", p, q)
	d.settled(hosts...)
	if got := d.sends(hosts[0], p, q.MAC); got != through(hosts[1], n) {
		t.Errorf("unicast went to %q", got)
	}
	if err := hosts[0].KillOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.logged("host lost", "compute01")
	if err := hosts[0].StartOVSDB(); err != nil {
		t.Fatal(err)
	}
	d.settled(hosts...)
}

// A VIF that names no port, or none of this host's, gets no flows and a reason.
func TestVIFWithoutPort(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02")
	h := hosts[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	good, elsewhere, away := d.addPort(n, h.Name), d.addPort(n, "compute02"), d.addPort(n, "compute99")
	d.plug(h, good, elsewhere, away)
	unknown := testbed.VIF{PortID: uuid.NewString(), MAC: good.vif().MAC}
	if err := h.PlugVIF(unknown); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"nonsense", "", strings.Repeat("f", 5000), good.ID + "x"} {
		if _, err := h.Vsctl("add-port", "br-int", fmt.Sprint("odd", i), "--", "set", "Interface", fmt.Sprint("odd", i), fmt.Sprintf("external_ids:iface-id=%q", id)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Vsctl("add-port", "br-int", "twice", "--", "set", "Interface", "twice", "external_ids:iface-id="+good.ID); err != nil {
		t.Fatal(err)
	}
	d.become("ACTIVE", good)
	d.reason(h, elsewhere.device(), "bound to host compute02")
	d.reason(h, away.device(), "bound to host compute99")
	d.reason(h, unknown.Device(), "no port has this ID")
	for i := range 4 {
		d.reason(h, fmt.Sprint("odd", i), "is not a port ID")
	}
	d.settled(h)
	state, err := d.host(h.Name)
	if err != nil {
		t.Fatal(err)
	}
	wired := 0
	for _, v := range state.VIFs {
		if v.Wired {
			wired++
			continue
		}
		ofport := fmt.Sprintf("in_port=%d", v.OFPort)
		for _, f := range d.flows(h) {
			if f.Bridge == "br-int" && f.TableName == "classify" && strings.Contains(f.Match+",", ofport+",") {
				t.Errorf("%s is not wired (%s) and has the flow %+v", v.Interface, v.Reason, f)
			}
		}
	}
	if wired != 1 {
		t.Errorf("%d VIFs are wired, want 1: %+v", wired, state.VIFs)
	}
	d.become("DOWN", elsewhere, away)
}

// A second host with the system-id of one that is alive is refused and named; one whose first host
// does not answer takes its place, as a rebooted host must.
func TestSystemIDIsClaimedTwice(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	p := d.addPort(d.addNetwork("blue", "10.0.0.0/24"), h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)
	twin, err := d.bed.AddCheapHost("twin")
	if err != nil {
		t.Fatal(err)
	}
	d.enrol(twin, map[string]string{"system-id": h.SystemID()})
	d.logged("refused", h.SystemID(), "alive")
	if state, err := d.host(h.SystemID()); err != nil || state.Hostname != "compute01" || unsettled(state) != nil {
		t.Errorf("the first host is shown as %+v, error %v", state, err)
	}
	if bridges, err := twin.Vsctl("list-br"); err != nil || bridges != "" {
		t.Errorf("the refused host was given bridges: %q, error %v", bridges, err)
	}

	// The first falls silent: the machine is off, its connection still open.
	for _, process := range []*testbed.Process{h.OVSDB(), h.Vswitchd()} {
		if err := process.Signal(stop); err != nil {
			t.Fatal(err)
		}
	}
	d.await("the second host in the first one's place", func() error {
		state, err := d.host(h.SystemID())
		if err == nil {
			err = is(state.Hostname, "twin")
		}
		return err
	})
	d.settled(twin)
	// Of the first only the database comes back: its switch, at the same address here and with the same
	// datapath-ids, could not be told from the second's.
	if err := h.OVSDB().Signal(resume); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // for the first to try again
	if state, err := d.host(h.SystemID()); err != nil || state.Hostname != "twin" || unsettled(state) != nil {
		t.Errorf("with the first back, the second is shown as %+v, error %v", state, err)
	}
}

// A bridge that another controller programs, or somebody by hand, is left alone until the operator says
// otherwise.
func TestForeignController(t *testing.T) {
	t.Parallel()
	other := "tcp:" + freeAddress(t)
	t.Run("connected", func(t *testing.T) { foreignController(t, other, "--", "set-controller", "br-int", other) })
	t.Run("by hand", func(t *testing.T) { foreignController(t, "") })
}

func foreignController(t *testing.T, other string, settings ...string) {
	t.Parallel()
	d := deploy(t)
	h, err := d.bed.AddCheapHost("compute01")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Vsctl(append([]string{"add-br", "br-int", "--", "set", "Bridge", "br-int", "fail_mode=secure"}, settings...)...); err != nil {
		t.Fatal(err)
	}
	if err := h.AwaitBridge("br-int"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Ofctl("add-flow", "br-int", "cookie=0xabc,priority=7,actions=drop"); err != nil {
		t.Fatal(err)
	}
	d.enrol(h, nil)
	d.await("the refusal", func() error {
		for _, line := range strings.Split(d.log(), "\n") {
			if strings.Contains(line, other) && strings.Contains(line, "tunbridge-adopt") {
				return nil
			}
		}
		return fmt.Errorf("it is not in the log")
	})
	if got, err := h.Vsctl("get-controller", "br-int"); err != nil || got != other {
		t.Errorf("the bridge's controller is now %q, error %v", got, err)
	}
	if got := d.rules(h, "br-int"); !strings.Contains(got, "0xabc") {
		t.Errorf("the other controller's flow is gone:\n%s", got)
	}
	if bridges, err := h.Vsctl("list-br"); err != nil || bridges != "br-int" {
		t.Errorf("the host has now the bridges %q, error %v", bridges, err)
	}
	if _, err := h.Vsctl("set", "Open_vSwitch", ".", "external_ids:tunbridge-adopt=true"); err != nil {
		t.Fatal(err)
	}
	d.settled(h)
	if got := d.rules(h, "br-int"); strings.Contains(got, "0xabc") {
		t.Errorf("adopted, the bridge still has the flow of the other:\n%s", got)
	}
	p := d.addPort(d.addNetwork("blue", "10.0.0.0/24"), h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)
}

// A br-int that is there before the controller, with devices that name no port: the one that os-vif makes
// forwards between them until the host is enrolled, as every new bridge does; the one that the operator
// makes as the README says forwards nothing from its first moment on.
func TestBridgeMadeBefore(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	n := d.addNetwork("blue", "10.0.0.0/24")
	for _, c := range []struct {
		name     string
		settings []string
		heard    []int // of the frames sent before and after the host is enrolled
	}{
		{"osvif", nil, []int{1}},
		{"readme", []string{"--", "set", "Bridge", "br-int", "fail_mode=secure", "external_ids:owner=tunbridge"}, nil},
	} {
		h, err := d.bed.AddCheapHost(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Vsctl(append([]string{"--may-exist", "add-br", "br-int"}, c.settings...)...); err != nil {
			t.Fatal(err)
		}
		for _, tap := range []string{"raw0", "raw1"} {
			if _, err := h.Vsctl("add-port", "br-int", tap); err != nil {
				t.Fatal(err)
			}
			if err := h.Record(tap); err != nil {
				t.Fatal(err)
			}
		}
		frame := func(number int) []byte {
			return mark(udpFrame(net.HardwareAddr{2, 0, 0, 0, 0, 1}, broadcastMAC, net.IPv4(10, 0, 0, 66), net.IPv4bcast, 1000, 2000, nil), number)
		}
		sent := func(number int) {
			t.Helper()
			if err := h.Inject("raw0", frame(number)); err != nil {
				t.Fatal(err)
			}
			d.await("the switch has the frame", func() error {
				out, err := h.Ofctl("--names", "dump-ports", "br-int", "raw0")
				if err == nil && !strings.Contains(out, fmt.Sprintf("rx pkts=%d,", number)) {
					err = fmt.Errorf("it says %s", out)
				}
				return err
			})
		}
		sent(1)
		if len(c.heard) > 0 {
			d.await("the frame at the other device", func() error {
				frames, err := h.Sent("raw1")
				if err == nil {
					err = is(len(frames), 1)
				}
				return err
			})
		}
		d.enrol(h, nil)
		d.settled(h)
		sent(2)
		p := d.addPort(n, h.Name)
		d.plug(h, p)
		d.become("ACTIVE", p)
		d.settled(h)
		sent(3)
		frames, err := h.Sent("raw1")
		if err != nil {
			t.Fatal(err)
		}
		var heard []int
		for _, f := range frames {
			for number := 1; number <= 3; number++ {
				if bytes.Equal(f, frame(number)) {
					heard = append(heard, number)
				}
			}
		}
		if !slices.Equal(heard, c.heard) || len(frames) != len(heard) {
			t.Errorf("br-int made by %s: the second device heard frames %v of %d, want %v", c.name, heard, len(frames), c.heard)
		}
	}
}

// What somebody else adds to a bridge, changes or removes is put right: at once where a flow changed,
// else when the bridge is next read.
func TestForeignFlows(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	a, b := d.addPort(n, h.Name), d.addPort(n, h.Name)
	d.plug(h, a, b)
	d.become("ACTIVE", a, b)
	d.settled(h)
	want := map[string]string{"br-int": d.rules(h, "br-int"), "br-tun": d.rules(h, "br-tun")}
	for _, args := range [][]string{
		{"add-flow", "br-int", "table=0,priority=65000,cookie=0xabc,actions=NORMAL"},
		{"add-flow", "br-int", "table=77,actions=drop"},
		{"mod-flows", "br-int", "table=60,actions=drop"},
		{"del-flows", "br-int", "table=65"},
		{"del-meters", "br-int"},
		{"del-groups", "br-int"},
		{"del-flows", "br-tun"},
	} {
		before, err := d.host(h.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Ofctl(args...); err != nil {
			t.Fatal(err)
		}
		d.await("the undoing of "+args[0]+" on "+args[1], func() error {
			if got := d.rules(h, args[1]); got != want[args[1]] {
				return fmt.Errorf("there is\n%s\nand was\n%s", got, want[args[1]])
			}
			return nil
		})
		d.await("the change counted", func() error {
			after, err := d.host(h.Name)
			if err == nil && after.Repairs+after.Restarts == before.Repairs+before.Restarts {
				err = fmt.Errorf("%d repairs, %d restarts", after.Repairs, after.Restarts)
			}
			return err
		})
	}
	// No flow tells of these.
	if _, err := h.Ofctl("add-group", "br-int", "group_id=77,type=all"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Ofctl("add-meter", "br-int", "meter=77,pktps,band=type=drop,rate=1"); err != nil {
		t.Fatal(err)
	}
	if diff, err := d.admin.Diff(t.Context(), h.Name); err != nil || len(diff.Changes) != 2 {
		t.Errorf("the diff shows %q, error %v, want a group and a meter", diff.Changes, err)
	}
	d.kill()
	d.serve()
	d.settled(h)
	frame := plainFrame(a, b)
	if err := h.Inject(a.device(), frame); err != nil {
		t.Fatal(err)
	}
	d.delivered(h, b, frame)
}
