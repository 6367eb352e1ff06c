package flows

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/flows/openflow"
)

// Installed is what a dump of one bridge found.
type Installed struct {
	Flows  []openflow.FlowStats
	Groups []openflow.GroupDesc
	Meters []openflow.MeterConfig
}

// Load takes a dump of a bridge for what is installed there, in place of what was believed.
func (c *Compiler) Load(b Bridge, in Installed) {
	s := &c.state[b]
	s.flows.forget()
	s.groups.forget()
	s.buckets.forget()
	s.meters.forget()
	for i := range in.Flows {
		f := &in.Flows[i]
		if t := TableOf(b, f.Table); t != nil && t.Learned {
			continue
		}
		k := Key{f.Table, f.Priority, f.Match}
		owner, kind, _ := CookieParts(f.Cookie)
		have := &Flow{Key: k, Instructions: f.Instructions, Owner: owner, Object: Object{Kind: kind}}
		for i := range 6 {
			have.Object.ID[i] = byte(f.Cookie >> (8 * (5 - i)))
		}
		if w := s.flows.m[k].wanted; w != nil && sameFlow(w, have) {
			have = w // one copy of equal flows
		}
		s.flows.install(k, have)
	}
	for i := range in.Groups {
		g := &in.Groups[i]
		s.groups.install(g.ID, &Group{ID: g.ID, foreign: g.Type != openflow.GroupTypeAll})
		for _, k := range g.Buckets {
			s.buckets.install(bucketKey{g.ID, k.ID}, &Bucket{Group: g.ID, ID: k.ID, Actions: k.Actions})
		}
	}
	for i := range in.Meters {
		s.meters.install(in.Meters[i].ID, meterOf(&in.Meters[i]))
	}
}

func sameFlow(a, b *Flow) bool {
	return a.Instructions == b.Instructions && a.Cookie() == b.Cookie()
}

// Plan is what must be sent to a host, per bridge. Empty when there is nothing to do.
type Plan [len(Bridges)]BridgePlan

// BridgePlan is the difference between what is wanted and what is installed on one bridge.
type BridgePlan struct {
	Bridge        Bridge
	AddMeters     []*Meter // new or changed
	DeleteMeters  []*Meter
	AddGroups     []*Group
	DeleteGroups  []*Group
	AddBuckets    []*Bucket // new or changed
	DeleteBuckets []*Bucket // gone or changed
	AddFlows      []*Flow   // new or changed
	DeleteFlows   []*Flow   // gone

	modMeters map[uint32]bool // those of AddMeters that exist already
	changed   int             // how many of AddFlows replace a flow
}

// Plan compares wanted with installed. It is cheap when little changed: only keys touched since the
// last Plan are looked at.
func (c *Compiler) Plan() *Plan {
	p := &Plan{}
	for i := range c.state {
		b, s := &p[i], &c.state[i]
		b.Bridge = Bridge(i)
		diff(&s.meters, func(a, b *Meter) bool { return *a == *b }, func(want, have *Meter) {
			if want != nil {
				b.AddMeters = append(b.AddMeters, want)
				if have != nil {
					if b.modMeters == nil {
						b.modMeters = map[uint32]bool{}
					}
					b.modMeters[want.ID] = true
				}
			} else {
				b.DeleteMeters = append(b.DeleteMeters, have)
			}
		})
		diff(&s.groups, func(_, have *Group) bool { return !have.foreign }, func(want, have *Group) {
			if want != nil {
				b.AddGroups = append(b.AddGroups, want)
			}
			if have != nil {
				b.DeleteGroups = append(b.DeleteGroups, have)
			}
		})
		diff(&s.buckets, func(a, b *Bucket) bool { return a.Actions == b.Actions }, func(want, have *Bucket) {
			if want != nil {
				b.AddBuckets = append(b.AddBuckets, want)
			}
			if have != nil {
				b.DeleteBuckets = append(b.DeleteBuckets, have)
			}
		})
		diff(&s.flows, sameFlow, func(want, have *Flow) {
			if want == nil {
				b.DeleteFlows = append(b.DeleteFlows, have)
				return
			}
			b.AddFlows = append(b.AddFlows, want)
			if have != nil {
				b.changed++
			}
		})
		b.sort()
	}
	return p
}

