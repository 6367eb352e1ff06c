package testbed

import (
	"fmt"
	"net/netip"
)

// VM stands for an instance: a namespace with eth0, whose other end is plugged
// into its host. It has no address but what it is given or asks for.
type VM struct {
	Namespace
	VIF
	Name string
	Host *Host
}

// AddVM makes a VM and plugs it. The name is 1 to 20 of [a-z0-9-], and no host's.
func (h *Host) AddVM(name string, v VIF) (*VM, error) {
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("vm %s: %w", name, err)
	}
	vm := &VM{Namespace: Namespace{bed: h.bed, name: h.bed.prefix + "-" + name, dir: h.Dir}, VIF: v, Name: name, Host: h}
	if err := vm.create(); err != nil {
		return nil, fmt.Errorf("vm %s: %w", name, err)
	}
	if err := vm.Plug(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.vms[name] = vm
	h.mu.Unlock()
	return vm, nil
}

// VM returns the host's VM of that name, or nil.
func (h *Host) VM(name string) *VM {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.vms[name]
}

// Plug makes eth0 and the host's end of it, and adds that to the bridge.
func (vm *VM) Plug() error {
	nl, err := vm.Host.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := addVeth(nl, vm.Device(), vm.Namespace, "eth0", UnderlayMTU, vm.MAC); err != nil {
		return fmt.Errorf("vm %s: %w", vm.Name, err)
	}
	if err := vm.finishChecksums("eth0"); err != nil {
		return fmt.Errorf("vm %s: %w", vm.Name, err)
	}
	if vm.Delegated {
		return nil
	}
	return vm.Host.plug(vm.VIF)
}

// Unplug removes the port from the bridge, then eth0 and its addresses.
func (vm *VM) Unplug() error {
	if !vm.Delegated {
		if err := vm.Host.Client().VSwitch.DeletePort(vm.bridge(), vm.Device()); err != nil {
			return fmt.Errorf("vm %s: %w", vm.Name, err)
		}
	}
	nl, err := vm.Host.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(vm.Device())
	if err != nil {
		return fmt.Errorf("vm %s: %w", vm.Name, err)
	}
	return nl.LinkDel(link)
}

// Remove unplugs the VM and deletes its namespace.
func (vm *VM) Remove() error {
	if err := vm.Unplug(); err != nil {
		return err
	}
	vm.Host.mu.Lock()
	delete(vm.Host.vms, vm.Name)
	vm.Host.mu.Unlock()
	return vm.delete()
}

// AddAddress gives eth0 an address by hand. An IPv6 address may be used at once
// (no duplicate address detection).
func (vm *VM) AddAddress(p netip.Prefix) error {
	if err := vm.addAddress("eth0", p); err != nil {
		return fmt.Errorf("vm %s: %w", vm.Name, err)
	}
	return nil
}
