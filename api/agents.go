package api

import (
	"encoding/json"
	"iter"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// agents is the agent resource: every host is shown as an Open vSwitch agent and a DHCP agent. They are
// made when the host enrols; an administrator may describe them and set them down, and delete those of
// a host that is gone for good.
type agents struct{ *Server }

func (agents) schema() *model.Schema { return model.Agents }

func (agents) rules() rules {
	return rules{get: AccessAdmin, update: AccessAdmin, delete: AccessAdmin}
}

func (agents) target(*store.Tables, *Caller, view) target { return target{} }

var agentTypes = []string{model.AgentOVS, model.AgentDHCP}

// agentOf is an agent of a host, of which nothing is derived yet.
func agentOf(h *model.Host, agentType string) *model.AgentView {
	return &model.AgentView{ID: h.AgentID(agentType), AgentType: agentType, Host: h.Hostname}
}

func (agents) find(t *store.Tables, id uuid.UUID) (view, bool) {
	for h := range t.Hosts() {
		for _, agentType := range agentTypes {
			if h.AgentID(agentType) == id {
				return agentOf(h, agentType), true
			}
		}
	}
	return &model.AgentView{}, false
}

func (agents) candidates(t *store.Tables, _ *query) iter.Seq[view] {
	return func(yield func(view) bool) {
		for h := range t.Hosts() {
			for _, agentType := range agentTypes {
				if !yield(agentOf(h, agentType)) {
					return
				}
			}
		}
	}
}

func (agents) derive(t *store.Tables, _ *Caller, v view) {
	a := v.(*model.AgentView)
	h, ok := t.HostByName(a.Host)
	if !ok {
		return
	}
	set := agentSettings(t, a.ID)
	a.AdminStateUp, a.Description = set.AdminStateUp, set.Description
	since := h.EnrolledAt
	status, ok := t.HostStatus(h.ID)
	if ok {
		since, a.Alive = status.Since, status.Alive
	}
	a.CreatedAt, a.StartedAt, a.HeartbeatTimestamp = model.Moment(h.EnrolledAt), model.Moment(since), model.Moment(since)
	if a.Alive {
		a.HeartbeatTimestamp = model.Moment(now())
	}
	ports, networks, subnets := load(t, h.Hostname)
	configurations := map[string]any{}
	switch a.AgentType {
	case model.AgentOVS:
		a.Binary, a.Topic = "neutron-openvswitch-agent", "N/A"
		configurations = map[string]any{
			"arp_responder_enabled": true, "bridge_mappings": h.BridgeMappings, "datapath_type": h.Datapath, "devices": ports,
			"integration_bridge": bridgeName, "l2_population": true, "ovs_hybrid_plug": false,
			"system_id": h.ID, "tunnel_types": h.EncapTypes, "tunneling_ip": "",
		}
		if h.BridgeMappings == nil {
			configurations["bridge_mappings"] = map[string]string{}
		}
		if h.EncapIP.IsValid() {
			configurations["tunneling_ip"] = h.EncapIP.String()
		}
		if ok && status.LastError != "" {
			configurations["last_error"] = status.LastError
		}
	case model.AgentDHCP:
		a.Binary, a.Topic, a.AvailabilityZone = "neutron-dhcp-agent", "dhcp_agent", h.Zone()
		configurations = map[string]any{"dhcp_driver": "tunbridge", "networks": networks, "ports": ports, "subnets": subnets}
	}
	text, err := json.Marshal(configurations)
	if err != nil {
		panic("api: " + err.Error()) // of strings and numbers
	}
	a.Configurations = text
}

// agentSettings is what an administrator has set of an agent, or what holds without.
func agentSettings(t *store.Tables, id uuid.UUID) model.Agent {
	if set, ok := t.Agent(id); ok {
		return *set
	}
	return model.Agent{ID: id, AdminStateUp: true}
}

// portsAt lists the ports that are on a host: bound to it, or claimed by it.
func portsAt(t *store.Tables, host string) iter.Seq[*model.Port] {
	return func(yield func(*model.Port) bool) {
		for p := range t.PortsOn(host) {
			if !yield(p) {
				return
			}
		}
		for claim := range t.ClaimsOn(host) {
			if p, ok := t.Port(claim.PortID); ok && p.HostID == "" && !yield(p) {
				return
			}
		}
	}
}

// load counts the ports on a host, and the networks and subnets that they have DHCP of.
func load(t *store.Tables, host string) (ports, networks, subnets int) {
	seen := make(map[uuid.UUID]bool)
	for p := range portsAt(t, host) {
		ports++
		if seen[p.NetworkID] {
			continue
		}
		seen[p.NetworkID] = true
		if dhcp, ok := t.DHCPPort(p.NetworkID); ok {
			networks++
			subnets += len(dhcp.FixedIPs)
		}
	}
	return ports, networks, subnets
}

// answersDHCP reports whether a host answers DHCP for a network: it does if it has a port of it.
func answersDHCP(t *store.Tables, host string, network uuid.UUID) bool {
	if _, ok := t.DHCPPort(network); !ok {
		return false
	}
	for p := range portsAt(t, host) {
		if p.NetworkID == network {
			return true
		}
	}
	return false
}

func (agents) create(*store.Tx, *Caller, *model.Input) (uuid.UUID, error) {
	return uuid.Nil, errMethod // hosts enrol themselves
}

func (agents) retag(*store.Tx, view, []string) error { return errMethod }

func (agents) update(tx *store.Tx, _ *Caller, v view, in *model.Input) error {
	set := agentSettings(&tx.Tables, v.Row().ID)
	shown := model.AgentView{AdminStateUp: set.AdminStateUp, Description: set.Description}
	in.Apply(&shown)
	set.AdminStateUp, set.Description = shown.AdminStateUp, shown.Description
	return tx.PutAgent(&set)
}

// remove forgets a host, and with it both its agents. One that answers would be wired no longer.
func (agents) remove(tx *store.Tx, v view) error {
	a := v.(*model.AgentView)
	h, ok := tx.HostByName(a.Host)
	if !ok {
		return notFound(model.Agents, a.ID.String())
	}
	if status, ok := tx.HostStatus(h.ID); ok && status.Alive {
		return conflict("AgentInUse", "Agent %s is alive: host %s answers. Disconnect the host first, with `ovs-vsctl del-manager` on it.", a.ID, h.Hostname)
	}
	for _, agentType := range agentTypes {
		id := h.AgentID(agentType)
		if _, set := tx.Agent(id); !set {
			continue
		}
		if err := tx.DeleteAgent(id); err != nil {
			return err
		}
	}
	return tx.DeleteHost(h.ID)
}

// agentRoutes are the operations on agents and on what their DHCP is answered for.
func (s *Server) agentRoutes() []Route {
	a := agents{s}
	h := handlers{s, a}
	const alias, scheduler = "agent", "dhcp_agent_scheduler"
	const all, one, nets = "/v2.0/agents", "/v2.0/agents/{id}", "/v2.0/agents/{id}/dhcp-networks"
	return []Route{
		{"get_agents", http.MethodGet, all, AccessAdmin, alias, model.Agents, h.list},
		{"get_agent", http.MethodGet, one, AccessAdmin, alias, model.Agents, h.show},
		{"update_agent", http.MethodPut, one, AccessAdmin, alias, model.Agents, h.update},
		{"delete_agent", http.MethodDelete, one, AccessAdmin, alias, model.Agents, h.remove},
		{"get_dhcp-networks", http.MethodGet, nets, AccessAdmin, scheduler, nil, h.listDHCPNetworks},
		{"create_dhcp-network", http.MethodPost, nets, AccessAdmin, scheduler, nil, h.scheduleNetwork},
		{"delete_dhcp-network", http.MethodDelete, nets + "/{network}", AccessAdmin, scheduler, nil, h.unscheduleNetwork},
		{"get_dhcp-agents", http.MethodGet, "/v2.0/networks/{id}/dhcp-agents", AccessAdmin, scheduler, nil, h.listDHCPAgents},
	}
}

// dhcpAgent finds the DHCP agent in the path, for an administrator.
func (h handlers) dhcpAgent(r *http.Request, op string) (*store.Tables, *model.AgentView, error) {
	if err := callerOf(r).authorize(op, &model.Schema{Name: "dhcp-networks"}, AccessAdmin, target{}); err != nil {
		return nil, nil, err
	}
	t, err := h.tables(r)
	if err != nil {
		return nil, nil, err
	}
	id := mux.Vars(r)["id"]
	v, err := h.lookup(t, callerOf(r), id)
	if err != nil {
		return nil, nil, err
	}
	a := v.(*model.AgentView)
	if a.AgentType != model.AgentDHCP {
		return nil, nil, conflict("InvalidDHCPAgent", "Agent %s is not a valid DHCP Agent or has been disabled.", id)
	}
	return t, a, nil
}

// listDHCPNetworks answers with the networks whose DHCP is answered on the agent's host: those with
// DHCP that have a port there.
func (h handlers) listDHCPNetworks(w http.ResponseWriter, r *http.Request) error {
	t, a, err := h.dhcpAgent(r, "get")
	if err != nil {
		return err
	}
	seen := make(map[uuid.UUID]bool)
	all := []view{}
	n := handlers{h.Server, networks{h.Server}}
	for p := range portsAt(t, a.Host) {
		if seen[p.NetworkID] {
			continue
		}
		seen[p.NetworkID] = true
		if _, ok := t.DHCPPort(p.NetworkID); !ok {
			continue
		}
		if v, ok := n.find(t, p.NetworkID); ok {
			n.derive(t, callerOf(r), v)
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(x, y view) int { return slices.Compare(x.Row().ID[:], y.Row().ID[:]) })
	q, err := parseQuery(model.Networks, r.URL.RawQuery)
	if err != nil {
		return err
	}
	n.writeAll(w, r, http.StatusOK, q, all, nil)
	return nil
}

// scheduleNetwork has nothing to do: DHCP is answered on every host that has a port of the network, and
// nowhere else.
func (h handlers) scheduleNetwork(_ http.ResponseWriter, r *http.Request) error {
	t, a, err := h.dhcpAgent(r, "create")
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var given struct {
		NetworkID string `json:"network_id"`
	}
	if json.Unmarshal(body, &given) != nil {
		return model.BadRequest("Body contains invalid data")
	}
	id, err := model.ParseUUID(given.NetworkID)
	if _, ok := t.Network(id); err != nil || !ok {
		return notFound(model.Networks, model.Quote(given.NetworkID))
	}
	if answersDHCP(t, a.Host, id) {
		return conflict("NetworkHostedByDHCPAgent", "The network %s has been already hosted by the DHCP Agent %s.", id, a.ID)
	}
	return conflict("NetworkNotSchedulable", "The network %s cannot be given to DHCP Agent %s: DHCP is answered on every host that has a port of the network, if it has a subnet with enable_dhcp, and nowhere else.", id, a.ID)
}

func (h handlers) unscheduleNetwork(_ http.ResponseWriter, r *http.Request) error {
	t, a, err := h.dhcpAgent(r, "delete")
	if err != nil {
		return err
	}
	if id, err := model.ParseUUID(mux.Vars(r)["network"]); err != nil || !answersDHCP(t, a.Host, id) {
		return conflict("NetworkNotHostedByDhcpAgent", "The network %s is not hosted by the DHCP agent %s.", model.Quote(mux.Vars(r)["network"]), a.ID)
	}
	return conflict("NetworkNotRemovable", "The network %s cannot be taken from DHCP Agent %s: DHCP is answered on every host that has a port of the network. Turn it off with enable_dhcp of the network's subnets.",
		model.Quote(mux.Vars(r)["network"]), a.ID)
}

// listDHCPAgents answers with the agents of the hosts that have a port of the network, if it has DHCP.
func (h handlers) listDHCPAgents(w http.ResponseWriter, r *http.Request) error {
	if err := callerOf(r).authorize("get", &model.Schema{Name: "dhcp-agents"}, AccessAdmin, target{}); err != nil {
		return err
	}
	t, err := h.tables(r)
	if err != nil {
		return err
	}
	v, err := (handlers{h.Server, networks{h.Server}}).lookup(t, callerOf(r), mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	q, err := parseQuery(model.Agents, r.URL.RawQuery)
	if err != nil {
		return err
	}
	all, network := []view{}, v.Row().ID
	if _, ok := t.DHCPPort(network); ok {
		hosts := make(map[string]bool)
		for p := range t.PortsOf(network) {
			if at, _, _ := bind(t, p); at != "" {
				hosts[at] = true
			}
		}
		for host := range t.Hosts() {
			if hosts[host.Hostname] {
				a := agentOf(host, model.AgentDHCP)
				h.derive(t, callerOf(r), a)
				all = append(all, a)
			}
		}
	}
	h.writeAll(w, r, http.StatusOK, q, all, nil)
	return nil
}
