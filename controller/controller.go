// Package controller drives the hosts. One goroutine owns one host (host.go) and does the same thing
// again whenever something may have changed:
//
//	store snapshot + OVSDB mirror ─▶ judge VIFs (vif.go) ─▶ local VLANs (vlan.go) ─▶ flows.View (view.go)
//	   ─▶ flows.Compiler ─▶ plan ─▶ one bundle per bridge ─▶ port ACTIVE
//
// Connect, reconnect, restart and repair are the same steps with what is installed taken from a dump.
// accept.go says who may connect, enrol.go what a host says of itself and what is written to its
// database, link.go has the bridges' connections, punt.go answers packet-ins, announce.go speaks to VIFs
// unasked, probe.go tries the tunnels, serve.go tells the operator.
//
// Read host.go first.
package controller

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
)

// Options of a controller.
type Options struct {
	Store         *store.Store
	Features      []flows.Feature
	Handlers      map[flows.Op]flows.Handler
	Logger        *slog.Logger
	ClaimUnbound  bool          // the first host whose VIF names a port without a binding gets it
	AuditInterval time.Duration // how often installed flows are read again; 5 min
	PuntRate      int           // packets of one port that are answered per second; flows.PuntRate
	ProbeInterval time.Duration // how often tunnels between hosts that share a network are tried; 0 is never
	TLS           *tls.Config   // for ssl: listeners and targets; client certificates are asked for by it
	Target        string        // OpenFlow target for the hosts, "tcp:10.0.0.1:6653"; an unspecified host part stands for the address that the host reached us at
}

// Controller holds the loops of all hosts.
type Controller struct {
	o          Options
	announcers []flows.Announcer // of the features
	captures   captures

	mu      sync.Mutex
	hosts   map[string]*host // by system-id
	parked  map[uint64]*link // OpenFlow connections that wait for their host's OVSDB session, by datapath-id
	watched map[uuid.UUID]map[*host]bool
	seen    map[uuid.UUID]store.Revision
	ending  bool
	stopped chan struct{} // closed when Run ends
	loops   sync.WaitGroup
}

// New makes a controller. Run drives it; ServeOVSDB, ServeOpenFlow and Dial bring it hosts.
func New(o Options) *Controller {
	if o.AuditInterval == 0 {
		o.AuditInterval = 5 * time.Minute
	}
	if o.PuntRate == 0 {
		o.PuntRate = flows.PuntRate
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Features = append([]flows.Feature{sentinel{}}, o.Features...)
	var announcers []flows.Announcer
	for _, f := range o.Features {
		if a, ok := f.(flows.Announcer); ok {
			announcers = append(announcers, a)
		}
	}
	c := &Controller{o: o, announcers: announcers, hosts: map[string]*host{}, parked: map[uint64]*link{}, watched: map[uuid.UUID]map[*host]bool{}, seen: map[uuid.UUID]store.Revision{}, stopped: make(chan struct{})}
	c.o.Handlers = maps.Clone(o.Handlers)
	if c.o.Handlers == nil {
		c.o.Handlers = map[flows.Op]flows.Handler{}
	}
	c.o.Handlers[flows.OpAnnounced] = arrivals{c}
	return c
}

// Run pokes the hosts that see a change, until ctx ends; then it ends all loops. The hosts' flows stay.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.stopped)
	var hosts, captures store.Revision
	expiry := time.NewTimer(0)
	defer expiry.Stop()
	for ctx.Err() == nil {
		snap := c.o.Store.Snapshot()
		c.pokeChanged(snap, snap.HostsRevision() != hosts || snap.CapturesRevision() != captures)
		hosts, captures = snap.HostsRevision(), snap.CapturesRevision()
		if next := c.expireCaptures(snap); next.IsZero() {
			expiry.Stop()
		} else {
			expiry.Reset(time.Until(next))
		}
		select {
		case <-snap.Changed(store.Desired):
		case <-snap.Changed(store.Location):
		case <-expiry.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	c.ending = true
	for _, h := range c.hosts {
		h.stop(context.Canceled)
	}
	for _, l := range c.parked {
		l.conn.Close()
	}
	c.mu.Unlock()
	c.loops.Wait()
	return nil
}

// everyNetwork is watched by a host with a VIF that is not wired: what it waits for may be anything.
var everyNetwork = uuid.Nil

// watch records which networks a host's flows depend on.
func (c *Controller) watch(h *host, networks map[uuid.UUID]*networkMemo, unsettled bool) {
	want := make(map[uuid.UUID]bool, len(networks)+1)
	for id := range networks {
		want[id] = true
	}
	if unsettled {
		want[everyNetwork] = true
	}
	same := len(want) == len(h.interest)
	for id := range want {
		same = same && h.interest[id]
	}
	if same {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range h.interest {
		if !want[id] {
			c.unwatch(h, id)
		}
	}
	for id := range want {
		if c.watched[id] == nil {
			c.watched[id] = map[*host]bool{}
			if memo := networks[id]; memo != nil {
				c.seen[id] = memo.revision
			}
		}
		c.watched[id][h] = true
	}
	h.interest = want
	h.poke() // a change between the snapshot that was used and now was not seen
}

func (c *Controller) unwatch(h *host, id uuid.UUID) {
	delete(c.watched[id], h)
	if len(c.watched[id]) == 0 {
		delete(c.watched, id)
		delete(c.seen, id)
	}
}

// pokeChanged pokes the hosts that watch a network which changed, and all when the hosts' rows did.
func (c *Controller) pokeChanged(snap *store.Snapshot, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all {
		for _, h := range c.hosts {
			h.poke()
		}
	}
	for id, hosts := range c.watched {
		if id != everyNetwork {
			revision := snap.NetworkRevision(id)
			if revision == c.seen[id] {
				continue
			}
			c.seen[id] = revision
		}
		for h := range hosts {
			h.poke()
		}
	}
}

// left takes a host whose loop has ended off the books.
func (c *Controller) left(h *host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hosts, h.id)
	for id := range h.interest {
		c.unwatch(h, id)
	}
}
