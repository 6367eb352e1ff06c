package flows

import (
	"fmt"
	"slices"

	"github.com/tunbridge/tunbridge/api/model"
)

// Bridge is one of the two bridges that are programmed on every host.
type Bridge uint8

const (
	BrInt Bridge = iota // VIFs, port security, local switching
	BrTun               // tunnels
)

// Bridges are all programmed bridges.
var Bridges = [...]Bridge{BrInt, BrTun}

// String is the bridge's name on the host.
func (b Bridge) String() string {
	switch b {
	case BrInt:
		return "br-int"
	case BrTun:
		return "br-tun"
	}
	return fmt.Sprintf("bridge(%d)", uint8(b))
}

// Table is one OpenFlow table. Numbers are stable: runbooks and dumps mention them.
type Table struct {
	Bridge  Bridge
	Number  uint8
	Name    string  // pushed into the switch
	Purpose string  // one line, for docs and explanations
	Owners  []Owner // who may emit flows into it
	Learned bool    // filled by the switch itself; left out of dump, diff, audit and flow monitor

	// Prefixes are the fields that the switch looks up by prefix here (Flow_Table.prefixes of its
	// database), sorted, so that flows for some addresses do not cost a megaflow for each other one. None:
	// as it does by itself, which is the addresses of IPv4.
	Prefixes []string
}

// String is the table as the documentation names it, "br-int 60 l2".
func (t *Table) String() string { return fmt.Sprintf("%s %d %s", t.Bridge, t.Number, t.Name) }

// The tables. A packet only moves to higher numbers, except that classify is entered once more for a
// priority-tagged frame or behind a tap, output looks into tap_out, and group buckets resubmit to output.
var (
	Classify      = table(BrInt, 0, "classify", "ingress port and exact tag state give REG_PORT and REG_NET; everything else is dropped", OwnerL2, OwnerCapture)
	TapIn         = table(BrInt, 5, "tap_in", "frames that a captured VIF sent or a physical network brought, as they came: a copy to the controller", OwnerCapture)
	PortSecMAC    = table(BrInt, 10, "port_security_mac", "the frame's source MAC is one of the port's", OwnerL2)
	PortSecKind   = table(BrInt, 11, "port_security_kind", "which address and which link-layer address must this frame prove", OwnerL2).byPrefix("ip_src", "ipv6_src")
	PortSecIP     = table(BrInt, 12, "port_security_ip", "the address to prove is one of the port's", OwnerL2)
	PortSecLLA    = table(BrInt, 13, "port_security_lla", "the link-layer address to prove is one of the port's", OwnerL2)
	MACLearn      = table(BrInt, 15, "mac_learn", "what sends here has no address that the API knows: its MAC is learnt", OwnerL2)
	PuntSelect    = table(BrInt, 20, "punt", "requests that the controller answers: REG_OP says which", OwnerL2, OwnerL2Pop, OwnerDHCP, OwnerMetadata)
	PuntMeter     = table(BrInt, 21, "punt_meter", "one flow per port: its meter, then the controller", OwnerL2)
	ARPND         = table(BrInt, 30, "arp_nd", "ARP requests and neighbour solicitations for known addresses", OwnerL2Pop, OwnerDHCP, OwnerMetadata)
	ARPNDAnswer   = table(BrInt, 31, "arp_nd_answer", "turns the request into its answer", OwnerL2Pop)
	NDAnswer      = table(BrInt, 32, "nd_answer", "completes a neighbour advertisement", OwnerL2Pop)
	L2            = table(BrInt, 60, "l2", "destination MAC gives REG_OUT; one default per network", OwnerL2)
	L2Learned     = learned(BrInt, 61, "l2_learned", "MACs behind ports without port security: REG_OUT")
	L2Unknown     = table(BrInt, 62, "l2_unknown", "MAC that is not learnt: the network's group of ports without port security", OwnerL2)
	L2Flood       = table(BrInt, 65, "l2_flood", "broadcast and multicast: the network's group", OwnerL2)
	TapOut        = table(BrInt, 85, "tap_out", "frames that a captured VIF or a physical network is sent: a copy to the controller", OwnerCapture)
	Output        = table(BrInt, 90, "output", "sends, with the local VLAN, the provider's tag, or none", OwnerL2, OwnerCapture)
	IntSentinel   = table(BrInt, 253, "sentinel", "written last: tells a restarted switch from a programmed one", OwnerController)
	TunClassify   = table(BrTun, 0, "classify", "from br-int, or from an enrolled host through a tunnel", OwnerL2Pop, OwnerCapture)
	TunTap        = table(BrTun, 1, "tap", "frames of captured ports or of a captured host, between br-int and tunnels: a copy to the controller", OwnerCapture)
	TunFromInt    = table(BrTun, 2, "from_int", "unicast or flood", OwnerL2Pop)
	TunFromGRE    = table(BrTun, 3, "from_gre", "key gives the local VLAN; 0 is a probe", OwnerL2Pop, OwnerProbe)
	TunFromVXLAN  = table(BrTun, 4, "from_vxlan", "VNI gives the local VLAN; 0 is a probe", OwnerL2Pop, OwnerProbe)
	TunFromGeneve = table(BrTun, 6, "from_geneve", "VNI gives the local VLAN; 0 is a probe", OwnerL2Pop, OwnerProbe)
	TunLearn      = table(BrTun, 10, "learn", "network has a port without port security elsewhere: its MACs are learnt", OwnerL2Pop)
	TunUnicast    = table(BrTun, 20, "unicast", "known MAC: exactly one host", OwnerL2Pop)
	TunLearned    = learned(BrTun, 21, "learned", "MACs behind ports without port security: their host")
	TunFlood      = table(BrTun, 22, "flood", "the network's group of member hosts", OwnerL2Pop)
	TunUnknown    = table(BrTun, 23, "unknown", "learnt host, or the network's group of hosts with a port without port security", OwnerL2Pop)
	TunSentinel   = table(BrTun, 253, "sentinel", "written last: tells a restarted switch from a programmed one", OwnerController)
)

