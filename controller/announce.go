package controller

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// An announcement is sent again after a time between these, another one each time so that hosts do not
// speak at once: the defaults of routers (RFC 4861 section 6.2.1).
const (
	announceSoonest = 200 * time.Second
	announceLatest  = 600 * time.Second
)

// announceOutputs is how many VIFs one packet-out goes to.
const announceOutputs = 64

// poke tells announce that the host is wired as its view says.
func (l *link) poke() {
	select {
	case l.wired <- struct{}{}:
	default:
	}
}

// announce sends VIFs what features have to say to them unasked, until the connection ends. It begins
// when the host is wired.
func (l *link) announce(h *host) {
	a := announcements{features: h.c.announcers, said: map[announced]*announcement{}}
	timer := time.NewTimer(announceLatest)
	defer timer.Stop()
	for begun := false; ; {
		select {
		case <-l.conn.Done():
			return
		case <-l.wired:
			begun = true
		case <-timer.C:
		}
		if !begun {
			continue
		}
		again := a.step(time.Now(), h.punts.Load(), func(out *openflow.PacketOut) {
			if err := l.conn.Send(out); err != nil {
				l.log.Debug("announcement not sent", "error", err)
			}
		})
		timer.Reset(time.Until(again))
	}
}

// announcements is what was said to the VIFs of one host.
type announcements struct {
	features []flows.Announcer
	said     map[announced]*announcement
}

// announced is which feature spoke on which network.
type announced struct {
	feature int
	network uuid.UUID
}

type announcement struct {
	network *flows.Network // that frame is from
	frame   []byte
	again   time.Time       // when all hear it again
	heard   map[*asker]bool // who did
}

// step sends what has to be sent by now, and says when to look again. VIFs that are new hear at once,
// and all do when what is to be said has changed.
func (a *announcements) step(now time.Time, t *punts, send func(*openflow.PacketOut)) (again time.Time) {
	again = now.Add(announceLatest)
	was := a.said
	a.said = make(map[announced]*announcement, len(was))
	for i, feature := range a.features {
		for _, n := range t.view.Networks {
			id := announced{i, n.ID}
			s := was[id]
			if s == nil {
				s = &announcement{}
			}
			a.said[id] = s
			if s.network != n {
				frame := feature.Announce(n)
				if !bytes.Equal(frame, s.frame) {
					s.again = now
				}
				s.network, s.frame = n, frame
			} else if now.Before(s.again) {
				again = earlier(again, s.again)
				continue
			}
			s.tell(now, t, send)
			again = earlier(again, s.again)
		}
	}
	return again
}

// tell sends the announcement to the VIFs that have to hear it now.
func (s *announcement) tell(now time.Time, t *punts, send func(*openflow.PacketOut)) {
	if s.frame == nil {
		s.heard, s.again = nil, now.Add(announceLatest)
		return
	}
	had := s.heard
	if !now.Before(s.again) {
		had = nil
		s.again = now.Add(announceSoonest + rand.N(announceLatest-announceSoonest))
	}
	s.heard = make(map[*asker]bool, len(s.network.Local))
	var outputs []openflow.Action
	for _, p := range s.network.Local {
		from := t.byPort[p.ID].asker
		s.heard[from] = true
		if !had[from] {
			outputs = append(outputs, openflow.Output{Port: p.OFPort})
		}
	}
	for some := range slices.Chunk(outputs, announceOutputs) {
		send(&openflow.PacketOut{InPort: openflow.PortController, Actions: openflow.MustActions(some...), Data: s.frame})
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
