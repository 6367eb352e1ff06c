// Package model declares the resources: one Go struct each, whose field tags are the only
// declaration of an attribute.
//
//	request body ── Schema.Read ──► Objects ── Schema.Decode ──► Input ── Apply ──► row ──► store
//	                                                                                 │
//	response ◄── Schema.Append (fields, policy) ◄── Match, Compare ◄── view ◄────────┘
//
// A row (Network, Subnet, Port) is what is stored: encoding/json of the struct under the Go field
// names, independent of how the API renders it. A view (NetworkView …) is the row with what is
// derived from other rows when it is read; the Schema of a view knows the attributes of both.
//
// Read schema.go first (the tag's grammar), then network.go for an example; kinds.go and lists.go
// have the types of attributes, decode.go, encode.go and query.go what is derived from the declarations.
package model

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// Common are the attributes that every resource of the API has.
type Common struct {
	// ID is the resource's UUID, chosen by the server.
	ID uuid.UUID `api:"id,filter,sort"`
	// ProjectID is the project that owns the resource; its older name is tenant_id. Only an
	// administrator may name another project than the caller's own.
	ProjectID string `api:"project_id,alias=tenant_id,post,filter,sort,max=255,ext=project-id"`
	// Name is for humans. It need not be unique.
	Name string `api:"name,post,put,filter,sort,max=255"`
	// Description is free text.
	Description string `api:"description,post,put,filter,sort,max=255,ext=standard-attr-description"`
	// CreatedAt is when the resource was created, in UTC; shown to the second, and kept finer, since the
	// first subnet of a network is the one that addresses come from.
	CreatedAt time.Time `api:"created_at,filter,sort,ext=standard-attr-timestamp"`
	// UpdatedAt is when the resource or one of its children was last changed, in UTC; shown to the second.
	UpdatedAt time.Time `api:"updated_at,filter,sort,ext=standard-attr-timestamp"`
	// RevisionNumber grows with each change of the resource or of its children; If-Match compares it.
	RevisionNumber int64 `api:"revision_number,filter,sort,ext=standard-attr-revisions"`
	// Tags are the user's labels, sorted, each once.
	Tags []string `api:"tags,post,ext=standard-attr-tag"`
}

// Row returns the attributes that all resources share.
func (c *Common) Row() *Common { return c }

// Host is an enrolled host (table kind: location). It stays known while it is away.
type Host struct {
	ID             string // external_ids:system-id
	Hostname       string // external_ids:hostname; what binding:host_id names
	EncapIP        netip.Addr
	EncapIPGuessed bool // no tunbridge-encap-ip was given: the address it dialled from
	EncapTypes     []string
	BridgeMappings map[string]string
	// AvailabilityZone is external_ids:tunbridge-availability-zone; "" is DefaultZone.
	AvailabilityZone string    `json:",omitempty"`
	EnrolledAt       time.Time // when it came first
	DatapathType     string    // that it asks for; "" is any
	Datapath         string    // the datapath type in use
}

// Claim says which host has a port's VIF where its bindings leave that open (table kind: location): it
// has no binding:host_id, or it migrates and has been heard from at the destination.
type Claim struct {
	PortID uuid.UUID
	Host   string // Host.Hostname
}

// PortStatus is what a controller saw of a port on one host (table kind: status). No row is DOWN.
type PortStatus struct {
	PortID uuid.UUID
	Host   string
	Status string // "ACTIVE", "DOWN", "ERROR"
	Reason string // why it is not ACTIVE, for the operator
	Plug   uint32 // tells this VIF of the port from an earlier one, while it is ACTIVE
}

// HostStatus is what a controller sees of a host now (table kind: status). No row is not alive.
type HostStatus struct {
	ID        string
	Alive     bool
	LastError string
	Since     time.Time
}
