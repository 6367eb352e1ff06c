package testbed_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/tunbridge/tunbridge/test/testbed"
)

const vni = 5001

// twoHosts joins a VM on each of two hosts by a VXLAN tunnel with static flows.
func twoHosts(t *testing.T) (bed *testbed.Bed, a, b *testbed.VM) {
	t.Helper()
	bed = newBed(t)
	hosts, err := bed.AddHosts("h1", "h2")
	if err != nil {
		t.Fatal(err)
	}
	a, b = tunnel(t, bed, hosts)
	return bed, a, b
}

// tunnel does so for hosts that are there.
func tunnel(t *testing.T, bed *testbed.Bed, hosts []*testbed.Host) (a, b *testbed.VM) {
	t.Helper()
	var vms []*testbed.VM
	for i, h := range hosts {
		peer := hosts[1-i]
		if _, err := h.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure",
			"protocols=OpenFlow10,OpenFlow13,OpenFlow15",
			"--", "add-port", "br-int", "vxlan0", "--", "set", "Interface", "vxlan0", "type=vxlan", "ofport_request=100",
			"options:key=flow", "options:remote_ip=flow", "options:local_ip="+h.VTEP.String()); err != nil {
			t.Fatal(err)
		}
		vm, err := h.AddVM(fmt.Sprintf("vm%d", i+1), vif(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if err := vm.AddAddress(netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i+1))); err != nil {
			t.Fatal(err)
		}
		vms = append(vms, vm)
		forward(t, h, vm, peer.VTEP)
	}
	if err := bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	return vms[0], vms[1]
}

func forward(t *testing.T, h *testbed.Host, vm *testbed.VM, peer netip.Addr) {
	t.Helper()
	if out, err := h.Vsctl("get", "Interface", vm.Device(), "ofport"); err != nil || out != "1" {
		t.Fatalf("ofport of %s: %q, error %v", vm.Device(), out, err)
	}
	dst := "tun_dst"
	if peer.Is6() {
		dst = "tun_ipv6_dst"
	}
	err := h.Client().OpenFlow.AddFlowBundle("br-int", func(tx *ovs.FlowTransaction) error {
		tx.Add(
			&ovs.Flow{InPort: 1, Actions: []ovs.Action{ovs.SetTunnel(vni), ovs.SetField(peer.String(), dst), ovs.Output(100)}},
			&ovs.Flow{InPort: 100, Matches: []ovs.Match{ovs.TunnelID(vni)}, Actions: []ovs.Action{ovs.Output(1)}},
		)
		return tx.Commit()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// vxlanOf reads the VNI of a VXLAN packet (RFC 7348 section 5) inside Ethernet and IPv4 without options.
func vxlanOf(f testbed.Frame) (uint32, bool) {
	const ip, udp, vxlan = 14, 34, 42
	if len(f.Raw) < vxlan+8 || binary.BigEndian.Uint16(f.Raw[12:]) != 0x0800 || f.Raw[ip+9] != 17 || binary.BigEndian.Uint16(f.Raw[udp+2:]) != 4789 {
		return 0, false
	}
	return binary.BigEndian.Uint32(f.Raw[vxlan+4:]) >> 8, true
}

func TestHostsPingAcrossVXLAN(t *testing.T) {
	testbed.RequireRoot(t)
	bed, a, b := twoHosts(t)
	capture, err := bed.Underlay.Capture(a.Host.UnderlayPort(), func(f testbed.Frame) bool { _, ok := vxlanOf(f); return ok })
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	r, err := a.Ping(netip.MustParseAddr("10.0.0.2"), n, 10*time.Millisecond)
	if err != nil || r.Sent != n || r.Lost() != 0 {
		t.Errorf("ping: %v, error %v", r, err)
	}
	frames, err := capture.Stop()
	if err != nil {
		t.Error(err)
	}
	var to, from int
	for _, f := range frames {
		if got, _ := vxlanOf(f); got != vni {
			t.Errorf("VNI %d on the wire, want %d", got, vni)
		}
		if f.Out {
			to++
		} else {
			from++
		}
	}
	if to < n || from < n {
		t.Errorf("captured %d frames to and %d from the host, want %d at least", to, from, n)
	}

	// A full-size packet, and a stream.
	if out, err := a.Exec("ping", "-c1", "-W2", "-Mdo", "-s1472", "10.0.0.2"); err != nil {
		t.Errorf("1500 bytes: %v\n%s", err, out)
	}
	stream(t, a.Namespace, b.Namespace, "10.0.0.2:7")
}

// stream carries a mebibyte over TCP, whose checksums matter, from one that
// listens at the address to another.
func stream(t *testing.T, to, from testbed.Namespace, address string) {
	t.Helper()
	l, err := from.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, strings.Repeat("x", 1<<20))
			c.Close()
		}
	}()
	c, err := to.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got int
	for buf := make([]byte, 1<<16); ; {
		n, err := c.Read(buf)
		if got += n; err != nil {
			break
		}
	}
	if got != 1<<20 {
		t.Errorf("TCP carried %d bytes, want %d", got, 1<<20)
	}
}

