package system

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// A port moves to another host, where its VIF is plugged already, while it is pinged a thousand times a
// second: the pings are answered again, at no time are there two owners, and who was left hears nothing.
// For how long there is no answer is measured by `go run ./test/bench gap`.
func (w *layer2) move() {
	for _, networkType := range []string{"vxlan", "vlan"} {
		w.moves(networkType)
	}
}

func (w *layer2) moves(networkType string) {
	n := w.network(networkType, "10.0.0.0/24")
	from, to, peers := w.hosts[0], w.hosts[1], []*testbed.Host{w.hosts[2], w.hosts[0]}
	g := w.guest(n, from, nil)
	var watchers []*guest
	for _, h := range peers {
		watchers = append(watchers, w.guest(n, h, nil))
	}
	twin := w.twin(g, to)
	defer func() {
		if err := twin.Remove(); err != nil {
			w.t.Errorf("%v", err)
		}
	}()
	w.active(append(watchers, g)...)
	for _, p := range watchers {
		w.reaches(p, g.address())
	}
	for round, home := range []*testbed.Host{to, from} {
		ping, err := watchers[0].StartPing(g.address(), time.Millisecond)
		if err != nil {
			w.t.Fatal(err)
		}
		ended := make(chan error)
		stop := make(chan struct{})
		go func() { ended <- w.oneOwner(watchers, g, stop) }()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		w.update(g, object{"binding:host_id": home.Name})
		w.active(g)
		took := time.Since(start)
		for _, p := range watchers {
			w.reaches(p, g.address())
		}

		// From here on whoever was left hears nothing of it.
		left := g.VM
		if home == from {
			left = twin
		}
		echo, err := left.Capture("eth0", func(f testbed.Frame) bool { return !f.Out && len(f.Raw) > 34 && f.Raw[12] == 8 && f.Raw[23] == 1 })
		if err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		heard, err := echo.Stop()
		if err != nil {
			w.t.Fatal(err)
		}
		close(stop)
		if err := <-ended; err != nil {
			w.t.Errorf("%s, move %d: %v", networkType, round+1, err)
		}
		result, err := ping.Stop()
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Logf("%s, move %d, to %s: ACTIVE there after %s; %s", networkType, round+1, home.Name, took.Round(time.Millisecond), result)
		if result.Duplicates > 0 {
			w.t.Errorf("%s, move %d: %d pings were answered twice", networkType, round+1, result.Duplicates)
		}
		if len(heard) > 0 {
			w.t.Errorf("%s, move %d: the VIF that was left heard %d pings", networkType, round+1, len(heard))
		}
	}
}

// oneOwner looks, until stop and a few times at least, where the hosts of some guests send another's frames: to one place or
// none, never to two.
func (w *layer2) oneOwner(from []*guest, g *guest, stop <-chan struct{}) error {
	for looks := 1; ; looks++ {
		for _, p := range from {
			out, err := p.Host.Ofctl("--no-stats", "dump-flows", "br-tun", "table=20,dl_dst="+g.port.MAC)
			if err != nil {
				return err
			}
			if n := strings.Count(out, "->tun_dst"); n > 1 {
				return fmt.Errorf("host %s sends to %d hosts:\n%s", p.Host.Name, n, out)
			}
		}
		select {
		case <-stop:
			if looks > 2 {
				return nil
			}
		default:
		}
	}
}

// Of five hosts two have members of a network: what one floods, one other hears. Requests for known
// addresses nobody hears.
func (w *layer2) scope() {
	for _, networkType := range []string{"vxlan", "gre", "geneve"} {
		n := w.network(networkType, "10.0.0.0/24", "fd00::/64")
		a, b := w.guest(n, w.hosts[1], nil), w.guest(n, w.hosts[3], nil)
		w.active(a, b)
		w.reaches(a, b.address())
		w.reaches(a, netip.MustParseAddr(b.port.FixedIPs[1].Address))

		var m marks
		for _, h := range w.hosts {
			m.listen(w.t, w.bed.Underlay, h.UnderlayPort(), h.Name, true)
		}
		m.listen(w.t, b.Namespace, "eth0", "guest", false)
		known, known6 := b.address(), netip.MustParseAddr(b.port.FixedIPs[1].Address)
		unknown, unknown6 := netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("fd00::77")
		own6 := netip.MustParseAddr(a.port.FixedIPs[1].Address)
		frames := [][]byte{
			mark(arpFrame(a.mac(), broadcastMAC, 1, a.mac(), a.address(), known), 1),
			mark(solicitationFrame(a.mac(), own6, known6), 2),
			a.plain(net.HardwareAddr{0xfa, 0x16, 0x3e, 0xff, 0xff, 0xff}, 3), // nobody's
			mark(arpFrame(a.mac(), broadcastMAC, 1, a.mac(), a.address(), unknown), 4),
			mark(solicitationFrame(a.mac(), own6, unknown6), 5),
			mark(arpFrame(a.mac(), broadcastMAC, 1, a.mac(), a.address(), a.address()), 6), // gratuitous
			mark(announcementFrame(a.mac(), own6, own6, a.mac()), 7),
			a.plain(broadcastMAC, 8),
		}
		if err := send(a.Namespace, "eth0", frames...); err != nil {
			w.t.Fatal(err)
		}
		w.await("the last broadcast", func() error {
			if m.at(8, "guest") == 0 {
				return errors.New("not heard")
			}
			return nil
		})
		m.stop(w.t)
		for number := 1; number <= 8; number++ {
			want := "[compute02:1 compute04:1 guest:1]" // out of the one, into the other
			if number <= 3 {
				want = "[]"
			}
			if got := m.of(number); got != want {
				w.t.Errorf("%s: frame %d was seen at %s, want %s", networkType, number, got, want)
			}
		}
	}
}
