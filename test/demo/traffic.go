package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// path is from one endpoint to another.
type path struct{ from, to *endpoint }

func (p path) String() string { return p.from.name + " to " + p.to.name }

// paths are all ordered pairs.
func paths(from, to []*endpoint) (all []path) {
	for _, a := range from {
		for _, b := range to {
			if a != b {
				all = append(all, path{a, b})
			}
		}
	}
	return all
}

// answered pings and wants every answer.
func (p path) answered(count int) error {
	r, err := p.from.Ping(p.to.address, count, 20*time.Millisecond)
	if err == nil && (r.Lost() > 0 || r.Duplicates > 0) {
		err = fmt.Errorf("%s: %s", p, r)
	}
	return err
}

func (d *Deployment) pings(context.Context) (string, error) {
	const count = 5
	pairs := 0
	var proofs []string
	for _, n := range d.networks {
		var guests []*endpoint
		for _, g := range n.guests {
			guests = append(guests, &g.endpoint)
		}
		all := paths(guests, guests)
		if err := each(all, 1, func(p path) error { return p.answered(count) }); err != nil {
			return "", err
		}
		// The largest packet that the API promises, which none may cut.
		if out, err := guests[0].Exec("ping", "-c1", "-W2", "-Mdo", fmt.Sprintf("-s%d", n.MTU-28), guests[1].address.String()); err != nil {
			return "", fmt.Errorf("%s to %s with %d bytes: %w: %s", guests[0].name, guests[1].name, n.MTU, err, out)
		}
		pairs += len(all)
		proofs = append(proofs, fmt.Sprintf("%s %d", n.Name, n.MTU))
	}
	return fmt.Sprintf("%d pings between %d ordered pairs, on one host and across: 0 lost; and one of each network's MTU (%s bytes)",
		count*pairs, pairs, strings.Join(proofs, ", ")), nil
}

func (d *Deployment) outside(context.Context) (string, error) {
	const count = 5
	pairs := 0
	for _, name := range []string{"flat", "vlan"} {
		n := d.network(name)
		for _, g := range n.guests {
			// What is between two is for no third.
			var strays atomic.Int64
			var captures []*testbed.Capture
			for _, other := range n.guests {
				if other == g {
					continue
				}
				c, err := other.Capture("eth0", func(f testbed.Frame) bool {
					if !f.Out && len(f.Raw) > 12 && (bytes.Equal(f.Raw[:6], n.machine.mac) || bytes.Equal(f.Raw[:6], g.mac)) {
						strays.Add(1)
					}
					return false
				})
				if err != nil {
					return "", err
				}
				captures = append(captures, c)
			}
			err := each([]path{{&g.endpoint, n.machine}, {n.machine, &g.endpoint}}, 1, func(p path) error { return p.answered(count) })
			for _, c := range captures {
				if _, stopErr := c.Stop(); err == nil {
					err = stopErr
				}
			}
			if err == nil && strays.Load() > 0 {
				err = fmt.Errorf("%d frames between %s and %s came to the network's other guest", strays.Load(), g.name, n.machine.name)
			}
			if err != nil {
				return "", err
			}
			pairs += 2
		}
	}
	return fmt.Sprintf("a machine in VLAN %d and one without a tag, which no controller knows: %d pings with guests of either host, 0 lost, no frame to a third",
		d.network("vlan").Segment, count*pairs), nil
}

// foreign counts what arrives at an endpoint from another network's.
type foreign struct {
	at      *endpoint
	capture *testbed.Capture
	own     atomic.Int64 // frames from its own network, which prove that the capture works
	mu      sync.Mutex
	first   string // of the others
}

