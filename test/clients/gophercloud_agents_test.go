package clients

import (
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/tunbridge/tunbridge/test/testbed"
)

func (l *library) agent(id string) *agents.Agent {
	l.t.Helper()
	a, err := agents.Get(l.ctx, l.ServiceClient, id).Extract()
	l.need("show agent", err)
	return a
}

// agentIDs are those of the agents that a list has.
func (l *library) agentIDs(o agents.ListOpts) []string {
	l.t.Helper()
	return list(l, agents.List(l.ServiceClient, o), agents.ExtractAgents, func(a agents.Agent) string { return a.ID })
}

// one is the only agent of a host that has a type.
func (l *library) one(host, agentType string) *agents.Agent {
	l.t.Helper()
	ids := l.agentIDs(agents.ListOpts{Host: host, AgentType: agentType})
	if len(ids) != 1 {
		l.t.Fatalf("%d agents of %s are a %s", len(ids), host, agentType)
	}
	return l.agent(ids[0])
}

// eventually waits until something is so, at most a minute.
func (l *library) eventually(what string, so func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// agents looks at the hosts, and lets the second one go away and come back.
func (l *library) agents(network string, second *testbed.CheapHost, ovsdb string) {
	yes, no := true, false
	l.eventually("all hosts answer", func() bool { return len(l.agentIDs(agents.ListOpts{Alive: &yes})) == 4 })
	dhcp, other, vswitch := l.one("compute01", "DHCP agent"), l.one("compute02", "DHCP agent"), l.one("compute02", "Open vSwitch agent")
	want := agents.Agent{ID: dhcp.ID, AdminStateUp: true, AgentType: "DHCP agent", Alive: true, AvailabilityZone: "north", Binary: "neutron-dhcp-agent", Host: "compute01", Topic: "dhcp_agent",
		Configurations: map[string]any{"dhcp_driver": "tunbridge", "networks": 0., "ports": 0., "subnets": 0.}, CreatedAt: dhcp.CreatedAt, StartedAt: dhcp.StartedAt, HeartbeatTimestamp: dhcp.HeartbeatTimestamp}
	l.same("DHCP agent", *dhcp, want)
	if dhcp.CreatedAt.IsZero() || dhcp.StartedAt.Before(dhcp.CreatedAt) || dhcp.HeartbeatTimestamp.Before(dhcp.StartedAt) {
		l.t.Fatalf("times of the DHCP agent: %+v", dhcp)
	}
	for _, c := range []struct {
		opts agents.ListOpts
		want []string
	}{
		{agents.ListOpts{Host: "compute01", Binary: "neutron-dhcp-agent"}, []string{dhcp.ID}},
		{agents.ListOpts{AvailabilityZone: "south"}, []string{other.ID}},
		{agents.ListOpts{Topic: "N/A", Host: "compute02", Limit: 1, SortKey: "host", SortDir: "desc"}, []string{vswitch.ID}},
		{agents.ListOpts{ID: dhcp.ID, Description: "rack 7"}, []string{}},
		{agents.ListOpts{Host: "nowhere"}, []string{}},
	} {
		l.same("agents", l.agentIDs(c.opts), c.want)
	}

	guest, err := ports.Create(l.ctx, l.ServiceClient, portsbinding.CreateOptsExt{HostID: "compute01", CreateOptsBuilder: ports.CreateOpts{NetworkID: network}}).Extract()
	l.need("create a bound port", err)
	scheduled := func(agent *agents.Agent, want ...string) {
		l.t.Helper()
		found, err := agents.ListDHCPNetworks(l.ctx, l.ServiceClient, agent.ID).Extract()
		l.need("list an agent's networks", err)
		ids := []string{}
		for _, n := range found {
			ids = append(ids, n.ID)
		}
		l.same("networks of "+agent.Host, ids, append([]string{}, want...))
	}
	l.need("turn DHCP on", l.dhcp(network, true))
	scheduled(dhcp, network)
	scheduled(other)
	for _, a := range []*agents.Agent{dhcp, other} {
		l.refused("schedule a network", http.StatusConflict, agents.ScheduleDHCPNetwork(l.ctx, l.ServiceClient, a.ID, agents.ScheduleDHCPNetworkOpts{NetworkID: network}).ExtractErr())
		l.refused("take a network away", http.StatusConflict, agents.RemoveDHCPNetwork(l.ctx, l.ServiceClient, a.ID, network).ExtractErr())
	}
	l.refused("schedule no network", http.StatusNotFound, agents.ScheduleDHCPNetwork(l.ctx, l.ServiceClient, dhcp.ID, agents.ScheduleDHCPNetworkOpts{NetworkID: nobody}).ExtractErr())
	scheduled(dhcp, network)
	l.need("turn DHCP off", l.dhcp(network, false))
	scheduled(dhcp)
	l.need("delete port", ports.Delete(l.ctx, l.ServiceClient, guest.ID).ExtractErr())

	_, err = agents.Update(l.ctx, l.ServiceClient, dhcp.ID, agents.UpdateOpts{Description: new("rack 7"), AdminStateUp: &no}).Extract()
	l.need("update agent", err)
	got := l.agent(dhcp.ID)
	l.same("AdminStateUp", got.AdminStateUp, false)
	l.same("described", l.agentIDs(agents.ListOpts{Description: "rack 7"}), []string{dhcp.ID})
	_, err = agents.Update(l.ctx, l.ServiceClient, dhcp.ID, agents.UpdateOpts{Description: new(""), AdminStateUp: &yes}).Extract()
	l.need("update agent", err)

	l.refused("delete an agent that answers", http.StatusConflict, agents.Delete(l.ctx, l.ServiceClient, vswitch.ID).ExtractErr())
	if _, err := second.Vsctl("del-manager"); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("the second host is known to be away", func() bool { return !l.agent(vswitch.ID).Alive && !l.agent(other.ID).Alive })
	l.same("away", len(l.agentIDs(agents.ListOpts{Alive: &no})), 2)
	l.need("delete agent", agents.Delete(l.ctx, l.ServiceClient, vswitch.ID).ExtractErr())
	_, err = agents.Get(l.ctx, l.ServiceClient, other.ID).Extract()
	l.refused("show a deleted agent", http.StatusNotFound, err)
	l.same("what is left", len(l.agentIDs(agents.ListOpts{})), 2)
	if _, err := second.Vsctl("set-manager", ovsdb); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("the second host is back", func() bool { return len(l.agentIDs(agents.ListOpts{Alive: &yes})) == 4 })
	l.same("Open vSwitch agent", l.one("compute02", "Open vSwitch agent").ID, vswitch.ID)
	for what, err := range map[string]error{
		"show":   agents.Get(l.ctx, l.ServiceClient, nobody).Err,
		"update": agents.Update(l.ctx, l.ServiceClient, nobody, agents.UpdateOpts{AdminStateUp: &no}).Err,
		"delete": agents.Delete(l.ctx, l.ServiceClient, nobody).ExtractErr(),
	} {
		l.refused(what+" no agent", http.StatusNotFound, err)
	}
}

// dhcp turns DHCP of a network's subnets on or off.
func (l *library) dhcp(network string, on bool) error {
	n, err := networks.Get(l.ctx, l.ServiceClient, network).Extract()
	if err != nil {
		return err
	}
	for _, id := range n.Subnets {
		if err := subnets.Update(l.ctx, l.ServiceClient, id, subnets.UpdateOpts{EnableDHCP: &on}).Err; err != nil {
			return err
		}
	}
	return nil
}
