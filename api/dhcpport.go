package api

import (
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// updateDHCPPort gives the network's DHCP port one address in each subnet with DHCP, and none in the
// others. A network without such a subnet has no DHCP port.
func updateDHCPPort(tx *store.Tx, network *model.Network) error {
	old, exists := tx.DHCPPort(network.ID)
	row := model.Port{
		Common:              model.Common{ID: uuid.New(), ProjectID: network.ProjectID, CreatedAt: now()},
		NetworkID:           network.ID,
		AdminStateUp:        true,
		DeviceID:            model.DeviceDHCP,
		DeviceOwner:         model.OwnerDHCP,
		PortSecurityEnabled: true,
		VNICType:            model.VNICNormal,
	}
	if exists {
		row = *old
	} else {
		mac, err := ipam.MAC(tx, network.ID)
		if err != nil {
			return addressError(err, network.ID)
		}
		row.MACAddress = mac
	}
	row.FixedIPs = nil
	automatic, err := ipam.FixedIPs(tx, &row, nil)
	if err != nil {
		return addressError(err, network.ID)
	}
	for s := range tx.SubnetsOf(network.ID) {
		if !s.EnableDHCP || s.AutoAddress() {
			continue
		}
		address, err := dhcpAddress(tx, old, s)
		if err != nil {
			return addressError(err, network.ID)
		}
		row.FixedIPs = append(row.FixedIPs, model.FixedIP{SubnetID: s.ID, IPAddress: address})
	}
	row.FixedIPs = append(row.FixedIPs, automatic...)
	switch {
	case len(row.FixedIPs) == 0 && exists:
		return tx.DeletePort(row.ID)
	case len(row.FixedIPs) == 0, exists && slices.Equal(row.FixedIPs, old.FixedIPs):
		return nil
	}
	touch(&row.Common)
	return tx.PutPort(&row)
}

// dhcpAddress is the port's address in the subnet: the one it has, or the lowest that is free, so that
// operators find it where they expect it.
func dhcpAddress(tx *store.Tx, old *model.Port, s *model.Subnet) (netip.Addr, error) {
	if old != nil {
		for _, f := range old.FixedIPs {
			if f.SubnetID == s.ID {
				return f.IPAddress, nil
			}
		}
	}
	const tries = 8
	for _, p := range s.AllocationPools {
		a := p.Start
		for range tries {
			if a != s.GatewayIP && !tx.IPTaken(s.ID, a) {
				return a, nil
			}
			if a == p.End {
				break
			}
			a = a.Next()
		}
	}
	return ipam.Address(tx, s)
}
