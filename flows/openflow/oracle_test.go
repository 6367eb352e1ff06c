package openflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests judge this package by Open vSwitch: what ovs-ofctl sends, what it makes
// of our bytes, and what ovs-vswitchd gives back.

// run runs a command of Open vSwitch.
func run(t testing.TB, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// printed is what ovs-ofctl makes of concatenated messages, a line for each.
func printed(t testing.TB, messages []byte) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "messages")
	if err := os.WriteFile(file, messages, 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(run(t, nil, "ovs-ofctl", "ofp-parse", file), "\n"), "\n")
}

// inFile is the path of a file with these lines.
func inFile(t testing.TB, lines ...string) string {
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// recorded is the messages that ovs-ofctl sends when it runs command with arg against
// a switch, ours, that agrees to all it is told.
func recorded(t testing.TB, command, arg string) []Frame {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var frames []Frame
	var served sync.WaitGroup
	served.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			frames = append(frames, agree(nc)...)
			nc.Close()
		}
	})
	run(t, nil, "ovs-ofctl", "-O", "OpenFlow15", "--no-names", command, "tcp:"+listener.Addr().String(), arg)
	listener.Close()
	served.Wait()
	return frames
}

// agree plays a switch that says yes, and returns what it was told.
func agree(nc net.Conn) (frames []Frame) {
	for {
		f, err := readFrame(nc)
		if err != nil {
			return frames
		}
		var reply []byte
		switch f.Type() {
		case TypeHello:
			reply, _ = Hello{}.AppendTo(nil, f.XID())
		case TypeBarrierRequest:
			reply = begin(nil, TypeBarrierReply, f.XID())
			reply[3] = HeaderLen
		case TypeBundleControl:
			var m BundleControl
			if m.Decode(f) != nil {
				return frames
			}
			m.Command++
			reply, _ = m.AppendTo(nil, f.XID())
		case TypeBundleAdd:
			frames = append(frames, f[HeaderLen+8:])
		default:
			frames = append(frames, f)
		}
		if _, err := nc.Write(reply); err != nil {
			return frames
		}
	}
}

func readFrame(r io.Reader) (Frame, error) {
	f := make(Frame, HeaderLen)
	if _, err := io.ReadFull(r, f); err != nil {
		return nil, err
	}
	if f.Length() < HeaderLen {
		return nil, fmt.Errorf("a message of %d bytes", f.Length())
	}
	f = append(f, make([]byte, f.Length()-HeaderLen)...)
	_, err := io.ReadFull(r, f[HeaderLen:])
	return f, err
}

// vswitch is a real ovs-vswitchd with one bridge, br, on dummy devices.
type vswitch struct {
	t    testing.TB
	dir  string
	conn net.Conn
	xid  uint32
}

