package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// sizeMetadata is how much `bench metadata` does.
type sizeMetadata struct {
	guests   int           // on one host, that ask side by side
	booting  []int         // guests that boot together, in this order
	requests int           // of one guest alone, one at a time
	boot     int           // requests of each guest that boots
	within   time.Duration // in which they begin to, evenly, when they do not all at once
	lasting  time.Duration // of requests side by side
	profile  string        // file for the controller's CPU profile while requests are side by side; "" is none
}

// What cloud-init asks for at a boot of OpenStack's form, and then of EC2's: forty requests are on the safe side.
var fullMetadata = sizeMetadata{guests: 50, booting: []int{50, 200}, requests: 300, boot: 40, within: 5 * time.Second, lasting: 3 * time.Second}

const (
	metadataURL = "http://169.254.169.254/openstack/latest/meta_data.json"
	novaPort    = ":8775"
)

// asker is a guest that asks for its metadata with its kernel's TCP, over one connection or a new one
// each time.
type asker struct {
	name       string
	kept, anew http.Client
}

// benchMetadata measures what guests in namespaces see of the metadata service. It needs root.
func benchMetadata(ctx context.Context, out io.Writer, binary, dir string, s sizeMetadata) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("metadata: network namespaces need root")
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("shared\n"), 0o600); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	before, err := load()
	if err != nil {
		return err
	}
	row("load average before", "%.1f", before)
	faster := fmt.Sprint("--punt-rate=", raised)
	for i, step := range []struct {
		name   string
		guests int
		flags  []string
		run    func(context.Context, *deployment, *testbed.Host, []*asker, sizeMetadata, addRow) error
	}{
		{"as configured by default", slices.Max(s.booting), nil, aloneAndBooting},
		{"with " + faster[2:], s.guests, []string{faster}, sideBySide},
		{"with " + faster[2:] + ", from Nova", s.guests, []string{faster, "--metadata-url=http://" + testbed.ManagementAddr.String() + novaPort, "--metadata-secret-file=" + secret}, sideBySide},
	} {
		fmt.Fprintln(os.Stderr, "metadata:", step.name)
		row(step.name, "")
		if err := onAskers(ctx, step.guests, binary, filepath.Join(dir, fmt.Sprint("metadata", i)), step.flags, func(d *deployment, h *testbed.Host, guests []*asker) error {
			return step.run(ctx, d, h, guests, s, row)
		}); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return w.Flush()
}

