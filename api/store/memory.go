package store

import (
	"context"
	"sync"

	radix "github.com/hashicorp/go-immutable-radix/v2"
)

// memory is a backend without etcd: nothing survives, nobody else writes, leases never end.
type memory struct {
	mu       sync.Mutex
	keys     *radix.Tree[entry]
	revision Revision
}

func (m *memory) commit(ctx context.Context, compares []compare, ops []op) (Revision, bool, error) {
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range compares {
		if !m.holds(c) {
			return m.revision, false, nil
		}
	}
	m.revision++
	keys := m.keys.Txn()
	for _, o := range ops {
		if o.value == nil {
			keys.Delete([]byte(o.key))
			continue
		}
		keys.Insert([]byte(o.key), entry{key: o.key, value: o.value, revision: m.revision, lease: o.lease})
	}
	m.keys = keys.Commit()
	return m.revision, true, nil
}

func (m *memory) holds(c compare) bool {
	switch c.test {
	case noneNewer:
		it := m.keys.Root().Iterator()
		it.SeekPrefix([]byte(c.key))
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			if e.revision > c.revision {
				return false
			}
		}
		return true
	case present:
		_, there := m.keys.Get([]byte(c.key))
		return there
	case valueIs:
		e, _ := m.keys.Get([]byte(c.key))
		return string(e.value) == c.value
	default:
		e, _ := m.keys.Get([]byte(c.key))
		return e.revision == c.revision
	}
}

func (m *memory) load(_ context.Context, prefix string, each func(entry) error) (Revision, error) {
	m.mu.Lock()
	keys, revision := m.keys, m.revision
	m.mu.Unlock()
	it := keys.Root().Iterator()
	it.SeekPrefix([]byte(prefix))
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if err := each(e); err != nil {
			return 0, err
		}
	}
	return revision, nil
}

// watch has nothing to tell: every revision is the store's own.
func (m *memory) watch(ctx context.Context, _ Revision, _ func(Revision, []event)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (m *memory) current(context.Context) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision, nil
}

func (m *memory) lease(context.Context) (leaseID, <-chan struct{}, error) {
	return 1, make(chan struct{}), nil
}

func (m *memory) alone() bool  { return true }
func (m *memory) close() error { return nil }
