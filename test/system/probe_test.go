package system

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// tunnels is what the controller says of the tunnels of some hosts, by "host peer type".
func (d *deployment) tunnels(hosts ...*testbed.Host) (map[string]inspect.Peer, error) {
	all := map[string]inspect.Peer{}
	for _, h := range hosts {
		state, err := d.host(h.Name)
		if err != nil {
			return nil, err
		}
		for _, p := range state.Peers {
			all[h.Name+" "+p.Hostname+" "+p.Type] = p
		}
	}
	return all, nil
}

// The tunnels between three hosts, from the first frame: in order, one host cut off, one behind an
// underlay that carries too little.
func TestTunnels(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d := prepare(t)
	hosts, err := d.bed.AddHosts("compute01", "compute02", "compute03")
	if err != nil {
		t.Fatal(err)
	}
	address := testbed.ManagementAddr.String()
	d.onUnderlay(underlayMTU, "--probe-interval=1s", "--metrics-listen="+address+":9697")
	d.serve()
	for _, h := range hosts {
		if err := h.Enroll("tcp:"+d.ovsdb, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range hosts {
		d.quiet(h.Name)
	}
	// What nobody shares is not tried.
	if all, err := d.tunnels(hosts...); err != nil || len(all) > 0 {
		t.Fatalf("without a network: %v, error %v", all, err)
	}

	mtus := map[string]int{"vxlan": 1650, "gre": 1658, "geneve": 1650}
	members := map[string][]*testbed.Host{"vxlan": hosts, "gre": hosts[:2], "geneve": hosts[1:]}
	var want []string
	var first []*testbed.VM
	var to netip.Addr
	for kind, on := range members {
		n := d.networkOf(kind, kind, "10.0.0.0/24")
		var ports []*port
		for _, h := range on {
			p := d.addPort(n, h.Name)
			vm, err := h.AddVM(kind+h.Name[7:], p.vif())
			if err != nil {
				t.Fatal(err)
			}
			if kind == "vxlan" {
				if err := vm.AddAddress(netip.MustParsePrefix(p.address() + "/24")); err != nil {
					t.Fatal(err)
				}
				first, to = append(first, vm), netip.MustParseAddr(p.address())
			}
			ports = append(ports, p)
			for _, peer := range on {
				if peer != h {
					want = append(want, h.Name+" "+peer.Name+" "+kind)
				}
			}
		}
		d.become("ACTIVE", ports...)
	}
	plugged := time.Now()
	var roundTrips []time.Duration
	slices.Sort(want)
	d.await("all tunnels up", func() error {
		all, err := d.tunnels(hosts...)
		if err != nil {
			return err
		}
		roundTrips = nil
		for _, key := range want {
			if p := all[key]; !p.Alive || p.PathMTU != mtus[p.Type] || p.RTT == 0 || p.RTT > time.Second.Microseconds() || p.Note != "" || time.Since(p.LastSeen) > 5*time.Second {
				return fmt.Errorf("%s: %+v", key, p)
			}
			roundTrips = append(roundTrips, time.Duration(all[key].RTT)*time.Microsecond)
		}
		return is(len(all), len(want))
	})
	t.Logf("all %d tunnels up %s after the ports, round trips %s", len(want), time.Since(plugged).Round(10*time.Millisecond), roundTrips)
	// What a cold tunnel would lose, probes have lost before.
	r, err := first[0].Ping(to, 10, 10*time.Millisecond)
	if err != nil || r.Lost() > 0 {
		t.Errorf("ping after the probes: %v, error %v", r, err)
	}
	t.Logf("ping between guests: %s", r)

	cut := hosts[2]
	if err := cut.LeaveUnderlay(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	d.awaitTunnels(hosts, func(key string, p inspect.Peer) error {
		if strings.Contains(key, cut.Name) {
			if p.Alive || !strings.Contains(p.Note, "no frame comes back") {
				return fmt.Errorf("%s: %+v", key, p)
			}
		} else if !p.Alive || p.Note != "" || time.Since(p.LastSeen) > 5*time.Second {
			t.Errorf("%s is affected: %+v", key, p)
		}
		return nil
	})
	took := time.Since(began)
	t.Logf("%s is known to be cut off after %s", cut.Name, took.Round(10*time.Millisecond))
	if took > 15*time.Second {
		t.Errorf("that took %s", took)
	}
	d.logged("tunnel down", "host=compute01", "peer=compute03")
	if text := d.metrics(); !strings.Contains(text, `tunbridge_tunnel_up{host="compute01",peer="compute03",type="vxlan"} 0`) ||
		!strings.Contains(text, `tunbridge_tunnel_up{host="compute01",peer="compute02",type="gre"} 1`) ||
		!strings.Contains(text, `tunbridge_tunnel_rtt_seconds{host="compute01",peer="compute02",type="gre"} `) {
		t.Errorf("metrics:\n%s", text)
	}
	if err := cut.JoinUnderlay(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	healthy := func(key string, p inspect.Peer) error {
		if !p.Alive || p.Note != "" || p.PathMTU != mtus[p.Type] {
			return fmt.Errorf("%s: %+v", key, p)
		}
		return nil
	}
	d.awaitTunnels(hosts, healthy)
	t.Logf("… and back after %s", time.Since(began).Round(10*time.Millisecond))
	d.logged("tunnel in order", "host=compute01", "peer=compute03")

	// short says that a path carries what an underlay of so many bytes leaves of it.
	short := func(key string, p inspect.Peer, underlay, wanted int) error {
		carried := underlay - (testbed.UnderlayMTU - mtus[p.Type]) - (wanted - testbed.UnderlayMTU)
		note := fmt.Sprintf("up to %d bytes, network %s needs %d: raise the underlay MTU to %d", carried, p.Type, mtus[p.Type], wanted)
		if !p.Alive || p.PathMTU != carried || !strings.Contains(p.Note, note) {
			return fmt.Errorf("%s: %+v", key, p)
		}
		return nil
	}
	narrow := hosts[1]
	if err := narrow.SetUnderlayMTU(1500); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	d.awaitTunnels(hosts, func(key string, p inspect.Peer) error {
		if !strings.Contains(key, narrow.Name) {
			return healthy(key, p)
		}
		return short(key, p, 1500, testbed.UnderlayMTU)
	})
	t.Logf("a narrow underlay is measured after %s", time.Since(began).Round(10*time.Millisecond))
	d.logged("tunnel carries too little", "host=compute03", "peer=compute02", "mtu=1450")
	for _, args := range [][]string{{"hosts"}, {"hosts", "compute01"}} {
		if text, err := d.tool(args...); err != nil || !strings.Contains(text, "raise the underlay MTU to 1700") {
			t.Errorf("%s: error %v\n%s", args, err, text)
		}
	}
	if err := narrow.SetUnderlayMTU(testbed.UnderlayMTU); err != nil {
		t.Fatal(err)
	}
	d.awaitTunnels(hosts, healthy)

	// A switch that lost everything is tried again when it is programmed again.
	if err := narrow.KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := narrow.StartVswitchd(); err != nil {
		t.Fatal(err)
	}
	d.quiet(narrow.Name)
	d.awaitTunnels(hosts, healthy)

	// Over IPv6, whose headers are 20 bytes longer, the networks' packets are too large.
	for i, h := range hosts {
		if err := h.SetVTEP(netip.MustParseAddr(fmt.Sprintf("fd31::%d", i+1))); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Vsctl("set", "Open_vSwitch", ".", fmt.Sprintf("external_ids:tunbridge-encap-ip=%q", h.VTEP)); err != nil {
			t.Fatal(err)
		}
	}
	d.awaitTunnels(hosts, func(key string, p inspect.Peer) error {
		return short(key, p, testbed.UnderlayMTU, testbed.UnderlayMTU+20)
	})
}

// awaitTunnels waits until every tunnel of the hosts is as wanted.
func (d *deployment) awaitTunnels(hosts []*testbed.Host, wanted func(key string, p inspect.Peer) error) {
	d.t.Helper()
	d.await("tunnels", func() error {
		all, err := d.tunnels(hosts...)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("there are none")
		}
		for key, p := range all {
			if e := wanted(key, p); e != nil {
				err = e
			}
		}
		return err
	})
}

// metrics is what Prometheus would read.
func (d *deployment) metrics() string {
	d.t.Helper()
	resp, err := d.http.Get("http://" + testbed.ManagementAddr.String() + ":9697/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}
