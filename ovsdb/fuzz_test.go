package ovsdb

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	someUUID  = "11111111-2222-3333-4444-555555555555"
	otherUUID = "66666666-7777-8888-9999-aaaaaaaaaaaa"
)

// FuzzFrame cuts a stream into messages, however it arrives.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"id":"echo","method":"echo","params":[]}`+"\n"+`{"a":"}\"{\\"}  {}`), byte(1))
	f.Add([]byte(`{"a":[[[]]]}]`), byte(3))
	f.Add([]byte(` {{{{"`), byte(200))
	f.Fuzz(func(t *testing.T, stream []byte, chunk byte) {
		whole, wholeErr := frames(stream, len(stream)+1)
		pieces, piecesErr := frames(stream, int(chunk)+1)
		if len(whole) != len(pieces) || (wholeErr == nil) != (piecesErr == nil) {
			t.Fatalf("%q, %v at once; %q, %v in pieces", whole, wholeErr, pieces, piecesErr)
		}
		for i, msg := range whole {
			if msg != pieces[i] || msg[0] != '{' || len(msg) > 64 || !strings.Contains(string(stream), msg) {
				t.Fatalf("message %q at once, %q in pieces", msg, pieces[i])
			}
		}
	})
}

// frames runs a stream through a framer in chunks.
func frames(stream []byte, chunk int) (messages []string, err error) {
	f := framer{max: 64}
	for {
		msg, err := f.next()
		switch {
		case err != nil:
			return messages, err
		case msg != nil:
			messages = append(messages, string(msg))
			continue
		case len(stream) == 0:
			return messages, nil
		}
		room := f.room()
		n := copy(room[:min(len(room), chunk)], stream)
		stream = stream[n:]
		f.received(n)
	}
}

// FuzzCursor holds the cursor against encoding/json.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e+3,"\u00e4\n",true,null]}`, `[01]`, `"\x"`, `[1,]`, `{"a":}`, `-`, `1.`, "\"\t\"", `{} {}`, `"\ud800"`, "\"\\u0\x1500\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := cursor{b: text}
		raw := c.raw()
		c.end()
		if c.err != nil && strings.Contains(c.err.Error(), "nested deeper") {
			return
		}
		if valid := json.Valid(text); valid != (c.err == nil) {
			t.Fatalf("%q: valid %v, cursor %v", text, valid, c.err)
		}
		if c.err != nil {
			return
		}
		if string(raw) != string(bytes.Trim(text, " \t\r\n")) {
			t.Fatalf("%q read as %q", text, raw)
		}
		var s string
		if raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
			c = cursor{b: text}
			if got := c.text(); bytes.IndexByte(raw, '\\') >= 0 && string(got) != s {
				t.Fatalf("%q is %q, not %q", raw, s, got)
			}
		}
	})
}

// FuzzUpdate applies <table-updates2> to a mirror. Whatever they are, the
// mirror they are applied to stays as it was.
func FuzzUpdate(f *testing.F) {
	base := (&Mirror{}).following()
	c := &cursor{b: []byte(`{"Open_vSwitch":{"` + someUUID + `":{"initial":{"bridges":["uuid","` + someUUID + `"],"external_ids":["map",[["a","b"]]]}}},
		"Bridge":{"` + someUUID + `":{"insert":{"name":"br-int","protocols":["set",["OpenFlow10","OpenFlow15"]],"flow_tables":["map",[[0,["uuid","` + someUUID + `"]]]]}}},
		"Port":{"` + someUUID + `":{"insert":{"name":"p","tag":5,"trunks":["set",[1,2,3]]}}}}`)}
	if base.apply(c); c.err != nil {
		f.Fatal(c.err)
	}
	for _, seed := range []string{
		`{"Bridge":{"` + someUUID + `":{"modify":{"protocols":["set",["OpenFlow15","OpenFlow14"]],"fail_mode":["set",[]],"flow_tables":["map",[[0,["uuid","` + otherUUID + `"]]]]}}}}`,
		`{"Port":{"` + someUUID + `":{"delete":null},"` + otherUUID + `":{"insert":{"tag":["set",[]],"later":[{}],"trunks":7}}}}`,
		`{"Open_vSwitch":{"` + someUUID + `":{"modify":{"external_ids":["map",[["a","b"],["c","d"]]],"next_cfg":3}}}}`,
		`{"Port":{"` + someUUID + `":{"modify":{"tag":["set",[1,2]]}}}}`, `{"Manager":{}}`, `{"Port":{"x":{}}}`, `[`,
	} {
		f.Add([]byte(seed))
	}
	before := mirrorText(base)
	f.Fuzz(func(t *testing.T, text []byte) {
		next := base.following()
		c := &cursor{b: text}
		next.apply(c)
		c.end()
		if after := mirrorText(base); after != before {
			t.Fatalf("%s wrote to the mirror before it:\n%s\n%s", text, before, after)
		}
		if c.err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q applied", text)
		}
		next.Plan(wanted("tcp:127.0.0.1:1"))
		for _, b := range next.Bridges {
			for _, i := range next.Attached(b) {
				next.BridgeOf(i)
			}
		}
	})
}

