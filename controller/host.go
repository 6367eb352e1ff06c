package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
	"github.com/tunbridge/tunbridge/ovsdb"
)

const (
	stepTimeout    = 30 * time.Second // for everything one step asks of a host
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 10 * time.Second
)

// host is the loop of one host: it lives as long as the host's OVSDB session. Whatever happened is only
// a reason to look again; everything is computed from the newest snapshot and the newest mirror.
type host struct {
	c        *Controller
	id       string // system-id
	session  *ovsdb.Session
	remote   netip.Addr // where it dialled from; zero for a unix socket
	cert     string     // fingerprint of its TLS certificate; "" without TLS
	since    time.Time
	log      *slog.Logger
	stop     context.CancelCauseFunc
	done     chan struct{}
	poked    chan struct{}
	arrived  chan *link
	asked    chan func()
	punts    atomic.Pointer[punts] // what the packet-in workers may answer for
	probing  *probing
	heard    portSet // that were heard here first while they migrate
	activity activity

	// The loop's own from here on.
	row        *model.Host   // as in the store
	looked     *ovsdb.Mirror // the one that the last step began with: whatever came since is news
	links      [len(flows.Bridges)]*link
	loaded     [len(flows.Bridges)]bool // the compiler knows what the bridge holds
	compiler   *flows.Compiler
	viewer     viewer
	vlans      *localVLANs
	restored   bool
	planned    *ovsdb.Mirror            // the mirror that was found to hold the wanted rows
	datapath   string                   // datapath type in use; "" until decided
	note       string                   // why that one
	met        bool                     // the bridges were looked at once
	programmed [len(flows.Bridges)]bool // a controller carried out a plan on the bridge before
	vifs       []vif
	vifsOf     *ovsdb.Mirror              // the mirror vifs are from
	reported   map[uuid.UUID]uint32       // ports said to be wired, with their VIF's generation; nil: nothing yet
	status     model.HostStatus           // what was last said of the host
	settledIn  map[uuid.UUID]*networkMemo // the last that were wired; nil: none in this session
	newcomers  map[uuid.UUID]*newcomer    // that are spoken for
	interest   map[uuid.UUID]bool
	pending    *flows.Plan // not acknowledged to its end; nil: none
	waiting    string
	lastError  string
	backoff    time.Duration
	commit     time.Time
	commits    uint64
	repairs    uint64
	restarts   uint64
	history    history
}

// errLost is the reason of a loop's end when the host's session ended.
var errLost = errors.New("OVSDB session lost")

func (h *host) run(ctx context.Context) {
	defer close(h.done)
	defer h.leave()
	pctx, stop := context.WithCancel(ctx)
	defer stop()
	h.c.loops.Go(func() { h.probing.run(pctx) })
	audit := time.NewTicker(h.c.o.AuditInterval)
	defer audit.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	h.looked = h.session.Mirror()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.session.Done():
			h.log.Warn("host lost", "error", h.session.Err())
			return
		case <-h.poked:
		case <-h.looked.Changed():
		case <-retry.C:
		case l := <-h.arrived:
			h.adopt(l)
		case <-h.links[flows.BrInt].lost():
			h.drop(flows.BrInt)
		case <-h.links[flows.BrTun].lost():
			h.drop(flows.BrTun)
		case f := <-h.asked:
			f()
			continue
		case <-audit.C:
			h.forget()
		}
		retry.Stop()
		if again := h.look(ctx); again > 0 {
			retry.Reset(again)
		}
	}
}

// look runs one step and says after which time to look again by itself; 0 for never.
func (h *host) look(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	h.looked = h.session.Mirror()
	waiting, again, err := h.step(ctx)
	h.waiting = waiting
	if err == nil {
		if h.lastError != "" {
			h.log.Info("host recovered", "was", h.lastError)
		}
		h.lastError, h.backoff = "", 0
		h.reportHost(waiting == "", waiting)
		return again
	}
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled {
		return 0 // the loop is ending
	}
	if err.Error() != h.lastError {
		h.log.Error("host not in its wanted state", "error", err)
	}
	h.lastError = err.Error()
	h.reportHost(h.connected(), h.lastError)
	h.forget()
	h.backoff = min(max(2*h.backoff, firstBackoff), longestBackoff)
	return h.backoff
}

// step brings the host as far as can be now. waiting says in words what is missing; again after which
// time that should be looked at even if nothing changes.
func (h *host) step(ctx context.Context) (waiting string, again time.Duration, err error) {
	if err := h.enrol(ctx); err != nil {
		return "", 0, err
	}
	if waiting, again, err = h.bridges(ctx); waiting != "" || err != nil {
		return waiting, again, err
	}
	ports, missing := portsMade(h.row, h.session.Mirror())
	if missing != "" {
		return "ovs-vswitchd has not made port " + missing + " yet", 0, nil
	}
	for b, l := range h.links {
		if l == nil {
			return fmt.Sprintf("%s has not connected by OpenFlow yet", flows.Bridge(b)), 0, nil
		}
	}
	for b := range h.links {
		if err := h.load(ctx, flows.Bridge(b)); err != nil {
			return "", 0, err
		}
	}
	if err := h.wire(ctx, ports); err != nil {
		return "", 0, err
	}
	return "", h.speakForNewcomers(time.Now()), nil
}

