package system

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startEtcd starts an etcd of one member and returns its endpoint.
func (d *deployment) startEtcd(flags ...string) string {
	d.t.Helper()
	client, peer := "http://"+freeAddress(d.t), "http://"+freeAddress(d.t)
	argv := append([]string{"etcd", "--data-dir", d.bed.Dir() + "/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer}, flags...)
	if _, err := d.bed.Here().Start("etcd", argv...); err != nil {
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
	return client
}

// The truth may be in an etcd outside the program.
func TestExternalEtcd(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	d.flags = []string{"--etcd-endpoints=" + d.startEtcd("--max-txn-ops=8192", "--max-request-bytes=8388608")}
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

// An etcd that would refuse a bulk request one day is refused at once, in words that say what to do.
func TestExternalEtcdWithDefaultLimits(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	d.flags = []string{"--etcd-endpoints=" + d.startEtcd()}
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
