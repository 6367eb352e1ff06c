package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// Request is one element of fixed_ips in a request. Either may be left out, not both.
type Request struct {
	SubnetID  uuid.UUID  // Nil: the subnet that has the address
	IPAddress netip.Addr // the zero Addr: any of the subnet
}

// DefaultIPs chooses the addresses of a port whose fixed_ips were not given: one of the network's
// IPv4 subnets, one of its IPv6 subnets with DHCPv6, and one made of the MAC for each subnet with
// automatic addresses. The port's NetworkID and MACAddress are read.
func DefaultIPs(tx *store.Tx, port *model.Port) ([]model.FixedIP, error) {
	subnets := subnetsOf(tx, port.NetworkID)
	var ips []model.FixedIP
	for _, version := range []int{4, 6} {
		var failed error
		for _, s := range subnets {
			if s.IPVersion != version || automatic(s) {
				continue
			}
			ip, err := Address(tx, s)
			if err == nil {
				ips = append(ips, model.FixedIP{SubnetID: s.ID, IPAddress: ip})
				failed = nil
				break
			}
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			return nil, failed
		}
	}
	return automaticIPs(tx, port, subnets, ips)
}

// FixedIPs resolves the fixed_ips of a request for a port. The port's ID, NetworkID, MACAddress and
// FixedIPs (those it has already and may keep) are read. An element with only a subnet keeps an
// address that the port has there. Subnets with automatic addresses are always included, as in
// Neutron. The errors wrap [ErrInUse], [ErrOutside], [ErrExhausted], [ErrAutomatic], [ErrNoSubnet].
func FixedIPs(tx *store.Tx, port *model.Port, requested []Request) ([]model.FixedIP, error) {
	subnets := subnetsOf(tx, port.NetworkID)
	ips := make([]model.FixedIP, 0, len(requested))
	var choose []*model.Subnet // after the given addresses, so as not to take one of them
	for _, r := range requested {
		s, err := subnetFor(subnets, port.NetworkID, r)
		if err != nil {
			return nil, err
		}
		if !r.IPAddress.IsValid() {
			if !automatic(s) {
				choose = append(choose, s)
			}
			continue
		}
		fixed := model.FixedIP{SubnetID: s.ID, IPAddress: r.IPAddress}
		switch {
		case slices.Contains(ips, fixed):
			return nil, fmt.Errorf("address %s is given twice: %w", r.IPAddress, ErrOutside)
		case slices.Contains(port.FixedIPs, fixed): // it has it
		case automatic(s):
			return nil, fmt.Errorf("address %s in subnet %s: %w", r.IPAddress, s.ID, ErrAutomatic)
		default:
			if err := Specific(tx, s, r.IPAddress); err != nil {
				return nil, err
			}
		}
		ips = append(ips, fixed)
	}
	for _, s := range choose {
		fixed, err := keepOrChoose(tx, port, s, ips)
		if err != nil {
			return nil, err
		}
		ips = append(ips, fixed)
	}
	return automaticIPs(tx, port, subnets, ips)
}

// subnetFor finds the subnet that an element of fixed_ips means.
func subnetFor(subnets []*model.Subnet, network uuid.UUID, r Request) (*model.Subnet, error) {
	for _, s := range subnets {
		switch {
		case r.SubnetID == s.ID && r.IPAddress.IsValid() && !valid(s, r.IPAddress):
			return nil, fmt.Errorf("address %s for subnet %s: %w", r.IPAddress, s.ID, ErrOutside)
		case r.SubnetID == s.ID,
			r.SubnetID == uuid.Nil && r.IPAddress.IsValid() && s.CIDR.Contains(r.IPAddress):
			return s, nil
		}
	}
	if r.SubnetID != uuid.Nil {
		return nil, fmt.Errorf("subnet %s, network %s: %w", r.SubnetID, network, ErrNoSubnet)
	}
	return nil, fmt.Errorf("address %s for network %s: %w", r.IPAddress, network, ErrOutside)
}

// keepOrChoose finds an address in a subnet for a port that may have some already.
func keepOrChoose(tx *store.Tx, port *model.Port, s *model.Subnet, chosen []model.FixedIP) (model.FixedIP, error) {
	for _, has := range port.FixedIPs {
		if has.SubnetID == s.ID && !slices.Contains(chosen, has) {
			return has, nil
		}
	}
	ip, err := address(tx, s, func(ip netip.Addr) bool {
		return slices.Contains(chosen, model.FixedIP{SubnetID: s.ID, IPAddress: ip})
	})
	return model.FixedIP{SubnetID: s.ID, IPAddress: ip}, err
}

// automaticIPs adds the addresses that the port makes for itself.
func automaticIPs(tx *store.Tx, port *model.Port, subnets []*model.Subnet, ips []model.FixedIP) ([]model.FixedIP, error) {
	for _, s := range subnets {
		if !automatic(s) || slices.ContainsFunc(ips, func(f model.FixedIP) bool { return f.SubnetID == s.ID }) {
			continue
		}
		fixed := model.FixedIP{SubnetID: s.ID, IPAddress: eui64(s.CIDR, port.MACAddress)}
		if holder, taken := tx.PortByIP(s.ID, fixed.IPAddress); taken && holder.ID != port.ID {
			return nil, fmt.Errorf("address %s of subnet %s: %w", fixed.IPAddress, s.ID, ErrInUse)
		}
		ips = append(ips, fixed)
	}
	return ips, nil
}

// automatic reports whether hosts make their addresses of the router advertisement themselves.
func automatic(s *model.Subnet) bool {
	for _, mode := range []string{s.IPv6AddressMode, s.IPv6RAMode} {
		if mode == "slaac" || mode == "dhcpv6-stateless" {
			return true
		}
	}
	return false
}

// subnetsOf lists the subnets of a network in the order of their making.
func subnetsOf(tx *store.Tx, network uuid.UUID) []*model.Subnet {
	return slices.SortedFunc(tx.SubnetsOf(network), func(a, b *model.Subnet) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID.String(), b.ID.String())
	})
}
