package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// deployment is one controller and its hosts, enrolled, with networks, and with
// an interface on br-int for every port that is to be wired.
type deployment struct {
	size
	bed        *testbed.Bed
	dataDir    string
	controller *testbed.Process
	api        string
	client     http.Client // of the API
	admin      *inspect.Client
	switches   []*testbed.Switch // of all hosts
	hosts      []*testbed.CheapHost
	databases  []*database
	networks   []string // ids
	ports      []port   // that wireAll made
}

// port is what the API says of a port that was made.
type port struct {
	ID  string `json:"id"`
	MAC string `json:"mac_address"`
}

// deploy brings the system to where the measurements begin. What it returns is
// to be closed, also with an error. flags are further ones of the controller.
func deploy(ctx context.Context, s size, binary, dataDir string, flags ...string) (*deployment, error) {
	d := &deployment{size: s, dataDir: dataDir}
	var err error
	if d.bed, err = testbed.New(testbed.Options{}); err != nil {
		return nil, err
	}
	enrolAt, err := d.serve(ctx, binary, flags)
	if err != nil {
		return d, err
	}
	names := make([]string, s.Hosts)
	for i := range names {
		names[i] = fmt.Sprintf("host%03d", i+1)
	}
	if d.hosts, err = d.bed.AddCheapHosts(names...); err != nil {
		return d, err
	}
	var g errgroup.Group
	g.SetLimit(4)
	for _, h := range d.hosts {
		d.switches = append(d.switches, &h.Switch)
		db, err := openDatabase(h)
		if err != nil {
			return d, err
		}
		d.databases = append(d.databases, db)
		// All hosts share one loopback, so that only one could have the port of
		// the local manager.
		g.Go(func() error { return h.Enroll(enrolAt, map[string]string{"tunbridge-local-manager": "false"}) })
	}
	if err := g.Wait(); err != nil {
		return d, err
	}
	for i := range s.Networks {
		if err := d.addNetwork(ctx, i); err != nil {
			return d, err
		}
	}
	if err := d.settle(ctx); err != nil {
		return d, err
	}
	for j, h := range d.hosts {
		var ops []op
		var last string
		for i := j; i < s.Ports; i += s.Hosts {
			last = deviceOf(i)
			ops = append(ops, addInterface(last, nil)...)
		}
		if err := d.databases[j].transact(ops...); err != nil {
			return d, err
		}
		if _, err := h.Vsctl("wait-until", "Interface", last, "ofport>=1"); err != nil {
			return d, err
		}
	}
	return d, d.settle(ctx)
}

// place spreads ports: neighbours are on different hosts, and every host gets
// every network in turn.
func (s size) place(i int) (host, network int) { return i % s.Hosts, i / s.Hosts % s.Networks }

// deviceOf names the interface of the i-th port.
func deviceOf(i int) string { return fmt.Sprintf("tap%08x", i) }

// serve starts the controller on free ports of the loopback, waits for its API,
// and says where hosts are to dial.
func (d *deployment) serve(ctx context.Context, binary string, flags []string) (enrolAt string, err error) {
	var free [3]string
	for i := range free {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer l.Close()
		free[i] = l.Addr().String()
		l.Close()
	}
	return d.start(ctx, d.bed.Here(), free, binary, flags...)
}

// start starts the controller in a namespace: for the API, OVSDB and OpenFlow on these addresses.
func (d *deployment) start(ctx context.Context, where testbed.Namespace, listen [3]string, binary string, flags ...string) (enrolAt string, err error) {
	d.api, enrolAt = "http://"+listen[0], "tcp:"+listen[1]
	if d.admin, err = inspect.NewClient(d.adminAddress()); err != nil {
		return "", err
	}
	argv := append([]string{binary, "serve", "--data-dir", d.dataDir, "--api-listen", listen[0],
		"--ovsdb-listen", enrolAt, "--openflow-listen", "tcp:" + listen[2], "--metrics-listen", "", "--log-level", "warn",
		"--quota-network=-1", "--quota-subnet=-1", "--quota-port=-1"}, flags...)
	if d.controller, err = where.Start("controller", argv...); err != nil {
		return "", err
	}
	return enrolAt, d.await(ctx, 30*time.Second, "the controller's API", 20*time.Millisecond, func() (bool, error) {
		select {
		case <-d.controller.Done():
			return false, fmt.Errorf("the controller ended: %s", d.lastWords())
		default:
		}
		return d.call(ctx, http.MethodGet, "/v2.0/networks", nil, nil) == nil, nil
	})
}

