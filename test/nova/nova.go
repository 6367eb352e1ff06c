// Package nova is a Nova for tests: it asks of Neutron what Nova 26 asks, in its order, and looks at what
// Nova looks at in the answers; and it takes external events as the compute API does.
//
//	Nova.Boot, Attach, Migrate … ── requests ──▶ Neutron API
//	     │  Plugger (os-vif, or a stand-in) ───▶ the host
//	     ◀── ServeHTTP: os-server-external-events ── Neutron
//
// nova.go has instances and the requests that all sequences share, sequences.go what a user does to an
// instance, migration.go how it moves, compute.go the events.
package nova

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Zone is the availability zone of all instances.
const Zone = "nova"

// Nova is one compute service with its hosts.
type Nova struct {
	Neutron string       // "http://127.0.0.1:9696"
	HTTP    *http.Client // that reaches it
	// Authenticate puts tokens into a request of the caller's; nil for a Neutron that wants none.
	Authenticate func(*http.Request, Caller) error
	Plugger      Plugger
	// PlugTimeout is vif_plugging_timeout.
	PlugTimeout time.Duration

	compute
}

// Caller is in whose name Nova asks.
type Caller int

const (
	User    Caller = iota // with the token of who owns the instance, and Nova's own as X-Service-Token
	Service               // with Nova's own token
)

// Plugger plugs VIFs on a host, as the compute agent there does.
type Plugger interface {
	Plug(host string, i *Instance, nic *NIC) error
	Unplug(host string, i *Instance, nic *NIC) error
}

// Instance is a server.
type Instance struct {
	ID, Project, Name string
	Host              string
	NICs              []*NIC

	aliases []string // of Neutron's extensions, when it was scheduled
}

// NIC is a VIF as Nova's network info cache has it.
type NIC struct {
	Port      string
	Network   string
	MAC       string
	Addresses []FixedIP
	Type      string
	Details   VIFDetails
	Active    bool
	MTU       int
	Ours      bool // Nova made the port, and deletes it
}

// FixedIP is an address of a port.
type FixedIP struct {
	Subnet  string `json:"subnet_id"`
	Address string `json:"ip_address,omitempty"`
}

// VIFDetails are what os-vif is told.
type VIFDetails struct {
	Connectivity string `json:"connectivity"`
	PortFilter   bool   `json:"port_filter"`
	HybridPlug   bool   `json:"ovs_hybrid_plug"`
	DatapathType string `json:"datapath_type"`
	BridgeName   string `json:"bridge_name"`
}

// Port is what Nova reads of a port.
type Port struct {
	ID           string     `json:"id"`
	Network      string     `json:"network_id"`
	Project      string     `json:"tenant_id"`
	MAC          string     `json:"mac_address"`
	FixedIPs     []FixedIP  `json:"fixed_ips"`
	Device       string     `json:"device_id"`
	Owner        string     `json:"device_owner"`
	Status       string     `json:"status"`
	Host         string     `json:"binding:host_id"`
	VIFType      string     `json:"binding:vif_type"`
	VIFDetails   VIFDetails `json:"binding:vif_details"`
	VNICType     string     `json:"binding:vnic_type"`
	IPAllocation string     `json:"ip_allocation"`
	DNSName      string     `json:"dns_name"`
}

// A Refusal is an answer of Neutron's with an error.
type Refusal struct {
	Request string
	Status  int
	Type    string
	Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.Request, r.Status, r.Type, r.Message)
}

// request makes one request. The answer must be of that status; an error has all that clients need.
func (n *Nova) request(ctx context.Context, as Caller, method, path string, body any, status int, answer any) error {
	what := method + " " + path
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, n.Neutron+"/v2.0/"+path, in)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "python-neutronclient")
	if n.Authenticate != nil {
		if err := n.Authenticate(r, as); err != nil {
			return fmt.Errorf("a token for %s: %w", what, err)
		}
	}
	resp, err := n.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != status {
		var e struct {
			NeutronError *struct{ Type, Message, Detail *string }
		}
		if json.Unmarshal(text, &e) != nil || e.NeutronError == nil || e.NeutronError.Type == nil || e.NeutronError.Message == nil || e.NeutronError.Detail == nil {
			return fmt.Errorf("%s: %d, not %d, and no error that a client can read: %s", what, resp.StatusCode, status, text)
		}
		return &Refusal{what, resp.StatusCode, *e.NeutronError.Type, *e.NeutronError.Message}
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, text)
	}
	return nil
}

func (n *Nova) get(ctx context.Context, as Caller, path string, answer any) error {
	return n.request(ctx, as, http.MethodGet, path, nil, http.StatusOK, answer)
}

type object = map[string]any

// putPort changes a port.
func (n *Nova) putPort(ctx context.Context, as Caller, id string, change object) (*Port, error) {
	var changed struct{ Port Port }
	err := n.request(ctx, as, http.MethodPut, "ports/"+id, object{"port": change}, http.StatusOK, &changed)
	return &changed.Port, err
}

// Extensions are the aliases that Neutron announces.
func (n *Nova) extensions(ctx context.Context) ([]string, error) {
	var list struct{ Extensions []struct{ Alias string } }
	err := n.get(ctx, Service, "extensions", &list)
	var aliases []string
	for _, e := range list.Extensions {
		aliases = append(aliases, e.Alias)
	}
	return aliases, err
}

