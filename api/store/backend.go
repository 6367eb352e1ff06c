package store

import "context"

// backend is where the truth is: a map from keys to values in which every change has a revision,
// as etcd defines it.
type backend interface {
	// commit makes all writes in one revision if all compares hold. The revision is that of the
	// writes, or, if a compare fails, the newest one at that moment.
	commit(ctx context.Context, compares []compare, ops []op) (revision Revision, ok bool, err error)
	// load calls each with every key that has the prefix, all at the revision that it returns.
	load(ctx context.Context, prefix string, each func(entry) error) (Revision, error)
	// watch calls each with every revision from the given one on, in order, until ctx ends or
	// the revisions are no longer to be had.
	watch(ctx context.Context, from Revision, each func(Revision, []event)) error
	// current is the newest revision of the whole cluster, not only of the member that answers.
	current(ctx context.Context) (Revision, error)
	// lease opens a lease. It is kept alive until ctx ends; lost is closed when it is no more.
	lease(ctx context.Context) (id leaseID, lost <-chan struct{}, err error)
	// alone reports that nobody else writes, so that the snapshot is always the newest.
	alone() bool
	close() error
}

// leaseID names a lease; 0 is none. What is written with a lease vanishes with it.
type leaseID int64

type test int

const (
	revisionIs test = iota // the key's revision is that; 0: there is no such key
	present                // there is such a key
	noneNewer              // no key with the prefix was written after the revision
	valueIs                // the key's value is that
)

type compare struct {
	key      string
	test     test
	revision Revision
	value    string
}

// op is a put, or a delete when value is nil.
type op struct {
	key   string
	value []byte
	lease leaseID
}

// entry is a key with its value and revision.
type entry struct {
	key      string
	value    []byte
	revision Revision
	lease    leaseID
}

// event is a key that was written, or deleted when value is nil.
type event struct {
	key   string
	value []byte
	lease leaseID
}
