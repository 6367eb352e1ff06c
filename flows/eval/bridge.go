package eval

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"

	"github.com/tunbridge/tunbridge/flows"
	of "github.com/tunbridge/tunbridge/flows/openflow"
)

// Host is the two bridges of a host.
type Host struct {
	Name    string     // hostname
	Encap   netip.Addr // its end of all tunnels
	Bridges [len(flows.Bridges)]*Bridge
}

// Bridge is what one bridge held when it was read.
type Bridge struct {
	tables map[uint8][]rule // by falling priority
	groups map[uint32]*of.GroupDesc
	ports  map[uint32]Port
}

// rule is a flow with its match taken apart.
type rule struct {
	flow  *of.FlowStats
	match []of.FieldValue
}

// Port is a port of a bridge and what it leads to. Without any of the fields after Down that is something
// which nothing is known of.
type Port struct {
	Number   uint32
	Name     string // of the interface
	Down     bool   // nobody listens at the other end: the device has no carrier
	Peer     uint32 // a patch to the host's other bridge: its number there
	Tunnel   string // a tunnel to all other hosts: the network type that it is for
	Physical string // a patch to a provider bridge: its physical network
	Provider string // that bridge
	VIF      string // ID of the API's port
}

// NewBridge indexes what was read. The flows and groups are not changed, and must not be changed later.
func NewBridge(installed []of.FlowStats, groups []of.GroupDesc, ports []Port) *Bridge {
	b := &Bridge{tables: map[uint8][]rule{}, groups: make(map[uint32]*of.GroupDesc, len(groups)), ports: make(map[uint32]Port, len(ports))}
	for i := range installed {
		f := &installed[i]
		b.tables[f.Table] = append(b.tables[f.Table], rule{f, slices.Collect(f.Match.Fields())})
	}
	for _, rules := range b.tables {
		slices.SortStableFunc(rules, func(x, y rule) int { return cmp.Compare(y.flow.Priority, x.flow.Priority) })
	}
	for i := range groups {
		b.groups[groups[i].ID] = &groups[i]
	}
	for _, p := range ports {
		b.ports[p.Number] = p
	}
	return b
}

// lookup is the flow with the highest priority that matches; nil if none does. Of two with the same
// priority Open vSwitch takes either.
func (b *Bridge) lookup(table uint8, p *Packet) *of.FlowStats {
	for _, r := range b.tables[table] {
		if p.matches(r.match) {
			return r.flow
		}
	}
	return nil
}

// port finds the port, of those with the lowest number, that want takes.
func (b *Bridge) port(want func(Port) bool) (found Port, ok bool) {
	for _, p := range b.ports {
		if want(p) && (!ok || p.Number < found.Number) {
			found, ok = p, true
		}
	}
	return found, ok
}

// Fabric is what lies between hosts. Run asks it for each frame that leaves one.
type Fabric interface {
	// Peer is the host at the other end of a tunnel. The error says why a frame does not get there; it wraps
	// ErrUnread if what the host does with it cannot be told.
	Peer(from *Host, networkType string, to netip.Addr) (*Host, error)
	// Wire are the other hosts that a frame may come to through a physical network.
	Wire(from *Host, physical string) ([]*Host, error)
}

// ErrUnread is of a host whose switches cannot be read.
var ErrUnread = errors.New("what becomes of a frame there cannot be read")
