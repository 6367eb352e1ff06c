package nova

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Boot starts an instance on a host with a NIC on a network, and waits until it is plugged.
func (n *Nova) Boot(ctx context.Context, i *Instance, host, network string) error {
	return n.BootAddress(ctx, i, host, network, "")
}

// BootAddress is Boot with an address of the user's choice; "" is any.
func (n *Nova) BootAddress(ctx context.Context, i *Instance, host, network, address string) error {
	if address != "" {
		var taken struct{ Ports []Port }
		if err := n.get(ctx, User, "ports?network_id="+network+"&fixed_ips="+url.QueryEscape("ip_address="+address)+"&fields=device_id", &taken); err != nil {
			return err
		}
		if len(taken.Ports) > 0 {
			return fmt.Errorf("address %s is in use by %q: FixedIpAlreadyInUse", address, taken.Ports[0].Device)
		}
	}
	if err := n.schedule(ctx, i, host, network); err != nil {
		return err
	}
	port, err := n.createPort(ctx, i, network, address)
	if err != nil {
		return err
	}
	return n.attach(ctx, i, port, true)
}

// BootPort starts an instance with a port that its user has made.
func (n *Nova) BootPort(ctx context.Context, i *Instance, host, port string) error {
	p, err := n.checkPort(ctx, i, port)
	if err != nil {
		return err
	}
	if err := n.schedule(ctx, i, host, p.Network); err != nil {
		return err
	}
	return n.attach(ctx, i, p, false)
}

// Attach adds a port that the user has made to a running instance.
func (n *Nova) Attach(ctx context.Context, i *Instance, port string) error {
	p, err := n.checkPort(ctx, i, port)
	if err != nil {
		return err
	}
	if err := n.physical(ctx, p.Network); err != nil {
		return err
	}
	return n.attach(ctx, i, p, false)
}

// AttachNetwork adds a NIC on a network to a running instance.
func (n *Nova) AttachNetwork(ctx context.Context, i *Instance, network string) error {
	if err := n.physical(ctx, network); err != nil {
		return err
	}
	p, err := n.createPort(ctx, i, network, "")
	if err != nil {
		return err
	}
	return n.attach(ctx, i, p, true)
}

// schedule is what nova-api asks before it lets an instance be built.
func (n *Nova) schedule(ctx context.Context, i *Instance, host, network string) error {
	n.Know(i)
	if _, err := n.networks(ctx, User, network); err != nil {
		return err
	}
	var quota struct {
		Quota struct{ Port *int }
	}
	if err := n.get(ctx, User, "quotas/"+url.PathEscape(i.Project), &quota); err != nil {
		return err
	}
	if quota.Quota.Port == nil {
		return fmt.Errorf("the quota of project %s does not tell how many ports it may have", i.Project)
	}
	var has struct{ Ports []struct{ ID string } }
	if err := n.get(ctx, User, "ports?tenant_id="+url.QueryEscape(i.Project)+"&fields=id", &has); err != nil {
		return err
	}
	if *quota.Quota.Port >= 0 && len(has.Ports) >= *quota.Quota.Port {
		return fmt.Errorf("project %s has %d of %d ports", i.Project, len(has.Ports), *quota.Quota.Port)
	}
	var err error
	if i.aliases, err = n.extensions(ctx); err != nil {
		return err
	}
	if !slices.Contains(i.aliases, "binding-extended") {
		return fmt.Errorf("binding-extended is not announced, but %s", strings.Join(i.aliases, ", "))
	}
	if err := n.physical(ctx, network); err != nil {
		return err
	}
	var before struct{ Ports []Port }
	if err := n.get(ctx, User, "ports?device_id="+i.ID, &before); err != nil {
		return err
	}
	i.Host = host
	return nil
}

// createPort makes a port for an instance, which has no host yet, with an address of the user's choice or any.
func (n *Nova) createPort(ctx context.Context, i *Instance, network, address string) (*Port, error) {
	networks, err := n.networks(ctx, User, network)
	if err != nil {
		return nil, err
	}
	if w := networks[network]; *w.PortSecurityEnabled && len(w.Subnets) == 0 {
		return nil, fmt.Errorf("network %s has port security and no subnet: SecurityGroupCannotBeApplied", network)
	}
	var made struct{ Port Port }
	body := object{"device_id": i.ID, "network_id": network, "admin_state_up": true, "tenant_id": i.Project}
	if address != "" {
		body["fixed_ips"] = []object{{"ip_address": address}}
	}
	if err := n.request(ctx, User, http.MethodPost, "ports", object{"port": body}, http.StatusCreated, &made); err != nil {
		return nil, err
	}
	if p := made.Port; p.ID == "" || p.MAC == "" || p.Status != "DOWN" || p.VIFType != "" && p.VIFType != "unbound" || len(p.FixedIPs) == 0 {
		return nil, fmt.Errorf("port made for instance %s: %+v", i.Name, p)
	}
	if has := made.Port.FixedIPs[0].Address; address != "" && has != address {
		return nil, fmt.Errorf("port %s has %s, not %s", made.Port.ID, has, address)
	}
	return &made.Port, nil
}

