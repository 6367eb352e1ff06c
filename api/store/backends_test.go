package store

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// place is where a test's store is kept; it can be opened again.
type place struct {
	name string
	open func(testing.TB) *Store
	// durable: what was committed is there when it is opened again.
	durable bool
}

// eachPlace runs a test on every backend, each time on an empty store.
func eachPlace(t *testing.T, test func(*testing.T, place)) {
	t.Run("memory", func(t *testing.T) {
		test(t, place{name: "memory", open: func(t testing.TB) *Store { return closing(t, OpenMemory()) }})
	})
	t.Run("embedded", func(t *testing.T) { test(t, embeddedPlace(t)) })
	t.Run("external", func(t *testing.T) { test(t, externalPlace(t)) })
}

func embeddedPlace(t testing.TB) place {
	dir := t.TempDir()
	return place{name: "embedded", durable: true, open: func(t testing.TB) *Store {
		t.Helper()
		s, err := OpenEmbedded(t.Context(), dir, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, s)
	}}
}

func externalPlace(t testing.TB) place {
	endpoint := externalEtcd(t)
	client := etcdClient(t, endpoint)
	if _, err := client.Delete(t.Context(), "\x00", clientv3.WithFromKey()); err != nil {
		t.Fatal(err)
	}
	return place{name: "external", durable: true, open: func(t testing.TB) *Store {
		t.Helper()
		s, err := OpenEtcd(t.Context(), []string{endpoint}, nil, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, s)
	}}
}

func etcdClient(t testing.TB, endpoint string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func quiet() Options {
	return Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
}

// closing closes the store with the test and, before that, checks it.
func closing(t testing.TB, s *Store) *Store {
	t.Cleanup(func() {
		if s.ctx.Err() == nil {
			checked(t, s)
		}
		s.Close()
	})
	return s
}

// checked fails the test for everything that Check finds.
func checked(t testing.TB, s *Store) {
	t.Helper()
	for _, err := range s.Check(context.Background()) {
		t.Error(err)
	}
}

// shared is the etcd server of this test run.
var shared struct {
	once     sync.Once
	endpoint string
	stop     func()
	err      error
}

func externalEtcd(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		shared.endpoint, shared.stop, shared.err = startEtcd("--max-txn-ops=8192", "--max-request-bytes=8388608")
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.endpoint
}

// startEtcd runs the system's etcd with a data directory of its own.
func startEtcd(flags ...string) (endpoint string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		return "", nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return "", nil, err
	}
	endpoint = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", nil, err
	}
	defer log.Close()
	cmd := exec.Command("etcd", append([]string{
		"--name=test", "--data-dir=" + filepath.Join(dir, "data"),
		"--listen-client-urls=" + endpoint, "--advertise-client-urls=" + endpoint,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=test=" + peer,
		"--heartbeat-interval=20", "--election-timeout=200",
	}, flags...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when a test panics
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("etcd (Debian package etcd-server): %w", err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(dir)
	}
	for range 200 {
		var c *clientv3.Client
		if c, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()}); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err = c.Get(ctx, "x")
			cancel()
			c.Close()
			if err == nil {
				return endpoint, stop, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name())
	stop()
	return "", nil, fmt.Errorf("etcd does not answer: %w\n%s", err, said)
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
	}
	code := m.Run()
	if shared.stop != nil {
		shared.stop()
	}
	os.Exit(code)
}
