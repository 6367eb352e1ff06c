package controller

import (
	"container/list"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
	"github.com/tunbridge/tunbridge/ovsdb"
)

const (
	introduction = 10 * time.Second // for a new connection to say who it is
	proof        = time.Second      // for a known session to answer when another claims its identity
	parking      = 30 * time.Second // for the OVSDB session of a host whose OpenFlow came first
	strangers    = 512              // connections of a listener that may be introducing themselves at a time
)

// ServeOVSDB takes the hosts that dial in, until ctx ends or the listener fails.
func (c *Controller) ServeOVSDB(ctx context.Context, l net.Listener) error {
	return c.serve(ctx, l, "OVSDB", c.takeOVSDB)
}

// ServeOpenFlow takes the bridges' connections, until ctx ends or the listener fails.
func (c *Controller) ServeOpenFlow(ctx context.Context, l net.Listener) error {
	return c.serve(ctx, l, "OpenFlow", c.takeOpenFlow)
}

// serve accepts connections and introduces each in its own goroutine, so that one that stalls holds up
// nobody.
func (c *Controller) serve(ctx context.Context, l net.Listener, what string, take func(context.Context, net.Conn) error) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var waiting lobby
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !errors.Is(err, net.ErrClosed) {
				// Out of file descriptors, mostly: the connections that are up must live on.
				c.o.Logger.Error("accept", "listener", what, "error", err)
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return fmt.Errorf("%s listener: %w", what, err)
		}
		place := waiting.enter(nc)
		go func() {
			err := c.introduce(ctx, nc, take)
			if pushed := waiting.leave(place); pushed && err != nil {
				err = fmt.Errorf("it said nothing while %d others came", strangers)
			}
			if err != nil && ctx.Err() == nil {
				nc.Close()
				c.o.Logger.Warn(what+" connection refused", "peer", nc.RemoteAddr(), "error", err)
			}
		}()
	}
}

// lobby holds a listener's connections that are introducing themselves, in the order in which they
// came. When it is full the first makes room for a new one: it has had longer than a host needs, and
// however many strangers there are, a host that comes is not kept waiting.
type lobby struct {
	mu    sync.Mutex
	conns list.List // of net.Conn
}

func (l *lobby) enter(nc net.Conn) *list.Element {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn() // closing it does not wait for the peer
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns.Len() == strangers {
		l.conns.Remove(l.conns.Front()).(net.Conn).Close()
	}
	return l.conns.PushBack(nc)
}

// leave says whether the connection had to make room.
func (l *lobby) leave(place *list.Element) (pushed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.conns.Len()
	l.conns.Remove(place)
	return l.conns.Len() == before
}

func (c *Controller) introduce(ctx context.Context, nc net.Conn, take func(context.Context, net.Conn) error) error {
	if t, ok := nc.(*tls.Conn); ok {
		hctx, cancel := context.WithTimeout(ctx, introduction)
		defer cancel()
		if err := t.HandshakeContext(hctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
	}
	return take(ctx, nc)
}

// identity is what a TLS certificate says of its holder; ok is false without TLS.
func identity(nc net.Conn) (name, fingerprint string, ok bool) {
	t, isTLS := nc.(*tls.Conn)
	if !isTLS {
		return "", "", false
	}
	certs := t.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return "", "", true
	}
	sum := sha256.Sum256(certs[0].Raw)
	return certs[0].Subject.CommonName, hex.EncodeToString(sum[:]), true
}

// takeOVSDB starts the loop of the host at the other end of nc.
func (c *Controller) takeOVSDB(ctx context.Context, nc net.Conn) error {
	s := ovsdb.New(nc, ovsdb.Options{Logger: c.o.Logger})
	h, err := c.newHost(ctx, nc, s)
	if err != nil {
		s.Close()
		return err
	}
	if err := c.register(ctx, h); err != nil {
		s.Close()
		return err
	}
	return nil
}

// newHost learns who is there.
func (c *Controller) newHost(ctx context.Context, nc net.Conn, s *ovsdb.Session) (*host, error) {
	sctx, cancel := context.WithTimeout(ctx, introduction)
	defer cancel()
	if err := s.Start(sctx); err != nil {
		return nil, err
	}
	h := &host{c: c, session: s, remote: addrOf(nc.RemoteAddr()), since: time.Now(), done: make(chan struct{}),
		poked: make(chan struct{}, 1), arrived: make(chan *link, 4), asked: make(chan func()),
		compiler: flows.NewCompiler(c.o.Features...), vlans: newLocalVLANs(), probing: newProbing(c.o.ProbeInterval, c.o.Logger)}
	row, err := hostRow(s.Mirror().OpenVSwitch, h.remote)
	if row == nil {
		return nil, err // a row that is only partly wrong is the loop's to complain of
	}
	h.id = s.Mirror().OpenVSwitch.ExternalIDs[keySystemID]
	h.log = c.o.Logger.With("host", row.Hostname)
	name, cert, secure := identity(nc)
	if secure && name != h.id {
		return nil, fmt.Errorf("certificate is of %q, but the host says its system-id is %q: make its certificate with CN=%s", name, h.id, h.id)
	}
	h.cert = cert
	return h, nil
}

