package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// askTimeout is how long a question waits for a host's loop and its switch.
const askTimeout = 30 * time.Second

// errUnknownHost and errAway are answered with 404 and 503.
var (
	errUnknownHost = errors.New("no host of that name is enrolled")
	errAway        = errors.New("the host is not connected")
)

// Inspect serves the admin API of package inspect.
func (c *Controller) Inspect() http.Handler {
	mux := http.NewServeMux()
	answer(mux, "GET /v1/hosts", func(ctx context.Context, _ *http.Request) ([]inspect.Host, error) { return c.inspectHosts(ctx) })
	answer(mux, "GET /v1/hosts/{host}", func(ctx context.Context, r *http.Request) (inspect.Host, error) {
		return c.inspectHost(ctx, r.PathValue("host"))
	})
	answer(mux, "GET /v1/hosts/{host}/flows", func(ctx context.Context, r *http.Request) ([]inspect.Flow, error) {
		return c.inspectFlows(ctx, r.PathValue("host"))
	})
	answer(mux, "GET /v1/hosts/{host}/diff", func(ctx context.Context, r *http.Request) (inspect.Diff, error) {
		return c.inspectDiff(ctx, r.PathValue("host"))
	})
	answer(mux, "GET /v1/find/{what}", func(ctx context.Context, r *http.Request) ([]inspect.Object, error) {
		return c.lookup(ctx, c.o.Store.Snapshot(), r.PathValue("what"))
	})
	answer(mux, "GET /v1/names", func(_ context.Context, r *http.Request) ([]inspect.Object, error) {
		return c.names(r.URL.Query().Get("begins")), nil
	})
	for _, pattern := range []string{"GET /v1/leases", "GET /v1/leases/{port}"} {
		answer(mux, pattern, func(ctx context.Context, r *http.Request) ([]inspect.Lease, error) {
			return c.inspectLeases(ctx, r.PathValue("port"))
		})
	}
	for _, pattern := range []string{"GET /v1/explain/{what}", "GET /v1/explain/{subject}/{what}"} {
		answer(mux, pattern, func(ctx context.Context, r *http.Request) (inspect.Explanation, error) {
			return c.explain(ctx, r.PathValue("subject"), r.PathValue("what"))
		})
	}
	for _, pattern := range []string{"GET /v1/verify", "GET /v1/verify/{host}"} {
		mux.HandleFunc(pattern, c.serveVerify)
	}
	answer(mux, "GET /v1/trace/{source}/{destination}", c.inspectTrace)
	mux.HandleFunc("POST /v1/captures", c.serveCapture)
	return mux
}

// answer routes one question.
func answer[T any](mux *http.ServeMux, pattern string, f func(context.Context, *http.Request) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
		defer cancel()
		body, err := f(ctx, r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			status := http.StatusInternalServerError
			switch {
			case errors.Is(err, errUnknownHost), errors.Is(err, errUnknownObject), errors.Is(err, errNoSubject):
				status = http.StatusNotFound
			case errors.Is(err, errBadQuestion):
				status = http.StatusBadRequest
			case errors.Is(err, errAmbiguous):
				status = http.StatusConflict
			case errors.Is(err, errAway), errors.Is(err, context.DeadlineExceeded):
				status = http.StatusServiceUnavailable
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(inspect.Error{Error: err.Error()})
			return
		}
		_ = json.NewEncoder(w).Encode(body)
	})
}

// ask runs f in the host's loop, where its state may be read.
func (h *host) ask(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case h.asked <- func() { f(); close(ran) }:
		<-ran
		return nil
	case <-h.done:
		return errAway
	case <-ctx.Done():
		return fmt.Errorf("host %s is busy: %w", h.id, ctx.Err())
	}
}

