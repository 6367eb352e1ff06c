package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// A host in which something does not hold is looked at again after lookAgain, for a change may have been under
// way. verifyAtOnce hosts are looked at at the same time.
const (
	lookAgain    = time.Second
	verifyAtOnce = 4
)

// serveVerify examines one host, or all and the store, and streams what it finds as inspect.Verified. A host has
// askTimeout to answer, however many others there are.
func (c *Controller) serveVerify(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	control := http.NewResponseController(w)
	var names []string
	name := r.PathValue("host")
	if name != "" {
		row, _, err := c.find(name)
		if err != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(inspect.Error{Error: err.Error()})
			return
		}
		names = []string{row.Hostname}
	} else {
		for h := range c.o.Store.Snapshot().Hosts() {
			names = append(names, h.Hostname)
		}
		slices.Sort(names)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var mu sync.Mutex
	to := json.NewEncoder(w)
	send := func(hosts []inspect.VerifiedHost, violations []inspect.Violation) {
		mu.Lock()
		defer mu.Unlock()
		_ = control.SetWriteDeadline(time.Now().Add(askTimeout)) // who reads nothing must not hold the hosts' turns
		_ = to.Encode(inspect.Verified{Verification: inspect.Verification{Hosts: hosts, Violations: violations}, All: len(names)})
		_ = control.Flush() // who has gone has ended ctx
	}
	var all errgroup.Group
	all.SetLimit(verifyAtOnce)
	if name == "" {
		all.Go(func() error {
			var broken []inspect.Violation
			for _, err := range c.o.Store.Check(ctx) {
				broken = append(broken, inspect.Violation{Kind: inspect.ViolationStore, Text: err.Error()})
			}
			send(nil, broken)
			return nil
		})
	}
	for _, name := range names {
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			host, violations := c.verifyHost(ctx, name)
			send([]inspect.VerifiedHost{host}, violations)
			return nil
		})
	}
	_ = all.Wait()
}

// verifyHost keeps what two looks at a host agree on.
func (c *Controller) verifyHost(ctx context.Context, name string) (host inspect.VerifiedHost, violations []inspect.Violation) {
	host, violations = c.examine(ctx, name)
	if len(violations) == 0 {
		return host, nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(lookAgain):
	}
	again, still := c.examine(ctx, name)
	return again, slices.DeleteFunc(violations, func(v inspect.Violation) bool { return !slices.Contains(still, v) })
}

// examine looks at a host once.
func (c *Controller) examine(ctx context.Context, name string) (host inspect.VerifiedHost, violations []inspect.Violation) {
	host.Hostname = name
	loop, links, err := c.switches(ctx, name)
	if err != nil {
		host.Reason = err.Error()
		return host, nil
	}
	var view *flows.View
	if err := loop.ask(ctx, func() { view = loop.freshView() }); err != nil {
		host.Reason = err.Error()
		return host, nil
	}
	if view == nil {
		host.Reason = "nothing is computed for it yet: see `tunbridge hosts " + name + "`"
		return host, nil
	}
	report := func(kind string, b flows.Bridge, text, where, cause string) {
		violations = append(violations, inspect.Violation{Kind: kind, Host: name, Bridge: b.String(), Text: text, Where: where, Cause: cause})
	}
	wanted := flows.NewCompiler(c.o.Features...)
	if err := wanted.Compile(view); err != nil {
		violations = append(violations, inspect.Violation{Kind: inspect.ViolationInstalled, Host: name, Text: "what is wanted contradicts itself: " + err.Error()})
	}
	var leaks []flows.Leak
	for i, l := range links {
		b := flows.Bridge(i)
		in, err := dumpAll(ctx, l.conn)
		if err != nil {
			host.Reason = fmt.Sprintf("%s: %v", b, err)
			return host, nil
		}
		host.Flows += len(in.Flows)
		host.Groups += len(in.Groups)
		wanted.Load(b, in) // leaves out what was learned
		leaks = append(leaks, flows.Isolation(view, b, in)...)
	}
	err = loop.ask(ctx, func() {
		snap := c.o.Store.Snapshot()
		for _, l := range leaks {
			f := loop.explain(snap, l.Bridge, l.Flow)
			where := flowText(l.Flow.Table, l.Flow.Priority, l.Flow.Match, l.Flow.Instructions)
			if l.Bucket != "" {
				where += " by " + l.Bucket
			}
			text := l.Text
			if l.More > 0 {
				text += fmt.Sprintf("; and %d more like it by this flow", l.More)
			}
			report(inspect.ViolationIsolation, l.Bridge, text, where, strings.TrimSpace(f.Owner+" "+f.Kind+" "+f.ObjectName+" "+f.ObjectID+": "+f.Reason))
		}
		loop.differences(snap, wanted, report)
	})
	if err != nil {
		host.Reason = err.Error()
		return host, nil
	}
	return host, violations
}

// differences reports where what is installed is not what is wanted.
func (h *host) differences(snap *store.Snapshot, c *flows.Compiler, report func(kind string, b flows.Bridge, text, where, cause string)) {
	plan := c.Plan()
	for i := range plan {
		p := &plan[i]
		for _, f := range p.AddFlows {
			id, name := h.objectOf(snap, f.Object)
			report(inspect.ViolationInstalled, p.Bridge, fmt.Sprintf("a flow of %s %s (%s) is missing, or does something else", f.Object.Kind, name, id),
				flowText(f.Table, f.Priority, f.Match, f.Instructions), fmt.Sprintf("%s: %s", f.Owner, f.Reason))
		}
		for _, f := range p.DeleteFlows {
			report(inspect.ViolationInstalled, p.Bridge, "a flow is installed that no object wants",
				flowText(f.Table, f.Priority, f.Match, f.Instructions), fmt.Sprintf("cookie %#x", f.Cookie()))
		}
		rest := *p
		rest.AddFlows, rest.DeleteFlows = nil, nil
		for line := range strings.Lines(rest.String()) {
			report(inspect.ViolationInstalled, p.Bridge, "a group, bucket or meter is missing (+) or not wanted (-)", strings.TrimSpace(strings.TrimPrefix(line, p.Bridge.String()+":")), "")
		}
	}
}

// flowText is a flow as ovs-ofctl takes it.
func flowText(table uint8, priority uint16, m openflow.Match, do openflow.Instructions) string {
	match := m.String()
	if match != "" {
		match = "," + match
	}
	return fmt.Sprintf("table=%d,priority=%d%s %s", table, priority, match, do)
}
