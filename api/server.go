package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// The limits of a request.
const (
	maxBody        = 8 << 20          // bytes
	maxHeader      = 1 << 20          // bytes, the URL included: Nova lists hundreds of ids in one
	requestTimeout = 60 * time.Second // to answer
	readTimeout    = 60 * time.Second // to receive
)

// Options are what a server serves.
type Options struct {
	Store *store.Store
	// Logger gets one line for each request and the stack of each panic; nil is slog's default.
	Logger *slog.Logger
	// Segments says which networks there can be, MTUs how large their packets.
	Segments Segments
	MTUs     MTUs
	// Quotas are the limits of projects for which none are set; nil limits nothing.
	Quotas Quotas
	// DNSDomain is the domain of ports on networks that have none; "" is none.
	DNSDomain string
	// Authenticate says who makes a request, as Keystone.Authenticate; its error, best an *Error, is the
	// answer. Nil takes everybody for an administrator.
	Authenticate func(*http.Request) (*Caller, error)
}

// Server is the API's http.Handler.
type Server struct {
	// Plan answers dry runs: what would change from one snapshot to the other, to be shown as JSON.
	// Nil refuses them. It must be set before the first request.
	Plan func(ctx context.Context, before, after *store.Snapshot) (any, error)

	store        *store.Store
	log          *slog.Logger
	segments     Segments
	mtus         MTUs
	quotas       Quotas
	domain       string
	limited      []string // the resources that quotas limit
	authenticate func(*http.Request) (*Caller, error)
	router       *mux.Router
	routes       []Route
	durations    *prometheus.HistogramVec
}

// New returns a server. It reads and writes the store and starts nothing.
func New(o Options) *Server {
	s := &Server{store: o.Store, log: o.Logger, segments: o.Segments.withDefaults(), mtus: o.MTUs, quotas: o.Quotas, domain: o.DNSDomain, limited: model.QuotaResources(), authenticate: o.Authenticate, durations: newDurations()}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.authenticate == nil {
		s.authenticate = unauthenticated
	}
	s.routes = s.declareRoutes()
	s.router = newRouter(s.routes)
	s.mtus.warn(s.log, &s.store.Snapshot().Tables)
	return s
}

// HTTP returns an http.Server with the limits a public listener needs, which serves h.
func HTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       readTimeout,
		WriteTimeout:      readTimeout + requestTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
	}
}

// answer remembers what was answered, for the log and the metrics.
type answer struct {
	http.ResponseWriter
	caller *Caller // nobody until it is known
	route  string  // its name, if there is one
	status int
	bytes  int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	n, err := a.ResponseWriter.Write(b)
	a.bytes += n
	return n, err
}

type callerKey struct{}

func callerOf(r *http.Request) *Caller { return r.Context().Value(callerKey{}).(*Caller) }

// ServeHTTP answers one request: under its own id, within the time limit, logged, whatever happens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := "req-" + uuid.NewString()
	a := &answer{ResponseWriter: w, caller: &Caller{}}
	a.Header().Set("X-Openstack-Request-Id", id)
	log := s.log.With("request", id)
	if global := r.Header.Get("X-Openstack-Request-Id"); isRequestID(global) {
		log = log.With("global", global) // the request that this one is part of, at Nova
	}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			log.Error("panic while serving", "panic", p, "stack", string(debug.Stack()))
			errInternal.write(a)
		}
		took := time.Since(start)
		s.observe(a, took)
		log.Info("served", "method", r.Method, "uri", shorten(r.RequestURI), "status", a.status, "bytes", a.bytes,
			"duration", took, "remote", r.RemoteAddr, "project", a.caller.Project, "user", a.caller.User)
	}()
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	// Not a, which does not know how to close the connection.
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if path := strings.TrimSuffix(r.URL.Path, "/"); path != "" && path != "/v2.0" { // which are something else without
		r.URL.Path, r.URL.RawPath = strings.TrimSuffix(path, ".json"), ""
	}
	var noToken *unauthorized
	var dry *planned
	switch err := s.serve(a, r); {
	case err == nil:
	case errors.As(err, &dry):
		writeJSON(a, http.StatusOK, dry.plan)
	case errors.As(err, &noToken):
		noToken.write(a)
	default:
		answer, known := answerable(err)
		if !known {
			log.Error("request failed", "method", r.Method, "uri", shorten(r.RequestURI), "error", err)
		}
		answer.write(a)
	}
}

// serve finds the route and runs it, unless it is not for the caller.
func (s *Server) serve(w *answer, r *http.Request) error {
	if !accepts(r.Header.Get("Accept")) {
		return errAccept
	}
	var match mux.RouteMatch
	found := s.router.Match(r, &match)
	if found && match.MatchErr == nil {
		w.route = match.Route.GetName()
	}
	open := slices.Contains(openRoutes, w.route)
	if !open {
		caller, err := s.authenticate(r)
		if err != nil {
			return err
		}
		w.caller = caller
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
	}
	switch {
	case match.MatchErr == mux.ErrMethodMismatch:
		return errMethod
	case !found || match.MatchErr != nil:
		return noRoute(w, r)
	}
	return match.Handler.(handler)(w, mux.SetURLVars(r, match.Vars))
}

// isRequestID reports whether the text is an id that a service gave a request: req- and a UUID.
func isRequestID(text string) bool {
	id, ok := strings.CutPrefix(text, "req-")
	return ok && len(id) == 36 && uuid.Validate(id) == nil
}

// shorten keeps log lines readable: some clients ask for hundreds of ids.
func shorten(uri string) string {
	if len(uri) > 1024 {
		return uri[:1024] + "…"
	}
	return uri
}

// Health serves /healthz, which is answered as long as the process runs, and /readyz, which fails with
// the reason while ready does.
func Health(ready func(context.Context) error) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ok\n"))
	})
	return m
}
