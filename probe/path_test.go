package probe

import (
	"slices"
	"testing"
	"time"
)

// wire is an underlay: frames up to a size pass, but for some that are lost.
type wire struct {
	carries int
	cut     bool
	lose    func(size int) bool
}

func (w *wire) passes(size int) bool {
	return !w.cut && size <= w.carries && (w.lose == nil || !w.lose(size))
}

// round asks a path once.
func (w *wire) round(p *path, now time.Time) (again bool) {
	p.begin(now)
	now = now.Add(time.Millisecond)
	for _, s := range p.try(now) {
		if w.passes(s) {
			p.arrive(s, now.Add(3*time.Millisecond))
		}
	}
	return p.end()
}

// rounds asks until there is nothing more to find out, and says how often that was.
func (w *wire) rounds(t *testing.T, p *path) (n int) {
	t.Helper()
	for n = 1; w.round(p, time.Unix(int64(n), 0)); n++ {
		if n == 50 {
			t.Fatalf("no end: good %d, bad %d", p.good, p.bad)
		}
	}
	return n
}

func TestPathInOrder(t *testing.T) {
	p := &path{full: 1464}
	w := &wire{carries: 1464}
	if n := w.rounds(t, p); n != 1 || p.state != up || p.found != 1464 || p.rtt != 2*time.Millisecond || !p.seen.Equal(time.Unix(1, 0).Add(4*time.Millisecond)) {
		t.Errorf("after %d rounds: %+v", n, p)
	}
	if !slices.Equal(p.sizes, []int{least, 1464}) {
		t.Errorf("asked for %v", p.sizes)
	}
}

// Every size is found, in few rounds; and what the underlay becomes then, too.
func TestPathNarrow(t *testing.T) {
	for full := least; full < 3000; full += 487 {
		for carries := least; carries <= full; carries++ {
			p := &path{full: full}
			w := &wire{carries: carries}
			if n := w.rounds(t, p); p.found != carries || n > 6 {
				t.Fatalf("%d of %d: found %d in %d rounds", carries, full, p.found, n)
			}
			for _, then := range []int{least, carries - 1, carries, carries + 1, (carries + full) / 2, full} {
				if then < least || then > full {
					continue
				}
				changed := *p
				w := &wire{carries: then}
				w.rounds(t, &changed)
				if w.rounds(t, &changed); changed.found != then {
					t.Fatalf("%d of %d, then %d: found %d", carries, full, then, changed.found)
				}
			}
		}
	}
}

// One lost frame changes nothing that is told.
func TestPathLoss(t *testing.T) {
	for _, carries := range []int{700, 1514} {
		p := &path{full: 1514}
		w := &wire{carries: carries}
		w.rounds(t, p)
		for _, lost := range append([]int{least}, p.sizes...) {
			once := true
			w.lose = func(size int) bool {
				was := once && size == lost
				once = once && !was
				return was
			}
			again := true
			for range 10 {
				if again = w.round(p, time.Now()); p.state != up || p.found != carries {
					t.Fatalf("of %d, frame of %d lost once: %+v", carries, lost, p)
				}
			}
			if again {
				t.Errorf("of %d, frame of %d lost once: the search goes on for ever", carries, lost)
			}
		}
	}
}

func TestPathDown(t *testing.T) {
	p := &path{full: 1514}
	w := &wire{carries: 1514}
	w.rounds(t, p)
	w.cut = true
	for i := 1; i < enough; i++ {
		if !w.round(p, time.Now()) || p.state != up {
			t.Fatalf("%d rounds without an answer: %+v", i, p)
		}
	}
	if w.round(p, time.Now()) || p.state != down {
		t.Fatalf("%d rounds without an answer: %+v", enough, p)
	}
	w.cut = false
	if w.round(p, time.Now()) || p.state != up || p.missed != 0 {
		t.Fatalf("after an answer: %+v", p)
	}
}

// What comes back twice, or was never asked for, counts for nothing, and a control channel that is stuck
// is not the path's.
func TestPathStale(t *testing.T) {
	p := &path{full: 1514}
	now := time.Now()
	p.begin(now)
	if p.end() || p.state != unknown || p.missed != 0 {
		t.Errorf("without the switch: %+v", p)
	}
	p.begin(now)
	p.try(now.Add(1))
	if p.arrive(1000, now.Add(2)) || !p.seen.IsZero() {
		t.Errorf("a size that was not asked for: %+v", p)
	}
	p.arrive(1514, now.Add(2))
	if p.arrive(1514, now.Add(3)) {
		t.Error("one frame twice is taken for both")
	}
	if p.end(); p.state != up || p.found != 1514 || p.rtt != 0 || !p.seen.Equal(now.Add(2)) {
		t.Errorf("without the least: %+v", p)
	}
}

// Round trips are smoothed, and never nothing.
func TestPathRTT(t *testing.T) {
	p := &path{full: least}
	now := time.Now()
	for _, c := range []struct{ control, trip, want time.Duration }{{100, 300, 200}, {100, 1100, 300}, {500, 100, 263}} {
		p.begin(now)
		p.try(now.Add(c.control))
		p.arrive(least, now.Add(c.control+c.trip))
		if p.end(); p.rtt != c.want {
			t.Errorf("control %d, trip %d: %d, want %d", c.control, c.trip, p.rtt, c.want)
		}
	}
}
