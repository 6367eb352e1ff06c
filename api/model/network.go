package model

import "github.com/google/uuid"

// Networks declares the network resource.
var Networks = declare[NetworkView]("network", "networks")

// Network is an isolated layer-2 broadcast domain.
type Network struct {
	Common
	// AdminStateUp is whether the network carries traffic.
	AdminStateUp bool `api:"admin_state_up,post,put,default=true,filter,sort"`
	// Shared is whether every project may see the network and put ports on it.
	Shared bool `api:"shared,post,put,default=false,filter,policy=admin-sets"`
	// External marks a network that leads outside, for routers and floating addresses.
	External bool `api:"router:external,post,put,default=false,filter,policy=admin-sets,ext=external-net"`
	// MTU is the largest IP packet, in bytes, that the network carries; 0 asks for the largest possible.
	MTU int `api:"mtu,post,put,default=0,min=0,filter,sort,ext=net-mtu"`
	// PortSecurityEnabled is what a new port of the network gets when its creator does not say.
	PortSecurityEnabled bool `api:"port_security_enabled,post,put,default=true,ext=port-security"`
	// DNSDomain is the domain of the network's ports, fully qualified with its final dot, or "".
	DNSDomain string `api:"dns_domain,post,put,form=fqdn,max=255,filter,sort,ext=dns-integration"`
	// AvailabilityZoneHints are the zones that its creator wants it in. DHCP is answered wherever the
	// network has a port, so that they need only be known.
	AvailabilityZoneHints []string `api:"availability_zone_hints,post,filter,ext=network_availability_zone"`
	// Segment says how the network's frames are told apart on the wire.
	Segment Segment `api:",inline"`
}

// NetworkView is a network as the API shows it.
type NetworkView struct {
	*Network
	// Status is ACTIVE as soon as the network exists: hosts wire it with its first port.
	Status string `api:"status,filter,sort"`
	// Subnets are the ids of the network's subnets.
	Subnets []uuid.UUID `api:"subnets"`
	// AvailabilityZones are the zones where its DHCP is answered: all, as soon as it has any.
	AvailabilityZones []string `api:"availability_zones,ext=network_availability_zone"`
	// L2Adjacency is true: all ports of the network share one broadcast domain.
	L2Adjacency bool `api:"l2_adjacency,ext=l2_adjacency"`
	// Segments gives the provider attributes in another way: a list of one object that has them. In it a
	// segmentation id of 0 and an empty physical network are none: some clients always send all three.
	Segments []Segment `api:"segments,post,put,clear,hidden,policy=admin-sets,ext=provider"`
	// IsDefault may be given as false only: no network is made for projects that have none, so none is the
	// default one.
	IsDefault bool `api:"is_default,post,put,default=false,hidden,policy=admin-sets,ext=auto-allocated-topology"`
}