// physical asks what the network is carried by.
func (n *Nova) physical(ctx context.Context, network string) error {
	var segments struct{ Network map[string]any }
	if err := n.get(ctx, Service, "networks/"+network+"?fields=segments", &segments); err != nil {
		return err
	}
	if s, ok := segments.Network["segments"]; ok && s != nil {
		return fmt.Errorf("network %s has segments %v, of which Nova would want one with a physical network", network, s)
	}
	var provider struct {
		Network struct {
			Type *string `json:"provider:network_type"`
		}
	}
	if err := n.get(ctx, Service, "networks/"+network+"?fields=provider:physical_network&fields=provider:network_type", &provider); err != nil {
		return err
	}
	if provider.Network.Type == nil {
		return fmt.Errorf("network %s has no provider:network_type for the service user", network)
	}
	return nil
}

// network is what Nova reads of a network.
type network struct {
	ID                  string
	Subnets             []string
	MTU                 int
	PortSecurityEnabled *bool `json:"port_security_enabled"`
}

// networks reads some by their ids.
func (n *Nova) networks(ctx context.Context, as Caller, ids ...string) (map[string]network, error) {
	query := url.Values{"id": slices.Compact(slices.Sorted(slices.Values(ids)))}
	var list struct{ Networks []network }
	if err := n.get(ctx, as, "networks?"+query.Encode(), &list); err != nil {
		return nil, err
	}
	found := map[string]network{}
	for _, w := range list.Networks {
		if w.PortSecurityEnabled == nil || w.MTU == 0 {
			return nil, fmt.Errorf("network %s has no port_security_enabled or no mtu", w.ID)
		}
		found[w.ID] = w
	}
	for _, id := range ids {
		if _, ok := found[id]; !ok {
			return nil, fmt.Errorf("network %s is not found by its id", id)
		}
	}
	return found, nil
}

// refresh reads the network info cache of an instance anew, with all the requests that takes.
func (n *Nova) refresh(ctx context.Context, i *Instance) error {
	var list struct{ Ports []Port }
	if err := n.get(ctx, Service, "ports?tenant_id="+url.QueryEscape(i.Project)+"&device_id="+i.ID, &list); err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, nic := range i.NICs {
		ours[nic.Port] = nic.Ours
	}
	was := i.NICs
	i.NICs = nil
	if len(list.Ports) == 0 {
		return nil
	}
	var ids []string
	for _, p := range list.Ports {
		ids = append(ids, p.Network)
	}
	networks, err := n.networks(ctx, Service, ids...)
	if err != nil {
		return err
	}
	slices.SortFunc(list.Ports, func(a, b Port) int { return strings.Compare(rank(was, a.ID), rank(was, b.ID)) })
	for _, p := range list.Ports {
		for _, f := range p.FixedIPs {
			err := n.request(ctx, Service, http.MethodGet, "floatingips?fixed_ip_address="+url.QueryEscape(f.Address)+"&port_id="+p.ID, nil, http.StatusOK, nil)
			if r, ok := err.(*Refusal); err != nil && !(ok && r.Status == http.StatusNotFound) { // no L3 here
				return err
			}
			var subnets struct {
				Subnets []struct {
					CIDR       string `json:"cidr"`
					EnableDHCP *bool  `json:"enable_dhcp"`
				}
			}
			if err := n.get(ctx, Service, "subnets?id="+f.Subnet, &subnets); err != nil {
				return err
			}
			if len(subnets.Subnets) != 1 || subnets.Subnets[0].CIDR == "" || subnets.Subnets[0].EnableDHCP == nil {
				return fmt.Errorf("subnet %s of port %s is shown as %+v", f.Subnet, p.ID, subnets)
			}
			var dhcp struct{ Ports []Port }
			if err := n.get(ctx, Service, "ports?network_id="+p.Network+"&device_owner=network:dhcp", &dhcp); err != nil {
				return err
			}
			if *subnets.Subnets[0].EnableDHCP && (len(dhcp.Ports) != 1 || len(dhcp.Ports[0].FixedIPs) == 0) {
				return fmt.Errorf("network %s has DHCP and %d ports of owner network:dhcp", p.Network, len(dhcp.Ports))
			}
		}
		if err := n.physical(ctx, p.Network); err != nil {
			return err
		}
		i.NICs = append(i.NICs, &NIC{Port: p.ID, Network: p.Network, MAC: p.MAC, Addresses: p.FixedIPs, Type: p.VIFType, Details: p.VIFDetails,
			Active: p.Status == "ACTIVE", MTU: networks[p.Network].MTU, Ours: ours[p.ID]})
	}
	return nil
}

// rank keeps NICs in the order in which they were attached.
func rank(nics []*NIC, port string) string {
	at := slices.IndexFunc(nics, func(n *NIC) bool { return n.Port == port })
	if at < 0 {
		at = len(nics)
	}
	return fmt.Sprintf("%03d %s", at, port)
}

// nic finds one of the instance's by its port.
func (i *Instance) nic(port string) (*NIC, error) {
	for _, nic := range i.NICs {
		if nic.Port == port {
			return nic, nil
		}
	}
	return nil, fmt.Errorf("instance %s has no NIC of port %s", i.Name, port)
}
