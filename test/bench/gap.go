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
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// gaps are how often each thing is done that guests notice as silence.
type gaps struct {
	moves     int // of a port, on every type of network
	failovers int // of an address that two guests share
}

const (
	physicalNetwork = "physnet1"
	pingEvery       = time.Millisecond
	settleFor       = 150 * time.Millisecond // of pings before and after
)

// movable are the types of network whose ports can be on another host.
var movable = []string{"vxlan", "gre", "geneve", "vlan", "flat"}

// benchGaps measures for how long a guest that pings another a thousand times a second hears nothing:
// while the other's port is moved to a host where its VIF is plugged already, while it migrates live
// (migrate.go), and while an address goes over from one VRRP router to the other. Three hosts in namespaces; root.
func benchGaps(ctx context.Context, out io.Writer, binary, dataDir string, n gaps) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("gap: network namespaces need root")
	}
	before, err := load()
	if err != nil {
		return err
	}
	d, hosts, err := deployNamespaces(ctx, binary, dataDir)
	if d != nil {
		defer func() { err = errors.Join(err, d.close()) }()
	}
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer func() { err = errors.Join(err, w.Flush()) }()
	fmt.Fprintln(w, "\tmedian, ms\tmost, ms\ttimes")
	row := func(name string, all []time.Duration) {
		s := spreadOf(all)
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%d\n", name, s.Median, s.P99, len(all)) // of fewer than 100 the most
	}
	for _, kind := range movable {
		fmt.Fprintln(os.Stderr, "gap: moves on", kind)
		silent, active, err := d.move(ctx, hosts, kind, n.moves)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		row("port moved, "+kind+": no answer for", silent)
		row("  ACTIVE after", active)
	}
	if err := d.migrations(ctx, hosts, n.moves, row); err != nil {
		return err
	}
	for _, own := range []bool{false, true} {
		name := "VRRP, shared address"
		if own {
			name += " and MAC"
		}
		fmt.Fprintln(os.Stderr, "gap:", name)
		silent, err := d.failOver(ctx, hosts, own, n.failovers)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		row(name+": no answer for", silent)
	}
	fmt.Fprintf(w, "load average before\t%.1f\n", before)
	return nil
}

// deployNamespaces starts a controller and three hosts that have a tunnel network and a physical one. flags
// are further ones of the controller.
func deployNamespaces(ctx context.Context, binary, dataDir string, flags ...string) (*deployment, []*testbed.Host, error) {
	d := &deployment{dataDir: dataDir}
	var err error
	if d.bed, err = testbed.New(testbed.Options{}); err != nil {
		return nil, nil, err
	}
	if err := d.bed.Wire(); err != nil {
		return d, nil, err
	}
	address := testbed.ManagementAddr.String()
	d.client.Transport = &http.Transport{DialContext: d.bed.Underlay.DialContext}
	enrolAt, err := d.start(ctx, d.bed.Underlay, [3]string{address + ":9696", address + ":6640", address + ":6653"}, binary,
		append(flags, "--insecure", fmt.Sprint("--underlay-mtu=", testbed.UnderlayMTU), "--flat-networks="+physicalNetwork, "--vlan-ranges="+physicalNetwork+":100:199")...)
	if err != nil {
		return d, nil, err
	}
	hosts, err := d.bed.AddHosts("host1", "host2", "host3")
	if err != nil {
		return d, nil, err
	}
	physical, err := d.bed.AddPhysical(physicalNetwork)
	if err != nil {
		return d, nil, err
	}
	// What stands for a physical switch learns at once only from frames that no flow of its is there for.
	// A guest does not move twice in ten seconds elsewhere.
	if _, err := physical.Vsctl("set", "Open_vSwitch", ".", "other_config:max-idle=500"); err != nil {
		return d, nil, err
	}
	for _, h := range hosts {
		d.switches = append(d.switches, &h.Switch)
		if err := h.Connect(physical, "br-ex"); err != nil {
			return d, nil, err
		}
		if err := h.Enroll(enrolAt, map[string]string{"tunbridge-bridge-mappings": physicalNetwork + ":br-ex"}); err != nil {
			return d, nil, err
		}
	}
	d.Hosts = len(hosts)
	if err := d.settle(ctx); err != nil {
		return d, nil, err
	}
	return d, hosts, d.bed.WarmTunnels()
}

