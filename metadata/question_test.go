package metadata

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A controller is killed while Nova thinks about a request. The machine says it again to the next controller,
// which resets the connection.
func TestTakeover(t *testing.T) {
	t.Parallel()
	asked, think := make(chan struct{}, 1), make(chan struct{})
	nova := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-think
		fmt.Fprint(w, "late")
	}))
	t.Cleanup(nova.Close)
	t.Cleanup(func() { close(think) })
	at, err := url.Parse(nova.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Nova: at, Secret: []byte("secret")})
	v := deployment(1)
	n := v.Networks[0]
	g := boot(t, s, v, n, n.Local[0], uint32(n.MTU))
	for _, to := range []string{"169.254.169.254:80", "[fe80::a9fe:a9fe]:80"} {
		g.server.Store(s)
		c, err := g.http.Transport.(*http.Transport).DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /latest HTTP/1.1\r\nHost: metadata\r\n\r\n")
		<-asked
		g.server.Store(serve(t, Options{Nova: at, Secret: []byte("secret")}))
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if r, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %+v, error %v", to, r, err)
		}
	}
}

// An answer that takes its time comes, and so does a request in two parts.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	nova := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(acknowledgeWithin + time.Second)
		fmt.Fprint(w, "late")
	}))
	t.Cleanup(nova.Close)
	at, err := url.Parse(nova.URL)
	if err != nil {
		t.Fatal(err)
	}
	v := deployment(1)
	n := v.Networks[0]
	g := boot(t, serve(t, Options{Nova: at, Secret: []byte("secret")}), v, n, n.Local[0], uint32(n.MTU))
	if got := g.get(t, "/latest"); got != "late" {
		t.Errorf("answered with %q", got)
	}
	c, err := g.http.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "169.254.169.254:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, part := range []string{"GET /latest HTTP/1.1\r\n", "Host: metadata\r\n\r\n"} {
		fmt.Fprint(c, part)
		time.Sleep(50 * time.Millisecond)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("a request in two parts: %v, error %v", r, err)
	}
}

// What is withheld is the acknowledgement of a whole request and nothing else, and not for long.
func TestWithheld(t *testing.T) {
	const port, start = 40000, 1000
	head := func(flags byte, sequence, acknowledgement uint32, payload string) []byte {
		b := []byte{0, 80, port >> 8, port & 0xff, byte(sequence >> 24), byte(sequence >> 16), byte(sequence >> 8), byte(sequence),
			byte(acknowledgement >> 24), byte(acknowledgement >> 16), byte(acknowledgement >> 8), byte(acknowledgement), 5 << 4, flags, 0, 0, 0, 0, 0, 0}
		return append(b, payload...)
	}
	request := func(payload string) *segment {
		b := head(flagACK, start, 1, payload)
		b[0], b[1], b[2], b[3] = port>>8, port&0xff, 0, 80
		return &segment{packet: b}
	}
	const get = "GET / HTTP/1.1\r\n\r\n"
	now := time.Now()
	for _, c := range []struct {
		name  string
		heard string
		sent  []byte
		after time.Duration
		want  bool
	}{
		{"nothing was asked", "", head(flagACK, 1, start, ""), 0, false},
		{"a request", get, head(flagACK, 1, start+uint32(len(get)), ""), 0, true},
		{"a part of it", get, head(flagACK, 1, start+3, ""), 0, false},
		{"more than it", get, head(flagACK, 1, start+uint32(len(get))+1, ""), 0, false},
		{"its answer", get, head(flagACK|flagPSH, 1, start+uint32(len(get)), "HTTP/1.1 200 OK"), 0, false},
		{"a reset", get, head(flagACK|4, 1, start+uint32(len(get)), ""), 0, false},
		{"a request, long ago", get, head(flagACK, 1, start+uint32(len(get)), ""), acknowledgeWithin, false},
		{"the begin of a request", get[:8], head(flagACK, 1, start+8, ""), 0, false},
		{"the end of a request", get[8:], head(flagACK, 1, start+uint32(len(get[8:])), ""), 0, false},
		{"a request with a body", "PO" + get, head(flagACK, 1, start+uint32(len(get))+2, ""), 0, false},
	} {
		var q questions
		q.heard(request(c.heard), now)
		q.heard(request(c.heard), now.Add(c.after)) // the machine says it again
		if got := q.withholds(c.sent, now.Add(c.after)); got != c.want {
			t.Errorf("%s: withheld %t", c.name, got)
		}
	}
	var q questions
	q.heard(request(get), now)
	q.withholds(head(flagACK, 1, start+uint32(len(get)), "HTTP"), now)
	if q.withholds(head(flagACK, 5, start+uint32(len(get)), ""), now) {
		t.Error("withheld after the answer")
	}
	for p := range 2 * maxQuestions {
		s := request(get)
		s.packet[1] = byte(p)
		q.heard(s, now)
	}
	if len(q.waiting) != maxQuestions {
		t.Errorf("%d requests wait", len(q.waiting))
	}
}
