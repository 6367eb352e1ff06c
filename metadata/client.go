package metadata

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// Limits of one port.
const (
	maxConnections = 64  // open at a time
	maxAddresses   = 16  // that it asks from within idleTimeout
	requestRate    = 100 // requests per second
	requestBurst   = 500

	// A SYN that is never followed up occupies the stack for two minutes. A port may have maxHandshakes of
	// them, and one more each handshakeTime: twice as many at most, so that no port alone fills the stack's
	// list of 4096. With a full list the stack sends SYN cookies, and then loses the first segment of one
	// connection in forty, until it comes again 0.2 s later.
	maxHandshakes = 64
	handshakeTime = 2 * time.Second
)

// idleTimeout is how long a client without connections is remembered after its last packet: longer than
// the stack may still send it something.
const idleTimeout = 5 * time.Minute

// clients is who asked lately. A client's synthetic address is its number in 10.0.0.0/8 or fd00::/64,
// which is not given to another one for as long as it is remembered, nor for 16 million clients after it:
// a late packet finds nobody.
type clients struct {
	mu       sync.Mutex
	byKey    map[clientKey]*client
	byNumber map[uint32]*client
	ports    map[uuid.UUID]*portUse
	asked    map[uuid.UUID]*Asked // for rememberTime
	last     uint32               // number given
	rate     rate.Limit
	burst    int
}

// maxNumber is the highest number of a client.
const maxNumber = 1<<24 - 1

// clientKey is a source that a port asks from.
type clientKey struct {
	port    uuid.UUID
	address netip.Addr
}

// client is one such source.
type client struct {
	clientKey
	number      uint32
	use         *portUse
	connections int       // open; guarded by clients.mu
	seen        time.Time // guarded by clients.mu
	at          atomic.Pointer[presence]
	questions   questions
}

// portUse is what the clients of one port use together.
type portUse struct {
	clients     int // guarded by clients.mu, as the next
	connections int
	requests    *rate.Limiter
	handshakes  float64   // begun and not completed
	began       time.Time // the last of them
}

// begin counts a handshake, if there may be one more.
func (u *portUse) begin(now time.Time) bool {
	u.handshakes = max(0, u.handshakes-now.Sub(u.began).Seconds()/handshakeTime.Seconds())
	u.began = now
	if u.handshakes > maxHandshakes-1 {
		return false
	}
	u.handshakes++
	return true
}

// presence is where a client was when its last packet came, and how to answer it. It is immutable.
type presence struct {
	view           *flows.View
	network        *flows.Network
	port           *flows.LocalPort
	guest, nextHop model.MAC
	reply          func(frame []byte)
}

func newClients() *clients {
	return &clients{byKey: map[clientKey]*client{}, byNumber: map[uint32]*client{}, ports: map[uuid.UUID]*portUse{}, asked: map[uuid.UUID]*Asked{}, rate: requestRate, burst: requestBurst}
}

// synthetic is the address that stands for the client.
func (c *client) synthetic() netip.Addr {
	if c.address.Is4() {
		a := [4]byte{10}
		a[1], a[2], a[3] = byte(c.number>>16), byte(c.number>>8), byte(c.number)
		return netip.AddrFrom4(a)
	}
	a := [16]byte{0: 0xfd}
	binary.BigEndian.PutUint32(a[12:], c.number)
	return netip.AddrFrom16(a)
}

// numberOf is the number in a synthetic address.
func numberOf(synthetic netip.Addr) uint32 {
	if synthetic.Is4() {
		a := synthetic.As4()
		return binary.BigEndian.Uint32(a[:]) & maxNumber
	}
	a := synthetic.As16()
	return binary.BigEndian.Uint32(a[12:])
}

// heard finds or makes the client that a packet came from; begins says whether the packet begins a
// connection.
func (t *clients) heard(key clientKey, p *presence, begins bool, now time.Time) (*client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.byKey[key]
	if c == nil {
		use := t.ports[key.port]
		if use == nil {
			use = &portUse{requests: rate.NewLimiter(t.rate, t.burst)}
		}
		if use.clients >= maxAddresses {
			return nil, TooManyAddresses
		}
		if len(t.byNumber) >= maxNumber/2 {
			return nil, TooManyClients
		}
		for t.last = t.last%maxNumber + 1; t.byNumber[t.last] != nil; t.last = t.last%maxNumber + 1 {
		}
		c = &client{clientKey: key, number: t.last, use: use}
		use.clients++
		t.ports[key.port], t.byKey[key], t.byNumber[c.number] = use, c, c
	}
	if begins && !c.use.begin(now) {
		return nil, TooManyHandshakes
	}
	c.seen = now
	c.at.Store(p)
	a := t.of(key.port)
	a.Segments, a.Seen = a.Segments+1, now
	return c, nil
}

// at finds the client that an address stands for; nil if it is nobody's.
func (t *clients) at(synthetic netip.Addr) *client {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byNumber[numberOf(synthetic)]; c != nil && c.address.Is4() == synthetic.Is4() {
		return c
	}
	return nil
}

// connect counts a connection from a synthetic address. Without a client there, or room for one more,
// ok is false.
func (t *clients) connect(synthetic netip.Addr) (c *client, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c = t.byNumber[numberOf(synthetic)]; c == nil {
		return nil, false
	}
	c.use.handshakes = max(0, c.use.handshakes-1)
	if c.use.connections >= maxConnections {
		t.of(c.port).Refused++
		return nil, false
	}
	c.connections++
	c.use.connections++
	return c, true
}

// disconnect takes connect back.
func (t *clients) disconnect(c *client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.connections--
	c.use.connections--
}

// forget forgets the clients that have been idle since a time.
func (t *clients) forget(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, c := range t.byKey {
		if c.connections > 0 || c.seen.After(since) {
			continue
		}
		delete(t.byKey, key)
		delete(t.byNumber, c.number)
		if c.use.clients--; c.use.clients == 0 {
			delete(t.ports, key.port)
		}
	}
	for port, a := range t.asked {
		if t.ports[port] == nil && a.Seen.Before(since.Add(-rememberTime)) {
			delete(t.asked, port)
		}
	}
}