// checkPort looks whether an instance may have a port.
func (n *Nova) checkPort(ctx context.Context, i *Instance, id string) (*Port, error) {
	var shown struct{ Port Port }
	if err := n.get(ctx, User, "ports/"+id, &shown); err != nil {
		return nil, err
	}
	p := shown.Port
	switch {
	case p.Device != "":
		return nil, fmt.Errorf("port %s is in use by %s", id, p.Device)
	case p.Project != i.Project:
		return nil, fmt.Errorf("port %s is of project %s", id, p.Project)
	case len(p.FixedIPs) == 0 && p.IPAllocation != "none" && p.IPAllocation != "deferred":
		return nil, fmt.Errorf("port %s has no address", id)
	case p.VIFType == "binding_failed":
		return nil, fmt.Errorf("port %s: binding failed", id)
	}
	var special struct{ Port map[string]any }
	if err := n.get(ctx, Service, "ports/"+id+"?fields=binding:vnic_type&fields=binding:profile&fields=network_id&fields=resource_request&fields=numa_affinity_policy&fields=device_profile", &special); err != nil {
		return nil, err
	}
	if special.Port["binding:vnic_type"] != "normal" || special.Port["network_id"] != p.Network {
		return nil, fmt.Errorf("port %s: %v", id, special.Port)
	}
	return &p, nil
}

// attach binds a port to the instance's host, plugs it and waits until it is.
func (n *Nova) attach(ctx context.Context, i *Instance, p *Port, ours bool) error {
	bound, err := n.bind(ctx, i, p.ID, i.Host)
	if err != nil {
		return err
	}
	if len(bound.FixedIPs) != len(p.FixedIPs) {
		return fmt.Errorf("port %s was bound and has the addresses %v now, %v before", p.ID, bound.FixedIPs, p.FixedIPs)
	}
	i.NICs = append(i.NICs, &NIC{Port: p.ID, Ours: ours})
	if err := n.refresh(ctx, i); err != nil {
		return err
	}
	return n.plug(ctx, i, p.ID, i.Host)
}

// bind binds a port; the answer must say how to plug it.
func (n *Nova) bind(ctx context.Context, i *Instance, port, host string) (*Port, error) {
	change := object{"device_id": i.ID, "device_owner": "compute:" + Zone, "binding:host_id": host}
	names := slices.Contains(i.aliases, "dns-integration")
	if names {
		change["dns_name"] = i.Name
	}
	bound, err := n.putPort(ctx, Service, port, change)
	if err != nil {
		return nil, err
	}
	if names && bound.DNSName != i.Name {
		return nil, fmt.Errorf("port %s is named %q, not %s", port, bound.DNSName, i.Name)
	}
	if bound.VIFType != "ovs" || bound.Host != host {
		return nil, fmt.Errorf("port %s was bound to %s and is of vif_type %s on %q: PortBindingFailed", port, host, bound.VIFType, bound.Host)
	}
	return bound, bound.VIFDetails.check()
}

// check looks for what would make os-vif do something that cannot work here.
func (d VIFDetails) check() error {
	if d.BridgeName != "br-int" || d.HybridPlug || d.Connectivity != "l2" || d.DatapathType != "system" && d.DatapathType != "netdev" {
		return fmt.Errorf("vif_details %+v", d)
	}
	return nil
}

// plug plugs a NIC and, if its port is not ACTIVE yet, waits for the event.
func (n *Nova) plug(ctx context.Context, i *Instance, port, host string) error {
	nic, err := i.nic(port)
	if err != nil {
		return err
	}
	if nic.Active {
		return n.Plugger.Plug(host, i, nic)
	}
	return n.plugAndWait(ctx, i, nic, host)
}

func (n *Nova) plugAndWait(ctx context.Context, i *Instance, nic *NIC, host string) error {
	mark := n.Mark()
	if err := n.Plugger.Plug(host, i, nic); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.PlugTimeout)
	defer cancel()
	_, err := n.Await(ctx, mark, "network-vif-plugged", nic.Port)
	return err
}

