package store

import (
	radix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/google/uuid"
)

// Revision counts the changes of the whole store: etcd's revision. Revisions only grow. A negative
// one belongs to a snapshot of [Store.Try] that nobody else has seen or will see.
type Revision int64

// state is every table at one revision. It is never changed; an edit makes the next one, which
// shares all that stays.
type state struct {
	revision Revision
	rows     [tableCount]*radix.Tree[*row]
	unique   *radix.Tree[*row] // unique key → the row that has it
	index    *radix.Tree[*row] // index prefix + row key → the row
	newest   [tableCount]Revision
	counts   *radix.Tree[int] // table name, "/" and project → how many rows
	// networks has the revision of the newest change that concerns each network.
	networks *radix.Tree[Revision]
	changed  [kindCount]chan struct{}
}

func emptyState() *state {
	s := &state{unique: radix.New[*row](), index: radix.New[*row](), counts: radix.New[int](), networks: radix.New[Revision]()}
	for i := range s.rows {
		s.rows[i] = radix.New[*row]()
	}
	for i := range s.changed {
		s.changed[i] = make(chan struct{})
	}
	return s
}

// row finds a row by its key.
func (s *state) row(t tableNumber, key string) (*row, bool) { return s.rows[t].Get([]byte(key)) }

// holder finds the row that has a unique key.
func (s *state) holder(unique string) (*row, bool) { return s.unique.Get([]byte(unique)) }

// anyUnder reports whether some row has a unique key with the prefix.
func (s *state) anyUnder(prefix string) (*row, bool) {
	it := s.unique.Root().Iterator()
	it.SeekPrefix([]byte(prefix))
	_, r, ok := it.Next()
	return r, ok
}

// edit collects changes to a state.
type edit struct {
	from     *state
	rows     [tableCount]*radix.Txn[*row]
	unique   *radix.Txn[*row]
	index    *radix.Txn[*row]
	counts   *radix.Txn[int]
	networks *radix.Txn[Revision]
	newest   [tableCount]Revision
	kinds    [kindCount]bool
}

func (s *state) edit() *edit {
	e := &edit{from: s, unique: s.unique.Txn(), index: s.index.Txn(), counts: s.counts.Txn(), networks: s.networks.Txn(), newest: s.newest}
	for i := range e.rows {
		e.rows[i] = s.rows[i].Txn()
	}
	return e
}

func (e *edit) row(t tableNumber, key string) (*row, bool) { return e.rows[t].Get([]byte(key)) }

// change is a row put (value set) or gone (value nil).
type change struct {
	table    *table
	key      string
	value    any
	revision Revision // of the row, when it is older than the revision it is applied at
}

// apply makes one change at a revision. A row that is gone already may go again.
func (e *edit) apply(c change, revision Revision) {
	t := c.table
	old, had := e.row(t.number, c.key)
	if !had && c.value == nil {
		return
	}
	var before, after uuid.UUID
	if had {
		before = t.network(e, old.value)
	}
	if c.value != nil {
		r := &row{table: t, key: c.key, value: c.value, revision: revision}
		if c.revision != 0 {
			r.revision = c.revision
		}
		e.rows[t.number].Insert([]byte(c.key), r)
		e.enter(r)
		e.count(r, 1)
		after = t.network(e, r.value)
	} else {
		e.rows[t.number].Delete([]byte(c.key))
	}
	if had {
		e.leave(old)
		e.count(old, -1)
	}
	e.touch(before, revision)
	e.touch(after, revision)
	e.newest[t.number] = revision
	e.kinds[t.kind] = true
}

// enter files a row under its unique keys and indexes.
func (e *edit) enter(r *row) {
	for _, key := range r.table.unique(r.value) {
		e.unique.Insert([]byte(key), r)
	}
	for _, prefix := range r.table.index(r.value) {
		e.index.Insert([]byte(prefix+r.key), r)
	}
}

// leave removes what filed a former row, unless another row (its successor, or one that took over
// a unique key in the same commit) is filed there by now.
func (e *edit) leave(old *row) {
	for _, key := range old.table.unique(old.value) {
		if r, _ := e.unique.Get([]byte(key)); r == old {
			e.unique.Delete([]byte(key))
		}
	}
	for _, prefix := range old.table.index(old.value) {
		if r, _ := e.index.Get([]byte(prefix + old.key)); r == old {
			e.index.Delete([]byte(prefix + old.key))
		}
	}
}

// count adds to the number of its project's rows in its table.
func (e *edit) count(r *row, add int) {
	if r.table.project == nil {
		return
	}
	key := []byte(countKey(r.table.name, r.table.project(r.value)))
	n, _ := e.counts.Get(key)
	if n += add; n == 0 {
		e.counts.Delete(key)
	} else {
		e.counts.Insert(key, n)
	}
}

func countKey(table, project string) string { return table + "/" + project }

func (e *edit) touch(network uuid.UUID, revision Revision) {
	if network == uuid.Nil {
		return
	}
	key := []byte(network.String())
	if _, there := e.row(networks, string(key)); there {
		e.networks.Insert(key, revision)
	} else {
		e.networks.Delete(key)
	}
}

// state ends the edit. The channels of the kinds that changed are new; closing the old ones is
// left to who publishes the state.
func (e *edit) state(revision Revision) *state {
	s := &state{
		revision: revision,
		unique:   e.unique.Commit(),
		index:    e.index.Commit(),
		counts:   e.counts.Commit(),
		networks: e.networks.Commit(),
		newest:   e.newest,
		changed:  e.from.changed,
	}
	for i := range e.rows {
		s.rows[i] = e.rows[i].Commit()
	}
	for kind, changed := range e.kinds {
		if changed {
			s.changed[kind] = make(chan struct{})
		}
	}
	return s
}
