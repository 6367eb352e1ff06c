package model

import (
	"net/netip"

	"github.com/google/uuid"
)

// Subnets declares the subnet resource.
var Subnets = declare[SubnetView]("subnet", "subnets")

// Subnet is a block of addresses of a network.
type Subnet struct {
	Common
	// NetworkID is the network the addresses are used on.
	NetworkID uuid.UUID `api:"network_id,post,required,filter,sort"`
	// IPVersion is 4 or 6.
	IPVersion int `api:"ip_version,post,required,values=4|6,filter,sort"`
	// CIDR is the block; host bits are cut off.
	CIDR netip.Prefix `api:"cidr,post,filter,sort"`
	// SubnetPoolID is the pool that the block was cut from; null is none.
	SubnetPoolID uuid.UUID `api:"subnetpool_id,post,null,filter,sort,ext=subnet_allocation"`
	// GatewayIP is the default router told to clients; null is none. When absent it is the first
	// address of an IPv4 block, or the subnet-router anycast address (RFC 4291 §2.6.1) of an IPv6 block.
	GatewayIP netip.Addr `api:"gateway_ip,post,put,null,filter,sort"`
	// EnableDHCP is whether DHCP is answered.
	EnableDHCP bool `api:"enable_dhcp,post,put,default=true,filter,sort"`
	// AllocationPools are the ranges addresses are chosen from; when absent, all but the gateway.
	AllocationPools []Pool `api:"allocation_pools,post,put"`
	// DNSNameservers are the resolvers told to clients, in order.
	DNSNameservers []netip.Addr `api:"dns_nameservers,post,put,clear"`
	// HostRoutes are the routes told to clients.
	HostRoutes []Route `api:"host_routes,post,put,clear"`
	// IPv6RAMode is what router advertisements say.
	IPv6RAMode string `api:"ipv6_ra_mode,post,null,values=slaac|dhcpv6-stateful|dhcpv6-stateless,filter,sort"`
	// IPv6AddressMode is how clients get their addresses.
	IPv6AddressMode string `api:"ipv6_address_mode,post,null,values=slaac|dhcpv6-stateful|dhcpv6-stateless,filter,sort"`
}

// The values of IPv6RAMode and IPv6AddressMode; "" is none.
const (
	SLAAC           = "slaac"
	DHCPv6Stateful  = "dhcpv6-stateful"
	DHCPv6Stateless = "dhcpv6-stateless"
)

// AutoAddress says whether clients make their own addresses from the prefix (RFC 4862), so that
// a port's address follows from its MAC and is not chosen from the pools.
func (s *Subnet) AutoAddress() bool {
	return autoMode(s.IPv6AddressMode) || s.IPv6AddressMode == "" && autoMode(s.IPv6RAMode)
}

func autoMode(mode string) bool { return mode == SLAAC || mode == DHCPv6Stateless }

// Pool is a range of addresses, both ends included.
type Pool struct{ Start, End netip.Addr }

// Contains reports whether the address lies in the range.
func (p Pool) Contains(a netip.Addr) bool { return p.Start.Compare(a) <= 0 && a.Compare(p.End) <= 0 }

func (p Pool) String() string { return p.Start.String() + "-" + p.End.String() }

// Route is a host route handed out by DHCP.
type Route struct {
	Destination netip.Prefix
	Nexthop     netip.Addr
}

// SubnetView is a subnet as the API shows it.
type SubnetView struct {
	*Subnet
	// Shared is whether the subnet's network is shared. It can be asked for, but is not shown.
	Shared bool `api:"shared,filter,hidden"`
	// Prefixlen is the size of the block that is asked of a pool; when absent, the pool's default.
	Prefixlen int `api:"prefixlen,post,hidden,min=0,ext=subnet_allocation"`
	// UseDefaultSubnetPool asks for a block of the default pool of the IP version.
	UseDefaultSubnetPool bool `api:"use_default_subnetpool,post,hidden,default=false,ext=default-subnetpools"`
}
