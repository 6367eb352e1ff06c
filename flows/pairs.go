package flows

import (
	"net/netip"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// Holders are the ports that may use a MAC address beside their own.
type Holders struct {
	Local  []*LocalPort  // by key
	Remote []*RemotePort // by port ID
}

// PairMACs are the MAC addresses that allowed_address_pairs give to ports of the network, and to whom.
// Several may hold one (VRRP): a frame goes to them all. An address that is some port's own mac_address
// is left out, for that port has it. nil if there is none, as in most networks.
func (n *Network) PairMACs() map[model.MAC]Holders {
	var macs map[model.MAC]Holders
	for _, p := range n.Local {
		for mac := range pairMACs(p.Port) {
			if macs == nil {
				macs = map[model.MAC]Holders{}
			}
			h := macs[mac]
			h.Local = append(h.Local, p)
			macs[mac] = h
		}
	}
	for _, p := range n.Remote {
		for mac := range pairMACs(p.Port) {
			if macs == nil {
				macs = map[model.MAC]Holders{}
			}
			h := macs[mac]
			h.Remote = append(h.Remote, p)
			macs[mac] = h
		}
	}
	if macs != nil {
		for _, p := range n.Local {
			delete(macs, p.MACAddress)
		}
		for _, p := range n.Remote {
			delete(macs, p.MACAddress)
		}
	}
	return macs
}

// pairMACs are the MAC addresses of a port's pairs but for its own; nil if there is none.
func pairMACs(p *model.Port) map[model.MAC]struct{} {
	var macs map[model.MAC]struct{}
	for i := range p.AllowedAddressPairs {
		if mac := p.AllowedAddressPairs[i].MACAddress; mac != p.MACAddress && !mac.IsZero() {
			if macs == nil {
				macs = map[model.MAC]struct{}{}
			}
			macs[mac] = struct{}{}
		}
	}
	return macs
}

// PairAddrs are the single addresses (/32 and /128) that allowed_address_pairs give to ports of the
// network, and to whom: such an address may be at any of them. nil if there is none.
func (n *Network) PairAddrs() map[netip.Addr][]uuid.UUID {
	var addrs map[netip.Addr][]uuid.UUID
	add := func(p *model.Port) {
		for _, pair := range p.AllowedAddressPairs {
			if pair.IPAddress.IsSingleIP() {
				if addrs == nil {
					addrs = map[netip.Addr][]uuid.UUID{}
				}
				addrs[pair.IPAddress.Addr()] = append(addrs[pair.IPAddress.Addr()], p.ID)
			}
		}
	}
	for _, p := range n.Local {
		add(p.Port)
	}
	for _, p := range n.Remote {
		add(p.Port)
	}
	return addrs
}
