package system

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// startEtcd starts an etcd of one member and returns its endpoint and process.
func (d *deployment) startEtcd(flags ...string) (string, *testbed.Process) {
	d.t.Helper()
	client, peer := "http://"+freeAddress(d.t), "http://"+freeAddress(d.t)
	argv := append([]string{"etcd", "--data-dir", d.bed.Dir() + "/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer}, flags...)
	process, err := d.bed.Here().Start("etcd", argv...)
	if err != nil {
		d.t.Fatal(err)
	}
	d.await("etcd", func() error {
		resp, err := http.Get(client + "/health")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return is(resp.StatusCode, http.StatusOK)
	})
	return client, process
}

// bigTransactions are what an etcd must be started with.
var bigTransactions = []string{"--max-txn-ops=8192", "--max-request-bytes=8388608"}

// The truth may be in an etcd outside the program.
func TestExternalEtcd(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	endpoint, _ := d.startEtcd(bigTransactions...)
	d.flags = []string{"--etcd-endpoints=" + endpoint}
	d.serve()
	hosts := d.addHosts("compute01", "compute02")
	n := d.addNetwork("blue", "10.0.0.0/24")
	p, q := d.addPort(n, hosts[0].Name), d.addPort(n, "")
	d.plug(hosts[0], p)
	d.plug(hosts[1], q)
	d.become("ACTIVE", p, q)
	d.settled(hosts...)
	want := d.rules(hosts[0], "br-int")
	d.kill()
	d.serve()
	d.settled(hosts...)
	d.become("ACTIVE", p, q)
	if got := d.rules(hosts[0], "br-int"); got != want {
		t.Errorf("br-int has\n%s\nand had before the kill\n%s", got, want)
	}
}

// While etcd does not answer, the controller says so to who asks it, lets the hosts be, and goes on by
// itself afterwards. What was not answered with success may have been done or not.
func TestEtcdAway(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	endpoint, etcd := d.startEtcd(bigTransactions...)
	health := freeAddress(t)
	d.flags = []string{"--etcd-endpoints=" + endpoint, "--metrics-listen=" + health}
	d.serve()
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	p := d.addPort(n, h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)
	d.settled(h)
	want := d.rules(h, "br-int")

	asks := func(path, says string, status int) func() error {
		return func() error {
			resp, err := d.http.Get("http://" + health + path)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err == nil && (resp.StatusCode != status || !strings.Contains(string(text), says)) {
				err = fmt.Errorf("%s: %d %s", path, resp.StatusCode, text)
			}
			return err
		}
	}
	ready := asks("/readyz", "ok", http.StatusOK)
	d.await("what it says with etcd", ready)
	if err := etcd.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.await("what it says while etcd is away", asks("/readyz", "the store does not answer", http.StatusServiceUnavailable))
	if err := asks("/healthz", "ok", http.StatusOK)(); err != nil {
		t.Error(err)
	}
	var wait sync.WaitGroup // each takes as long as etcd is waited for
	for _, r := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"GET", "/v2.0/networks", nil, http.StatusServiceUnavailable},
		{"POST", "/v2.0/networks", object{"network": object{"name": "red"}}, http.StatusServiceUnavailable},
		{"DELETE", "/v2.0/ports/" + p.ID, nil, http.StatusServiceUnavailable},
		{"POST", "/v2.0/networks", object{"network": object{"mtu": "x"}}, http.StatusBadRequest}, // for which etcd is not needed
	} {
		wait.Go(func() {
			var answer struct {
				NeutronError struct{ Type, Message string }
			}
			if status, err := d.call(r.method, r.path, r.body, &answer); err != nil || status != r.status || answer.NeutronError.Message == "" {
				t.Errorf("%s %s: %d %v, error %v", r.method, r.path, status, answer, err)
			}
		})
	}
	wait.Wait()
	if got := d.rules(h, "br-int"); got != want {
		t.Errorf("while etcd was away, br-int became\n%s\nand had been\n%s", got, want)
	}

	if err := etcd.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	d.await("what it says when etcd is back", ready)
	q := d.addPort(n, h.Name)
	d.plug(h, q)
	d.become("ACTIVE", q)
	d.settled(h)
}

// An etcd that would refuse a bulk request one day is refused at once, in words that say what to do.
func TestExternalEtcdWithDefaultLimits(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	endpoint, _ := d.startEtcd()
	d.flags = []string{"--etcd-endpoints=" + endpoint}
	d.launch()
	select {
	case <-d.process.Done():
	case <-time.After(patience):
		t.Fatal("it serves, or hangs")
	}
	if err := d.process.Wait(); err == nil {
		t.Error("it ended as if nothing were wrong")
	}
	if log := d.log(); !strings.Contains(log, "--max-txn-ops=8192") && !strings.Contains(log, "--max-request-bytes=") {
		t.Errorf("it does not say what to do:\n%s", tail(log, 5))
	}
}

// Two controllers do not share a data directory.
func TestDataDirectoryInUse(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	second := d.as(t)
	second.api, second.ovsdb, second.openflow = freeAddress(t), freeAddress(t), freeAddress(t)
	second.launch()
	d.await("the second controller's end", func() error {
		if !second.ended() {
			return errors.New("it runs")
		}
		return nil
	})
	d.logged("in use by another process")
	d.addNetwork("blue", "10.0.0.0/24")
}
