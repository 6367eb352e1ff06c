package flows

import (
	"net/netip"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// hasPairs says whether a port of the network has allowed_address_pairs; in most networks none has.
func (n *Network) hasPairs() bool {
	for _, p := range n.Local {
		if len(p.AllowedAddressPairs) > 0 {
			return true
		}
	}
	for _, p := range n.Remote {
		if len(p.AllowedAddressPairs) > 0 {
			return true
		}
	}
	return false
}

// Holders are the ports that may use a MAC address beside their own, each once.
type Holders struct {
	Local  []*LocalPort  // by key
	Remote []*RemotePort // by port ID
}

// MaxHolders is how many holders of a MAC are worth a list of actions, which must fit into a flow's
// 64 KiB. More are reached by way of the flood set.
const MaxHolders = maxBuckets

// PairMACs are the MAC addresses that allowed_address_pairs give to ports of the network, and to whom.
// Several may hold one (VRRP): a frame goes to them all. An address that is some port's own mac_address
// is left out, for that port has it. nil if there is no pair.
func (n *Network) PairMACs() map[model.MAC]Holders {
	if !n.hasPairs() {
		return nil
	}
	macs := map[model.MAC]Holders{}
	for _, p := range n.Local {
		for _, pair := range p.AllowedAddressPairs {
			h := macs[pair.MACAddress]
			if last := len(h.Local) - 1; last < 0 || h.Local[last] != p {
				h.Local = append(h.Local, p)
				macs[pair.MACAddress] = h
			}
		}
	}
	for _, p := range n.Remote {
		for _, pair := range p.AllowedAddressPairs {
			h := macs[pair.MACAddress]
			if last := len(h.Remote) - 1; last < 0 || h.Remote[last] != p {
				h.Remote = append(h.Remote, p)
				macs[pair.MACAddress] = h
			}
		}
	}
	delete(macs, model.MAC{}) // a pair without one means the port's own
	for _, p := range n.Local {
		delete(macs, p.MACAddress)
	}
	for _, p := range n.Remote {
		delete(macs, p.MACAddress)
	}
	return macs
}

// PairAddrs are the single addresses (/32 and /128) that allowed_address_pairs give to ports of the
// network, and to whom: such an address may be at any of them. nil if there is no pair.
func (n *Network) PairAddrs() map[netip.Addr][]uuid.UUID {
	if !n.hasPairs() {
		return nil
	}
	addrs := map[netip.Addr][]uuid.UUID{}
	add := func(p *model.Port) {
		for _, pair := range p.AllowedAddressPairs {
			if pair.IPAddress.IsSingleIP() {
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
