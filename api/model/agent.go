package model

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Agents declares the agent resource.
var Agents = declare[AgentView]("agent", "agents")

// Agent is what an administrator sets of an agent (table kind: desired). Without a row it is up and has
// no description.
type Agent struct {
	ID           uuid.UUID
	AdminStateUp bool
	Description  string
}

// The agents that a host is shown as. Nothing runs there for them: they are how Neutron's clients ask
// for hosts and for what answers DHCP.
const (
	AgentOVS  = "Open vSwitch agent"
	AgentDHCP = "DHCP agent"
)

// DefaultZone is the availability zone of hosts that name none.
const DefaultZone = "nova"

// Zone is the host's availability zone.
func (h *Host) Zone() string {
	if h.AvailabilityZone == "" {
		return DefaultZone
	}
	return h.AvailabilityZone
}

// AgentID is the id of one of a host's agents: it follows from both (RFC 9562 §5.5).
func (h *Host) AgentID(agentType string) uuid.UUID {
	return uuid.NewSHA1(agentSpace, []byte(agentType+"/"+h.ID))
}

// agentSpace is the name space of agents' ids.
var agentSpace = uuid.MustParse("5ba1c2d8-5a39-4d4a-8b0f-6f2f0c9a7d11")

// AgentView is an agent as the API shows it: a host, and whether it answers.
type AgentView struct {
	// ID follows from the host's system-id and the type.
	ID uuid.UUID `api:"id,filter,sort,ext=agent"`
	// AgentType is "Open vSwitch agent", or "DHCP agent".
	AgentType string `api:"agent_type,filter,sort,ext=agent"`
	// Binary is what Neutron would run for it.
	Binary string `api:"binary,filter,sort,ext=agent"`
	// Topic is that of Neutron's messages to it.
	Topic string `api:"topic,filter,sort,ext=agent"`
	// Host is the host's name.
	Host string `api:"host,filter,sort,ext=agent"`
	// AdminStateUp is whether new load is wanted on the host. A zone with no host that is up is not
	// available; what is wired stays.
	AdminStateUp bool `api:"admin_state_up,put,filter,sort,ext=agent"`
	// CreatedAt is when the host came first, in UTC.
	CreatedAt Moment `api:"created_at,sort,ext=agent"`
	// StartedAt is when it came last.
	StartedAt Moment `api:"started_at,sort,ext=agent"`
	// HeartbeatTimestamp is when it last answered: now, if it is alive.
	HeartbeatTimestamp Moment `api:"heartbeat_timestamp,sort,ext=agent"`
	// Description is free text.
	Description string `api:"description,put,null,max=255,filter,sort,ext=agent"`
	// AvailabilityZone is that of the host.
	AvailabilityZone string `api:"availability_zone,null,filter,sort,ext=availability_zone"`
	// Alive is whether the host's database and both its bridges answer now.
	Alive bool `api:"alive,filter,sort,ext=agent"`
	// Configurations is how the host can carry networks, and how much it does.
	Configurations json.RawMessage `api:"configurations,ext=agent"`
}

// Row has the agent's id, and nothing else of what most resources have.
func (a *AgentView) Row() *Common { return &Common{ID: a.ID} }

// Moment is a time, of which an agent's are shown without a zone.
type Moment time.Time

func appendMoment(b []byte, m Moment) []byte {
	return append(time.Time(m).UTC().AppendFormat(append(b, '"'), time.DateTime), '"')
}

// AvailabilityZones declares the availability zones.
var AvailabilityZones = declare[AvailabilityZone]("availability_zone", "availability_zones")

// AvailabilityZone is a name that hosts share.
type AvailabilityZone struct {
	// Name is the zone's.
	Name string `api:"name,filter,sort,ext=availability_zone"`
	// Resource is what can be placed there: network.
	Resource string `api:"resource,filter,sort,ext=availability_zone"`
	// State is available if an agent of the zone is up, else unavailable.
	State string `api:"state,filter,sort,ext=availability_zone"`
}

// Row is empty: a zone has no id.
func (*AvailabilityZone) Row() *Common { return &Common{} }
