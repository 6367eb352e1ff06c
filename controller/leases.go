package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
)

// leases is the DHCP server; nil if there is none.
func (c *Controller) leases() *dhcp.Server {
	s, _ := c.o.Handlers[flows.OpDHCPv4].(*dhcp.Server)
	return s
}

// inspectLeases tells what each wired port gets, or one does.
func (c *Controller) inspectLeases(ctx context.Context, name string) ([]inspect.Lease, error) {
	only := ""
	if name != "" {
		port, err := c.one(ctx, c.o.Store.Snapshot(), inspect.KindPort, name)
		if err != nil {
			return nil, err
		}
		only = port.ID
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
			if only == "" || only == id.String() {
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

func leaseText(d time.Duration) string {
	if d < 0 {
		return "for ever"
	}
	return fmt.Sprintf("for %d s", leaseSeconds(d))
}
