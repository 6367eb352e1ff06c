package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// agent finds the agent of a host.
func (b *bench) agent(host, agentType string) map[string]any {
	b.t.Helper()
	found, _ := b.send("GET", "/v2.0/agents?host="+host+"&agent_type="+strings.ReplaceAll(agentType, " ", "%20"), "").body["agents"].([]any)
	if len(found) != 1 {
		b.t.Fatalf("%d agents of %s are a %s", len(found), host, agentType)
	}
	return found[0].(map[string]any)
}

func (b *bench) alive(host string, alive bool) {
	b.t.Helper()
	b.store.SetHostStatus(model.HostStatus{ID: "id-" + host, Alive: alive, Since: time.Now()})
	if err := b.store.FlushStatus(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// TestAgents follows a host as clients see it.
func TestAgents(t *testing.T) {
	b := newBench(t)
	if got := b.send("GET", "/v2.0/agents", "").text; got != `{"agents":[]}` {
		t.Errorf("without hosts: %s", got)
	}
	b.host("h1", "h2")
	ovs, dhcp := b.agent("h1", model.AgentOVS), b.agent("h1", model.AgentDHCP)
	if ovs["alive"] != false || ovs["admin_state_up"] != true || ovs["description"] != nil || ovs["availability_zone"] != nil {
		t.Errorf("a host that is away: %v", ovs)
	}
	b.alive("h1", true)
	one := "/v2.0/agents/" + ovs["id"].(string)
	ovs = b.must("GET", one, "", "agent")
	beat, err := time.Parse(time.DateTime, ovs["heartbeat_timestamp"].(string))
	if err != nil || time.Since(beat) > time.Minute || ovs["alive"] != true {
		t.Errorf("a host that answers: %v (%v)", ovs, err)
	}
	if got := fmt.Sprint(ovs["configurations"]); got != "map[arp_responder_enabled:true bridge_mappings:map[] datapath_type:netdev devices:0 integration_bridge:br-int l2_population:true ovs_hybrid_plug:false system_id:id-h1 tunnel_types:[vxlan] tunneling_ip:172.31.0.1]" {
		t.Errorf("its configurations: %s", got)
	}
	for query, want := range map[string]int{
		"": 4, "alive=True": 2, "alive=false": 2, "host=h2": 2, "agent_type=DHCP%20agent&host=h2": 1, "binary=neutron-dhcp-agent": 2,
		"admin_state_up=False": 0, "id=" + ovs["id"].(string): 1, "sort_key=host&sort_dir=desc&limit=3": 3,
	} {
		if got, _ := b.send("GET", "/v2.0/agents?"+query, "").body["agents"].([]any); len(got) != want {
			t.Errorf("%s: %d agents, not %d", query, len(got), want)
		}
	}
	b.refused("GET", "/v2.0/agents?tags=x", "", 400, "HTTPBadRequest", "['tags'] is invalid attribute for filtering")
	b.refused("POST", "/v2.0/agents", `{"agent":{}}`, 405, "HTTPMethodNotAllowed", errMethod.Message)
	b.refused("PUT", one, `{"agent":{"host":"h3"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute host")

	set := b.must("PUT", one, `{"agent":{"description":"rack 7","admin_state_up":false}}`, "agent")
	if set["description"] != "rack 7" || set["admin_state_up"] != false {
		t.Errorf("after the update: %v", set)
	}
	if set = b.must("PUT", one, `{"agent":{"description":null}}`, "agent"); set["description"] != nil || set["admin_state_up"] != false {
		t.Errorf("without its description: %v", set)
	}

	b.refused("DELETE", one, "", 409, "AgentInUse", "Agent "+ovs["id"].(string)+" is alive: host h1 answers. Disconnect the host first, with `ovs-vsctl del-manager` on it.")
	b.alive("h1", false)
	if out := b.send("DELETE", one, ""); out.status != http.StatusNoContent {
		t.Errorf("DELETE: %d %s", out.status, out.text)
	}
	for _, id := range []any{ovs["id"], dhcp["id"]} {
		b.refused("GET", "/v2.0/agents/"+id.(string), "", 404, "AgentNotFound", "Agent "+id.(string)+" could not be found.")
	}
	b.host("h1")
	if again := b.agent("h1", model.AgentOVS); again["id"] != ovs["id"] || again["admin_state_up"] != true {
		t.Errorf("the host has come back: %v", again)
	}
}

// TestDHCPAgents shows where DHCP is answered.
func TestDHCPAgents(t *testing.T) {
	b := newBench(t)
	b.host("h1", "h2")
	n := b.network()
	agentsOf := func() (hosts string) {
		for _, a := range b.send("GET", "/v2.0/networks/"+n+"/dhcp-agents", "").body["agents"].([]any) {
			hosts += a.(map[string]any)["host"].(string)
		}
		return hosts
	}
	port := func(more string) {
		b.must("POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q%s}}`, n, more), "port")
	}
	port(`,"binding:host_id":"h1","fixed_ips":[]`)
	if got := agentsOf(); got != "" {
		t.Errorf("a network without DHCP is at %s", got)
	}
	b.subnet(n, "10.0.0.0/24", "")
	port(`,"binding:host_id":"h1"`)
	port("")
	if got := agentsOf(); got != "h1" {
		t.Errorf("the network is at %s, not h1", got)
	}
	for host, want := range map[string]int{"h1": 1, "h2": 0} {
		a := b.agent(host, model.AgentDHCP)
		path := "/v2.0/agents/" + a["id"].(string) + "/dhcp-networks"
		if got := b.send("GET", path, "").body["networks"].([]any); len(got) != want {
			t.Errorf("%s: %d networks, not %d", host, len(got), want)
		}
		if got := fmt.Sprint(a["configurations"]); host == "h1" && got != "map[dhcp_driver:tunbridge networks:1 ports:2 subnets:1]" {
			t.Errorf("%s: %s", host, got)
		}
		given, taken, errorTypes := fmt.Sprintf("The network %s has been already hosted by the DHCP Agent %s.", n, a["id"]),
			fmt.Sprintf("The network %s cannot be taken from DHCP Agent %s: DHCP is answered on every host that has a port of the network. Turn it off with enable_dhcp of the network's subnets.", n, a["id"]),
			[2]string{"NetworkHostedByDHCPAgent", "NetworkNotRemovable"}
		if host == "h2" {
			given, taken, errorTypes = fmt.Sprintf("The network %s cannot be given to DHCP Agent %s: DHCP is answered on every host that has a port of the network, if it has a subnet with enable_dhcp, and nowhere else.", n, a["id"]),
				fmt.Sprintf("The network %s is not hosted by the DHCP agent %s.", n, a["id"]), [2]string{"NetworkNotSchedulable", "NetworkNotHostedByDhcpAgent"}
		}
		b.refused("POST", path, fmt.Sprintf(`{"network_id":%q}`, n), 409, errorTypes[0], given)
		b.refused("POST", path, `{"network_id":"x"}`, 404, "NetworkNotFound", "Network x could not be found.")
		b.refused("DELETE", path+"/"+n, "", 409, errorTypes[1], taken)
		ovs := b.agent(host, model.AgentOVS)["id"].(string)
		b.refused("GET", "/v2.0/agents/"+ovs+"/dhcp-networks", "", 409, "InvalidDHCPAgent", "Agent "+ovs+" is not a valid DHCP Agent or has been disabled.")
	}
}

