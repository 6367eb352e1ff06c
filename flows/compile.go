package flows

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Compiler holds one host's wanted state, how it came about, and what is believed to be installed.
// A host has one goroutine and one Compiler; it is not safe for concurrent use.
type Compiler struct {
	features []Feature
	root     scope
	pass     uint64
	state    [len(Bridges)]state
	errs     []error
}

// state is one bridge: wanted and installed side by side.
type state struct {
	flows   slots[Key, Flow]
	groups  slots[uint32, Group]
	buckets slots[bucketKey, Bucket]
	meters  slots[uint32, Meter]
}

type bucketKey struct{ group, id uint32 }

// NewCompiler makes a compiler that wants nothing yet and takes the switch to be empty.
func NewCompiler(features ...Feature) *Compiler {
	c := &Compiler{features: features}
	for b := range c.state {
		c.state[b] = state{newSlots[Key, Flow](), newSlots[uint32, Group](), newSlots[bucketKey, Bucket](), newSlots[uint32, Meter]()}
	}
	return c
}

// Compile brings the wanted state up to v. Only what depends on something that changed since the last
// call is computed again; the result always equals that of a fresh Compiler. An error names flows
// that contradict each other or the pipeline; everything else is wanted all the same. A view that
// cannot be, by the numbers that a host gave, is refused whole: what was wanted stays.
func (c *Compiler) Compile(v *View) error {
	if err := v.check(); err != nil {
		return err
	}
	c.pass++
	c.errs = nil
	root := &Emitter{c: c, scope: &c.root}
	for _, f := range c.features {
		// A feature's own level runs each time: no deps are equal to this pass.
		root.owner = f.Owner()
		obj := Object{Kind: Kind(f.Owner())}
		child := c.root.children[obj]
		next := &scope{pass: c.pass}
		if child != nil {
			next.children = child.children
			c.retract(child)
		}
		if c.root.children == nil {
			c.root.children = map[Object]*scope{}
		}
		c.root.children[obj] = next
		f.Compile(v, &Emitter{c: c, owner: f.Owner(), object: Object{Kind: KindHost, ID: HostID(v.Host.ID)}, scope: next})
		c.sweep(next)
	}
	for b := range c.state {
		c.conflicts(Bridge(b))
	}
	return errors.Join(c.errs...)
}

// retract takes back what s itself emitted.
func (c *Compiler) retract(s *scope) {
	for _, f := range s.flows {
		c.state[f.bridge].flows.remove(f.flow.Key, f.flow)
	}
	for _, g := range s.groups {
		c.state[g.bridge].groups.remove(g.value.ID, g.value)
	}
	for _, b := range s.buckets {
		c.state[b.bridge].buckets.remove(bucketKey{b.value.Group, b.value.ID}, b.value)
	}
	for _, m := range s.meters {
		c.state[m.bridge].meters.remove(m.value.ID, m.value)
	}
}

// sweep takes back the children of s that this pass did not want.
func (c *Compiler) sweep(s *scope) {
	for obj, child := range s.children {
		if child.pass != c.pass {
			c.retractAll(child)
			delete(s.children, obj)
		}
	}
}

func (c *Compiler) retractAll(s *scope) {
	c.retract(s)
	for _, child := range s.children {
		c.retractAll(child)
	}
}

func (c *Compiler) fail(err error) { c.errs = append(c.errs, err) }

// conflicts reports flows with the same key and other actions, and buckets without a group.
func (c *Compiler) conflicts(b Bridge) {
	s := &c.state[b]
	for k := range s.flows.dirty {
		w := s.flows.m[k]
		for _, o := range w.others {
			if o.Instructions != w.wanted.Instructions {
				c.fail(fmt.Errorf("%s: table %d: %s priority %d: %s of %s %s says %q, %s of %s %s says %q", b, k.Table, k.Match, k.Priority,
					w.wanted.Owner, w.wanted.Object.Kind, w.wanted.Object.ID, w.wanted.Instructions, o.Owner, o.Object.Kind, o.Object.ID, o.Instructions))
			}
		}
	}
	for k := range s.buckets.dirty {
		w := s.buckets.m[k]
		for _, o := range w.others {
			if o.Actions != w.wanted.Actions {
				c.fail(fmt.Errorf("%s: group %d: bucket %d is wanted twice, with %q and %q", b, k.group, k.id, w.wanted.Actions, o.Actions))
			}
		}
		if g, ok := s.groups.m[k.group]; w.wanted != nil && (!ok || g.wanted == nil) {
			c.fail(fmt.Errorf("%s: bucket %d is wanted in group %d, which nobody wants", b, k.id, k.group))
		}
	}
}