func mirrorText(m *Mirror) string {
	return rowText([]any{m.OpenVSwitch, m.Bridges, m.Ports, m.Interfaces, m.Controllers, m.Managers, m.FlowTables})
}

// FuzzMessage has a session handle any message, while it waits for the reply
// to a transaction (id 1) and to a steal (id 2).
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"error":null,"result":[{"count":1},{"uuid":["uuid","` + someUUID + `"]}]}`,
		`{"id":1,"error":null,"result":[{"error":"timed out","details":"x"},null]}`,
		`{"id":1,"error":null,"result":[{},{},{"error":"constraint violation"}]}`,
		`{"id":1,"error":{"error":"syntax error","details":"no","syntax":"[]"},"result":null}`,
		`{"id":2,"error":null,"result":{"locked":true}}`,
		`{"id":null,"method":"stolen","params":["tunbridge"]}`,
		`{"id":null,"method":"update3","params":["Open_vSwitch","` + someUUID + `",{"Port":{"` + someUUID + `":{"insert":{"name":"p"}}}}]}`,
		`{"id":"echo","method":"echo","params":[]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		s := &Session{conn: nowhere{}, done: make(chan struct{}), pending: make(map[int]replyHandler),
			o: Options{MaxMessage: 1 << 20, Logger: slog.New(slog.DiscardHandler)}, lock: "tunbridge"}
		s.mirror.Store(&Mirror{changed: make(chan struct{}), OpenVSwitch: &OpenVSwitch{UUID: someUUID}})
		answered := 0
		s.pending[1] = func(result []byte, refused error) error {
			answered++
			c := &cursor{b: result}
			results := decodeResults(c, 2)
			c.end()
			if c.err == nil && len(results) != 2 && (len(results) != 3 || !failed(results)) {
				t.Fatalf("%d results for 2 operations in %s", len(results), result)
			}
			return c.err
		}
		s.pending[2] = func([]byte, error) error { answered++; return nil }
		if err := s.handle(msg); err == nil && !json.Valid(msg) {
			t.Fatalf("%q handled", msg)
		}
		if answered+len(s.pending) != 2 {
			t.Fatalf("%d requests answered, %d pending, after %s", answered, len(s.pending), msg)
		}
	})
}

func failed(results []OperationResult) bool {
	for _, r := range results {
		if r.Error != "" {
			return true
		}
	}
	return false
}

// nowhere is a connection whose peer is gone.
type nowhere struct{ net.Conn }

func (nowhere) Write([]byte) (int, error)        { return 0, errors.New("gone") }
func (nowhere) Read([]byte) (int, error)         { return 0, io.EOF }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) Close() error                     { return nil }
func (nowhere) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "nowhere"} }

func TestSymmetricDifference(t *testing.T) {
	// Every pair of subsets of four elements.
	subset := func(bits int) (s []int) {
		for i := range 4 {
			if bits&(1<<i) != 0 {
				s = append(s, i)
			}
		}
		return s
	}
	for a := range 16 {
		for b := range 16 {
			got, want := symmetricDifference(subset(a), subset(b)), subset(a^b)
			if !maps.Equal(index(got), index(want)) || len(got) != len(want) {
				t.Errorf("%v and %v differ by %v, not %v", subset(a), subset(b), want, got)
			}
		}
	}
}

func index(s []int) map[int]bool {
	m := make(map[int]bool)
	for _, e := range s {
		m[e] = true
	}
	return m
}
