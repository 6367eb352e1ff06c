package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
)

// recent is how long a foreign change that was undone counts as something that is wrong: somebody else
// programs the switch.
const recent = 10 * time.Minute

// errNoSubject is answered with 404.
var errNoSubject = errors.New("nothing is told of that")

// explanation collects steps. It asks hosts' loops, each for an instant.
type explanation struct {
	inspect.Explanation
	c    *Controller
	snap *store.Snapshot
}

// step adds what has to be so; what is not is the first thing that is wrong, if nothing was before.
func (e *explanation) step(ok bool, format string, args ...any) bool {
	return e.stepAt(time.Time{}, ok, format, args...)
}

// stepAt is step of what came to be so at a time; zero: nobody knows.
func (e *explanation) stepAt(at time.Time, ok bool, format string, args ...any) bool {
	s := inspect.Step{OK: ok, At: at, Text: fmt.Sprintf(format, args...)}
	if e.Steps = append(e.Steps, s); !ok && e.Wrong == "" {
		e.Wrong = s.Text
	}
	return ok
}

// explain tells the story of what a text means, as subject says or, if that is "", as the kind of object.
func (c *Controller) explain(ctx context.Context, subject, what string) (inspect.Explanation, error) {
	e := &explanation{c: c, snap: c.o.Store.Snapshot()}
	e.Steps = []inspect.Step{}
	kinds := map[string]string{"dhcp": inspect.KindPort, "metadata": inspect.KindPort, "flow": ""}
	kind, ok := kinds[subject]
	switch {
	case subject == "":
	case !ok && !slices.Contains(inspect.Subjects, subject):
		return e.Explanation, fmt.Errorf("explain %s: %w: want one of %s", subject, errNoSubject, strings.Join(inspect.Subjects, ", "))
	case !ok:
		kind = subject
	}
	var err error
	if e.Object, err = c.subjectOf(ctx, e.snap, subject, kind, what); err != nil {
		return e.Explanation, err
	}
	if e.Subject = subject; subject == "" {
		e.Subject = e.Object.Kind
	}
	switch e.Subject {
	case inspect.KindPort:
		err = e.port(ctx)
	case inspect.KindNetwork:
		err = e.network(ctx)
	case inspect.KindHost:
		err = e.host(ctx)
	case "flow":
		err = e.flow(ctx)
	case "dhcp":
		err = e.dhcp(ctx)
	case "metadata":
		err = e.metadata(ctx)
	}
	return e.Explanation, err
}

// subjectOf finds the object. Where any will do a subnet, of which nothing is made by itself, stands for its
// network.
func (c *Controller) subjectOf(ctx context.Context, snap *store.Snapshot, subject, kind, what string) (inspect.Object, error) {
	o, err := c.one(ctx, snap, kind, what)
	if kind != "" {
		return o, err
	}
	if err != nil { // a subnet mostly has its network's name
		found, _ := c.lookup(ctx, snap, what)
		found = slices.DeleteFunc(found, func(o inspect.Object) bool { return o.Kind == inspect.KindSubnet })
		if len(found) != 1 {
			if subject == "flow" && len(found) == 0 && strings.HasPrefix(what, "0x") {
				return inspect.Object{Kind: kindCookie, ID: what}, nil
			}
			return o, err
		}
		return found[0], nil
	}
	if o.Kind == inspect.KindSubnet {
		return c.one(ctx, snap, inspect.KindNetwork, o.ID)
	}
	return o, nil
}

// loop is a host's loop; nil while the host is away.
func (c *Controller) loop(systemID string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[systemID]
}

// watching are the loops of the hosts whose flows depend on a network.
func (c *Controller) watching(network uuid.UUID) (hosts []*host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for h := range c.watched[network] {
		hosts = append(hosts, h)
	}
	return hosts
}

// networkName is how a network is called in a story.
func (e *explanation) networkName(id uuid.UUID) string {
	if n, ok := e.snap.Network(id); ok && n.Name != "" {
		return fmt.Sprintf("%s (%s)", inspect.Called(n.Name), id)
	}
	return id.String()
}

