package flows

import (
	"fmt"
	"time"

	"github.com/tunbridge/tunbridge/flows/openflow"
)

// Feature says which flows a host needs. Compile is pure: the same View gives the same flows.
type Feature interface {
	Owner() Owner
	Compile(v *View, e *Emitter)
}

// Key identifies a flow on its bridge as OpenFlow does.
type Key struct {
	Table    uint8
	Priority uint16
	Match    openflow.Match
}

// Flow is one wanted flow with its cause.
type Flow struct {
	Key
	Instructions openflow.Instructions
	Owner        Owner
	Object       Object
	Reason       string    // a phrase that names the attribute or fact that wants it: "mac_address of the port"
	Until        time.Time // when the switch removes it by itself, not before; zero: never
}

// Cookie is the flow's cookie.
func (f *Flow) Cookie() uint64 { return f.Object.Cookie(f.Owner) }

// Group is a flood set, of type all. Its buckets are emitted one by one, by whoever adds a member.
type Group struct {
	ID      uint32
	Object  Object
	foreign bool // installed with another type
}

// Bucket is one member of a group.
type Bucket struct {
	Group   uint32
	ID      uint32
	Actions openflow.Actions
}

// Meter limits what one port may punt, in packets per second.
type Meter struct {
	ID    uint32
	Rate  uint32 // packets per second
	Burst uint32 // packets
}

// Emitter takes what a feature wants for one host. Scopes make it cheap to say the same again.
type Emitter struct {
	c      *Compiler
	owner  Owner
	object Object
	until  time.Time
	scope  *scope
}

// scope is the memo of one Scope call: what it depended on and what it emitted.
type scope struct {
	deps     any
	flows    []scopedFlow
	groups   []scoped[Group]
	buckets  []scoped[Bucket]
	meters   []scoped[Meter]
	children map[Object]*scope
	pass     uint64 // the pass in which it was last wanted
}

type scopedFlow struct {
	bridge Bridge
	flow   *Flow
}

type scoped[T any] struct {
	bridge Bridge
	value  *T
}

// Scope emits what fn emits, for obj. If deps equals (==) that of the last compilation of the same
// scope, fn is not called and its flows stand: so deps must hold everything fn reads. Scopes may be
// nested; the objects of one level must differ.
func (e *Emitter) Scope(obj Object, deps any, fn func(*Emitter)) {
	child := e.scope.children[obj]
	if child != nil && child.deps == deps {
		child.pass = e.c.pass
		return
	}
	next := &scope{deps: deps, pass: e.c.pass}
	if child != nil {
		next.children = child.children // kept until this pass shows which are still wanted
		e.c.retract(child)
	}
	if e.scope.children == nil {
		e.scope.children = map[Object]*scope{}
	}
	e.scope.children[obj] = next
	fn(&Emitter{c: e.c, owner: e.owner, object: obj, until: e.until, scope: next})
	e.c.sweep(next)
}

// Flow wants a flow. reason names the attribute or fact that wants it.
func (e *Emitter) Flow(t *Table, priority uint16, match openflow.Match, do openflow.Instructions, reason string) {
	f := &Flow{Key: Key{t.Number, priority, match}, Instructions: do, Owner: e.owner, Object: e.object, Reason: reason, Until: e.until}
	if err := verify(t, f); err != nil {
		e.c.fail(err)
		return
	}
	e.scope.flows = append(e.scope.flows, scopedFlow{t.Bridge, f})
	e.c.state[t.Bridge].flows.add(f.Key, f)
}

// Until is an emitter whose flows the switch removes by itself some time after t, whoever is there to tell it.
func (e *Emitter) Until(t time.Time) *Emitter {
	limited := *e
	limited.until = t
	return &limited
}

// Cookie is that of the flows of this scope.
func (e *Emitter) Cookie() uint64 { return e.object.Cookie(e.owner) }

// Group wants a group of type all to exist.
func (e *Emitter) Group(b Bridge, id uint32) {
	g := &Group{ID: id, Object: e.object}
	e.scope.groups = append(e.scope.groups, scoped[Group]{b, g})
	e.c.state[b].groups.add(id, g)
}

// Bucket wants a bucket in a group that some scope wants.
func (e *Emitter) Bucket(b Bridge, group, id uint32, actions openflow.Actions) {
	v := &Bucket{Group: group, ID: id, Actions: actions}
	e.scope.buckets = append(e.scope.buckets, scoped[Bucket]{b, v})
	e.c.state[b].buckets.add(bucketKey{group, id}, v)
}

// Meter wants a meter.
func (e *Emitter) Meter(b Bridge, m Meter) {
	e.scope.meters = append(e.scope.meters, scoped[Meter]{b, &m})
	e.c.state[b].meters.add(m.ID, &m)
}

// verify refuses a flow that the pipeline does not declare.
func verify(t *Table, f *Flow) error {
	for _, o := range t.Owners {
		if o == f.Owner {
			return nil
		}
	}
	return fmt.Errorf("%s: %s emits flows there, but is not one of its owners", t, f.Owner)
}
