package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// Deployment is a controller, its hosts and what was made through its API.
type Deployment struct {
	Controller *testbed.Process
	Hosts      []*testbed.Host

	bed      *testbed.Bed
	program  string
	http     *http.Client
	physical *testbed.Physical
	networks []*network
}

// Deploy brings the demo's deployment up on a bed: the controller, which is the program's `serve`; two
// enrolled hosts on a physical network; and a network of every type, whose guests have their leases. A
// guest is a VM of its host, named as its port: vxlan1 and vxlan3 are on one network and two hosts.
func Deploy(ctx context.Context, bed *testbed.Bed, program string) (*Deployment, error) {
	d := &Deployment{bed: bed, program: program}
	if err := d.start(ctx); err != nil {
		return nil, err
	}
	for _, c := range d.claims() {
		if !c.needed {
			continue
		}
		if _, err := c.show(d, ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", c.says, err)
		}
	}
	return d, nil
}

// API is the address of the controller's API in the underlay's namespace.
const API = "127.0.0.1:9696"

const apiURL = "http://" + API

// What is beside the overlay: a physical network, and on each host the bridge that is mapped to it.
const (
	physicalNetwork = "physnet1"
	physicalMTU     = 1500
	providerBridge  = "br-ex"
)

// DataDir is the controller's.
func (d *Deployment) DataDir() string { return filepath.Join(d.bed.Dir(), "controller") }

func (d *Deployment) admin() string { return "unix:" + filepath.Join(d.DataDir(), "admin.sock") }

// start brings up the controller and two hosts that know nothing of it yet, both on a physical network.
func (d *Deployment) start(ctx context.Context) error {
	if err := d.bed.Wire(); err != nil {
		return err
	}
	d.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: d.bed.Underlay.DialContext}}
	if err := d.serve(ctx); err != nil {
		return err
	}
	var err error
	if d.physical, err = d.bed.AddPhysical(physicalNetwork); err != nil {
		return err
	}
	if d.Hosts, err = d.bed.AddHosts("compute01", "compute02"); err != nil {
		return err
	}
	for _, h := range d.Hosts {
		if err := h.Connect(d.physical, providerBridge); err != nil {
			return err
		}
	}
	for _, n := range plan {
		d.networks = append(d.networks, &n)
	}
	return nil
}

// serve starts the controller and waits for its API.
func (d *Deployment) serve(ctx context.Context) error {
	var err error
	address := testbed.ManagementAddr.String()
	d.Controller, err = d.bed.Underlay.Start("controller", d.program, "serve", "--insecure", "--data-dir", d.DataDir(),
		"--ovsdb-listen", "tcp:"+address+":6640", "--openflow-listen", "tcp:"+address+":6653", "--underlay-mtu", fmt.Sprint(testbed.UnderlayMTU),
		"--flat-networks", physicalNetwork, "--vlan-ranges", physicalNetwork+":100:199", "--physical-network-mtus", fmt.Sprintf("%s:%d", physicalNetwork, physicalMTU),
		"--probe-interval=1s") // so that a tunnel that is cut is told of soon
	if err != nil {
		return err
	}
	return d.await(ctx, 30*time.Second, func() error {
		select {
		case <-d.Controller.Done():
			return permanent{fmt.Errorf("the controller ended: see %s", d.bed.Dir())}
		default:
		}
		return d.call(ctx, http.MethodGet, "/v2.0/networks", nil, &struct{}{})
	})
}

func (d *Deployment) close() error {
	if d.Controller == nil {
		return nil
	}
	return d.Controller.Stop(10 * time.Second)
}

// permanent is an error that waiting does not cure.
type permanent struct{ error }

// await tries until f succeeds.
func (d *Deployment) await(ctx context.Context, within time.Duration, f func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return nil
		}
		var p permanent
		if errors.As(err, &p) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// call makes one request to the REST API.
func (d *Deployment) call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, apiURL+path, in)
	if err != nil {
		return err
	}
	resp, err := d.http.Do(req)
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
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// object is a JSON object of the API.
type object map[string]any

// tool runs one of the program's own commands.
func (d *Deployment) tool(args ...string) (string, error) {
	return d.bed.Underlay.Exec(d.program, append(args, "--admin", d.admin())...)
}

// lookAround says what can be done with what was left running.
func (d *Deployment) lookAround() {
	in := "ip netns exec " + d.bed.Underlay.NetworkName()
	host := d.Hosts[0]
	fmt.Printf(`
Left running. As root:
  the API            %s curl -s %s/v2.0/ports
  the hosts          %s hosts --admin %s
  flows explained    %s flows %s --admin %s
  installed/wanted   %s diff %s --admin %s
  the switch         ovs-ofctl -O OpenFlow15 --names dump-flows unix:%s/br-int.mgmt
  remove it all      %s demo --remove %s
`, in, apiURL, os.Args[0], d.admin(), os.Args[0], host.Name, d.admin(), os.Args[0], host.Name, d.admin(), host.Dir, os.Args[0], d.bed.Prefix())
	for _, n := range d.networks {
		if all := n.endpoints(); len(all) > 1 {
			last := all[len(all)-1]
			fmt.Printf("  %-19sip netns exec %s ping %s\n", last.name, last.NetworkName(), all[0].address)
		}
	}
}
