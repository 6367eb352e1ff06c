package system

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// A tap on br-int that names no port hears nothing and reaches nothing: while the host is enrolled
// around it, with the controller gone, with the switch restarted, and with both back. It was there
// first, on a br-int that os-vif made, which forwards everything.
func (w *layer2) rawTap() {
	h, err := w.bed.AddHost("compute06")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := h.Connect(w.physnet, "br-ex"); err != nil {
		w.t.Fatal(err)
	}
	flat, vxlan := w.network("flat", "10.0.0.0/24"), w.network("vxlan", "10.0.0.0/24")
	machine, err := w.physnet.AddMachine("outside", 0, netip.MustParsePrefix("10.0.0.240/24"))
	if err != nil {
		w.t.Fatal(err)
	}
	far, farFlat := w.guest(vxlan, w.hosts[0], nil), w.guest(flat, w.hosts[0], nil)
	w.active(far, farFlat)

	// The tap's both ends stay on the host.
	if _, err := h.Exec("ip", "link", "add", "raw0", "type", "veth", "peer", "name", "raw1"); err != nil {
		w.t.Fatal(err)
	}
	for _, device := range []string{"raw0", "raw1"} {
		for _, args := range [][]string{{"link", "set", device, "addrgenmode", "none"}, {"link", "set", device, "up"}} {
			if _, err := h.Exec("ip", args...); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if _, err := h.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "--", "add-port", "br-int", "raw0"); err != nil {
		w.t.Fatal(err)
	}

	// What the tap sends has numbers from 1000 on; what others send has the state's.
	var state atomic.Int64
	state.Store(1)
	var m marks
	heard, err := h.Capture("raw1", func(f testbed.Frame) bool { return !f.Out })
	if err != nil {
		w.t.Fatal(err)
	}
	m.listen(w.t, far.Namespace, "eth0", "vxlan guest", false)
	m.listen(w.t, farFlat.Namespace, "eth0", "flat guest", false)
	m.listen(w.t, machine.Namespace, "eth0", "machine", false)
	m.listen(w.t, w.bed.Underlay, h.UnderlayPort(), "underlay", false)
	stop := make(chan struct{})
	done := make(chan error, 4)
	chatter := func(where testbed.Namespace, device string, base int64, frames func(number int) [][]byte) {
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				case <-time.After(time.Millisecond):
				}
				if err := send(where, device, frames(int(base+state.Load()))...); err != nil && !strings.Contains(err.Error(), "down") {
					done <- err
					return
				}
			}
		}()
	}
	flood := func(src net.HardwareAddr, number int) []byte {
		return mark(udpFrame(src, broadcastMAC, net.IPv4(10, 0, 0, 66), net.IPv4bcast, 1000, 2000, nil), number)
	}
	chatter(far.Namespace, "eth0", 0, func(n int) [][]byte { return [][]byte{far.plain(broadcastMAC, n)} })
	chatter(farFlat.Namespace, "eth0", 0, func(n int) [][]byte { return [][]byte{farFlat.plain(broadcastMAC, n)} })
	chatter(machine.Namespace, "eth0", 0, func(n int) [][]byte { return [][]byte{flood(machine.MAC, n)} })
	chatter(h.Namespace, "raw1", 1000, func(n int) [][]byte {
		plain := flood(net.HardwareAddr{2, 0, 0, 0, 6, 6}, n)
		return [][]byte{plain, tagged(plain, 0x81000001), tagged(plain, 0x81000002), far.plain(broadcastMAC, n), far.plain(far.mac(), n)}
	})

	states := []string{"before the host is enrolled"}
	next := func(what string) {
		w.await("what is said while "+states[len(states)-1], func() error {
			if m.at(len(states), "machine") == 0 {
				return errors.New("nothing of the flat network was heard outside")
			}
			return nil
		})
		states = append(states, what)
		state.Add(1)
	}
	time.Sleep(100 * time.Millisecond)
	next("while the host is enrolled")
	w.enrolHost(h, map[string]string{"tunbridge-bridge-mappings": physical + ":br-ex"})
	w.quiet(h.Name)
	next("enrolled")
	local, localFlat := w.guest(vxlan, h, nil), w.guest(flat, h, nil)
	w.active(local, localFlat)
	w.quiet(h.Name)
	if err := w.bed.WarmTunnels(); err != nil {
		w.t.Fatal(err)
	}
	m.listen(w.t, local.Namespace, "eth0", "local vxlan guest", false)
	m.listen(w.t, localFlat.Namespace, "eth0", "local flat guest", false)
	w.reaches(local, far.address())
	w.reaches(localFlat, farFlat.address())
	next("with guests")
	time.Sleep(200 * time.Millisecond)
	next("the controller is gone")
	w.kill()
	time.Sleep(200 * time.Millisecond)
	next("the switch is restarted too")
	if err := h.KillVswitchd(); err != nil {
		w.t.Fatal(err)
	}
	if err := h.StartVswitchd(); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	next("the controller is back")
	w.serve()
	for _, host := range append(w.hosts, h) {
		w.quiet(host.Name)
	}
	if err := w.bed.WarmTunnels(); err != nil {
		w.t.Fatal(err)
	}
	w.reaches(local, far.address())
	w.reaches(localFlat, farFlat.address())
	next("at last")
	time.Sleep(200 * time.Millisecond)

	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			w.t.Errorf("%v", err)
		}
	}
	m.stop(w.t)
	frames, err := heard.Stop()
	if err != nil {
		w.t.Fatal(err)
	}
	by := map[string]int{}
	for _, f := range frames {
		name := fmt.Sprintf("unmarked frame %x", f.Raw[:min(len(f.Raw), 30)])
		for i, s := range states {
			if strings.Contains(string(f.Raw), fmt.Sprintf("%s%d;", marked, i+1)) {
				name = s
			}
		}
		by[name]++
	}
	if len(by) > 0 {
		w.t.Errorf("the tap heard: %v", by)
	}
	for i, s := range states {
		if got := m.of(1001 + i); got != "[]" {
			w.t.Errorf("%s: what the tap sent was seen at %s", s, got)
		}
	}
	if m.at(len(states), "local vxlan guest") == 0 || m.at(len(states), "local flat guest") == 0 {
		w.t.Errorf("the guests beside the tap heard nothing: the test proves nothing: %s", m.of(len(states)))
	}
}
