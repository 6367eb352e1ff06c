package store

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// statusBatch is how many status rows go into one transaction.
const statusBatch = 1000

// statusWriter carries what this process says of ports and hosts to the store. What is said is
// kept here, and only the newest word on each row is written, on the process's lease; when the
// lease was lost everything is written again on a new one.
type statusWriter struct {
	store   *Store
	replica string // etcd key that says this process lives
	failing bool   // the last attempt did, and that has been logged

	mu         sync.Mutex
	rows       map[string]*statusRow // by etcd key
	dirty      map[string]*statusRow
	wake       chan struct{} // capacity 1
	idle       chan struct{} // closed while nothing is left to write
	lease      leaseID
	lost       <-chan struct{}
	generation uint64
}

// statusRow is the newest word on one row; value nil: that there is none.
type statusRow struct {
	change
	encoded []byte
	needs   string // etcd key of the row it speaks of, "" for none
	gone    bool   // … which is no more
}

func newStatusWriter(s *Store) *statusWriter {
	w := &statusWriter{
		store:   s,
		replica: root + "replica/" + uuid.NewString(),
		rows:    map[string]*statusRow{},
		dirty:   map[string]*statusRow{},
		wake:    make(chan struct{}, 1),
		idle:    make(chan struct{}),
	}
	close(w.idle)
	return w
}

// begin opens a lease and makes everything said so far due on it.
func (w *statusWriter) begin(ctx context.Context) error {
	lease, lost, err := w.store.backend.lease(w.store.ctx)
	if err != nil {
		return fmt.Errorf("open a lease: %w", err)
	}
	revision, ok, err := w.store.commit(ctx, nil, []op{{key: w.replica, value: []byte(strconv.FormatInt(int64(lease), 16)), lease: lease}})
	if err != nil {
		return err
	}
	if !ok {
		return ErrOutdated // nothing else was compared
	}
	w.store.offer(revision, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lease, w.lost = lease, lost
	w.generation = uint64(w.store.incarnation)<<40 | uint64(revision)&(1<<40-1)
	for key, r := range w.rows {
		w.due(key, r)
	}
	return nil
}

// Generation is the generation_id for this process's OpenFlow role requests: the store's
// incarnation (24 bits) and the revision at which the process's lease began (40 bits). It grows
// with every process that comes later, and when this one has lost its lease and has a new one.
func (s *Store) Generation() uint64 {
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	return s.status.generation
}

// SetPortStatus says what this process sees of ports. It returns at once; rows are written in
// batches, only if they differ from what was said before, and vanish when this process does. A row
// of a port that is no more is dropped. What Nova must hear of it is committed with it.
func (s *Store) SetPortStatus(rows ...model.PortStatus) {
	for _, r := range rows {
		s.status.say(tables[portStatuses], onHost(r.PortID, r.Host), &r, rowKey(tables[ports], r.PortID.String()))
	}
}

// SetHostStatus says what this process sees of hosts; as [Store.SetPortStatus].
func (s *Store) SetHostStatus(rows ...model.HostStatus) {
	for _, r := range rows {
		s.status.say(tables[hostStatuses], url.PathEscape(r.ID), &r, "")
	}
}

// ClearPortStatus takes back what was said of ports on a host.
func (s *Store) ClearPortStatus(hostname string, ports ...uuid.UUID) {
	for _, id := range ports {
		s.status.say(tables[portStatuses], onHost(id, hostname), nil, "")
	}
}

// ClearHostStatus takes back what was said of hosts.
func (s *Store) ClearHostStatus(systemIDs ...string) {
	for _, id := range systemIDs {
		s.status.say(tables[hostStatuses], url.PathEscape(id), nil, "")
	}
}

// FlushStatus returns when everything said so far is in the snapshot.
func (s *Store) FlushStatus(ctx context.Context) error {
	s.status.mu.Lock()
	idle := s.status.idle
	s.status.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("status is not written yet: %w", ctx.Err())
	case <-s.ctx.Done():
		return ErrClosed
	}
}

