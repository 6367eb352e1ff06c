package store

import (
	"fmt"
	"net/url"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// Tx is one transaction: the tables as its function sees them, and what it writes. It must not be
// used after the function has returned, nor by two goroutines.
//
// A Put takes a copy. References are checked when the function has returned, so that rows may be
// written in any order; unique keys at once, so that the function may choose another.
type Tx struct {
	Tables
	base   *state
	events bool              // Nova is told
	writes map[string]*write // by etcd key
	order  []*write
}

// write is the last word of a transaction on one row.
type write struct {
	change
	encoded []byte // nil: delete
	blind   bool   // a dependant, which goes whatever it holds by then
}

func newTx(base *state, events bool) *Tx {
	return &Tx{
		events: events,
		Tables: Tables{state: base, reads: newReads(base)},
		base:   base,
		writes: map[string]*write{},
	}
}

// put writes one row.
func (tx *Tx) put(n tableNumber, value any) error {
	t := tables[n]
	key := t.key(value)
	kept, encoded, err := t.copy(value)
	if err != nil {
		return fmt.Errorf("%s %s: %w", t.name, key, err)
	}
	for _, unique := range t.unique(kept) {
		if r, taken := tx.state.holder(unique); taken && (r.table != t || r.key != key) {
			tx.reads.note(r.table.number, r.key)
			return &UniqueError{Key: unique, Holder: r.key}
		}
	}
	if old, had := tx.state.row(n, key); had && t.same(old.value, encoded) {
		tx.reads.note(n, key)
		return nil
	}
	tx.write(&write{change: change{table: t, key: key, value: kept}, encoded: encoded})
	return nil
}

// drop deletes one row and its dependants.
func (tx *Tx) drop(n tableNumber, key string) error {
	t := tables[n]
	if _, had := tx.state.row(n, key); !had {
		tx.reads.note(n, key)
		return fmt.Errorf("%s %s: %w", t.name, key, ErrNotFound)
	}
	tx.write(&write{change: change{table: t, key: key}})
	for _, dependant := range t.dependants {
		tx.write(&write{change: change{table: tables[dependant], key: key}, blind: true})
	}
	for _, below := range t.below {
		prefix := key + "/"
		tx.reads.prefixes[rowKey(tables[below], prefix)] = struct{}{}
		for row := range walkUnder(tx.state.rows[below], prefix) {
			tx.write(&write{change: change{table: tables[below], key: row}, blind: true})
		}
	}
	return nil
}

func (tx *Tx) write(w *write) {
	key := rowKey(w.table, w.key)
	if earlier, again := tx.writes[key]; again {
		*earlier = *w
	} else {
		tx.writes[key] = w
		tx.order = append(tx.order, w)
	}
	e := tx.state.edit()
	e.apply(w.change, 0)
	tx.state = e.state(tx.base.revision)
}

// verify checks the references of what was written and that nothing refers to what was deleted.
func (tx *Tx) verify() error {
	for _, w := range tx.order {
		if w.value != nil {
			for _, ref := range w.table.references(w.value) {
				tx.reads.note(ref.table, ref.key)
				if _, there := tx.state.row(ref.table, ref.key); !there {
					return &ReferenceError{Table: w.table.name, Key: w.key, Wanted: tables[ref.table].name, WantedID: ref.key}
				}
			}
			continue
		}
		old, had := tx.base.row(w.table.number, w.key)
		if !had {
			continue
		}
		for _, prefix := range w.table.children(old.value) {
			tx.reads.prefixes[uniqRoot+prefix] = struct{}{}
			if child, there := tx.state.anyUnder(prefix); there {
				return &InUseError{Table: w.table.name, Key: w.key, By: child.table.name, ByKey: child.key}
			}
		}
	}
	return nil
}

// plan is the transaction as the backend takes it, and what it does to the tables.
func (tx *Tx) plan() (compares []compare, ops []op, changes []change) {
	uniques := map[string]struct{}{}
	certain := false // deletes of what is not there leave no revision
	for _, w := range tx.order {
		t := w.table
		old, had := tx.base.row(t.number, w.key)
		if !had && w.value == nil && !w.blind {
			continue // made and deleted again
		}
		if !w.blind {
			tx.reads.note(t.number, w.key)
			certain = true
		}
		ops = append(ops, op{key: rowKey(t, w.key), value: w.encoded})
		changes = append(changes, w.change)
		if had {
			for _, key := range t.unique(old.value) {
				uniques[key] = struct{}{}
			}
		}
		if w.value != nil {
			for _, key := range t.unique(w.value) {
				uniques[key] = struct{}{}
			}
		}
	}
	if !certain {
		return nil, nil, nil
	}
	for key := range uniques {
		was, had := tx.base.holder(key)
		is, has := tx.state.holder(key)
		switch {
		case has && (!had || was.key != is.key):
			ops = append(ops, op{key: uniqRoot + key, value: []byte(is.key)})
			tx.reads.noteUnique(key)
		case had && !has:
			ops = append(ops, op{key: uniqRoot + key})
		}
	}
	return tx.reads.compares(), ops, changes
}

// reads is what the outcome of a transaction depends on.
type reads struct {
	base     *state
	rows     map[string]Revision // etcd key of a row → its revision, 0: it was not there
	absent   map[string]struct{} // unique keys that nobody had
	prefixes map[string]struct{} // prefixes of etcd keys that were listed
}

func newReads(base *state) *reads {
	return &reads{base: base, rows: map[string]Revision{}, absent: map[string]struct{}{}, prefixes: map[string]struct{}{}}
}

// note makes the commit depend on a row's being as it is in the base.
func (r *reads) note(n tableNumber, key string) {
	var revision Revision
	if found, ok := r.base.row(n, key); ok {
		revision = found.revision
	}
	r.rows[rowKey(tables[n], key)] = revision
}

// noteUnique makes the commit depend on who has a unique key in the base: it changes only together
// with the row that has it.
func (r *reads) noteUnique(key string) {
	if holder, ok := r.base.holder(key); ok {
		r.note(holder.table.number, holder.key)
		return
	}
	r.absent[key] = struct{}{}
}

func (r *reads) compares() []compare {
	all := make([]compare, 0, len(r.rows)+len(r.absent)+len(r.prefixes)+1)
	for key, revision := range r.rows {
		all = append(all, compare{key: key, test: revisionIs, revision: revision})
	}
	for key := range r.absent {
		all = append(all, compare{key: uniqRoot + key, test: revisionIs})
	}
	for prefix := range r.prefixes {
		all = append(all, compare{key: prefix, test: noneNewer, revision: r.base.revision})
	}
	return all
}

// PutNetwork writes a network. Its segment must be free: [*UniqueError].
func (tx *Tx) PutNetwork(n *model.Network) error { return tx.put(networks, n) }

// PutSubnet writes a subnet. Its network must exist ([*ReferenceError]) and have no other subnet
// with the same CIDR ([*UniqueError]).
func (tx *Tx) PutSubnet(s *model.Subnet) error { return tx.put(subnets, s) }

// PutHost writes a host. Its hostname must be no other host's: [*UniqueError].
func (tx *Tx) PutHost(h *model.Host) error { return tx.put(hosts, h) }

// PutClaim writes which host claims a port. The port must exist: [*ReferenceError].
func (tx *Tx) PutClaim(c *model.Claim) error { return tx.put(claims, c) }

// DeleteNetwork deletes a network, which must have neither subnets nor ports when the function
// ends: [*InUseError]. [ErrNotFound] when there is none.
func (tx *Tx) DeleteNetwork(id uuid.UUID) error { return tx.drop(networks, id.String()) }

// DeleteSubnet deletes a subnet, of which no port may have an address when the function ends:
// [*InUseError]. [ErrNotFound] when there is none.
func (tx *Tx) DeleteSubnet(id uuid.UUID) error { return tx.drop(subnets, id.String()) }

// DeleteHost deletes a host with its status. [ErrNotFound] when there is none.
func (tx *Tx) DeleteHost(systemID string) error { return tx.drop(hosts, url.PathEscape(systemID)) }

// DeleteClaim deletes a claim. [ErrNotFound] when there is none.
func (tx *Tx) DeleteClaim(port uuid.UUID) error { return tx.drop(claims, port.String()) }