// diff reports the dirty keys whose wanted and installed values differ, and forgets the others.
func diff[K comparable, V any](s *slots[K, V], same func(want, have *V) bool, report func(want, have *V)) {
	many := len(s.dirty)
	for k := range s.dirty {
		e := s.m[k]
		switch {
		case e.wanted == nil && e.installed == nil:
		case e.wanted != nil && e.installed != nil && (e.wanted == e.installed || same(e.wanted, e.installed)):
			if e.wanted != e.installed {
				e.installed = e.wanted
				s.m[k] = e
			}
		default:
			report(e.wanted, e.installed)
			continue
		}
		delete(s.dirty, k)
	}
	if len(s.dirty) == 0 && many > 64 {
		s.dirty = map[K]struct{}{} // a map that was big takes as long to walk when it is empty
	}
}

// sort gives a plan one order, whatever the order of maps: tables ascending, so that the sentinel
// comes last; in a table by falling priority and then by match.
func (b *BridgePlan) sort() {
	byKey := func(x, y *Flow) int {
		return cmp.Or(cmp.Compare(x.Table, y.Table), cmp.Compare(y.Priority, x.Priority), cmp.Compare(x.Match, y.Match))
	}
	slices.SortFunc(b.AddFlows, byKey)
	slices.SortFunc(b.DeleteFlows, byKey)
	byGroup := func(x, y *Group) int { return cmp.Compare(x.ID, y.ID) }
	slices.SortFunc(b.AddGroups, byGroup)
	slices.SortFunc(b.DeleteGroups, byGroup)
	byBucket := func(x, y *Bucket) int { return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.ID, y.ID)) }
	slices.SortFunc(b.AddBuckets, byBucket)
	slices.SortFunc(b.DeleteBuckets, byBucket)
	byMeter := func(x, y *Meter) int { return cmp.Compare(x.ID, y.ID) }
	slices.SortFunc(b.AddMeters, byMeter)
	slices.SortFunc(b.DeleteMeters, byMeter)
}

// Empty says whether nothing has to be sent.
func (p *Plan) Empty() bool {
	for i := range p {
		if !p[i].Empty() {
			return false
		}
	}
	return true
}

// Empty says whether nothing has to be sent to this bridge.
func (b *BridgePlan) Empty() bool { return !b.Adds() && !b.Deletes() }

// Len counts the changes.
func (p *Plan) Len() (n int) {
	for i := range p {
		b := &p[i]
		n += len(b.AddMeters) + len(b.DeleteMeters) + len(b.AddGroups) + len(b.DeleteGroups) + len(b.AddBuckets) + len(b.DeleteBuckets) + len(b.AddFlows) + len(b.DeleteFlows)
	}
	return n
}

// Adds says whether anything appears or changes.
func (b *BridgePlan) Adds() bool {
	return len(b.AddMeters)+len(b.AddGroups)+len(b.AddBuckets)+len(b.AddFlows) > 0
}

// Deletes says whether anything goes.
func (b *BridgePlan) Deletes() bool {
	return len(b.DeleteMeters)+len(b.DeleteGroups)+len(b.DeleteBuckets)+len(b.DeleteFlows) > 0
}

// Split parts a plan into what appears or changes and what goes. A bucket or group that is replaced
// stays with the first, whole: between its going and its coming back frames would be lost.
func (b *BridgePlan) Split() (appears, goes BridgePlan) {
	appears, goes = *b, BridgePlan{Bridge: b.Bridge, DeleteFlows: b.DeleteFlows, DeleteMeters: b.DeleteMeters}
	appears.DeleteFlows, appears.DeleteMeters, appears.DeleteGroups, appears.DeleteBuckets = nil, nil, nil, nil
	for _, g := range b.DeleteGroups {
		if slices.ContainsFunc(b.AddGroups, func(a *Group) bool { return a.ID == g.ID }) {
			appears.DeleteGroups = append(appears.DeleteGroups, g)
		} else {
			goes.DeleteGroups = append(goes.DeleteGroups, g)
		}
	}
	for _, k := range b.DeleteBuckets {
		if slices.ContainsFunc(b.AddBuckets, func(a *Bucket) bool { return a.Group == k.Group && a.ID == k.ID }) {
			appears.DeleteBuckets = append(appears.DeleteBuckets, k)
		} else {
			goes.DeleteBuckets = append(goes.DeleteBuckets, k)
		}
	}
	return appears, goes
}

