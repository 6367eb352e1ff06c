package ovsdb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// maxDepth bounds the nesting of a message. The deepest that OVSDB needs is a
// map of UUIDs inside an update3: 12.
const maxDepth = 32

// cursor reads one JSON text (RFC 8259) in place, value by value, without
// building a tree. The first error sticks: after it every method does nothing
// and loops end, so callers look at err once, when they are done.
type cursor struct {
	b     []byte
	i     int
	err   error
	words map[string]string // strings seen in this text, so that equal ones share memory
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("at byte %d: "+format, append([]any{c.i}, args...)...)
	}
}

// peek returns the first byte of the next token, or 0 at the end or after an error.
func (c *cursor) peek() byte {
	if c.err != nil {
		return 0
	}
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; ch {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return ch
		}
	}
	return 0
}

func (c *cursor) expect(ch byte) {
	if c.peek() != ch {
		c.fail("want %q", ch)
		return
	}
	c.i++
}

// end fails unless the whole text has been read.
func (c *cursor) end() {
	if c.peek(); c.err == nil && c.i != len(c.b) {
		c.fail("text after the value")
	}
}

// first and next walk an array or an object:
//
//	for ok := c.first('[', ']'); ok; ok = c.next(']') { … one value … }
//	for ok := c.first('{', '}'); ok; ok = c.next('}') { key := c.key(); … one value … }
func (c *cursor) first(open, shut byte) bool {
	c.expect(open)
	if c.peek() == shut {
		c.i++
		return false
	}
	return c.err == nil
}

func (c *cursor) next(shut byte) bool {
	switch c.peek() {
	case ',':
		c.i++
		return true
	case shut:
		c.i++
	default:
		c.fail("want ',' or %q", shut)
	}
	return false
}

// key reads an object's key and its colon.
func (c *cursor) key() []byte {
	k := c.text()
	c.expect(':')
	return k
}

// text reads a string. The result aliases the text where it holds no escapes.
func (c *cursor) text() []byte {
	start, escaped := c.quoted()
	if c.err != nil {
		return nil
	}
	if !escaped {
		return c.b[start+1 : c.i-1]
	}
	var s string
	if err := json.Unmarshal(c.b[start:c.i], &s); err != nil {
		c.fail("%v", err)
		return nil
	}
	return []byte(s)
}

// quoted steps over a string and says where it began, quote included.
func (c *cursor) quoted() (start int, escaped bool) {
	c.expect('"')
	start = c.i - 1
	for c.err == nil && c.i < len(c.b) {
		ch := c.b[c.i]
		c.i++
		switch {
		case ch == '"':
			return start, escaped
		case ch < ' ':
			c.fail("control character in a string")
		case ch == '\\':
			escaped = true
			c.escape()
		}
	}
	c.fail("string without end")
	return start, escaped
}

func (c *cursor) escape() {
	if c.i >= len(c.b) {
		return // quoted reports the missing end
	}
	ch := c.b[c.i]
	c.i++
	if ch != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), ch) < 0 {
			c.fail("unknown escape")
		}
		return
	}
	for range 4 {
		if c.i >= len(c.b) || !isHex(c.b[c.i]) && (c.b[c.i] < 'A' || 'F' < c.b[c.i]) {
			c.fail("escape without four hexadecimal digits")
			return
		}
		c.i++
	}
}

// isHex says whether ch is a lower-case hexadecimal digit.
func isHex(ch byte) bool { return '0' <= ch && ch <= '9' || 'a' <= ch && ch <= 'f' }

// word is text as a string of its own; equal words share memory.
func (c *cursor) word() string {
	b := c.text()
	if len(b) == 0 {
		return ""
	}
	if s, ok := vocabulary[string(b)]; ok {
		return s
	}
	s, ok := c.words[string(b)]
	if !ok {
		if c.words == nil {
			c.words = make(map[string]string)
		}
		s = string(b)
		c.words[s] = s
	}
	return s
}

// number steps over a number and returns its text and whether it is whole.
func (c *cursor) number() (text []byte, whole bool) {
	c.peek()
	start := c.i
	if c.at('-') {
		c.i++
	}
	if c.at('0') {
		c.i++
	} else {
		c.digits()
	}
	whole = true
	if c.at('.') {
		whole = false
		c.i++
		c.digits()
	}
	if c.at('e') || c.at('E') {
		whole = false
		c.i++
		if c.at('+') || c.at('-') {
			c.i++
		}
		c.digits()
	}
	return c.b[start:c.i], whole
}

func (c *cursor) at(ch byte) bool { return c.err == nil && c.i < len(c.b) && c.b[c.i] == ch }

func (c *cursor) digits() {
	n := 0
	for c.i < len(c.b) && '0' <= c.b[c.i] && c.b[c.i] <= '9' {
		c.i++
		n++
	}
	if n == 0 {
		c.fail("want a digit")
	}
}

// integer reads an OVSDB <integer> (RFC 7047 section 3.1): 64 bits, signed.
func (c *cursor) integer() int {
	text, whole := c.number()
	if c.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || !whole {
		c.fail("want an integer")
	}
	return int(n)
}

// literal steps over the given word (true, false, null) if it comes next.
func (c *cursor) literal(word string) bool {
	if c.peek(); c.err != nil || !bytes.HasPrefix(c.b[c.i:], []byte(word)) {
		return false
	}
	c.i += len(word)
	return true
}

func (c *cursor) boolean() bool {
	if c.literal("true") {
		return true
	}
	if !c.literal("false") {
		c.fail("want a boolean")
	}
	return false
}

// raw steps over one value of any kind and returns its text.
func (c *cursor) raw() []byte {
	c.peek()
	start := c.i
	c.skip(0)
	if c.err != nil {
		return nil
	}
	return c.b[start:c.i]
}

func (c *cursor) skip(depth int) {
	if depth > maxDepth {
		c.fail("nested deeper than %d", maxDepth)
		return
	}
	switch ch := c.peek(); {
	case ch == '{':
		for ok := c.first('{', '}'); ok; ok = c.next('}') {
			c.quoted()
			c.expect(':')
			c.skip(depth + 1)
		}
	case ch == '[':
		for ok := c.first('[', ']'); ok; ok = c.next(']') {
			c.skip(depth + 1)
		}
	case ch == '"':
		c.quoted()
	case ch == '-' || '0' <= ch && ch <= '9':
		c.number()
	default:
		if !c.literal("null") && !c.literal("true") && !c.literal("false") {
			c.fail("want a value")
		}
	}
}