// onAskers runs f on a deployment whose first host has guests, with a Nova that answers at once.
func onAskers(ctx context.Context, n int, binary, dataDir string, flags []string, f func(*deployment, *testbed.Host, []*asker) error) (err error) {
	d, hosts, err := deployNamespaces(ctx, binary, dataDir, flags...)
	if d != nil {
		defer func() { err = errors.Join(err, d.close()) }()
	}
	if err != nil {
		return err
	}
	nova, err := d.bed.Underlay.Listen("tcp", testbed.ManagementAddr.String()+novaPort)
	if err != nil {
		return err
	}
	defer nova.Close()
	go http.Serve(nova, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"uuid": "%s", "meta": {}, "hostname": "as-large-as-what-is-kept", "availability_zone": "nova", "launch_index": 0, "devices": [], "keys": []}`, r.Header.Get("X-Instance-ID"))
	}))
	if err := d.addNetwork(ctx, 0); err != nil {
		return err
	}
	list := make([]object, n)
	for i := range list {
		list[i] = object{"network_id": d.networks[0], "binding:host_id": hosts[0].Name, "device_owner": owner, "device_id": fmt.Sprint("instance", i), "project_id": "bench",
			"fixed_ips": []object{{"ip_address": askerAddress(i)}}}
	}
	var made struct{ Ports []port }
	if err := d.call(ctx, http.MethodPost, "/v2.0/ports", object{"ports": list}, &made); err != nil {
		return err
	}
	var guests []*asker
	for i, p := range made.Ports {
		a, err := addAsker(hosts[0], i, p)
		if err != nil {
			return err
		}
		guests = append(guests, a)
	}
	if err := d.wired(ctx); err != nil {
		return err
	}
	for _, a := range guests { // to warm up
		if _, err := a.ask(ctx, &a.kept); err != nil {
			return err
		}
	}
	if err := f(d, hosts[0], guests); err != nil {
		return err
	}
	return d.verify(ctx, nil)
}

// askerAddress is the i-th guest's.
func askerAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + i)}) }

// addAsker adds the guest of a port, which finds the metadata on the link.
func addAsker(h *testbed.Host, i int, p port) (*asker, error) {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return nil, err
	}
	vm, err := h.AddVM(fmt.Sprint("vm", i), testbed.VIF{PortID: p.ID, MAC: mac})
	if err != nil {
		return nil, err
	}
	if err := vm.AddAddress(netip.PrefixFrom(askerAddress(i), 16)); err != nil {
		return nil, err
	}
	if _, err := vm.Exec("ip", "route", "add", "169.254.169.254/32", "dev", "eth0"); err != nil {
		return nil, err
	}
	a := &asker{name: vm.Name}
	for c, anew := range map[*http.Client]bool{&a.kept: false, &a.anew: true} {
		c.Timeout = 30 * time.Second
		c.Transport = &http.Transport{DialContext: vm.DialContext, DisableKeepAlives: anew}
	}
	return a, nil
}

// ask makes one request and reads the answer to its end.
func (a *asker) ask(ctx context.Context, with *http.Client) (time.Duration, error) {
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metadataURL, nil)
	if err != nil {
		return 0, err
	}
	resp, err := with.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", a.name, err)
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", a.name, resp.Status)
	}
	return time.Since(start), err
}

// connections are how a guest may ask.
var connections = []struct {
	name string
	of   func(*asker) *http.Client
}{
	{"one connection", func(a *asker) *http.Client { return &a.kept }},
	{"new connections", func(a *asker) *http.Client { return &a.anew }},
}

// aloneAndBooting has one guest ask one at a time, and then many boot.
func aloneAndBooting(ctx context.Context, _ *deployment, _ *testbed.Host, guests []*asker, s sizeMetadata, row addRow) error {
	for _, c := range connections {
		var took []time.Duration
		for range s.requests {
			t, err := guests[0].ask(ctx, c.of(guests[0]))
			if err != nil {
				return err
			}
			took = append(took, t)
			time.Sleep(2 * rest)
		}
		l := spreadOf(took)
		row("  one guest, one at a time, "+c.name+", ms", "median %.2f, p99 %.2f", l.Median, l.P99)
	}
	for _, n := range s.booting {
		for _, within := range []time.Duration{0, s.within} {
			if err := boot(ctx, guests[:n], s.boot, within, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// boot has guests ask what each asks at its boot, without a rest and with a connection for each request.
func boot(ctx context.Context, guests []*asker, requests int, within time.Duration, row addRow) error {
	when := map[*asker]time.Time{}
	start := time.Now()
	for i, a := range guests {
		when[a] = start.Add(within * time.Duration(i) / time.Duration(len(guests)))
	}
	took, err := sum(guests, func(a *asker, add func(time.Duration)) error {
		time.Sleep(time.Until(when[a]))
		for range requests {
			t, err := a.ask(ctx, &a.anew)
			if err != nil {
				return err
			}
			add(t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	how := "at once"
	if within > 0 {
		how = "within " + within.String()
	}
	l := spreadOf(took)
	row(fmt.Sprintf("  %d guests boot %s, %d requests each, new connections, ms", len(guests), how, requests),
		"median %.2f, p99 %.2f; all done after %.0f", l.Median, l.P99, float64(time.Since(start))/float64(time.Millisecond))
	return nil
}

// sideBySide has all guests ask, each as soon as it was answered.
func sideBySide(ctx context.Context, d *deployment, h *testbed.Host, guests []*asker, s sizeMetadata, row addRow) error {
	profiled, err := d.profile(ctx, s.profile)
	if err != nil {
		return err
	}
	for _, c := range connections {
		before, err := metadataUsage(d, h)
		if err != nil {
			return err
		}
		start := time.Now()
		took, err := sum(guests, func(a *asker, add func(time.Duration)) error {
			for time.Since(start) < s.lasting {
				t, err := a.ask(ctx, c.of(a))
				if err != nil {
					return err
				}
				add(t)
			}
			return nil
		})
		if err != nil {
			return err
		}
		rate := float64(len(took)) / time.Since(start).Seconds()
		after, err := metadataUsage(d, h)
		if err != nil {
			return err
		}
		l, each := spreadOf(took), after.since(before).divided(len(took))
		row(fmt.Sprintf("  requests per second, %d guests, %s", len(guests), c.name), "%.0f; ms: median %.2f, p99 %.2f", rate, l.Median, l.P99)
		row("    CPU µs each", "controller %.0f, ovs-vswitchd %.0f", 1e6*float64(each.Controller), 1e6*float64(each.Vswitchd))
	}
	return <-profiled
}

// sum has all guests do something side by side and gives all times that they add.
func sum(guests []*asker, f func(a *asker, add func(time.Duration)) error) (took []time.Duration, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, a := range guests {
		all.Go(func() {
			var own []time.Duration
			e := f(a, func(t time.Duration) { own = append(own, t) })
			mu.Lock()
			defer mu.Unlock()
			took, err = append(took, own...), errors.Join(err, e)
		})
	}
	all.Wait()
	return took, err
}

// metadataUsage is what the controller and the switch of the guests' host have used so far.
func metadataUsage(d *deployment, h *testbed.Host) (u usage, err error) {
	controller, err := d.controller.Usage()
	if err != nil {
		return u, err
	}
	vswitchd, err := h.Vswitchd().Usage()
	u.cpu.Controller, u.cpu.Vswitchd = secondsOf(controller.CPU), secondsOf(vswitchd.CPU)
	return u, err
}
