package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// wireAll creates every port with one request and turns the interfaces that wait
// on the hosts into their VIFs, from nothing to everything ACTIVE and every host
// acknowledged. An interface can only be named once the API has said which ID its
// port has, so that naming them, one transaction a host, is part of what is measured.
func (d *deployment) wireAll(ctx context.Context, f *figures, profile string) error {
	profiled, err := d.profile(ctx, profile)
	if err != nil {
		return err
	}
	before, err := d.usage()
	if err != nil {
		return err
	}
	start := time.Now()
	ports, err := d.addPorts(ctx, d.Ports, d.place)
	if err != nil {
		return err
	}
	d.ports = ports
	f.Wiring.Created = secondsOf(time.Since(start))
	names := make([][]op, d.Hosts)
	for i, p := range ports {
		host, _ := d.place(i)
		names[host] = append(names[host], setInterfaceIDs(deviceOf(i), p.vifIDs()))
	}
	for host, ops := range names {
		if err := d.databases[host].transact(ops...); err != nil {
			return err
		}
	}
	f.Wiring.Named = secondsOf(time.Since(start))
	err = d.await(ctx, 3*time.Minute, "every port ACTIVE", 50*time.Millisecond, func() (bool, error) {
		down, err := d.down(ctx)
		return !down, err
	})
	if err != nil {
		return err
	}
	f.Wiring.Active = secondsOf(time.Since(start))
	if err := d.settle(ctx); err != nil {
		return err
	}
	after, err := d.usage()
	if err != nil {
		return err
	}
	hosts, err := d.admin.Hosts(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		f.Wiring.Acknowledged = max(f.Wiring.Acknowledged, secondsOf(h.LastCommit.Sub(start)))
		for _, n := range h.Flows {
			f.Wiring.Flows += n
		}
	}
	f.Wiring.CPU = after.since(before)
	f.Wiring.PeakMiB = after.peak
	return <-profiled
}

// plugSingly plugs VIFs into the settled system one after the other, each for a
// port that was made before, and times them by what a client of the API sees.
func (d *deployment) plugSingly(ctx context.Context, f *figures) error {
	ports, err := d.addPorts(ctx, d.Plugs, d.place)
	if err != nil {
		return err
	}
	if err := d.settle(ctx); err != nil {
		return err
	}
	before, err := d.usage()
	if err != nil {
		return err
	}
	var fromInsert, fromReply []time.Duration
	for i, p := range ports {
		host, _ := d.place(i)
		start := time.Now()
		if err := d.databases[host].transact(addInterface(deviceOf(d.Ports+i), p.vifIDs())...); err != nil {
			return err
		}
		inserted := time.Now()
		err := d.await(ctx, 10*time.Second, "port "+p.ID+" ACTIVE", 200*time.Microsecond, func() (bool, error) { return d.active(ctx, p.ID) })
		if err != nil {
			return err
		}
		end := time.Now()
		fromInsert, fromReply = append(fromInsert, end.Sub(start)), append(fromReply, end.Sub(inserted))
		time.Sleep(20 * time.Millisecond) // what follows ACTIVE is not the next one's
	}
	after, err := d.usage()
	if err != nil {
		return err
	}
	f.Plug = plugFigures{FromInsert: spreadOf(fromInsert), FromReply: spreadOf(fromReply), CPU: after.since(before).divided(len(ports))}
	return nil
}

