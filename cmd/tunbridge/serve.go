package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller"
	"github.com/tunbridge/tunbridge/flows"
)

// serve runs the controller. Its fields are the keys of the configuration file.
type serve struct {
	Config            kong.ConfigFlag `help:"YAML file with these flags as keys." placeholder:"FILE"`
	DataDir           string          `help:"Where the embedded store lives; made with mode 0700." default:"${datadir}" type:"path"`
	APIListen         string          `name:"api-listen" help:"Address of the Neutron API." default:"127.0.0.1:9696"`
	APITLSCert        string          `name:"api-tls-cert" help:"Certificate that makes the Neutron API HTTPS, PEM." type:"path" placeholder:"FILE"`
	APITLSKey         string          `name:"api-tls-key" help:"Its key, PEM." type:"path" placeholder:"FILE"`
	AdminListen       string          `help:"Address of the admin API, unix:PATH or tcp:ADDRESS:PORT; default unix:DATA-DIR/admin.sock, mode 0600." placeholder:"ADDRESS"`
	MetricsListen     string          `help:"Address of Prometheus metrics, /healthz and /readyz; empty for none." default:"127.0.0.1:9697"`
	OVSDBListen       string          `name:"ovsdb-listen" help:"Where hosts dial in with OVSDB, tcp: or ssl:." default:"tcp:127.0.0.1:6640"`
	OpenFlowListen    string          `name:"openflow-listen" help:"Where bridges dial in with OpenFlow, tcp: or ssl:." default:"tcp:127.0.0.1:6653"`
	OpenFlowAdvertise string          `name:"openflow-advertise" help:"OpenFlow target that hosts are given; default the address they reached us at." placeholder:"TARGET"`
	TLSCert           string          `name:"tls-cert" help:"Certificate for ssl: listeners and hosts, PEM." type:"path" placeholder:"FILE"`
	TLSKey            string          `name:"tls-key" help:"Its key, PEM." type:"path" placeholder:"FILE"`
	TLSCA             string          `name:"tls-ca" help:"Authority that signed the hosts' certificates, PEM." type:"path" placeholder:"FILE"`
	Hosts             []string        `help:"Hosts to dial, tcp:ADDRESS:PORT or ssl:ADDRESS:PORT." placeholder:"REMOTE"`
	EtcdEndpoints     []string        `help:"An external etcd cluster instead of the embedded store." placeholder:"URL"`
	EtcdTLSCert       string          `name:"etcd-tls-cert" help:"Client certificate for it." type:"path" placeholder:"FILE"`
	EtcdTLSKey        string          `name:"etcd-tls-key" help:"Its key." type:"path" placeholder:"FILE"`
	EtcdTLSCA         string          `name:"etcd-tls-ca" help:"Authority that signed its certificates." type:"path" placeholder:"FILE"`
	Auth              string          `help:"Who may use the API: none (everybody is admin) or keystone." enum:"none,keystone" default:"none"`
	ClaimUnbound      *bool           `help:"The first host whose VIF names a port without binding:host_id gets it; default true with auth none." negatable:""`
	DHCPLeaseDuration int64           `name:"dhcp-lease-duration" help:"Lease time in seconds; -1 for ever." default:"86400"`
	DNSDomain         string          `name:"dns-domain" help:"Domain of ports on networks that have none." default:"openstacklocal"`
	PuntRate          int             `help:"Packets per second of one port that are answered here (DHCP, router advertisements, metadata), and half of how many at once." default:"500"`
	ProbeInterval     time.Duration   `help:"How often tunnels between hosts that share a network are tried; 0 for never." default:"10s"`
	networkKeys
	quotaKeys
	metadataKeys
	keystoneKeys
	novaKeys
	Insecure bool       `help:"Allow listeners beyond loopback without TLS or authentication."`
	LogLevel slog.Level `help:"debug, info, warn or error." default:"info"`
}