// scene is a network of which the port of number i is at 10.0.0.(10+i), on host i at first.
type scene struct {
	*deployment
	network string
	ports   []port
	guests  []*testbed.VM
}

// play makes a network of a type with a guest on each host, lets f do what it does, and removes them.
func (d *deployment) play(ctx context.Context, hosts []*testbed.Host, kind string, more object, f func(*scene) error) (err error) {
	body := object{"name": kind, "provider:network_type": kind}
	if kind == "vlan" || kind == "flat" {
		body["provider:physical_network"] = physicalNetwork
	}
	var made struct {
		Network struct{ ID string }
		Port    port
	}
	if err := d.call(ctx, http.MethodPost, "/v2.0/networks", object{"network": body}, &made); err != nil {
		return err
	}
	s := &scene{deployment: d, network: made.Network.ID}
	defer func() {
		for _, g := range s.guests {
			err = errors.Join(err, g.Remove())
		}
		for _, p := range s.ports {
			err = errors.Join(err, d.call(ctx, http.MethodDelete, "/v2.0/ports/"+p.ID, nil, nil))
		}
		err = errors.Join(err, d.call(ctx, http.MethodDelete, "/v2.0/networks/"+s.network, nil, nil))
	}()
	if err := d.call(ctx, http.MethodPost, "/v2.0/subnets", object{"subnet": object{"network_id": s.network, "ip_version": 4, "cidr": "10.0.0.0/24"}}, nil); err != nil {
		return err
	}
	for i, h := range hosts {
		body := object{"network_id": s.network, "binding:host_id": h.Name, "device_owner": owner, "fixed_ips": []object{{"ip_address": s.address(i)}}}
		for k, v := range more {
			body[k] = v
		}
		if err := d.call(ctx, http.MethodPost, "/v2.0/ports", object{"port": body}, &made); err != nil {
			return err
		}
		s.ports = append(s.ports, made.Port)
		if err := s.plug(h, fmt.Sprint("vm", i), i); err != nil {
			return err
		}
	}
	if err := d.wired(ctx); err != nil {
		return err
	}
	return f(s)
}

func (s *scene) address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)}) }

// plug adds a guest as port i; the port may have one on another host.
func (s *scene) plug(h *testbed.Host, name string, i int) error {
	mac, err := net.ParseMAC(s.ports[i].MAC)
	if err != nil {
		return err
	}
	vm, err := h.AddVM(name, testbed.VIF{PortID: s.ports[i].ID, MAC: mac})
	if err != nil {
		return err
	}
	s.guests = append(s.guests, vm)
	return vm.AddAddress(netip.PrefixFrom(s.address(i), 24))
}

// pinged is what came of pings from a guest while f did something, until they were answered again.
func (s *scene) pinged(ctx context.Context, from *testbed.VM, to netip.Addr, f func() error) (testbed.PingResult, error) {
	answered := func() error {
		return s.await(ctx, 30*time.Second, "pings answered", 10*time.Millisecond, func() (bool, error) {
			r, err := from.Ping(to, 3, 10*time.Millisecond)
			return r.Lost() == 0, err
		})
	}
	if err := answered(); err != nil {
		return testbed.PingResult{}, err
	}
	ping, err := from.StartPing(to, pingEvery)
	if err != nil {
		return testbed.PingResult{}, err
	}
	time.Sleep(settleFor)
	if err = f(); err == nil {
		err = answered()
	}
	time.Sleep(settleFor)
	r, pingErr := ping.Stop()
	return r, errors.Join(err, pingErr)
}

// silence is the longest time without an answer; two answers to one ping are an error.
func (s *scene) silence(ctx context.Context, from *testbed.VM, to netip.Addr, f func() error) (time.Duration, error) {
	r, err := s.pinged(ctx, from, to, f)
	if err == nil && r.Duplicates > 0 {
		err = fmt.Errorf("two guests answered: %s", r)
	}
	return r.LongestGap, err
}