// startSwitch starts a switch that lives as long as the test, with ports 1 to 4 on
// its bridge and an OpenFlow 1.5 connection to it.
func startSwitch(t testing.TB) *vswitch {
	t.Helper()
	dir, err := os.MkdirTemp("", "of") // t.TempDir's names are too long for a unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &vswitch{t: t, dir: dir}
	env := []string{"OVS_RUNDIR=" + dir, "OVS_LOGDIR=" + dir, "OVS_DBDIR=" + dir}
	db := "unix:" + dir + "/db.sock"
	run(t, env, "ovsdb-tool", "create", dir+"/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
	s.start(env, "/usr/sbin/ovsdb-server", dir+"/conf.db", "--remote=punix:"+dir+"/db.sock", "--unixctl="+dir+"/db.ctl")
	s.await(dir + "/db.sock")
	run(t, env, "ovs-vsctl", "--db="+db, "--no-wait", "init")
	s.start(env, "/usr/sbin/ovs-vswitchd", db, "--enable-dummy=override", "--disable-system", "--unixctl="+dir+"/vs.ctl")
	args := []string{"--db=" + db, "add-br", "br", "--", "set", "bridge", "br", "fail_mode=secure", "protocols=OpenFlow15"}
	for i := 1; i <= 4; i++ {
		p := fmt.Sprintf("p%d", i)
		args = append(args, "--", "add-port", "br", p, "--", "set", "interface", p, "type=dummy", fmt.Sprintf("ofport_request=%d", i))
	}
	run(t, env, "ovs-vsctl", args...)
	s.await(dir + "/br.mgmt")
	if s.conn, err = net.Dial("unix", dir+"/br.mgmt"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	s.send(Hello{})
	if f := s.receive(); f.Type() != TypeHello {
		t.Fatalf("the switch began with %v", f.Type())
	}
	return s
}

// start runs a daemon until the test ends.
func (s *vswitch) start(env []string, name string, args ...string) {
	cmd := exec.Command(name, append(args, "--log-file="+filepath.Join(s.dir, filepath.Base(name)+".log"))...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = s.dir
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func (s *vswitch) await(path string) {
	for range 500 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%s does not appear", path)
}

// ofctl runs ovs-ofctl against the bridge.
func (s *vswitch) ofctl(command string, args ...string) string {
	s.t.Helper()
	return run(s.t, nil, "ovs-ofctl", append([]string{"-O", "OpenFlow15", "--no-names", command, "unix:" + s.dir + "/br.mgmt"}, args...)...)
}

func (s *vswitch) send(messages ...Message) {
	s.t.Helper()
	var b []byte
	for _, m := range messages {
		s.xid++
		var err error
		if b, err = m.AppendTo(b, s.xid); err != nil {
			s.t.Fatal(err)
		}
	}
	s.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := s.conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *vswitch) receive() Frame {
	s.t.Helper()
	f, err := readFrame(s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// do sends the messages and returns the errors, by index of the message.
func (s *vswitch) do(messages ...Message) map[int]*Error {
	s.t.Helper()
	refused := map[int]*Error{}
	for at := 0; at < len(messages); {
		part := messages[at:min(at+200, len(messages))] // so that neither side's buffer fills
		first := s.xid + 1
		s.send(append(part[:len(part):len(part)], Barrier{})...)
		for {
			f := s.receive()
			if f.Type() == TypeBarrierReply {
				break
			}
			if f.Type() == TypeError {
				e := new(Error)
				if err := e.Decode(f); err != nil {
					s.t.Fatal(err)
				}
				refused[at+int(f.XID()-first)] = e
			}
		}
		at += len(part)
	}
	return refused
}

// mustDo is do for messages that the switch must accept.
func (s *vswitch) mustDo(messages ...Message) {
	s.t.Helper()
	for i, e := range s.do(messages...) {
		s.t.Errorf("%v: %v", messages[i], e)
	}
}

// ask sends a multipart request and calls each with the body of every reply.
func (s *vswitch) ask(m Message, each func(b []byte) error) {
	s.t.Helper()
	s.send(m)
	for {
		f := s.receive()
		if f.Type() == TypeError {
			e := new(Error)
			s.t.Fatal(errors.Join(e.Decode(f), e))
		}
		if f.XID() != s.xid {
			continue
		}
		_, more, body, err := ParseMultipart(f)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := each(body); err != nil {
			s.t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

// flows dumps all flows.
func (s *vswitch) flows() (list []FlowStats) {
	s.t.Helper()
	s.ask(FlowStatsRequest{Table: TableAll}, func(b []byte) error {
		for len(b) > 0 {
			flow, rest, err := ParseFlowStats(b)
			if err != nil {
				return err
			}
			list, b = append(list, flow), rest
		}
		return nil
	})
	return list
}

func mustAppend(t testing.TB, b []byte, m Message, xid uint32) []byte {
	t.Helper()
	b, err := m.AppendTo(b, xid)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return b
}

// sameBytes compares two messages but for their xids.
func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	got, want = bytes.Clone(got), bytes.Clone(want)
	binary.BigEndian.PutUint32(got[4:], 0)
	binary.BigEndian.PutUint32(want[4:], 0)
	if !bytes.Equal(got, want) {
		t.Errorf("%s\n got %x\nwant %x", what, got, want)
	}
}
