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
	requestRate    = 100 // requests per second; a burst is five times that
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
	last     uint32 // number given
	rate     rate.Limit
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
}

// portUse is what the clients of one port use together.
type portUse struct {
	clients     int // guarded by clients.mu, as the next
	connections int
	requests    *rate.Limiter
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
	return &clients{byKey: map[clientKey]*client{}, byNumber: map[uint32]*client{}, ports: map[uuid.UUID]*portUse{}, rate: requestRate}
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

// heard finds or makes the client that a packet came from.
func (t *clients) heard(key clientKey, p *presence, now time.Time) (*client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.byKey[key]
	if c == nil {
		use := t.ports[key.port]
		if use == nil {
			use = &portUse{requests: rate.NewLimiter(t.rate, 5*int(t.rate))}
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
	c.seen = now
	c.at.Store(p)
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
	c = t.byNumber[numberOf(synthetic)]
	if c == nil || c.use.connections >= maxConnections {
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
}
