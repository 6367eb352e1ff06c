package ovsdb

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// peer is the other end of a session, in the test's hands.
func newPeer(t *testing.T, o Options) (*Session, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := New(c, o)
	t.Cleanup(func() { s.Close() })
	return s, peer
}

// TestHostilePeer: whatever a peer does, its session ends, in time, with a reason.
func TestHostilePeer(t *testing.T) {
	defer goleak.VerifyNone(t)
	send := func(text string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, text) }
	}
	nested := `{"method":"echo","params":` + strings.Repeat("[", 100_000)
	const root = "11111111-1111-1111-1111-111111111111"
	monitored := `{"id":1,"error":null,"result":[false,"x",{"Open_vSwitch":{"` + root + `":{"initial":{}}}}]}`
	for name, test := range map[string]struct {
		act  func(net.Conn)
		want string
	}{
		"garbage":           {send("GET / HTTP/1.1\r\n"), "not JSON-RPC: a message begins with 'G'"},
		"TLS":               {send("\x16\x03\x01"), "the peer speaks TLS"},
		"not an object":     {send(`[1]`), "not JSON-RPC"},
		"mismatched":        {send(`{"a":[}}]`), "malformed message: at byte 6"},
		"nested":            {send(nested), "nested deeper than 32"},
		"long":              {send(`{"method":"` + strings.Repeat("x", 10_000)), "longer than 8192 bytes"},
		"stalled":           {send(`{"method":"echo","par`), "stalled in the middle of a message, after 21 bytes"},
		"dribbling":         {dribble, "stalled in the middle of a message"},
		"silent":            {func(net.Conn) {}, "no answer to an echo request within 100ms"},
		"gone":              {func(c net.Conn) { c.Close() }, "the host closed the connection"},
		"never reads":       {flood, "bytes waiting to be written"},
		"reply to nothing":  {send(`{"id":99,"result":{},"error":null}`), `reply with id "99", which no request of ours has`},
		"reply without id":  {send(`{"id":null,"error":"what?"}`), `(error "what?")`},
		"early update":      {send(`{"id":null,"method":"update3","params":["Open_vSwitch","x",{}]}`), "update3: at byte 0: no monitor yet"},
		"no params":         {send(`{"id":null,"method":"stolen"}`), "stolen: no params"},
		"canceled":          {send(`{"id":null,"method":"monitor_canceled","params":["Open_vSwitch"]}`), "the database is being replaced"},
		"wrong reply":       {send(`{"id":1,"result":7,"error":null}`), "reply to monitor_cond_since: at byte 0: want '['"},
		"no result":         {send(`{"id":1}`), "reply to monitor_cond_since"},
		"wrong type":        {send(strings.Replace(monitored, `{}`, `{"next_cfg":"one"}`, 1)), "table Open_vSwitch: column next_cfg: at byte"},
		"modified unknown":  {send(monitored + `{"id":null,"method":"update3","params":["Open_vSwitch","x",{"Port":{"` + root + `":{"modify":{}}}}]}`), "row " + root + " modified, but never inserted"},
		"inserted twice":    {send(monitored + `{"id":null,"method":"update3","params":["Open_vSwitch","x",{"Open_vSwitch":{"` + root + `":{"insert":{}}}}]}`), "inserted twice"},
		"root row removed":  {send(monitored + `{"id":null,"method":"update3","params":["Open_vSwitch","x",{"Open_vSwitch":{"` + root + `":{"delete":null}}}]}`), "table Open_vSwitch has 0 rows"},
		"not a UUID":        {send(strings.Replace(monitored, root, "x", 1)), `"x" is not a UUID`},
		"unasked table":     {send(strings.Replace(monitored, `"Open_vSwitch":{`, `"QoS":{`, 1)), `update of table "QoS"`},
		"unterminated word": {send(`{"\u12`), "stalled"},
	} {
		t.Run(name, func(t *testing.T) {
			s, peer := newPeer(t, Options{EchoInterval: 200 * time.Millisecond, EchoTimeout: 100 * time.Millisecond, MaxMessage: 8192})
			defer s.Close()
			started := make(chan error, 1)
			if name == "silent" {
				started <- nil
			} else {
				go func() { started <- s.Start(testContext(t)) }()
				var request json.RawMessage // its id is 1
				if err := json.NewDecoder(peer).Decode(&request); err != nil {
					t.Fatal(err)
				}
			}
			test.act(peer)
			select {
			case <-s.Done():
			case <-time.After(5 * time.Second):
				t.Fatal("the session lives")
			}
			if text := s.Err().Error(); !strings.Contains(text, test.want) || !strings.Contains(text, peer.LocalAddr().String()) {
				t.Errorf("error %q, want %q with the peer's address", text, test.want)
			}
			select {
			case <-started:
			case <-time.After(5 * time.Second):
				t.Error("Start still waits")
			}
		})
	}
}

// dribble sends one byte at a time, each well within the time-out.
func dribble(c net.Conn) {
	for _, err := io.WriteString(c, "{"); err == nil; _, err = io.WriteString(c, " ") {
		time.Sleep(20 * time.Millisecond)
	}
}

// flood asks for echoes and takes none.
func flood(c net.Conn) {
	message := []byte(`{"id":"e","method":"echo","params":["` + strings.Repeat("x", 4000) + `"]}`)
	for err := error(nil); err == nil; {
		_, err = c.Write(message)
	}
}

// TestPeerAsks answers echo with what was sent, whatever the id, and refuses
// methods that are not ours; words and columns of the future are passed over.
func TestPeerAsks(t *testing.T) {
	s, peer := newPeer(t, Options{})
	replies := json.NewDecoder(peer)
	for _, test := range []struct{ ask, want string }{
		{`{"id":"echo","method":"echo","params":[]}`, `{"id":"echo","result":[],"error":null}`},
		{"\n {\"method\":\"echo\",\"params\":[{\"a}\":\"\\\"]\"}],\"id\":{\"x\":1}}\n", `{"id":{"x":1},"result":[{"a}":"\"]"}],"error":null}`},
		{`{"id":null,"method":"news","params":[]}{"id":7,"method":"reboot","params":[],"later":1}`, `{"id":7,"result":null,"error":"unknown method"}`},
	} {
		for i := range len(test.ask) { // byte by byte
			io.WriteString(peer, test.ask[i:i+1])
		}
		var got json.RawMessage
		if err := replies.Decode(&got); err != nil {
			t.Fatal(err, s.Err())
		}
		if string(got) != test.want {
			t.Errorf("asked %s, got %s, want %s", test.ask, got, test.want)
		}
	}
}

// TestPendingIsBounded: a peer that answers nothing is not asked for ever.
func TestPendingIsBounded(t *testing.T) {
	s, peer := newPeer(t, Options{})
	go io.Copy(io.Discard, peer)
	for i := range maxPending {
		if err := s.request("echo", []any{}, func([]byte, error) error { return nil }); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := s.Echo(testContext(t)); err == nil || !strings.Contains(err.Error(), "requests without a reply") {
		t.Errorf("one more: %v", err)
	}
}
