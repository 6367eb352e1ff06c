package controller

import (
	"sync/atomic"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
)

// activity is how busy a host is: counts since it connected, and the last of what is measured.
type activity struct {
	punts [flows.OpAnnounced + 1]atomic.Uint64 // by operation; the connections' readers count
	// The loop's own.
	planned      int           // changes in the last plan that was sent
	compiled     time.Duration // the last compilation
	acknowledged time.Duration // from the first message of the last plan to the last acknowledgement
}

// punted counts a packet of a VIF that the controller was asked to answer.
func (a *activity) punted(op flows.Op) {
	if int(op) < len(a.punts) {
		a.punts[op].Add(1)
	}
}

// describe is the activity as the operator sees it.
func (a *activity) describe(l *link) *inspect.Activity {
	out := &inspect.Activity{Punts: map[string]uint64{}, Dropped: map[string]uint64{}, LastPlan: a.planned, Compile: a.compiled.Microseconds(), Acknowledge: a.acknowledged.Microseconds()}
	for op := range a.punts {
		if n := a.punts[op].Load(); n > 0 {
			out.Punts[flows.Op(op).String()] = n
		}
	}
	if l != nil {
		for why, name := range puntDropNames {
			if n := l.dropped[why].Load(); n > 0 {
				out.Dropped[name] = n
			}
		}
	}
	return out
}
