package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// claim is one thing that is said and shown. show returns what proved it.
type claim struct {
	says   string
	needed bool // the later ones make no sense without it
	show   func(*deployment, context.Context) (proof string, err error)
}

var claims = []claim{
	{"A host enrols with one ovs-vsctl command", true, (*deployment).enrolment},
	{"A port is ACTIVE once its flows are acknowledged", true, (*deployment).wiring},
	{"Guests get their leases from packet-ins", true, (*deployment).leases},
	{"Every pair of guests can talk, without a lost packet", false, (*deployment).pings},
	{"No ARP request for a known address crosses the underlay", false, (*deployment).arp},
	{"The VNI on the wire is the one the API shows", false, (*deployment).vni},
	{"Another network with the same addresses is apart", false, (*deployment).isolation},
	{"Every installed flow says why it is there", false, (*deployment).explanation},
	{"The controller killed and restarted: no packet lost, no flow touched", false, (*deployment).restart},
}

type hostState struct {
	Hostname string `json:"hostname"`
	Alive    bool   `json:"alive"`
	Waiting  string `json:"waiting"`
	Pending  string `json:"pending"`
	Error    string `json:"last_error"`
	EncapIP  string `json:"encap_ip"`
}

// settled says whether all hosts are connected and have nothing pending.
func (d *deployment) settled() error {
	text, err := d.tool("hosts", "--json")
	if err != nil {
		return err
	}
	var hosts []hostState
	if err := json.Unmarshal([]byte(text), &hosts); err != nil {
		return err
	}
	if len(hosts) != len(d.hosts) {
		return fmt.Errorf("%d hosts are enrolled, want %d", len(hosts), len(d.hosts))
	}
	for _, h := range hosts {
		if !h.Alive || h.Waiting != "" || h.Pending != "" || h.Error != "" {
			return fmt.Errorf("host %s: alive %t; waiting: %q; pending: %q; error: %q", h.Hostname, h.Alive, h.Waiting, h.Pending, h.Error)
		}
	}
	return nil
}

func (d *deployment) enrolment(ctx context.Context) (string, error) {
	start := time.Now()
	for _, h := range d.hosts {
		if err := h.Enroll("tcp:"+testbed.ManagementAddr.String()+":6640", nil); err != nil {
			return "", err
		}
	}
	if err := d.await(ctx, 20*time.Second, d.settled); err != nil {
		return "", err
	}
	took := time.Since(start)
	// The userspace datapath drops what it sends to a tunnel neighbour that it has yet to resolve.
	if err := d.bed.WarmTunnels(); err != nil {
		return "", err
	}
	return fmt.Sprintf("ovs-vsctl set-manager on %d hosts; br-int and br-tun made and programmed %d ms later", len(d.hosts), took.Milliseconds()), nil
}

