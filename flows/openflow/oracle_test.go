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

// ofctl runs ovs-ofctl and returns what it printed to its standard output.
func ofctl(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("ovs-ofctl", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ovs-ofctl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
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
	return strings.Split(strings.TrimSuffix(ofctl(t, "ofp-parse", file), "\n"), "\n")
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
	listener := listen(t)
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
	ofctl(t, "-O", "OpenFlow15", "--no-names", command, "tcp:"+listener.Addr().String(), arg)
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

// bridge is the bridge of a vswitch of its own, over a connection that shows each message.
type bridge struct {
	*vswitch
	conn net.Conn
	xid  uint32
}

// startBridge starts a switch that lives as long as the test and connects to it.
func startBridge(t testing.TB) *bridge {
	t.Helper()
	s := &bridge{vswitch: startVSwitch(t)}
	var err error
	if s.conn, err = net.Dial("unix", s.path("br0.mgmt")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	s.send(Hello{})
	if f := s.receive(); f.Type() != TypeHello {
		t.Fatalf("the switch began with %v", f.Type())
	}
	return s
}

func (s *bridge) send(messages ...Message) {
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

func (s *bridge) receive() Frame {
	s.t.Helper()
	f, err := readFrame(s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// do sends the messages and returns the errors, by index of the message.
func (s *bridge) do(messages ...Message) map[int]*Error {
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
func (s *bridge) mustDo(messages ...Message) {
	s.t.Helper()
	for i, e := range s.do(messages...) {
		s.t.Errorf("%v: %v", messages[i], e)
	}
}

// ask sends a multipart request and calls each with the body of every reply.
func (s *bridge) ask(m Message, each func(b []byte) error) {
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
func (s *bridge) flows() (list []FlowStats) {
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
