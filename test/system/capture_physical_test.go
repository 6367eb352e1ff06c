package system

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// sights are the points at which frames of one MAC address were copied.
type sights struct {
	mu   sync.Mutex
	from map[string]map[string]int // "POINT of PORT-ID, NOTE", or without " of PORT-ID", by source MAC address
	vids map[string]int            // "POINT VID"
}

func (s *sights) frame(f *inspect.Frame) error {
	if len(f.Bytes) < 18 {
		return nil
	}
	what := f.Point
	if f.PortID != "" {
		what += " of " + f.PortID
	}
	if f.Note != "" {
		what += ", " + f.Note
	}
	vid := 0
	if binary.BigEndian.Uint16(f.Bytes[12:]) == 0x8100 {
		vid = int(binary.BigEndian.Uint16(f.Bytes[14:]) & 0xfff)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	source := fmt.Sprintf("% x", f.Bytes[6:12])
	if s.from == nil {
		s.from, s.vids = map[string]map[string]int{}, map[string]int{}
	}
	if s.from[source] == nil {
		s.from[source] = map[string]int{}
	}
	s.from[source][what]++
	s.vids[fmt.Sprint(f.Point, " ", vid)]++
	return nil
}

// has says which of the sights of a MAC address are missing.
func (s *sights) has(mac []byte, want ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range want {
		if s.from[fmt.Sprintf("% x", mac)][w] == 0 {
			return fmt.Errorf("no frame of %x at %q, but %v", mac, w, s.from)
		}
	}
	return nil
}

// captured sees frames of flat and VLAN networks where they leave a host and come to it, as they are tagged there,
// and what the switch answers itself. What is not sent is not seen.
func (w *layer2) captured() {
	for _, networkType := range []string{"vlan", "flat"} {
		n := w.network(networkType, "10.0.0.0/24", "2001:db8::/64")
		near, far := w.guest(n, w.hosts[0], nil), w.guest(n, w.hosts[1], nil)
		alone := w.guest(n, w.hosts[0], nil) // it says nothing
		w.active(near, far, alone)
		tag, name := fmt.Sprintf("%s VLAN %d", physical, n.VNI), "network "+networkType
		if networkType == "flat" {
			tag, n.VNI = physical+" untagged", 0
		}
		note := tag + ", " + name
		ctx, leave := context.WithCancel(context.Background())
		var ofPort, ofHost sights
		var all sync.WaitGroup
		for what, s := range map[string]*sights{near.port.ID: &ofPort, w.hosts[0].Name: &ofHost} {
			all.Go(func() {
				if err := w.admin.Capture(ctx, inspect.CaptureRequest{What: what, Seconds: 300}, s.frame); err != nil {
					w.t.Errorf("capture of %s: %v", what, err)
				}
			})
		}
		own, other := " of "+near.port.ID, " of "+alone.port.ID
		w.await("frames at every point of a "+networkType+" network", func() error {
			for _, say := range []func() error{
				func() error {
					return send(near.Namespace, "eth0", near.datagram(far.mac()), near.datagram(broadcastMAC))
				},
				func() error { return send(far.Namespace, "eth0", far.datagram(near.mac()), far.datagram(broadcastMAC)) },
				func() error {
					_, err := near.Exec("sh", "-c", "ip neigh flush dev eth0; ping -c 1 -W 1 "+far.port.address()+" >/dev/null; ping -c 1 -W 1 "+far.port.FixedIPs[1].Address+" >/dev/null; true")
					return err
				},
			} {
				if err := say(); err != nil {
					return err
				}
			}
			for s, toAll := range map[*sights]string{&ofPort: "from-physical, " + note, &ofHost: "from-physical, " + note} {
				for _, err := range []error{
					s.has(near.mac(), "from-vif"+own, "to-physical"+own+", "+note),
					s.has(far.mac(), "from-physical"+own+", "+note, toAll, "to-vif"+own, "to-vif"+own+", answered by the switch"),
				} {
					if err != nil {
						return err
					}
				}
			}
			return ofHost.has(near.mac(), "to-vif"+other)
		})
		leave()
		all.Wait()
		for what, s := range map[string]*sights{"port": &ofPort, "host": &ofHost} {
			for sight := range s.from[fmt.Sprintf("% x", []byte(near.mac()))] {
				if strings.HasPrefix(sight, "to-vif"+own) || strings.HasPrefix(sight, "from-physical") {
					w.t.Errorf("capture of a %s: a frame was seen at %s, which its own VIF sent", what, sight)
				}
			}
			for sight := range s.from[fmt.Sprintf("% x", []byte(far.mac()))] {
				if strings.HasPrefix(sight, "to-physical") {
					w.t.Errorf("capture of a %s: a frame was seen at %s, which came from there", what, sight)
				}
			}
			for _, point := range []string{inspect.PointFromPhysical, inspect.PointToPhysical} {
				if s.vids[fmt.Sprint(point, " ", n.VNI)] == 0 {
					w.t.Errorf("capture of a %s: %s shows other tags than on the wire: %v", what, point, s.vids)
				}
			}
		}
		for _, points := range ofPort.from {
			if text := fmt.Sprint(points); strings.Contains(text, other) {
				w.t.Errorf("the capture of a port has frames of another: %s", text)
			}
		}
	}
}
