package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// Kind says who has to look again when a table changes.
type Kind int

const (
	// Desired tables hold what the API was asked for.
	Desired Kind = iota
	// Location tables hold which hosts there are and where VIFs are.
	Location
	// Status tables hold what was seen of ports and hosts. Their rows vanish with the process
	// that wrote them.
	Status
	// Outbox tables hold what others are still to be told.
	Outbox

	kindCount
)

// String returns the word used in errors and metrics.
func (k Kind) String() string {
	switch k {
	case Desired:
		return "desired"
	case Location:
		return "location"
	case Status:
		return "status"
	case Outbox:
		return "outbox"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// table is what the machinery knows of one kind of row. Rows are pointers to the resource's
// struct and are never changed once they are in a table.
type table struct {
	number tableNumber
	name   string
	kind   Kind

	key  func(any) string
	copy func(any) (row any, encoded []byte, err error)

	decode     func([]byte) (any, error)
	unique     func(any) []string
	index      func(any) []string
	references func(any) []reference
	network    func(*edit, any) uuid.UUID
	project    func(any) string

	children   func(any) []string
	dependants []tableNumber
	below      []tableNumber
}

// reference names a row that another row needs.
type reference struct {
	table tableNumber
	key   string
}

// declaration is the typed form of a table; what is left out is absent.
type declaration[T any] struct {
	name string
	kind Kind
	key  func(*T) string
	// unique lists the keys of which no two rows may have the same (without "/tunbridge/uniq/").
	unique func(*T) []string
	// index lists prefixes by which the row is found, besides its key and unique keys.
	index func(*T) []string
	// references lists the rows without which this one may not be.
	references func(*T) []reference
	// children lists prefixes of unique keys that only rows referring to this one have: while
	// one is there, the row cannot go.
	children func(*T) []string
	// dependants are tables whose row of the same key goes together with this one.
	dependants []tableNumber
	// project is whose row it is, where a project's rows are counted.
	project func(*T) string
	// below are tables whose rows go together with this one if their keys are its own, a slash, and
	// more.
	below []tableNumber
	// network is the network whose NetworkRevision the row counts to; Nil for none.
	network func(*edit, *T) uuid.UUID
}

func declare[T any](number tableNumber, d declaration[T]) *table {
	t := &table{
		number:     number,
		name:       d.name,
		kind:       d.kind,
		key:        func(row any) string { return d.key(row.(*T)) },
		dependants: d.dependants,
		below:      d.below,
		unique:     lift(d.unique),
		index:      lift(d.index),
		references: lift(d.references),
		children:   lift(d.children),
		network:    func(*edit, any) uuid.UUID { return uuid.Nil },
	}
	if d.project != nil {
		t.project = func(row any) string { return d.project(row.(*T)) }
	}
	if d.network != nil {
		t.network = func(e *edit, row any) uuid.UUID { return d.network(e, row.(*T)) }
	}
	t.decode = func(encoded []byte) (any, error) {
		row := new(T)
		if err := json.Unmarshal(encoded, row); err != nil {
			return nil, err
		}
		return row, nil
	}
	// A row is kept in the form in which it will be read back: the caller's struct is not
	// aliased, and a restart changes nothing.
	t.copy = func(row any) (any, []byte, error) {
		encoded, err := json.Marshal(row.(*T))
		if err != nil {
			return nil, nil, err
		}
		kept, err := t.decode(encoded)
		return kept, encoded, err
	}
	return t
}

// lift turns a typed list function into one on rows; nil lists nothing.
func lift[T, E any](f func(*T) []E) func(any) []E {
	if f == nil {
		return func(any) []E { return nil }
	}
	return func(row any) []E { return f(row.(*T)) }
}

// same reports whether a row would be written exactly as it is stored.
func (t *table) same(old any, encoded []byte) bool {
	was, err := json.Marshal(old)
	return err == nil && bytes.Equal(was, encoded)
}

// row is one row of a table in memory.
type row struct {
	table    *table
	key      string
	value    any      // *T of the table
	revision Revision // etcd's mod_revision; 0 while it is only in a Tx
}

const (
	root     = "/tunbridge/"
	rowRoot  = root + "row/"
	uniqRoot = root + "uniq/"
)

// rowKey is the etcd key of a row.
func rowKey(t *table, key string) string { return rowRoot + t.name + "/" + key }
