package testbed_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

func newBed(t *testing.T) *testbed.Bed {
	t.Helper()
	b, err := testbed.New(testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func vif(n int) testbed.VIF {
	return testbed.VIF{
		PortID:   fmt.Sprintf("%08x-0000-4000-8000-000000000000", n),
		ServerID: fmt.Sprintf("%08x-0000-4000-9000-000000000000", n),
		MAC:      net.HardwareAddr{0xfa, 0x16, 0x3e, 0, 0, byte(n)},
	}
}

// A frame injected at one VIF follows the flows and is recorded at the other,
// with the datapath type that a controller asks for on any host.
func TestCheapHostForwards(t *testing.T) {
	h, err := newBed(t).AddCheapHost("cheap1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=system", "fail_mode=secure"); err != nil {
		t.Fatal(err)
	}
	if err := h.AwaitBridge("br-int"); err != nil {
		t.Fatal(err)
	}
	a, b := vif(1), vif(2)
	for _, v := range []testbed.VIF{a, b} {
		if err := h.PlugVIF(v); err != nil {
			t.Fatal(err)
		}
	}
	frame := append(append(append([]byte{}, b.MAC...), a.MAC...), 0x08, 0x00)
	frame = append(frame, bytes.Repeat([]byte{0x5a}, 46)...)

	if err := h.Inject(a.Device(), frame); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Sent(b.Device()); err != nil || len(got) != 0 {
		t.Errorf("without flows: %d frames sent, error %v, want none", len(got), err)
	}
	if _, err := h.Ofctl("add-flow", "br-int", fmt.Sprintf("in_port=%s,dl_dst=%s,actions=output:%s", a.Device(), b.MAC, b.Device())); err != nil {
		t.Fatal(err)
	}
	if trace, err := h.Trace("br-int", fmt.Sprintf("in_port=%s,dl_dst=%s", a.Device(), b.MAC)); err != nil || !strings.Contains(trace, `output:"`+b.Device()) {
		t.Errorf("trace: %v\n%s", err, trace)
	}
	if err := h.Inject(a.Device(), frame); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for deadline := time.Now().Add(5 * time.Second); len(got) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got, err = h.Sent(b.Device()); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || !bytes.Equal(got[0], frame) {
		t.Errorf("sent %x, want %x", got, frame)
	}
	if err := h.UnplugVIF(b); err != nil {
		t.Fatal(err)
	}
	if ports, err := h.Vsctl("list-ports", "br-int"); err != nil || ports != a.Device() {
		t.Errorf("ports %q, error %v, want %q", ports, err, a.Device())
	}
}

// Enrolled hosts dial the controller, which can be in this process; a restarted
// vswitchd has lost its flows and nothing else.
func TestCheapHostEnrolsAndRestarts(t *testing.T) {
	bed := newBed(t)
	h, err := bed.AddCheapHost("cheap1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := bed.Here().Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := h.Enroll("tcp:"+l.Addr().String(), map[string]string{"tunbridge-bridge-mappings": "physnet1:br-ex"}); err != nil {
		t.Fatal(err)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the enrolled host did not dial: %v", err)
	}
	c.Close()
	ids, err := h.Vsctl("get", "Open_vSwitch", ".", "external_ids")
	want := fmt.Sprintf(`{hostname=cheap1, system-id=%s-cheap1, tunbridge-bridge-mappings="physnet1:br-ex", tunbridge-encap-ip="%s"}`, bed.Prefix(), h.Encap)
	if err != nil || ids != want {
		t.Errorf("external_ids %s, error %v, want %s", ids, err, want)
	}

	if _, err := h.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "fail_mode=secure"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Ofctl("add-flow", "br-int", "cookie=0xabc,actions=drop"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{h.StopVswitchd, h.KillVswitchd} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := h.StartVswitchd(); err != nil {
			t.Fatal(err)
		}
		if err := h.AwaitBridge("br-int"); err != nil {
			t.Fatal(err)
		}
		if flows, err := h.DumpFlows("br-int"); err != nil || strings.Contains(flows, "0xabc") {
			t.Errorf("after a restart, error %v, flows:\n%s", err, flows)
		}
	}
	if u, err := h.Vswitchd().Usage(); err != nil || u.RSS < 1<<20 || u.Peak < u.RSS {
		t.Errorf("usage %+v, error %v", u, err)
	}
}

func TestCheapHostsSideBySide(t *testing.T) {
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("cheap%d", i))
	}
	start := time.Now()
	hosts, err := newBed(t).AddCheapHosts(names...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d hosts in %s", len(hosts), time.Since(start))
	seen := map[string]bool{}
	for _, h := range hosts {
		id, err := h.Vsctl("get", "Open_vSwitch", ".", "external_ids:system-id")
		if err != nil || seen[id] {
			t.Errorf("host %s: system-id %s again, error %v", h.Name, id, err)
		}
		seen[id] = true
	}
}

func TestOptionsRefused(t *testing.T) {
	for _, o := range []testbed.Options{
		{Prefix: "Upper"}, {Prefix: "toolongprefix"}, {Prefix: "a/b"},
		{Dir: "/tmp/" + strings.Repeat("d", 80)},
	} {
		if b, err := testbed.New(o); err == nil {
			t.Errorf("New(%+v) made a bed", o)
			b.Close()
		}
	}
	b, err := testbed.New(testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if other, err := testbed.New(testbed.Options{Prefix: b.Prefix()}); err == nil {
		t.Error("two beds with one prefix")
		other.Close()
	}
	h, err := b.AddCheapHost("cheap1")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.PlugVIF(testbed.VIF{PortID: "x"}); err == nil {
		t.Error("a VIF without MAC was plugged")
	}
}

func TestProcess(t *testing.T) {
	here := newBed(t).Here()
	p, err := here.Start("talker", "sh", "-c", "echo said; trap '' TERM; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	var log []byte
	for deadline := time.Now().Add(5 * time.Second); len(log) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if log, err = os.ReadFile(p.Log); err != nil {
			t.Fatal(err)
		}
	}
	if string(log) != "said\n" {
		t.Errorf("log %q", log)
	}
	if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("stopping a process that does not listen: %v", err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("killed, but not done")
	}
	if err := p.Wait(); err == nil {
		t.Error("a killed process ended well")
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill again: %v", err)
	}
	if _, err := here.Start("nothing", "/nonexistent"); err == nil {
		t.Error("started what is not there")
	}
	if out, err := here.Exec("sh", "-c", "echo out; echo why >&2; exit 3"); out != "out\n" || err == nil || !strings.HasSuffix(err.Error(), "exit status 3: why") {
		t.Errorf("exec: %q, %v", out, err)
	}
}
