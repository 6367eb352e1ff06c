package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/ovsdb"
)

// wire compiles, compares, commits and reports.
func (h *host) wire(ctx context.Context, ports portNumbers) error {
	snap, err := h.judgeVIFs(ctx, ports)
	if err != nil {
		return err
	}
	notes, err := h.numberNetworks(ctx, snap)
	if err != nil {
		return err
	}
	h.history.saw(h.vifs, time.Now())
	began := time.Now()
	view := h.viewer.build(snap, h.row, ports, h.vifs, h.vlans)
	h.c.watch(h, h.viewer.networks, h.unsettled())
	compileErr := h.compiler.Compile(view)
	h.activity.compiled = time.Since(began)
	h.punts.Store(puntsOf(view, h.punts.Load()))
	sent := time.Now()
	if err := h.apply(ctx); err != nil {
		return err
	}
	h.links[flows.BrInt].poke()
	h.probing.use(&probed{view, h.links[flows.BrTun].conn})
	h.vlans.committed()
	h.reportPorts(snap)
	if committed := h.commit; committed.After(sent) {
		h.history.done(sent, committed)
	} else {
		h.history.done(time.Time{}, time.Time{})
	}
	return errors.Join(compileErr, h.writeNotes(ctx, notes))
}

// judgeVIFs decides which VIFs are wired, and claims ports without a binding and those that have arrived.
func (h *host) judgeVIFs(ctx context.Context, ports portNumbers) (*store.Snapshot, error) {
	if m := h.session.Mirror(); m != h.vifsOf {
		h.vifs, h.vifsOf = vifsOf(m, m.Bridge(flows.BrInt.String())), m
	}
	snap := h.c.o.Store.Snapshot()
	claims := judge(snap, h.vifs, h.row, ports, h.c.o.ClaimUnbound)
	here := make(map[uuid.UUID]bool, len(h.vifs))
	for i := range h.vifs {
		here[h.vifs[i].id] = true
	}
	var stale []uuid.UUID
	for c := range snap.ClaimsOn(h.row.Hostname) {
		if !here[c.PortID] {
			stale = append(stale, c.PortID)
		}
	}
	arrived := h.heard.take()
	if len(claims)+len(stale)+len(arrived) == 0 {
		return snap, nil
	}
	_, err := h.c.o.Store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range claims {
			p, ok := tx.Port(id)
			if _, claimed := tx.Claim(id); !ok || claimed || p.HostID != "" {
				continue // somebody was faster
			}
			if err := tx.PutClaim(&model.Claim{PortID: id, Host: h.row.Hostname}); err != nil {
				return err
			}
		}
		for id := range arrived {
			if err := claimArrived(tx, id, h.row.Hostname); err != nil {
				return err
			}
		}
		for _, id := range stale {
			if err := tx.DeleteClaim(id); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	snap = h.c.o.Store.Snapshot()
	judge(snap, h.vifs, h.row, ports, h.c.o.ClaimUnbound)
	return snap, nil
}

// unsettled says whether some VIF waits for a port that is not, or not yet, wired here.
func (h *host) unsettled() bool {
	for i := range h.vifs {
		if h.vifs[i].wired == nil {
			return true
		}
	}
	return false
}

// numberNetworks gives each wired VIF's network its local VLAN and notes it on the host before any flow
// uses it. It returns what can be written later.
func (h *host) numberNetworks(ctx context.Context, snap *store.Snapshot) (later []noting, err error) {
	first, later := h.vlans.number(snap, h.vifs)
	return later, h.writeNotes(ctx, first)
}

func (h *host) writeNotes(ctx context.Context, notes []noting) error {
	var ops []ovsdb.Operation
	for _, n := range notes {
		ops = append(ops, ovsdb.SetPortTag(n.port.UUID, n.note.vlan, n.note.config)...)
	}
	if _, err := h.session.Transact(ctx, ops...); err != nil {
		return fmt.Errorf("local VLANs: %w", err)
	}
	return nil
}

// apply sends the plan. What appears stands on br-tun before br-int sends to it; what goes is taken off
// br-int first.
func (h *host) apply(ctx context.Context) error {
	plan := h.compiler.Plan()
	if plan.Empty() {
		h.pending = nil
		h.settle(plan)
		return nil
	}
	h.pending = plan
	began := time.Now()
	appears, goes := plan[flows.BrTun].Split()
	for _, b := range []*flows.BridgePlan{&appears, &plan[flows.BrInt], &goes} {
		if b.Empty() {
			continue
		}
		if err := h.send(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", b.Bridge, err)
		}
		h.compiler.Committed(b)
	}
	h.settle(plan)
	h.pending = nil
	h.commit = time.Now()
	h.activity.planned, h.activity.acknowledged = plan.Len(), h.commit.Sub(began)
	h.commits++
	return nil
}

// settle ends the first plan after a dump: what it had to undo was not the controller's doing.
func (h *host) settle(plan *flows.Plan) {
	for b, l := range h.links {
		switch changed := !plan[b].Empty(); l.settled() {
		case foundEmpty:
			if h.programmed[b] {
				h.restarts++
				h.log.Warn("switch was restarted: everything written again", "bridge", flows.Bridge(b))
			}
		case foundOurs:
			if changed && l.seen {
				h.repairs++
				h.history.repaired(&plan[b])
				h.log.Warn("foreign change undone", "bridge", flows.Bridge(b), "plan", plan[b].String())
			}
		}
		l.seen, h.programmed[b] = true, true
	}
}

// send carries out one bridge's plan: meters, the bundle, meters.
func (h *host) send(ctx context.Context, b *flows.BridgePlan) error {
	conn := h.links[b.Bridge].conn
	before, bundle, after := b.Messages()
	if len(before) > 0 {
		if err := conn.Do(ctx, before...); err != nil {
			return err
		}
	}
	if len(bundle) > 0 {
		if err := conn.Bundle(ctx, bundle...); err != nil {
			return err
		}
	}
	if len(after) > 0 {
		return conn.Do(ctx, after...)
	}
	return nil
}

// reportPorts tells the store which ports are wired now and which no longer are.
func (h *host) reportPorts(snap *store.Snapshot) {
	wired := make(map[uuid.UUID]uint32, len(h.vifs))
	reasons := map[uuid.UUID]string{}
	for i := range h.vifs {
		v := &h.vifs[i]
		if v.wired == nil {
			reasons[v.id] = v.reason
			continue
		}
		wired[v.id] = v.generation()
		if plug, said := h.reported[v.id]; !said || plug != wired[v.id] {
			h.c.o.Store.SetPortStatus(model.PortStatus{PortID: v.id, Host: h.row.Hostname, Status: model.StatusActive, Plug: wired[v.id]})
		}
	}
	if h.reported == nil { // what was said before this session, in which something may have gone
		h.reported = map[uuid.UUID]uint32{}
		for s := range snap.PortStatusesOn(h.row.Hostname) {
			if s.Status == model.StatusActive {
				h.reported[s.PortID] = s.Plug
			}
		}
	}
	for id := range h.reported {
		if _, still := wired[id]; still {
			continue
		}
		if p, ok := snap.Port(id); !ok || snap.Holder(p) != h.row.Hostname { // it is elsewhere now
			h.c.o.Store.ClearPortStatus(h.row.Hostname, id)
			continue
		}
		reason := reasons[id]
		if reason == "" {
			reason = "no interface on br-int names it"
		}
		h.c.o.Store.SetPortStatus(model.PortStatus{PortID: id, Host: h.row.Hostname, Status: model.StatusDown, Reason: reason})
	}
	h.reported = wired
}
