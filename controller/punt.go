package controller

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// The connection's reader (packetIn) finds out whose a punted packet is, and may refuse it. What a prompt
// handler answers is answered there and then: that costs less than to wake another goroutine. The rest goes
// through the host's queue to the one goroutine that serves it. A port that asks too much is held back twice,
// by its meter in the switch and by its bucket here, and fills no more than half of the queue, so that its
// neighbours' requests find room.
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

// puntedPacket is a packet-in whose asker is known.
type puntedPacket struct {
	op    flows.Op
	view  *flows.View
	from  puntPort
	frame []byte
}

func (in *puntedPacket) punt() flows.Punt {
	return flows.Punt{Op: in.op, View: in.view, Network: in.from.network, Port: in.from.port, Packet: in.frame}
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
	warned  time.Time    // the reader's

	mu   sync.Mutex             // held while a prompt handler has a packet
	last map[flows.Op]*exchange // of prompt handlers
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

// packetIn takes a punted packet from the connection's reader. It never waits.
func (l *link) packetIn(p *openflow.PacketIn) {
	h := l.owner.Load()
	if h == nil {
		return
	}
	if flows.IsCaptured(p.UserData) {
		h.c.captures.take(h, p)
		return
	}
	if l.bridge == flows.BrTun {
		h.probing.take(p)
		return
	}
	in, now := puntedPacket{frame: p.Packet}, time.Now()
	if drop, ok := in.admit(p, h, now); !ok {
		l.dropped[drop].Add(1)
		return
	}
	h.activity.punted(in.op)
	h.c.captures.spoken(h, &in.from, inspect.PointPunt, in.op, p.Packet)
	if handler, ok := h.c.o.Handlers[in.op].(prompt); ok {
		if answer := l.answerer.answer(l, handler, &in, now); len(answer) > 0 {
			h.c.captures.spoken(h, &in.from, inspect.PointAnswer, in.op, answer)
		}
		return
	}
	a := in.from.asker
	if a.waiting.Load() >= puntShare {
		l.dropped[dropQueue].Add(1)
		return
	}
	in.frame = append([]byte(nil), p.Packet...)
	a.waiting.Add(1)
	select {
	case l.queue <- in:
	default:
		a.waiting.Add(-1)
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
	return 0, true
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

// serve hands queued packets to their handlers until the connection ends.
func (l *link) serve(handlers map[flows.Op]flows.Handler) {
	for {
		select {
		case <-l.conn.Done():
			return
		case in := <-l.queue:
			in.from.asker.waiting.Add(-1)
			l.pass(handlers[in.op], &in)
		}
	}
}

// pass hands a queued packet to its handler, which replies when it can.
func (l *link) pass(handler flows.Handler, in *puntedPacket) {
	from, op, punt := in.from, in.op, in.punt()
	err := handler.Handle(&punt, func(frame []byte) {
		h := l.owner.Load()
		if h == nil || h.punts.Load().byKey[from.port.Key].asker != from.asker {
			return // by now: another VIF has the key
		}
		h.c.captures.spoken(h, &from, inspect.PointAnswer, op, frame)
		if err := l.conn.Send(&openflow.PacketOut{InPort: openflow.PortController, Actions: from.out, Data: frame}); err != nil {
			l.log.Debug("punt not answered", "port", from.port.ID, "error", err)
		}
	})
	if err != nil {
		l.unanswered(in, err)
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

// prompt is a handler that replies while it handles or not at all, takes microseconds, and can tell what it
// did.
type prompt interface {
	flows.Handler
	Explain(p *flows.Punt, answer []byte, err error) dhcp.Exchange
}

// answerer has prompt handlers answer, one packet after the other. What it needs for one serves for all.
type answerer struct {
	punt  flows.Punt
	out   openflow.PacketOut
	conn  *openflow.Conn
	last  *exchange // that the packet becomes
	sent  error
	reply func(frame []byte) // the method send
}

// answer has a packet answered and keeps what became of it. The answer, empty if there was none, is the reader's
// until the port's next request.
func (w *answerer) answer(l *link, handler prompt, in *puntedPacket, now time.Time) []byte {
	a := in.from.asker
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.last[in.op]
	if x == nil {
		x = &exchange{}
		a.last[in.op] = x
	}
	x.at, x.request, x.answer = now, append(x.request[:0], in.frame...), x.answer[:0]
	x.count++
	if w.reply == nil {
		w.reply = w.send
	}
	w.punt, w.out = in.punt(), openflow.PacketOut{InPort: openflow.PortController, Actions: in.from.out}
	w.conn, w.last, w.sent = l.conn, x, nil
	x.err = handler.Handle(&w.punt, w.reply)
	switch {
	case x.err != nil:
		l.unanswered(in, x.err)
	case w.sent != nil:
		l.log.Debug("punt not answered", "port", w.punt.Port.ID, "error", w.sent)
	}
	return x.answer
}

// unanswered logs why a packet has no answer.
func (l *link) unanswered(in *puntedPacket, err error) {
	from := in.from
	var conflict dhcp.InUse
	if errors.As(err, &conflict) && from.asker.warn() {
		l.log.Warn("a machine outside of the API's knowledge has a port's address", "port", from.port.ID, "network", from.network.ID, "address", conflict.Address, "told_by", conflict.Message)
		return
	}
	l.log.Debug("punt dropped", "port", from.port.ID, "op", in.op, "error", err)
}

// send sends the answer to the packet that is being handled.
func (w *answerer) send(frame []byte) {
	w.last.answer = append(w.last.answer[:0], frame...)
	w.out.Data = frame
	w.sent = w.conn.Reply(&w.out)
}

// exchanges copies the last of each operation: to read them takes longer than a connection's reader may wait.
func (a *asker) exchanges() map[flows.Op]exchange {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := make(map[flows.Op]exchange, len(a.last))
	for op, x := range a.last {
		last[op] = exchange{x.at, x.count, slices.Clone(x.request), slices.Clone(x.answer), x.err}
	}
	return last
}