// AddFixedIP gives a NIC one address more in its first subnet.
func (n *Nova) AddFixedIP(ctx context.Context, i *Instance, port string) (address string, err error) {
	nic, err := i.nic(port)
	if err != nil {
		return "", err
	}
	if err := n.get(ctx, User, "subnets?network_id="+nic.Network, nil); err != nil {
		return "", err
	}
	if err := n.get(ctx, User, "ports?device_id="+i.ID+"&device_owner=compute:"+Zone+"&network_id="+nic.Network, nil); err != nil {
		return "", err
	}
	has := nic.Addresses
	changed, err := n.putPort(ctx, User, port, object{"fixed_ips": append(slices.Clone(has), FixedIP{Subnet: has[0].Subnet})})
	if err != nil {
		return "", err
	}
	for _, f := range changed.FixedIPs {
		if !slices.Contains(has, f) {
			address = f.Address
		}
	}
	if address == "" || len(changed.FixedIPs) != len(has)+1 {
		return "", fmt.Errorf("port %s has %v after an address was added to %v", port, changed.FixedIPs, has)
	}
	return address, n.refresh(ctx, i)
}

// RemoveFixedIP takes an address away.
func (n *Nova) RemoveFixedIP(ctx context.Context, i *Instance, address string) error {
	var found struct{ Ports []Port }
	if err := n.get(ctx, User, "ports?device_id="+i.ID+"&device_owner=compute:"+Zone+"&fixed_ips="+url.QueryEscape("ip_address="+address), &found); err != nil {
		return err
	}
	if len(found.Ports) != 1 {
		return fmt.Errorf("%d ports of instance %s have the address %s", len(found.Ports), i.Name, address)
	}
	p := found.Ports[0]
	stay := slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f FixedIP) bool { return f.Address == address })
	changed, err := n.putPort(ctx, User, p.ID, object{"fixed_ips": stay})
	if err != nil {
		return err
	}
	if !slices.Equal(changed.FixedIPs, stay) {
		return fmt.Errorf("port %s has %v, not %v", p.ID, changed.FixedIPs, stay)
	}
	return n.refresh(ctx, i)
}

// Detach takes a NIC off a running instance: a port that Nova made goes, another is given back.
func (n *Nova) Detach(ctx context.Context, i *Instance, port string) error {
	nic, err := i.nic(port)
	if err != nil {
		return err
	}
	if err := n.Plugger.Unplug(i.Host, i, nic); err != nil {
		return err
	}
	if err := n.release(ctx, nic); err != nil {
		return err
	}
	i.NICs = slices.DeleteFunc(i.NICs, func(other *NIC) bool { return other == nic })
	return n.refresh(ctx, i)
}

// release deletes a port that Nova made, or gives another back.
func (n *Nova) release(ctx context.Context, nic *NIC) error {
	if nic.Ours {
		return n.request(ctx, User, http.MethodDelete, "ports/"+nic.Port, nil, http.StatusNoContent, nil)
	}
	if err := n.get(ctx, User, "ports/"+nic.Port+"?fields=binding:profile&fields=network_id", nil); err != nil {
		return err
	}
	if err := n.get(ctx, User, "networks/"+nic.Network+"?fields=dns_domain", nil); err != nil {
		return err
	}
	p, err := n.putPort(ctx, Service, nic.Port, object{"device_id": "", "device_owner": "", "binding:host_id": nil, "binding:profile": object{}, "dns_name": ""})
	if err != nil {
		return err
	}
	if p.Device != "" || p.Owner != "" || p.Host != "" || p.VIFType != "unbound" {
		return fmt.Errorf("port %s was given back and is %+v", nic.Port, *p)
	}
	return nil
}

// Delete ends an instance.
func (n *Nova) Delete(ctx context.Context, i *Instance) error {
	if err := n.get(ctx, User, "ports?device_id="+i.ID, nil); err != nil {
		return err
	}
	for _, nic := range i.NICs {
		if err := n.Plugger.Unplug(i.Host, i, nic); err != nil {
			return err
		}
		if err := n.release(ctx, nic); err != nil {
			return err
		}
	}
	i.NICs = nil
	return nil
}

// HardReboot makes the VIFs anew, without a word to Neutron.
func (n *Nova) HardReboot(ctx context.Context, i *Instance) error {
	for _, nic := range i.NICs {
		if err := n.Plugger.Unplug(i.Host, i, nic); err != nil {
			return err
		}
	}
	for _, nic := range i.NICs {
		if err := n.Plugger.Plug(i.Host, i, nic); err != nil {
			return err
		}
	}
	return n.refresh(ctx, i)
}
