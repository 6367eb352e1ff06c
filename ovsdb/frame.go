package ovsdb

import "fmt"

const (
	smallBuffer = 2 << 10  // what an idle session keeps
	largeBuffer = 16 << 10 // above this it gives its buffer back; also the most written at once
)

// framer cuts the byte stream into JSON-RPC messages. OVSDB puts nothing
// between them (RFC 7047 section 4): a message ends where its outermost brace
// closes, so only braces, brackets and strings are followed here.
type framer struct {
	max   int    // longest message, bytes
	buf   []byte // received
	start int    // where the current message begins in buf
	at    int    // up to where buf has been looked at

	depth   int
	quoted  bool // inside a string
	escaped bool // after a backslash in one
}

// next returns the next complete message, or nil when more bytes are needed.
// It is valid until room is called.
func (f *framer) next() ([]byte, error) {
	for ; f.at < len(f.buf); f.at++ {
		ch := f.buf[f.at]
		switch {
		case f.escaped:
			f.escaped = false
		case f.quoted:
			f.quoted = ch != '"'
			f.escaped = ch == '\\'
		case f.depth == 0 && (ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t'):
			f.start = f.at + 1
		case f.depth == 0 && ch == 0x16:
			return nil, fmt.Errorf("the peer speaks TLS, this side does not")
		case f.depth == 0 && ch != '{':
			return nil, fmt.Errorf("not JSON-RPC: a message begins with %q", ch)
		case ch == '"':
			f.quoted = true
		case ch == '{' || ch == '[':
			if f.depth++; f.depth > maxDepth {
				return nil, fmt.Errorf("message nested deeper than %d", maxDepth)
			}
		case ch == '}' || ch == ']':
			if f.depth--; f.depth == 0 {
				f.at++
				msg := f.buf[f.start:f.at]
				f.start = f.at
				return msg, nil
			}
		}
		if f.at-f.start >= f.max {
			return nil, fmt.Errorf("message longer than %d bytes", f.max)
		}
	}
	return nil, nil
}

// partial is how many bytes of an incomplete message have been received.
func (f *framer) partial() int { return len(f.buf) - f.start }

// room returns space to read into, at least one byte; received says how much
// of it was filled.
func (f *framer) room() []byte {
	n := copy(f.buf, f.buf[f.start:])
	f.buf, f.at, f.start = f.buf[:n], f.at-f.start, 0
	switch {
	case n == 0 && cap(f.buf) > largeBuffer, cap(f.buf) == 0:
		f.buf = make([]byte, 0, smallBuffer)
	case n == cap(f.buf):
		f.buf = append(make([]byte, 0, 2*n), f.buf...)
	}
	return f.buf[n:cap(f.buf)]
}

func (f *framer) received(n int) { f.buf = f.buf[:len(f.buf)+n] }
