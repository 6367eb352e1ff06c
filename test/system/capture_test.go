package system

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// seen collects at which points of whom frames were copied, "compute01 from-vif PORT".
type seen struct {
	mu     sync.Mutex
	points map[string]int
	notes  []string
}

func (s *seen) frame(f *inspect.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.points == nil {
		s.points = map[string]int{}
	}
	if f.Point != "" {
		s.points[f.Host+" "+f.Point+" "+f.PortID]++
		if !slices.Contains(s.notes, f.Note) {
			s.notes = append(s.notes, f.Note)
		}
	}
	return nil
}

// lacks says which of the points are missing.
func (s *seen) lacks(points ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range points {
		if s.points[p] == 0 {
			return fmt.Errorf("no frame at %q, but %v", p, s.points)
		}
	}
	return nil
}

// Frames of a port and of a host are copied wherever they pass, into a file that tcpdump reads. Nothing is left of
// a capture: not when its client leaves, and not when the controller dies.
func TestCapture(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	hosts, err := d.bed.AddHosts("compute01", "compute02")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(underlayMTU, "--probe-interval=0")
	d.serve()
	n := d.addNetwork("blue", "10.0.0.0/24")
	var ports []*port
	var vms []*testbed.VM
	for i, h := range hosts {
		if err := h.Enroll("tcp:"+d.ovsdb, nil); err != nil {
			t.Fatal(err)
		}
		d.quiet(h.Name)
		p := d.addPort(n, h.Name)
		vm, err := h.AddVM(fmt.Sprintf("vm%d", i), p.vif())
		if err != nil {
			t.Fatal(err)
		}
		if err := vm.AddAddress(netip.MustParsePrefix(p.address() + "/24")); err != nil {
			t.Fatal(err)
		}
		ports, vms = append(ports, p), append(vms, vm)
	}
	d.become("ACTIVE", ports...)
	if err := d.bed.WarmTunnels(); err != nil {
		t.Fatal(err)
	}
	talk := func() error { // both ways, through the tunnel, and with the controller
		_, err := vms[0].Ping(netip.MustParseAddr(ports[1].address()), 2, 10*time.Millisecond)
		return errors.Join(err, send(vms[0].Namespace, "eth0", dhcpFrame(ports[0], dhcpv4.MessageTypeDiscover)))
	}
	left := func() error { // of captures, on the switches
		for _, h := range hosts {
			for _, bridge := range []string{"br-int", "br-tun"} {
				text, err := h.Ofctl("--no-names", "dump-flows", bridge, "cookie=0x0700000000000000/0xff00000000000000")
				if err == nil && strings.Contains(text, "cookie=") {
					err = errors.New(text)
				}
				if err != nil {
					return fmt.Errorf("host %s %s: %w", h.Name, bridge, err)
				}
			}
		}
		return nil
	}
	if err := left(); err != nil {
		t.Fatalf("before the first capture: %v", err)
	}

	// Three captures at once: of a port, by the program, into a file; the same port; and the other host.
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	var ofPort, ofHost seen
	var all sync.WaitGroup
	for what, s := range map[string]*seen{ports[0].MAC: &ofPort, "compute02": &ofHost} {
		all.Go(func() {
			if err := d.admin.Capture(ctx, inspect.CaptureRequest{What: what, Seconds: 300}, s.frame); err != nil {
				t.Errorf("capture of %s: %v", what, err)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	written := make(chan error, 1)
	go func() {
		_, err := d.tool("capture", ports[0].ID, "-w", file, "-c", "60", "--for", "5m")
		written <- err
	}()
	at := func(host string, p *port, points ...string) (all []string) {
		for _, point := range points {
			all = append(all, host+" "+point+" "+p.ID)
		}
		return all
	}
	d.await("frames at every point", func() error {
		return errors.Join(talk(), ofPort.lacks(at("compute01", ports[0], inspect.PointFromVIF, inspect.PointToVIF, inspect.PointToTunnel, inspect.PointFromTunnel, inspect.PointPunt, inspect.PointAnswer)...),
			ofHost.lacks(at("compute02", ports[1], inspect.PointFromVIF, inspect.PointToVIF, inspect.PointToTunnel, inspect.PointFromTunnel)...))
	})
	ofPort.mu.Lock()
	for point := range ofPort.points {
		if !strings.HasPrefix(point, "compute01 ") || !strings.HasSuffix(point, ports[0].ID) && point != "compute01 from-tunnel " {
			t.Errorf("the capture of a port has a frame of %q", point)
		}
	}
	if !slices.ContainsFunc(ofPort.notes, func(s string) bool {
		return strings.HasPrefix(s, "vxlan ") && strings.Contains(s, " from compute02 (")
	}) {
		t.Errorf("no frame says through which tunnel it came: %q", ofPort.notes)
	}
	ofPort.mu.Unlock()
	d.verify()
	if text, err := d.tool("trace", ports[0].ID, ports[1].ID); err != nil {
		t.Errorf("trace of what is captured: %v\n%s", err, text)
	}
	if text, err := hosts[0].Ofctl("meter-stats", "br-int", "meter=65280"); err != nil || !regexp.MustCompile(`packet_in_count:[1-9]`).MatchString(text) {
		t.Errorf("the copies do not pass their meter: error %v\n%s", err, text)
	}
	d.await("the file to have its frames", func() error {
		select {
		case err := <-written:
			written <- err
			return nil
		default:
			return errors.Join(talk(), errors.New("not yet"))
		}
	})
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	leave()
	all.Wait()
	d.await("the switches to hold nothing of a capture", left)
	d.readsCapture(file, ports)

	// The controller dies: the switches forget by themselves.
	ctx, leave = context.WithCancel(context.Background())
	defer leave()
	var running atomic.Bool
	d.await("the capture's flows", func() error {
		if left() != nil {
			return nil
		}
		if running.CompareAndSwap(false, true) { // the first, or the one before was too short
			all.Go(func() {
				defer running.Store(false)
				_ = d.admin.Capture(ctx, inspect.CaptureRequest{What: ports[0].ID, Seconds: 6}, func(*inspect.Frame) error { return nil })
			})
		}
		return errors.New("none")
	})
	d.kill()
	all.Wait()
	d.await("the switches to forget a capture whose controller is dead", left)
	d.serve()
	for _, h := range hosts {
		d.quiet(h.Name)
	}
	d.verify()
	if _, err := d.tool("capture", ports[0].ID, "--for", "11m"); err == nil || !strings.Contains(err.Error(), "10m0s at most") {
		t.Errorf("a capture of 11 minutes: %v", err)
	}
}

// readsCapture reads a capture's file as tcpdump does, and the names in it.
func (d *deployment) readsCapture(file string, ports []*port) {
	d.t.Helper()
	text, err := d.where.Exec("tcpdump", "-n", "-r", file)
	if err != nil || strings.Count(text, "\n") != 60 || !strings.Contains(text, ports[0].address()+" > "+ports[1].address()+": ICMP echo request") {
		d.t.Errorf("tcpdump: error %v\n%s", err, text)
	}
	f, err := os.Open(file)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		d.t.Fatal(err)
	}
	for {
		if _, _, err := r.ReadPacketData(); err != nil {
			break
		}
	}
	var names []string
	for i := range r.NInterfaces() {
		if one, err := r.Interface(i); err == nil {
			names = append(names, one.Name)
		}
	}
	for _, point := range []string{"from-vif", "to-vif", "to-tunnel", "from-tunnel"} {
		if !slices.Contains(names, "compute01/"+ports[0].MAC+"/"+point) {
			d.t.Errorf("no interface of the file is named for %s: %q", point, names)
		}
	}
}