// TestZones shows the zones of hosts, and those of networks.
func TestZones(t *testing.T) {
	b := newBench(t)
	b.refused("POST", "/v2.0/networks", `{"network":{"availability_zone_hints":["nova"]}}`, 404, "AvailabilityZoneNotFound", "AvailabilityZone nova could not be found.")
	b.host("h1")
	for i, zone := range []string{"a/b", "north", "north", "é"} {
		name := fmt.Sprint("z", i)
		_, err := b.store.Update(t.Context(), func(tx *store.Tx) error {
			return tx.PutHost(&model.Host{ID: "id-" + name, Hostname: name, AvailabilityZone: zone, EncapIP: netip.MustParseAddr("172.31.1.1")})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	list := func(query string) string {
		return b.send("GET", "/v2.0/availability_zones"+query, "").text
	}
	entry := func(name, state string) string {
		return fmt.Sprintf(`{"name":"%s","resource":"network","state":"%s"}`, name, state)
	}
	if got, want := list("?sort_key=name&sort_dir=asc"), `{"availability_zones":[`+entry("a/b", "available")+","+entry("north", "available")+","+entry("nova", "available")+","+entry("é", "available")+`]}`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	down := func(host string) {
		b.must("PUT", "/v2.0/agents/"+b.agent(host, model.AgentDHCP)["id"].(string), `{"agent":{"admin_state_up":false}}`, "agent")
	}
	down("z1")
	if got := list("?name=north&fields=state"); got != `{"availability_zones":[{"state":"available"}]}` {
		t.Errorf("one of two hosts is down: %s", got)
	}
	down("z2")
	if got, want := list("?state=unavailable"), `{"availability_zones":[`+entry("north", "unavailable")+`]}`; got != want {
		t.Errorf("both are down: %s", got)
	}
	if got := list("?resource=router"); got != `{"availability_zones":[]}` {
		t.Errorf("of routers: %s", got)
	}
	n := b.must("POST", "/v2.0/networks", `{"network":{"availability_zone_hints":["north","nova"]}}`, "network")
	if got := fmt.Sprint(n["availability_zone_hints"], n["availability_zones"]); got != "[north nova] []" {
		t.Errorf("a network of two zones: %s", got)
	}
	b.subnet(n["id"].(string), "10.0.0.0/24", "")
	n = b.must("GET", "/v2.0/networks/"+n["id"].(string), "", "network")
	if got := fmt.Sprint(n["availability_zones"]); got != "[é a/b north nova]" {
		t.Errorf("with DHCP: %s", got)
	}
	if got := b.send("GET", "/v2.0/agents/"+uuid.NewString(), "").status; got != http.StatusNotFound {
		t.Errorf("an unknown agent: %d", got)
	}
}
