package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/flows"
)

// rememberTime is how long it is remembered what a port asked last.
const rememberTime = 24 * time.Hour

// Limits of what is kept of a request's and an answer's head.
const (
	maxLines = 32
	maxLine  = 200 // bytes
)

// Asked is what a port asked within the last day, since the controller began. Answers' bodies are not
// kept: user data may hold secrets.
type Asked struct {
	Segments uint64    // TCP segments, those that were dropped included
	Seen     time.Time // the last of them; zero: none
	Requests uint64
	Last     *Exchange // the last request; nil: none
	Refused  uint64    // connections beyond what a port may have at a time
	Silent   [silences]uint64
}

// Exchange is one request and what became of it. It is immutable.
type Exchange struct {
	At      time.Time
	From    netip.Addr // what the machine calls itself
	Request string     // method and path
	Status  int        // HTTP's; 0: the machine hung up
	Bytes   int64      // of the answer's body
	Took    time.Duration
	Reason  string // why that answer
	// Both heads, a line each; no bodies.
	RequestHead, AnswerHead []string
}

// Asked tells what a port asked.
func (s *Server) Asked(port uuid.UUID) Asked {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	if a := s.clients.asked[port]; a != nil {
		return *a
	}
	return Asked{}
}

// Serves says whom a port is taken for and where its answers come from; ok is false if there are none for it.
func (s *Server) Serves(v *flows.View, n *flows.Network, p *flows.LocalPort) (text string, ok bool) {
	return s.source.serves(&machine{port: p.Port, network: n, view: v})
}

// exchangeOf is what is kept of a request that was answered.
func exchangeOf(r *http.Request, from netip.Addr, answer *recorder, at time.Time) *Exchange {
	path := r.Method + " " + r.URL.RequestURI()
	return &Exchange{
		At: at, From: from, Request: cut(path), Status: answer.status, Bytes: answer.bytes, Took: time.Since(at),
		Reason:      cmp.Or(answer.reason, "the machine hung up"),
		RequestHead: slices.Insert(head(path+" "+r.Proto, r.Header), 1, cut("Host: "+r.Host)), // which net/http keeps apart
		AnswerHead:  head(fmt.Sprintf("%d %s", answer.status, http.StatusText(answer.status)), answer.Header()),
	}
}

// head is the first line and the headers, within limits.
func head(first string, h http.Header) []string {
	lines := []string{cut(first)}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			if len(lines) == maxLines {
				return append(lines, "…")
			}
			lines = append(lines, cut(name+": "+value))
		}
	}
	return lines
}

// cut shortens a line that a machine made.
func cut(line string) string {
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + "…"
	}
	return line
}

// of finds or makes what is remembered of a port. t.mu is held.
func (t *clients) of(port uuid.UUID) *Asked {
	a := t.asked[port]
	if a == nil {
		a = &Asked{}
		t.asked[port] = a
	}
	return a
}

// dropped remembers a segment that was dropped.
func (t *clients) dropped(port uuid.UUID, why Silence, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(port)
	a.Segments, a.Seen = a.Segments+1, now
	a.Silent[why]++
}

// answered remembers a request.
func (t *clients) answered(port uuid.UUID, x *Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(port)
	a.Requests++
	a.Last = x
}
