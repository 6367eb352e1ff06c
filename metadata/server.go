package metadata

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/flows"
)

// Options say where metadata comes from.
type Options struct {
	// Nova is where Nova's metadata API is, as http://nova:8775; nil: what is kept with the ports is
	// served. Nova must be configured with service_metadata_proxy=true and this secret.
	Nova   *url.URL
	Secret []byte // metadata_proxy_shared_secret
	Logger *slog.Logger
}

// Server answers punted packets; see Run. It is used by several goroutines.
type Server struct {
	log      *slog.Logger
	stack    *netstack
	clients  *clients
	source   source
	counters counters
}

var _ flows.Handler = (*Server)(nil)

// source is where the answers come from.
type source interface {
	serve(w *recorder, r *http.Request, m *machine)
	serves(m *machine) (text string, ok bool) // see Server.Serves
}

// New makes a server. Until Run is called, it takes packets and does nothing about them.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{log: o.Logger, clients: newClients(), source: kept{}, counters: counters{answers: map[int]uint64{}}}
	if o.Nova != nil {
		if o.Nova.Scheme != "http" && o.Nova.Scheme != "https" || o.Nova.Host == "" {
			return nil, fmt.Errorf("metadata: %q: want http://HOST:PORT or https://HOST:PORT", o.Nova)
		}
		if len(o.Secret) == 0 {
			return nil, fmt.Errorf("metadata: %s believes only who shares its secret (metadata_proxy_shared_secret), and there is none", o.Nova)
		}
		s.source = newNova(o.Nova, o.Secret, o.Logger)
	}
	var err error
	s.stack, err = newNetstack()
	return s, err
}

// farewell is how long the hosts' connections have to write the last packets.
const farewell = 50 * time.Millisecond

// Run serves until ctx ends; then it tells the machines that their connections are over. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.stack.close()
	g, ctx := errgroup.WithContext(ctx)
	sending, sent := context.WithCancel(context.WithoutCancel(ctx))
	defer sent()
	g.Go(func() error {
		frame := make([]byte, 0, ethernetLen+stackMTU)
		s.stack.send(sending, func(to netip.Addr, pieces [][]byte) {
			if c := s.clients.at(to); c != nil {
				at := c.at.Load()
				frame = appendFrame(frame[:0], pieces, at.nextHop, at.guest, c.address)
				if !c.questions.withholds(frame[ethernetLen+headerLen(c.address):], time.Now()) {
					at.reply(frame)
				}
			}
		})
		time.Sleep(farewell)
		return nil
	})
	g.Go(func() error {
		tick := time.NewTicker(idleTimeout / 5)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				s.clients.forget(now.Add(-idleTimeout))
			case <-ctx.Done():
				return nil
			}
		}
	})
	server := s.http()
	for _, l := range s.stack.listeners {
		g.Go(func() error {
			if err := server.Serve(&listener{l, s}); ctx.Err() == nil {
				return fmt.Errorf("metadata: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		defer sent()
		err := server.Close()
		s.stack.hangUp()
		return err
	})
	return g.Wait()
}

// Handle takes a TCP segment of a VIF. Replies come later, from the stack.
func (s *Server) Handle(p *flows.Punt, reply func(frame []byte)) error {
	var in segment
	if err := in.parse(p.Packet); err != nil {
		s.counters.silent[Malformed].Add(1)
		s.clients.dropped(p.Port.ID, Malformed, time.Now())
		return err
	}
	at, now := &presence{view: p.View, network: p.Network, port: p.Port, guest: in.guest, nextHop: in.nextHop, reply: reply}, time.Now()
	c, err := s.clients.heard(clientKey{p.Port.ID, in.source}, at, in.begins(), now)
	if err != nil {
		s.counters.silent[err.(Silence)].Add(1)
		s.clients.dropped(p.Port.ID, err.(Silence), now)
		return err
	}
	c.questions.heard(&in, now)
	s.stack.receive(&in, c.synthetic(), p.Network.MTU)
	return nil
}
