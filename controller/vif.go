package controller

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/ovsdb"
)

// vif is an interface on br-int that names a port.
type vif struct {
	iface  *ovsdb.Interface
	port   *ovsdb.Port
	id     uuid.UUID // the port it names; zero when iface-id is no UUID
	wired  *model.Port
	reason string // why wired is nil
}

// vifsOf lists the interfaces of br-int that name a port. A patch port may: os-vif's per-port bridges
// put the iface-id there.
func vifsOf(m *ovsdb.Mirror, br *ovsdb.Bridge) []vif {
	var vifs []vif
	for p, i := range m.Attached(br) {
		name, ok := i.ExternalIDs["iface-id"]
		if !ok {
			continue
		}
		id, _ := uuid.Parse(name)
		vifs = append(vifs, vif{iface: i, port: p, id: id})
	}
	return vifs
}

// judge decides which VIFs are wired, and says of every other one why not. It returns the ports that
// have no binding and are now to be claimed for this host, which must be able to have them.
func judge(snap *store.Snapshot, vifs []vif, host *model.Host, ports portNumbers, claimUnbound bool) (claims []uuid.UUID) {
	seen := make(map[uuid.UUID]*ovsdb.Interface, len(vifs))
	var holders []string
	for i := range vifs {
		v := &vifs[i]
		v.wired, v.reason = nil, ""
		port, known := snap.Port(v.id)
		switch {
		case v.id == uuid.Nil:
			v.reason = fmt.Sprintf("iface-id %q is not a port ID", v.iface.ExternalIDs["iface-id"])
			continue
		case !known:
			v.reason = "no port has this ID"
			continue
		}
		if first := seen[v.id]; first != nil {
			v.reason = "interface " + first.Name + " names the same port"
			continue
		}
		holders = snap.Holders(holders[:0], port)
		switch {
		case v.iface.Error != "":
			v.reason = "ovs-vswitchd: " + v.iface.Error
		case v.iface.OFPort < 1:
			v.reason = "ovs-vswitchd has not opened the interface yet"
		case len(holders) == 0 && claimUnbound:
			if v.reason = unfit(snap, port.NetworkID, host, ports); v.reason == "" {
				v.reason, claims = "being claimed for this host", append(claims, v.id)
			}
		case len(holders) == 0:
			v.reason = "the port is not bound: set its binding:host_id to " + host.Hostname
		case !slices.Contains(holders, host.Hostname):
			v.reason = "the port is bound to host " + holders[0]
		case !port.AdminStateUp:
			v.reason = "the port's admin_state_up is false"
		default:
			if v.reason = unfit(snap, port.NetworkID, host, ports); v.reason == "" {
				v.wired = port
				seen[v.id] = v.iface
			}
		}
	}
	return claims
}

// unfit says why no port of a network can be wired on the host; "" if it can.
func unfit(snap *store.Snapshot, id uuid.UUID, host *model.Host, ports portNumbers) string {
	network, ok := snap.Network(id)
	switch {
	case !ok:
		return "the port's network is gone"
	case !network.AdminStateUp:
		return "the network's admin_state_up is false"
	}
	if err := host.Reaches(network); err != nil {
		return err.Error()
	}
	if physical := network.Segment.PhysicalNetwork; network.Segment.Provider() && ports.uplinks[physical] == 0 {
		return fmt.Sprintf("bridge %s of physical network %s is not there, or not of br-int's datapath type", host.BridgeMappings[physical], physical)
	}
	return ""
}

// generation tells two VIFs that had the same ofport apart: the interface row is new on each plug.
func (v *vif) generation() uint32 {
	g, _ := strconv.ParseUint(v.iface.UUID[:8], 16, 32)
	return uint32(g)
}
