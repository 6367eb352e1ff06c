package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
)

// host tells how a host is connected, what it carries, and what is wrong with that.
func (e *explanation) host(ctx context.Context) error {
	row, ok := e.snap.Host(e.Object.ID)
	if !ok {
		return fmt.Errorf("host %s: %w", e.Object.ID, errUnknownHost)
	}
	encap := "no address for tunnels"
	if row.EncapIP.IsValid() {
		encap = "tunnels at " + row.EncapIP.String()
		if row.EncapIPGuessed {
			encap += " (guessed: the address it dialled from)"
		}
	}
	e.stepAt(row.EnrolledAt, true, "enrolled with system-id %s, %s", row.ID, encap)
	h, err := e.sessions(ctx, row)
	if err != nil {
		return err
	}
	if h == nil {
		e.active(e.portsOn(row), "bound to host "+row.Hostname)
		return nil
	}
	var repairs []repair
	err = h.ask(ctx, func() {
		repairs = slices.Clone(h.history.repairs)
		e.step(true, "datapath type %s (%s), Open vSwitch %s", h.datapath, h.note, cmp.Or(h.session.Mirror().OpenVSwitch.OVSVersion, "of unknown version"))
		for _, physical := range slices.Sorted(maps.Keys(row.BridgeMappings)) {
			e.mapping(h, row, physical)
		}
		for i := range h.vifs {
			if v := &h.vifs[i]; v.wired == nil {
				e.step(false, "Interface %s is not wired: %s", v.iface.Name, v.reason)
			}
		}
		if h.restarts > 0 {
			e.step(true, "its switch was restarted %d times since it connected, and written again", h.restarts)
		}
	})
	if err != nil {
		return err
	}
	ports := e.portsOn(row)
	e.active(ports, "bound to host "+row.Hostname)
	state, err := e.c.compare(ctx, row.ID)
	switch {
	case errors.Is(err, errAway): // said already
	case err != nil:
		return err
	default:
		e.differs(row, state)
		e.spoofers(state, ports)
	}
	e.tunnels(h, row.Hostname, "", nil)
	e.repairs(row.Hostname, repairs, "")
	return nil
}

// mapping tells of the bridge that a physical network is mapped to, in the host's loop.
func (e *explanation) mapping(h *host, row *model.Host, physical string) {
	ports, _ := portsMade(row, h.session.Mirror())
	bridge := row.BridgeMappings[physical]
	switch {
	case h.session.Mirror().Bridge(bridge) == nil:
		e.step(false, "wrong provider mapping: host %s has no bridge %s, to which %s maps physical network %s", row.Hostname, bridge, keyBridgeMappings, physical)
	case ports.uplinks[physical] == 0:
		e.step(false, "wrong provider mapping: bridge %s of physical network %s on host %s is not of br-int's datapath type, %s", bridge, physical, row.Hostname, h.datapath)
	default:
		e.step(true, "physical network %s is bridge %s of host %s, behind port %d of br-int", physical, bridge, row.Hostname, ports.uplinks[physical])
	}
}

// portsOn are the ports that should be on a host.
func (e *explanation) portsOn(row *model.Host) (ports []*model.Port) {
	for p := range e.snap.PortsOn(row.Hostname) {
		ports = append(ports, p)
	}
	for c := range e.snap.ClaimsOn(row.Hostname) {
		if p, ok := e.snap.Port(c.PortID); ok && p.HostID == "" {
			ports = append(ports, p)
		}
	}
	return ports
}

// active tells how many of some ports are ACTIVE, and what keeps the first of the others from it.
func (e *explanation) active(ports []*model.Port, which string) {
	var down []string
	count := 0
	for _, p := range ports {
		if p.DeviceOwner == model.OwnerDHCP {
			continue
		}
		if count++; e.trouble(p) != "" {
			down = append(down, fmt.Sprintf("%s is DOWN: %s", portName(p), e.trouble(p)))
		}
	}
	e.step(true, "%d of %d ports %s are ACTIVE", count-len(down), count, which)
	for i, text := range down {
		if i == mostListed {
			e.step(false, "… and %d more", len(down)-i)
			break
		}
		e.step(false, "%s", text)
	}
}