func (w *statusWriter) say(t *table, key string, value any, needs string) {
	r := &statusRow{change: change{table: t, key: key}, needs: needs}
	if value != nil {
		kept, encoded, err := t.copy(value)
		if err != nil {
			w.store.log.Error("status cannot be encoded", "row", t.name+" "+key, "error", err)
			return
		}
		r.value, r.encoded = kept, encoded
	}
	etcdKey := rowKey(t, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if said, ok := w.rows[etcdKey]; ok && string(said.encoded) == string(r.encoded) {
		return
	}
	w.rows[etcdKey] = r
	w.due(etcdKey, r)
}

// yield forgets a row that another process has written since: it knows better now.
func (w *statusWriter) yield(etcdKey string, writer leaseID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, due := w.dirty[etcdKey]; !due && writer != w.lease {
		delete(w.rows, etcdKey)
	}
}

// due marks a row to be written; mu is held.
func (w *statusWriter) due(etcdKey string, r *statusRow) {
	if len(w.dirty) == 0 {
		w.idle = make(chan struct{})
	}
	w.dirty[etcdKey] = r
	w.poke()
}

func (w *statusWriter) run() {
	for {
		w.mu.Lock()
		lost := w.lost
		w.mu.Unlock()
		select {
		case <-w.store.ctx.Done():
			return
		case <-lost:
		case <-w.wake:
		}
		select {
		case <-lost: // before anything is written on it
			if w.store.ctx.Err() != nil {
				return // the lease is kept no longer because the store is being closed
			}
			if !w.failing {
				w.store.log.Warn("this process was away for longer than its lease; saying again what it sees of ports and hosts")
			}
			w.attempt(w.begin)
		default:
			w.attempt(w.flush)
		}
	}
}

// attempt makes one step. If it fails it is due again a little later: the store's being away is no
// reason to give up.
func (w *statusWriter) attempt(step func(context.Context) error) {
	ctx, cancel := context.WithTimeout(w.store.ctx, 5*time.Second)
	defer cancel()
	err := step(ctx)
	if w.store.ctx.Err() != nil {
		return
	}
	switch {
	case err == nil && w.failing:
		w.store.log.Info("what is seen of ports and hosts is written again")
	case err != nil && !w.failing:
		w.store.log.Warn("what is seen of ports and hosts is not written; trying again", "error", err)
	}
	if w.failing = err != nil; !w.failing {
		return
	}
	select {
	case <-time.After(200 * time.Millisecond):
	case <-w.store.ctx.Done():
	}
	w.poke()
}

func (w *statusWriter) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// flush writes one batch of what is due.
func (w *statusWriter) flush(ctx context.Context) error {
	w.mu.Lock()
	lease, batch := w.lease, make(map[string]*statusRow, min(len(w.dirty), statusBatch))
	for key, r := range w.dirty {
		if len(batch) == statusBatch {
			break
		}
		batch[key] = r
	}
	w.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}

	compares := make([]compare, 0, len(batch)+1)
	ops := make([]op, 0, len(batch)+1)
	changes := make([]change, 0, len(batch))
	snapshot := &w.store.Snapshot().Tables
	for key, r := range batch {
		if r.needs != "" {
			t, id, _ := parseRowKey(r.needs)
			if _, there := snapshot.state.row(t.number, id); !there {
				r.gone = true
				continue
			}
			compares = append(compares, compare{key: r.needs, test: present})
		}
		ops = append(ops, op{key: key, value: r.encoded, lease: lease})
		changes = append(changes, r.change)
		if e, err := w.event(snapshot, r); err != nil {
			return err
		} else if e != nil {
			ops = append(ops, op{key: rowKey(e.table, e.key), value: e.encoded})
			changes = append(changes, e.change)
		}
	}
	if len(ops) > 0 {
		// The process's own key makes sure that there is a revision even if all that is
		// deleted went before.
		ops = append(ops, op{key: w.replica, value: []byte(strconv.FormatInt(int64(lease), 16)), lease: lease})
		revision, ok, err := w.store.commit(ctx, compares, ops)
		if err != nil {
			return err
		}
		if ok {
			w.store.offer(revision, changes)
		}
		if err := w.store.wait(ctx, revision); err != nil {
			return err
		}
		if !ok { // a port went meanwhile
			w.poke()
			return nil
		}
	}
	w.written(batch)
	return nil
}

// event is the row of what Nova must hear of a status; nil for nothing.
func (w *statusWriter) event(t *Tables, r *statusRow) (*write, error) {
	said, ok := r.value.(*model.PortStatus)
	if !ok || !w.store.events.Load() {
		return nil, nil
	}
	e, err := plugEvent(t, said)
	if e == nil || err != nil {
		return nil, err
	}
	kept, encoded, err := tables[events].copy(e)
	return &write{change: change{table: tables[events], key: e.ID.String(), value: kept}, encoded: encoded}, err
}

// written takes off the list what has been written and not said anew since.
func (w *statusWriter) written(batch map[string]*statusRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, r := range batch {
		if w.dirty[key] != r {
			continue
		}
		delete(w.dirty, key)
		if r.gone || r.encoded == nil {
			delete(w.rows, key)
		}
	}
	if len(w.dirty) > 0 {
		w.poke()
	} else {
		close(w.idle)
	}
}
