// Package model declares the resources: one Go struct each, whose field tags are the only
// declaration of an attribute. Decoding of bodies, defaults, validation, filters, sorting, policy
// and the API reference are derived from them.
package model

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// Common are the attributes that every resource of the API has.
type Common struct {
	ID             uuid.UUID
	ProjectID      string
	Name           string
	Description    string
	CreatedAt      time.Time
	UpdatedAt      time.Time
	RevisionNumber int64
	Tags           []string
}

// Network is an isolated layer-2 broadcast domain.
type Network struct {
	Common
	AdminStateUp        bool
	Shared              bool
	External            bool
	MTU                 int
	PortSecurityEnabled bool
	DNSDomain           string
	Segment             Segment
}

// Segment says how a network's frames are told apart on the wire.
type Segment struct {
	NetworkType     string // "vxlan", "geneve", "gre", "vlan", "flat", "local"
	PhysicalNetwork string // only for vlan and flat
	SegmentationID  uint32 // VNI, GRE key or VLAN ID
}

// Subnet is a block of addresses of a network.
type Subnet struct {
	Common
	NetworkID       uuid.UUID
	IPVersion       int
	CIDR            netip.Prefix
	GatewayIP       netip.Addr // the zero Addr: none
	EnableDHCP      bool
	AllocationPools []Pool
	DNSNameservers  []netip.Addr
	HostRoutes      []Route
	IPv6RAMode      string
	IPv6AddressMode string
}

// Pool is a range of addresses, both ends included.
type Pool struct{ Start, End netip.Addr }

// Route is a host route handed out by DHCP.
type Route struct {
	Destination netip.Prefix
	Nexthop     netip.Addr
}

// Port is a MAC and its addresses; one VIF.
type Port struct {
	Common
	NetworkID           uuid.UUID
	AdminStateUp        bool
	MACAddress          MAC
	FixedIPs            []FixedIP
	DeviceID            string
	DeviceOwner         string
	PortSecurityEnabled bool
	AllowedAddressPairs []AddressPair
	ExtraDHCPOpts       []ExtraDHCPOpt
	HostID              string // binding:host_id; "" is unbound
	VNICType            string
	Profile             map[string]any
	DNSName             string
}

// FixedIP is an address of a port out of one of its network's subnets.
type FixedIP struct {
	SubnetID  uuid.UUID
	IPAddress netip.Addr
}

// AddressPair is what a port may send beside its own addresses.
type AddressPair struct {
	IPAddress  netip.Prefix
	MACAddress MAC // the zero MAC: the port's own
}

// ExtraDHCPOpt is a DHCP option given with a port.
type ExtraDHCPOpt struct {
	Name      string
	Value     string
	IPVersion int
}

// MAC is an Ethernet address in network order.
type MAC [6]byte

// OwnerDHCP is the device_owner of the one port per network from which DHCP is answered on every host.
const OwnerDHCP = "network:dhcp"

// Host is an enrolled host (table kind: location). It stays known while it is away.
type Host struct {
	ID             string // external_ids:system-id
	Hostname       string // external_ids:hostname; what binding:host_id names
	EncapIP        netip.Addr
	EncapIPGuessed bool // no tunbridge-encap-ip was given: the address it dialled from
	EncapTypes     []string
	BridgeMappings map[string]string
	DatapathType   string
}

// Claim says that a host's VIF names a port that has no binding:host_id (table kind: location).
type Claim struct {
	PortID uuid.UUID
	Host   string // Host.Hostname
}

// PortStatus is what a controller saw of a port (table kind: status). No row is DOWN.
type PortStatus struct {
	PortID uuid.UUID
	Status string // "ACTIVE", "DOWN", "ERROR"
	Host   string
	Reason string // why it is not ACTIVE, for the operator
}

// HostStatus is what a controller sees of a host now (table kind: status). No row is not alive.
type HostStatus struct {
	ID        string
	Alive     bool
	LastError string
	Since     time.Time
}
