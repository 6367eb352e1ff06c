package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	radix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/tunbridge/tunbridge/api/model"
)

// Check proves every invariant of the store and returns what it finds broken, each with the rows that it concerns:
//
//   - each row is of a table that there is, can be read, and stands under its own key;
//   - what a row refers to exists;
//   - no two rows have the same MAC on a network, address of a subnet, segment, hostname, or other unique key, and
//     the truth has exactly the unique keys that the rows call for, each with its holder;
//   - addresses are inside their subnet's CIDR and of a subnet of the port's network, and so are allocation pools;
//   - a DHCP port has addresses of subnets with DHCP only;
//   - subnets of a network do not overlap; one that was cut from a pool is inside the pool's prefixes;
//   - a binding is of the network of its port, and to another host than the port's own;
//   - the snapshot has exactly the rows of the truth, and its indexes, counts and networks' revisions are what a
//     rebuild makes.
//
// It reads the whole store. While it changes all the time it cannot be compared with its snapshot,
// which is an error too.
func (s *Store) Check(ctx context.Context) []error {
	const attempts = 20
	for range attempts {
		snapshot := s.Snapshot().state
		truth, revision, err := s.readTruth(ctx)
		if err != nil {
			return []error{fmt.Errorf("check: %w", err)}
		}
		if revision != snapshot.revision {
			if err := s.wait(ctx, revision); err != nil {
				return []error{fmt.Errorf("check: %w", err)}
			}
			continue
		}
		c := &checker{snapshot: snapshot, truth: truth}
		c.rows()
		c.uniqueKeys()
		c.rebuild()
		for n := range tables {
			c.references(tableNumber(n))
		}
		c.addresses()
		c.blocks()
		c.bindings()
		return c.broken
	}
	return []error{fmt.Errorf("check: the store changes too fast to be compared with its snapshot")}
}

// readTruth reads rows and unique keys from the backend.
func (s *Store) readTruth(ctx context.Context) (map[string]entry, Revision, error) {
	truth := map[string]entry{}
	revision, err := s.backend.load(ctx, root, func(e entry) error {
		truth[e.key] = e
		return nil
	})
	return truth, revision, err
}

type checker struct {
	snapshot *state
	truth    map[string]entry
	broken   []error
}

func (c *checker) report(format string, args ...any) {
	c.broken = append(c.broken, fmt.Errorf(format, args...))
}

// rows compares the snapshot's rows with the truth, both ways.
func (c *checker) rows() {
	kept := 0
	for key, e := range c.truth {
		rest, isRow := strings.CutPrefix(key, rowRoot)
		if !isRow {
			continue
		}
		t, id, ok := parseRowKey(key)
		if !ok {
			c.report("%s: there is no such table", rest)
			continue
		}
		kept++
		r, there := c.snapshot.row(t.number, id)
		if !there {
			c.report("%s: not in the snapshot", rest)
			continue
		}
		if encoded, err := json.Marshal(r.value); err != nil || !bytes.Equal(encoded, e.value) {
			c.report("%s: the snapshot has %s, the store %s", rest, encoded, e.value)
		}
		if r.revision != e.revision {
			c.report("%s: the snapshot has it at revision %d, the store at %d", rest, r.revision, e.revision)
		}
		if own := t.key(r.value); own != id {
			c.report("%s: the row's own key is %s", rest, own)
		}
	}
	has := 0
	for _, tree := range c.snapshot.rows {
		has += tree.Len()
	}
	if has != kept {
		c.report("the snapshot has %d rows, the store %d", has, kept)
	}
}

// uniqueKeys compares the unique keys that are kept with those that the rows call for.
func (c *checker) uniqueKeys() {
	for key, e := range c.truth {
		name, isUnique := strings.CutPrefix(key, uniqRoot)
		if !isUnique {
			continue
		}
		if r, called := c.snapshot.holder(name); !called {
			c.report("unique key %s is kept for %s, which does not have it", name, e.value)
		} else if r.key != string(e.value) {
			c.report("unique key %s is kept for %s but %s has it", name, e.value, r.key)
		}
	}
	for name, r := range walk(c.snapshot.unique) {
		if _, kept := c.truth[uniqRoot+name]; !kept {
			c.report("%s %s has %s, but no unique key is kept", r.table.name, r.key, name)
		}
	}
}

