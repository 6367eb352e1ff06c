package api

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/dhcp"
)

// ports is the port resource.
type ports struct{ *Server }

func (ports) schema() *model.Schema { return model.Ports }

func (ports) find(t *store.Tables, id uuid.UUID) (view, bool) {
	p, ok := t.Port(id)
	return &model.PortView{Port: p}, ok
}

func portView(p *model.Port) view { return &model.PortView{Port: p} }

// candidates uses the index that Nova's queries name, so that they do not grow with the cloud.
func (r ports) candidates(t *store.Tables, q *query) iter.Seq[view] {
	if ids, ok := q.only("id"); ok {
		return byID(r, t, ids)
	}
	if devices, ok := q.only("device_id"); ok {
		return func(yield func(view) bool) {
			for _, device := range devices {
				if !each(t.PortsOfDevice(device), portView, yield) {
					return
				}
			}
		}
	}
	if networks, ok := q.only("network_id"); ok {
		return func(yield func(view) bool) {
			for _, text := range networks {
				if id, err := model.ParseUUID(text); err == nil && !each(t.PortsOf(id), portView, yield) {
					return
				}
			}
		}
	}
	if hosts, ok := q.only("binding:host_id"); ok {
		return func(yield func(view) bool) {
			for _, host := range hosts {
				if !each(t.PortsOn(host), portView, yield) {
					return
				}
				for claim := range t.ClaimsOn(host) {
					if row, ok := t.Port(claim.PortID); ok && row.HostID == "" && !yield(portView(row)) {
						return
					}
				}
			}
		}
	}
	return func(yield func(view) bool) { each(t.Ports(), portView, yield) }
}

func (r ports) derive(t *store.Tables, _ *Caller, v view) {
	p := v.(*model.PortView)
	p.DNSAssignment = p.Assignments(r.domainOf(t, p.NetworkID))
	host, vifType, details := bind(t, p.Port)
	p.VIFType, p.VIFDetails = vifType, details
	p.Status = model.StatusDown
	if status, ok := t.PortStatus(p.ID, t.Holder(p.Port)); ok {
		p.Status = status.Status
	}
	if p.DeviceOwner == model.OwnerDHCP {
		p.Status = model.StatusActive // it is on every host, with no VIF to wait for
	}
	p.IPAllocation = "immediate"
	if len(p.FixedIPs) == 0 {
		for range t.SubnetsOf(p.NetworkID) {
			p.IPAllocation = "none"
			break
		}
	}
	claimed := host != p.HostID
	paired := slices.ContainsFunc(p.AllowedAddressPairs, func(pair model.AddressPair) bool { return pair.MACAddress.IsZero() })
	if !claimed && !paired {
		return
	}
	row := *p.Port
	row.HostID = host
	if paired {
		row.AllowedAddressPairs = slices.Clone(row.AllowedAddressPairs)
		for i := range row.AllowedAddressPairs {
			if pair := &row.AllowedAddressPairs[i]; pair.MACAddress.IsZero() {
				pair.MACAddress = row.MACAddress
			}
		}
	}
	p.Port = &row
}

// domainOf is the domain of a network's ports: its dns_domain, else the operator's.
func (s *Server) domainOf(t *store.Tables, network uuid.UUID) string {
	if n, ok := t.Network(network); ok && n.DNSDomain != "" {
		return n.DNSDomain
	}
	return s.domain
}

func (ports) rules() rules {
	return rules{
		create: AccessAdmin | AccessService | AccessNetworkMember | AccessSharedMember,
		get:    AccessAdmin | AccessService | AccessProjectReader | AccessNetworkReader,
		update: AccessAdmin | AccessService | AccessProjectMember,
		delete: AccessAdmin | AccessService | AccessProjectMember | AccessNetworkMember,
	}
}

func (ports) target(t *store.Tables, c *Caller, v view) target {
	p := v.(*model.PortView)
	return onNetwork(t, c, p.NetworkID, p.ProjectID)
}

// The rules of the parts of fixed_ips: who only shares a network chooses a subnet of it, no address.
var (
	fixedIPAddress = clause{attribute: "ip_address", rule: AccessAdmin | AccessService | AccessNetworkMember}
	fixedIPSubnet  = clause{attribute: "subnet_id", rule: AccessAdmin | AccessService | AccessNetworkMember | AccessSharedMember}
)

// authorizePort checks whether the caller may make, or make of a port, what the request says; row is
// the outcome.
func authorizePort(c *Caller, op model.Operation, in *model.Input, row *model.Port, t target) error {
	t.device = strings.HasPrefix(row.DeviceOwner, "network:")
	given := clauses(op, in)
	for i := range given {
		if given[i].attribute != "fixed_ips" {
			continue
		}
		for _, f := range row.FixedIPs {
			if f.SubnetID != uuid.Nil {
				given[i].parts = append(given[i].parts, fixedIPSubnet)
			}
			if f.IPAddress.IsValid() {
				given[i].parts = append(given[i].parts, fixedIPAddress)
			}
		}
	}
	return c.authorize(string(op), model.Ports, ports{}.rules().of(string(op)), t, given...)
}

