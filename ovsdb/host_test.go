package ovsdb

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// host is a real ovsdb-server, and a real ovs-vswitchd with the dummy datapath
// where a test needs one, in a private directory.
type host struct {
	t   testing.TB
	dir string
}

func newHost(t testing.TB, remotes ...string) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.run("ovsdb-tool", "create", h.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	args := []string{h.path("conf.db"), "--remote=punix:" + h.path("db.sock"),
		"--remote=db:Open_vSwitch,Open_vSwitch,manager_options"}
	h.start("ovsdb-server", append(args, remotes...)...)
	h.wait("ovsdb-server's socket", func() bool {
		c, err := net.Dial("unix", h.path("db.sock"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	h.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=compute01")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// vswitchd starts ovs-vswitchd.
func (h *host) vswitchd() {
	h.t.Helper()
	h.start("ovs-vswitchd", "unix:"+h.path("db.sock"), "--enable-dummy=override", "--disable-system")
}

func (h *host) start(name string, args ...string) {
	h.t.Helper()
	args = append(args, "--unixctl="+h.path(name+".ctl"), "--pidfile="+h.path(name+".pid"),
		"--log-file="+h.path(name+".log"), "-vconsole:off", "--no-chdir")
	cmd := h.command(name, args...)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if h.t.Failed() {
			log, _ := os.ReadFile(h.path(name + ".log"))
			h.t.Logf("end of %s's log:\n%s", name, log[max(0, len(log)-1000):])
		}
	})
}

func (h *host) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+h.dir, "OVS_DBDIR="+h.dir, "OVS_LOGDIR="+h.dir)
	return cmd
}

func (h *host) run(name string, args ...string) string {
	h.t.Helper()
	var stderr bytes.Buffer
	cmd := h.command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (h *host) vsctl(args ...string) string {
	h.t.Helper()
	return h.run("ovs-vsctl", append([]string{"--db=unix:" + h.path("db.sock"), "--timeout=10"}, args...)...)
}

// wait polls what no mirror can tell.
func (h *host) wait(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("no %s after 10 s", what)
		}
	}
}

// dial starts a session over the host's unix socket, with its mirror complete.
func (h *host) dial() *Session {
	h.t.Helper()
	c, err := net.Dial("unix", h.path("db.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	return startSession(h.t, c)
}

func startSession(t testing.TB, c net.Conn) *Session {
	t.Helper()
	s := New(c, Options{})
	t.Cleanup(func() { s.Close() })
	if err := s.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a mirror that satisfies ok, by Changed alone.
func until(t testing.TB, s *Session, what string, ok func(*Mirror) bool) *Mirror {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		m := s.Mirror()
		if ok(m) {
			return m
		}
		select {
		case <-m.Changed():
		case <-s.Done():
			t.Fatalf("waiting for %s: %v", what, s.Err())
		case <-timeout:
			t.Fatalf("no %s after 10 s", what)
		}
	}
}

func commit(t testing.TB, s *Session, ops ...Operation) {
	t.Helper()
	if _, err := s.Transact(testContext(t), ops...); err != nil {
		t.Fatal(err)
	}
}
