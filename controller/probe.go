package controller

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
	"github.com/tunbridge/tunbridge/probe"
)

const (
	probeQueue = 64          // probes that came back and may wait to be looked at
	probeRest  = time.Second // between two looks at which paths there are: views change often
)

// probing measures the tunnels of one host, in a goroutine of its own, as the host's loop may wait for
// the switch. It begins when the host is programmed, and begins anew when br-tun comes back.
type probing struct {
	interval time.Duration
	log      *slog.Logger
	through  atomic.Pointer[probed] // nil: not programmed
	changed  chan struct{}          // one element: through is another
	arrived  chan probe.Arrival
	asked    chan func(*probe.Prober)
	done     chan struct{}
}

// probed is a host as it was programmed last.
type probed struct {
	view *flows.View
	conn *openflow.Conn // of br-tun
}

func newProbing(interval time.Duration, log *slog.Logger) *probing {
	return &probing{interval: interval, log: log, changed: make(chan struct{}, 1), arrived: make(chan probe.Arrival, probeQueue),
		asked: make(chan func(*probe.Prober)), done: make(chan struct{})}
}

// use gives the prober what was programmed; nil while nothing is.
func (p *probing) use(through *probed) {
	p.through.Store(through)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// take takes a packet-in of br-tun from the connection's reader, and never waits. A probe that finds the
// queue full counts as lost on its way.
func (p *probing) take(in *openflow.PacketIn) {
	if a, ok := probe.ArrivalOf(in, time.Now()); ok {
		select {
		case p.arrived <- a:
		default:
		}
	}
}

// results are what is known of the host's tunnels; nil when the host is going.
func (p *probing) results() (list []probe.Result) {
	ran := make(chan struct{})
	select {
	case p.asked <- func(prober *probe.Prober) { list = prober.Results(); close(ran) }:
		<-ran
	case <-p.done:
	}
	return list
}

func (p *probing) run(ctx context.Context) {
	defer close(p.done)
	prober := probe.New(p.interval, p.send, p.tell)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var looked time.Time
	stale := false
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-p.asked:
			f(prober)
			continue
		case <-p.changed:
			stale = true
		case a := <-p.arrived:
			if err := prober.Arrived(&a); err != nil {
				p.log.Debug("probe not taken", "error", err)
			}
		case <-timer.C:
		}
		if p.interval == 0 {
			continue
		}
		now, through := time.Now(), p.through.Load()
		if stale && (through == nil || now.Sub(looked) >= probeRest) {
			stale, looked = false, now
			if through == nil {
				prober.Want(nil, now)
			} else {
				prober.Want(through.view, now)
			}
		}
		again := prober.Step(now)
		if rested := looked.Add(probeRest); stale && rested.Before(again) {
			again = rested
		}
		timer.Reset(time.Until(again))
	}
}

func (p *probing) send(out *openflow.PacketOut) error {
	through := p.through.Load()
	if through == nil {
		return openflow.ErrClosed
	}
	return through.conn.Send(out)
}

// tell logs what became of a path.
func (p *probing) tell(r probe.Result) {
	host := ""
	if through := p.through.Load(); through != nil {
		host = through.view.Host.Hostname
	}
	log := p.log.With("host", host, "peer", r.Peer, "type", r.Type)
	switch {
	case !r.Alive:
		log.Warn("tunnel down", "last_seen", r.Seen, "note", r.Note)
	case r.Note != "":
		log.Warn("tunnel carries too little", "mtu", r.MTU, "note", r.Note)
	default:
		log.Info("tunnel in order", "mtu", r.MTU, "rtt", r.RTT)
	}
}
