package probe

import (
	"slices"
	"time"
)

const (
	// patience is how long a probe may take. What comes later is lost: a guest would think so too.
	patience = time.Second
	// enough rounds without any answer mean that the path is down.
	enough = 3
	// rungs is by how many steps a search for the largest frame narrows in one round.
	rungs = 7
)

// state is whether a path carries frames.
type state uint8

const (
	unknown state = iota // not asked yet, or not often enough
	up
	down
)

// phase is how far a round has come.
type phase uint8

const (
	idle     phase = iota
	checking       // a probe is on its way to this host's switch and back
	trying         // probes are on their way through the tunnel
)

// path is what is known of the way to another host through one kind of tunnel and back. It is a state
// machine without a clock.
//
// A round begins with a probe that this host's switch sends back at once. Only if that comes are frames
// sent through the tunnel, so that a control channel which is slow or stuck says nothing of the path,
// and the time it takes is known. When all frames have come back, or their time is up, the round ends.
//
// The largest frame is found by narrowing: good came back, bad did not, and the next round asks for both
// and some between. When they are neighbours the answer is good; both are still asked for each time, so
// that a lost frame or an underlay that changed moves them again.
type path struct {
	full int // bytes of the largest frame that guests may send

	round   uint32
	phase   phase
	sent    time.Time     // when the phase began
	control time.Duration // what the control channel has of a round trip
	sizes   []int         // tried in this round, ascending
	back    []bool

	state  state
	missed int           // rounds in a row without any answer
	seen   time.Time     // when something last came back
	rtt    time.Duration // of the least frame without the control channel, smoothed; 0: not measured
	good   int           // largest frame that came back; 0: none yet
	bad    int           // smallest above it that did not; 0: none
	found  int           // what the last finished search found; 0: none is finished
}

// begin begins a round: a probe goes to this host's switch.
func (p *path) begin(now time.Time) {
	p.round++
	p.phase, p.sent = checking, now
}

// try goes on when that has come back, and says which sizes to send through the tunnel.
func (p *path) try(now time.Time) []int {
	p.phase, p.control, p.sent = trying, now.Sub(p.sent), now
	p.sizes = append(p.sizes[:0], least)
	if p.bad == 0 {
		p.sizes = append(p.sizes, p.full)
	} else {
		for i, steps := 0, min(p.bad-p.good, rungs); i <= steps; i++ {
			p.sizes = append(p.sizes, p.good+(p.bad-p.good)*i/steps)
		}
	}
	p.sizes = slices.Compact(p.sizes)
	p.back = append(p.back[:0], make([]bool, len(p.sizes))...)
	return p.sizes
}

// arrive takes a frame that came back through the tunnel, and says whether all have.
func (p *path) arrive(size int, now time.Time) (complete bool) {
	i := slices.Index(p.sizes, size)
	if i < 0 || p.back[i] {
		return false
	}
	p.back[i], p.seen = true, now
	if i == 0 {
		p.smooth(max(now.Sub(p.sent)-p.control, 1))
	}
	return !slices.Contains(p.back, false)
}

// smooth takes a round trip as TCP does (RFC 6298 §2): a switch looks at what there is to do in turns, so
// that each is too long by up to some tenths of a millisecond.
func (p *path) smooth(rtt time.Duration) {
	if p.rtt == 0 {
		p.rtt = rtt
	}
	p.rtt += (rtt - p.rtt) / 8
}

// end finishes the round, and says whether to ask again soon: there is more to find out.
func (p *path) end() (again bool) {
	was := p.phase
	p.phase = idle
	if was != trying {
		return false
	}
	largest := 0
	for i, size := range p.sizes {
		if p.back[i] {
			largest = size
		}
	}
	if largest == 0 {
		if p.missed++; p.missed < enough {
			return true
		}
		p.state = down
		return false
	}
	p.state, p.missed = up, 0
	p.good = largest
	switch i := slices.Index(p.sizes, largest); {
	case largest == p.full:
		p.bad, p.found = 0, p.full
		return false
	case i+1 < len(p.sizes):
		p.bad = p.sizes[i+1]
	default: // what had been too large came back
		p.bad = p.full
	}
	if p.bad-p.good > 1 {
		return true
	}
	p.found = p.good
	return false
}

// need changes the largest frame that guests may send, between two rounds.
func (p *path) need(full int) {
	if p.full == full {
		return
	}
	p.full = full
	p.good, p.bad, p.found = 0, 0, 0
}
