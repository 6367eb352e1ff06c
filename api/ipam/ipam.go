// Package ipam chooses MACs, addresses and segments inside a store transaction: what it returns is
// free in the transaction's view, and writing the row that takes it makes the commit depend on its
// still being free. If somebody else was first, [store.Store.Update] runs the function again and
// another is chosen. Choices are random, so that concurrent transactions rarely meet.
//
// A taken or exhausted answer is exact: it is given only if it is true of a committed state.
package ipam

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

var (
	// ErrInUse: somebody else has the MAC, address or segment that was asked for.
	ErrInUse = errors.New("in use")
	// ErrOutside: the address asked for is in no subnet of the network, or not one that a port
	// of the subnet may have (Neutron's InvalidIpForNetwork, InvalidIpForSubnet).
	ErrOutside = errors.New("not a valid address")
	// ErrExhausted: nothing is left (Neutron's IpAddressGenerationFailure, NoNetworkAvailable).
	ErrExhausted = errors.New("none is free")
	// ErrAutomatic: the subnet's addresses are made of MACs and cannot be chosen (Neutron's
	// AllocationOnAutoAddressSubnet).
	ErrAutomatic = errors.New("the subnet is configured for automatic addresses")
	// ErrNoSubnet: the subnet asked for is not of this network (Neutron's InvalidInput).
	ErrNoSubnet = errors.New("no such subnet in the network")
)

// Tries of a random choice before the search is systematic.
const tries = 16

// MAC chooses a MAC with Neutron's prefix fa:16:3e that no port of the network has.
func MAC(tx *store.Tx, network uuid.UUID) (model.MAC, error) {
	const space = 1 << 24
	mac := func(n uint32) model.MAC {
		return model.MAC{0xfa, 0x16, 0x3e, byte(n >> 16), byte(n >> 8), byte(n)}
	}
	n, ok := choose(space, func(n uint64) bool { return !tx.MACTaken(network, mac(uint32(n))) })
	if !ok {
		return model.MAC{}, fmt.Errorf("MACs of network %s: %w", network, ErrExhausted)
	}
	return mac(uint32(n)), nil
}

// choose finds a number below size that is free: at random first, then the next free one after a
// random number, so that it fails only if there is none.
func choose(size uint64, free func(uint64) bool) (uint64, bool) {
	if size == 0 {
		return 0, false
	}
	for range tries {
		if n := rand.Uint64N(size); free(n) {
			return n, true
		}
	}
	start := rand.Uint64N(size)
	for i := range size {
		if n := (start + i) % size; free(n) {
			return n, true
		}
	}
	return 0, false
}

// Address chooses a free address out of the allocation pools of a subnet.
func Address(tx *store.Tx, subnet *model.Subnet) (netip.Addr, error) {
	return address(tx, subnet, func(netip.Addr) bool { return false })
}

// address chooses one that is not to be avoided either.
func address(tx *store.Tx, subnet *model.Subnet, avoid func(netip.Addr) bool) (netip.Addr, error) {
	var size uint64
	for _, p := range subnet.AllocationPools {
		size = addSaturated(size, span(p))
	}
	at := func(n uint64) netip.Addr {
		for _, p := range subnet.AllocationPools {
			if in := span(p); n >= in {
				n -= in
				continue
			}
			return offset(p.Start, n)
		}
		return netip.Addr{}
	}
	n, ok := choose(size, func(n uint64) bool {
		ip := at(n)
		return ip != subnet.GatewayIP && !tx.IPTaken(subnet.ID, ip) && !avoid(ip)
	})
	if !ok {
		return netip.Addr{}, fmt.Errorf("addresses of subnet %s: %w", subnet.ID, ErrExhausted)
	}
	return at(n), nil
}

// Specific checks that an address may be given to a port of the subnet: inside the CIDR, for
// IPv4 neither the network's nor the broadcast address, and free. It need not be in a pool.
func Specific(tx *store.Tx, subnet *model.Subnet, ip netip.Addr) error {
	if !valid(subnet, ip) {
		return fmt.Errorf("address %s for subnet %s: %w", ip, subnet.ID, ErrOutside)
	}
	if _, taken := tx.PortByIP(subnet.ID, ip); taken {
		return fmt.Errorf("address %s of subnet %s: %w", ip, subnet.ID, ErrInUse)
	}
	return nil
}
