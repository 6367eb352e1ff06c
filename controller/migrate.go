package controller

import (
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
)

// A port migrates from the host that it is bound to, the source, to one that it has an inactive binding
// to, the destination:
//
//	both bound ─▶ VIF plugged at the destination ─▶ its first word there ─▶ claimed ─▶ binding activated
//	peers send     Nova told, flows acknowledged      (arrivals)             └─────────────────┘
//	to both                                                                  the destination's alone
//
// Activation without a word has the same effect. On a physical network the destination then speaks for
// the guest, which may be silent, so that its switches learn where the MAC is (arrival.go).

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
