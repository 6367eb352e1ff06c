package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	radix "github.com/hashicorp/go-immutable-radix/v2"
)

func TestSchema(t *testing.T) {
	rename := migration(func(all map[string][]byte) map[string][]byte {
		changed := map[string][]byte{}
		for key, value := range all {
			if id, old := strings.CutPrefix(key, rowRoot+"net/"); old {
				changed[key] = nil
				changed[rowRoot+"network/"+id] = value
			}
		}
		return changed
	})
	ctx := context.Background()
	b := &memory{keys: radix.New[entry]()}
	made, err := prepare(ctx, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	network := newNetwork(7)
	_, encoded, err := tables[networks].copy(network)
	if err != nil {
		t.Fatal(err)
	}
	ops := []op{{key: rowRoot + "net/" + network.ID.String(), value: encoded}}
	for range 2500 { // more than fits into one piece
		other := newNetwork(0)
		_, encoded, _ := tables[networks].copy(other)
		ops = append(ops, op{key: rowRoot + "net/" + other.ID.String(), value: encoded})
	}
	if _, _, err := b.commit(ctx, nil, ops); err != nil {
		t.Fatal(err)
	}

	// Twice, as after a crash that came before the version was written.
	for range 2 {
		same, err := prepare(ctx, b, []migration{rename})
		if err != nil {
			t.Fatal(err)
		}
		if same != made {
			t.Errorf("incarnation %x became %x", made, same)
		}
		if v, _ := read(ctx, b, schemaKey); v != "2" {
			t.Errorf("schema is %s after the migration", v)
		}
		if _, there := b.keys.Get([]byte(rowRoot + "network/" + network.ID.String())); !there {
			t.Error("the row was not migrated")
		}
		rows := 0
		if _, err := b.load(ctx, rowRoot, func(e entry) error {
			rows++
			if strings.HasPrefix(e.key, rowRoot+"net/") {
				t.Fatalf("%s is still there", e.key)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if rows != 2501 {
			t.Errorf("%d rows after the migration", rows)
		}
		if _, _, err := b.commit(ctx, nil, []op{{key: schemaKey, value: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}

	if _, _, err := b.commit(ctx, nil, []op{{key: schemaKey, value: []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(ctx, b, []migration{rename}); err == nil || !strings.Contains(err.Error(), "run a version at least as new") {
		t.Errorf("a newer schema: %v", err)
	}
	if _, _, err := b.commit(ctx, nil, []op{{key: schemaKey, value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(ctx, b, nil); err == nil || !strings.Contains(err.Error(), "not a store of tunbridge") {
		t.Errorf("a foreign schema: %v", err)
	}
}

// A program that was running when a newer one migrated the store writes no more.
func TestNewerSchemaStopsWriting(t *testing.T) {
	s := OpenMemory()
	defer s.Close()
	revision, _, err := s.backend.commit(t.Context(), nil, []op{{key: schemaKey, value: []byte("99")}})
	if err != nil {
		t.Fatal(err)
	}
	s.observe(revision, []event{{key: schemaKey, value: []byte("99")}})
	if _, err := s.Update(t.Context(), func(tx *Tx) error { return tx.PutNetwork(newNetwork(7)) }); !errors.Is(err, ErrOutdated) {
		t.Errorf("update: %v", err)
	}
}