// Run serves until SIGINT or SIGTERM. It may take some seconds then; a second signal ends it at once.
func (s *serve) Run() error {
	if err := s.check(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once

	segments, err := s.segments()
	if err != nil {
		return err
	}
	mtus, err := s.mtus()
	if err != nil {
		return err
	}
	quotas, err := s.quotas()
	if err != nil {
		return err
	}
	hostTLS, err := tlsConfig(s.TLSCert, s.TLSKey, s.TLSCA)
	if err != nil {
		return err
	}
	machines, err := s.metadata(log)
	if err != nil {
		return err
	}
	apiTLS, err := serverTLS(s.APITLSCert, s.APITLSKey)
	if err != nil {
		return fmt.Errorf("api-tls-cert: %w", err)
	}
	authenticate, err := s.authenticator(log)
	if err != nil {
		return err
	}
	truth, err := s.open(ctx, log)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer truth.Close()

	features, handlers := controller.Features(controller.FeatureOptions{LeaseDuration: time.Duration(s.DHCPLeaseDuration) * time.Second, Domain: s.DNSDomain, Metadata: machines, PuntRate: s.PuntRate})
	ctl := controller.New(controller.Options{
		Store: truth, Features: features, Handlers: handlers, Logger: log,
		ClaimUnbound: s.claimUnbound(), TLS: hostTLS, Target: s.target(), ProbeInterval: s.ProbeInterval, PuntRate: s.PuntRate,
	})
	neutron := api.New(api.Options{Store: truth, Logger: log, Segments: segments, MTUs: mtus, Quotas: quotas, DNSDomain: s.DNSDomain, Authenticate: authenticate})
	neutron.Plan = ctl.Plan

	events, err := s.notifier(truth, log)
	if err != nil {
		return err
	}
	ovsdbListener, err := listen(s.OVSDBListen, hostTLS)
	if err != nil {
		return fmt.Errorf("ovsdb-listen: %w", err)
	}
	openflowListener, err := listen(s.OpenFlowListen, hostTLS)
	if err != nil {
		return fmt.Errorf("openflow-listen: %w", err)
	}
	apiListener, err := net.Listen("tcp", s.APIListen)
	if err != nil {
		return fmt.Errorf("api-listen: %w", err)
	}
	if apiTLS != nil {
		apiListener = tls.NewListener(apiListener, apiTLS)
	}
	adminListener, err := listenAdmin(s.AdminListen)
	if err != nil {
		return fmt.Errorf("admin-listen: %w", err)
	}

	g, ctx := errgroup.WithContext(ctx)
	// Hosts are left last, since machines are still to be told that their connections are over.
	hosts, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	g.Go(func() error {
		defer leave()
		return machines.Run(ctx)
	})
	g.Go(func() error { return ctl.Run(hosts) })
	if events != nil {
		g.Go(func() error { return events.Run(ctx) })
	}
	g.Go(func() error { return ctl.ServeOVSDB(hosts, ovsdbListener) })
	g.Go(func() error { return ctl.ServeOpenFlow(hosts, openflowListener) })
	for _, target := range s.Hosts {
		g.Go(func() error { return ctl.Dial(hosts, target) })
	}
	g.Go(func() error { return serveHTTP(ctx, log, apiListener, neutron) })
	g.Go(func() error { return serveHTTP(ctx, log, adminListener, admin(ctl)) })
	if s.MetricsListen != "" {
		metricsListener, err := net.Listen("tcp", s.MetricsListen)
		if err != nil {
			return fmt.Errorf("metrics-listen: %w", err)
		}
		g.Go(func() error { return serveHTTP(ctx, log, metricsListener, metrics(neutron, ctl, truth, handlers)) })
	}
	context.AfterFunc(ctx, func() {
		stop() // whoever is told that it ends may send the second signal
		notify(log, "STOPPING=1")
	})
	log.Info("serving", "api", apiListener.Addr(), "ovsdb", s.OVSDBListen, "openflow", s.OpenFlowListen, "admin", s.AdminListen, "revision", int64(truth.Snapshot().Revision()))
	notify(log, "READY=1")
	err = g.Wait()
	log.Info("ended; the hosts keep their flows")
	return err
}

// check refuses what would be open to a network without anybody having said so, and what cannot work.
func (s *serve) check() error {
	if s.AdminListen == "" {
		s.AdminListen = "unix:" + filepath.Join(s.DataDir, "admin.sock")
	}
	for key, address := range map[string]string{"ovsdb-listen": s.OVSDBListen, "openflow-listen": s.OpenFlowListen} {
		scheme, rest, ok := strings.Cut(address, ":")
		switch {
		case !ok || scheme != "tcp" && scheme != "ssl":
			return fmt.Errorf("%s: %q: want tcp:ADDRESS:PORT or ssl:ADDRESS:PORT", key, address)
		case scheme == "ssl" && (s.TLSCert == "" || s.TLSKey == "" || s.TLSCA == ""):
			return fmt.Errorf("%s: ssl needs tls-cert, tls-key and tls-ca", key)
		case scheme == "tcp" && !loopback(rest) && !s.Insecure:
			return fmt.Errorf("%s: %s can be reached from other machines and has no TLS: use ssl:, or set insecure", key, rest)
		}
	}
	if err := s.checkNova(); err != nil {
		return err
	}
	if s.ProbeInterval != 0 && s.ProbeInterval < time.Second {
		return fmt.Errorf("probe-interval: %s is too short: want 1s or more, or 0 for never", s.ProbeInterval)
	}
	if s.DHCPLeaseDuration != -1 && (s.DHCPLeaseDuration < 1 || s.DHCPLeaseDuration >= 1<<32-1) {
		return fmt.Errorf("dhcp-lease-duration: %d: want seconds, or -1 for ever", s.DHCPLeaseDuration)
	}
	if s.PuntRate < 10 || s.PuntRate > 1_000_000 {
		return fmt.Errorf("punt-rate: %d: want 10 to 1000000 packets per second: a guest that starts sends as many at once", s.PuntRate)
	}
	if err := s.checkAPI(); err != nil {
		return err
	}
	plain := map[string]string{"metrics-listen": s.MetricsListen}
	if rest, ok := strings.CutPrefix(s.AdminListen, "tcp:"); ok {
		plain["admin-listen"] = rest
	}
	for key, address := range plain {
		if address != "" && !loopback(address) && !s.Insecure {
			return fmt.Errorf("%s: %s can be reached from other machines and asks nobody who they are: set insecure if that is meant", key, address)
		}
	}
	return nil
}

// open opens the store.
func (s *serve) open(ctx context.Context, log *slog.Logger) (*store.Store, error) {
	o := store.Options{Logger: log}
	if len(s.EtcdEndpoints) == 0 {
		return store.OpenEmbedded(ctx, s.DataDir, o)
	}
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil { // for the admin socket
		return nil, err
	}
	config, err := tlsConfig(s.EtcdTLSCert, s.EtcdTLSKey, s.EtcdTLSCA)
	if err != nil {
		return nil, err
	}
	return store.OpenEtcd(ctx, s.EtcdEndpoints, config, o)
}

// target is what bridges are told to dial.
func (s *serve) target() string {
	if s.OpenFlowAdvertise != "" {
		return s.OpenFlowAdvertise
	}
	return s.OpenFlowListen
}

// tlsConfig makes both ends' configuration of certificate files; nil without any. Peers must show a
// certificate of the same authority.
func tlsConfig(cert, key, ca string) (*tls.Config, error) {
	if cert == "" && key == "" && ca == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: %s holds no certificate", ca)
		}
		config.RootCAs, config.ClientCAs = pool, pool
	}
	return config, nil
}

