package controller

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// newcomer is a port of a network with an uplink that came to this host: bound, plugged, or heard here
// while it migrates. Its guest may be silent, and would be looked for where it was for as long as the
// switches of the physical network remember.
type newcomer struct {
	network uuid.UUID
	came    time.Time
	said    int // how often it was spoken for
}

// spokenForAt is when, after a port came: more than once, as hypervisors do it, since a frame may be lost,
// and the host that was left may pass on what the guest said there after the first.
var spokenForAt = [...]time.Duration{0, 40 * time.Millisecond, 120 * time.Millisecond, 350 * time.Millisecond, 750 * time.Millisecond, 1550 * time.Millisecond}

// word is what is said for a guest the nth time. An Open vSwitch on the way learns at once from a frame
// unlike those before it; from others, and from those that the guest sent where it was, when it reads its
// flows' counters, every half second, and not in the order in which they came. So the words differ.
func word(n int, p *flows.LocalPort) []byte {
	for _, ip := range p.FixedIPs {
		if kind := n % 3; ip.IPAddress.Is4() && kind > 0 {
			return arpBroadcast(openflow.EthTypeARP, uint16(kind), p.MACAddress, ip.IPAddress)
		}
	}
	return arpBroadcast(openflow.EthTypeRARP, 3, p.MACAddress, netip.IPv4Unspecified())
}

// speakForNewcomers announces the guests that were not here before, or were awaited, and says in which
// time it has to do so again; 0 for never. What is here when a session begins may have been here all the
// time.
func (h *host) speakForNewcomers(now time.Time) (again time.Duration) {
	before := h.settledIn
	h.settledIn = h.viewer.networks
	for id, memo := range h.viewer.networks {
		if before == nil || memo == before[id] || memo.network.Uplink == 0 {
			continue
		}
		here := map[uuid.UUID]bool{}
		if old := before[id]; old != nil {
			for _, p := range old.network.Local {
				here[p.ID] = !p.Awaited
			}
		}
		for _, p := range memo.network.Local {
			if !p.Awaited && !here[p.ID] {
				if h.newcomers == nil {
					h.newcomers = map[uuid.UUID]*newcomer{}
				}
				h.newcomers[p.ID] = &newcomer{network: id, came: now}
			}
		}
	}
	for id, n := range h.newcomers {
		p := h.viewer.networks[n.network].local(id)
		if p == nil || p.Awaited || n.said == len(spokenForAt) {
			delete(h.newcomers, id)
			continue
		}
		if next := n.came.Add(spokenForAt[n.said]).Sub(now); next > 0 {
			again = sooner(again, next)
			continue
		}
		frame := word(n.said, p)
		n.said++
		if n.said < len(spokenForAt) {
			again = sooner(again, spokenForAt[n.said]-spokenForAt[n.said-1])
		}
		// As if the VIF had sent it: it takes the way of the network's broadcast, with its tag.
		out := &openflow.PacketOut{InPort: p.OFPort, Actions: openflow.MustActions(openflow.Output{Port: openflow.PortTable}), Data: frame}
		if err := h.links[flows.BrInt].conn.Send(out); err != nil {
			h.log.Debug("guest not announced", "port", id, "error", err)
		}
	}
	return again
}

// sooner is the shorter of two times, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// local is the network's VIF of a port; nil if it has none here.
func (m *networkMemo) local(port uuid.UUID) *flows.LocalPort {
	if m == nil {
		return nil
	}
	for _, p := range m.network.Local {
		if p.ID == port {
			return p
		}
	}
	return nil
}

// arpBroadcast that tells where a MAC address is now, 60 bytes with the Ethernet header: an
// ARP request (op 1) or reply (2) for the guest's own IPv4 address (RFC 5227 section 3), or a reverse
// request for itself (3, RFC 903), which has no address.
func arpBroadcast(etherType, op uint16, mac model.MAC, ip netip.Addr) []byte {
	b := make([]byte, 60)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(b[6:], mac[:])
	binary.BigEndian.PutUint16(b[12:], etherType)
	binary.BigEndian.PutUint16(b[14:], 1) // Ethernet
	binary.BigEndian.PutUint16(b[16:], openflow.EthTypeIPv4)
	b[18], b[19] = 6, 4 // lengths of addresses
	binary.BigEndian.PutUint16(b[20:], op)
	copy(b[22:], mac[:])
	copy(b[28:], ip.AsSlice())
	if op != 1 {
		copy(b[32:], mac[:])
	}
	copy(b[38:], ip.AsSlice())
	return b
}
