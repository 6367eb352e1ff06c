package store

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tunbridge/tunbridge/api/model"
)

// One replica sees what another has committed: after ReadIndex, and in an Update without it.
func TestReplicasSeeEachOther(t *testing.T) {
	at := externalPlace(t)
	a, b := at.open(t), at.open(t)
	if a.Incarnation() != b.Incarnation() {
		t.Error("two replicas of one store have different incarnations")
	}
	if a.Generation() >= b.Generation() {
		t.Error("the later replica does not have the greater generation")
	}
	for i := range 50 {
		network := newNetwork(uint32(i))
		update(t, a, func(tx *Tx) error { return tx.PutNetwork(network) })
		if i%2 == 0 {
			if err := b.ReadIndex(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, there := b.Snapshot().Network(network.ID); !there {
				t.Fatal("after ReadIndex the other replica's network is not there")
			}
		}
		port := newPort(network, 1)
		update(t, b, func(tx *Tx) error { return tx.PutPort(port) })
		update(t, a, func(tx *Tx) error { return tx.DeletePort(port.ID) })
	}
}

// What a replica said of ports vanishes with it, unless another has said it since.
func TestStatusVanishesWithItsReplica(t *testing.T) {
	at := externalPlace(t)
	endpoint := externalEtcd(t)
	o := quiet()
	o.LeaseTTL = time.Second
	gone, err := OpenEtcd(t.Context(), []string{endpoint}, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	stays := at.open(t)
	network := newNetwork(7)
	taken, left := newPort(network, 1), newPort(network, 2)
	update(t, gone, func(tx *Tx) error {
		return first(tx.PutNetwork(network), tx.PutPort(taken), tx.PutPort(left))
	})
	gone.SetPortStatus(model.PortStatus{PortID: taken.ID, Status: "ACTIVE", Host: "h1", Reason: "gone"}, model.PortStatus{PortID: left.ID, Status: "ACTIVE", Host: "h1", Reason: "gone"})
	flush(t, gone)
	if err := stays.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	stays.SetPortStatus(model.PortStatus{PortID: taken.ID, Status: "ACTIVE", Host: "h1", Reason: "stays"})
	flush(t, stays)
	gone.Close()
	until(t, "the status has vanished", func() bool {
		_, there := stays.Snapshot().PortStatus(left.ID, "h1")
		return !there
	})
	if st, ok := stays.Snapshot().PortStatus(taken.ID, "h1"); !ok || st.Reason != "stays" {
		t.Errorf("what the other replica has said is now %v", st)
	}
}

// A replica whose lease was lost says everything again, but for what another has taken over.
func TestLostLease(t *testing.T) {
	at := externalPlace(t)
	a, b := at.open(t), at.open(t)
	network := newNetwork(7)
	mine, lost := newPort(network, 1), newPort(network, 2)
	update(t, a, func(tx *Tx) error {
		return first(tx.PutNetwork(network), tx.PutPort(mine), tx.PutPort(lost))
	})
	a.SetPortStatus(model.PortStatus{PortID: mine.ID, Status: "ACTIVE", Host: "h1", Reason: "a"}, model.PortStatus{PortID: lost.ID, Status: "ACTIVE", Host: "h1", Reason: "a"})
	flush(t, a)
	if err := b.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.SetPortStatus(model.PortStatus{PortID: lost.ID, Status: "ACTIVE", Host: "h1", Reason: "b"})
	flush(t, b)
	if err := a.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := a.Generation()
	revoked := a.Snapshot()
	if _, err := etcdClient(t, externalEtcd(t)).Revoke(t.Context(), clientv3.LeaseID(a.status.lease)); err != nil {
		t.Fatal(err)
	}
	until(t, "there is a new generation", func() bool { return a.Generation() > before })
	flush(t, a)
	now := a.Snapshot()
	if st, ok := now.PortStatus(mine.ID, "h1"); !ok || st.Reason != "a" {
		t.Errorf("own status is now %v", st)
	}
	if st, ok := now.PortStatus(lost.ID, "h1"); !ok || st.Reason != "b" {
		t.Errorf("the other replica's status is now %v", st)
	}
	if closed(revoked.Changed(Desired)) {
		t.Error("a lost lease has changed what is desired")
	}
}

// deaf is a backend whose watch hears nothing until it is told to.
type deaf struct {
	backend
	hear chan struct{}
}

func (d deaf) watch(ctx context.Context, from Revision, each func(Revision, []event)) error {
	select {
	case <-d.hear:
	case <-ctx.Done():
	}
	return d.backend.watch(ctx, from, each)
}

// A replica that missed revisions which have been compacted loads everything anew; rows that did
// not change stay the same.
func TestLoadAnewAfterCompaction(t *testing.T) {
	at := externalPlace(t)
	other := at.open(t)
	kept, deleted, changed := newNetwork(1), newNetwork(2), newNetwork(3)
	update(t, other, func(tx *Tx) error {
		return first(tx.PutNetwork(kept), tx.PutNetwork(deleted), tx.PutNetwork(changed), tx.PutPort(newPort(kept, 1)))
	})
	client := etcdClient(t, externalEtcd(t))
	hear := make(chan struct{})
	s, err := open(t.Context(), deaf{&etcd{client: client, ttl: time.Second, stop: func() error { return nil }}, hear}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	before := s.Snapshot()

	next := *changed
	next.Name = "changed"
	made := newNetwork(4)
	update(t, other, func(tx *Tx) error {
		return first(tx.DeleteNetwork(deleted.ID), tx.PutNetwork(&next), tx.PutNetwork(made))
	})
	revision := update(t, other, func(tx *Tx) error { return tx.PutPort(newPort(made, 1)) })
	if _, err := client.Compact(t.Context(), int64(revision)); err != nil {
		t.Fatal(err)
	}
	if s.Snapshot() != before {
		t.Fatal("the deaf replica has heard something")
	}
	close(hear)
	if err := s.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := s.Snapshot()
	was, _ := before.Network(kept.ID)
	if is, _ := after.Network(kept.ID); is != was {
		t.Error("a network that did not change is another pointer")
	}
	if before.NetworkRevision(kept.ID) != after.NetworkRevision(kept.ID) {
		t.Error("the revision of a network that did not change has changed")
	}
	if before.NetworkRevision(changed.ID) == after.NetworkRevision(changed.ID) {
		t.Error("the revision of a network that changed has not")
	}
	if _, there := after.Network(deleted.ID); there {
		t.Error("a deleted network is still there")
	}
	if n := len(slices.Collect(after.PortsOf(made.ID))); n != 1 {
		t.Errorf("the new network has %d ports", n)
	}
	if !closed(before.Changed(Desired)) || closed(before.Changed(Location)) {
		t.Error("loading anew woke the wrong ones")
	}
}

// A cluster that would refuse a bulk request is refused, with what is to be done.
func TestClusterLimits(t *testing.T) {
	for _, flags := range []string{
		"",
		"--max-txn-ops=8191 --max-request-bytes=8388608",
		"--max-txn-ops=8192 --max-request-bytes=8000000",
	} {
		endpoint, stop, err := startEtcd(strings.Fields(flags)...)
		if err != nil {
			t.Fatal(err)
		}
		s, err := OpenEtcd(t.Context(), []string{endpoint}, nil, quiet())
		if err == nil {
			s.Close()
		}
		stop()
		if err == nil || !strings.Contains(err.Error(), "must run with --max-txn-ops=8192 --max-request-bytes=8388608 or more") {
			t.Errorf("etcd with %q: %v", flags, err)
		}
	}
}

// The largest transactions that are promised go through.
func TestLargeTransaction(t *testing.T) {
	eachPlace(t, func(t *testing.T, at place) {
		s := at.open(t)
		network := newNetwork(7)
		update(t, s, func(tx *Tx) error {
			err := tx.PutNetwork(network)
			for i := range 2500 {
				port := newPort(network, i)
				port.Description = strings.Repeat("x", 255)
				err = first(err, tx.PutPort(port))
			}
			return err
		})
		if n := s.Snapshot().state.rows[ports].Len(); n != 2500 {
			t.Errorf("%d ports", n)
		}
	})
}

// An embedded store listens on no port and no socket.
func TestEmbeddedListensNowhere(t *testing.T) {
	before := listening(t)
	embeddedPlace(t).open(t)
	if now := listening(t); now != before {
		t.Errorf("the process listens on %d sockets, before the store was opened on %d", now, before)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if now := listening(t); now != before+1 {
		t.Errorf("with one more listener %d sockets are counted, before %d", now, before)
	}
}

// listening counts the sockets on which this process listens.
func listening(t *testing.T) (n int) {
	t.Helper()
	sockets := map[string]bool{}
	for file, column := range map[string]struct {
		state, inode int
		listens      string
	}{
		"tcp": {3, 9, "0A"}, "tcp6": {3, 9, "0A"}, "unix": {3, 6, "00010000"},
	} {
		text, err := os.ReadFile("/proc/net/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > column.inode && f[column.state] == column.listens {
				sockets["socket:["+f[column.inode]+"]"] = true
			}
		}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && sockets[to] {
			n++
		}
	}
	return n
}

// A second process is told that the directory is in use, instead of waiting for ever.
func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenEmbedded(t.Context(), dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v", info.Mode(), err)
	}
	if _, err := OpenEmbedded(t.Context(), dir, quiet()); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opening it again: %v", err)
	}
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("after 10 s it is still not so that %s", what)
}
