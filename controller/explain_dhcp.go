package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// dhcp follows a request from the port to its answer.
func (e *explanation) dhcp(ctx context.Context) error {
	server := e.c.leases()
	if server == nil {
		return errors.New("explain dhcp: this controller has no DHCP server")
	}
	port, ok := e.snap.Port(uuid.MustParse(e.Object.ID))
	if !ok {
		return fmt.Errorf("port %s: %w", e.Object.ID, errUnknownObject)
	}
	_, h, err := e.wiring(ctx, port)
	if err != nil || h == nil {
		return err
	}
	var from puntPort
	var l *link
	err = h.ask(ctx, func() {
		if t := h.punts.Load(); t != nil {
			from, l = t.byPort[port.ID], h.links[flows.BrInt]
		}
	})
	if err != nil || l == nil || from.port == nil {
		return err
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
	return e.exchanges(ctx, &from, l)
}

// exchanges tells what the port asked, and what was not looked at because it asked too often.
func (e *explanation) exchanges(ctx context.Context, from *puntPort, l *link) error {
	for _, x := range e.Exchanges {
		e.stepAt(x.At, x.Decision != "silence" || x.Request == dhcp.Release.String(), "%s: %s, because %s", x.Request, x.Decision, x.Reason)
	}
	if n := from.asker.limited.Load(); n > 0 {
		e.step(false, "%d packets of the port were not looked at: it sent more than %d a second", n, e.c.o.PuntRate)
	}
	err := l.conn.DumpMeterCounters(ctx, func(m *openflow.MeterCounters) error {
		if m.ID == from.port.Key {
			for _, b := range m.Bands {
				if b.Packets > 0 {
					e.step(false, "%d packets of the port were dropped by its meter in the switch: it sent more than %d a second", b.Packets, e.c.o.PuntRate)
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
