package controller

import (
	"encoding/binary"
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

// spokenForAt is when, after a port came. More than once, as hypervisors do it: a frame may be lost, and
// the host that was left may have passed on the guest's answer to somebody after the first.
var spokenForAt = [...]time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond, 750 * time.Millisecond, 1550 * time.Millisecond}

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
		n.said++
		if n.said < len(spokenForAt) {
			again = sooner(again, spokenForAt[n.said]-spokenForAt[n.said-1])
		}
		// As if the VIF had sent it: it takes the way of the network's broadcast, with its tag.
		out := &openflow.PacketOut{InPort: p.OFPort, Actions: openflow.MustActions(openflow.Output{Port: openflow.PortTable}), Data: rarp(p.MACAddress)}
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

// rarp is the broadcast by which hypervisors tell where a MAC address is now: a reverse request (RFC 903)
// for itself, 60 bytes with the Ethernet header.
func rarp(mac model.MAC) []byte {
	b := make([]byte, 60)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(b[6:], mac[:])
	binary.BigEndian.PutUint16(b[12:], openflow.EthTypeRARP)
	binary.BigEndian.PutUint16(b[14:], 1)                    // Ethernet
	binary.BigEndian.PutUint16(b[16:], openflow.EthTypeIPv4) // addresses, of which it has none
	b[18], b[19], b[21] = 6, 4, 3                            // lengths of addresses; reverse request
	copy(b[22:], mac[:])
	copy(b[32:], mac[:])
	return b
}
