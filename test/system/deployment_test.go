package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tunbridge-system")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "tunbridge")
		build := exec.Command("go", "build", "-o", program, "github.com/tunbridge/tunbridge/cmd/tunbridge")
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the program:", err)
			return 1
		}
		return m.Run()
	}())
}

// patience is how long something that must happen may take on a busy machine.
const patience = 30 * time.Second

// tester is what a test and a drawn history have in common.
type tester interface {
	Helper()
	Logf(string, ...any)
	Error(...any)
	Errorf(string, ...any)
	Fatalf(string, ...any)
	Fatal(...any)
}

// deployment is one controller and the hosts it drives.
type deployment struct {
	t        tester
	bed      *testbed.Bed
	where    testbed.Namespace // of the controller
	http     *http.Client      // in that namespace
	dataDir  string
	scheme   string // of the hosts' listeners
	api      string // addresses, 127.0.0.1:PORT
	ovsdb    string
	openflow string
	flags    []string // beside those that the fields above make
	process  *testbed.Process
	admin    *inspect.Client
}

// prepare makes a deployment whose controller does not run yet.
func prepare(t *testing.T) *deployment {
	t.Helper()
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &deployment{t: t, bed: bed, dataDir: filepath.Join(bed.Dir(), "data"), scheme: "tcp", api: freeAddress(t), ovsdb: freeAddress(t), openflow: freeAddress(t)}
	d.place(bed.Here())
	if d.admin, err = inspect.NewClient("unix:" + filepath.Join(d.dataDir, "admin.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.process == nil {
			return
		}
		if !d.ended() {
			if !t.Failed() {
				d.verify()
			}
			if err := errors.Join(d.process.Stop(10*time.Second), d.process.Wait()); err != nil {
				t.Errorf("the controller, asked to end: %v", err)
			}
		}
		if log := d.log(); strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") {
			t.Error("the controller's log tells of a panic, or of a race")
		}
		if t.Failed() {
			t.Logf("the controller's log ends with\n%s", tail(d.log(), 60))
		}
	})
	return d
}

// deploy starts a controller. It is verified and stopped at the test's end.
func deploy(t *testing.T, flags ...string) *deployment {
	t.Helper()
	d := prepare(t)
	d.flags = flags
	d.serve()
	return d
}

// place says in which namespace the controller is to run.
func (d *deployment) place(where testbed.Namespace) {
	d.where, d.http = where, &http.Client{Transport: &http.Transport{DialContext: where.DialContext, MaxIdleConnsPerHost: 64}}
}

// onUnderlay says that the controller is to run where real hosts reach it, at the address of
// the testbed's management, with these flags.
func (d *deployment) onUnderlay(flags ...string) {
	d.place(d.bed.Underlay)
	address := testbed.ManagementAddr.String()
	d.api, d.ovsdb, d.openflow = address+":9696", address+":6640", address+":6653"
	d.flags = append([]string{"--insecure"}, flags...)
}

// underlayMTU is the flag for the MTU of the testbed's underlay.
var underlayMTU = fmt.Sprintf("--underlay-mtu=%d", testbed.UnderlayMTU)

// as is the same deployment whose failures are t's.
func (d *deployment) as(t tester) *deployment {
	other := *d
	other.t = t
	return &other
}

var taken sync.Map

