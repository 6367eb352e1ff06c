package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// errUnknownPort and errNoService are answered with 404.
var (
	errUnknownPort = errors.New("there is no port of that ID or name")
	errNoService   = errors.New("nothing is explained of that: want dhcp")
)

// portOf finds a port by ID or name.
func portOf(snap *store.Snapshot, name string) (*model.Port, error) {
	if id, err := uuid.Parse(name); err == nil {
		if p, ok := snap.Port(id); ok {
			return p, nil
		}
	}
	var found *model.Port
	for p := range snap.Ports() {
		if p.Name != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("port %q: several have that name, %s and %s among them: %w", name, found.ID, p.ID, errUnknownPort)
		}
		found = p
	}
	if found == nil || name == "" {
		return nil, fmt.Errorf("port %q: %w", name, errUnknownPort)
	}
	return found, nil
}

// leases is the DHCP server; nil if there is none.
func (c *Controller) leases() *dhcp.Server {
	s, _ := c.o.Handlers[flows.OpDHCPv4].(*dhcp.Server)
	return s
}

// inspectLeases tells what each wired port gets, or one does.
func (c *Controller) inspectLeases(name string) ([]inspect.Lease, error) {
	var only *model.Port
	if name != "" {
		var err error
		if only, err = portOf(c.o.Store.Snapshot(), name); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	hosts := slices.Collect(maps.Values(c.hosts))
	c.mu.Unlock()
	list, server := []inspect.Lease{}, c.leases()
	for _, h := range hosts {
		t := h.punts.Load()
		if t == nil || server == nil {
			continue
		}
		for id, from := range t.byPort {
			if only == nil || only.ID == id {
				list = append(list, leaseOf(server, t.view.Host.Hostname, from))
			}
		}
	}
	slices.SortFunc(list, func(a, b inspect.Lease) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.PortID, b.PortID))
	})
	return list, nil
}

func leaseOf(server *dhcp.Server, host string, from puntPort) inspect.Lease {
	p := from.port
	row := inspect.Lease{PortID: p.ID.String(), PortName: p.Name, NetworkID: p.NetworkID.String(), NetworkName: from.network.Name, Host: host, MACAddress: p.MACAddress.String()}
	l, err := server.Lease(from.network, p)
	if err != nil {
		row.Note = err.Error()
	} else {
		row.Address, row.Server, row.Seconds = l.Address.String(), l.Server.String(), leaseSeconds(l.Duration)
	}
	if exchanges := from.exchanges(server); len(exchanges) > 0 {
		last := slices.MaxFunc(exchanges, func(a, b inspect.Exchange) int { return a.At.Compare(b.At) })
		last.RequestBytes, last.AnswerBytes, last.RequestText, last.AnswerText = nil, nil, nil, nil
		row.Last = &last
	}
	return row
}

func leaseSeconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return int64(d / time.Second)
}

// exchanges are the last of each operation.
func (from *puntPort) exchanges(e prompt) []inspect.Exchange {
	last := from.asker.exchanges()
	list := []inspect.Exchange{}
	for _, op := range slices.Sorted(maps.Keys(last)) {
		x := last[op]
		told := e.Explain(&flows.Punt{Op: op, Network: from.network, Port: from.port, Packet: x.request}, x.answer, x.err)
		list = append(list, inspect.Exchange{Operation: op.String(), At: x.at, Requests: x.count, Request: told.Request, Decision: told.Decision, Reason: told.Reason,
			RequestText: told.RequestText, AnswerText: told.AnswerText, RequestBytes: x.request, AnswerBytes: x.answer})
	}
	return list
}

// explanation collects steps.
type explanation struct{ inspect.Explanation }

func (e *explanation) step(ok bool, format string, args ...any) bool {
	e.Steps = append(e.Steps, inspect.Step{OK: ok, Text: fmt.Sprintf(format, args...)})
	return ok
}