func (ports) create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error) {
	row := &model.Port{}
	v := &model.PortView{Port: row}
	in.Apply(v)
	if err := begin(&row.Common, c, in); err != nil {
		return uuid.Nil, err
	}
	network, err := networkFor(&tx.Tables, c, row.NetworkID)
	if err != nil {
		return uuid.Nil, err
	}
	if err := authorizePort(c, model.Create, in, row, onNetwork(&tx.Tables, c, network.ID, row.ProjectID)); err != nil {
		return uuid.Nil, err
	}
	if !in.Given("port_security_enabled") {
		row.PortSecurityEnabled = network.PortSecurityEnabled
	}
	if err := checkPort(v); err != nil {
		return uuid.Nil, err
	}
	row.ExtraDHCPOpts = mergeOptions(nil, row.ExtraDHCPOpts)
	switch {
	case row.MACAddress.IsZero():
		if row.MACAddress, err = ipam.MAC(tx, network.ID); err != nil {
			return uuid.Nil, addressError(err, network.ID)
		}
	case tx.MACTaken(network.ID, row.MACAddress):
		return uuid.Nil, macTaken(network.ID, row.MACAddress)
	}
	requested := row.FixedIPs
	row.FixedIPs = nil
	switch {
	case len(requested) > 0:
		row.FixedIPs, err = fixedIPs(tx, row, requested)
	case !in.Given("fixed_ips"):
		if row.FixedIPs, err = ipam.DefaultIPs(tx, row); err != nil {
			err = addressError(err, network.ID)
		}
	}
	if err != nil {
		return uuid.Nil, err
	}
	return row.ID, tx.PutPort(row)
}

// checkPort checks what both creating and updating can set.
func checkPort(v *model.PortView) error {
	if v.DeviceOwner == model.OwnerDHCP {
		return model.InvalidInput("device_owner %s is for the port that is made with the first subnet with DHCP", model.OwnerDHCP)
	}
	if len(v.SecurityGroups) > 0 {
		return &Error{http.StatusNotFound, "SecurityGroupNotFound",
			fmt.Sprintf("Security group %s does not exist", model.Quote(v.SecurityGroups[0]))}
	}
	for _, o := range v.ExtraDHCPOpts {
		if err := dhcp.CheckExtraOption(o); err != nil {
			return model.InvalidInput("%s", err)
		}
	}
	if !v.PortSecurityEnabled && len(v.AllowedAddressPairs) > 0 {
		return conflict("AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port.")
	}
	return nil
}

// mergeOptions applies a request's options to those a port has: one of the same name and IP version
// replaces, null takes away.
func mergeOptions(has, given []model.ExtraDHCPOpt) []model.ExtraDHCPOpt {
	merged := slices.Clone(has)
	for _, o := range given {
		merged = slices.DeleteFunc(merged, func(m model.ExtraDHCPOpt) bool {
			return m.Name == o.Name && m.IPVersion == o.IPVersion
		})
		if !o.Remove {
			merged = append(merged, o)
		}
	}
	return merged
}

func macTaken(network uuid.UUID, mac model.MAC) *Error {
	return conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", network, mac)
}

// fixedIPs resolves the addresses a request wants for a port that has port.FixedIPs.
func fixedIPs(tx *store.Tx, port *model.Port, requested []model.FixedIP) ([]model.FixedIP, error) {
	requests := make([]ipam.Request, len(requested))
	for i, f := range requested {
		requests[i] = ipam.Request(f)
	}
	ips, err := ipam.FixedIPs(tx, port, requests)
	if err == nil {
		return ips, nil
	}
	for _, r := range requests {
		if _, own := ipam.FixedIPs(tx, port, []ipam.Request{r}); own != nil {
			return nil, requestError(tx, own, port.NetworkID, r)
		}
	}
	return nil, addressError(err, port.NetworkID) // each could be had, but not all
}

// requestError says in Neutron's words why one element of fixed_ips cannot be had.
func requestError(tx *store.Tx, err error, network uuid.UUID, r ipam.Request) error {
	bad := func(kind, format string, args ...any) *Error {
		return &Error{http.StatusBadRequest, kind, fmt.Sprintf(format, args...)}
	}
	switch {
	case errors.Is(err, ipam.ErrNoSubnet), !r.IPAddress.IsValid() && r.SubnetID == uuid.Nil:
		if _, ok := tx.Subnet(r.SubnetID); !ok {
			return notFound(model.Subnets, r.SubnetID.String())
		}
		return model.InvalidInput("Failed to create port on network %s, because fixed_ips included invalid subnet %s", network, r.SubnetID)
	case errors.Is(err, ipam.ErrOutside) && r.SubnetID == uuid.Nil:
		return bad("InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", r.IPAddress)
	case errors.Is(err, ipam.ErrOutside):
		return bad("InvalidIpForSubnet", "IP address %s is not a valid IP for the specified subnet.", r.IPAddress)
	case errors.Is(err, ipam.ErrAutomatic):
		return bad("AllocationOnAutoAddressSubnet", "IPv6 address %s cannot be directly assigned to a port on subnet %s as the subnet is configured for automatic addresses", r.IPAddress, subnetWith(tx, network, r))
	case errors.Is(err, ipam.ErrInUse) && r.IPAddress.IsValid():
		return addressTaken(r.IPAddress.String(), subnetWith(tx, network, r).String())
	}
	return addressError(err, network)
}

