package model

import (
	"encoding/json"

	"github.com/google/uuid"
)

// Bindings declares the binding of a port to one host, below the port.
var Bindings = declare[BindingView]("binding", "bindings")

// Binding is what binds a port to a host beside the one of its binding:host_id (table kind: desired).
// While the port migrates there, either host may have its VIF; after it has left, only the other one.
type Binding struct {
	PortID    uuid.UUID
	NetworkID uuid.UUID // of the port
	Host      string
	VNICType  string
	Profile   json.RawMessage `json:",omitempty"`
	Left      bool            // it was the active one before: the port has migrated away
}

// The values of BindingView.Status.
const (
	BindingActive   = "ACTIVE"
	BindingInactive = "INACTIVE"
)

// BindingView is a port's binding to one host as the API shows it.
type BindingView struct {
	// Host is the host's hostname.
	Host string `api:"host,post,required,max=255,filter"`
	// VIFType is ovs, or unbound on a host that the port has left.
	VIFType string `api:"vif_type,filter"`
	// VIFDetails is how the host's hypervisor plugs the port.
	VIFDetails *VIFDetails `api:"vif_details"`
	// VNICType is the kind of interface asked for.
	VNICType string `api:"vnic_type,post,put,default=normal,values=normal|direct|macvtap|direct-physical|baremetal|virtio-forwarder|smart-nic|accelerator-direct|accelerator-direct-physical|remote-managed|vdpa,filter"`
	// Profile is a JSON object that the binding's user keeps here; it is not looked into.
	Profile json.RawMessage `api:"profile,post,put,clear"`
	// Status is ACTIVE for the binding to binding:host_id, else INACTIVE.
	Status string `api:"status,filter"`
}
