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
	sizes := slices.Clone(p.begin(now))
	p.arrive(p.round, 0, now.Add(time.Millisecond))
	for _, s := range sizes {
		if w.passes(s) {
			p.arrive(p.round, s, now.Add(3*time.Millisecond))
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
	if n := w.rounds(t, p); n != 1 || p.state != up || p.found != 1464 || p.rtt != 2*time.Millisecond || !p.seen.Equal(time.Unix(1, 0).Add(3*time.Millisecond)) {
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

// What comes back too late, twice, or was never asked for, counts for nothing.
func TestPathStale(t *testing.T) {
	p := &path{full: 1514}
	now := time.Now()
	p.begin(now)
	for _, a := range []struct {
		round uint32
		size  int
	}{{0, 1514}, {2, 1514}, {1, 1000}} {
		p.arrive(a.round, a.size, now)
	}
	if p.end(); p.state != unknown || p.missed != 1 || !p.seen.IsZero() && p.good != 0 {
		t.Errorf("%+v", p)
	}
	p.arrive(1, 1514, now)
	if p.good != 0 {
		t.Errorf("after the round: %+v", p)
	}
	// Without the switch's own probe the round trip is not known, and the rest is.
	p.begin(now)
	p.arrive(2, least, now.Add(1))
	if p.arrive(2, 1514, now.Add(2)) {
		t.Error("complete without the switch's own")
	}
	if p.end(); p.state != up || p.rtt != 0 || p.found != 1514 {
		t.Errorf("%+v", p)
	}
}
