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

// deployment is a controller, its hosts and what was made through its API.
type deployment struct {
	bed        *testbed.Bed
	controller *testbed.Process
	http       *http.Client
	hosts      []*testbed.Host
	physical   *testbed.Physical
	networks   []*network
}

const apiURL = "http://127.0.0.1:9696"

// What is beside the overlay: a physical network, and on each host the bridge that is mapped to it.
const (
	physicalNetwork = "physnet1"
	physicalMTU     = 1500
	providerBridge  = "br-ex"
)

func (d *deployment) dataDir() string { return filepath.Join(d.bed.Dir(), "controller") }

func (d *deployment) admin() string { return "unix:" + filepath.Join(d.dataDir(), "admin.sock") }

// start brings up the controller and two hosts that know nothing of it yet, both on a physical network.
func (d *deployment) start(ctx context.Context) error {
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
	if d.hosts, err = d.bed.AddHosts("compute01", "compute02"); err != nil {
		return err
	}
	for _, h := range d.hosts {
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
func (d *deployment) serve(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	address := testbed.ManagementAddr.String()
	d.controller, err = d.bed.Underlay.Start("controller", exe, "serve", "--insecure", "--data-dir", d.dataDir(),
		"--ovsdb-listen", "tcp:"+address+":6640", "--openflow-listen", "tcp:"+address+":6653", "--underlay-mtu", fmt.Sprint(testbed.UnderlayMTU),
		"--flat-networks", physicalNetwork, "--vlan-ranges", physicalNetwork+":100:199", "--physical-network-mtus", fmt.Sprintf("%s:%d", physicalNetwork, physicalMTU))
	if err != nil {
		return err
	}
	return d.await(ctx, 30*time.Second, func() error {
		select {
		case <-d.controller.Done():
			return permanent{fmt.Errorf("the controller ended: see %s", d.bed.Dir())}
		default:
		}
		return d.call(ctx, http.MethodGet, "/v2.0/networks", nil, &struct{}{})
	})
}

func (d *deployment) close() error {
	if d.controller == nil {
		return nil
	}
	return d.controller.Stop(10 * time.Second)
}

// permanent is an error that waiting does not cure.
type permanent struct{ error }

// await tries until f succeeds.
func (d *deployment) await(ctx context.Context, within time.Duration, f func() error) error {
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
func (d *deployment) call(ctx context.Context, method, path string, body, answer any) error {
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
func (d *deployment) tool(args ...string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	return d.bed.Underlay.Exec(exe, append(args, "--admin", d.admin())...)
}

// lookAround says what can be done with what was left running.
func (d *deployment) lookAround() {
	in := "ip netns exec " + d.bed.Underlay.NetworkName()
	host := d.hosts[0]
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