// subnetWith is the subnet that an element of fixed_ips names or means.
func subnetWith(tx *store.Tx, network uuid.UUID, r ipam.Request) uuid.UUID {
	for s := range tx.SubnetsOf(network) {
		if r.SubnetID == uuid.Nil && s.CIDR.Contains(r.IPAddress) {
			return s.ID
		}
	}
	return r.SubnetID
}

// addressError says in Neutron's words that nothing is left to choose from.
func addressError(err error, network uuid.UUID) error {
	switch {
	case errors.Is(err, ipam.ErrExhausted):
		return conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", network)
	case errors.Is(err, ipam.ErrInUse):
		return conflict("IpAddressInUse", "Unable to complete operation for network %s. An address that follows from the MAC address is in use.", network)
	}
	return err
}

func (ports) update(tx *store.Tx, c *Caller, v view, in *model.Input) error {
	old := v.(*model.PortView).Port
	network, ok := tx.Network(old.NetworkID)
	if !ok {
		return notFound(model.Networks, old.NetworkID.String())
	}
	row := *old
	next := &model.PortView{Port: &row}
	in.Apply(next)
	if err := authorizePort(c, model.Update, in, &row, onNetwork(&tx.Tables, c, network.ID, old.ProjectID)); err != nil {
		return err
	}
	if old.DeviceOwner == model.OwnerDHCP {
		if err := checkDHCPPortUpdate(old, in); err != nil {
			return err
		}
	} else if err := checkPort(next); err != nil {
		return err
	}
	if in.Given("extra_dhcp_opts") {
		row.ExtraDHCPOpts = mergeOptions(old.ExtraDHCPOpts, row.ExtraDHCPOpts)
	}
	if row.MACAddress != old.MACAddress {
		if _, vifType, _ := bind(&tx.Tables, old); vifType == model.VIFOVS {
			return conflict("PortBound", "Unable to complete operation on port %s, port is already bound, port type: %s, old_mac %s, new_mac %s.", row.ID, vifType, old.MACAddress, row.MACAddress)
		}
		if tx.MACTaken(row.NetworkID, row.MACAddress) {
			return macTaken(row.NetworkID, row.MACAddress)
		}
	}
	if in.Given("fixed_ips") && len(row.FixedIPs) == 0 {
		row.FixedIPs = nil
	} else if in.Given("fixed_ips") || row.MACAddress != old.MACAddress {
		requested := row.FixedIPs
		row.FixedIPs = old.FixedIPs
		if row.MACAddress != old.MACAddress {
			requested, row.FixedIPs = chosen(tx, requested), chosen(tx, old.FixedIPs)
		}
		var err error
		if row.FixedIPs, err = fixedIPs(tx, &row, requested); err != nil {
			return err
		}
	}
	if reflect.DeepEqual(&row, old) {
		return nil
	}
	if row.HostID != old.HostID {
		if err := rebind(tx, &row); err != nil {
			return err
		}
	}
	touch(&row.Common)
	return tx.PutPort(&row)
}

// chosen leaves out the addresses that a port makes of its MAC.
func chosen(tx *store.Tx, ips []model.FixedIP) []model.FixedIP {
	return slices.DeleteFunc(slices.Clone(ips), func(f model.FixedIP) bool {
		s, ok := tx.Subnet(f.SubnetID)
		return ok && s.AutoAddress()
	})
}

// checkDHCPPortUpdate leaves the DHCP port to its network's subnets: only what does not matter to it
// can be set.
func checkDHCPPortUpdate(p *model.Port, in *model.Input) error {
	for _, a := range in.GivenAttributes() {
		if a.Name != "name" && a.Name != "description" {
			return dhcpPortInUse(p)
		}
	}
	return nil
}

func dhcpPortInUse(p *model.Port) *Error {
	return conflict("ServicePortInUse", "Port %s cannot be changed or deleted directly via the port API: it answers DHCP on network %s and follows from enable_dhcp of the network's subnets.", p.ID, p.NetworkID)
}

func (ports) retag(tx *store.Tx, v view, tags []string) error {
	row := *v.(*model.PortView).Port
	row.Tags = tags
	touch(&row.Common)
	return tx.PutPort(&row)
}

func (ports) remove(tx *store.Tx, v view) error {
	p := v.(*model.PortView).Port
	if p.DeviceOwner == model.OwnerDHCP {
		return dhcpPortInUse(p)
	}
	return tx.DeletePort(p.ID)
}
