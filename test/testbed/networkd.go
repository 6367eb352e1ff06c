package testbed

import (
	_ "embed"
	"path/filepath"
	"syscall"
)

//go:embed networkd.sh
var networkdScript []byte

// StartNetworkd starts systemd-networkd and waits for its first lease. It has the directories of its state
// to itself, and no bus: it sets no host name.
func (vm *VM) StartNetworkd() (*DHCPClient, Lease, error) {
	script, err := vm.networkd()
	if err != nil {
		return nil, Lease{}, err
	}
	c := &DHCPClient{vm: vm, program: "systemd-networkd"}
	c.release = func() error { return c.signalRelease(syscall.SIGTERM) }
	lease, err := c.start("unshare", "--mount", script, "4")
	return c, lease, err
}

// StartNetworkd6 starts systemd-networkd for IPv6, and waits for its first address, whether it makes it
// itself or is given it: it does what router advertisements tell it to, in the kernel's place. Which way
// it heard of name servers cannot be told, nor whose lease it has.
func (vm *VM) StartNetworkd6() (*DHCPv6Client, LeaseIPv6, error) {
	script, err := vm.networkd()
	if err != nil {
		return nil, LeaseIPv6{}, err
	}
	c := &DHCPv6Client{vm: vm, program: "systemd-networkd"}
	lease, err := c.start([]string{"unshare", "--mount", script, "6"}, "BOUND6")
	return c, lease, err
}

func (vm *VM) networkd() (script string, err error) {
	script = filepath.Join(vm.bed.dir, "networkd.sh")
	return script, writeOnce(script, networkdScript)
}
