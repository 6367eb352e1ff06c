package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// mostListed is how many things of a kind a story names one by one.
const mostListed = 5

// port tells how a port came to its switch, and whether it works there.
func (e *explanation) port(ctx context.Context) error {
	id := uuid.MustParse(e.Object.ID)
	p, ok := e.snap.Port(id)
	if !ok {
		return fmt.Errorf("port %s: %w", id, errUnknownObject)
	}
	row, h, err := e.wiring(ctx, p)
	if err != nil || h == nil {
		return err
	}
	if status, ok := e.snap.PortStatus(id, row.Hostname); ok && status.Status == model.StatusActive {
		at := time.Time{}
		if err := h.ask(ctx, func() {
			if s := h.history.vifs[id]; s != nil {
				at = s.active
			}
		}); err != nil {
			return err
		}
		e.stepAt(at, true, "the port is ACTIVE")
	} else {
		e.step(false, "the port is DOWN: %s", cmp.Or(statusReason(status), "the controller has not said otherwise yet"))
	}
	if err := e.installed(ctx, h, row, p); err != nil {
		return err
	}
	if err := e.elsewhere(ctx, h, p); err != nil {
		return err
	}
	n, _ := e.snap.Network(p.NetworkID)
	if n.Segment.Overlay() {
		peers := map[string]bool{}
		for other := range e.snap.PortsOf(n.ID) {
			peers[e.snap.Holder(other)] = true
		}
		delete(peers, row.Hostname)
		e.tunnels(h, row.Hostname, n.Segment.NetworkType, peers)
	}
	var repairs []repair
	if err := h.ask(ctx, func() { repairs = slices.Clone(h.history.repairs) }); err != nil {
		return err
	}
	e.repairs(row.Hostname, repairs, e.Object.ID)
	return nil
}

func statusReason(s *model.PortStatus) string {
	if s == nil {
		return ""
	}
	return s.Reason
}

// wiring tells how a port gets to the switch of its host. h is nil if it does not.
func (e *explanation) wiring(ctx context.Context, p *model.Port) (row *model.Host, h *host, err error) {
	n, ok := e.snap.Network(p.NetworkID)
	if !ok {
		return nil, nil, fmt.Errorf("network %s: %w", p.NetworkID, errUnknownObject)
	}
	var addresses []string
	for _, ip := range p.FixedIPs {
		addresses = append(addresses, ip.IPAddress.String())
	}
	e.stepAt(p.CreatedAt, true, "created on %s network %s, MAC %s, addresses %s", n.Segment.NetworkType, e.networkName(n.ID), p.MACAddress,
		cmp.Or(strings.Join(addresses, ", "), "none"))
	if p.DeviceOwner == model.OwnerDHCP {
		e.step(e.Subject != "dhcp", "this is the port from which DHCP is answered, on every host: it has no VIF")
		return nil, nil, nil
	}
	if !p.AdminStateUp {
		e.stepAt(p.UpdatedAt, false, "the port's admin_state_up is false")
	}
	if !n.AdminStateUp {
		e.stepAt(n.UpdatedAt, false, "the network's admin_state_up is false")
	}
	if row = e.bound(p, n); row == nil {
		return nil, nil, nil
	}
	if h, err = e.sessions(ctx, row); err != nil || h == nil {
		return row, nil, err
	}
	plugged := false
	err = h.ask(ctx, func() {
		if physical := n.Segment.PhysicalNetwork; row.BridgeMappings[physical] != "" {
			e.mapping(h, row, physical)
		}
		plugged = e.plugged(h, row.Hostname, p)
	})
	if err != nil || !plugged {
		h = nil
	}
	return row, h, err
}

// bound tells on which host the port should be; nil if on none that is known.
func (e *explanation) bound(p *model.Port, n *model.Network) *model.Host {
	holders := e.snap.Holders(nil, p)
	switch {
	case len(holders) == 0 && e.c.o.ClaimUnbound:
		e.step(false, "the port is not bound, and no Interface on any host's br-int has iface-id %s", p.ID)
		return nil
	case len(holders) == 0:
		e.step(false, "the port is not bound: set its binding:host_id to the name of its host")
		return nil
	}
	row, enrolled := e.snap.HostByName(holders[0])
	if !enrolled {
		e.step(false, "the port is bound to host %s, which is not enrolled: on that host, ovs-vsctl set-manager names this controller", holders[0])
		return nil
	}
	if p.HostID == "" {
		e.step(true, "not bound by the API: claimed by host %s, whose VIF came first", row.Hostname)
	} else {
		at := p.CreatedAt
		if p.RevisionNumber > 1 {
			at = time.Time{} // one of the changes since
		}
		e.stepAt(at, true, "bound to host %s", row.Hostname)
	}
	if len(holders) > 1 {
		e.step(true, "it migrates: its VIF may also be on host %s", strings.Join(holders[1:], ", "))
	}
	if err := row.Reaches(n); err != nil {
		e.step(false, "%s", err)
	}
	return row
}

