package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: the row to delete is not there.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge: the transaction has more rows or bytes than etcd takes at once.
	ErrTooLarge = errors.New("transaction is too large")
	// ErrConflict: others kept changing what the transaction had read until ctx ended.
	ErrConflict = errors.New("conflicts with other transactions")
	// ErrOutdated: a newer program has migrated the store; this one must not write to it.
	ErrOutdated = errors.New("the store was migrated by a newer version: run that one")
	// ErrUnavailable: etcd did not answer in time. Of a commit it is unknown whether it was made.
	ErrUnavailable = errors.New("the store does not answer")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("store is closed")
)

// UniqueError says that another row has what may be had only once.
type UniqueError struct {
	Key    string // the unique key, "ip/<subnet>/<ip>", "mac/<network>/<mac>", …
	Holder string // key of the row that has it
}

func (e *UniqueError) Error() string { return fmt.Sprintf("%s is taken by %s", e.Key, e.Holder) }

// ReferenceError says that a row refers to one that is not there.
type ReferenceError struct {
	Table, Key       string // the row
	Wanted, WantedID string // table and key of the one that is missing
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("%s %s: there is no %s %s", e.Table, e.Key, e.Wanted, e.WantedID)
}

// InUseError says that a row cannot go because another refers to it.
type InUseError struct {
	Table, Key string // the row
	By, ByKey  string // table and key of one that refers to it
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s %s is in use by %s %s", e.Table, e.Key, e.By, e.ByKey)
}
