package controller

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// A punted packet goes from the connection's reader (packetIn), which finds out whose it is and may
// refuse it, through the host's queue to the one goroutine that answers (serve). A port that asks too
// much is held back twice, by its meter in the switch and by its bucket here, and fills no more than
// half of the queue, so that its neighbours' requests find room.
const (
	puntQueue = 256 // punted packets of one host that may wait for their handler
	puntShare = puntQueue / 2
)

// puntDrop is why a punted packet did not reach its handler.
type puntDrop uint8

const (
	dropStale puntDrop = iota // its VIF is gone, or nobody answers its operation
	dropRate                  // the port asked too often
	dropQueue                 // too much was waiting
	puntDrops
)

var puntDropNames = [puntDrops]string{dropStale: "stale", dropRate: "rate", dropQueue: "queue"}

// puntedPacket is what the reader keeps of a packet-in.
type puntedPacket struct {
	op    flows.Op
	view  *flows.View
	from  puntPort
	frame []byte
}

// punts is which VIF may be answered under which key; immutable.
type punts struct {
	view   *flows.View
	byKey  map[uint32]puntPort
	byPort map[uuid.UUID]puntPort
}

type puntPort struct {
	network *flows.Network
	port    *flows.LocalPort
	out     openflow.Actions
	asker   *asker
}

// asker is a VIF as the one who asks. It lives as long as the VIF, whatever else of the view changes.
type asker struct {
	since   time.Time
	bucket  bucket // the reader's
	limited atomic.Uint64
	waiting atomic.Int32 // packets in the queue
	warned  time.Time    // the one goroutine's that answers

	mu   sync.Mutex             // held while a packet is handled
	last map[flows.Op]*exchange // of handlers that explain
}

// exchange is the last request of an operation, and what became of it.
type exchange struct {
	at              time.Time
	count           uint64 // of requests, this one included
	request, answer []byte // frames; answer is empty if there was none
	err             error  // of the handler
}

// puntsOf reads a view; was serves again if nothing changed.
func puntsOf(v *flows.View, was *punts) *punts {
	if was != nil && sameNetworks(was.view, v) {
		return was
	}
	p := &punts{view: v, byKey: map[uint32]puntPort{}, byPort: map[uuid.UUID]puntPort{}}
	for _, n := range v.Networks {
		for _, port := range n.Local {
			from := puntPort{network: n, port: port}
			if was != nil {
				if old, ok := was.byPort[port.ID]; ok && old.port.Key == port.Key && old.port.Generation == port.Generation {
					from.asker, from.out = old.asker, old.out
				}
			}
			if from.asker == nil {
				from.asker = &asker{since: time.Now(), last: map[flows.Op]*exchange{}}
				from.out = openflow.MustActions(openflow.Output{Port: port.OFPort})
			}
			p.byKey[port.Key], p.byPort[port.ID] = from, from
		}
	}
	return p
}

func sameNetworks(a, b *flows.View) bool {
	if len(a.Networks) != len(b.Networks) {
		return false
	}
	for i := range a.Networks {
		if a.Networks[i] != b.Networks[i] {
			return false
		}
	}
	return true
}

// packetIn takes a punted packet from the connection's reader: it copies it and never waits.
func (l *link) packetIn(p *openflow.PacketIn) {
	h := l.owner.Load()
	if h == nil {
		return
	}
	if l.bridge == flows.BrTun {
		h.probing.take(p)
		return
	}
	in := puntedPacket{frame: p.Packet}
	if drop, ok := in.admit(p, h, time.Now()); !ok {
		l.dropped[drop].Add(1)
		return
	}
	in.frame = append([]byte(nil), p.Packet...)
	in.from.asker.waiting.Add(1)
	select {
	case l.queue <- in:
	default:
		in.from.asker.waiting.Add(-1)
		l.dropped[dropQueue].Add(1)
	}
}

