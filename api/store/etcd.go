package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// etcd is the backend on an etcd client, in process or over the network.
type etcd struct {
	client *clientv3.Client
	ttl    time.Duration
	single bool // embedded: nobody else writes
	stop   func() error
}

func (b *etcd) commit(ctx context.Context, compares []compare, ops []op) (Revision, bool, error) {
	conditions := make([]clientv3.Cmp, len(compares))
	for i, c := range compares {
		conditions[i] = condition(c)
	}
	writes := make([]clientv3.Op, len(ops))
	for i, o := range ops {
		switch {
		case o.value == nil:
			writes[i] = clientv3.OpDelete(o.key)
		case o.lease != 0:
			writes[i] = clientv3.OpPut(o.key, string(o.value), clientv3.WithLease(clientv3.LeaseID(o.lease)))
		default:
			writes[i] = clientv3.OpPut(o.key, string(o.value))
		}
	}
	answer, err := b.client.Txn(ctx).If(conditions...).Then(writes...).Commit()
	if err != nil {
		if tooLarge(err) {
			return 0, false, fmt.Errorf("%w for etcd (%d compares, %d writes): %w", ErrTooLarge, len(compares), len(ops), err)
		}
		return 0, false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return Revision(answer.Header.Revision), answer.Succeeded, nil
}

func condition(c compare) clientv3.Cmp {
	switch c.test {
	case present:
		return clientv3.Compare(clientv3.CreateRevision(c.key), ">", 0)
	case noneNewer:
		return clientv3.Compare(clientv3.ModRevision(c.key), "<", int64(c.revision)+1).WithPrefix()
	case valueIs:
		return clientv3.Compare(clientv3.Value(c.key), "=", c.value)
	default:
		return clientv3.Compare(clientv3.ModRevision(c.key), "=", int64(c.revision))
	}
}

// tooLarge tells what a bigger --max-txn-ops or --max-request-bytes would have let through.
func tooLarge(err error) bool {
	return errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge) ||
		status.Code(err) == codes.ResourceExhausted
}

// page is how many keys are read at once.
const page = 2000

func (b *etcd) load(ctx context.Context, prefix string, each func(entry) error) (Revision, error) {
	end := clientv3.GetPrefixRangeEnd(prefix)
	var revision int64
	for from := prefix; ; {
		answer, err := b.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			revision = answer.Header.Revision
		}
		for _, kv := range answer.Kvs {
			if err := each(entry{string(kv.Key), kv.Value, Revision(kv.ModRevision), leaseID(kv.Lease)}); err != nil {
				return 0, err
			}
		}
		if !answer.More {
			return Revision(revision), nil
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

// watch follows every key, not only ours: so no revision is missed, and having seen a revision
// means having seen all before it.
func (b *etcd) watch(ctx context.Context, from Revision, each func(Revision, []event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !b.single {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	for answer := range b.client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(int64(from))) {
		if err := answer.Err(); err != nil {
			return err
		}
		for events := answer.Events; len(events) > 0; {
			revision, n := events[0].Kv.ModRevision, 1
			for n < len(events) && events[n].Kv.ModRevision == revision {
				n++
			}
			each(Revision(revision), convert(events[:n]))
			events = events[n:]
		}
	}
	return errors.New("the watch has ended")
}

func convert(events []*clientv3.Event) []event {
	converted := make([]event, len(events))
	for i, ev := range events {
		converted[i] = event{key: string(ev.Kv.Key), lease: leaseID(ev.Kv.Lease)}
		if ev.Type == mvccpb.Event_PUT {
			converted[i].value = ev.Kv.Value
		}
	}
	return converted
}

func (b *etcd) current(ctx context.Context) (Revision, error) {
	answer, err := b.client.Get(ctx, schemaKey, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("%w: read the newest revision: %w", ErrUnavailable, err)
	}
	return Revision(answer.Header.Revision), nil
}

func (b *etcd) lease(ctx context.Context) (leaseID, <-chan struct{}, error) {
	granting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	granted, err := b.client.Grant(granting, int64((b.ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, nil, err
	}
	alive, err := b.client.KeepAlive(ctx, granted.ID)
	if err != nil {
		return 0, nil, err
	}
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		for range alive {
		}
	}()
	return leaseID(granted.ID), lost, nil
}

func (b *etcd) alone() bool  { return b.single }
func (b *etcd) close() error { return b.stop() }