// explain follows a request from the port to its answer.
func (c *Controller) explain(ctx context.Context, service, name string) (inspect.Explanation, error) {
	server := c.leases()
	if service != "dhcp" || server == nil {
		return inspect.Explanation{}, fmt.Errorf("explain %s: %w", service, errNoService)
	}
	snap := c.o.Store.Snapshot()
	port, err := portOf(snap, name)
	if err != nil {
		return inspect.Explanation{}, err
	}
	e := &explanation{inspect.Explanation{PortID: port.ID.String(), PortName: port.Name, Steps: []inspect.Step{}, Exchanges: []inspect.Exchange{}}}
	from, link, err := c.explainWiring(ctx, e, snap, port)
	if err != nil || link == nil {
		return e.Explanation, err
	}
	if l, err := server.Lease(from.network, from.port); err != nil {
		e.step(false, "DHCPv4 gives nothing: %s", err)
	} else {
		e.Offer = dhcp.Text(l.Offer)
		e.step(true, "DHCPv4 gives %s, from %s, %s", l.Address, l.Server, leaseText(l.Duration))
	}
	e.Exchanges = from.exchanges(server)
	if len(e.Exchanges) == 0 {
		e.step(false, "nothing was asked since the VIF was wired at %s: the guest does not ask, its device is down, or it sends from another MAC address than %s",
			from.asker.since.Format(time.DateTime), port.MACAddress)
	}
	return e.Explanation, c.explainExchanges(ctx, e, from, link)
}

// explainWiring tells how the port is wired; link is nil if it is not.
func (c *Controller) explainWiring(ctx context.Context, e *explanation, snap *store.Snapshot, port *model.Port) (from puntPort, link *link, err error) {
	holder := snap.Holder(port)
	switch {
	case port.DeviceOwner == model.OwnerDHCP:
		e.step(false, "this is the port from which DHCP is answered, on every host")
		return from, nil, nil
	case holder == "" && c.o.ClaimUnbound:
		e.step(false, "the port is not bound, and no interface on any host's br-int names it")
		return from, nil, nil
	case holder == "":
		e.step(false, "the port is not bound: set its binding:host_id to the name of its host")
		return from, nil, nil
	}
	row, enrolled := snap.HostByName(holder)
	if !enrolled {
		e.step(false, "the port is bound to host %s, which is not enrolled", holder)
		return from, nil, nil
	}
	c.mu.Lock()
	h := c.hosts[row.ID]
	c.mu.Unlock()
	if h == nil {
		e.step(false, "host %s is not connected: its guests keep their addresses, but nobody answers them", holder)
		return from, nil, nil
	}
	err = h.ask(ctx, func() {
		i := slices.IndexFunc(h.vifs, func(v vif) bool { return v.id == port.ID && (v.wired != nil || v.reason != "") })
		switch {
		case i < 0:
			e.step(false, "no interface on br-int of host %s names the port: set external_ids:iface-id=%s", holder, port.ID)
			return
		case h.vifs[i].wired == nil:
			e.step(false, "interface %s of host %s is not wired: %s", h.vifs[i].iface.Name, holder, h.vifs[i].reason)
			return
		case !h.connected() || h.lastError != "":
			e.step(false, "host %s is not in its wanted state: %s", holder, cmp.Or(h.lastError, h.waiting))
			return
		}
		if t := h.punts.Load(); t != nil {
			if was, ok := t.byPort[port.ID]; ok {
				from, link = was, h.links[flows.BrInt]
			}
		}
		e.step(true, "wired on host %s as interface %s, port %d of br-int", holder, h.vifs[i].iface.Name, h.vifs[i].iface.OFPort)
	})
	return from, link, err
}

// explainExchanges tells what the port asked, and what was not looked at because it asked too often.
func (c *Controller) explainExchanges(ctx context.Context, e *explanation, from puntPort, l *link) error {
	for _, x := range e.Exchanges {
		e.step(x.Decision != "silence" || x.Request == dhcp.Release.String(), "%s at %s: %s, because %s", x.Request, x.At.Format(time.DateTime), x.Decision, x.Reason)
	}
	if n := from.asker.limited.Load(); n > 0 {
		e.step(false, "%d packets of the port were not looked at: it sent more than %d a second", n, c.o.PuntRate)
	}
	err := l.conn.DumpMeterCounters(ctx, func(m *openflow.MeterCounters) error {
		if m.ID == from.port.Key {
			for _, b := range m.Bands {
				if b.Packets > 0 {
					e.step(false, "%d packets of the port were dropped by its meter in the switch: it sent more than %d a second", b.Packets, c.o.PuntRate)
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("meters: %w", err)
	}
	return nil
}

func leaseText(d time.Duration) string {
	if d < 0 {
		return "for ever"
	}
	return fmt.Sprintf("for %d s", leaseSeconds(d))
}
