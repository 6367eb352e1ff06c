package pipeline

import (
	"fmt"
	"maps"

	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// modelSwitch is one bridge as far as messages change it, as strict as Open vSwitch and stricter: what
// is added must be new, what is deleted must be there, and nothing may go as a side effect.
type modelSwitch struct {
	flows  map[flows.Key]modelFlow
	groups map[uint32]map[uint32]openflow.Actions
	meters map[uint32]openflow.MeterBand
}

type modelFlow struct {
	cookie uint64
	do     openflow.Instructions
}

func newModelSwitch() *modelSwitch {
	return &modelSwitch{map[flows.Key]modelFlow{}, map[uint32]map[uint32]openflow.Actions{}, map[uint32]openflow.MeterBand{}}
}

// carry sends a plan's messages.
func (s *modelSwitch) carry(p *flows.BridgePlan) error {
	before, bundle, after := p.Messages()
	for _, messages := range [][]openflow.Message{before, bundle, after} {
		for _, m := range messages {
			if err := s.send(m); err != nil {
				return fmt.Errorf("%s: %T %+v: %w", p.Bridge, m, m, err)
			}
		}
	}
	return nil
}

func (s *modelSwitch) send(m openflow.Message) error {
	switch m := m.(type) {
	case *openflow.FlowMod:
		k := flows.Key{Table: m.Table, Priority: m.Priority, Match: m.Match}
		if m.Command == openflow.FlowDeleteStrict {
			if _, ok := s.flows[k]; !ok {
				return fmt.Errorf("no such flow")
			}
			delete(s.flows, k)
			return nil
		}
		for group := range groupsOf(m.Instructions.Applied()) {
			if s.groups[group] == nil {
				return fmt.Errorf("no group %d", group)
			}
		}
		if meter, ok := meterOf(m.Instructions); ok && s.meters[meter] == (openflow.MeterBand{}) {
			return fmt.Errorf("no meter %d", meter)
		}
		s.flows[k] = modelFlow{m.Cookie, m.Instructions}
	case *openflow.GroupMod:
		return s.group(m)
	case *openflow.MeterMod:
		_, exists := s.meters[m.ID]
		if (m.Command != openflow.MeterAdd) != exists {
			return fmt.Errorf("exists: %v", exists)
		}
		if m.Command == openflow.MeterDelete {
			delete(s.meters, m.ID)
			for k, f := range s.flows {
				if meter, ok := meterOf(f.do); ok && meter == m.ID {
					return fmt.Errorf("is used by %v", k)
				}
			}
			return nil
		}
		s.meters[m.ID] = m.Bands[0]
	default:
		return fmt.Errorf("not a message of a plan")
	}
	return nil
}

func (s *modelSwitch) group(m *openflow.GroupMod) error {
	buckets, exists := s.groups[m.ID]
	if (m.Command != openflow.GroupAdd) != exists {
		return fmt.Errorf("exists: %v", exists)
	}
	switch m.Command {
	case openflow.GroupAdd:
		s.groups[m.ID] = map[uint32]openflow.Actions{}
	case openflow.GroupDelete:
		delete(s.groups, m.ID)
		for k, f := range s.flows {
			if _, used := groupsOf(f.do.Applied())[m.ID]; used {
				return fmt.Errorf("is used by %v", k)
			}
		}
	case openflow.GroupInsertBuckets:
		for _, b := range m.Buckets {
			if _, ok := buckets[b.ID]; ok {
				return fmt.Errorf("bucket %d exists", b.ID)
			}
			buckets[b.ID] = b.Actions
		}
		if len(buckets) > 250 {
			return fmt.Errorf("%d buckets could not be read back", len(buckets))
		}
	case openflow.GroupRemoveBuckets:
		if _, ok := buckets[m.CommandBucketID]; !ok {
			return fmt.Errorf("no bucket %d", m.CommandBucketID)
		}
		delete(buckets, m.CommandBucketID)
	}
	return nil
}

func groupsOf(actions openflow.Actions) map[uint32]struct{} {
	groups := map[uint32]struct{}{}
	for a := range actions.All() {
		if g, ok := a.(openflow.Group); ok {
			groups[g.ID] = struct{}{}
		}
	}
	return groups
}

func meterOf(do openflow.Instructions) (id uint32, ok bool) {
	for a := range do.Applied().All() {
		if m, is := a.(openflow.Meter); is {
			id, ok = m.ID, true
		}
	}
	return id, ok
}

// dump is what the switch says it holds.
func (s *modelSwitch) dump() (in flows.Installed) {
	for k, f := range s.flows {
		in.Flows = append(in.Flows, openflow.FlowStats{Table: k.Table, Priority: k.Priority, Match: k.Match, Cookie: f.cookie, Instructions: f.do})
	}
	for id, buckets := range s.groups {
		g := openflow.GroupDesc{Type: openflow.GroupTypeAll, ID: id}
		for b, actions := range buckets {
			g.Buckets = append(g.Buckets, openflow.Bucket{ID: b, Actions: actions})
		}
		in.Groups = append(in.Groups, g)
	}
	for id, band := range s.meters {
		in.Meters = append(in.Meters, openflow.MeterConfig{ID: id, Flags: openflow.MeterPktps | openflow.MeterBurst, Bands: []openflow.MeterBand{band}})
	}
	return in
}

// differs says in words whether two switches hold different things.
func (s *modelSwitch) differs(o *modelSwitch) error {
	for k, f := range s.flows {
		if g, ok := o.flows[k]; !ok || f != g {
			return fmt.Errorf("table %d priority %d %s: %#x %s, and %#x %s", k.Table, k.Priority, k.Match, f.cookie, f.do, g.cookie, g.do)
		}
	}
	for k := range o.flows {
		if _, ok := s.flows[k]; !ok {
			return fmt.Errorf("table %d priority %d %s is not there", k.Table, k.Priority, k.Match)
		}
	}
	if !maps.EqualFunc(s.groups, o.groups, maps.Equal[map[uint32]openflow.Actions, map[uint32]openflow.Actions]) {
		return fmt.Errorf("groups %v, and %v", s.groups, o.groups)
	}
	if !maps.Equal(s.meters, o.meters) {
		return fmt.Errorf("meters %v, and %v", s.meters, o.meters)
	}
	return nil
}
