package metadata

import (
	"net/http"
	"sync"
	"sync/atomic"
)

// Silence is why a packet was dropped.
type Silence uint8

const (
	Malformed         Silence = iota // not a TCP segment to a metadata address
	TooManyHandshakes                // the port begins more connections than it completes
	TooManyAddresses                 // the port asks from more addresses than it may
	TooManyClients                   // no synthetic address is left
	silences
)

var silenceTexts = [silences]string{
	Malformed:         "malformed TCP segment to the metadata address",
	TooManyHandshakes: "metadata is asked for by more TCP connections than the port completes",
	TooManyAddresses:  "metadata is asked for from too many addresses of one port",
	TooManyClients:    "metadata is asked for by too many machines at once",
}

var silenceNames = [silences]string{Malformed: "malformed", TooManyHandshakes: "too_many_handshakes", TooManyAddresses: "too_many_addresses", TooManyClients: "too_many_clients"}

// Error is the reason as the operator reads it.
func (s Silence) Error() string { return silenceTexts[s] }

// Name is the reason as a metric's label.
func (s Silence) Name() string { return silenceNames[s] }

// Counts is how often what happened since the server was made.
type Counts struct {
	Answers map[int]uint64   // by HTTP status
	Refused uint64           // connections beyond what a port may have
	Silent  [silences]uint64 // by Silence: packets that were dropped
}

type counters struct {
	mu      sync.Mutex
	answers map[int]uint64
	refused atomic.Uint64
	silent  [silences]atomic.Uint64
}

func (c *counters) answered(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[status]++
}

// Counts reads the counters.
func (s *Server) Counts() (c Counts) {
	s.counters.mu.Lock()
	c.Answers = make(map[int]uint64, len(s.counters.answers))
	for status, n := range s.counters.answers {
		c.Answers[status] = n
	}
	s.counters.mu.Unlock()
	c.Refused = s.counters.refused.Load()
	for i := range c.Silent {
		c.Silent[i] = s.counters.silent[i].Load()
	}
	return c
}

// recorder remembers what was answered, and why.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64  // of the body
	reason string // for a person
}

// fail answers with an error.
func (r *recorder) fail(status int, text, reason string) {
	r.reason = reason
	http.Error(r, text, status)
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets net/http find what else the writer can do.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
