package model

import (
	"encoding/json"
	"net/netip"

	"github.com/google/uuid"
)

// Ports declares the port resource.
var Ports = declare[PortView]("port", "ports")

// Port is a MAC and its addresses; one VIF.
type Port struct {
	Common
	// NetworkID is the network the port is on.
	NetworkID uuid.UUID `api:"network_id,post,required,filter,sort"`
	// AdminStateUp is whether the port may carry traffic.
	AdminStateUp bool `api:"admin_state_up,post,put,default=true,filter,sort"`
	// MACAddress is unique in the network; when absent one is chosen.
	MACAddress MAC `api:"mac_address,post,put,filter,sort,policy=network-owner-gives"`
	// FixedIPs are the port's addresses. In a request each names a subnet, an address or both; when
	// absent, one address of each IP version the network has; an empty list is none.
	FixedIPs []FixedIP `api:"fixed_ips,post,put,filter,policy=network-owner-moves"`
	// DeviceID is the machine that uses the port.
	DeviceID string `api:"device_id,post,put,max=255,filter,sort"`
	// DeviceOwner is the service that uses the port, as compute:nova.
	DeviceOwner string `api:"device_owner,post,put,max=255,filter,sort,policy=network-owner-device"`
	// PortSecurityEnabled is whether the port may send from its own and its pairs' addresses only;
	// when absent, as the network says.
	PortSecurityEnabled bool `api:"port_security_enabled,post,put,policy=network-owner-sets,ext=port-security"`
	// AllowedAddressPairs are further addresses the port may send from.
	AllowedAddressPairs []AddressPair `api:"allowed_address_pairs,post,put,clear,policy=network-owner-sets,ext=allowed-address-pairs"`
	// ExtraDHCPOpts are DHCP options given to this port alone.
	ExtraDHCPOpts []ExtraDHCPOpt `api:"extra_dhcp_opts,post,put,clear,ext=extra_dhcp_opt"`
	// HostID is the hostname of the host the port is bound to; "" is unbound.
	HostID string `api:"binding:host_id,post,put,clear,max=255,filter,sort,policy=service,ext=binding"`
	// VNICType is the kind of interface asked for; only normal ones can be bound.
	VNICType string `api:"binding:vnic_type,post,put,default=normal,values=normal|direct|macvtap|direct-physical|baremetal|virtio-forwarder|smart-nic|accelerator-direct|accelerator-direct-physical|remote-managed|vdpa,filter,ext=binding"`
	// Profile is a JSON object that the binding's user keeps here; it is not looked into.
	Profile json.RawMessage `api:"binding:profile,post,put,clear,policy=service,ext=binding" json:",omitempty"`
	// DNSName is the host name told to the client.
	DNSName string `api:"dns_name,post,put,form=dns-name,max=255,filter,sort,ext=dns-integration"`
	// Metadata is what the machine is told of itself at 169.254.169.254 when no Nova is asked: an object
	// of hostname, public_keys (OpenSSH keys by name), user_data (base64) and meta (texts by name).
	Metadata *Metadata `api:"tunbridge:metadata,post,put,clear,policy=owner,ext=tunbridge-metadata" json:",omitempty"`
}

// OwnerDHCP is the device_owner of the one port per network from which DHCP is answered on every host.
const OwnerDHCP = "network:dhcp"

// DeviceDHCP is the device_id of that port.
const DeviceDHCP = "tunbridge-dhcp"

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
	Value     string // "": clients are told nothing of the kind
	IPVersion int
	Remove    bool `json:"-"` // in a request: null, which takes the option away
}

// The values of PortView.Status.
const (
	StatusActive = "ACTIVE"
	StatusDown   = "DOWN"
)

// The values of PortView.VIFType.
const (
	VIFOVS           = "ovs"
	VIFUnbound       = "unbound"
	VIFBindingFailed = "binding_failed"
)

// VNICNormal is the only VNICType that can be bound.
const VNICNormal = "normal"

// PortView is a port as the API shows it. Its HostID is that of the claiming host when the port is
// not bound but a host's VIF names it, and its AllowedAddressPairs all have a MAC.
type PortView struct {
	*Port
	// Status is ACTIVE once the host's switches confirmed all of the port's flows, else DOWN.
	Status string `api:"status,filter,sort"`
	// SecurityGroups is empty: there are none yet, and none can be named.
	SecurityGroups []string `api:"security_groups,post,put,filter"`
	// DNSAssignment is what the port is called at each address: what its machine is told by DHCP.
	DNSAssignment []DNSAssignment `api:"dns_assignment,ext=dns-integration"`
	// VIFType is ovs when the port is bound, unbound without a host, binding_failed when its host is
	// unknown or cannot carry the port.
	VIFType string `api:"binding:vif_type,policy=service,ext=binding"`
	// VIFDetails is how the host's hypervisor plugs the port; null unless it is bound.
	VIFDetails *VIFDetails `api:"binding:vif_details,policy=service,ext=binding"`
	// IPAllocation is immediate, or none for a port that has no address on a network with subnets.
	IPAllocation string `api:"ip_allocation,ext=ip_allocation"`
}

// VIFDetails is what Nova and os-vif need to plug a VIF.
type VIFDetails struct {
	Connectivity  string `json:"connectivity"`
	PortFilter    bool   `json:"port_filter"`
	OVSHybridPlug bool   `json:"ovs_hybrid_plug"`
	DatapathType  string `json:"datapath_type"`
	BridgeName    string `json:"bridge_name"`
}
