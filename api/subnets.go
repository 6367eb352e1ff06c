package api

import (
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// subnets is the subnet resource.
type subnets struct{ *Server }

func (subnets) schema() *model.Schema { return model.Subnets }

func (subnets) find(t *store.Tables, id uuid.UUID) (view, bool) {
	s, ok := t.Subnet(id)
	return &model.SubnetView{Subnet: s}, ok
}

func (s subnets) candidates(t *store.Tables, q *query) iter.Seq[view] {
	if ids, ok := q.only("id"); ok {
		return byID(s, t, ids)
	}
	networks, byNetwork := q.only("network_id")
	return func(yield func(view) bool) {
		if !byNetwork {
			each(t.Subnets(), subnetView, yield)
			return
		}
		for _, text := range networks {
			if id, err := model.ParseUUID(text); err == nil && !each(t.SubnetsOf(id), subnetView, yield) {
				return
			}
		}
	}
}

func subnetView(s *model.Subnet) view { return &model.SubnetView{Subnet: s} }

// each yields the views of rows until it is told to stop.
func each[T any](rows iter.Seq[*T], of func(*T) view, yield func(view) bool) bool {
	for row := range rows {
		if !yield(of(row)) {
			return false
		}
	}
	return true
}

func (subnets) derive(t *store.Tables, c *Caller, v view) {
	s := v.(*model.SubnetView)
	if n, ok := t.Network(s.NetworkID); ok {
		s.Shared, _ = sharing(t, n, c.Project)
	}
}

func (subnets) rules() rules {
	return rules{
		create: AccessAdmin | AccessNetworkMember,
		get:    AccessAdmin | AccessService | AccessProjectReader | AccessNetworkReader | AccessSharedReader,
		update: AccessAdmin | AccessProjectMember | AccessNetworkMember,
		delete: AccessAdmin | AccessProjectMember | AccessNetworkMember,
	}
}

func (subnets) target(t *store.Tables, c *Caller, v view) target {
	s := v.(*model.SubnetView)
	return onNetwork(t, c, s.NetworkID, s.ProjectID)
}

func (s subnets) create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error) {
	row := &model.Subnet{}
	in.Apply(&model.SubnetView{Subnet: row})
	if err := begin(&row.Common, c, in); err != nil {
		return uuid.Nil, err
	}
	network, err := networkFor(&tx.Tables, c, row.NetworkID)
	if err != nil {
		return uuid.Nil, err
	}
	if err := c.authorize("create", model.Subnets, s.rules().create, networkTarget(&tx.Tables, c, network), clauses(model.Create, in)...); err != nil {
		return uuid.Nil, err
	}
	if err := fromPool(tx, c, row, in); err != nil {
		return uuid.Nil, err
	}
	if err := checkSubnet(row, row.EnableDHCP); err != nil {
		return uuid.Nil, err
	}
	if err := checkIPv6Modes(row); err != nil {
		return uuid.Nil, err
	}
	if !in.Given("gateway_ip") {
		row.GatewayIP = defaultGateway(row.CIDR)
	}
	if !in.Given("allocation_pools") {
		row.AllocationPools = defaultPools(row.CIDR, row.GatewayIP)
	} else if err := checkPools(row); err != nil {
		return uuid.Nil, err
	}
	for other := range tx.SubnetsOf(network.ID) {
		if other.CIDR.Overlaps(row.CIDR) {
			return uuid.Nil, overlaps(row.CIDR.String(), network.ID.String())
		}
	}
	if err := checkMTU(network, row); err != nil {
		return uuid.Nil, err
	}
	if err := tx.PutSubnet(row); err != nil {
		return uuid.Nil, err
	}
	if err := addAutoAddresses(tx, row); err != nil {
		return uuid.Nil, err
	}
	return row.ID, s.changedSubnets(tx, network)
}

// addAutoAddresses gives every port of the network the address that its machine makes for itself in a new
// subnet of automatic addresses, so that it may send from it.
func addAutoAddresses(tx *store.Tx, s *model.Subnet) error {
	if !s.AutoAddress() {
		return nil
	}
	for p := range tx.PortsOf(s.NetworkID) {
		if p.DeviceOwner == model.OwnerDHCP { // it follows its network's subnets anyway
			continue
		}
		row := *p
		row.FixedIPs = append(slices.Clone(p.FixedIPs), model.FixedIP{SubnetID: s.ID, IPAddress: ipam.AutoAddress(s, p.MACAddress)})
		touch(&row.Common)
		if err := tx.PutPort(&row); err != nil {
			return err
		}
	}
	return nil
}

