package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	radix "github.com/hashicorp/go-immutable-radix/v2"
)

// Options are what a store needs to know beside where the truth is.
type Options struct {
	// Logger gets what an operator should hear of; nil is slog's default.
	Logger *slog.Logger
	// LeaseTTL is how long this process may be away before what it said of ports and hosts
	// vanishes; 0 is 10 s.
	LeaseTTL time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 10 * time.Second
	}
	return o
}

// Store is the tables, kept in etcd or in memory.
type Store struct {
	backend  backend
	log      *slog.Logger
	snapshot atomic.Pointer[Snapshot]
	tries    atomic.Int64
	outdated atomic.Bool // a newer program has migrated the store
	events   atomic.Bool // Nova is told of changes

	mu      sync.Mutex // one applies to the snapshot at a time; guards what follows
	pending map[Revision][]change
	waiting []waiter

	incarnation uint32
	status      *statusWriter
	index       indexReader

	stop context.CancelFunc
	done sync.WaitGroup
	ctx  context.Context // ends with Close

	close func() error
}

// OpenMemory makes an empty store that lives as long as the process.
func OpenMemory() *Store {
	s, err := open(context.Background(), &memory{keys: radix.New[entry]()}, Options{})
	if err != nil {
		panic("store in memory: " + err.Error()) // it has no way to fail
	}
	return s
}

// open brings a backend's schema up to date, loads it and starts what keeps the snapshot current.
func open(ctx context.Context, b backend, o Options) (*Store, error) {
	s := &Store{backend: b, log: o.withDefaults().Logger, pending: map[Revision][]change{}}
	s.snapshot.Store(&Snapshot{Tables{state: emptyState()}})
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.close = sync.OnceValue(func() error {
		s.stop()
		s.done.Wait()
		return b.close()
	})
	s.index.store = s
	s.status = newStatusWriter(s)
	var err error
	if s.incarnation, err = prepare(ctx, b, migrations); err == nil {
		err = s.reload(ctx)
	}
	if err == nil {
		s.done.Go(s.follow)
		err = s.status.begin(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.done.Go(s.status.run)
	return s, nil
}

// Close ends the store. What this process said of ports and hosts stays until its lease runs out,
// so that a restart does not show every port DOWN.
func (s *Store) Close() error { return s.close() }

// Snapshot is the tables as they are now.
func (s *Store) Snapshot() *Snapshot { return s.snapshot.Load() }

// mostPatience is how long the backend may take for one answer: as long as etcd itself tries, and some
// more.
const mostPatience = 10 * time.Second

// mostAttempts is how often a transaction is run; with the pauses between, some 25 s. So many mean
// that the snapshot and the truth disagree, which [Store.Check] would show.
const mostAttempts = 1000

// Update runs f and commits what it wrote. It returns when the commit is durable and in the
// snapshot. If what f read was changed by somebody else meanwhile, f runs again: it must have no
// other effects that may not be repeated. An error of f is returned as it is and nothing is
// written. After [ErrUnavailable], also because ctx ended during the commit, it is unknown whether it was
// made; [ErrConflict] says that it was not.
func (s *Store) Update(ctx context.Context, f func(*Tx) error) (Revision, error) {
	newest := s.backend.alone()
	for attempt := 0; ; attempt++ {
		tx := newTx(s.Snapshot().state, s.events.Load())
		err := f(tx)
		if err == nil {
			err = tx.verify()
		}
		if err != nil {
			if newest {
				return 0, err
			}
			// The error may come of not having seen yet what another replica has committed.
			newest = true
			if unread := s.ReadIndex(ctx); unread != nil {
				return 0, unread
			}
			continue
		}
		compares, ops, changes := tx.plan()
		if len(ops) == 0 {
			return tx.base.revision, nil
		}
		revision, ok, err := s.commit(ctx, compares, ops)
		if err != nil {
			return 0, err
		}
		if ok {
			s.offer(revision, changes)
			return revision, s.wait(context.WithoutCancel(ctx), revision)
		}
		if err := s.wait(ctx, revision); err != nil {
			return 0, err
		}
		if attempt == mostAttempts {
			return 0, ErrConflict
		}
		if err := s.pause(ctx, attempt); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrConflict, err)
		}
	}
}

// commit adds to a transaction what every one depends on.
func (s *Store) commit(ctx context.Context, compares []compare, ops []op) (Revision, bool, error) {
	if s.ctx.Err() != nil {
		return 0, false, ErrClosed
	}
	if s.outdated.Load() {
		return 0, false, ErrOutdated
	}
	compares = append(compares, compare{key: schemaKey, test: valueIs, value: schemaVersion})
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	revision, ok, err := s.backend.commit(ctx, compares, ops)
	if err != nil {
		return 0, false, fmt.Errorf("commit: %w", err)
	}
	return revision, ok, nil
}

// pause lets others go first after a few conflicts.
func (s *Store) pause(ctx context.Context, attempt int) error {
	if attempt < 3 {
		return ctx.Err()
	}
	longest := min(time.Millisecond<<min(attempt-3, 6), 50*time.Millisecond)
	select {
	case <-time.After(rand.N(longest)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Try runs f as [Store.Update] does but commits nothing: it returns the tables as they are and as
// they would be. The revisions of after are negative and never seen again.
func (s *Store) Try(f func(*Tx) error) (before, after *Snapshot, err error) {
	before = s.Snapshot()
	tx := newTx(before.state, false)
	if err := f(tx); err != nil {
		return nil, nil, err
	}
	if err := tx.verify(); err != nil {
		return nil, nil, err
	}
	_, _, changes := tx.plan()
	revision := Revision(s.tries.Add(-1))
	e := before.state.edit()
	for _, c := range changes {
		e.apply(c, revision)
	}
	return before, &Snapshot{Tables{state: e.state(revision)}}, nil
}
