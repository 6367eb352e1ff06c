package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// flow tells of the flows that are installed for an object, or with a cookie that is no object's: where, and
// why each. Flows that the switches learned on its behalf are among them.
func (e *explanation) flow(ctx context.Context) error {
	id, cookie, count := e.Object.ID, "", 0
	if e.Object.Kind == kindCookie {
		number, err := strconv.ParseUint(id, 0, 64)
		if err != nil {
			return fmt.Errorf("cookie %s: %w", id, errUnknownObject)
		}
		id, cookie = fmt.Sprintf("cookie=%#x,", number), fmt.Sprintf("%#016x", number) // as a plan, and as a list of flows has it
	}
	for row := range e.snap.Hosts() {
		h := e.c.loop(row.ID)
		if h == nil {
			e.step(true, "host %s is not connected: its flows cannot be read", row.Hostname)
			continue
		}
		list, err := e.c.inspectFlows(ctx, row.ID)
		if err != nil && !errors.Is(err, errAway) {
			return err
		}
		for i := range list {
			f := &list[i]
			if f.ObjectID != id && f.Cookie != cookie && !strings.Contains(f.Reason, id) {
				continue
			}
			count++
			match := f.Match
			if match != "" {
				match = "," + match
			}
			e.step(f.Owner != ownerForeign, "%s %s table=%d(%s),priority=%d%s actions=%s: %s: %s; %d packets, cookie %s", row.Hostname, f.Bridge, f.Table, f.TableName, f.Priority, match,
				f.Actions, f.Owner, f.Reason, f.Packets, f.Cookie)
		}
		state, err := e.c.compare(ctx, row.ID)
		if err != nil && !errors.Is(err, errAway) {
			return err
		}
		if err == nil {
			for line := range strings.Lines(state.plan.String()) {
				if strings.Contains(line, id) {
					e.step(false, "host %s differs from what is wanted: %s", row.Hostname, strings.TrimSpace(line))
				}
			}
		}
		var repairs []repair
		if err := h.ask(ctx, func() { repairs = slices.Clone(h.history.repairs) }); err != nil && !errors.Is(err, errAway) {
			return err
		}
		e.repairs(row.Hostname, repairs, id)
	}
	switch {
	case count > 0 || e.Wrong != "":
	case cookie != "":
		return fmt.Errorf("no object and no flow on any host has cookie %s: %w", e.Object.ID, errUnknownObject)
	default:
		e.step(false, "no host has a flow for %s: `tunbridge explain %s %s` says why", e.Object, e.Object.Kind, id)
	}
	return nil
}

// kindCookie is the kind of a cookie that is no object's.
const kindCookie = "cookie"

// ownerForeign is who owns a flow that nothing wants.
const ownerForeign = "foreign"
