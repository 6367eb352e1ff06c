package ovsdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// The notation of RFC 7047 section 5 is libovsdb's.
type (
	Operation       = ovsdb.Operation
	OperationResult = ovsdb.OperationResult
	Row             = ovsdb.Row
)

// ErrNotOwner is wrapped by Transact's error when the session's lock is not ours.
var ErrNotOwner = errors.New("the lock is not ours")

// OperationError says which operation of a transaction failed, and why. Nothing
// of the transaction was applied.
type OperationError struct {
	Index   int       // in the operations given to Transact; their number if the commit failed
	Op      Operation // zero if the commit failed
	Code    string    // RFC 7047's <error>, as "constraint violation"
	Details string
}

func (e *OperationError) Error() string {
	text := "transact: commit: " + e.Code
	if e.Op.Op != "" {
		text = fmt.Sprintf("transact: op %d (%s %s): %s", e.Index, e.Op.Op, e.Op.Table, e.Code)
	}
	if e.Details != "" {
		text += ": " + e.Details
	}
	return text
}

// Transact commits the operations together or not at all; none is a no-op. The
// error of an operation is an *OperationError.
//
// When it returns without error, Mirror holds the effect: ovsdb-server sends a
// client the updates its transaction caused before the reply (RFC 7047 section
// 4.1.6). When ctx ends first, the transaction may or may not have been
// applied; the mirror will tell. Results are those of insert (UUID) and of
// update, mutate and delete (Count). Select is refused: the mirror has the rows.
func (s *Session) Transact(ctx context.Context, ops ...Operation) ([]OperationResult, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	s.mu.Lock()
	lock := s.lock
	s.mu.Unlock()
	params := make([]any, 0, len(ops)+2)
	params = append(params, database)
	if lock != "" {
		params = append(params, AssertLock(lock))
	}
	asserts := len(params) - 1
	for i, op := range ops {
		if op.Op == ovsdb.OperationSelect {
			return nil, fmt.Errorf("transact: op %d: select is not supported", i)
		}
		params = append(params, op)
	}
	var results []OperationResult
	err := s.call(ctx, "transact", params, func(c *cursor) { results = decodeResults(c, len(params)-1) })
	if err != nil {
		return nil, fmt.Errorf("transact: %w", err)
	}
	for i, r := range results {
		if r.Error == "" {
			continue
		}
		if i < asserts {
			return nil, fmt.Errorf("transact: %w: %q", ErrNotOwner, lock)
		}
		e := &OperationError{Index: i - asserts, Code: r.Error, Details: r.Details}
		if e.Index < len(ops) {
			e.Op = ops[e.Index]
		}
		return nil, e
	}
	return results[asserts:], nil
}

// decodeResults reads the result of a transact of n operations: an array of n
// objects, null for those after a failed one, and one more if the commit failed.
func decodeResults(c *cursor, n int) []OperationResult {
	var results []OperationResult
	failed := false
	for ok := c.first('[', ']'); ok; ok = c.next(']') {
		var r OperationResult
		if !c.literal("null") {
			r = decodeResult(c)
		} else if !failed {
			c.fail("operation %d of %d not done, and no error", len(results), n)
		}
		failed = failed || r.Error != ""
		results = append(results, r)
	}
	if c.err == nil && len(results) != n && (len(results) != n+1 || !failed) {
		c.fail("%d results for %d operations", len(results), n)
	}
	return results
}

func decodeResult(c *cursor) (r OperationResult) {
	for ok := c.first('{', '}'); ok; ok = c.next('}') {
		switch string(c.key()) {
		case "count":
			r.Count = c.integer()
		case "uuid":
			r.UUID.GoUUID = c.atom()
		case "error":
			if !c.literal("null") {
				r.Error = string(c.text())
			}
		case "details":
			if !c.literal("null") {
				r.Details = string(c.text())
			}
		default:
			c.raw()
		}
	}
	return r
}