// register puts h on the books and starts its loop. If another session has the same system-id it is
// asked for an echo: it stays if it answers; a rebooted host must not lock itself out.
func (c *Controller) register(ctx context.Context, h *host) error {
	for {
		c.mu.Lock()
		old := c.hosts[h.id]
		if old == nil {
			if c.ending {
				c.mu.Unlock()
				return errors.New("the controller is ending")
			}
			c.hosts[h.id] = h
			for _, b := range flows.Bridges {
				id := datapathID(h.id, b)
				if l := c.parked[id]; l != nil {
					delete(c.parked, id)
					if err := h.admits(l); err != nil {
						h.log.Warn("OpenFlow connection refused", "bridge", b, "error", err)
						l.conn.Close()
						continue
					}
					h.arrived <- l // there is room: the loop has not begun
				}
			}
			loop, stop := context.WithCancelCause(ctx)
			h.stop = stop
			c.loops.Go(func() { h.run(loop) })
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		if old.cert == "" || old.cert != h.cert {
			ectx, cancel := context.WithTimeout(ctx, proof)
			err := old.session.Echo(ectx)
			cancel()
			if err == nil {
				return fmt.Errorf("system-id %s belongs to the host at %s, which is alive: give this host another system-id", h.id, old.session.RemoteAddr())
			}
		}
		old.stop(fmt.Errorf("replaced by %s", h.session.RemoteAddr()))
		select {
		case <-old.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeOpenFlow brings a bridge's connection to its host's loop.
func (c *Controller) takeOpenFlow(ctx context.Context, nc net.Conn) error {
	l := &link{queue: make(chan puntedPacket, puntQueue), wired: make(chan struct{}, 1), log: c.o.Logger}
	conn, err := openflow.Accept(ctx, nc, openflow.Options{
		HandshakeTimeout: introduction,
		PacketIn:         l.packetIn,
		FlowUpdate:       l.flowUpdate,
		Trouble:          func(err error) { c.o.Logger.Debug("OpenFlow", "error", err) },
	})
	if err != nil {
		return err
	}
	l.conn = conn
	l.name, _, l.secure = identity(nc)
	l.bridge = flows.Bridge(conn.DatapathID()&0xff) - 1
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		if int(l.bridge) < len(flows.Bridges) && conn.DatapathID() == datapathID(h.id, l.bridge) {
			if err := h.admits(l); err != nil {
				conn.Close()
				return err
			}
			select {
			case h.arrived <- l:
			default: // the loop is busy: it comes again
				conn.Close()
			}
			return nil
		}
	}
	if len(c.parked) >= strangers || int(l.bridge) >= len(flows.Bridges) {
		conn.Close()
		return fmt.Errorf("datapath-id %016x is of no enrolled host's br-int or br-tun", conn.DatapathID())
	}
	if old := c.parked[conn.DatapathID()]; old != nil {
		old.conn.Close()
	}
	c.parked[conn.DatapathID()] = l
	time.AfterFunc(parking, func() { c.unpark(l) })
	return nil
}

func (c *Controller) unpark(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parked[l.conn.DatapathID()] == l {
		delete(c.parked, l.conn.DatapathID())
		l.conn.Close()
		c.o.Logger.Warn("OpenFlow connection refused", "peer", l.conn.RemoteAddr(),
			"error", fmt.Errorf("datapath-id %016x is of no enrolled host: none came with it in %s", l.conn.DatapathID(), parking))
	}
}

// admits says whether an OpenFlow connection is this host's.
func (h *host) admits(l *link) error {
	if l.secure {
		if l.name != h.id {
			return fmt.Errorf("certificate is of %q, but the datapath-id is of host %s", l.name, h.id)
		}
		return nil
	}
	if from := addrOf(l.conn.RemoteAddr()); from.IsValid() && h.remote.IsValid() && from != h.remote {
		return fmt.Errorf("datapath-id %016x is of host %s, which is at %s", l.conn.DatapathID(), h.id, h.remote)
	}
	return nil
}

// Dial keeps a session with a host that listens, "tcp:10.0.0.11:6640" or "ssl:…" or "unix:PATH", until ctx
// ends.
func (c *Controller) Dial(ctx context.Context, target string) error {
	scheme, address, _ := strings.Cut(target, ":")
	var network string
	switch scheme {
	case "tcp", "unix":
		network = scheme
	case "ssl":
		network = "tcp"
	default:
		return fmt.Errorf("host %q: want tcp:ADDRESS:PORT, ssl:ADDRESS:PORT or unix:PATH", target)
	}
	wait := firstBackoff
	for ctx.Err() == nil {
		dialer := &net.Dialer{Timeout: introduction}
		nc, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			if scheme == "ssl" {
				host, _, _ := net.SplitHostPort(address)
				config := c.o.TLS.Clone()
				config.ServerName = host
				nc = tls.Client(nc, config)
			}
			started := time.Now()
			if err = c.introduce(ctx, nc, c.takeOVSDB); err == nil {
				c.await(ctx, nc)
				if time.Since(started) > longestBackoff {
					wait = firstBackoff
				}
			} else {
				nc.Close()
			}
		}
		if err != nil && ctx.Err() == nil {
			c.o.Logger.Warn("host not reached", "target", target, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait = min(2*wait, longestBackoff)
		}
	}
	return nil
}

// await waits for the end of the host whose session is on nc.
func (c *Controller) await(ctx context.Context, nc net.Conn) {
	c.mu.Lock()
	var done <-chan struct{}
	for _, h := range c.hosts {
		if h.session.LocalAddr() == nc.LocalAddr() && h.session.RemoteAddr() == nc.RemoteAddr() {
			done = h.done
		}
	}
	c.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// target is where the bridges of h find the controller.
func (c *Controller) target(h *host) string {
	scheme, rest, _ := strings.Cut(c.o.Target, ":")
	name, port, err := net.SplitHostPort(rest)
	if err != nil {
		return c.o.Target
	}
	if ip, err := netip.ParseAddr(name); name != "" && (err != nil || !ip.IsUnspecified()) {
		return c.o.Target
	}
	if local := addrOf(h.session.LocalAddr()); local.IsValid() {
		name = local.String()
	} else {
		name = "127.0.0.1"
	}
	return scheme + ":" + net.JoinHostPort(name, port)
}
