package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// flowAge is one flow's life as the switch counts it.
type flowAge struct {
	seconds float64
	packets uint64
}

// ages reads every flow of a host with ovs-ofctl.
func ages(h *testbed.Host) (map[string]flowAge, error) {
	all := map[string]flowAge{}
	for _, bridge := range []string{"br-int", "br-tun"} {
		text, err := h.DumpFlows(bridge)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			var age flowAge
			var key []string
			for _, field := range strings.FieldsFunc(strings.TrimSpace(line), func(r rune) bool { return r == ' ' }) {
				field = strings.TrimSuffix(field, ",")
				switch {
				case strings.HasPrefix(field, "duration="):
					_, _ = fmt.Sscanf(field, "duration=%fs", &age.seconds)
				case strings.HasPrefix(field, "n_packets="):
					_, _ = fmt.Sscanf(field, "n_packets=%d", &age.packets)
				case strings.HasPrefix(field, "n_bytes="), strings.HasPrefix(field, "idle_age="):
				default:
					key = append(key, field)
				}
			}
			if len(key) > 1 {
				all[bridge+" "+strings.Join(key, " ")] = age
			}
		}
	}
	return all, nil
}

func (d *Deployment) restart(ctx context.Context) (string, error) {
	before := map[string]map[string]flowAge{}
	for _, h := range d.Hosts {
		a, err := ages(h)
		if err != nil {
			return "", err
		}
		before[h.Name] = a
	}
	read := time.Now()
	const interval = 20 * time.Millisecond
	var pings []*testbed.Pinger
	for _, n := range d.networks {
		p, err := n.guests[0].StartPing(n.guests[len(n.guests)-1].address, interval)
		if err != nil {
			return "", err
		}
		pings = append(pings, p)
	}
	time.Sleep(500 * time.Millisecond)
	if err := d.Controller.Kill(); err != nil {
		return "", err
	}
	time.Sleep(time.Second)
	err := d.serve(ctx)
	if err == nil {
		err = d.await(ctx, 30*time.Second, d.settled)
	}
	if err == nil {
		err = d.await(ctx, 30*time.Second, func() error { return d.active(ctx) })
	}
	time.Sleep(500 * time.Millisecond)
	sent := 0
	for i, p := range pings {
		r, stopErr := p.Stop()
		if err == nil {
			err = stopErr
		}
		if err == nil && r.Lost() > 0 {
			err = fmt.Errorf("network %s: %d of %d pings were lost: %s", d.networks[i].Name, r.Lost(), r.Sent, r)
		}
		sent += r.Sent
	}
	if err != nil {
		return "", err
	}
	flows := 0
	for _, h := range d.Hosts {
		after, err := ages(h)
		if err != nil {
			return "", err
		}
		since := time.Since(read).Seconds()
		for _, key := range slices.Sorted(maps.Keys(before[h.Name])) {
			was, is := before[h.Name][key], after[key]
			if is.seconds < was.seconds+since-2 || is.packets < was.packets {
				return "", fmt.Errorf("%s: %s: was %.1f s old with %d packets, is %.1f s with %d after %.1f s", h.Name, key, was.seconds, was.packets, is.seconds, is.packets, since)
			}
		}
		if len(after) != len(before[h.Name]) {
			return "", fmt.Errorf("%s: %d flows before, %d after", h.Name, len(before[h.Name]), len(after))
		}
		flows += len(after)
	}
	return fmt.Sprintf("kill -9 under %d pings/s in each of %d networks, restarted on the same data: %d sent, 0 lost; %d flows, ages and counters went on, none added, none deleted",
		time.Second/interval, len(pings), sent, flows), nil
}