// differs tells how installed differs from wanted.
func (e *explanation) differs(row *model.Host, state *comparison) {
	text := state.plan.String()
	count := 0
	for line := range strings.Lines(text) {
		if count++; count <= mostListed {
			e.step(false, "host %s differs from what is wanted: %s", row.Hostname, strings.TrimSpace(line))
		}
	}
	if count > mostListed {
		e.step(false, "… and %d more", count-mostListed)
	}
	if count == 0 {
		e.step(true, "all %d flows of br-int and %d of br-tun are installed", state.fresh.Len(flows.BrInt), state.fresh.Len(flows.BrTun))
	}
}

// network tells where a network is, and what is wrong with it.
func (e *explanation) network(ctx context.Context) error {
	n, ports, err := e.networkPorts()
	if err != nil {
		return err
	}
	s := n.Segment
	e.stepAt(n.CreatedAt, true, "created as %s network%s, mtu %d", s.NetworkType, segmentText(s), n.MTU)
	if !n.AdminStateUp {
		e.stepAt(n.UpdatedAt, false, "the network's admin_state_up is false")
	}
	for sub := range e.snap.SubnetsOf(n.ID) {
		dhcp := "without DHCP"
		if sub.EnableDHCP {
			dhcp = "with DHCP"
		}
		e.stepAt(sub.CreatedAt, true, "subnet %s (%s): %s, gateway %s, %s", cmp.Or(inspect.Called(sub.Name), "without a name"), sub.ID, sub.CIDR, gateway(sub), dhcp)
	}
	if p, ok := e.snap.DHCPPort(n.ID); ok {
		e.step(true, "DHCP is answered on every host from %s", portName(p))
	}
	byHost := map[string][]*model.Port{}
	var nowhere []*model.Port
	for _, p := range ports {
		if holder := e.snap.Holder(p); holder != "" {
			byHost[holder] = append(byHost[holder], p)
		} else {
			nowhere = append(nowhere, p)
		}
	}
	if len(nowhere) > 0 {
		e.step(true, "%d ports are not bound to a host", len(nowhere))
	}
	hosts := map[string]bool{}
	for name := range byHost {
		hosts[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(byHost)) {
		if err := e.memberHost(ctx, n, name, byHost[name], hosts); err != nil {
			return err
		}
	}
	return nil
}

func (e *explanation) networkPorts() (*model.Network, []*model.Port, error) {
	id, err := model.ParseUUID(e.Object.ID)
	if err != nil {
		return nil, nil, err
	}
	n, ok := e.snap.Network(id)
	if !ok {
		return nil, nil, fmt.Errorf("network %s: %w", id, errUnknownObject)
	}
	var ports []*model.Port
	for p := range e.snap.PortsOf(id) {
		if p.DeviceOwner != model.OwnerDHCP {
			ports = append(ports, p)
		}
	}
	return n, ports, nil
}

func segmentText(s model.Segment) string {
	text := ""
	if s.SegmentationID != 0 {
		text = fmt.Sprintf(" %d", s.SegmentationID)
	}
	if s.PhysicalNetwork != "" {
		text += " of physical network " + s.PhysicalNetwork
	}
	return text
}

func gateway(s *model.Subnet) string {
	if s.GatewayIP.IsValid() {
		return s.GatewayIP.String()
	}
	return "none"
}

// memberHost tells of a network on one of the hosts that it has ports on.
func (e *explanation) memberHost(ctx context.Context, n *model.Network, name string, ports []*model.Port, others map[string]bool) error {
	row, enrolled := e.snap.HostByName(name)
	if !enrolled {
		e.step(false, "%d ports are bound to host %s, which is not enrolled: on that host, ovs-vsctl set-manager names this controller", len(ports), name)
		return nil
	}
	if err := row.Reaches(n); err != nil {
		e.step(false, "%s", err)
	}
	h := e.c.loop(row.ID)
	if h == nil {
		e.step(false, "host %s, with %d ports, is not connected", name, len(ports))
		return nil
	}
	vlan := uint16(0)
	if err := h.ask(ctx, func() { vlan = h.vlans.byNetwork[n.ID] }); err != nil {
		return err
	}
	which := "on host " + name
	if vlan != 0 {
		which += fmt.Sprintf(" (local VLAN %d)", vlan)
	}
	e.active(ports, which)
	if n.Segment.Overlay() {
		peers := maps.Clone(others)
		delete(peers, name)
		e.tunnels(h, name, n.Segment.NetworkType, peers)
	}
	return nil
}
