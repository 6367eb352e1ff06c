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

// path is what is known of the way to another host through one kind of tunnel and back. It is a state
// machine without a clock: begin says what to send, arrive what came back, and end draws conclusions.
//
// The largest frame is found by narrowing: good came back, bad did not, and the next round asks for both
// and some between. When they are neighbours the answer is good; both are still asked for each time, so
// that a lost frame or an underlay that changed moves them again.
type path struct {
	full int // bytes of the largest frame that guests may send

	round uint32
	open  bool  // a round is under way
	sizes []int // asked for in it, ascending
	back  []bool
	sent  time.Time
	// The times of the probe that only this host's switch sees, and of the least; 0: not back.
	control, trip time.Duration

	state  state
	missed int       // rounds in a row without any answer
	seen   time.Time // when something last came back
	rtt    time.Duration
	good   int // largest frame that came back; 0: none yet
	bad    int // smallest above it that did not; 0: none
	found  int // what the last finished search found; 0: none is finished
}

// begin starts a round and says which sizes to send besides the switch's own.
func (p *path) begin(now time.Time) []int {
	p.round++
	p.open, p.sent, p.control, p.trip = true, now, 0, 0
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

// arrive takes a probe of the current round; size 0 is that which only this host's switch saw. It says
// whether all are back.
func (p *path) arrive(round uint32, size int, now time.Time) (complete bool) {
	if !p.open || round != p.round {
		return false
	}
	if size == 0 {
		p.control = now.Sub(p.sent)
	} else if i := slices.Index(p.sizes, size); i >= 0 {
		if p.back[i] = true; i == 0 {
			p.trip = now.Sub(p.sent)
		}
		p.seen = now
	}
	return p.control > 0 && !slices.Contains(p.back, false)
}

// end finishes the round, and says whether to ask again soon: there is more to find out.
func (p *path) end() (again bool) {
	p.open = false
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
	if p.control > 0 && p.trip > 0 {
		p.rtt = max(p.trip-p.control, 0)
	}
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

// need changes the largest frame that guests may send. What is known to come back stays so.
func (p *path) need(full int) {
	if p.full == full {
		return
	}
	p.full, p.open = full, false
	p.good, p.bad, p.found = 0, 0, 0
}
