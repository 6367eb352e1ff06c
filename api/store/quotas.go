package store

import (
	"iter"
	"net/url"

	"github.com/tunbridge/tunbridge/api/model"
)

// Quota finds what a project may have, as far as it differs from others.
func (t *Tables) Quota(project string) (*model.Quota, bool) {
	return get[model.Quota](t, quotas, url.PathEscape(project))
}

// Quotas lists all quotas in the order of their projects.
func (t *Tables) Quotas() iter.Seq[*model.Quota] { return list[model.Quota](t.state.rows[quotas], "") }

// Count is how many rows a project has in the table of that name, "network" for one. It is not
// watched over: a transaction that must not be committed if another adds a row at the same time has
// to write a row that the other writes too.
func (t *Tables) Count(table, project string) int {
	n, _ := t.state.counts.Get([]byte(countKey(table, project)))
	return n
}

// PutQuota writes a project's quota.
func (tx *Tx) PutQuota(q *model.Quota) error { return tx.put(quotas, q) }

// DeleteQuota deletes a project's quota. [ErrNotFound] when there is none.
func (tx *Tx) DeleteQuota(project string) error { return tx.drop(quotas, url.PathEscape(project)) }
