package store

import (
	"net/netip"
	"net/url"
	"strconv"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

type tableNumber int

const (
	networks tableNumber = iota
	subnets
	ports
	subnetPools
	rbacPolicies
	quotas
	agents
	bindings
	hosts
	claims
	captures
	portStatuses
	hostStatuses
	events

	tableCount
)

// tables is every table there is. A new one is a constant, its declaration here and its typed
// methods in reading.go and tx.go.
var tables = [tableCount]*table{
	networks: declare(networks, declaration[model.Network]{
		name: "network",
		kind: Desired,
		key:  func(n *model.Network) string { return n.ID.String() },
		unique: func(n *model.Network) []string {
			if key := segmentKey(n.Segment); key != "" {
				return []string{key}
			}
			return nil
		},
		children: func(n *model.Network) []string {
			return []string{macPrefix(n.ID), cidrPrefix(n.ID), rbacPrefix(n.ID)}
		},
		project: func(n *model.Network) string { return n.ProjectID },
		network: func(_ *edit, n *model.Network) uuid.UUID { return n.ID },
	}),

	subnets: declare(subnets, declaration[model.Subnet]{
		name: "subnet",
		kind: Desired,
		key:  func(s *model.Subnet) string { return s.ID.String() },
		unique: func(s *model.Subnet) []string {
			keys := []string{cidrKey(s.NetworkID, s.CIDR)}
			if s.SubnetPoolID != uuid.Nil {
				keys = append(keys, poolPrefix(s.SubnetPoolID)+url.PathEscape(s.CIDR.String()))
			}
			return keys
		},
		references: func(s *model.Subnet) []reference {
			refs := []reference{{networks, s.NetworkID.String()}}
			if s.SubnetPoolID != uuid.Nil {
				refs = append(refs, reference{subnetPools, s.SubnetPoolID.String()})
			}
			return refs
		},
		children: func(s *model.Subnet) []string { return []string{addressPrefix(s.ID)} },
		project:  func(s *model.Subnet) string { return s.ProjectID },
		network:  func(_ *edit, s *model.Subnet) uuid.UUID { return s.NetworkID },
	}),

	ports: declare(ports, declaration[model.Port]{
		name: "port",
		kind: Desired,
		key:  func(p *model.Port) string { return p.ID.String() },
		unique: func(p *model.Port) []string {
			keys := make([]string, 0, 3)
			keys = append(keys, macKey(p.NetworkID, p.MACAddress))
			for _, f := range p.FixedIPs {
				keys = append(keys, addressKey(f.SubnetID, f.IPAddress))
			}
			if p.DeviceOwner == model.OwnerDHCP {
				keys = append(keys, dhcpKey(p.NetworkID))
			}
			return keys
		},
		index: func(p *model.Port) []string {
			prefixes := make([]string, 0, 2)
			if p.HostID != "" {
				prefixes = append(prefixes, portsOnPrefix(p.HostID))
			}
			if p.DeviceID != "" {
				prefixes = append(prefixes, devicePrefix(p.DeviceID))
			}
			return prefixes
		},
		references: func(p *model.Port) []reference {
			refs := []reference{{networks, p.NetworkID.String()}}
			for _, f := range p.FixedIPs {
				refs = append(refs, reference{subnets, f.SubnetID.String()})
			}
			return refs
		},
		dependants: []tableNumber{claims},
		below:      []tableNumber{bindings, portStatuses},
		project:    func(p *model.Port) string { return p.ProjectID },
		network:    func(_ *edit, p *model.Port) uuid.UUID { return p.NetworkID },
	}),

	bindings: declare(bindings, declaration[model.Binding]{
		name:  "binding",
		kind:  Desired,
		key:   func(b *model.Binding) string { return onHost(b.PortID, b.Host) },
		index: func(b *model.Binding) []string { return []string{bindingsInPrefix(b.NetworkID)} },
		references: func(b *model.Binding) []reference {
			return []reference{{ports, b.PortID.String()}}
		},
		network: func(_ *edit, b *model.Binding) uuid.UUID { return b.NetworkID },
	}),

	subnetPools: declare(subnetPools, declaration[model.SubnetPool]{
		name: "subnetpool",
		kind: Desired,
		key:  func(p *model.SubnetPool) string { return p.ID.String() },
		unique: func(p *model.SubnetPool) []string {
			if !p.IsDefault {
				return nil
			}
			return []string{defaultPoolKey(p.IPVersion())}
		},
		children: func(p *model.SubnetPool) []string { return []string{poolPrefix(p.ID)} },
		project:  func(p *model.SubnetPool) string { return p.ProjectID },
	}),

	rbacPolicies: declare(rbacPolicies, declaration[model.RBACPolicy]{
		name:   "rbac_policy",
		kind:   Desired,
		key:    func(p *model.RBACPolicy) string { return p.ID.String() },
		unique: func(p *model.RBACPolicy) []string { return []string{rbacKey(p.ObjectID, p.Action, p.TargetTenant)} },
		references: func(p *model.RBACPolicy) []reference {
			return []reference{{networks, p.ObjectID.String()}}
		},
		project: func(p *model.RBACPolicy) string { return p.ProjectID },
	}),

	quotas: declare(quotas, declaration[model.Quota]{
		name: "quota",
		kind: Desired,
		key:  func(q *model.Quota) string { return url.PathEscape(q.ProjectID) },
	}),

	agents: declare(agents, declaration[model.Agent]{
		name: "agent",
		kind: Desired,
		key:  func(a *model.Agent) string { return a.ID.String() },
	}),

	hosts: declare(hosts, declaration[model.Host]{
		name: "host",
		kind: Location,
		key:  func(h *model.Host) string { return url.PathEscape(h.ID) },
		// binding:host_id names a host by its hostname, so two hosts cannot share one.
		unique: func(h *model.Host) []string {
			if h.Hostname == "" {
				return nil
			}
			return []string{hostnameKey(h.Hostname)}
		},
		index:      func(h *model.Host) []string { return []string{zonePrefix(h.Zone())} },
		dependants: []tableNumber{hostStatuses},
	}),

	claims: declare(claims, declaration[model.Claim]{
		name:  "claim",
		kind:  Location,
		key:   func(c *model.Claim) string { return c.PortID.String() },
		index: func(c *model.Claim) []string { return []string{claimsOnPrefix(c.Host)} },
		references: func(c *model.Claim) []reference {
			return []reference{{ports, c.PortID.String()}}
		},
		network: func(e *edit, c *model.Claim) uuid.UUID {
			if port, ok := e.row(ports, c.PortID.String()); ok {
				return port.value.(*model.Port).NetworkID
			}
			return uuid.Nil // the port went with it and counts itself
		},
	}),

	captures: declare(captures, declaration[model.Capture]{
		name: "capture",
		kind: Location,
		key:  func(c *model.Capture) string { return c.ID.String() },
	}),

	portStatuses: declare(portStatuses, declaration[model.PortStatus]{
		name:  "port-status",
		kind:  Status,
		key:   func(s *model.PortStatus) string { return onHost(s.PortID, s.Host) },
		index: func(s *model.PortStatus) []string { return []string{statusesOnPrefix(s.Host)} },
	}),

	hostStatuses: declare(hostStatuses, declaration[model.HostStatus]{
		name: "host-status",
		kind: Status,
		key:  func(s *model.HostStatus) string { return url.PathEscape(s.ID) },
	}),

	events: declare(events, declaration[model.Event]{
		name: "event",
		kind: Outbox,
		key:  func(e *model.Event) string { return e.ID.String() },
	}),
}

// tableNamed finds a table by the name in its etcd keys.
func tableNamed(name string) *table {
	for _, t := range tables {
		if t.name == name {
			return t
		}
	}
	return nil
}

// onHost is the key of a row about a port on one host.
func onHost(port uuid.UUID, hostname string) string {
	return portPrefix(port) + url.PathEscape(hostname)
}

func portPrefix(port uuid.UUID) string { return port.String() + "/" }

// Unique keys, without uniqRoot. Every prefix ends in a slash and no part contains one.

func macPrefix(network uuid.UUID) string { return "mac/" + network.String() + "/" }
func macKey(network uuid.UUID, mac model.MAC) string {
	const hex = "0123456789abcdef"
	text := make([]byte, 0, 17)
	for i, b := range mac {
		if i > 0 {
			text = append(text, ':')
		}
		text = append(text, hex[b>>4], hex[b&15])
	}
	return macPrefix(network) + string(text)
}

func addressPrefix(subnet uuid.UUID) string { return "ip/" + subnet.String() + "/" }
func addressKey(subnet uuid.UUID, ip netip.Addr) string {
	return addressPrefix(subnet) + ip.String()
}

func cidrPrefix(network uuid.UUID) string { return "cidr/" + network.String() + "/" }
func cidrKey(network uuid.UUID, cidr netip.Prefix) string {
	return cidrPrefix(network) + url.PathEscape(cidr.String())
}

func rbacPrefix(network uuid.UUID) string { return "rbac/" + network.String() + "/" }
func rbacKey(network uuid.UUID, action, project string) string {
	return rbacPrefix(network) + url.PathEscape(action) + "/" + url.PathEscape(project)
}

func poolPrefix(pool uuid.UUID) string  { return "pool/" + pool.String() + "/" }
func defaultPoolKey(version int) string { return "default-pool/" + strconv.Itoa(version) }

func dhcpKey(network uuid.UUID) string { return "dhcp/" + network.String() }

func hostnameKey(hostname string) string { return "hostname/" + url.PathEscape(hostname) }

// segmentKey is "" for a network that needs no segment of its own: local ones are told apart on
// each host alone.
func segmentKey(s model.Segment) string {
	if s.NetworkType == "" || s.NetworkType == "local" {
		return ""
	}
	return "segment/" + url.PathEscape(s.NetworkType) + "/" + url.PathEscape(s.PhysicalNetwork) + "/" +
		strconv.FormatUint(uint64(s.SegmentationID), 10)
}

// Index prefixes; the row's own key follows.

const zoneRoot = "host-in/"

func portsOnPrefix(hostname string) string      { return "port-on/" + url.PathEscape(hostname) + "/" }
func devicePrefix(deviceID string) string       { return "port-of/" + url.PathEscape(deviceID) + "/" }
func zonePrefix(zone string) string             { return zoneRoot + url.PathEscape(zone) + "/" }
func claimsOnPrefix(hostname string) string     { return "claim-on/" + url.PathEscape(hostname) + "/" }
func statusesOnPrefix(hostname string) string   { return "status-on/" + url.PathEscape(hostname) + "/" }
func bindingsInPrefix(network uuid.UUID) string { return "binding-in/" + network.String() + "/" }