// portName is how a port is called in a story.
func portName(p *model.Port) string {
	if p.Name != "" {
		return fmt.Sprintf("port %s (%s)", inspect.Called(p.Name), p.ID)
	}
	return "port " + p.ID.String()
}

// sessions tells whether a host is connected; its loop is nil if not even its database is.
func (e *explanation) sessions(ctx context.Context, row *model.Host) (*host, error) {
	h := e.c.loop(row.ID)
	if h == nil {
		since, at := "it has not been since this controller began", time.Time{}
		if status, said := e.snap.HostStatus(row.ID); said {
			since, at = status.LastError, status.Since
		}
		e.stepAt(at, false, "host %s is not connected: %s. Its flows stay as they are. Look for ovsdb-server there, and at its `ovs-vsctl get-manager`", row.Hostname, since)
		return nil, nil
	}
	err := h.ask(ctx, func() {
		e.stepAt(h.since, true, "host %s: its database is connected, from %s", row.Hostname, h.session.RemoteAddr())
		for _, b := range flows.Bridges {
			switch lost := h.history.lost[b]; {
			case h.links[b] != nil:
			case lost.IsZero():
				e.step(false, "ovs-vswitchd of host %s has not connected %s by OpenFlow yet: does it run, and does it reach %s?", row.Hostname, b, h.c.target(h))
			default:
				e.stepAt(lost, false, "ovs-vswitchd of host %s does not answer: %s lost its OpenFlow session, while the database answers. Look for ovs-vswitchd there", row.Hostname, b)
			}
		}
		switch {
		case h.lastError != "":
			e.step(false, "host %s is not in its wanted state: %s", row.Hostname, h.lastError)
		case h.waiting != "" && h.connected():
			e.step(false, "host %s waits: %s", row.Hostname, h.waiting)
		}
	})
	return h, err
}

// repairs tells of foreign changes of a host's flows; of those that concern an object if id is not "".
func (e *explanation) repairs(hostname string, all []repair, id string) {
	for i := len(all) - 1; i >= 0; i-- {
		r := &all[i]
		change := ""
		for _, line := range r.changes {
			if strings.Contains(line, id) && change == "" {
				change = line
			}
		}
		if change == "" {
			continue
		}
		var did []string
		if r.removed > 0 {
			did = append(did, flowsWere(r.removed, "foreign ")+" added to")
		}
		if r.added > 0 {
			did = append(did, flowsWere(r.added, "")+" deleted from, or changed on,")
		}
		e.stepAt(r.at, time.Since(r.at) > recent, "%s %s of host %s, and that was undone: %s", strings.Join(did, ", and "), r.bridge, hostname,
			strings.TrimPrefix(change, r.bridge.String()+": "))
	}
}

func flowsWere(n int, which string) string {
	if n == 1 {
		return "a " + which + "flow was"
	}
	return fmt.Sprintf("%d %sflows were", n, which)
}

// tunnels tells of a host's tunnels of a type, "" for all, to some hosts, nil for all.
func (e *explanation) tunnels(h *host, hostname, networkType string, to map[string]bool) {
	for _, r := range h.probing.results() {
		if networkType != "" && r.Type != networkType || to != nil && !to[r.Peer] {
			continue
		}
		switch {
		case r.Note != "" && !r.Alive:
			e.stepAt(r.Seen, false, "the %s tunnel from host %s to %s is down: %s", r.Type, hostname, r.Peer, r.Note)
		case r.Note != "":
			e.stepAt(r.Seen, false, "the MTU is too small: the %s tunnel from host %s to %s %s", r.Type, hostname, r.Peer, r.Note)
		case r.Alive && r.MTU > 0:
			e.stepAt(r.Seen, true, "the %s tunnel from host %s to %s carries packets of %d bytes, round trip %s", r.Type, hostname, r.Peer, r.MTU, r.RTT.Round(10*time.Microsecond))
		}
	}
}
