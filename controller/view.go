package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
)

// viewer builds a host's views. It keeps the last one, so that what did not change is the very same
// pointer in the next.
type viewer struct {
	view     *flows.View
	networks map[uuid.UUID]*networkMemo
	hosts    store.Revision
}

// networkMemo is what one flows.Network was made from.
type networkMemo struct {
	revision, hosts store.Revision
	vlan            uint16
	uplink          uint32 // of its physical network
	wired           []wiredPort
	network         *flows.Network
}

// wiredPort is a VIF as far as flows depend on it.
type wiredPort struct {
	port       uuid.UUID
	ofport     uint32
	generation uint32
}

// build makes the view of host over snap. vifs have been judged; every network they are on has a local
// VLAN. A zero port in ports is one that does not exist.
func (w *viewer) build(snap *store.Snapshot, host *model.Host, ports portNumbers, vifs []vif, vlans *localVLANs) *flows.View {
	wired := make(map[uuid.UUID][]wiredPort)
	for i := range vifs {
		if v := &vifs[i]; v.wired != nil {
			n := v.wired.NetworkID
			wired[n] = append(wired[n], wiredPort{v.id, uint32(v.iface.OFPort), v.generation()})
		}
	}
	view := &flows.View{Host: host, Ports: ports.BridgePorts}
	hosts := snap.HostsRevision()
	if w.view != nil && hosts == w.hosts {
		view.Peers = w.view.Peers
	} else {
		for h := range snap.Hosts() {
			if h.ID != host.ID && h.EncapIP.IsValid() {
				view.Peers = append(view.Peers, h)
			}
		}
		slices.SortFunc(view.Peers, func(a, b *model.Host) int { return cmp.Compare(a.ID, b.ID) })
	}
	memos := make(map[uuid.UUID]*networkMemo, len(wired))
	for id, local := range wired {
		slices.SortFunc(local, func(a, b wiredPort) int { return cmp.Compare(a.ofport, b.ofport) })
		old := w.networks[id]
		network, _ := snap.Network(id) // judge looked: it is there
		memo := &networkMemo{revision: snap.NetworkRevision(id), hosts: hosts, vlan: vlans.byNetwork[id], uplink: ports.uplinks[network.Segment.PhysicalNetwork], wired: local}
		if old != nil && old.revision == memo.revision && old.hosts == memo.hosts && old.vlan == memo.vlan && old.uplink == memo.uplink && slices.Equal(old.wired, local) {
			memo = old
		} else {
			memo.network = networkView(snap, host, network, memo, old)
		}
		memos[id] = memo
		view.Networks = append(view.Networks, memo.network)
	}
	slices.SortFunc(view.Networks, func(a, b *flows.Network) int { return cmp.Compare(a.LocalVLAN, b.LocalVLAN) })
	view.Captures = capturesOn(snap, view, time.Now())
	w.view, w.networks, w.hosts = view, memos, hosts
	return view
}

// networkView makes one network's part. Ports that are as they were in old keep their pointers.
func networkView(snap *store.Snapshot, host *model.Host, network *model.Network, memo, old *networkMemo) *flows.Network {
	n := &flows.Network{Network: network, LocalVLAN: memo.vlan, Uplink: memo.uplink}
	var wasLocal map[uuid.UUID]*flows.LocalPort
	var wasRemote map[uuid.UUID]*flows.RemotePort
	sameHosts := false
	if old != nil {
		wasLocal = make(map[uuid.UUID]*flows.LocalPort, len(old.network.Local))
		for _, p := range old.network.Local {
			wasLocal[p.ID] = p
		}
		wasRemote = make(map[uuid.UUID]*flows.RemotePort, len(old.network.Remote))
		for _, p := range old.network.Remote {
			wasRemote[p.ID] = p
		}
		sameHosts = old.hosts == memo.hosts
		n.Remote = make([]*flows.RemotePort, 0, len(old.network.Remote)+1)
	}
	for s := range snap.SubnetsOf(network.ID) {
		n.Subnets = append(n.Subnets, s)
	}
	migrating := migratingPorts(snap, network.ID)
	for _, w := range memo.wired {
		port, _ := snap.Port(w.port)
		p := &flows.LocalPort{Port: port, Key: w.ofport, OFPort: w.ofport, Generation: w.generation}
		if migrating[w.port] {
			p.Also, _ = elsewhere(snap, host, port)
			p.Awaited = snap.Holder(port) != host.Hostname
		}
		if was := wasLocal[w.port]; was != nil && *was == *p {
			p = was
		}
		n.Local = append(n.Local, p)
	}
	for port := range snap.PortsOf(network.ID) {
		if port.DeviceOwner == model.OwnerDHCP {
			n.DHCP = port
			continue
		}
		p := wasRemote[port.ID]
		if p == nil || p.Port != port || port.HostID == "" || p.Also != nil || migrating[port.ID] || !sameHosts { // where it was is not where it must be
			h, also := elsewhere(snap, host, port)
			if h == nil || !port.AdminStateUp || migrating[port.ID] && memo.has(port.ID) {
				continue
			}
			if p == nil || p.Port != port || p.Host != h || p.Also != also {
				p = &flows.RemotePort{Port: port, Host: h, Also: also}
			}
		}
		n.Remote = append(n.Remote, p)
	}
	slices.SortFunc(n.Remote, func(a, b *flows.RemotePort) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return n
}

// migratingPorts are those of a network's ports that are bound to more than one host; nil mostly.
func migratingPorts(snap *store.Snapshot, network uuid.UUID) (ids map[uuid.UUID]bool) {
	for b := range snap.BindingsIn(network) {
		if b.Left {
			continue
		}
		if ids == nil {
			ids = map[uuid.UUID]bool{}
		}
		ids[b.PortID] = true
	}
	return ids
}

// elsewhere are the other hosts that may have a port's VIF, of those enrolled: one, or two while it
// migrates. Of more, which nobody has use for, the first two.
func elsewhere(snap *store.Snapshot, host *model.Host, port *model.Port) (first, second *model.Host) {
	var few [2]string
	for _, name := range snap.Holders(few[:0], port) {
		h, enrolled := snap.HostByName(name)
		switch {
		case !enrolled || h.ID == host.ID:
		case first == nil:
			first = h
		case second == nil:
			second = h
		}
	}
	return first, second
}

// has says whether a VIF of the network is the port's.
func (m *networkMemo) has(port uuid.UUID) bool {
	return slices.ContainsFunc(m.wired, func(w wiredPort) bool { return w.port == port })
}