// freeAddress is a loopback address that nobody listens on, below the ports that the kernel gives to
// outgoing connections: it stays free while the controller is away.
func freeAddress(t tester) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000))
		if _, was := taken.LoadOrStore(address, true); was {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// launch starts the controller without waiting for it.
func (d *deployment) launch() {
	d.t.Helper()
	argv := []string{program, "serve", "--data-dir", d.dataDir, "--metrics-listen=", "--api-listen", d.api,
		"--ovsdb-listen", d.scheme + ":" + d.ovsdb, "--openflow-listen", d.scheme + ":" + d.openflow}
	var err error
	if d.process, err = d.where.Start("controller", append(argv, d.flags...)...); err != nil {
		d.t.Fatal(err)
	}
}

// serve starts the controller and waits for its API.
func (d *deployment) serve() {
	d.t.Helper()
	d.launch()
	d.await("the API", func() error {
		if d.ended() {
			d.t.Fatalf("the controller ended:\n%s", tail(d.log(), 20))
		}
		_, err := d.call(http.MethodGet, "/v2.0/networks", nil, nil)
		return err
	})
}

// kill ends the controller as a crash would.
func (d *deployment) kill() {
	d.t.Helper()
	if err := d.process.Kill(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployment) ended() bool {
	select {
	case <-d.process.Done():
		return true
	default:
		return false
	}
}

// await tries until f has no error.
func (d *deployment) await(what string, f func() error) {
	d.t.Helper()
	d.within(patience, what, f)
}

// within is await with a patience of its own.
func (d *deployment) within(patience time.Duration, what string, f func() error) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// log is what the controller has logged, over all its lives.
func (d *deployment) log() string {
	b, err := os.ReadFile(d.process.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// logged waits for a line of the log that has all the words.
func (d *deployment) logged(words ...string) {
	d.t.Helper()
	d.await(fmt.Sprintf("a log line with %q", words), func() error {
	lines:
		for line := range strings.Lines(d.log()) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return nil
		}
		return errors.New("there is none")
	})
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// call makes one request to the API. An error is only that there was no answer, or no JSON in one.
func (d *deployment) call(method, path string, body, answer any) (status int, err error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		in = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.api+path, in)
	if err != nil {
		return 0, err
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if answer != nil && len(text) > 0 {
		if err := json.Unmarshal(text, answer); err != nil {
			return resp.StatusCode, fmt.Errorf("%s %s: %w: %s", method, path, err, text)
		}
	}
	return resp.StatusCode, nil
}

// must makes a request that succeeds.
func (d *deployment) must(method, path string, body, answer any) {
	d.t.Helper()
	var text json.RawMessage
	status, err := d.call(method, path, body, &text)
	if err == nil && status >= 300 {
		err = fmt.Errorf("status %d: %s", status, text)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// object is a JSON object of the API.
type object map[string]any

// network is what the API says of a network.
type network struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	VNI  uint32 `json:"provider:segmentation_id"`
}

// port is what the API says of a port.
type port struct {
	ID        string `json:"id"`
	NetworkID string `json:"network_id"`
	Status    string `json:"status"`
	MAC       string `json:"mac_address"`
	Host      string `json:"binding:host_id"`
	FixedIPs  []struct {
		SubnetID string `json:"subnet_id"`
		Address  string `json:"ip_address"`
	} `json:"fixed_ips"`
}

func (p *port) vif() testbed.VIF {
	mac, _ := net.ParseMAC(p.MAC)
	return testbed.VIF{PortID: p.ID, MAC: mac}
}

func (p *port) device() string { return p.vif().Device() }

func (p *port) address() string { return p.FixedIPs[0].Address }

// addNetwork makes a network with one subnet.
func (d *deployment) addNetwork(name, cidr string) *network {
	d.t.Helper()
	var made struct{ Network network }
	d.must(http.MethodPost, "/v2.0/networks", object{"network": object{"name": name}}, &made)
	d.addSubnet(&made.Network, cidr)
	return &made.Network
}

// addSubnet makes a subnet. Of 10.0.0.0/24 ports get addresses up to 10.0.0.63, drawn at random: those above
// are for what is no port.
func (d *deployment) addSubnet(n *network, cidr string) {
	d.t.Helper()
	subnet := object{"name": n.Name, "network_id": n.ID, "ip_version": 4, "cidr": cidr}
	switch {
	case strings.Contains(cidr, ":"):
		subnet["ip_version"] = 6
	case cidr == "10.0.0.0/24":
		subnet["allocation_pools"] = []object{{"start": "10.0.0.2", "end": "10.0.0.63"}}
	}
	d.must(http.MethodPost, "/v2.0/subnets", object{"subnet": subnet}, nil)
}

// allTypes are the network types.
var allTypes = []string{"vxlan", "gre", "geneve", "vlan", "flat", "local"}

// physical is the physical network of flat and vlan networks.
const physical = "physnet1"

// networkOf makes a network of a type, with subnets.
func (d *deployment) networkOf(networkType, name string, cidrs ...string) *network {
	d.t.Helper()
	body := object{"name": name, "provider:network_type": networkType}
	if networkType == "vlan" || networkType == "flat" {
		body["provider:physical_network"] = physical
	}
	var made struct{ Network network }
	d.must(http.MethodPost, "/v2.0/networks", object{"network": body}, &made)
	for _, cidr := range cidrs {
		d.addSubnet(&made.Network, cidr)
	}
	return &made.Network
}

// addPort makes a port bound to a host; "" for none.
func (d *deployment) addPort(n *network, host string) *port {
	d.t.Helper()
	body := object{"network_id": n.ID}
	if host != "" {
		body["binding:host_id"] = host
	}
	var made struct{ Port port }
	d.must(http.MethodPost, "/v2.0/ports", object{"port": body}, &made)
	return &made.Port
}

func (d *deployment) port(id string) (port, error) {
	var shown struct{ Port port }
	status, err := d.call(http.MethodGet, "/v2.0/ports/"+id, nil, &shown)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("port %s: status %d", id, status)
	}
	return shown.Port, err
}

// become waits until the ports have a status.
func (d *deployment) become(status string, ports ...*port) {
	d.t.Helper()
	for _, p := range ports {
		d.await("port "+p.ID+" "+status, func() error {
			shown, err := d.port(p.ID)
			if err == nil && shown.Status != status {
				err = fmt.Errorf("it is %s", shown.Status)
			}
			return err
		})
	}
}

// addHosts starts hosts and enrols them.
func (d *deployment) addHosts(names ...string) []*testbed.CheapHost {
	d.t.Helper()
	hosts, err := d.bed.AddCheapHosts(names...)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, h := range hosts {
		d.enrol(h, nil)
	}
	d.settled(hosts...)
	return hosts
}

// enrol runs the operator's command on a host. All hosts are on one loopback, where only one could
// have OVSDB's port for local clients.
func (d *deployment) enrol(h *testbed.CheapHost, ids map[string]string) {
	d.t.Helper()
	all := map[string]string{"tunbridge-local-manager": "false"}
	for k, v := range ids {
		all[k] = v
	}
	target := d.scheme + ":" + d.ovsdb
	if err := h.Enroll(target, all); err != nil {
		d.t.Fatal(err)
	}
	// Without it the host waits for up to 8 s before it dials a controller that was away.
	if _, err := h.Vsctl("set", "Manager", target, "max_backoff=1000"); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployment) plug(h *testbed.CheapHost, ports ...*port) {
	d.t.Helper()
	for _, p := range ports {
		if err := h.PlugVIF(p.vif()); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *deployment) unplug(h *testbed.CheapHost, ports ...*port) {
	d.t.Helper()
	for _, p := range ports {
		if err := h.UnplugVIF(p.vif()); err != nil {
			d.t.Fatal(err)
		}
	}
}

// host is what the controller says of a host.
func (d *deployment) host(name string) (inspect.Host, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return d.admin.Host(ctx, name)
}

// unsettled says what a host still waits for.
func unsettled(h inspect.Host) error {
	if !h.Alive || h.Waiting != "" || h.Pending != "" || h.LastError != "" {
		return fmt.Errorf("host %s: alive %t; waiting: %q; pending: %q; error: %q", h.Hostname, h.Alive, h.Waiting, h.Pending, h.LastError)
	}
	return nil
}

// settled waits until the hosts are connected and have nothing pending.
func (d *deployment) settled(hosts ...*testbed.CheapHost) {
	d.t.Helper()
	for _, h := range hosts {
		d.quiet(h.Name)
	}
}

// quiet waits until one host has, and each of its flows says why it is there.
func (d *deployment) quiet(host string) {
	d.t.Helper()
	d.await("host "+host+" settled", func() error {
		state, err := d.host(host)
		if err == nil {
			err = unsettled(state)
		}
		if err == nil {
			err = d.explained(host)
		}
		return err
	})
}

// explained says which of a host's flows, those of captures and those that the switch learnt included, lacks its
// owner, object or reason; nil: none.
func (d *deployment) explained(host string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	flows, err := d.admin.Flows(ctx, host)
	for _, f := range flows {
		if f.Owner == "" || f.Owner == "foreign" || f.Stale || f.Kind == "" || f.ObjectID == "" || f.TableName == "" || !strings.Contains(f.Reason, " ") { // one word would be the table, or the field
			return fmt.Errorf("host %s: a flow does not say why it is there: %+v", host, f)
		}
	}
	return err
}

// reason waits for what the controller says of a VIF that it does not wire.
func (d *deployment) reason(h *testbed.CheapHost, device string, words ...string) {
	d.t.Helper()
	d.saysOf(h.Name, device, words...)
}

// saysOf is reason for a host by name.
func (d *deployment) saysOf(host, device string, words ...string) {
	d.t.Helper()
	d.await(fmt.Sprintf("host %s: %s not wired because of %q", host, device, words), func() error {
		state, err := d.host(host)
		if err != nil {
			return err
		}
		for _, v := range state.VIFs {
			if v.Interface != device {
				continue
			}
			for _, w := range words {
				if v.Wired || !strings.Contains(v.Reason, w) {
					return fmt.Errorf("wired %t, reason %q", v.Wired, v.Reason)
				}
			}
			return nil
		}
		return errors.New("it is not listed")
	})
}

// flows lists a host's installed flows with their causes.
func (d *deployment) flows(h *testbed.CheapHost) []inspect.Flow {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := d.admin.Flows(ctx, h.Name)
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// flowsOf counts a host's flows that an object of the API wants.
func (d *deployment) flowsOf(h *testbed.CheapHost, id string) (n int) {
	d.t.Helper()
	for _, f := range d.flows(h) {
		if f.ObjectID == id {
			n++
		}
	}
	return n
}

// verify compares every connected host with a recompute from nothing, looks at each flow's cause, and has the
// rest verified.
func (d *deployment) verify() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	hosts, err := d.admin.Hosts(ctx)
	if err != nil {
		d.t.Errorf("hosts: %v", err)
	}
	for _, h := range hosts {
		if h.OVSDB == nil || h.LastError != "" {
			continue // away, or refused: the test says what it thinks of that
		}
		d.await("host "+h.Hostname+" as recomputed", func() error {
			state, err := d.admin.Host(ctx, h.ID)
			if err == nil {
				err = unsettled(state)
			}
			if err != nil {
				return err
			}
			diff, err := d.admin.Diff(ctx, h.ID)
			if err == nil && len(diff.Changes) > 0 {
				err = fmt.Errorf("it differs:\n%s", strings.Join(diff.Changes, "\n"))
			}
			if err == nil {
				err = d.explained(h.ID)
			}
			return err
		})
	}
	d.await("networks that are kept apart, and a store without contradictions", func() error {
		v, err := d.admin.Verify(ctx, "", nil)
		for _, x := range v.Violations {
			if x.Kind != inspect.ViolationInstalled {
				return fmt.Errorf("%+v", x)
			}
		}
		return err
	})
}
