package store

import (
	"iter"
	"net/netip"
	"net/url"

	"github.com/google/uuid"
	radix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/tunbridge/tunbridge/api/model"
)

// Tables are the rows of a [Snapshot], or those that a [Tx] sees: its snapshot with its own writes.
// Rows are shared and must not be changed; a row that did not change is the same pointer in the
// next snapshot. Lists may be left early and, in a Tx, survive writes made while they run: they
// list what was there when they began.
//
// Inside a Tx the commit depends on what was found by key, on PortByMAC, PortByIP and DHCPPort, and
// on SubnetsOf and PortsOf with all they listed: if another commit changes that, the function runs
// again. The other lists and the Taken methods are not watched over.
type Tables struct {
	state *state
	reads *reads // nil in a Snapshot
}

func get[T any](t *Tables, n tableNumber, key string) (*T, bool) {
	if t.reads != nil {
		t.reads.note(n, key)
	}
	return value[T](t.state.row(n, key))
}

func unique[T any](t *Tables, key string) (*T, bool) {
	r, ok := t.state.holder(key)
	if t.reads != nil {
		t.reads.noteUnique(key)
		if ok {
			t.reads.note(r.table.number, r.key)
		}
	}
	return value[T](r, ok)
}

func value[T any](r *row, ok bool) (*T, bool) {
	if !ok {
		return nil, false
	}
	return r.value.(*T), true
}

func list[T any](tree *radix.Tree[*row], prefix string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		it := tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, r, ok := it.Next(); ok; _, r, ok = it.Next() {
			if !yield(r.value.(*T)) {
				return
			}
		}
	}
}

// listUnique lists the rows with a unique key under the prefix.
func listUnique[T any](t *Tables, prefix string) iter.Seq[*T] {
	if t.reads == nil {
		return list[T](t.state.unique, prefix)
	}
	tree := t.state.unique
	return func(yield func(*T) bool) {
		t.reads.prefixes[uniqRoot+prefix] = struct{}{}
		it := tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, r, ok := it.Next(); ok; _, r, ok = it.Next() {
			t.reads.note(r.table.number, r.key)
			if !yield(r.value.(*T)) {
				return
			}
		}
	}
}

// Network finds a network by its id.
func (t *Tables) Network(id uuid.UUID) (*model.Network, bool) {
	return get[model.Network](t, networks, id.String())
}

// Subnet finds a subnet by its id.
func (t *Tables) Subnet(id uuid.UUID) (*model.Subnet, bool) {
	return get[model.Subnet](t, subnets, id.String())
}

// Port finds a port by its id.
func (t *Tables) Port(id uuid.UUID) (*model.Port, bool) {
	return get[model.Port](t, ports, id.String())
}

// Host finds a host by its system-id.
func (t *Tables) Host(systemID string) (*model.Host, bool) {
	return get[model.Host](t, hosts, url.PathEscape(systemID))
}

// HostByName finds a host by what binding:host_id calls it.
func (t *Tables) HostByName(hostname string) (*model.Host, bool) {
	return unique[model.Host](t, hostnameKey(hostname))
}

// Claim finds which host claims a port that has no binding:host_id.
func (t *Tables) Claim(port uuid.UUID) (*model.Claim, bool) {
	return get[model.Claim](t, claims, port.String())
}

// PortStatus finds what a live controller saw of a port on a host.
func (t *Tables) PortStatus(port uuid.UUID, hostname string) (*model.PortStatus, bool) {
	return get[model.PortStatus](t, portStatuses, onHost(port, hostname))
}

// HostStatus finds what a live controller sees of a host, by its system-id.
func (t *Tables) HostStatus(systemID string) (*model.HostStatus, bool) {
	return get[model.HostStatus](t, hostStatuses, url.PathEscape(systemID))
}

// Networks lists all networks in the order of their ids.
func (t *Tables) Networks() iter.Seq[*model.Network] {
	return list[model.Network](t.state.rows[networks], "")
}

// Subnets lists all subnets in the order of their ids.
func (t *Tables) Subnets() iter.Seq[*model.Subnet] {
	return list[model.Subnet](t.state.rows[subnets], "")
}

