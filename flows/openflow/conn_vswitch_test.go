package openflow

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// vswitch is an Open vSwitch of its own for a test: real daemons with the dummy
// datapath, which needs neither root nor the kernel's module, and one bridge, br0.
type vswitch struct {
	t   testing.TB
	dir string
}

// startVSwitch starts one; it ends with the test. Its bridge has the datapath id
// 0xabcd, ports p1 and p2 with these numbers, and no flows.
func startVSwitch(t testing.TB) *vswitch {
	t.Helper()
	// A socket's path is at most 107 bytes, which t.TempDir may exceed.
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &vswitch{t, dir}
	s.run("ovsdb-tool", "create", s.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	s.start("ovsdb-server", s.path("conf.db"), "--remote=punix:"+s.path("db.sock"), "--unixctl="+s.path("ovsdb-server.ctl"))
	s.eventually("ovsdb-server", func() bool {
		nc, err := net.Dial("unix", s.path("db.sock"))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	s.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=test")
	s.start("ovs-vswitchd", "unix:"+s.path("db.sock"), "--enable-dummy=override", "--disable-system", "--unixctl="+s.path("ovs-vswitchd.ctl"))
	s.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "fail_mode=secure",
		"protocols=OpenFlow10,OpenFlow13,OpenFlow15", "other_config:datapath-id=000000000000abcd",
		"--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=1",
		"--", "add-port", "br0", "p2", "--", "set", "interface", "p2", "type=dummy", "ofport_request=2")
	return s
}

func (s *vswitch) path(name string) string { return filepath.Join(s.dir, name) }

func (s *vswitch) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_DBDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_SYSCONFDIR="+s.dir)
	return cmd
}

// start starts a daemon.
func (s *vswitch) start(name string, args ...string) {
	s.t.Helper()
	cmd := s.command(name, append(args, "--log-file="+s.path(name+".log"), "-vconsole:off")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // where a panic skips the cleanup
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// run runs a command and returns what it printed.
func (s *vswitch) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.command(name, args...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(s.path("ovs-vswitchd.log"))
		s.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, log)
	}
	return string(out)
}

func (s *vswitch) vsctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-vsctl", append([]string{"--db=unix:" + s.path("db.sock"), "--timeout=20"}, args...)...)
}

// ofctl runs a command of ovs-ofctl on br0.
func (s *vswitch) ofctl(command string, args ...string) string {
	s.t.Helper()
	return s.run("ovs-ofctl", append([]string{"-O", "OpenFlow15", "--no-names", command, "unix:" + s.path("br0.mgmt")}, args...)...)
}

func (s *vswitch) appctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-appctl", append([]string{"-t", s.path("ovs-vswitchd.ctl")}, args...)...)
}

// eventually waits for a condition.
func (s *vswitch) eventually(what string, met func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not in 20 s", what)
		}
	}
}

// dialIn makes the listener's address br0's controller and returns the connection
// that the bridge dials.
func (s *vswitch) dialIn(scheme string, l net.Listener) net.Conn {
	s.t.Helper()
	s.vsctl("set-controller", "br0", scheme+":"+l.Addr().String(), "--", "set", "bridge", "br0", "other_config:disable-in-band=true",
		"--", "set", "controller", "br0", "controller_queue_size=512", "max_backoff=1000")
	nc, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return nc
}

// connect returns a connection of br0's controller, primary and set up.
func (s *vswitch) connect(o Options) *Conn {
	s.t.Helper()
	c := s.accept(s.dialIn("tcp", listen(s.t)), o)
	if _, _, err := c.Role(s.within(), RolePrimary, 1); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Setup(s.within()); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// another returns a further connection, with no role.
func (s *vswitch) another(o Options) *Conn {
	s.t.Helper()
	nc, err := net.Dial("unix", s.path("br0.mgmt"))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.accept(nc, o)
}

func (s *vswitch) accept(nc net.Conn, o Options) *Conn {
	s.t.Helper()
	c, err := Accept(s.within(), nc, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		c.Close()
		<-c.Done()
	})
	return c
}

func (s *vswitch) within() context.Context { return within(s.t, 20*time.Second) }

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