// enrol writes what the host says of itself to the store and makes sure that it is ours to program.
func (h *host) enrol(ctx context.Context) error {
	m := h.session.Mirror()
	row, err := hostRow(m.OpenVSwitch, h.remote)
	if err != nil {
		return err
	}
	if row.ID != h.id {
		h.stop(fmt.Errorf("system-id changed to %s", row.ID))
		return fmt.Errorf("system-id changed from %s to %s", h.id, row.ID)
	}
	if m.OpenVSwitch.ExternalIDs[keyAdopt] != "true" {
		for _, b := range flows.Bridges {
			if foreign := m.ForeignControllers(b.String(), h.c.target(h)); len(foreign) > 0 && !ours(m.Bridge(b.String())) {
				return fmt.Errorf("%s is programmed by another controller (%s): remove it with `ovs-vsctl del-controller %s`, or set external_ids:%s=true to take the bridge over",
					b, foreign[0], b, keyAdopt)
			}
			if programmedByHand(m.Bridge(b.String())) {
				return fmt.Errorf("%s was there before, with fail_mode secure, so that somebody programs it: delete it, or set external_ids:%s=true to take the bridge over", b, keyAdopt)
			}
		}
	}
	h.chooseDatapath(m, row.DatapathType)
	row.Datapath = h.datapath
	have, ok := h.c.o.Store.Snapshot().Host(h.id)
	if row.EnrolledAt = time.Now().UTC().Round(0); ok {
		row.EnrolledAt = have.EnrolledAt
	}
	if !ok || !reflect.DeepEqual(have, row) {
		if _, err := h.c.o.Store.Update(ctx, func(tx *store.Tx) error { return tx.PutHost(row) }); err != nil {
			return fmt.Errorf("enrol: %w", err)
		}
		h.log.Info("host enrolled", "hostname", row.Hostname, "encap_ip", row.EncapIP, "guessed", row.EncapIPGuessed, "ovs", m.OpenVSwitch.OVSVersion)
		h.log = h.c.o.Logger.With("host", row.Hostname)
	}
	h.row, _ = h.c.o.Store.Snapshot().Host(h.id)
	return h.session.Steal(ctx, lockName)
}

// bridges makes the bridges, ports and Controller rows, and falls back to the userspace datapath where
// the kernel has none.
func (h *host) bridges(ctx context.Context) (waiting string, again time.Duration, err error) {
	m := h.session.Mirror()
	if !h.met {
		h.met = true
		for _, b := range flows.Bridges {
			h.programmed[b] = ours(m.Bridge(b.String()))
		}
	}
	if m != h.planned {
		wanted := wantedRows(h.row, m, h.datapath, h.c.target(h), h.manager())
		if ops := m.Plan(wanted); len(ops) > 0 {
			if _, err := h.session.Transact(ctx, ops...); err != nil {
				return "", 0, err
			}
		}
		h.planned = h.session.Mirror()
	}
	m = h.session.Mirror()
	for _, b := range flows.Bridges {
		br := m.Bridge(b.String())
		want := fmt.Sprintf("%016x", datapathID(h.id, b))
		switch {
		case br == nil:
			return b.String() + " is gone from the database", firstBackoff, nil
		case br.DatapathID == want, h.links[b] != nil:
			// It is enough that the bridge has connected: when datapath-id is changed twice within a
			// millisecond, ovs-vswitchd leaves the first in the column for good.
			continue
		case everRan(m, br):
			return "ovs-vswitchd has not said which datapath " + b.String() + " has", 0, nil
		case br.DatapathID == "" && h.datapath == "system" && m.Configured():
			h.datapath, h.note = "netdev", "the kernel has no Open vSwitch datapath"
			h.planned = nil
			h.log.Warn("falling back to the userspace datapath", "reason", h.note)
			return h.bridges(ctx)
		}
		if br.DatapathID == "" && m.Configured() {
			return "", 0, fmt.Errorf("ovs-vswitchd has no datapath of type %q for %s: set external_ids:%s to a type it has (%v)", h.datapath, b, keyDatapathType, m.OpenVSwitch.DatapathTypes)
		}
		return "ovs-vswitchd has not made " + b.String() + " yet", 0, nil
	}
	if !h.restored {
		h.vlans.restore(m, m.Bridge(flows.BrInt.String()))
		h.restored = true
	}
	return "", 0, nil
}

// everRan says whether ovs-vswitchd has had the bridge at some time. Its datapath_id does not tell: the
// database forgets that when ovsdb-server restarts, but keeps the number of the local interface.
func everRan(m *ovsdb.Mirror, br *ovsdb.Bridge) bool {
	for _, i := range m.Attached(br) {
		if i.Name == br.Name && i.OFPort >= 1 {
			return true
		}
	}
	return false
}

// manager is the Manager target by which the host's database dialled.
func (h *host) manager() string {
	scheme := "tcp:"
	if h.cert != "" {
		scheme = "ssl:"
	}
	return scheme + h.session.LocalAddr().String()
}

