package controller

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/flows"
)

// history is when things happened on a host, as its loop saw them. It is kept in memory for the operator
// (explain.go); nothing is decided by it.
type history struct {
	vifs    map[uuid.UUID]*steps          // of the VIFs that are there
	lost    [len(flows.Bridges)]time.Time // when the bridge's OpenFlow connection ended last; zero: never
	repairs []repair                      // the last ones, oldest first
}

// steps are when a VIF's steps were taken; zero: not yet.
type steps struct {
	generation   uint32
	seen         time.Time // the interface, with this port's ID, is in the host's database
	wired        time.Time // it is to have flows
	sent         time.Time // its flows were sent; zero although acknowledged: the switch had them already
	acknowledged time.Time // the switch has them
	active       time.Time // the store was told
}

// repair is a foreign change of a bridge's flows that was undone.
type repair struct {
	at      time.Time
	bridge  flows.Bridge
	added   int      // flows, groups … that had been taken away or changed
	removed int      // that somebody had added
	changes []string // what was done, as a plan prints it; the first ones
}

const (
	mostRepairs = 16 // that are kept of a host
	mostChanges = 10 // of a repair
)

// saw records the VIFs that are there, and which are to have flows.
func (y *history) saw(vifs []vif, now time.Time) {
	there := make(map[uuid.UUID]*steps, len(vifs))
	for i := range vifs {
		v := &vifs[i]
		if there[v.id] != nil && v.wired == nil {
			continue // a second interface that names the port
		}
		s := y.vifs[v.id]
		if s == nil || s.generation != v.generation() {
			s = &steps{generation: v.generation(), seen: now}
		}
		switch {
		case v.wired == nil:
			s.wired, s.sent, s.acknowledged, s.active = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		case s.wired.IsZero():
			s.wired = now
		}
		there[v.id] = s
	}
	y.vifs = there
}

// done records that the flows of all wired VIFs are acknowledged, with a plan that was sent and committed
// then, or with none (zero), and that the store was told.
func (y *history) done(sent, committed time.Time) {
	now := time.Now()
	for _, s := range y.vifs {
		if s.wired.IsZero() || !s.acknowledged.IsZero() {
			continue
		}
		s.sent, s.acknowledged, s.active = sent, committed, now
		if committed.IsZero() {
			s.acknowledged = now
		}
	}
}

// repaired records what had to be undone.
func (y *history) repaired(plan *flows.BridgePlan) {
	r := repair{at: time.Now(), bridge: plan.Bridge,
		added:   len(plan.AddMeters) + len(plan.AddGroups) + len(plan.AddBuckets) + len(plan.AddFlows),
		removed: len(plan.DeleteMeters) + len(plan.DeleteGroups) + len(plan.DeleteBuckets) + len(plan.DeleteFlows)}
	for line := range strings.Lines(plan.String()) {
		if len(r.changes) == mostChanges {
			break
		}
		r.changes = append(r.changes, strings.TrimSpace(line))
	}
	if len(y.repairs) == mostRepairs {
		y.repairs = append(y.repairs[:0], y.repairs[1:]...)
	}
	y.repairs = append(y.repairs, r)
}
