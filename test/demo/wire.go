package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// unwrap takes off what carries a frame between hosts, and says what that was: an encapsulation in
// Ethernet and IPv4 without options, an 802.1Q tag, or "" for nothing.
func unwrap(raw []byte) (carrier string, inner []byte) {
	if len(raw) < 14 {
		return "", nil
	}
	switch binary.BigEndian.Uint16(raw[12:]) {
	case 0x8100:
		if len(raw) < 18 {
			return "", nil
		}
		return fmt.Sprintf("VLAN %d", binary.BigEndian.Uint16(raw[14:])&0xfff), append(bytes.Clone(raw[:12]), raw[16:]...)
	case 0x0800:
		if len(raw) < 14+20 || raw[14] != 0x45 {
			break
		}
		switch payload := raw[14+20:]; raw[14+9] {
		case 17: // UDP
			if len(payload) < 8+8+14 {
				break
			}
			switch header := payload[8:]; binary.BigEndian.Uint16(payload[2:]) {
			case 4789: // RFC 7348 section 5
				return fmt.Sprintf("VNI %d of VXLAN", binary.BigEndian.Uint32(header[4:])>>8), header[8:]
			case 6081: // RFC 8926 section 3.4; the options' length is in words
				if options := int(header[0]&0x3f) * 4; len(header) >= 8+options+14 {
					return fmt.Sprintf("VNI %d of Geneve", binary.BigEndian.Uint32(header[4:])>>8), header[8+options:]
				}
			}
		case 47: // GRE with a key and nothing else (RFC 2890 section 2), Ethernet inside
			if len(payload) >= 8+14 && binary.BigEndian.Uint32(payload) == 0x20006558 {
				return fmt.Sprintf("key %d of GRE", binary.BigEndian.Uint32(payload[4:])), payload[8:]
			}
		}
	}
	return "", raw
}

// carried unwraps a frame as far as it goes.
func carried(raw []byte) (carrier string, inner []byte) {
	for {
		c, rest := unwrap(raw)
		if c == "" {
			if carrier == "" {
				carrier = "no tag"
			}
			return carrier, rest
		}
		if carrier != "" {
			c = carrier + ", " + c
		}
		carrier, raw = c, rest
	}
}

// carrier is how a network's frames travel; "" for a local one's, which do not.
func (n *network) carrier() string {
	switch n.Type {
	case "vxlan":
		return fmt.Sprintf("VNI %d of VXLAN", n.Segment)
	case "geneve":
		return fmt.Sprintf("VNI %d of Geneve", n.Segment)
	case "gre":
		return fmt.Sprintf("key %d of GRE", n.Segment)
	case "vlan":
		return fmt.Sprintf("VLAN %d", n.Segment)
	case "flat":
		return "no tag"
	}
	return ""
}

// wires is a capture of all cables of the first host but its management's.
type wires []*testbed.Capture

// tap captures what belongs to any of the guests by its inner MAC addresses.
func (d *Deployment) tap(guests []*guest, each func(carrier string, inner []byte)) (w wires, err error) {
	h := d.Hosts[0]
	for _, cable := range []struct {
		testbed.Namespace
		port string
	}{{d.bed.Underlay, h.UnderlayPort()}, {d.physical.Namespace, d.physical.Port(h)}} {
		c, err := cable.Capture(cable.port, func(f testbed.Frame) bool {
			carrier, inner := carried(f.Raw)
			for _, g := range guests {
				if len(inner) >= 14 && (bytes.Equal(inner[:6], g.mac) || bytes.Equal(inner[6:12], g.mac)) {
					each(carrier, inner)
					break
				}
			}
			return false
		})
		if err != nil {
			return w, err
		}
		w = append(w, c)
	}
	return w, nil
}

func (w wires) stop() (err error) {
	for _, c := range w {
		if _, stopErr := c.Stop(); err == nil {
			err = stopErr
		}
	}
	return err
}

// wire shows one network's frames on the cables between the hosts.
func (n *network) wire(d *Deployment, _ context.Context) (string, error) {
	const count = 5
	var mu sync.Mutex
	seen := map[string]int{}
	w, err := d.tap(n.guests, func(carrier string, _ []byte) {
		mu.Lock()
		seen[carrier]++
		mu.Unlock()
	})
	if err == nil {
		err = path{&n.guests[0].endpoint, &n.guests[len(n.guests)-1].endpoint}.answered(count)
	}
	if stopErr := w.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return "", err
	}
	want := n.carrier()
	if want == "" {
		if len(seen) > 0 {
			return "", fmt.Errorf("frames on the cables of %s: %v", d.Hosts[0].Name, seen)
		}
		return fmt.Sprintf("%d pings answered; on the cables of %s: 0 frames", count, d.Hosts[0].Name), nil
	}
	if len(seen) != 1 || seen[want] < 2*count {
		return "", fmt.Errorf("%s in the API; frames captured on the cables: %v, want at least %d", want, seen, 2*count)
	}
	return fmt.Sprintf("%s: in the API, and on all of %d frames captured on the cables of %s", want, seen[want], d.Hosts[0].Name), nil
}

func (d *Deployment) arp(context.Context) (string, error) {
	const count = 5
	total, pinged := 0, 0
	for _, n := range d.networks {
		var frames, requests atomic.Int64
		a, b := n.guests[0], n.guests[len(n.guests)-1]
		for _, g := range []*guest{a, b} {
			if _, err := g.Exec("ip", "neigh", "flush", "all"); err != nil {
				return "", err
			}
		}
		w, err := d.tap(n.guests, func(_ string, inner []byte) {
			frames.Add(1)
			if inner[0]&1 == 1 && inner[12] == 8 && inner[13] == 6 {
				requests.Add(1)
			}
		})
		if err == nil {
			err = path{&a.endpoint, &b.endpoint}.answered(count)
		}
		if stopErr := w.stop(); err == nil {
			err = stopErr
		}
		switch {
		case err != nil:
			return "", err
		case n.carrier() != "" && frames.Load() < 2*count:
			return "", fmt.Errorf("network %s: only %d frames of %d pings were captured", n.Name, frames.Load(), count)
		case requests.Load() > 0:
			return "", fmt.Errorf("network %s: %d broadcast ARP frames left the host", n.Name, requests.Load())
		}
		total += int(frames.Load())
		pinged++
	}
	return fmt.Sprintf("neighbour tables flushed and pinged in %d networks: %d frames captured on the cables, 0 broadcast ARP among them", pinged, total), nil
}