// chooseDatapath decides the datapath type: what the host asks for, else what br-int has, else the kernel's.
func (h *host) chooseDatapath(m *ovsdb.Mirror, asked string) {
	switch br := m.Bridge(flows.BrInt.String()); {
	case asked != "":
		h.datapath, h.note = asked, "external_ids:"+keyDatapathType
	case h.datapath != "":
	case br != nil && br.DatapathType != "":
		h.datapath, h.note = br.DatapathType, "br-int has it"
	default:
		h.datapath, h.note = "system", "default"
	}
}

// load asks for the primary role and dumps what the bridge holds, after each connect and whenever what
// is installed is not known.
func (h *host) load(ctx context.Context, b flows.Bridge) error {
	l := h.links[b]
	if l.foreign.Swap(false) {
		h.loaded[b] = false
	}
	if h.loaded[b] {
		return nil
	}
	if !l.primary {
		if _, _, err := l.conn.Role(ctx, openflow.RolePrimary, h.c.o.Store.Generation()); err != nil {
			var refused *openflow.Error
			if errors.As(err, &refused) && refused.Type == openflow.ErrorRoleRequestFailed {
				return fmt.Errorf("%s: %w: a later controller, or one of a later store, drives it: stop that one, or, if it is gone for good, restart ovs-vswitchd on the host", b, err)
			}
			return fmt.Errorf("%s: %w", b, err)
		}
		if err := l.conn.Setup(ctx); err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		if err := l.watch(ctx); err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		l.primary = true
	}
	in, err := dump(ctx, l.conn, b)
	if err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	if b == flows.BrInt {
		h.vlans.restoreInstalled(in)
	}
	h.compiler.Load(b, in)
	h.loaded[b] = true
	l.found(in)
	return nil
}

// dump reads what a bridge holds, but for tables that the switch fills itself.
func dump(ctx context.Context, c *openflow.Conn, b flows.Bridge) (flows.Installed, error) {
	in, err := dumpAll(ctx, c)
	in.Flows = slices.DeleteFunc(in.Flows, func(f openflow.FlowStats) bool {
		t := flows.TableOf(b, f.Table)
		return t != nil && t.Learned
	})
	return in, err
}

// dumpAll reads all that a bridge holds.
func dumpAll(ctx context.Context, c *openflow.Conn) (in flows.Installed, err error) {
	err = c.DumpFlows(ctx, openflow.FlowStatsRequest{Table: openflow.TableAll}, func(f *openflow.FlowStats) error {
		in.Flows = append(in.Flows, *f)
		return nil
	})
	if err != nil {
		return in, err
	}
	err = c.DumpGroups(ctx, func(g *openflow.GroupDesc) error {
		in.Groups = append(in.Groups, *g)
		return nil
	})
	if err != nil {
		return in, err
	}
	err = c.DumpMeters(ctx, func(m *openflow.MeterConfig) error {
		in.Meters = append(in.Meters, *m)
		return nil
	})
	return in, err
}

// reportHost tells the store how the host is, on transition.
func (h *host) reportHost(alive bool, lastError string) {
	if h.status.ID != "" && h.status.Alive == alive && h.status.LastError == lastError {
		return
	}
	h.status = model.HostStatus{ID: h.id, Alive: alive, LastError: lastError, Since: time.Now().UTC()}
	h.c.o.Store.SetHostStatus(h.status)
}

// connected says whether both sessions are up: OVSDB is, as long as the loop runs.
func (h *host) connected() bool {
	return h.links[flows.BrInt] != nil && h.links[flows.BrTun] != nil
}

// adopt takes a new OpenFlow connection in place of the bridge's last one.
func (h *host) adopt(l *link) {
	if old := h.links[l.bridge]; old != nil {
		old.conn.Close()
	}
	h.links[l.bridge], h.loaded[l.bridge] = l, false
	l.owner.Store(h)
	switch l.bridge {
	case flows.BrInt:
		go l.serve(h.c.o.Handlers)
		go l.announce(h)
	case flows.BrTun:
		h.probing.use(nil)
	}
}

// drop forgets a lost OpenFlow connection.
func (h *host) drop(b flows.Bridge) {
	h.log.Warn("OpenFlow connection lost", "bridge", b, "error", h.links[b].conn.Err())
	h.links[b], h.loaded[b] = nil, false
	h.history.lost[b] = time.Now()
	if b == flows.BrTun {
		h.probing.use(nil)
	}
}

// forget makes the next step read what the switch holds again.
func (h *host) forget() {
	h.loaded = [len(flows.Bridges)]bool{}
	h.planned = nil
}

// leave ends the loop: the flows stay, the connections go.
func (h *host) leave() {
	h.session.Close()
	for _, l := range h.links {
		if l != nil {
			l.conn.Close()
		}
	}
	for {
		select {
		case l := <-h.arrived:
			l.conn.Close()
			continue
		default:
		}
		break
	}
	h.reportHost(false, errLost.Error())
	h.c.left(h)
}

// poke makes the loop look again; it never blocks and is never lost.
func (h *host) poke() {
	select {
	case h.poked <- struct{}{}:
	default:
	}
}