// Arrivals are the tables that the frames of each kind of tunnel go to first, by network type.
var Arrivals = map[string]*Table{model.TypeGRE: TunFromGRE, model.TypeVXLAN: TunFromVXLAN, model.TypeGeneve: TunFromGeneve}

var pipeline []*Table

func table(b Bridge, number uint8, name, purpose string, owners ...Owner) *Table {
	t := &Table{Bridge: b, Number: number, Name: name, Purpose: purpose, Owners: owners}
	pipeline = append(pipeline, t)
	return t
}

// byPrefix declares Prefixes.
func (t *Table) byPrefix(fields ...string) *Table {
	t.Prefixes = fields
	return t
}

// learned declares a table that the switch fills by itself: what is known is in a table before it.
func learned(b Bridge, number uint8, name, purpose string) *Table {
	t := table(b, number, name, purpose)
	t.Learned = true
	return t
}

// Pipeline is every table, by bridge and number.
func Pipeline() []*Table {
	p := slices.Clone(pipeline)
	slices.SortFunc(p, func(a, b *Table) int {
		if a.Bridge != b.Bridge {
			return int(a.Bridge) - int(b.Bridge)
		}
		return int(a.Number) - int(b.Number)
	})
	return p
}

// TableOf finds a table by bridge and number; nil if it is not ours.
func TableOf(b Bridge, number uint8) *Table {
	for _, t := range pipeline {
		if t.Bridge == b && t.Number == number {
			return t
		}
	}
	return nil
}

// Sentinel is the table that holds a bridge's sentinel flow.
func (b Bridge) Sentinel() *Table {
	if b == BrTun {
		return TunSentinel
	}
	return IntSentinel
}
