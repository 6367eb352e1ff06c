package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// What an etcd cluster must let through in one transaction, since a bulk request is one.
const (
	neededTxnOps       = 8192
	neededRequestBytes = 8 << 20
	// grpcOverhead is what etcd allows a message beyond --max-request-bytes.
	grpcOverhead = 512 << 10
)

// OpenEtcd opens the store in an etcd cluster, which other replicas may share. Every member must
// run with --max-txn-ops=8192 and --max-request-bytes=8388608 at least. The user's role must be
// allowed to read all keys and write those under /tunbridge/. tls may be nil.
func OpenEtcd(ctx context.Context, endpoints []string, tls *tls.Config, o Options) (*Store, error) {
	o = o.withDefaults()
	where := strings.Join(endpoints, ",")
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		TLS:                  tls,
		DialTimeout:          10 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize:   2 * neededRequestBytes,
		MaxCallRecvMsgSize:   math.MaxInt32,
		Logger:               zapToSlog(o.Logger),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", where, err)
	}
	if err := probe(ctx, client); err != nil {
		client.Close()
		return nil, fmt.Errorf("etcd at %s: %w", where, err)
	}
	s, err := open(ctx, &etcd{client: client, ttl: o.LeaseTTL, stop: client.Close}, o)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", where, err)
	}
	return s, nil
}

// probe asks whether the cluster takes transactions as big as ours. It sends one that is as big
// and also writes a key twice, which etcd refuses after it has looked at the size and before it
// does anything.
func probe(ctx context.Context, client *clientv3.Client) error {
	key := root + "probe"
	compares := make([]clientv3.Cmp, neededTxnOps)
	for i := range compares {
		compares[i] = clientv3.Compare(clientv3.ModRevision(key), "=", 0)
	}
	value := strings.Repeat(" ", neededRequestBytes+grpcOverhead-neededTxnOps*(len(key)+16))
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	_, err := client.Txn(ctx).If(compares...).Then(clientv3.OpPut(key, value), clientv3.OpPut(key, "")).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrDuplicateKey):
		return nil
	case tooLarge(err):
		return fmt.Errorf("every member must run with --max-txn-ops=%d --max-request-bytes=%d or more, since a bulk request is one transaction (%w)",
			neededTxnOps, neededRequestBytes, err)
	case err == nil:
		return errors.New("it accepted a transaction that writes a key twice: this is not an etcd we know")
	}
	return err
}