// Wanted yields every wanted flow of a bridge, in no order. others are further flows with the same key
// and actions: more causes of the same flow.
func (c *Compiler) Wanted(b Bridge) iter.Seq2[*Flow, []*Flow] {
	return func(yield func(*Flow, []*Flow) bool) {
		for _, s := range c.state[b].flows.m {
			if s.wanted != nil && !yield(s.wanted, s.others) {
				return
			}
		}
	}
}

// Len counts the wanted flows of a bridge.
func (c *Compiler) Len(b Bridge) (n int) {
	for range c.Wanted(b) {
		n++
	}
	return n
}

// Lookup finds the wanted flow with a key, and further causes of it; nil if none is wanted.
func (c *Compiler) Lookup(b Bridge, k Key) (*Flow, []*Flow) {
	s := c.state[b].flows.m[k]
	return s.wanted, s.others
}

// slots is what is wanted and what is installed of one kind, by key, and which keys may differ.
type slots[K comparable, V any] struct {
	m     map[K]slot[V]
	dirty map[K]struct{}
}

// slot is one key: its contributors, the effective one first, and what the switch holds.
type slot[V any] struct {
	wanted    *V
	installed *V
	others    []*V
}

func newSlots[K comparable, V any]() slots[K, V] {
	return slots[K, V]{m: map[K]slot[V]{}, dirty: map[K]struct{}{}}
}

// add counts v among the contributors of k. The effective one is the lowest by owner, kind and UUID,
// so that the order in which they came does not matter.
func (s *slots[K, V]) add(k K, v *V) {
	e := s.m[k]
	switch {
	case e.wanted == nil:
		e.wanted = v
	case before(v, e.wanted):
		e.others = append(e.others, e.wanted)
		e.wanted = v
	default:
		e.others = append(e.others, v)
	}
	s.m[k] = e
	s.dirty[k] = struct{}{}
}

// remove takes v out of the contributors of k; the lowest of the rest becomes the effective one.
func (s *slots[K, V]) remove(k K, v *V) {
	e := s.m[k]
	if e.wanted == v {
		e.wanted = nil
		for _, o := range e.others {
			if e.wanted == nil || before(o, e.wanted) {
				e.wanted = o
			}
		}
		v = e.wanted
	}
	if v != nil {
		e.others = slices.DeleteFunc(slices.Clone(e.others), func(o *V) bool { return o == v })
	}
	s.set(k, e)
	s.dirty[k] = struct{}{}
}

// install records what the switch holds under k; nil for nothing.
func (s *slots[K, V]) install(k K, v *V) {
	e := s.m[k]
	e.installed = v
	s.set(k, e)
	s.dirty[k] = struct{}{}
}

func (s *slots[K, V]) set(k K, e slot[V]) {
	if e.wanted == nil && e.installed == nil {
		delete(s.m, k)
	} else {
		s.m[k] = e
	}
}

// forget takes the switch to hold nothing.
func (s *slots[K, V]) forget() {
	for k, e := range s.m {
		e.installed = nil
		s.set(k, e)
		s.dirty[k] = struct{}{}
	}
}

// before orders contributors of the same key. Only flows carry a cause in the switch.
func before[V any](a, b *V) bool {
	x, ok := any(a).(*Flow)
	if !ok {
		return false
	}
	y := any(b).(*Flow)
	return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.Object.Kind, y.Object.Kind), bytes.Compare(x.Object.ID[:], y.Object.ID[:])) < 0
}