// plugged tells of the port's VIF on a host, in the host's loop.
func (e *explanation) plugged(h *host, on string, p *model.Port) bool {
	i := slices.IndexFunc(h.vifs, func(v vif) bool { return v.id == p.ID })
	if i < 0 {
		for j := range h.vifs {
			if v := &h.vifs[j]; v.wired == nil && (v.iface.ExternalIDs["attached-mac"] == p.MACAddress.String() || v.iface.Name == deviceOf(p.ID)) {
				return e.step(false, "wrong iface-id: Interface %s on %s is this port's by its MAC or name, but has iface-id %s, not %s",
					v.iface.Name, on, v.iface.ExternalIDs["iface-id"], p.ID)
			}
		}
		return e.step(false, "VIF not plugged: no Interface on %s has iface-id %s", on, p.ID)
	}
	for j := i + 1; j < len(h.vifs); j++ {
		if h.vifs[j].id == p.ID && h.vifs[j].wired != nil {
			i = j
		}
	}
	v, s := &h.vifs[i], h.history.vifs[p.ID]
	if s == nil {
		s = &steps{}
	}
	e.stepAt(s.seen, true, "VIF seen: Interface %s on %s, ofport %d", v.iface.Name, on, v.iface.OFPort)
	if v.wired == nil {
		return e.step(false, "Interface %s of host %s is not wired: %s", v.iface.Name, on, cmp.Or(v.reason, "the host's loop has not looked at it yet"))
	}
	e.stepAt(s.wired, true, "wired on host %s as interface %s, local VLAN %d", on, v.iface.Name, h.vlans.byNetwork[p.NetworkID])
	switch {
	case s.acknowledged.IsZero():
		return e.step(false, "the flows of the port on host %s are not acknowledged: %s", on, cmp.Or(h.lastError, h.waiting, "the host's loop is at it"))
	case s.sent.IsZero():
		e.stepAt(s.acknowledged, true, "the switches of host %s had the flows already", on)
	default:
		e.stepAt(s.sent, true, "flows sent to br-tun and br-int of host %s", on)
		e.stepAt(s.acknowledged, true, "flows acknowledged by both, after %s", s.acknowledged.Sub(s.sent).Round(10*time.Microsecond))
	}
	return true
}

// deviceOf is what Nova and os-vif call a port's VIF.
func deviceOf(id uuid.UUID) string { return "tap" + id.String()[:11] }

// installed reads the switches of the port's host now: whether what is wanted for the port is there, and
// whether its guest sends what it may not.
func (e *explanation) installed(ctx context.Context, h *host, row *model.Host, p *model.Port) error {
	state, err := e.c.compare(ctx, row.ID)
	if errors.Is(err, errAway) {
		e.step(false, "the flows of host %s cannot be read: %s", row.Hostname, err)
		return nil
	}
	if err != nil {
		return err
	}
	object, count := flows.Object{Kind: flows.KindPort, ID: p.ID}, 0
	for _, b := range flows.Bridges {
		for f, others := range state.fresh.Wanted(b) {
			if f.Object == object || slices.ContainsFunc(others, func(o *flows.Flow) bool { return o.Object == object }) {
				count++
			}
		}
	}
	differs := state.of(object)
	for i, line := range differs {
		if i == mostListed {
			e.step(false, "… and %d more", len(differs)-i)
			break
		}
		e.step(false, "host %s differs from what is wanted: %s", row.Hostname, line)
	}
	if len(differs) == 0 {
		e.step(true, "all %d flows that host %s is to have for it are installed", count, row.Hostname)
	}
	if p.PortSecurityEnabled {
		e.spoofing(state, p)
	}
	return nil
}

// elsewhere tells which other hosts know of the port.
func (e *explanation) elsewhere(ctx context.Context, at *host, p *model.Port) error {
	object := flows.Object{Kind: flows.KindPort, ID: p.ID}
	var told []string
	others := 0
	for _, h := range e.c.watching(p.NetworkID) {
		if h == at {
			continue
		}
		if others++; others > mostListed {
			continue
		}
		err := h.ask(ctx, func() {
			count := 0
			for _, b := range flows.Bridges {
				for f := range h.compiler.Wanted(b) {
					if f.Object == object {
						count++
					}
				}
			}
			told = append(told, fmt.Sprintf("%s (%d flows)", h.row.Hostname, count))
		})
		if err != nil && !errors.Is(err, errAway) {
			return err
		}
	}
	slices.Sort(told)
	switch {
	case others > len(told):
		e.step(true, "known to %d other hosts with ports of the network, %s among them", others, strings.Join(told, ", "))
	case others > 0:
		e.step(true, "known to the other hosts with ports of the network: %s", strings.Join(told, ", "))
	}
	return nil
}

// trouble says in words why a port does not work, as far as the store knows; "": it does, or is not meant to.
func (e *explanation) trouble(p *model.Port) string {
	if p.DeviceOwner == model.OwnerDHCP {
		return ""
	}
	holder := e.snap.Holder(p)
	status, _ := e.snap.PortStatus(p.ID, holder)
	switch {
	case holder == "":
		return "it is not bound"
	case status != nil && status.Status == model.StatusActive:
		return ""
	}
	return cmp.Or(statusReason(status), "its VIF was not seen on host "+holder)
}

// of lists the differences that concern an object.
func (s *comparison) of(object flows.Object) (lines []string) {
	_, _, prefix := flows.CookieParts(object.Cookie(0))
	for b := range s.plan {
		for _, f := range s.plan[b].AddFlows {
			if f.Object == object {
				lines = append(lines, fmt.Sprintf("%s: + %s", flows.Bridge(b), f))
			}
		}
		for _, f := range s.plan[b].DeleteFlows {
			if _, kind, p := flows.CookieParts(f.Cookie()); kind == object.Kind && p == prefix {
				lines = append(lines, fmt.Sprintf("%s: - %s", flows.Bridge(b), f))
			}
		}
	}
	return lines
}
