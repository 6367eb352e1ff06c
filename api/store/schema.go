package store

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	schemaKey      = root + "schema"
	incarnationKey = root + "incarnation"
)

// migration turns the keys of one schema version into those of the next: what it returns is
// written, nil values are deleted. It must bear being run again after a crash half way.
type migration func(map[string][]byte) map[string][]byte

// migrations[i] leads from schema version i+1 to i+2.
var migrations []migration

// schemaVersion is the layout this program reads and writes.
var schemaVersion = strconv.Itoa(len(migrations) + 1)

// prepare makes an empty backend ours, or checks that it is ours and not newer than we are, and
// migrates an older one. It returns the store's incarnation.
func prepare(ctx context.Context, b backend, migrations []migration) (incarnation uint32, err error) {
	want := len(migrations) + 1
	for {
		text, err := read(ctx, b, schemaKey)
		if err != nil {
			return 0, err
		}
		if text == "" {
			_, _, err := b.commit(ctx,
				[]compare{{key: schemaKey, test: revisionIs}},
				[]op{
					{key: schemaKey, value: []byte(strconv.Itoa(want))},
					{key: incarnationKey, value: []byte(strconv.FormatUint(uint64(incarnationAt(time.Now())), 16))},
				})
			if err != nil {
				return 0, fmt.Errorf("write %s: %w", schemaKey, err)
			}
			continue // read it back: another replica may have been first
		}
		have, err := strconv.Atoi(text)
		if err != nil || have < 1 {
			return 0, fmt.Errorf("%s is %q: this is not a store of tunbridge", schemaKey, text)
		}
		if have > want {
			return 0, fmt.Errorf("the store has schema %d and this program knows %d: run a version at least as new as the one that wrote it", have, want)
		}
		if have == want {
			text, err := read(ctx, b, incarnationKey)
			if err != nil {
				return 0, err
			}
			v, err := strconv.ParseUint(text, 16, 24)
			if err != nil {
				return 0, fmt.Errorf("%s is %q: not 24 bits in hexadecimal", incarnationKey, text)
			}
			return uint32(v), nil
		}
		all := map[string][]byte{}
		if _, err := b.load(ctx, root, func(e entry) error {
			all[e.key] = e.value
			return nil
		}); err != nil {
			return 0, fmt.Errorf("load schema %d: %w", have, err)
		}
		if err := migrate(ctx, b, migrations[have-1](all), have); err != nil {
			return 0, fmt.Errorf("migrate schema %d: %w", have, err)
		}
	}
}

// read is the value of one key, "" if there is none.
func read(ctx context.Context, b backend, key string) (value string, err error) {
	_, err = b.load(ctx, key, func(e entry) error {
		if e.key == key {
			value = string(e.value)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	return value, nil
}

// migrate writes what a migration changed, in pieces that fit into a transaction, and the version
// with the last.
func migrate(ctx context.Context, b backend, changed map[string][]byte, have int) error {
	const piece = 1000
	still := []compare{{key: schemaKey, test: valueIs, value: strconv.Itoa(have)}}
	ops := make([]op, 0, len(changed)+1)
	for key, value := range changed {
		ops = append(ops, op{key: key, value: value})
	}
	ops = append(ops, op{key: schemaKey, value: []byte(strconv.Itoa(have + 1))})
	for len(ops) > 0 {
		n := min(piece, len(ops))
		if _, ok, err := b.commit(ctx, still, ops[:n]); err != nil || !ok {
			return err // not ok: another replica has migrated
		}
		ops = ops[n:]
	}
	return nil
}

// incarnationAt is the incarnation of a store made, or restored, at t: 24 bits that grow by one every
// 64 seconds and come round after 34 years. Switches compare generation ids as numbers on a circle
// (OpenFlow 1.5.1 §6.3.7), so that a later store's controller is granted its role wherever an
// earlier one's has been, and an earlier one's no longer.
func incarnationAt(t time.Time) uint32 { return uint32(t.Unix()>>6) & (1<<24 - 1) }

// Incarnation is when the store was made, in 24 bits: two stores are not taken for each other, nor
// one for its predecessor.
func (s *Store) Incarnation() uint32 { return s.incarnation }
