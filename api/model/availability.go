package model

import (
	"math/big"
	"net/netip"

	"github.com/google/uuid"
)

// NetworkIPAvailabilities declares what is used of networks' addresses.
var NetworkIPAvailabilities = declare[NetworkIPAvailability]("network_ip_availability", "network_ip_availabilities")

// NetworkIPAvailability is how many of a network's addresses are used. It follows from its subnets and
// ports.
type NetworkIPAvailability struct {
	// NetworkID is the network.
	NetworkID uuid.UUID `api:"network_id,filter,sort,ext=network-ip-availability"`
	// NetworkName is its name.
	NetworkName string `api:"network_name,filter,sort,ext=network-ip-availability"`
	// ProjectID is its project.
	ProjectID string `api:"project_id,alias=tenant_id,filter,sort,ext=network-ip-availability"`
	// Subnets tell the same of each subnet.
	Subnets []SubnetIPAvailability `api:"subnet_ip_availability,ext=network-ip-availability"`
	// UsedIPs is how many addresses ports have.
	UsedIPs *big.Int `api:"used_ips,ext=network-ip-availability"`
	// TotalIPs is how many the allocation pools have; in IPv6 that is more than 64 bits can count.
	TotalIPs *big.Int `api:"total_ips,ext=network-ip-availability"`
	// IPVersion limits the subnets that are counted. It can be asked for, but is not shown.
	IPVersion []string `api:"ip_version,filter,hidden,ext=network-ip-availability"`
}

// Row has the network's id and project.
func (n *NetworkIPAvailability) Row() *Common {
	return &Common{ID: n.NetworkID, ProjectID: n.ProjectID}
}

// SubnetIPAvailability is how many of a subnet's addresses are used.
type SubnetIPAvailability struct {
	SubnetID   uuid.UUID    `json:"subnet_id"`
	SubnetName string       `json:"subnet_name"`
	IPVersion  int          `json:"ip_version"`
	CIDR       netip.Prefix `json:"cidr"`
	UsedIPs    *big.Int     `json:"used_ips"`
	TotalIPs   *big.Int     `json:"total_ips"`
}

// Size is how many addresses the range has.
func (p Pool) Size() *big.Int {
	start, end := new(big.Int).SetBytes(p.Start.AsSlice()), new(big.Int).SetBytes(p.End.AsSlice())
	return end.Add(end.Sub(end, start), big.NewInt(1))
}