// move moves the first host's port between it and the second, pinged from the third.
func (d *deployment) move(ctx context.Context, hosts []*testbed.Host, kind string, times int) (silent, active []time.Duration, err error) {
	err = d.play(ctx, hosts, kind, nil, func(s *scene) error {
		if err := s.plug(hosts[1], "twin", 0); err != nil {
			return err
		}
		moved := "/v2.0/ports/" + s.ports[0].ID
		for i := range times {
			home := hosts[(i+1)%2].Name
			gap, err := s.silence(ctx, s.guests[2], s.address(0), func() error {
				start := time.Now()
				if err := d.call(ctx, http.MethodPut, moved, object{"port": object{"binding:host_id": home}}, nil); err != nil {
					return err
				}
				err := d.await(ctx, 30*time.Second, "the port ACTIVE on "+home, time.Millisecond, func() (bool, error) { return d.active(ctx, s.ports[0].ID) })
				active = append(active, time.Since(start))
				return err
			})
			if err != nil {
				return fmt.Errorf("move %d: %w", i+1, err)
			}
			silent = append(silent, gap)
		}
		return nil
	})
	return silent, active, err
}

// shared is the address of two VRRP routers, virtualMAC that of virtual router 51 (RFC 5798 section 7.3).
var shared = netip.MustParseAddr("10.0.0.200")

const virtualMAC = "00:00:5e:00:01:33"

// failOver takes the master of two guests with VRRP away from the network and gives it back.
func (d *deployment) failOver(ctx context.Context, hosts []*testbed.Host, ownMAC bool, times int) (silent []time.Duration, err error) {
	pair := object{"ip_address": shared}
	if ownMAC {
		pair["mac_address"] = virtualMAC
	}
	err = d.play(ctx, hosts, "vxlan", object{"allowed_address_pairs": []object{pair}}, func(s *scene) (err error) {
		for i, g := range s.guests[:2] {
			router, err := keepalived(g, 150-50*i, ownMAC)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, router.Stop(10*time.Second)) }()
		}
		for i := range times {
			state, master := "down", s.guests[1]
			if i%2 == 1 {
				state, master = "up", s.guests[0]
			}
			r, err := s.pinged(ctx, s.guests[2], shared, func() error {
				if _, err := s.guests[0].Exec("ip", "link", "set", "eth0", state); err != nil {
					return err
				}
				if err := d.await(ctx, 30*time.Second, master.Name+" has the address", 10*time.Millisecond, func() (bool, error) {
					out, err := master.Exec("ip", "-4", "-o", "addr", "show", "dev", "eth0", "up")
					return strings.Contains(out, shared.String()+"/"), err
				}); err != nil {
					return err
				}
				time.Sleep(time.Second) // the other learns that it is no longer master
				return nil
			})
			if err != nil {
				return fmt.Errorf("fail-over %d: %w", i+1, err)
			}
			silent = append(silent, r.LongestGap)
		}
		return nil
	})
	return silent, err
}

// keepalived runs VRRP version 3 in a guest, with an advertisement every 100 ms: three of them lost and
// a skew, 0.36 s or more, are what every fail-over takes. With ownMAC the guest has the virtual router's
// MAC address all the time.
func keepalived(g *testbed.VM, priority int, ownMAC bool) (*testbed.Process, error) {
	if ownMAC {
		if _, err := g.Exec("ip", "link", "set", "eth0", "address", virtualMAC); err != nil {
			return nil, err
		}
	}
	files := filepath.Join(g.Host.Dir, g.Name)
	config := fmt.Sprintf(`global_defs {
  router_id %s
  vrrp_version 3
}
vrrp_instance shared {
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int 0.1
  virtual_ipaddress {
    %s/24
  }
}
`, g.Name, priority, shared)
	if err := os.WriteFile(files+".conf", []byte(config), 0o644); err != nil {
		return nil, err
	}
	return g.Start("keepalived-"+g.Name, "keepalived", "--dont-fork", "--log-console", "--vrrp",
		"--use-file="+files+".conf", "--pid="+files+".pid", "--vrrp_pid="+files+"-vrrp.pid")
}