// Ports lists all ports in the order of their ids.
func (t *Tables) Ports() iter.Seq[*model.Port] { return list[model.Port](t.state.rows[ports], "") }

// Hosts lists all hosts in the order of their system-ids.
func (t *Tables) Hosts() iter.Seq[*model.Host] { return list[model.Host](t.state.rows[hosts], "") }

// SubnetsOf lists the subnets of a network in the order of their CIDRs' text.
func (t *Tables) SubnetsOf(network uuid.UUID) iter.Seq[*model.Subnet] {
	return listUnique[model.Subnet](t, cidrPrefix(network))
}

// PortsOf lists the ports of a network in the order of their MACs.
func (t *Tables) PortsOf(network uuid.UUID) iter.Seq[*model.Port] {
	return listUnique[model.Port](t, macPrefix(network))
}

// PortsOn lists the ports whose binding:host_id is the hostname.
func (t *Tables) PortsOn(hostname string) iter.Seq[*model.Port] {
	return list[model.Port](t.state.index, portsOnPrefix(hostname))
}

// PortsOfDevice lists the ports with a device_id.
func (t *Tables) PortsOfDevice(deviceID string) iter.Seq[*model.Port] {
	return list[model.Port](t.state.index, devicePrefix(deviceID))
}

// ClaimsOn lists the claims of the host with the hostname.
func (t *Tables) ClaimsOn(hostname string) iter.Seq[*model.Claim] {
	return list[model.Claim](t.state.index, claimsOnPrefix(hostname))
}

// PortStatusesOn lists what a live controller saw of ports on the host with the hostname.
func (t *Tables) PortStatusesOn(hostname string) iter.Seq[*model.PortStatus] {
	return list[model.PortStatus](t.state.index, statusesOnPrefix(hostname))
}

// PortByMAC finds the port of a network that has the MAC.
func (t *Tables) PortByMAC(network uuid.UUID, mac model.MAC) (*model.Port, bool) {
	return unique[model.Port](t, macKey(network, mac))
}

// PortByIP finds the port that has an address of a subnet.
func (t *Tables) PortByIP(subnet uuid.UUID, ip netip.Addr) (*model.Port, bool) {
	return unique[model.Port](t, addressKey(subnet, ip))
}

// DHCPPort finds the port of a network from which DHCP is answered.
func (t *Tables) DHCPPort(network uuid.UUID) (*model.Port, bool) {
	return unique[model.Port](t, dhcpKey(network))
}

// MACTaken reports whether a port of the network has the MAC. It is for choosing one: nothing of
// the commit depends on it but the Put that takes the MAC.
func (t *Tables) MACTaken(network uuid.UUID, mac model.MAC) bool {
	_, taken := t.state.holder(macKey(network, mac))
	return taken
}

// IPTaken reports whether a port has the address of the subnet; as [Tables.MACTaken].
func (t *Tables) IPTaken(subnet uuid.UUID, ip netip.Addr) bool {
	_, taken := t.state.holder(addressKey(subnet, ip))
	return taken
}

// SegmentTaken reports whether a network has the segment; as [Tables.MACTaken].
func (t *Tables) SegmentTaken(segment model.Segment) bool {
	_, taken := t.state.holder(segmentKey(segment))
	return taken
}

// Snapshot is every table at one revision; it never changes.
type Snapshot struct{ Tables }

// Revision is the store's revision that the snapshot shows.
func (s *Snapshot) Revision() Revision { return s.state.revision }

// NetworkRevision is the revision of the newest change that concerns a network: to its row, its
// subnets, its ports, or the claims of its ports, deletions included. It is 0 when there is no
// such network. After a restart it is at most the revision that was loaded.
func (s *Snapshot) NetworkRevision(network uuid.UUID) Revision {
	revision, _ := s.state.networks.Get([]byte(network.String()))
	return revision
}

// HostsRevision is the revision of the newest change to the hosts.
func (s *Snapshot) HostsRevision() Revision { return s.state.newest[hosts] }

// Changed is closed as soon as there is a newer snapshot in which a table of the kind differs.
func (s *Snapshot) Changed(kind Kind) <-chan struct{} { return s.state.changed[kind] }
