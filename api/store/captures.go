package store

import (
	"iter"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// Captures lists all captures in the order of their ids, those that have expired too.
func (t *Tables) Captures() iter.Seq[*model.Capture] {
	return list[model.Capture](t.state.rows[captures], "")
}

// CapturesRevision is the revision of the newest change to the captures.
func (s *Snapshot) CapturesRevision() Revision { return s.state.newest[captures] }

// PutCapture writes a capture. Its port or host need not exist: there is then nothing to capture.
func (tx *Tx) PutCapture(c *model.Capture) error { return tx.put(captures, c) }

// DeleteCapture deletes a capture. [ErrNotFound] when there is none.
func (tx *Tx) DeleteCapture(id uuid.UUID) error { return tx.drop(captures, id.String()) }
