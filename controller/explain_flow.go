package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// flow tells of the flows that are installed for an object, or with a cookie that is no object's: where, and
// why each. Flows that the switches learned on its behalf are among them.
func (e *explanation) flow(ctx context.Context) error {
	id := e.Object.ID
	count := 0
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
			if f.ObjectID != id && f.Cookie != id && !strings.Contains(f.Reason, id) {
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
	if count == 0 && e.Wrong == "" {
		if e.Object.Kind == "cookie" {
			return fmt.Errorf("no object and no flow on any host has cookie %s: %w", id, errUnknownObject)
		}
		e.step(e.Object.Kind != inspect.KindPort && e.Object.Kind != inspect.KindNetwork, "no host has a flow for %s: no VIF of it is plugged; `tunbridge explain %s %s` says why", e.Object, e.Object.Kind, id)
	}
	return nil
}

// ownerForeign is who owns a flow that nothing wants.
const ownerForeign = "foreign"
