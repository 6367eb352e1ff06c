package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// offer hands in what a revision of our own changed. Revisions are applied in their order: one
// that comes early waits for those before it, which are our own under way or come by the watch.
func (s *Store) offer(revision Revision, changes []change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision <= s.Snapshot().Revision() {
		return
	}
	s.pending[revision] = changes
	s.advance(0)
}

// observe hands in a revision from the watch; everything before it has been observed.
func (s *Store) observe(revision Revision, events []event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision <= s.Snapshot().Revision() {
		return
	}
	if _, own := s.pending[revision]; !own {
		var changes []change
		for _, ev := range events {
			if ev.key == schemaKey && string(ev.value) != schemaVersion {
				s.outdated.Store(true)
			}
			c, ok, err := decode(ev.key, ev.value)
			if err != nil {
				s.log.Error("a row in the store cannot be read; the former one stays", "error", err)
				continue
			}
			if !ok {
				continue
			}
			changes = append(changes, c)
			if c.table.kind == Status && c.value != nil {
				s.status.yield(ev.key, ev.lease)
			}
		}
		s.pending[revision] = changes
	}
	s.advance(revision)
}

// advance applies the pending revisions that follow the snapshot without a gap. Those up to known
// have no gaps but revisions that are no concern of ours.
func (s *Store) advance(known Revision) {
	from := s.Snapshot().state
	revision := from.revision
	var e *edit
	for {
		changes, ok := s.pending[revision+1]
		if !ok && revision >= known {
			break
		}
		revision++
		delete(s.pending, revision)
		if e == nil {
			e = from.edit()
		}
		for _, c := range changes {
			e.apply(c, revision)
		}
	}
	if e != nil {
		s.publish(e.state(revision))
	}
}

// publish makes a state the newest snapshot and wakes who waits for it.
func (s *Store) publish(to *state) {
	from := s.Snapshot().state
	s.snapshot.Store(&Snapshot{Tables{state: to}})
	for kind := range from.changed {
		if from.changed[kind] != to.changed[kind] {
			close(from.changed[kind])
		}
	}
	still := s.waiting[:0]
	for _, w := range s.waiting {
		if w.revision <= to.revision {
			close(w.reached)
		} else {
			still = append(still, w)
		}
	}
	s.waiting = still
}

// waiter waits until the snapshot has a revision.
type waiter struct {
	revision Revision
	reached  chan struct{}
}

// wait returns when the snapshot has the revision.
func (s *Store) wait(ctx context.Context, revision Revision) error {
	s.mu.Lock()
	if s.Snapshot().Revision() >= revision {
		s.mu.Unlock()
		return nil
	}
	w := waiter{revision, make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for revision %d: %w", revision, ctx.Err())
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// follow watches the backend until the store is closed.
func (s *Store) follow() {
	for s.ctx.Err() == nil {
		err := s.backend.watch(s.ctx, s.Snapshot().Revision()+1, s.observe)
		if s.ctx.Err() != nil {
			return
		}
		s.log.Warn("lost sight of the store's changes; loading it anew", "error", err)
		if err := s.reload(s.ctx); err != nil && s.ctx.Err() == nil {
			s.log.Error("the store cannot be loaded; trying again", "error", err)
			select {
			case <-time.After(time.Second):
			case <-s.ctx.Done():
			}
		}
	}
}

// reload reads everything and applies the difference: rows that did not change keep their
// pointers and their networks' revisions.
func (s *Store) reload(ctx context.Context) error {
	type found struct {
		value    []byte
		revision Revision
	}
	var rows [tableCount]map[string]found
	for i := range rows {
		rows[i] = map[string]found{}
	}
	revision, err := s.backend.load(ctx, rowRoot, func(en entry) error {
		if t, key, ok := parseRowKey(en.key); ok {
			rows[t.number][key] = found{en.value, en.revision}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.Snapshot().state
	if revision <= from.revision {
		return nil
	}
	e := from.edit()
	for n, t := range tables {
		it := from.rows[n].Root().Iterator()
		for _, r, ok := it.Next(); ok; _, r, ok = it.Next() {
			if _, there := rows[n][r.key]; !there {
				e.apply(change{table: t, key: r.key}, revision)
			}
		}
	}
	for n, t := range tables {
		for key, f := range rows[n] {
			old, had := from.row(tableNumber(n), key)
			if had && old.revision == f.revision {
				continue
			}
			value, err := t.decode(f.value)
			if err != nil {
				return fmt.Errorf("load %s %s: %w", t.name, key, err)
			}
			e.apply(change{table: t, key: key, value: value, revision: f.revision}, revision)
		}
	}
	for r := range s.pending {
		if r <= revision {
			delete(s.pending, r)
		}
	}
	s.publish(e.state(revision))
	return nil
}

// decode reads a change from an event; ok is false for keys that are no rows.
func decode(etcdKey string, encoded []byte) (c change, ok bool, err error) {
	t, key, ok := parseRowKey(etcdKey)
	if !ok {
		return change{}, false, nil
	}
	if encoded == nil {
		return change{table: t, key: key}, true, nil
	}
	value, err := t.decode(encoded)
	if err != nil {
		return change{}, false, fmt.Errorf("%s %s: %w", t.name, key, err)
	}
	return change{table: t, key: key, value: value}, true, nil
}

// parseRowKey splits an etcd key into table and row key.
func parseRowKey(etcdKey string) (*table, string, bool) {
	rest, ok := strings.CutPrefix(etcdKey, rowRoot)
	if !ok {
		return nil, "", false
	}
	name, key, ok := strings.Cut(rest, "/")
	t := tableNamed(name)
	return t, key, ok && t != nil
}

// indexReader coalesces ReadIndex: who comes while a read is under way shares the next one, since
// the one under way may be older than what the caller wants to see.
type indexReader struct {
	store *Store
	mu    sync.Mutex
	now   *indexRead
	next  *indexRead
}

type indexRead struct {
	done chan struct{}
	err  error
}

// ReadIndex returns when the snapshot has everything that was committed, by any replica, before it
// was called.
func (s *Store) ReadIndex(ctx context.Context) error {
	if s.backend.alone() {
		return nil
	}
	r := s.index.join()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (x *indexReader) join() *indexRead {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.next == nil {
		x.next = &indexRead{done: make(chan struct{})}
		if x.now == nil {
			x.start()
		}
		if x.next == nil {
			return x.now
		}
	}
	return x.next
}

// start begins the next read; mu is held.
func (x *indexReader) start() {
	r := x.next
	x.now, x.next = r, nil
	x.store.done.Go(func() {
		ctx, cancel := context.WithTimeout(x.store.ctx, mostPatience/2) // who comes during it waits for one more
		defer cancel()
		revision, err := x.store.backend.current(ctx)
		if err == nil {
			err = x.store.wait(ctx, revision)
		}
		r.err = err
		close(r.done)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.now = nil
		if x.next != nil {
			x.start()
		}
	})
}
