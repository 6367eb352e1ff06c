package controller

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// link is one bridge's OpenFlow connection.
type link struct {
	conn     *openflow.Conn
	bridge   flows.Bridge
	answerer answerer // the reader's
	queue    chan puntedPacket
	dropped  [puntDrops]atomic.Uint64
	log      *slog.Logger
	name     string // of its TLS certificate
	secure   bool   // TLS is spoken
	owner    atomic.Pointer[host]
	wired    chan struct{} // has one element when br-int was programmed since announce looked
	foreign  atomic.Bool   // somebody else changed the flows

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