// admit finds out who asks for what, and whether it may just now.
func (in *puntedPacket) admit(p *openflow.PacketIn, h *host, now time.Time) (why puntDrop, ok bool) {
	key, generation, err := flows.ParseUserdata(p.UserData)
	op, has := p.Uint(flows.RegOp.Field)
	table := h.punts.Load()
	if err != nil || !has || table == nil || h.c.o.Handlers[flows.Op(op)] == nil {
		return dropStale, false
	}
	if in.from, ok = table.byKey[key]; !ok || in.from.port.Generation != generation { // another VIF has the key by now
		return dropStale, false
	}
	in.op, in.view = flows.Op(op), table.view
	a := in.from.asker
	if !a.bucket.take(now, h.c.o.PuntRate) {
		a.limited.Add(1)
		return dropRate, false
	}
	return dropQueue, a.waiting.Load() < puntShare
}

// bucket lets packets pass at a rate, and as many at once as pass in burstTime.
type bucket struct {
	tokens float64
	at     time.Time // of the last packet; zero: none
}

// burstTime makes a full bucket hold flows.PuntBurst packets at flows.PuntRate, as the port's meter does.
const burstTime = flows.PuntBurst * time.Second / flows.PuntRate

func (b *bucket) take(now time.Time, rate int) bool {
	most := float64(rate) * burstTime.Seconds()
	if b.at.IsZero() {
		b.tokens = most
	} else {
		b.tokens = min(most, b.tokens+now.Sub(b.at).Seconds()*float64(rate))
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// serve answers punted packets until the connection ends.
func (l *link) serve(handlers map[flows.Op]flows.Handler) {
	for {
		select {
		case <-l.conn.Done():
			return
		case in := <-l.queue:
			in.from.asker.waiting.Add(-1)
			l.answer(handlers[in.op], &in)
		}
	}
}

// answer has a packet handled.
func (l *link) answer(handler flows.Handler, in *puntedPacket) {
	from := in.from
	send := func(frame []byte) {
		if h := l.owner.Load(); h == nil || h.punts.Load().byKey[from.port.Key].asker != from.asker {
			return // by now: another VIF has the key
		}
		if err := l.conn.Send(&openflow.PacketOut{InPort: openflow.PortController, Actions: from.out, Data: frame}); err != nil {
			l.log.Debug("punt not answered", "port", from.port.ID, "error", err)
		}
	}
	punt := flows.Punt{Op: in.op, View: in.view, Network: from.network, Port: from.port, Packet: in.frame}
	var err error
	if _, ok := handler.(explainer); ok {
		err = from.asker.watch(handler, &punt, send)
	} else {
		err = handler.Handle(&punt, send)
	}
	var conflict dhcp.InUse
	switch {
	case errors.As(err, &conflict) && from.asker.warn():
		l.log.Warn("a machine outside of the API's knowledge has a port's address", "port", from.port.ID, "network", from.network.ID, "address", conflict.Address, "told_by", conflict.Message)
	case err != nil:
		l.log.Debug("punt dropped", "port", from.port.ID, "op", in.op, "error", err)
	}
}

// warnRest is how long a port's warnings are silent after one: a guest must not fill the log.
const warnRest = time.Minute

// warn says whether to warn of what the port said.
func (a *asker) warn() bool {
	if !a.warned.IsZero() && time.Since(a.warned) < warnRest {
		return false
	}
	a.warned = time.Now()
	return true
}

// explainer is a handler that can tell what it did, and replies only while it handles.
type explainer interface {
	flows.Handler
	Explain(p *flows.Punt, answer []byte, err error) dhcp.Exchange
}

// watch has a packet handled and keeps what became of it.
func (a *asker) watch(handler flows.Handler, p *flows.Punt, send func(frame []byte)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.last[p.Op]
	if x == nil {
		x = &exchange{}
		a.last[p.Op] = x
	}
	x.at, x.request, x.answer = time.Now(), p.Packet, x.answer[:0]
	x.count++
	x.err = handler.Handle(p, func(frame []byte) {
		x.answer = append(x.answer[:0], frame...)
		send(frame)
	})
	return x.err
}
