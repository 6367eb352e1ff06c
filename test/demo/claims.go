package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// claim is one thing that is said and shown. show returns what proved it.
type claim struct {
	says   string
	needed bool // the later ones make no sense without it
	show   func(*Deployment, context.Context) (proof string, err error)
}

// claims are shown in this order.
func (d *Deployment) claims() []claim {
	all := []claim{
		{"A host enrols with one ovs-vsctl command", true, (*Deployment).enrolment},
		{"A port is ACTIVE once its flows are acknowledged", true, (*Deployment).wiring},
		{"A provider bridge gets a patch port, and nothing else is touched", false, (*Deployment).provider},
		{"Guests get their leases from packet-ins", true, (*Deployment).leases},
		{"Every pair of guests can talk, on all six types of network, without a lost packet", false, (*Deployment).pings},
		{"Machines on the physical network and guests can talk", false, (*Deployment).outside},
	}
	for _, n := range d.networks {
		says := fmt.Sprintf("On the wire, network %s (%s) is what the API says", n.Name, n.Type)
		if n.carrier() == "" {
			says = fmt.Sprintf("Network %s (%s) is on no wire", n.Name, n.Type)
		}
		all = append(all, claim{says, false, n.wire})
	}
	return append(all,
		claim{"No ARP request for a known address leaves its host", false, (*Deployment).arp},
		claim{"Nothing crosses from one network into another", false, (*Deployment).apart},
		claim{"The same address in two networks is two addresses", false, (*Deployment).twin},
		claim{"Every installed flow says why it is there", false, (*Deployment).explanation},
		claim{"The controller killed and restarted: no packet lost, no flow touched", false, (*Deployment).restart},
	)
}

type hostState struct {
	Hostname string `json:"hostname"`
	Alive    bool   `json:"alive"`
	Waiting  string `json:"waiting"`
	Pending  string `json:"pending"`
	Error    string `json:"last_error"`
	EncapIP  string `json:"encap_ip"`
}

// settled says whether all hosts are connected and have nothing pending.
func (d *Deployment) settled() error {
	text, err := d.tool("hosts", "--json")
	if err != nil {
		return err
	}
	var hosts []hostState
	if err := json.Unmarshal([]byte(text), &hosts); err != nil {
		return err
	}
	if len(hosts) != len(d.Hosts) {
		return fmt.Errorf("%d hosts are enrolled, want %d", len(hosts), len(d.Hosts))
	}
	for _, h := range hosts {
		if !h.Alive || h.Waiting != "" || h.Pending != "" || h.Error != "" {
			return fmt.Errorf("host %s: alive %t; waiting: %q; pending: %q; error: %q", h.Hostname, h.Alive, h.Waiting, h.Pending, h.Error)
		}
	}
	return nil
}

func (d *Deployment) enrolment(ctx context.Context) (string, error) {
	start := time.Now()
	for _, h := range d.Hosts {
		ids := map[string]string{"tunbridge-bridge-mappings": physicalNetwork + ":" + providerBridge}
		if err := h.Enroll("tcp:"+testbed.ManagementAddr.String()+":6640", ids); err != nil {
			return "", err
		}
	}
	if err := d.await(ctx, 20*time.Second, d.settled); err != nil {
		return "", err
	}
	took := time.Since(start)
	// The userspace datapath drops what it sends to a tunnel neighbour that it has yet to resolve.
	if err := d.bed.WarmTunnels(); err != nil {
		return "", err
	}
	return fmt.Sprintf("ovs-vsctl set-manager on %d hosts; br-int and br-tun made and programmed %d ms later", len(d.Hosts), took.Milliseconds()), nil
}