// countFlows plugs further VIFs into one network of one host and counts what they
// add there and on another host.
func (d *deployment) countFlows(ctx context.Context, f *figures) error {
	const more = 20
	if err := d.settle(ctx); err != nil {
		return err
	}
	here, there := d.hosts[0], d.hosts[1]
	count := func() (local, remote int, err error) {
		if local, err = installed(here); err == nil {
			remote, err = installed(there)
		}
		return local, remote, err
	}
	local, remote, err := count()
	if err != nil {
		return err
	}
	ports, err := d.addPorts(ctx, more, func(int) (host, network int) { return 0, 0 })
	if err != nil {
		return err
	}
	for i, p := range ports {
		if err := d.databases[0].transact(addInterface(deviceOf(d.Ports+d.Plugs+i), p.vifIDs())...); err != nil {
			return err
		}
	}
	if err := d.wired(ctx); err != nil {
		return err
	}
	moreLocal, moreRemote, err := count()
	if err != nil {
		return err
	}
	f.Flows.Local, f.Flows.Remote = float64(moreLocal-local)/more, float64(moreRemote-remote)/more
	f.Flows.Host = local
	return nil
}

// installed counts the flows of a host, as the switch itself does.
func installed(h *testbed.CheapHost) (n int, err error) {
	for _, bridge := range []string{"br-int", "br-tun"} {
		out, err := h.Ofctl("dump-aggregate", bridge)
		if err != nil {
			return 0, err
		}
		_, count, ok := strings.Cut(out, "flow_count=")
		c, err := strconv.Atoi(strings.TrimSpace(count))
		if !ok || err != nil {
			return 0, fmt.Errorf("host %s: dump-aggregate says %q", h.Name, out)
		}
		n += c
	}
	return n, nil
}

// verify fails unless every host holds exactly what a recompute from nothing wants.
func (d *deployment) verify(ctx context.Context, _ *figures) error {
	var g errgroup.Group
	g.SetLimit(4)
	for _, h := range d.switches {
		g.Go(func() error {
			diff, err := d.admin.Diff(ctx, h.Name)
			if err == nil && len(diff.Changes) > 0 {
				err = fmt.Errorf("host %s is not as it should be: %d changes, first %s", h.Name, len(diff.Changes), diff.Changes[0])
			}
			return err
		})
	}
	return g.Wait()
}

// vifIDs are the external_ids that make an interface the port's VIF.
func (p port) vifIDs() map[string]string {
	return map[string]string{"iface-id": p.ID, "iface-status": "active", "attached-mac": p.MAC}
}

// usage is what all processes have used so far.
type usage struct {
	cpu  cpu
	peak float64 // MiB the controller had resident at most
}

func (d *deployment) usage() (u usage, err error) {
	of := func(p *testbed.Process) seconds {
		used, e := p.Usage()
		err = errors.Join(err, e)
		if p == d.controller {
			u.peak = float64(used.Peak) / (1 << 20)
		}
		return secondsOf(used.CPU)
	}
	u.cpu.Controller = of(d.controller)
	for _, h := range d.switches {
		u.cpu.Vswitchd += of(h.Vswitchd())
		u.cpu.OVSDB += of(h.OVSDB())
	}
	return u, err
}

func (u usage) since(before usage) cpu {
	c := cpu{Controller: u.cpu.Controller - before.cpu.Controller, Vswitchd: u.cpu.Vswitchd - before.cpu.Vswitchd, OVSDB: u.cpu.OVSDB - before.cpu.OVSDB}
	c.Sum = c.Controller + c.Vswitchd + c.OVSDB
	return c
}

// profileTime is longer than the wiring takes.
const profileTime = 15 * time.Second

// profile starts to write the controller's CPU profile to a file, if there is one;
// the result comes when it is complete.
func (d *deployment) profile(ctx context.Context, file string) (<-chan error, error) {
	result := make(chan error, 1)
	if file == "" {
		result <- nil
		return result, nil
	}
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	socket := strings.TrimPrefix(d.adminAddress(), "unix:")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://admin/debug/pprof/profile?seconds=%d", int(profileTime.Seconds())), nil)
	if err != nil {
		return nil, err
	}
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(out, resp.Body)
			resp.Body.Close()
		}
		result <- errors.Join(err, out.Close())
	}()
	time.Sleep(100 * time.Millisecond) // it has begun
	return result, nil
}