func listen(address string, config *tls.Config) (net.Listener, error) {
	scheme, rest, _ := strings.Cut(address, ":")
	l, err := net.Listen("tcp", rest)
	if err == nil && scheme == "ssl" {
		l = tls.NewListener(l, config)
	}
	return l, err
}

// listenAdmin listens for the operator. A socket that a killed controller left behind is replaced; one
// that answers is not.
func listenAdmin(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", strings.TrimPrefix(address, "tcp:"))
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: another controller answers there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// grace is how long requests under way may take to finish after a signal to end.
const grace = 5 * time.Second

// serveHTTP serves until ctx ends. Then it accepts no more, lets requests under way finish, and cuts off
// those that have not after a while.
func serveHTTP(ctx context.Context, log *slog.Logger, l net.Listener, h http.Handler) error {
	server := api.HTTP(h)
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelInfo) // of connections that bring no request
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// admin is the admin API, with the profiles of the process beside it.
func admin(ctl *controller.Controller) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", ctl.Inspect())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// metrics are those of the API, of the controller, and of the handlers that have some.
func metrics(server *api.Server, ctl *controller.Controller, truth *store.Store, handlers map[flows.Op]flows.Handler) http.Handler {
	registry := prometheus.NewRegistry()
	known := map[prometheus.Collector]bool{}
	for _, h := range handlers {
		if c, ok := h.(prometheus.Collector); ok && !known[c] {
			known[c] = true
			registry.MustRegister(c)
		}
	}
	registry.MustRegister(server, ctl, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/", api.Health(truth.ReadIndex))
	return mux
}
