// Package clients runs the clients that operators use against the built program, with tokens of a real
// Keystone: every command of `openstack` for what is served (commands.py), the calls of openstacksdk
// (sdk.py), and gophercloud, on which Terraform stands (gophercloud_test.go). What was made or changed is
// read back, and what comes is compared, not only that something comes. Each fails if its client has something
// that was not run, but for what belongs to extensions that are not advertised.
//
// Two hosts with a real Open vSwitch, in a zone each, are the agents. Scripts do there what an operator and a
// hypervisor do (hosts.py).
package clients

import (
	"context"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/keystone"
	"github.com/tunbridge/tunbridge/test/testbed"
)

// cloud is the program, its Keystone and its hosts.
type cloud struct {
	keystone *keystone.Server
	api      string // http://127.0.0.1:PORT
	ovsdb    string // tcp:127.0.0.1:PORT, for hosts
	acme     string // id of a project that is not admin's
	hosts    []*testbed.CheapHost
}

// zones are the hosts' names, and the availability zones that they are in.
var zones = map[string]string{"compute01": "north", "compute02": "south"}

func start(t *testing.T) *cloud {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	var free [3]string
	for i := range free {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		free[i] = l.Addr().String()
	}
	c := &cloud{api: "http://" + free[0], ovsdb: "tcp:" + free[1]}
	var err error
	if c.keystone, err = keystone.Start(ctx, t.TempDir(), c.api); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.keystone.Stop)
	c.offerOthers(t)
	for name, id := range map[string]*string{"service": new(string), "acme": &c.acme} {
		if *id, err = c.keystone.Project(ctx, name); err != nil {
			t.Fatal(err)
		}
		user, role := "alice", "member"
		if name == "service" {
			user, role = "neutron", "service"
		}
		if _, err = c.keystone.User(ctx, user, role, *id); err != nil {
			t.Fatal(err)
		}
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(keystone.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "tunbridge")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/tunbridge/tunbridge/cmd/tunbridge").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bed.Close() })
	program, err := bed.Here().Start("controller", binary, "serve", "--data-dir", filepath.Join(dir, "data"), "--api-listen", free[0],
		"--ovsdb-listen", c.ovsdb, "--openflow-listen", "tcp:"+free[2], "--metrics-listen", "", "--auth", "keystone",
		"--keystone-url", c.keystone.URL, "--keystone-username", "neutron", "--keystone-password-file", password,
		"--flat-networks", "physnet1", "--vlan-ranges", "physnet1:100:199")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := program.Stop(10 * time.Second); err != nil || t.Failed() {
			log, _ := os.ReadFile(program.Log)
			t.Logf("serve: %v\n%s", err, log[max(0, len(log)-6000):])
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer, err := http.Get(c.api + "/")
		if err == nil {
			answer.Body.Close()
			break
		}
		select {
		case <-program.Done():
			t.Fatal("the controller ended")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if c.hosts, err = bed.AddCheapHosts(slices.Sorted(maps.Keys(zones))...); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts { // all are on one loopback, where only one could have OVSDB's port for local clients
		if err := h.Enroll(c.ovsdb, map[string]string{"tunbridge-availability-zone": zones[h.Name], "tunbridge-local-manager": "false"}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestClients runs one client after another on one cloud; each leaves it as it was.
func TestClients(t *testing.T) {
	c := start(t)
	t.Run("openstack", func(t *testing.T) { c.python(t, "commands.py") })
	t.Run("openstacksdk", func(t *testing.T) { c.python(t, "sdk.py") })
	t.Run("gophercloud", c.gophercloud)
}

// python runs a program of this directory as admin.
func (c *cloud) python(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-W", "ignore", name)
	cmd.Env = append(append(os.Environ(), c.keystone.Environment("admin", "admin")...), "ACME="+c.acme, "OVSDB="+c.ovsdb, "PYTHONDONTWRITEBYTECODE=1")
	for _, h := range c.hosts {
		cmd.Env = append(cmd.Env, "HOST_"+h.Name+"="+filepath.Join(h.Dir, "db.sock"))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	t.Logf("%s: %s", name, out)
}
