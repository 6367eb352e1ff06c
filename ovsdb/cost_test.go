package ovsdb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
)

// plug fills a host as a running cloud does: both bridges, their controllers
// and table names, and n VIFs that os-vif plugged and the controller noted.
func plug(t testing.TB, h *host, n int) Wanted {
	t.Helper()
	w := wanted("tcp:172.31.0.254:6653")
	s := h.dial()
	defer s.Close()
	commit(t, s, s.Mirror().Plan(w)...)
	b := s.Mirror().Bridge("br-int")
	var ops []Operation
	for i := range n {
		tap, iface, port := fmt.Sprintf("tap%08x-%02x", i*7919, i%256), fmt.Sprintf("i%d", i), fmt.Sprintf("p%d", i)
		ops = append(ops,
			insert("Interface", iface, Row{"name": tap, "ofport": i + 10, "admin_state": "up", "link_state": "up", "mtu": 1450,
				"mac_in_use": fmt.Sprintf("fe:16:3e:00:00:%02x", i%256),
				"external_ids": mapOf(map[string]string{
					"iface-id": fmt.Sprintf("%08x-1111-4222-8333-444444444444", i), "iface-status": "active",
					"attached-mac": fmt.Sprintf("fa:16:3e:00:00:%02x", i%256), "vm-uuid": fmt.Sprintf("%08x-5555-4666-8777-888888888888", i)})}),
			insert("Port", port, Row{"name": tap, "interfaces": reference(iface), "tag": i%20 + 1, "other_config": mapOf(map[string]string{
				"net_uuid": fmt.Sprintf("%08x-9999-4aaa-8bbb-cccccccccccc", i%20), "network_type": "vxlan", "segmentation_id": fmt.Sprint(i%20 + 100), "tag": fmt.Sprint(i%20 + 1)})}),
			add("Bridge", b.UUID, "ports", port))
	}
	commit(t, s, ops...)
	return w
}

// heap is the live heap and all stacks, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestHeapPerHost measures 200 sessions with 100 VIFs each, mirrors complete and kept.
func TestHeapPerHost(t *testing.T) {
	const hosts, vifs, limit = 200, 100, 250 << 10
	h := newHost(t)
	plug(t, h, vifs)
	before := heap()
	var sessions []*Session
	for range hosts {
		sessions = append(sessions, h.dial())
	}
	// Each has followed an update, and made a transaction.
	commit(t, sessions[0], SetExternalIDs("Open_vSwitch", sessions[0].Mirror().OpenVSwitch.UUID, map[string]string{"a": "b"}))
	for _, s := range sessions {
		until(t, s, "update", func(m *Mirror) bool { return m.OpenVSwitch.ExternalIDs["a"] == "b" })
		commit(t, s, SetExternalIDs("Open_vSwitch", s.Mirror().OpenVSwitch.UUID, map[string]string{"a": "b"}))
	}
	each := (heap() - before) / hosts
	for _, s := range sessions {
		if n := len(s.Mirror().Interfaces); n < vifs {
			t.Fatalf("%d interfaces in a mirror", n)
		}
	}
	t.Logf("%d KiB of heap and stack a host with %d interfaces", each>>10, len(sessions[0].Mirror().Interfaces))
	if each > limit {
		t.Errorf("%d bytes a host, more than %d", each, limit)
	}
}

// BenchmarkStart is a host's (re)connection: the whole mirror of 100 VIFs, ovsdb-server's work included.
func BenchmarkStart(b *testing.B) {
	h := newHost(b)
	plug(b, h, 100)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("unix", h.path("db.sock"))
		if err != nil {
			b.Fatal(err)
		}
		s := New(c, Options{})
		if err := s.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// BenchmarkInitial decodes and applies that mirror's text, ours alone.
func BenchmarkInitial(b *testing.B) {
	text := initialText(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		c := &cursor{b: text}
		if new(Mirror).apply(c); c.err != nil {
			b.Fatal(c.err)
		}
	}
}

// BenchmarkUpdate applies one VIF's new ofport to a mirror of 100.
func BenchmarkUpdate(b *testing.B) {
	m := new(Mirror)
	m.apply(&cursor{b: initialText(b)})
	var update []byte
	for id := range m.Interfaces {
		update = []byte(`{"Interface":{"` + id + `":{"modify":{"ofport":7,"link_state":"up"}}}}`)
	}
	b.ReportAllocs()
	for b.Loop() {
		c := &cursor{b: update}
		if m.following().apply(c); c.err != nil {
			b.Fatal(c.err)
		}
	}
}

// BenchmarkPlanSettled plans a host where nothing is to be done.
func BenchmarkPlanSettled(b *testing.B) {
	h := newHost(b)
	w := plug(b, h, 100)
	m := h.dial().Mirror()
	b.ReportAllocs()
	for b.Loop() {
		if m.Plan(w) != nil {
			b.Fatal("something to do")
		}
	}
}

// initialText is what ovsdb-server sends for a host of 100 VIFs.
func initialText(t testing.TB) []byte {
	h := newHost(t)
	plug(t, h, 100)
	c, err := net.Dial("unix", h.path("db.sock"))
	if err != nil {
		t.Fatal(err)
	}
	tap := &recorder{Conn: c}
	startSession(t, tap).Close()
	var reply struct{ Result []json.RawMessage }
	if err := json.NewDecoder(strings.NewReader(tap.read.String())).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	return reply.Result[2]
}

// recorder keeps what is read.
type recorder struct {
	net.Conn
	read bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.read.Write(b[:n])
	return n, err
}
