package l2pop

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// tunnel is how an overlay network's frames travel from this host; the zero tunnel is no way.
type tunnel struct {
	networkType string
	key         uint32 // VNI or GRE key
	port        uint32 // on br-tun
	ipv6        bool   // the underlay's version of IP
}

// tunnelOf is the network's tunnel, zero if it is no overlay or the host has no tunnel port for it.
func tunnelOf(n *flows.Network, u underlay) tunnel {
	port := u.ports.Tunnel(n.Segment.NetworkType)
	if port == 0 {
		return tunnel{}
	}
	return tunnel{n.Segment.NetworkType, n.Segment.SegmentationID, port, u.ipv6}
}

// reaches says whether the other end of such a tunnel may be on h: on the same underlay, and of that kind.
func (t tunnel) reaches(h *model.Host) bool {
	return t.port != 0 && h.EncapIP.IsValid() && h.EncapIP.Is6() == t.ipv6 && slices.Contains(h.EncapTypes, t.networkType)
}

// src and dst are the addresses of a frame's tunnel.
func (t tunnel) src() of.Field {
	if t.ipv6 {
		return of.TunIPv6Src
	}
	return of.TunSrc
}

func (t tunnel) dst() of.Field {
	if t.ipv6 {
		return of.TunIPv6Dst
	}
	return of.TunDst
}

// enter takes off the local VLAN and says which network it was: what begins each way into a tunnel.
func (t tunnel) enter() []of.Action {
	return []of.Action{of.PopVLAN{}, of.SetField{FieldValue: of.TunID.Is(uint64(t.key))}}
}

// to appends what sends the frame to a host.
func (t tunnel) to(actions []of.Action, host netip.Addr) []of.Action {
	return append(actions, of.SetField{FieldValue: t.dst().Addr(host)}, of.Output{Port: t.port})
}

// overlay emits an overlay network's part of br-tun: its key to local VLAN and back, and its hosts.
func overlay(e *flows.Emitter, n *flows.Network, t tunnel, patchInt uint32) {
	members, open := hosts(n, t)
	tag := of.VlanVID.Is(of.VIDPresent | uint64(n.LocalVLAN))
	arrive := []of.Action{of.PushVLAN{EtherType: of.EthTypeVLAN}, of.SetField{FieldValue: tag}}
	fromKey := of.MustMatch(of.TunID.Is(uint64(t.key)))
	const reason = "provider:segmentation_id of the network"
	if len(open) == 0 {
		e.Flow(flows.Arrivals[t.networkType], 100, fromKey, of.Apply(append(arrive, of.Output{Port: patchInt})...), reason)
	} else {
		e.Flow(flows.Arrivals[t.networkType], 100, fromKey, of.ApplyGoto(flows.TunLearn.Number, arrive...), reason)
		e.Flow(flows.TunLearn, 100, of.MustMatch(tag), of.Apply(learn(e, t), of.Output{Port: patchInt}), "a port elsewhere has no port_security_enabled")
		unknown(e, n.LocalVLAN, tag, t, open)
	}

	flood := flood(e, flows.FloodGroup(n.LocalVLAN), t, members)
	e.Flow(flows.TunFlood, 100, of.MustMatch(tag), of.Apply(append(t.enter(), of.Group{ID: flood})...), "hosts with a port of the network")
	pairMACs(e, n, tag, t, flood)
}

// hosts are the addresses of the other hosts with a member of the network, and of those of them with a
// port without port security; ascending.
func hosts(n *flows.Network, t tunnel) (members, open []netip.Addr) {
	all, some := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	add := func(h *model.Host, p *model.Port) {
		if h != nil && t.reaches(h) {
			all[h.EncapIP] = true
			if !p.PortSecurityEnabled {
				some[h.EncapIP] = true
			}
		}
	}
	for _, p := range n.Remote {
		add(p.Host, p.Port)
		add(p.Also, p.Port)
	}
	for _, p := range n.Local {
		add(p.Also, p.Port)
	}
	return slices.SortedFunc(maps.Keys(all), netip.Addr.Compare), slices.SortedFunc(maps.Keys(some), netip.Addr.Compare)
}

