package controller

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// puntQueue is how many punted packets of one host may wait for their handler.
const puntQueue = 256

// link is one bridge's OpenFlow connection.
type link struct {
	conn    *openflow.Conn
	bridge  flows.Bridge
	queue   chan puntedPacket
	dropped atomic.Uint64 // punts that found the queue full
	log     *slog.Logger
	name    string // of its TLS certificate
	secure  bool   // TLS is spoken
	owner   atomic.Pointer[host]
	foreign atomic.Bool // somebody else changed the flows

	primary bool // the bridge granted the role
	seen    bool // one plan was carried out on this connection
	state   found
}

// found is what the last dump found on a bridge, until a plan settles it.
type found uint8

const (
	foundNothingNew found = iota
	foundOurs             // our sentinel was there
	foundEmpty            // no sentinel: a new bridge, or a restarted switch
)

// puntedPacket is what the reader keeps of a packet-in.
type puntedPacket struct {
	op              flows.Op
	key, generation uint32
	frame           []byte
}

// lost is closed when the connection has ended; nil, which never is, without one.
func (l *link) lost() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.conn.Done()
}

// found looks for the bridge's sentinel in a dump: it is written last, so that a switch which has it was
// programmed to the end and not restarted since.
func (l *link) found(in flows.Installed) {
	l.state = foundEmpty
	for i := range in.Flows {
		if in.Flows[i].Table == l.bridge.Sentinel().Number {
			l.state = foundOurs
		}
	}
}

// settled says what the last dump found, once.
func (l *link) settled() found {
	s := l.state
	l.state = foundNothingNew
	return s
}

// packetIn takes a punted packet from the connection's reader: it copies it and never waits.
func (l *link) packetIn(p *openflow.PacketIn) {
	if h := l.owner.Load(); h != nil && l.bridge == flows.BrTun {
		h.probing.take(p)
		return
	}
	key, generation, err := flows.ParseUserdata(p.UserData)
	op, has := p.Uint(flows.RegOp.Field)
	if err != nil || !has {
		return
	}
	select {
	case l.queue <- puntedPacket{flows.Op(op), key, generation, append([]byte(nil), p.Packet...)}:
	default:
		l.dropped.Add(1)
	}
}

// watch asks for the changes that others make to flows. One monitor covers all tables: the switch goes
// through every monitor at every change, and changes to undeclared tables count too.
func (l *link) watch(ctx context.Context) error {
	return l.conn.Monitor(ctx, openflow.FlowMonitorRequest{ID: 1, Table: openflow.TableAll, Flags: openflow.MonitorAdd | openflow.MonitorRemoved | openflow.MonitorModify})
}

// flowUpdate takes the flow monitor's word that flows changed. The controller's own changes come
// abbreviated; any other makes the loop read the switch again.
func (l *link) flowUpdate(u *openflow.FlowUpdate) {
	switch u.Event {
	case openflow.FlowAdded, openflow.FlowRemovedEvent, openflow.FlowModified:
		if t := flows.TableOf(l.bridge, u.Table); t != nil && t.Learned {
			return
		}
		l.foreign.Store(true)
		if h := l.owner.Load(); h != nil {
			h.poke()
		}
	}
}

// serve answers punted packets until the connection ends.
func (l *link) serve(from *atomic.Pointer[punts], handlers map[flows.Op]flows.Handler) {
	var p flows.Punt
	for {
		var in puntedPacket
		select {
		case <-l.conn.Done():
			return
		case in = <-l.queue:
		}
		table := from.Load()
		if table == nil {
			continue
		}
		port, ok := table.byKey[in.key]
		if !ok || port.port.Generation != in.generation {
			continue // another VIF has the key by now
		}
		handler := handlers[in.op]
		if handler == nil {
			continue
		}
		p = flows.Punt{Op: in.op, Network: port.network, Port: port.port, Packet: in.frame}
		err := handler.Handle(&p, func(frame []byte) {
			out := &openflow.PacketOut{InPort: openflow.PortController, Actions: table.outputTo(port.port.OFPort), Data: frame}
			if err := l.conn.Send(out); err != nil {
				l.log.Debug("punt not answered", "port", port.port.ID, "error", err)
			}
		})
		if err != nil {
			l.log.Debug("punt dropped", "port", port.port.ID, "op", in.op, "error", err)
		}
	}
}

// punts is which VIF may be answered under which key; immutable.
type punts struct {
	view  *flows.View
	byKey map[uint32]puntPort
}

type puntPort struct {
	network *flows.Network
	port    *flows.LocalPort
}

// puntsOf reads a view; was serves again if nothing changed.
func puntsOf(v *flows.View, was *punts) *punts {
	if was != nil && sameNetworks(was.view, v) {
		return was
	}
	p := &punts{view: v, byKey: map[uint32]puntPort{}}
	for _, n := range v.Networks {
		for _, port := range n.Local {
			p.byKey[port.Key] = puntPort{n, port}
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

func (p *punts) outputTo(ofport uint32) openflow.Actions {
	return openflow.MustActions(openflow.Output{Port: ofport})
}