func (d *Deployment) wiring(ctx context.Context) (string, error) {
	for _, n := range d.networks {
		if err := d.addNetwork(ctx, n); err != nil {
			return "", err
		}
	}
	if err := each(d.networks, 4, func(n *network) error { return d.populate(ctx, n) }); err != nil {
		return "", err
	}
	start := time.Now()
	if err := d.await(ctx, 10*time.Second, func() error { return d.active(ctx) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d ports of %d networks, bound through the API and plugged: ACTIVE at most %d ms after the last plug",
		len(d.allGuests()), len(d.networks), time.Since(start).Milliseconds()), nil
}

// provider looks at the bridges that are the operator's.
func (d *Deployment) provider(context.Context) (string, error) {
	var patches []string
	for _, h := range d.Hosts {
		mode, err := h.Vsctl("get", "Bridge", providerBridge, "fail_mode", "controller", "other_config", "external_ids", "protocols")
		if err != nil {
			return "", err
		}
		if got := strings.Fields(mode); !slices.Equal(got, []string{"standalone", "[]", "{}", "{}", "[]"}) {
			return "", fmt.Errorf("%s of %s has fail_mode, controller, other_config, external_ids and protocols %s", providerBridge, h.Name, got)
		}
		ports, err := h.Vsctl("list-ports", providerBridge)
		if err != nil {
			return "", err
		}
		list := slices.DeleteFunc(strings.Fields(ports), func(p string) bool { return p == "ex0" })
		if len(list) != 1 {
			return "", fmt.Errorf("%s of %s has, besides its NIC, ports %q", providerBridge, h.Name, list)
		}
		if kind, err := h.Vsctl("get", "Interface", list[0], "type"); err != nil || kind != "patch" {
			return "", fmt.Errorf("port %s of %s is of type %s, error %v", list[0], h.Name, kind, err)
		}
		flows, err := h.Ofctl("--no-stats", "dump-flows", providerBridge)
		if err != nil {
			return "", err
		}
		if lines := strings.Fields(flows); !slices.Equal(lines, []string{"priority=0", "actions=NORMAL"}) {
			return "", fmt.Errorf("%s of %s has flows:\n%s", providerBridge, h.Name, flows)
		}
		patches = append(patches, list[0])
	}
	return fmt.Sprintf("%s of %d hosts: standalone as it was, no Controller row, its one NORMAL flow; new is %s", providerBridge, len(d.Hosts), strings.Join(slices.Compact(patches), ", ")), nil
}

// active says whether every guest's port is ACTIVE.
func (d *Deployment) active(ctx context.Context) error {
	for _, g := range d.allGuests() {
		var shown struct{ Port port }
		if err := d.call(ctx, http.MethodGet, "/v2.0/ports/"+g.port.ID, nil, &shown); err != nil {
			return err
		}
		if shown.Port.Status != "ACTIVE" {
			return fmt.Errorf("port of %s is %s", g.name, shown.Port.Status)
		}
	}
	return nil
}

// mtu is what a network of the type can carry here.
func mtu(networkType string) int {
	switch networkType {
	case "vxlan", "geneve": // around the guest's packet: Ethernet, 8 of either, UDP, IPv4
		return testbed.UnderlayMTU - 14 - 8 - 8 - 20
	case "gre": // Ethernet, 8 with the key, IPv4
		return testbed.UnderlayMTU - 14 - 8 - 20
	case "flat", "vlan":
		return physicalMTU
	}
	return testbed.UnderlayMTU
}

func (d *Deployment) leases(context.Context) (string, error) {
	var mu sync.Mutex
	var slowest time.Duration
	guests := d.allGuests()
	err := each(guests, 4, func(g *guest) error {
		start := time.Now()
		lease, err := g.vm.DHCP()
		if err != nil {
			return err
		}
		took := time.Since(start)
		mu.Lock()
		slowest = max(slowest, took)
		mu.Unlock()
		switch n := g.network; {
		case lease.Prefix != netip.PrefixFrom(g.address, 24):
			return fmt.Errorf("%s got %s, the API says %s", g.name, lease.Prefix, g.address)
		case lease.Router != netip.MustParseAddr("10.0.0.1"):
			return fmt.Errorf("%s got router %s", g.name, lease.Router)
		case len(lease.DNS) != 1 || lease.DNS[0] != netip.MustParseAddr("192.0.2.53"):
			return fmt.Errorf("%s got DNS %v", g.name, lease.DNS)
		case lease.MTU != n.MTU || n.MTU != mtu(n.Type):
			return fmt.Errorf("%s got MTU %d, the API says %d, %s can have %d here", g.name, lease.MTU, n.MTU, n.Type, mtu(n.Type))
		case !slices.Contains(lease.Routes, testbed.Route{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("10.0.0.9")}):
			return fmt.Errorf("%s got routes %v", g.name, lease.Routes)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("udhcpc in %d guests: address, mask, router, DNS, domain, MTU and routes as the API has them; slowest %d ms with the client's start, four at a time",
		len(guests), slowest.Milliseconds()), nil
}

func (d *Deployment) explanation(context.Context) (string, error) {
	total := 0
	for _, h := range d.Hosts {
		text, err := d.tool("flows", h.Name, "--json")
		if err != nil {
			return "", err
		}
		var list []struct {
			Match    string `json:"match"`
			Table    int    `json:"table"`
			Name     string `json:"table_name"`
			ObjectID string `json:"object_id"`
			Reason   string `json:"reason"`
			Owner    string `json:"owner"`
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return "", err
		}
		for _, f := range list {
			if f.Name == "" || f.ObjectID == "" || f.Reason == "" || f.Owner == "foreign" {
				return "", fmt.Errorf("%s: table %d %s %q: object %q, reason %q", h.Name, f.Table, f.Name, f.Match, f.ObjectID, f.Reason)
			}
		}
		total += len(list)
		if out, err := d.tool("diff", h.Name); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
	}
	return fmt.Sprintf("%d flows read from the switches: each with table name, owner, object and reason; installed is what is wanted", total), nil
}