// flood wants a group with a bucket for each host.
func flood(e *flows.Emitter, group uint32, t tunnel, hosts []netip.Addr) uint32 {
	f := e.Flood(flows.BrTun, group, len(hosts))
	for i, id := range bucketIDs(hosts) {
		e.Member(f, id, of.MustActions(t.to(nil, hosts[i])...))
	}
	return f.Group
}

// maxBucketID is the largest that Open vSwitch takes. No host's IPv4 address is above.
const maxBucketID = 0xffffff00

// bucketIDs are the ids of the buckets of hosts. An IPv4 address is its own. An IPv6 address has 32 bits
// of its hash (FNV-1a); where that is too large or a lower address of the set has it, the next number
// that is free. With 1,000 hosts that happens to one set in 8,000, and costs it a bucket more to change.
func bucketIDs(hosts []netip.Addr) []uint32 {
	ids, taken := make([]uint32, len(hosts)), make(map[uint32]bool, len(hosts))
	for i, addr := range hosts {
		var id uint32
		if b := addr.AsSlice(); addr.Is4() {
			id = binary.BigEndian.Uint32(b)
		} else {
			h := fnv.New32a()
			h.Write(b)
			id = h.Sum32()
		}
		for id > maxBucketID || taken[id] {
			if id++; id > maxBucketID {
				id = 0
			}
		}
		ids[i], taken[id] = id, true
	}
	return ids
}

// pairMACs emits the way to the MACs of allowed_address_pairs: to the hosts of all that may use them.
// Those of very many go the way of broadcast.
func pairMACs(e *flows.Emitter, n *flows.Network, tag of.FieldValue, t tunnel, flood uint32) {
	for mac, holders := range n.PairMACs() {
		var hosts []*model.Host
		for _, p := range holders.Remote {
			hosts = p.Hosts(hosts)
		}
		for _, p := range holders.Local {
			if p.Also != nil {
				hosts = append(hosts, p.Also)
			}
		}
		to := t.addrs(hosts)
		match := of.MustMatch(tag, of.EthDst.MAC(of.MAC(mac)))
		switch {
		case len(to) > flows.MaxHolders:
			e.Flow(flows.TunUnicast, 100, match, of.Apply(append(t.enter(), of.Group{ID: flood})...), "mac_address of very many allowed_address_pairs: to all hosts with a member")
		case len(to) > 0:
			actions := t.enter()
			for _, addr := range to {
				actions = t.to(actions, addr)
			}
			e.Flow(flows.TunUnicast, 100, match, of.Apply(actions...), "mac_address of allowed_address_pairs: to the hosts of all its holders")
		}
	}
}

// unicast emits the way to the MAC address of a port elsewhere: to each host where it may be.
func unicast(e *flows.Emitter, p *model.Port, localVLAN uint16, t tunnel, hosts ...*model.Host) {
	to := t.addrs(hosts)
	if len(to) == 0 {
		return
	}
	actions, reason := t.enter(), "mac_address and binding:host_id of the port"
	for _, addr := range to {
		actions = t.to(actions, addr)
	}
	if len(to) > 1 {
		reason = "mac_address of the port, which migrates: to both ends"
	}
	e.Flow(flows.TunUnicast, 100, of.MustMatch(of.VlanVID.Is(of.VIDPresent|uint64(localVLAN)), of.EthDst.MAC(of.MAC(p.MACAddress))), of.Apply(actions...), reason)
}

// addrs are the tunnel addresses of those hosts that can be reached, each once.
func (t tunnel) addrs(hosts []*model.Host) (to []netip.Addr) {
	for _, h := range hosts {
		if t.reaches(h) && !slices.Contains(to, h.EncapIP) {
			to = append(to, h.EncapIP)
		}
	}
	return to
}