// listen captures at an endpoint. owners says whose MAC is whose.
func listen(at *endpoint, owners map[string]*endpoint) (f *foreign, err error) {
	f = &foreign{at: at}
	f.capture, err = at.Capture("eth0", func(frame testbed.Frame) bool {
		if frame.Out || len(frame.Raw) < 14 {
			return false
		}
		switch from := owners[string(frame.Raw[6:12])]; {
		case from == nil: // a switch's answer, or the bed's own
		case from.network == at.network:
			f.own.Add(1)
		default:
			f.mu.Lock()
			if f.first == "" {
				f.first = fmt.Sprintf("%s of network %s got a frame from %s of network %s: % x", at.name, at.network.Name, from.name, from.network.Name, frame.Raw[:14])
			}
			f.mu.Unlock()
		}
		return false
	})
	return f, err
}

func (f *foreign) stop() error {
	if _, err := f.capture.Stop(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.first != "":
		return errors.New(f.first)
	case f.own.Load() == 0:
		return fmt.Errorf("nothing was captured at %s, not even what is for it", f.at.name)
	}
	return nil
}

// apart lets everybody try to reach everybody of the other networks: first with ARP, then with the
// other's MAC written into the neighbour table, so that a unicast frame does leave.
func (d *Deployment) apart(context.Context) (string, error) {
	all := d.allEndpoints()
	owners := map[string]*endpoint{}
	for _, e := range all {
		owners[string(e.mac)] = e
	}
	var listeners []*foreign
	for _, e := range all {
		l, err := listen(e, owners)
		if err != nil {
			return "", err
		}
		listeners = append(listeners, l)
	}
	err := d.tryAcross(all)
	for _, l := range listeners {
		if stopErr := l.stop(); err == nil {
			err = stopErr
		}
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d guests and machines pinged all of the other networks in the same subnet, with ARP and with the MAC by hand: no answer, and not one frame of another network captured at any",
		len(all)), nil
}

func (d *Deployment) tryAcross(all []*endpoint) error {
	var across []path
	for _, p := range paths(all, all) {
		if p.from.network != p.to.network && !p.from.network.has(p.to.address) {
			across = append(across, p)
		}
	}
	unanswered := func(p path) error {
		r, err := p.from.Ping(p.to.address, 2, 100*time.Millisecond)
		if err == nil && r.Received > 0 {
			err = fmt.Errorf("%s: %s", p, r)
		}
		return err
	}
	for _, n := range d.networks {
		own := n.endpoints()
		for i, e := range own { // a control: what is allowed is captured
			if err := (path{e, own[(i+1)%len(own)]}).answered(2); err != nil {
				return err
			}
		}
	}
	if err := each(across, len(across), unanswered); err != nil {
		return err
	}
	err := each(all, 4, func(e *endpoint) error {
		var commands strings.Builder
		for _, p := range across {
			if p.from == e {
				fmt.Fprintf(&commands, "ip neigh replace %s lladdr %s dev eth0; ", p.to.address, p.to.mac)
			}
		}
		_, err := e.Exec("sh", "-e", "-c", commands.String())
		return err
	})
	if err == nil {
		err = each(across, len(across), unanswered)
	}
	return errors.Join(err, each(all, 4, func(e *endpoint) error {
		_, err := e.Exec("ip", "neigh", "flush", "dev", "eth0", "nud", "permanent")
		return err
	}))
}

func (d *Deployment) twin(context.Context) (string, error) {
	same, other := d.network("vxlan").guests[0], d.network("twin").guests[0]
	if same.address != other.address {
		return "", fmt.Errorf("%s and %s were to have the same address", same.name, other.name)
	}
	alone := d.network("twin").guests[1]
	capture, err := same.Capture("eth0", func(f testbed.Frame) bool { return !f.Out && len(f.Raw) > 23 && f.Raw[12] == 8 && f.Raw[23] == 1 })
	if err != nil {
		return "", err
	}
	err = path{&alone.endpoint, &other.endpoint}.answered(5)
	frames, stopErr := capture.Stop()
	switch {
	case err != nil:
		return "", err
	case stopErr != nil:
		return "", stopErr
	case len(frames) > 0:
		return "", fmt.Errorf("%d pings for %s arrived at %s", len(frames), other.name, same.name)
	}
	return fmt.Sprintf("%s is in both networks and on one host: %s answered its neighbour, %s saw nothing", same.address, other.name, same.name), nil
}