// find looks a host up by hostname or system-id; loop is nil while it is away.
func (c *Controller) find(name string) (row inspect.Host, loop *host, err error) {
	snap := c.o.Store.Snapshot()
	m, ok := snap.HostByName(name)
	if !ok {
		if m, ok = snap.Host(name); !ok {
			return row, nil, fmt.Errorf("host %q: %w", name, errUnknownHost)
		}
	}
	row = inspect.Host{ID: m.ID, Hostname: m.Hostname, EncapGuessed: m.EncapIPGuessed, DatapathType: m.DatapathType, Waiting: errAway.Error(),
		OpenFlow: map[string]string{}, LocalVLANs: []inspect.LocalVLAN{}, VIFs: []inspect.VIF{}, Peers: []inspect.Peer{}, Flows: map[string]int{}}
	if m.EncapIP.IsValid() {
		row.EncapIP = m.EncapIP.String()
	}
	if s, ok := snap.HostStatus(m.ID); ok {
		row.LastError = s.LastError
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return row, c.hosts[m.ID], nil
}

func (c *Controller) inspectHosts(ctx context.Context) ([]inspect.Host, error) {
	hosts := []inspect.Host{}
	for row := range c.o.Store.Snapshot().Hosts() {
		h, err := c.inspectHost(ctx, row.ID)
		if err != nil {
			return nil, err
		}
		h.Peers = slices.DeleteFunc(h.Peers, func(p inspect.Peer) bool { return p.Note == "" })
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, func(a, b inspect.Host) int { return strings.Compare(a.Hostname, b.Hostname) })
	return hosts, nil
}

func (c *Controller) inspectHost(ctx context.Context, name string) (inspect.Host, error) {
	row, loop, err := c.find(name)
	if err != nil || loop == nil {
		return row, err
	}
	err = loop.ask(ctx, func() { loop.describe(&row) })
	if errors.Is(err, errAway) {
		err = nil // it went just now
	}
	return row, err
}

// describe fills in what the loop knows.
func (h *host) describe(row *inspect.Host) {
	m, snap := h.session.Mirror(), h.c.o.Store.Snapshot()
	row.Alive = h.connected()
	row.OVSDB = &inspect.Session{Address: h.session.RemoteAddr().String(), Since: h.since, Version: m.OpenVSwitch.OVSVersion}
	for b, l := range h.links {
		if l != nil {
			row.OpenFlow[flows.Bridge(b).String()] = l.conn.RemoteAddr().String()
		}
	}
	row.DatapathType, row.Datapath = h.datapath, h.note
	row.Waiting, row.LastError = h.waiting, h.lastError
	if h.pending != nil {
		row.Pending = h.pending.String()
	}
	row.LastCommit, row.Commits, row.Repairs, row.Restarts = h.commit, h.commits, h.repairs, h.restarts
	row.Activity = h.activity.describe(h.links[flows.BrInt])
	for _, b := range flows.Bridges {
		row.Flows[b.String()] = h.compiler.Len(b)
	}
	for vlan, id := range h.vlans.byVLAN {
		v := inspect.LocalVLAN{VLAN: vlan, NetworkID: id.String()}
		if n, ok := snap.Network(id); ok {
			v.NetworkName = n.Name
		}
		row.LocalVLANs = append(row.LocalVLANs, v)
	}
	slices.SortFunc(row.LocalVLANs, func(a, b inspect.LocalVLAN) int { return cmp.Compare(a.VLAN, b.VLAN) })
	for i := range h.vifs {
		v := &h.vifs[i]
		row.VIFs = append(row.VIFs, inspect.VIF{Interface: v.iface.Name, PortID: v.iface.ExternalIDs["iface-id"], OFPort: v.iface.OFPort,
			Wired: v.wired != nil, Reason: v.reason})
	}
	slices.SortFunc(row.VIFs, func(a, b inspect.VIF) int { return strings.Compare(a.Interface, b.Interface) })
	for _, r := range h.probing.results() {
		row.Peers = append(row.Peers, inspect.Peer{Hostname: r.Peer, Type: r.Type, Alive: r.Alive, LastSeen: r.Seen, RTT: r.RTT.Microseconds(), PathMTU: r.MTU, Note: r.Note})
	}
}

// switches finds a host's loop and its OpenFlow connections.
func (c *Controller) switches(ctx context.Context, name string) (*host, [len(flows.Bridges)]*link, error) {
	var links [len(flows.Bridges)]*link
	_, loop, err := c.find(name)
	if err != nil {
		return nil, links, err
	}
	if loop == nil {
		return nil, links, fmt.Errorf("host %s: %w", name, errAway)
	}
	if err := loop.ask(ctx, func() { links = loop.links }); err != nil {
		return nil, links, err
	}
	for b, l := range links {
		if l == nil {
			return nil, links, fmt.Errorf("host %s: %s has no OpenFlow session: %w", name, flows.Bridge(b), errAway)
		}
	}
	return loop, links, nil
}

// inspectFlows reads the installed flows now and gives each its cause.
func (c *Controller) inspectFlows(ctx context.Context, name string) ([]inspect.Flow, error) {
	loop, links, err := c.switches(ctx, name)
	if err != nil {
		return nil, err
	}
	list := []inspect.Flow{}
	for b, l := range links {
		bridge := flows.Bridge(b)
		var installed []openflow.FlowStats
		err := l.conn.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error {
			installed = append(installed, *f)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("host %s: %s: %w", name, bridge, err)
		}
		err = loop.ask(ctx, func() {
			snap := c.o.Store.Snapshot()
			for i := range installed {
				list = append(list, loop.explain(snap, bridge, &installed[i]))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(x, y inspect.Flow) int {
		return cmp.Or(strings.Compare(x.Bridge, y.Bridge), cmp.Compare(x.Table, y.Table), cmp.Compare(y.Priority, x.Priority), strings.Compare(x.Match, y.Match))
	})
	return list, nil
}

// explain gives an installed flow its owner, object and reason.
func (h *host) explain(snap *store.Snapshot, b flows.Bridge, f *openflow.FlowStats) inspect.Flow {
	out := inspect.Flow{Bridge: b.String(), Table: f.Table, Priority: f.Priority, Cookie: fmt.Sprintf("%#016x", f.Cookie),
		Match: f.Match.String(), Actions: strings.TrimPrefix(f.Instructions.String(), "actions="),
		Packets: f.Packets, Bytes: f.Bytes, Seconds: int64(f.Duration / time.Second)}
	t := flows.TableOf(b, f.Table)
	if t != nil {
		out.TableName = t.Name
	}
	wanted, others := h.compiler.Lookup(b, flows.Key{Table: f.Table, Priority: f.Priority, Match: f.Match})
	switch {
	case t != nil && t.Learned:
		owner, object := h.learner(f.Cookie)
		out.Owner, out.Kind, out.Reason = owner.String(), object.Kind.String(), "learned by the switch from traffic"
		out.ObjectID, out.ObjectName = h.objectOf(snap, object)
		out.NetworkID = networkOf(snap, object)
		return out
	case wanted == nil:
		out.Stale = true
		out.Owner, out.Reason = ownerForeign, "no object wants it: it will be removed"
		return out
	case wanted.Instructions != f.Instructions:
		out.Stale = true
		out.Reason = "with other actions than wanted: it will be replaced; wanted for: "
	}
	out.Owner, out.Kind = wanted.Owner.String(), wanted.Object.Kind.String()
	out.ObjectID, out.ObjectName = h.objectOf(snap, wanted.Object)
	out.NetworkID = networkOf(snap, wanted.Object)
	out.Reason += wanted.Reason
	for _, o := range others {
		_, name := h.objectOf(snap, o.Object)
		out.Reason += fmt.Sprintf("; also %s %s: %s", o.Object.Kind, name, o.Reason)
	}
	return out
}

// networkOf is the network that an object is or is in; "" if it is in none.
func networkOf(snap *store.Snapshot, o flows.Object) string {
	switch o.Kind {
	case flows.KindNetwork:
		return o.ID.String()
	case flows.KindPort:
		if p, ok := snap.Port(o.ID); ok {
			return p.NetworkID.String()
		}
	}
	return ""
}

// learner is on whose behalf the switch learned a flow: the cookie is that of the flow which did.
func (h *host) learner(cookie uint64) (flows.Owner, flows.Object) {
	owner, kind, _ := flows.CookieParts(cookie)
	if h.viewer.view == nil {
		return owner, flows.Object{Kind: kind}
	}
	for _, n := range h.viewer.view.Networks {
		if o := (flows.Object{Kind: flows.KindNetwork, ID: n.ID}); o.Cookie(owner) == cookie {
			return owner, o
		}
		for _, p := range n.Local {
			if o := (flows.Object{Kind: flows.KindPort, ID: p.ID}); o.Cookie(owner) == cookie {
				return owner, o
			}
		}
	}
	return owner, flows.Object{Kind: kind} // a port that is gone: the switch forgets what it learned with it
}

// objectOf names an object as the API does.
func (h *host) objectOf(snap *store.Snapshot, o flows.Object) (id, name string) {
	switch o.Kind {
	case flows.KindNetwork:
		if n, ok := snap.Network(o.ID); ok {
			return o.ID.String(), n.Name
		}
	case flows.KindPort:
		if p, ok := snap.Port(o.ID); ok {
			return o.ID.String(), cmp.Or(p.Name, p.MACAddress.String())
		}
	case flows.KindHost:
		return h.id, h.row.Hostname
	case flows.KindPeer:
		for peer := range snap.Hosts() {
			if flows.HostID(peer.ID) == o.ID {
				return peer.ID, peer.Hostname
			}
		}
	}
	if o.ID == (uuid.UUID{}) {
		return "", ""
	}
	return o.ID.String(), ""
}

// inspectDiff compares what the switch holds now with what a recompute from nothing wants.
func (c *Controller) inspectDiff(ctx context.Context, name string) (inspect.Diff, error) {
	d := inspect.Diff{Host: name, Changes: []string{}}
	state, err := c.compare(ctx, name)
	if err != nil {
		return d, err
	}
	for line := range strings.Lines(state.plan.String()) {
		d.Changes = append(d.Changes, strings.TrimSuffix(line, "\n"))
	}
	return d, nil
}

// comparison is what a host's switches hold now, beside what a recompute from nothing wants.
type comparison struct {
	fresh     *flows.Compiler
	installed [len(flows.Bridges)]flows.Installed
	plan      *flows.Plan
}

// compare reads a host's switches, and again where they differ, for a change may have been under way. It changes
// neither the host nor what the loop believes.
func (c *Controller) compare(ctx context.Context, name string) (*comparison, error) {
	s, err := c.compareOnce(ctx, name)
	if err != nil || s.plan.Empty() {
		return s, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(lookAgain):
	}
	return c.compareOnce(ctx, name)
}

func (c *Controller) compareOnce(ctx context.Context, name string) (*comparison, error) {
	loop, links, err := c.switches(ctx, name)
	if err != nil {
		return nil, err
	}
	var view *flows.View
	if err := loop.ask(ctx, func() { view = loop.freshView() }); err != nil {
		return nil, err
	}
	if view == nil {
		return nil, fmt.Errorf("host %s: nothing is computed for it yet: see `tunbridge hosts %s`: %w", name, name, errAway)
	}
	s := &comparison{fresh: flows.NewCompiler(c.o.Features...)}
	if err := s.fresh.Compile(view); err != nil {
		return nil, err
	}
	for b, l := range links {
		if s.installed[b], err = dump(ctx, l.conn, flows.Bridge(b)); err != nil {
			return nil, fmt.Errorf("host %s: %s: %w", name, flows.Bridge(b), err)
		}
		s.fresh.Load(flows.Bridge(b), s.installed[b])
	}
	s.plan = s.fresh.Plan()
	return s, nil
}

// freshView is the view that the loop would make now if it had made none before; nil while it cannot.
func (h *host) freshView() *flows.View {
	m, snap := h.session.Mirror(), h.c.o.Store.Snapshot()
	if h.viewer.view == nil {
		return nil
	}
	ports, missing := portsMade(h.row, m)
	if missing != "" {
		return nil
	}
	vifs := vifsOf(m, m.Bridge(flows.BrInt.String()))
	judge(snap, vifs, h.row, ports, h.c.o.ClaimUnbound)
	for i := range vifs {
		if v := &vifs[i]; v.wired != nil && h.vlans.byNetwork[v.wired.NetworkID] == 0 {
			v.wired = nil // the loop has yet to see it
		}
	}
	var w viewer
	return w.build(snap, h.row, ports, vifs, h.vlans)
}
