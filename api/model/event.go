package model

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Event is something that Nova is still to be told of a port (table kind: outbox). It is written
// together with what it tells of.
type Event struct {
	ID       uuid.UUID // version 7: events sort by when they were written
	Name     string
	Status   string
	ServerID string // of the instance: the port's device_id
	PortID   uuid.UUID
	At       time.Time
}

// The names of events, as Nova's API has them.
const (
	EventPlugged   = "network-vif-plugged"
	EventUnplugged = "network-vif-unplugged"
	EventDeleted   = "network-vif-deleted"
	EventChanged   = "network-changed"
)

// EventCompleted is an Event's Status: what it tells of has happened.
const EventCompleted = "completed"

// OfInstance says whether the port is a NIC of one of Nova's instances: only of such is Nova told.
func (p *Port) OfInstance() bool {
	_, err := ParseUUID(p.DeviceID)
	return err == nil && strings.HasPrefix(p.DeviceOwner, OwnerCompute)
}

// OwnerCompute is how the device_owner of an instance's port begins; its availability zone follows.
const OwnerCompute = "compute:"