// changedSubnets brings the network's DHCP port and revision up to its subnets. Writing the network
// also keeps two changes of its subnets from being made at once, each without seeing the other.
func (s subnets) changedSubnets(tx *store.Tx, network *model.Network) error {
	if err := updateDHCPPort(tx, network); err != nil {
		return err
	}
	row := *network
	touch(&row.Common)
	return tx.PutNetwork(&row)
}

// checkSubnet checks what both creating and updating can set. checkDHCP is whether DHCP is being
// turned on.
func checkSubnet(s *model.Subnet, checkDHCP bool) error {
	if err := checkFamily(s, "cidr", s.CIDR.Addr(), s.CIDR); err != nil {
		return err
	}
	bits, prefix := s.CIDR.Addr().BitLen(), s.CIDR.Bits()
	switch {
	case prefix == 0:
		return model.InvalidInput("cidr '%s': 0 is not allowed as CIDR prefix length", s.CIDR)
	case checkDHCP && prefix > bits-2:
		return model.InvalidInput("cidr '%s': Subnet has a prefix length that is incompatible with DHCP service enabled", s.CIDR)
	case checkDHCP && s.CIDR.Addr().IsMulticast():
		return model.InvalidInput("cidr '%s': Multicast IP subnet is not supported if enable_dhcp is True", s.CIDR)
	case checkDHCP && s.CIDR.Addr().IsLoopback():
		return model.InvalidInput("cidr '%s': Loopback IP subnet is not supported if enable_dhcp is True", s.CIDR)
	}
	if s.GatewayIP.IsValid() {
		if err := checkFamily(s, "gateway_ip", s.GatewayIP, s.GatewayIP); err != nil {
			return err
		}
		if s.IPVersion == 4 && prefix < bits-1 && (s.GatewayIP == s.CIDR.Addr() || s.GatewayIP == last(s.CIDR)) {
			return model.InvalidInput("gateway_ip '%s': Gateway is not valid on subnet", s.GatewayIP)
		}
	}
	for _, a := range s.DNSNameservers {
		if err := checkFamily(s, "dns_nameserver", a, a); err != nil {
			return err
		}
	}
	for _, r := range s.HostRoutes {
		if err := checkFamily(s, "nexthop", r.Nexthop, r.Nexthop); err != nil {
			return err
		}
		if err := checkFamily(s, "destination", r.Destination.Addr(), r.Destination); err != nil {
			return err
		}
	}
	return nil
}

func checkFamily(s *model.Subnet, what string, a netip.Addr, shown fmt.Stringer) error {
	if a.Is4() != (s.IPVersion == 4) {
		return model.InvalidInput("%s '%s' does not match the ip_version '%d'", what, shown, s.IPVersion)
	}
	return nil
}