// bucketsPerMessage keeps a group message far below OpenFlow's 64 KiB.
const bucketsPerMessage = 200

// Messages are what carries the plan out. before goes first, outside of any bundle; then bundle, as
// one; then after. Meters are outside because a bundle cannot carry them: a meter exists before the
// flow that uses it and goes after it, since deleting a meter or a group deletes its flows.
func (b *BridgePlan) Messages() (before, bundle, after []openflow.Message) {
	for _, m := range b.AddMeters {
		mod := m.message()
		if b.modMeters[m.ID] {
			mod.Command = openflow.MeterModify
		}
		before = append(before, mod)
	}
	added := map[uint32]bool{}
	for _, g := range b.AddGroups {
		added[g.ID] = true
	}
	for _, g := range b.DeleteGroups {
		if added[g.ID] {
			bundle = append(bundle, &openflow.GroupMod{Command: openflow.GroupDelete, ID: g.ID})
		}
	}
	for _, g := range b.AddGroups {
		bundle = append(bundle, &openflow.GroupMod{Command: openflow.GroupAdd, Type: openflow.GroupTypeAll, ID: g.ID})
	}
	replaced := map[bucketKey]bool{}
	for _, k := range b.AddBuckets {
		replaced[bucketKey{k.Group, k.ID}] = true
	}
	removeBucket := func(k *Bucket) {
		bundle = append(bundle, &openflow.GroupMod{Command: openflow.GroupRemoveBuckets, Type: openflow.GroupTypeAll, ID: k.Group, CommandBucketID: k.ID})
	}
	for _, k := range b.DeleteBuckets {
		if replaced[bucketKey{k.Group, k.ID}] {
			removeBucket(k)
		}
	}
	for i := 0; i < len(b.AddBuckets); {
		mod := &openflow.GroupMod{Command: openflow.GroupInsertBuckets, Type: openflow.GroupTypeAll, ID: b.AddBuckets[i].Group, CommandBucketID: openflow.BucketLast}
		for ; i < len(b.AddBuckets) && b.AddBuckets[i].Group == mod.ID && len(mod.Buckets) < bucketsPerMessage; i++ {
			mod.Buckets = append(mod.Buckets, openflow.Bucket{ID: b.AddBuckets[i].ID, Actions: b.AddBuckets[i].Actions})
		}
		bundle = append(bundle, mod)
	}
	for _, f := range b.AddFlows {
		bundle = append(bundle, &openflow.FlowMod{Command: openflow.FlowAdd, Table: f.Table, Priority: f.Priority, Cookie: f.Cookie(), HardTimeout: f.timeout(),
			Match: f.Match, Instructions: f.Instructions})
	}
	for _, f := range b.DeleteFlows {
		bundle = append(bundle, &openflow.FlowMod{Command: openflow.FlowDeleteStrict, Table: f.Table, Priority: f.Priority, Match: f.Match})
	}
	gone := map[uint32]bool{}
	for _, g := range b.DeleteGroups {
		gone[g.ID] = !added[g.ID]
	}
	for _, k := range b.DeleteBuckets {
		if !replaced[bucketKey{k.Group, k.ID}] && !gone[k.Group] {
			removeBucket(k)
		}
	}
	for _, g := range b.DeleteGroups {
		if gone[g.ID] {
			bundle = append(bundle, &openflow.GroupMod{Command: openflow.GroupDelete, ID: g.ID})
		}
	}
	for _, m := range b.DeleteMeters {
		after = append(after, &openflow.MeterMod{Command: openflow.MeterDelete, ID: m.ID})
	}
	return before, bundle, after
}

