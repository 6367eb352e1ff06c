package controller

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// A port migrates from the host that it is bound to, the source, to one that it has an inactive binding
// to, the destination:
//
//	both bound ─▶ VIF plugged at the destination ─▶ its first word there ─▶ claimed ─▶ binding activated
//	peers send     Nova told, flows acknowledged      (arrivals)             └─────────────────┘
//	to both                                                                  the destination's alone
//
// Activation without a word has the same effect. On a physical network the destination then speaks for
// the guest, which may be silent, so that its switches learn where the MAC is; as it does for every port
// that comes to it.

// arrivals answers flows.OpAnnounced: it remembers who was heard.
type arrivals struct{ c *Controller }

// Handle pokes the host's loop; that claims the port.
func (a arrivals) Handle(p *flows.Punt, _ func(frame []byte)) error {
	a.c.mu.Lock()
	h := a.c.hosts[p.View.Host.ID]
	a.c.mu.Unlock()
	if h == nil {
		return fmt.Errorf("host %s is gone", p.View.Host.ID)
	}
	h.heard.add(p.Port.ID)
	h.poke()
	return nil
}

// portSet is a set of ports that the packet-in workers add to and the loop takes from.
type portSet struct {
	mu  sync.Mutex
	ids map[uuid.UUID]bool
}

func (s *portSet) add(id uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[uuid.UUID]bool{}
	}
	s.ids[id] = true
}

// take empties the set.
func (s *portSet) take() (ids map[uuid.UUID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, s.ids = s.ids, nil
	return ids
}

// claimArrived makes a port that was heard at its destination that host's alone.
func claimArrived(tx *store.Tx, id uuid.UUID, hostname string) error {
	p, ok := tx.Port(id)
	if !ok {
		return nil
	}
	if holders := tx.Holders(nil, p); !slices.Contains(holders, hostname) || holders[0] == hostname {
		return nil // it is here already, or may not be
	}
	return tx.PutClaim(&model.Claim{PortID: id, Host: hostname})
}

// speakForArrived announces, on physical networks, the guests that were not here before, or were awaited:
// a silent one would be looked for where it was for as long as switches remember. What is here when a
// session begins may have been here all the time.
func (h *host) speakForArrived() {
	before := h.spoken
	h.spoken = h.viewer.networks
	if before == nil {
		return
	}
	for id, memo := range h.viewer.networks {
		old := before[id]
		if memo == old || memo.network.Uplink == 0 {
			continue
		}
		here := map[uuid.UUID]bool{}
		if old != nil {
			for _, p := range old.network.Local {
				here[p.ID] = !p.Awaited
			}
		}
		for _, p := range memo.network.Local {
			if p.Awaited || here[p.ID] {
				continue
			}
			// As if the VIF had sent it: it takes the way of the network's broadcast, with its tag.
			out := &openflow.PacketOut{InPort: p.OFPort, Actions: openflow.MustActions(openflow.Output{Port: openflow.PortTable}), Data: rarp(p.MACAddress)}
			if err := h.links[flows.BrInt].conn.Send(out); err != nil {
				h.log.Debug("guest not announced", "port", p.ID, "error", err)
			}
		}
	}
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