func checkIPv6Modes(s *model.Subnet) error {
	ra, address := s.IPv6RAMode, s.IPv6AddressMode
	switch {
	case s.IPVersion == 4 && ra != "":
		return model.InvalidInput("ipv6_ra_mode '%s' is not valid when ip_version is 4", ra)
	case s.IPVersion == 4 && address != "":
		return model.InvalidInput("ipv6_address_mode '%s' is not valid when ip_version is 4", address)
	case !s.EnableDHCP && (ra != "" || address != ""):
		return model.InvalidInput("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
	case ra != "" && address != "" && ra != address:
		return model.InvalidInput("ipv6_ra_mode set to '%s' with ipv6_address_mode set to '%s' is not valid. If both attributes are set, they must be the same value", ra, address)
	case s.AutoAddress() && s.CIDR.Bits() != 64:
		return model.InvalidInput("Invalid CIDR %s for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64", s.CIDR)
	}
	return nil
}

// defaultGateway is the first address of an IPv4 block, or the subnet-router anycast address of an
// IPv6 block (RFC 4291 §2.6.1).
func defaultGateway(cidr netip.Prefix) netip.Addr {
	if cidr.Addr().Is4() && !cidr.IsSingleIP() {
		return cidr.Addr().Next()
	}
	return cidr.Addr()
}

// last is the last address of a block.
func last(cidr netip.Prefix) netip.Addr {
	b := cidr.Masked().Addr().AsSlice()
	for bit := cidr.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// usable is the range of a block that ports may have: without the network's and the broadcast address
// of IPv4, and without the anycast address of IPv6; but all of the one or two addresses of a
// point-to-point block (RFC 3021, RFC 6164).
func usable(cidr netip.Prefix) model.Pool {
	all := model.Pool{Start: cidr.Addr(), End: last(cidr)}
	if cidr.Bits() >= cidr.Addr().BitLen()-1 {
		return all
	}
	all.Start = all.Start.Next()
	if cidr.Addr().Is4() {
		all.End = all.End.Prev()
	}
	return all
}

// defaultPools are all usable addresses but the gateway.
func defaultPools(cidr netip.Prefix, gateway netip.Addr) []model.Pool {
	all := usable(cidr)
	if !gateway.IsValid() || !all.Contains(gateway) {
		return []model.Pool{all}
	}
	pools := []model.Pool{}
	if gateway != all.Start {
		pools = append(pools, model.Pool{Start: all.Start, End: gateway.Prev()})
	}
	if gateway != all.End {
		pools = append(pools, model.Pool{Start: gateway.Next(), End: all.End})
	}
	return pools
}

func checkPools(s *model.Subnet) error {
	all := usable(s.CIDR)
	for _, p := range s.AllocationPools {
		if p.Start.Is4() != p.End.Is4() || p.Start.Is4() != (s.IPVersion == 4) || p.End.Less(p.Start) {
			return &Error{http.StatusBadRequest, "InvalidAllocationPool",
				fmt.Sprintf("The allocation pool {'start': '%s', 'end': '%s'} is not valid.", p.Start, p.End)}
		}
		if !all.Contains(p.Start) || !all.Contains(p.End) {
			return &Error{http.StatusBadRequest, "OutOfBoundsAllocationPool",
				fmt.Sprintf("The allocation pool %s spans beyond the subnet cidr %s.", p, s.CIDR)}
		}
	}
	sorted := slices.SortedFunc(slices.Values(s.AllocationPools), func(x, y model.Pool) int { return x.Start.Compare(y.Start) })
	for i := 1; i < len(sorted); i++ {
		if x, y := sorted[i-1], sorted[i]; x.Contains(y.Start) {
			return conflict("OverlappingAllocationPools", "Found overlapping allocation pools: %s %s for subnet %s.", x, y, s.CIDR)
		}
	}
	return checkGatewayOutside(s)
}

func checkGatewayOutside(s *model.Subnet) error {
	for _, p := range s.AllocationPools {
		if s.GatewayIP.IsValid() && p.Contains(s.GatewayIP) {
			return conflict("GatewayConflictWithAllocationPools", "Gateway ip %s conflicts with allocation pool %s.", s.GatewayIP, p)
		}
	}
	return nil
}

func (s subnets) update(tx *store.Tx, c *Caller, v view, in *model.Input) error {
	old := v.(*model.SubnetView).Subnet
	network, ok := tx.Network(old.NetworkID)
	if !ok {
		return notFound(model.Networks, old.NetworkID.String())
	}
	if err := c.authorize("update", model.Subnets, s.rules().update, s.target(&tx.Tables, c, v), clauses(model.Update, in)...); err != nil {
		return err
	}
	row := *old
	in.Apply(&model.SubnetView{Subnet: &row})
	if reflect.DeepEqual(&row, old) {
		return nil
	}
	if err := checkSubnet(&row, row.EnableDHCP && !old.EnableDHCP); err != nil {
		return err
	}
	if err := checkIPv6Modes(&row); err != nil {
		return err
	}
	if in.Given("allocation_pools") {
		if err := checkPools(&row); err != nil {
			return err
		}
	} else if err := checkGatewayOutside(&row); err != nil {
		return err
	}
	if row.GatewayIP != old.GatewayIP {
		if p, taken := tx.PortByIP(row.ID, row.GatewayIP); taken {
			return conflict("GatewayIpInUse", "Current gateway ip %s already in use by port %s. Unable to update.", row.GatewayIP, p.ID)
		}
	}
	touch(&row.Common)
	if err := tx.PutSubnet(&row); err != nil {
		return err
	}
	if row.EnableDHCP != old.EnableDHCP {
		return s.changedSubnets(tx, network)
	}
	return nil
}

func (subnets) retag(tx *store.Tx, v view, tags []string) error {
	row := *v.(*model.SubnetView).Subnet
	row.Tags = tags
	touch(&row.Common)
	return tx.PutSubnet(&row)
}

// remove deletes the subnet if no port has an address of it, but for the DHCP port's and those that
// ports made themselves.
func (s subnets) remove(tx *store.Tx, v view) error {
	row := v.(*model.SubnetView).Subnet
	network, ok := tx.Network(row.NetworkID)
	if !ok {
		return notFound(model.Networks, row.NetworkID.String())
	}
	of := func(f model.FixedIP) bool { return f.SubnetID == row.ID }
	for p := range tx.PortsOf(row.NetworkID) {
		if p.DeviceOwner == model.OwnerDHCP || !slices.ContainsFunc(p.FixedIPs, of) {
			continue
		}
		if !row.AutoAddress() {
			return subnetInUse(row.ID)
		}
		without := *p
		without.FixedIPs = slices.DeleteFunc(slices.Clone(p.FixedIPs), of)
		touch(&without.Common)
		if err := tx.PutPort(&without); err != nil {
			return err
		}
	}
	if err := tx.DeleteSubnet(row.ID); err != nil {
		return err
	}
	return s.changedSubnets(tx, network)
}
