package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// OpenEmbedded opens the store in a directory, with an etcd server inside this process that listens
// nowhere. The directory is made if need be, with mode 0700. One process at a time may have it open.
func OpenEmbedded(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	server, err := embed.StartEtcd(embeddedConfig(dir, o))
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("embedded etcd in %s: %w", dir, err)
	}
	stop := func() error {
		server.Close()
		return lock.Close()
	}
	select {
	case <-server.Server.ReadyNotify():
	case err = <-server.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("embedded etcd in %s: %w", dir, err)
	}
	client := v3client.New(server.Server)
	return open(ctx, &etcd{client: client, ttl: o.LeaseTTL, single: true, stop: func() error {
		_ = client.Close() // its error is that its own context has ended
		return stop()
	}}, o)
}

// embeddedConfig is etcd as we need it: one member, no listener.
func embeddedConfig(dir string, o Options) *embed.Config {
	c := embed.NewConfig()
	c.Name = "tunbridge"
	c.Dir = filepath.Join(dir, "etcd")
	c.ListenPeerUrls, c.ListenClientUrls = nil, nil
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// A bulk request is one transaction.
	c.MaxTxnOps = 1 << 17
	c.MaxRequestBytes = 32 << 20
	c.QuotaBackendBytes = 8 << 30
	// Only the newest revisions are needed, for reads that are under way.
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = "1000"
	// A sole member elects itself when its election timeout has passed: short, so that the
	// start is.
	c.TickMs, c.ElectionMs = 20, 200
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapToSlog(o.Logger))
	return c
}

// lockDir makes sure that no other process has the directory open: etcd would wait for ever.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory %s is in use by another process: stop it, or choose another data-dir", dir)
	}
	return f, nil
}