func (d *deployment) adminAddress() string { return "unix:" + filepath.Join(d.dataDir, "admin.sock") }

// lastWords are the end of the controller's log.
func (d *deployment) lastWords() string {
	b, err := os.ReadFile(d.controller.Log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// close ends everything and removes it.
func (d *deployment) close() error {
	for _, db := range d.databases {
		db.close()
	}
	var err error
	if d.controller != nil {
		err = d.controller.Stop(10 * time.Second)
	}
	return errors.Join(err, d.bed.Close(), os.RemoveAll(d.dataDir))
}

// await polls until done says true, ends with an error, or the time is over.
func (d *deployment) await(ctx context.Context, within time.Duration, what string, every time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time; the controller's last words: %s", what, d.lastWords())
		case <-time.After(every):
		}
	}
}

// settle waits until all hosts are connected and none has, had or gets anything
// to do for a while. Each host's loop answers between two of its steps.
func (d *deployment) settle(ctx context.Context) error {
	const quiet = 500 * time.Millisecond
	last, since := uint64(0), time.Now()
	return d.await(ctx, 2*time.Minute, "the hosts to settle", 100*time.Millisecond, func() (bool, error) {
		hosts, err := d.admin.Hosts(ctx)
		if err != nil {
			return false, err
		}
		alive, commits := 0, uint64(0)
		for _, h := range hosts {
			if h.Alive && h.Pending == "" && h.Waiting == "" && h.LastError == "" {
				alive++
			}
			commits += h.Commits
		}
		if alive < d.Hosts || commits != last {
			last, since = commits, time.Now()
		}
		return time.Since(since) >= quiet, nil
	})
}

// wired waits until every port of the bench is ACTIVE and nothing is left to do.
func (d *deployment) wired(ctx context.Context) error {
	if err := d.await(ctx, time.Minute, "every port ACTIVE", 20*time.Millisecond, func() (bool, error) {
		down, err := d.down(ctx)
		return !down, err
	}); err != nil {
		return err
	}
	return d.settle(ctx)
}

// object is a JSON object of the API.
type object map[string]any

// addNetwork makes the i-th network, with a subnet that has DHCP.
func (d *deployment) addNetwork(ctx context.Context, i int) error {
	name := fmt.Sprintf("net%d", i)
	var made struct{ Network struct{ ID string } }
	if err := d.call(ctx, http.MethodPost, "/v2.0/networks", object{"network": object{"name": name}}, &made); err != nil {
		return err
	}
	d.networks = append(d.networks, made.Network.ID)
	return d.call(ctx, http.MethodPost, "/v2.0/subnets", object{"subnet": object{"name": name, "network_id": made.Network.ID,
		"ip_version": 4, "cidr": fmt.Sprintf("10.%d.0.0/16", i), "dns_nameservers": []string{"192.0.2.53"}}}, nil)
}

// owner is the device_owner of the ports the bench makes.
const owner = "compute:bench"

// addPorts makes n ports with one request. place says which host and network the
// i-th of them is for.
func (d *deployment) addPorts(ctx context.Context, n int, place func(i int) (host, network int)) ([]port, error) {
	list := make([]object, n)
	for i := range list {
		host, network := place(i)
		list[i] = object{"network_id": d.networks[network], "binding:host_id": d.hosts[host].Name, "device_owner": owner}
	}
	var made struct{ Ports []port }
	if err := d.call(ctx, http.MethodPost, "/v2.0/ports", object{"ports": list}, &made); err != nil {
		return nil, err
	}
	if len(made.Ports) != n {
		return nil, fmt.Errorf("%d ports made, want %d", len(made.Ports), n)
	}
	return made.Ports, nil
}

// down asks whether any port of the bench is not ACTIVE.
func (d *deployment) down(ctx context.Context) (bool, error) {
	var some struct{ Ports []port }
	q := url.Values{"status": {"DOWN"}, "device_owner": {owner}, "limit": {"1"}, "fields": {"id"}}
	err := d.call(ctx, http.MethodGet, "/v2.0/ports?"+q.Encode(), nil, &some)
	return len(some.Ports) > 0, err
}

// active asks whether one port is.
func (d *deployment) active(ctx context.Context, id string) (bool, error) {
	var one struct{ Port struct{ Status string } }
	err := d.call(ctx, http.MethodGet, "/v2.0/ports/"+id+"?fields=status", nil, &one)
	return one.Port.Status == "ACTIVE", err
}

// call makes one request to the REST API; a nil answer is not looked at.
func (d *deployment) call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.api+path, in)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