// A running ping counts what a vswitchd's absence loses, and nothing else; the
// host's VTEP is back afterwards.
func TestPingAcrossVswitchdRestart(t *testing.T) {
	testbed.RequireRoot(t)
	bed, a, b := twoHosts(t)
	to := netip.MustParseAddr("10.0.0.2")
	p, err := a.StartPing(to, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := b.Host.KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if err := b.Host.StartVswitchd(); err != nil {
		t.Fatal(err)
	}
	forward(t, b.Host, b, a.Host.VTEP)
	if err := bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	r, err := p.Stop()
	if err != nil || r.Received == 0 || r.Lost() < 10 || r.LongestGap < 200*time.Millisecond {
		t.Errorf("across the restart: %v, error %v", r, err)
	}
	if r, err := a.Ping(to, 20, 10*time.Millisecond); err != nil || r.Lost() != 0 {
		t.Errorf("after the restart: %v, error %v", r, err)
	}
}

func TestVMUnplugAndRemove(t *testing.T) {
	testbed.RequireRoot(t)
	_, a, _ := twoHosts(t)
	if err := a.Unplug(); err != nil {
		t.Fatal(err)
	}
	if ports, err := a.Host.Vsctl("list-ports", "br-int"); err != nil || ports != "vxlan0" {
		t.Errorf("ports %q, error %v", ports, err)
	}
	if err := a.Plug(); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Exec("ethtool", "-k", "eth0"); err != nil || !strings.Contains(out, "tx-checksumming: off") {
		t.Errorf("eth0 plugged again: error %v, offloads:\n%s", err, out)
	}
	if err := a.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/run/netns/" + a.NetworkName()); err == nil {
		t.Errorf("namespace %s is still there", a.NetworkName())
	}
	if vm := a.Host.VM("vm1"); vm != nil {
		t.Errorf("host still has %s", vm.Name)
	}
}

// leftovers lists what of a bed is still there.
func leftovers(t *testing.T, prefix string) (left []string) {
	t.Helper()
	names, err := os.ReadDir("/run/netns")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), prefix) {
			left = append(left, "namespace "+n.Name())
		}
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if b, err := os.ReadFile("/proc/" + p.Name() + "/cmdline"); err == nil && strings.Contains(string(b), "/"+prefix+"/") {
			left = append(left, "process "+p.Name()+" "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return left
}

func TestCloseLeavesNothing(t *testing.T) {
	testbed.RequireRoot(t)
	bed, _, _ := twoHosts(t)
	if len(leftovers(t, bed.Prefix())) < 9 { // 5 namespaces, 4 daemons
		t.Errorf("a bed of %v", leftovers(t, bed.Prefix()))
	}
	if err := bed.Close(); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, bed.Prefix()); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if _, err := os.Stat(bed.Dir()); err == nil {
		t.Errorf("%s is still there", bed.Dir())
	}
}

// ownerPrefix, set, makes this test binary the owner of a bed that is to be killed.
const ownerPrefix = "TESTBED_OWNER_PREFIX"

func TestMain(m *testing.M) {
	if prefix := os.Getenv(ownerPrefix); prefix != "" {
		bed, err := testbed.New(testbed.Options{Prefix: prefix, Keep: os.Getenv("TESTBED_OWNER_KEEP") != ""})
		if err == nil {
			_, err = bed.AddHost("h1")
		}
		fmt.Println("ready", err)
		select {}
	}
	os.Exit(m.Run())
}

// A bed whose owner was killed with -9 is gone after the next New; one kept on
// purpose only after a Reap that names it.
func TestReapAfterKill(t *testing.T) {
	testbed.RequireRoot(t)
	for _, keep := range []string{"", "1"} {
		prefix := fmt.Sprintf("r%d%s", os.Getpid()%100000, keep+"k")
		owner := exec.Command(os.Args[0])
		owner.Env = append(os.Environ(), ownerPrefix+"="+prefix, "TESTBED_OWNER_KEEP="+keep)
		out, err := owner.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = owner.Process.Kill() })
		ready := make([]byte, 300)
		n, _ := out.Read(ready)
		if got := string(ready[:n]); got != "ready <nil>\n" {
			t.Fatalf("owner: %q", got)
		}
		if err := testbed.Reap(prefix); err != nil {
			t.Fatal(err)
		}
		if left := leftovers(t, prefix); len(left) != 4 { // 2 namespaces, 2 daemons
			t.Errorf("reaped while the owner lives; left %q", left)
		}
		if err := owner.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = owner.Wait()
		if keep == "" { // daemons die with their owner, without anybody's help
			for deadline := time.Now().Add(5 * time.Second); len(leftovers(t, prefix)) > 2; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("5 s after the owner's death: %q", leftovers(t, prefix))
				}
			}
		}
		newBed(t)
		if keep != "" {
			if left := leftovers(t, prefix); len(left) != 4 {
				t.Errorf("kept bed, after its owner's death and New: left %q", left)
			}
			if err := testbed.Reap(prefix); err != nil {
				t.Fatal(err)
			}
		}
		if left := leftovers(t, prefix); len(left) > 0 {
			t.Errorf("keep=%q: left over %q", keep, left)
		}
	}
}
