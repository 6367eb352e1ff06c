package metadata

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"
)

// acknowledgeWithin is how long a request waits to be acknowledged, if it is not answered before. Linux
// repeats it after 0.2, 0.6, 1.4 and 3 s; machines give up a connection on which nothing is acknowledged, but
// not so soon.
const acknowledgeWithin = 5 * time.Second

// maxQuestions is how many requests of one client wait to be acknowledged; others are at once.
const maxQuestions = maxConnections

// questions are requests of one client that its machine has reason to repeat: TCP acknowledges a request with
// its answer, and not before. So no machine waits in vain for the answer of a controller that was killed: it
// says its request again, to the next one, which does not know the connection and resets it. And an answer
// that comes soon, as nearly all do, takes a packet less.
//
// That holds for a GET that is all in one segment. A larger request's segments are acknowledged as they come,
// since the machine may wait for that before it sends the rest (RFC 9293 section 3.7.4).
type questions struct {
	mu      sync.Mutex
	waiting map[uint16]question // by the machine's TCP port
}

type question struct {
	end   uint32 // the sequence number behind it
	since time.Time
}

// question gives the machine's TCP port, and the sequence number behind the request, if the segment holds one.
func (s *segment) question() (port uint16, end uint32, ok bool) {
	tcp := s.packet[s.tcp:]
	payload := tcp[int(tcp[atTCPOffset]>>4)*4:]
	if !bytes.HasPrefix(payload, []byte("GET ")) || !bytes.HasSuffix(payload, []byte("\r\n\r\n")) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint32(tcp[atTCPSequence:]) + uint32(len(payload)), true
}

// heard remembers the request that a segment may hold.
func (q *questions) heard(s *segment, now time.Time) {
	port, end, ok := s.question()
	if !ok {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch last, repeated := q.waiting[port]; {
	case repeated && last.end == end:
	case !repeated && len(q.waiting) >= maxQuestions:
	case q.waiting == nil:
		q.waiting = map[uint16]question{port: {end, now}}
	default:
		q.waiting[port] = question{end, now}
	}
}

// withholds says whether a TCP segment to the machine is better not sent: it does nothing but acknowledge a
// request that waits for its answer. Any other segment that is more than an acknowledgement ends the wait.
func (q *questions) withholds(tcp []byte, now time.Time) bool {
	port := binary.BigEndian.Uint16(tcp[atTCPDst:])
	q.mu.Lock()
	defer q.mu.Unlock()
	waits, ok := q.waiting[port]
	if !ok {
		return false
	}
	if tcp[atTCPFlags]&^flagPSH != flagACK || len(tcp) > int(tcp[atTCPOffset]>>4)*4 {
		delete(q.waiting, port)
		return false
	}
	return binary.BigEndian.Uint32(tcp[atTCPAcknowledgement:]) == waits.end && now.Sub(waits.since) < acknowledgeWithin
}