func (d *deployment) wiring(ctx context.Context) (string, error) {
	if err := d.addNetwork(ctx, &d.blue, "blue", "10.0.0.0/24"); err != nil {
		return "", err
	}
	if err := d.addNetwork(ctx, &d.red, "red", "10.0.0.0/24"); err != nil {
		return "", err
	}
	for i := range 4 {
		if _, err := d.addGuest(ctx, &d.blue, d.hosts[i%2], fmt.Sprintf("blue%d", i+1), fmt.Sprintf("10.0.0.%d", 11+i)); err != nil {
			return "", err
		}
	}
	for i := range 2 {
		if _, err := d.addGuest(ctx, &d.red, d.hosts[i%2], fmt.Sprintf("red%d", i+1), fmt.Sprintf("10.0.0.%d", 11+4*i)); err != nil {
			return "", err
		}
	}
	start := time.Now()
	if err := d.await(ctx, 10*time.Second, func() error { return d.active(ctx) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("6 ports of 2 networks, bound through the API and plugged: ACTIVE at most %d ms after the last plug", time.Since(start).Milliseconds()), nil
}

// active says whether every guest's port is ACTIVE.
func (d *deployment) active(ctx context.Context) error {
	for _, g := range slices.Concat(d.blue.vms, d.red.vms) {
		var shown struct{ Port port }
		if err := d.call(ctx, http.MethodGet, "/v2.0/ports/"+g.port.ID, nil, &shown); err != nil {
			return err
		}
		if shown.Port.Status != "ACTIVE" {
			return fmt.Errorf("port of %s is %s", g.Name, shown.Port.Status)
		}
	}
	return nil
}

func (d *deployment) leases(context.Context) (string, error) {
	var slowest time.Duration
	for _, g := range slices.Concat(d.blue.vms, d.red.vms) {
		start := time.Now()
		lease, err := g.DHCP()
		if err != nil {
			return "", err
		}
		slowest = max(slowest, time.Since(start))
		want := netip.PrefixFrom(netip.MustParseAddr(g.port.FixedIPs[0].Address), 24)
		switch {
		case lease.Prefix != want:
			return "", fmt.Errorf("%s got %s, the API says %s", g.Name, lease.Prefix, want)
		case lease.Router != netip.MustParseAddr("10.0.0.1"):
			return "", fmt.Errorf("%s got router %s", g.Name, lease.Router)
		case len(lease.DNS) != 1 || lease.DNS[0] != netip.MustParseAddr("192.0.2.53"):
			return "", fmt.Errorf("%s got DNS %v", g.Name, lease.DNS)
		case lease.MTU == 0 || lease.MTU > testbed.UnderlayMTU-50:
			return "", fmt.Errorf("%s got MTU %d", g.Name, lease.MTU)
		case !slices.Contains(lease.Routes, testbed.Route{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("10.0.0.9")}):
			return "", fmt.Errorf("%s got routes %v", g.Name, lease.Routes)
		}
	}
	return fmt.Sprintf("udhcpc in %d guests: address, mask, router, DNS, domain, MTU and routes as the API has them; slowest %d ms with the client's start",
		len(d.blue.vms)+len(d.red.vms), slowest.Milliseconds()), nil
}

func (d *deployment) pings(context.Context) (string, error) {
	var sent, pairs int
	for _, n := range []*network{&d.blue, &d.red} {
		for _, a := range n.vms {
			for _, b := range n.vms {
				if a == b {
					continue
				}
				r, err := a.Ping(b.address(), 5, 20*time.Millisecond)
				if err != nil {
					return "", err
				}
				if r.Lost() > 0 {
					return "", fmt.Errorf("%s to %s: %s", a.Name, b.Name, r)
				}
				sent += r.Sent
				pairs++
			}
		}
	}
	return fmt.Sprintf("%d pings between %d ordered pairs, on one host and across: 0 lost", sent, pairs), nil
}

func (g *guest) address() netip.Addr { return netip.MustParseAddr(g.port.FixedIPs[0].Address) }

// vxlan finds what a frame of the underlay carries: the VNI and the guest's frame.
func vxlan(raw []byte) (vni uint32, inner []byte, ok bool) {
	const outer = 14 + 20 + 8 // Ethernet, IPv4 without options, UDP
	if len(raw) < outer+8+14 || raw[12] != 8 || raw[13] != 0 || raw[14] != 0x45 || raw[23] != 17 || raw[36] != 0x12 || raw[37] != 0xb5 {
		return 0, nil, false
	}
	h := raw[outer:]
	return uint32(h[4])<<16 | uint32(h[5])<<8 | uint32(h[6]), h[8:], true
}

func (d *deployment) arp(context.Context) (string, error) {
	var frames, requests atomic.Int64
	capture, err := d.bed.Underlay.Capture(d.hosts[0].UnderlayPort(), func(f testbed.Frame) bool {
		if _, inner, ok := vxlan(f.Raw); ok {
			frames.Add(1)
			if inner[0]&1 == 1 && inner[12] == 8 && inner[13] == 6 {
				requests.Add(1)
			}
		}
		return false
	})
	if err != nil {
		return "", err
	}
	a, b := d.blue.vms[0], d.blue.vms[1] // on different hosts
	for _, g := range []*guest{a, b} {
		if _, err := g.Exec("ip", "neigh", "flush", "all"); err != nil {
			return "", err
		}
	}
	r, err := a.Ping(b.address(), 5, 20*time.Millisecond)
	if _, stopErr := capture.Stop(); err == nil {
		err = stopErr
	}
	switch {
	case err != nil:
		return "", err
	case r.Lost() > 0:
		return "", fmt.Errorf("%s to %s: %s", a.Name, b.Name, r)
	case frames.Load() < int64(2*r.Sent):
		return "", fmt.Errorf("only %d frames of %d pings were captured on the underlay", frames.Load(), r.Sent)
	case requests.Load() > 0:
		return "", fmt.Errorf("%d broadcast ARP frames crossed the underlay", requests.Load())
	}
	return fmt.Sprintf("neighbour tables flushed, %s pinged across hosts: %d tunnel frames captured, 0 broadcast ARP among them", b.address(), frames.Load()), nil
}

func (d *deployment) vni(context.Context) (string, error) {
	var proofs []string
	for _, n := range []*network{&d.blue, &d.red} {
		var mu sync.Mutex
		seen := map[uint32]int{}
		capture, err := d.bed.Underlay.Capture(d.hosts[0].UnderlayPort(), func(f testbed.Frame) bool {
			if vni, _, ok := vxlan(f.Raw); ok {
				mu.Lock()
				seen[vni]++
				mu.Unlock()
			}
			return false
		})
		if err != nil {
			return "", err
		}
		_, err = n.vms[0].Ping(n.vms[1].address(), 3, 20*time.Millisecond)
		if _, stopErr := capture.Stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return "", err
		}
		if len(seen) != 1 || seen[n.VNI] == 0 {
			return "", fmt.Errorf("network %s has provider:segmentation_id %d, on the wire: frames by VNI %v", n.Name, n.VNI, seen)
		}
		proofs = append(proofs, fmt.Sprintf("%s: %d in the API and in all of %d frames", n.Name, n.VNI, seen[n.VNI]))
	}
	return strings.Join(proofs, "; "), nil
}

func (d *deployment) isolation(context.Context) (string, error) {
	alone := d.red.vms[1] // 10.0.0.15; 10.0.0.12 to .14 exist in blue only, .11 in both
	for _, g := range d.blue.vms[1:] {
		r, err := alone.Ping(g.address(), 3, 50*time.Millisecond)
		if err != nil {
			return "", err
		}
		if r.Received > 0 {
			return "", fmt.Errorf("%s reached %s of network blue: %s", alone.Name, g.address(), r)
		}
	}
	twin := d.blue.vms[0] // has the address of red1
	capture, err := twin.Capture("eth0", func(f testbed.Frame) bool { return !f.Out && len(f.Raw) > 23 && f.Raw[12] == 8 && f.Raw[23] == 1 })
	if err != nil {
		return "", err
	}
	r, err := alone.Ping(d.red.vms[0].address(), 5, 20*time.Millisecond)
	frames, stopErr := capture.Stop()
	switch {
	case err != nil || stopErr != nil:
		return "", fmt.Errorf("%w, %w", err, stopErr)
	case r.Lost() > 0:
		return "", fmt.Errorf("%s to its own network's %s: %s", alone.Name, d.red.vms[0].address(), r)
	case len(frames) > 0:
		return "", fmt.Errorf("%d pings for red's %s arrived at blue's", len(frames), twin.address())
	}
	return fmt.Sprintf("from red, 3 addresses of blue alone: no answer; %s, which both have: red's answered, blue's saw nothing", twin.address()), nil
}

func (d *deployment) explanation(context.Context) (string, error) {
	total := 0
	for _, h := range d.hosts {
		text, err := d.tool("flows", h.Name, "--json")
		if err != nil {
			return "", err
		}
		var list []struct {
			Match    string `json:"match"`
			Table    int    `json:"table"`
			Name     string `json:"table_name"`
			ObjectID string `json:"object_id"`
			Reason   string `json:"reason"`
			Owner    string `json:"owner"`
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return "", err
		}
		for _, f := range list {
			if f.Name == "" || f.ObjectID == "" || f.Reason == "" || f.Owner == "foreign" {
				return "", fmt.Errorf("%s: table %d %s %q: object %q, reason %q", h.Name, f.Table, f.Name, f.Match, f.ObjectID, f.Reason)
			}
		}
		total += len(list)
		if out, err := d.tool("diff", h.Name); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
	}
	return fmt.Sprintf("%d flows read from the switches: each with table name, owner, object and reason; installed is what is wanted", total), nil
}

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

func (d *deployment) restart(ctx context.Context) (string, error) {
	before := map[string]map[string]flowAge{}
	for _, h := range d.hosts {
		a, err := ages(h)
		if err != nil {
			return "", err
		}
		before[h.Name] = a
	}
	read := time.Now()
	a, b := d.blue.vms[0], d.blue.vms[1]
	ping, err := a.StartPing(b.address(), 10*time.Millisecond)
	if err != nil {
		return "", err
	}
	time.Sleep(500 * time.Millisecond)
	if err := d.controller.Kill(); err != nil {
		return "", err
	}
	time.Sleep(time.Second)
	err = d.serve(ctx)
	if err == nil {
		err = d.await(ctx, 30*time.Second, d.settled)
	}
	if err == nil {
		err = d.await(ctx, 30*time.Second, func() error { return d.active(ctx) })
	}
	time.Sleep(500 * time.Millisecond)
	result, stopErr := ping.Stop()
	switch {
	case err != nil:
		return "", err
	case stopErr != nil:
		return "", stopErr
	case result.Lost() > 0:
		return "", fmt.Errorf("%d of %d pings were lost: %s", result.Lost(), result.Sent, result)
	}
	flows := 0
	for _, h := range d.hosts {
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
	return fmt.Sprintf("kill -9 under 100 pings/s, restarted on the same data: %d sent, 0 lost; %d flows, ages and counters went on, none added, none deleted", result.Sent, flows), nil
}
