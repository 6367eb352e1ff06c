package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// sizeDHCP is how much `bench dhcp` does.
type sizeDHCP struct {
	requests int           // one at a time
	lasting  time.Duration // of requests side by side, and of each of a pair of runs, without and with a flood
	pairs    int
	profile  string        // file for the controller's CPU profile while requests are side by side; "" is none
	boots    size          // whose ports boot at once
	within   time.Duration // that they boot
}

var fullDHCP = sizeDHCP{requests: 1000, lasting: 3 * time.Second, pairs: 5, boots: size{Hosts: 40, Networks: 10, Ports: 1000}, within: 5 * time.Second}

const (
	window    = 32                   // requests of one guest that are under way side by side
	floodRate = 10_000               // packets per second
	turns     = 10                   // of a pair of runs, in which they take turns, so that the machine's other work is in both
	raised    = 100_000              // punt-rate that no guest reaches
	rest      = 5 * time.Millisecond // between requests one at a time: below the rate that a port is allowed
)

// addRow adds a row to the table that is printed.
type addRow func(name, format string, args ...any)

// benchDHCP measures what guests see of DHCP, and what it costs. It needs root.
func benchDHCP(ctx context.Context, out io.Writer, binary, dir string, s sizeDHCP) error {
	if os.Geteuid() != 0 {
		return errors.New("dhcp: network namespaces need root")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	before, err := load()
	if err != nil {
		return err
	}
	row("load average before", "%.1f", before)
	for i, step := range []struct {
		name  string
		with  withGuests
		flags []string
		run   func(context.Context, *deployment, []*guest, sizeDHCP, addRow) error
	}{
		{"as configured by default", onTwoHosts(6), nil, latencyAndFlood},
		{fmt.Sprintf("with punt-rate %d", raised), onTwoHosts(8), []string{fmt.Sprint("--punt-rate=", raised)}, throughput},
		{fmt.Sprintf("%d hosts", s.boots.Hosts), onDummies(s.boots), nil, boots},
	} {
		fmt.Fprintln(os.Stderr, "dhcp:", step.name)
		row(step.name, "")
		if err := step.with(ctx, binary, filepath.Join(dir, fmt.Sprint("dhcp", i)), step.flags, func(d *deployment, guests []*guest) error {
			return step.run(ctx, d, guests, s, row)
		}); err != nil {
			return err
		}
	}
	return w.Flush()
}

// withGuests runs f on a deployment with a guest for every port.
type withGuests func(ctx context.Context, binary, dataDir string, flags []string, f func(*deployment, []*guest) error) error

// onDummies has guests on the dummy devices of cheap hosts.
func onDummies(s size) withGuests {
	return func(ctx context.Context, binary, dataDir string, flags []string, f func(*deployment, []*guest) error) (err error) {
		d, err := deploy(ctx, s, binary, dataDir, flags...)
		if d != nil {
			defer func() { err = errors.Join(err, d.close()) }()
		}
		if err != nil {
			return err
		}
		if err := d.wireAll(ctx, &figures{}, ""); err != nil {
			return err
		}
		var guests []*guest
		for i, p := range d.ports {
			g, err := d.addDummyGuest(ctx, i, p)
			if err != nil {
				return err
			}
			defer g.link.Close()
			guests = append(guests, g)
		}
		if err := f(d, guests); err != nil {
			return err
		}
		return d.verify(ctx, nil)
	}
}

// onTwoHosts has n guests on veth devices, those with even numbers on the first host, those with odd ones on the
// second.
func onTwoHosts(n int) withGuests {
	return func(ctx context.Context, binary, dataDir string, flags []string, f func(*deployment, []*guest) error) (err error) {
		d, hosts, err := deployNamespaces(ctx, binary, dataDir, flags...)
		if d != nil {
			defer func() { err = errors.Join(err, d.close()) }()
		}
		if err != nil {
			return err
		}
		if err := d.addNetwork(ctx, 0); err != nil {
			return err
		}
		var guests []*guest
		for i := range n {
			h := hosts[i%2]
			var made struct{ Port port }
			if err := d.call(ctx, http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": d.networks[0], "binding:host_id": h.Name, "device_owner": owner}}, &made); err != nil {
				return err
			}
			mac, err := net.ParseMAC(made.Port.MAC)
			if err != nil {
				return err
			}
			vm, err := h.AddVM(fmt.Sprint("vm", i), testbed.VIF{PortID: made.Port.ID, MAC: mac})
			if err != nil {
				return err
			}
			link, err := vm.OpenLink("eth0", 0x0800)
			if err != nil {
				return err
			}
			defer link.Close()
			g, err := newGuest(made.Port, link)
			if err != nil {
				return err
			}
			guests = append(guests, g)
		}
		if err := d.wired(ctx); err != nil {
			return err
		}
		if err := f(d, guests); err != nil {
			return err
		}
		return d.verify(ctx, nil)
	}
}

// latencyAndFlood asks one at a time, alone and while a neighbour floods.
func latencyAndFlood(_ context.Context, _ *deployment, guests []*guest, s sizeDHCP, row addRow) error {
	// Guests 0, 2 and 4 are on the first host, the others on the second.
	flooder, neighbour, elsewhere := guests[0], guests[2], guests[1]
	if _, _, err := neighbour.oneByOne(20, rest); err != nil { // to warm up
		return err
	}
	took, lost, err := neighbour.oneByOne(s.requests, rest)
	if err != nil {
		return err
	}
	if len(took) == 0 {
		return errLost
	}
	l := spreadOf(took)
	row("  DISCOVER to OFFER, one at a time, ms", "median %.2f, p99 %.2f, lost %d of %d", l.Median, l.P99, lost, s.requests)
	var times [2][]float64
	where := [2]string{"same host", "other host"}
	for range s.pairs {
		var quiet, loud [2][]time.Duration
		rates := 0.0
		for range turns {
			if err := bothOneByOne(neighbour, elsewhere, s.lasting/turns, &quiet); err != nil {
				return err
			}
			var rate float64
			var floodErr error
			stop := make(chan struct{})
			var flood sync.WaitGroup
			flood.Go(func() { rate, floodErr = flooder.flood(floodRate, stop) })
			err := bothOneByOne(neighbour, elsewhere, s.lasting/turns, &loud)
			close(stop)
			flood.Wait()
			if err := errors.Join(err, floodErr); err != nil {
				return fmt.Errorf("beside a flood: %w", err)
			}
			rates += rate
		}
		for i := range where {
			without, with := spreadOf(quiet[i]).P99, spreadOf(loud[i]).P99
			times[i] = append(times[i], with/without)
			row("  p99 beside a flood, "+where[i]+", ms", "%.2f, without %.2f; %.0f DISCOVER/s", with, without, rates/turns)
		}
	}
	for i := range where {
		slices.Sort(times[i])
		row("  times as long, "+where[i], "median of %d pairs %.2f (%.2f–%.2f)", s.pairs, quantile(times[i], 0.5), times[i][0], times[i][len(times[i])-1])
	}
	return nil
}

// bothOneByOne has two guests ask one at a time, for a time, and adds what each
// answer took; one that is lost took as long as was waited for it.
func bothOneByOne(a, b *guest, lasting time.Duration, took *[2][]time.Duration) error {
	requests := max(int(lasting/(rest+time.Millisecond)), 1)
	var both sync.WaitGroup
	var errs [2]error
	for i, g := range []*guest{a, b} {
		both.Go(func() {
			more, lost, err := g.oneByOne(requests, rest)
			took[i], errs[i] = append(took[i], more...), err
			for range lost {
				took[i] = append(took[i], patience)
			}
		})
	}
	both.Wait()
	return errors.Join(errs[:]...)
}

// throughput keeps requests of one guest under way, and of four.
func throughput(ctx context.Context, d *deployment, guests []*guest, s sizeDHCP, row addRow) error {
	profiled, err := d.profile(ctx, s.profile)
	if err != nil {
		return err
	}
	for _, n := range []int{1, 4} {
		before, err := d.usage()
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		answered, lost := 0, 0
		start := time.Now()
		for i := range n {
			all.Go(func() {
				a, l, e := guests[2*i].atOnce(window, s.lasting) // all on the first host
				mu.Lock()
				answered, lost, err = answered+a, lost+l, errors.Join(err, e)
				mu.Unlock()
			})
		}
		all.Wait()
		if err != nil {
			return err
		}
		took := time.Since(start).Seconds()
		after, err := d.usage()
		if err != nil {
			return err
		}
		if answered == 0 {
			return errLost
		}
		each := after.since(before).divided(answered)
		row(fmt.Sprintf("  answers per second of one host, guests: %d", n), "%.0f, lost %.2f %%", float64(answered)/took, 100*float64(lost)/float64(answered+lost))
		row("    CPU µs each", "controller %.1f, ovs-vswitchd %.1f", 1e6*float64(each.Controller), 1e6*float64(each.Vswitchd))
	}
	return <-profiled
}

// boots has every guest get a lease, evenly within a time.
func boots(_ context.Context, d *deployment, guests []*guest, s sizeDHCP, row addRow) error {
	before, err := d.usage()
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	lost, failed := 0, error(nil)
	start := time.Now()
	for i, g := range guests {
		time.Sleep(time.Until(start.Add(s.within * time.Duration(i) / time.Duration(len(guests)))))
		all.Go(func() {
			t, err := g.boot(uint32(2 * i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				took = append(took, t)
			case errors.Is(err, errLost):
				lost++
			default:
				failed = err
			}
		})
	}
	all.Wait()
	after, err := d.usage()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if len(took) == 0 {
		return errLost
	}
	l, used := spreadOf(took), after.since(before)
	row(fmt.Sprintf("  %d boots in %v", len(guests), s.within), "%d without an answer; DISCOVER to ACK median %.1f ms, p99 %.1f ms", lost, l.Median, l.P99)
	row("    CPU s", "controller %.2f, all ovs-vswitchd %.2f", float64(used.Controller), float64(used.Vswitchd))
	return nil
}
