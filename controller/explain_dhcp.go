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
	_, from, l, err := e.asker(ctx)
	if err != nil || l == nil {
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
			from.asker.since.Format(time.DateTime), from.port.MACAddress)
	}
	for _, x := range e.Exchanges {
		e.stepAt(x.At, x.Decision != "silence" || x.Request == dhcp.Release.String(), "%s: %s, because %s", x.Request, x.Decision, x.Reason)
	}
	return e.limits(ctx, &from, l)
}

// asker finds the VIF of the port with its host's view, and br-int's connection; nil if there is none, and
// the steps say why.
func (e *explanation) asker(ctx context.Context) (view *flows.View, from puntPort, l *link, err error) {
	port, ok := e.snap.Port(uuid.MustParse(e.Object.ID))
	if !ok {
		return nil, from, nil, fmt.Errorf("port %s: %w", e.Object.ID, errUnknownObject)
	}
	_, h, err := e.wiring(ctx, port)
	if err != nil || h == nil {
		return nil, from, nil, err
	}
	err = h.ask(ctx, func() {
		if t := h.punts.Load(); t != nil && t.byPort[port.ID].port != nil {
			view, from, l = t.view, t.byPort[port.ID], h.links[flows.BrInt]
		}
	})
	return view, from, l, err
}

// limits tells what of the port was not looked at because it asked too often.
func (e *explanation) limits(ctx context.Context, from *puntPort, l *link) error {
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