// rebuild compares what the rows are found by with what would be made of them now.
func (c *checker) rebuild() {
	e := emptyState().edit()
	for n := range tables {
		for _, r := range walk(c.snapshot.rows[n]) {
			for _, key := range r.table.unique(r.value) {
				if other, taken := e.unique.Get([]byte(key)); taken {
					c.report("%s is had by %s and by %s", key, other.key, r.key)
				}
			}
			e.rows[n].Insert([]byte(r.key), r)
			e.enter(r)
			e.count(r, 1)
		}
	}
	fresh := e.state(c.snapshot.revision)
	c.same("unique keys", c.snapshot.unique, fresh.unique)
	c.same("indexes", c.snapshot.index, fresh.index)
	for key, n := range walk(fresh.counts) {
		if has, _ := c.snapshot.counts.Get([]byte(key)); has != n {
			c.report("%s has %d rows, counted as %d", key, n, has)
		}
	}
	if has, want := c.snapshot.counts.Len(), fresh.counts.Len(); has != want {
		c.report("%d counts of projects' rows, the rows call for %d", has, want)
	}
	for _, r := range walk(c.snapshot.rows[networks]) {
		if _, has := c.snapshot.networks.Get([]byte(r.key)); !has {
			c.report("network %s has no revision", r.key)
		}
	}
	if has, want := c.snapshot.networks.Len(), c.snapshot.rows[networks].Len(); has != want {
		c.report("%d networks have a revision and there are %d", has, want)
	}
}

func (c *checker) same(what string, has, want *radix.Tree[*row]) {
	for key, r := range walk(has) {
		if w, _ := want.Get([]byte(key)); w != r {
			c.report("%s: %s leads to %s %s, which is not there", what, key, r.table.name, r.key)
		}
	}
	if has.Len() < want.Len() {
		c.report("%s: %d entries, the rows call for %d", what, has.Len(), want.Len())
	}
}

func (c *checker) references(n tableNumber) {
	for _, r := range walk(c.snapshot.rows[n]) {
		for _, ref := range r.table.references(r.value) {
			if _, there := c.snapshot.row(ref.table, ref.key); !there {
				c.report("%w", &ReferenceError{r.table.name, r.key, tables[ref.table].name, ref.key})
			}
		}
	}
}

// addresses checks each address against its subnet.
func (c *checker) addresses() {
	t := &Tables{state: c.snapshot}
	for port := range t.Ports() {
		for _, f := range port.FixedIPs {
			subnet, ok := t.Subnet(f.SubnetID)
			switch {
			case !ok: // reported with the references
			case subnet.NetworkID != port.NetworkID:
				c.report("port %s of network %s has address %s of network %s", port.ID, port.NetworkID, f.IPAddress, subnet.NetworkID)
			case !subnet.CIDR.Contains(f.IPAddress):
				c.report("port %s has address %s, outside of %s of subnet %s", port.ID, f.IPAddress, subnet.CIDR, subnet.ID)
			case port.DeviceOwner == model.OwnerDHCP && !subnet.EnableDHCP:
				c.report("DHCP port %s has address %s of subnet %s, which has no DHCP", port.ID, f.IPAddress, subnet.ID)
			}
		}
	}
}

// blocks checks that an address belongs to one subnet of a network, and each subnet's own blocks.
func (c *checker) blocks() {
	t := &Tables{state: c.snapshot}
	for network := range t.Networks() {
		var before []*model.Subnet
		for subnet := range t.SubnetsOf(network.ID) {
			for _, other := range before {
				if subnet.CIDR.Overlaps(other.CIDR) {
					c.report("subnets %s (%s) and %s (%s) of network %s overlap", other.ID, other.CIDR, subnet.ID, subnet.CIDR, network.ID)
				}
			}
			before = append(before, subnet)
			for _, p := range subnet.AllocationPools {
				if !subnet.CIDR.Contains(p.Start) || !subnet.CIDR.Contains(p.End) {
					c.report("subnet %s (%s) has the allocation pool %s to %s, which is not inside", subnet.ID, subnet.CIDR, p.Start, p.End)
				}
			}
			pool, ok := t.SubnetPool(subnet.SubnetPoolID)
			inside := func(prefix netip.Prefix) bool {
				return prefix.Bits() <= subnet.CIDR.Bits() && prefix.Contains(subnet.CIDR.Addr())
			}
			if ok && !slices.ContainsFunc(pool.Prefixes, inside) {
				c.report("subnet %s (%s) is not inside the prefixes %s of its pool %s", subnet.ID, subnet.CIDR, pool.Prefixes, pool.ID)
			}
		}
	}
}

// bindings checks each binding against its port.
func (c *checker) bindings() {
	for _, r := range walk(c.snapshot.rows[bindings]) {
		b := r.value.(*model.Binding)
		port, ok := c.snapshot.row(ports, b.PortID.String())
		if !ok {
			continue // reported with the references
		}
		switch p := port.value.(*model.Port); {
		case p.NetworkID != b.NetworkID:
			c.report("binding %s is of network %s, and its port of network %s", r.key, b.NetworkID, p.NetworkID)
		case p.HostID == b.Host:
			c.report("binding %s is to host %s, as its port's own is", r.key, b.Host)
		}
	}
}

// walk lists a tree with its keys.
func walk[T any](tree *radix.Tree[T]) func(func(string, T) bool) { return walkUnder(tree, "") }

// walkUnder lists what a tree has under a prefix, with the whole keys.
func walkUnder[T any](tree *radix.Tree[T], prefix string) func(func(string, T) bool) {
	return func(yield func(string, T) bool) {
		it := tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for key, v, ok := it.Next(); ok; key, v, ok = it.Next() {
			if !yield(string(key), v) {
				return
			}
		}
	}
}