// Committed records that the switch acknowledged b.
func (c *Compiler) Committed(b *BridgePlan) {
	s := &c.state[b.Bridge]
	for _, m := range b.DeleteMeters {
		s.meters.install(m.ID, nil)
	}
	for _, m := range b.AddMeters {
		s.meters.install(m.ID, m)
	}
	for _, k := range b.DeleteBuckets {
		s.buckets.install(bucketKey{k.Group, k.ID}, nil)
	}
	for _, g := range b.DeleteGroups {
		s.groups.install(g.ID, nil)
	}
	for _, g := range b.AddGroups {
		s.groups.install(g.ID, g)
	}
	for _, k := range b.AddBuckets {
		s.buckets.install(bucketKey{k.Group, k.ID}, k)
	}
	for _, f := range b.DeleteFlows {
		s.flows.install(f.Key, nil)
	}
	for _, f := range b.AddFlows {
		s.flows.install(f.Key, f)
	}
}

// String is the plan as the operator reads it, one line a change, each with what wants it.
func (p *Plan) String() string {
	var s strings.Builder
	for i := range p {
		s.WriteString(p[i].String())
	}
	return s.String()
}

// String is the bridge's part of the plan.
func (b *BridgePlan) String() string {
	var s strings.Builder
	line := func(sign, format string, args ...any) {
		fmt.Fprintf(&s, "%s: %s %s\n", b.Bridge, sign, fmt.Sprintf(format, args...))
	}
	for _, m := range b.AddMeters {
		line("+", "meter=%d,pktps,burst,rate=%d,burst_size=%d", m.ID, m.Rate, m.Burst)
	}
	for _, g := range b.AddGroups {
		line("+", "group_id=%d,type=all  # %s %s", g.ID, g.Object.Kind, g.Object.ID)
	}
	for _, k := range b.AddBuckets {
		line("+", "group_id=%d,bucket=bucket_id:%d,actions=%s", k.Group, k.ID, k.Actions)
	}
	for _, f := range b.AddFlows {
		line("+", "%s", f)
	}
	for _, f := range b.DeleteFlows {
		line("-", "%s", f)
	}
	for _, k := range b.DeleteBuckets {
		line("-", "group_id=%d,bucket=bucket_id:%d", k.Group, k.ID)
	}
	for _, g := range b.DeleteGroups {
		line("-", "group_id=%d", g.ID)
	}
	for _, m := range b.DeleteMeters {
		line("-", "meter=%d", m.ID)
	}
	return s.String()
}

// String is the flow in ovs-ofctl's syntax, with its cause behind it.
func (f *Flow) String() string {
	match := f.Match.String()
	if match != "" {
		match = "," + match
	}
	s := fmt.Sprintf("cookie=%#x,table=%d,priority=%d%s %s", f.Cookie(), f.Table, f.Priority, match, f.Instructions)
	if f.Reason != "" {
		s += fmt.Sprintf("  # %s: %s %s: %s", f.Owner, f.Object.Kind, f.Object.ID, f.Reason)
	}
	return s
}

// overtime is how long the switch keeps a flow with an end, for the controller to remove it first.
const overtime = 5 * time.Second

// timeout is the flow's hard timeout if it is sent now, in seconds; 0: none.
func (f *Flow) timeout() uint16 {
	if f.Until.IsZero() {
		return 0
	}
	left := time.Until(f.Until) + overtime
	return uint16(min(max(left/time.Second, 1), math.MaxUint16))
}

func (m *Meter) message() *openflow.MeterMod {
	return &openflow.MeterMod{Command: openflow.MeterAdd, ID: m.ID, Flags: openflow.MeterPktps | openflow.MeterBurst,
		Bands: []openflow.MeterBand{{Type: openflow.BandDrop, Rate: m.Rate, Burst: m.Burst}}}
}

// meterOf reads a dumped meter back; anything but one drop band in packets per second is no meter of
// ours and differs from each.
func meterOf(c *openflow.MeterConfig) *Meter {
	m := &Meter{ID: c.ID}
	if len(c.Bands) == 1 && c.Bands[0].Type == openflow.BandDrop && c.Flags&openflow.MeterPktps != 0 {
		m.Rate, m.Burst = c.Bands[0].Rate, c.Bands[0].Burst
	}
	return m
}
