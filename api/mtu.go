package api

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// MTUs are the largest IP packets, in bytes, of what networks are carried on.
//
// A network's MTU is worked out when it is created and stored with it, as its machines are told it once
// and keep it as long as they run. When the configuration changes, networks keep what they have until
// mtu is set; 0 sets the largest that is possible then. A network that has more than can now be carried
// is named at start.
type MTUs struct {
	// Underlay is that of the network between the hosts; 0 is 1500.
	Underlay int
	// UnderlayIPv6 makes room for IPv6 headers around tunnelled frames; else they are IPv4's.
	UnderlayIPv6 bool
	// Physical are those of physical networks by name; that of one not named is Underlay.
	Physical map[string]int
}

// Largest is the largest IP packet that fits into frames on the segment. Frames of a local network
// are on no wire; it has the underlay's, so that it has the same as others on the host.
func (m MTUs) Largest(s model.Segment) int {
	underlay := m.Underlay
	if underlay == 0 {
		underlay = 1500
	}
	if s.Overlay() {
		return underlay - model.TunnelOverhead(s.NetworkType, m.UnderlayIPv6)
	}
	if physical, ok := m.Physical[s.PhysicalNetwork]; ok && s.Provider() {
		return physical
	}
	return underlay
}

// fit is the MTU wanted on a segment if it can be had, or the largest for 0.
func (m MTUs) fit(s model.Segment, wanted int) (int, error) {
	largest := m.Largest(s)
	if wanted > largest {
		return 0, model.InvalidInput("mtu '%d': Requested MTU is too big, maximum is %d", wanted, largest)
	}
	if wanted == 0 {
		return largest, nil
	}
	return wanted, nil
}

// warn names the networks that have a larger MTU than can be carried.
func (m MTUs) warn(log *slog.Logger, t *store.Tables) {
	for n := range t.Networks() {
		if largest := m.Largest(n.Segment); n.MTU > largest {
			log.Warn("network has a larger mtu than can be carried: set it to 0, and have its machines renew their leases",
				"network", n.ID, "mtu", n.MTU, "largest", largest)
		}
	}
}

// PhysicalMTU is the MTU of one physical network.
type PhysicalMTU struct {
	PhysicalNetwork string
	MTU             int // bytes
}

// UnmarshalText reads Neutron's "PHYSNET:MTU".
func (p *PhysicalMTU) UnmarshalText(text []byte) error {
	name, number, _ := strings.Cut(string(text), ":")
	mtu, err := strconv.Atoi(number)
	if name == "" || err != nil || mtu < leastMTU {
		return fmt.Errorf("%q: want PHYSNET:MTU, with MTU from %d", text, leastMTU)
	}
	*p = PhysicalMTU{name, mtu}
	return nil
}

// leastMTU is that of IPv4 (RFC 791 §3.2), leastMTU6 that of IPv6 (RFC 8200 §5).
const (
	leastMTU  = 68
	leastMTU6 = 1280
)

// checkMTU refuses an MTU below the least that the subnet's IP version allows.
func checkMTU(n *model.Network, s *model.Subnet) error {
	least := leastMTU
	if s.IPVersion == 6 {
		least = leastMTU6
	}
	if n.MTU < least {
		return conflict("NetworkMTUSubnetConflict", "MTU of %s is not valid, subnet requires a minimum of %d", n.ID, least)
	}
	return nil
}
