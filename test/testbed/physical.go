package testbed

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// physicalBridge is the one bridge of a physical network's switch.
const physicalBridge = "physical"

// Physical is a network of cables and switches, with 802.1Q: what flat and VLAN
// networks are mapped to. It is a namespace with one bridge that forwards by
// itself, with a trunk port for every host and an access port for every [Machine].
//
// The bridge is an Open vSwitch's, because the kernel's knows VLANs only where it
// was built with CONFIG_BRIDGE_VLAN_FILTERING.
type Physical struct {
	Switch

	mu       sync.Mutex
	machines int
	managed  bool // joined to the management network
}

// AddPhysical makes a physical network without hosts. The name is 1 to 15 of [a-z0-9-], and no host's.
func (b *Bed) AddPhysical(name string) (*Physical, error) {
	p := &Physical{}
	if err := p.init(Namespace{bed: b, name: b.prefix + "-" + name}, name); err != nil {
		return nil, err
	}
	if err := p.create(); err != nil {
		return nil, err
	}
	if err := p.StartOVSDB(); err != nil {
		return nil, err
	}
	if _, err := p.Vsctl("--no-wait", "init", "--", "add-br", physicalBridge,
		"--", "set", "Bridge", physicalBridge, "datapath_type=netdev", "fail_mode=standalone"); err != nil {
		return nil, err
	}
	return p, p.StartVswitchd()
}

// Port is the host's port on the switch, in the network's namespace: the place to
// capture what the host sends to the network and receives from it.
func (p *Physical) Port(h *Host) string { return fmt.Sprintf("ex%d", h.number) }

// Connect gives the host a NIC on a physical network, and a provider bridge around
// it: br-ex has ex0. The bridge forwards by itself, as an operator leaves it.
func (h *Host) Connect(p *Physical, bridge string) error {
	nic := strings.TrimPrefix(bridge, "br-") + "0"
	if err := p.cable(h, nic); err != nil {
		return err
	}
	_, err := h.Vsctl(bridgeAround(bridge, nic)...)
	return err
}

// cable joins a host's new NIC to a trunk port.
func (p *Physical) cable(h *Host, nic string) error {
	nl, err := p.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := addVeth(nl, p.Port(h), h.Namespace, nic, UnderlayMTU, nil); err != nil {
		return err
	}
	_, err = p.Vsctl("add-port", physicalBridge, p.Port(h))
	return err
}

// joinManagement makes the controller's network part of the untagged one.
func (p *Physical) joinManagement() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.managed {
		return nil
	}
	if err := p.bed.wire(managementBridge, p.Name, p.Namespace, managementBridge, 1500); err != nil {
		return err
	}
	if err := p.bed.Underlay.finishChecksums(p.Name); err != nil {
		return err
	}
	_, err := p.Vsctl("add-port", physicalBridge, managementBridge, "tag=0")
	p.managed = err == nil
	return err
}

// Machine is on a physical network without being a host: a router, a server, what
// else is out there. It is a namespace with eth0.
type Machine struct {
	Namespace
	Name string
	MAC  net.HardwareAddr
}

// AddMachine makes a machine on an access port: in a VLAN, or with 0 on the
// untagged network. The name is like a VM's.
func (p *Physical) AddMachine(name string, vlan int, addresses ...netip.Prefix) (*Machine, error) {
	p.mu.Lock()
	p.machines++
	n := p.machines
	p.mu.Unlock()
	m := &Machine{
		Namespace: Namespace{bed: p.bed, name: p.bed.prefix + "-" + name, dir: p.Dir},
		Name:      name, MAC: net.HardwareAddr{0x02, 0, 0, 0, byte(n >> 8), byte(n)},
	}
	if err := m.connect(p, fmt.Sprintf("machine%d", n), vlan, addresses); err != nil {
		return nil, fmt.Errorf("machine %s: %w", name, err)
	}
	return m, nil
}

func (m *Machine) connect(p *Physical, port string, vlan int, addresses []netip.Prefix) error {
	if err := m.create(); err != nil {
		return err
	}
	nl, err := p.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := addVeth(nl, port, m.Namespace, "eth0", UnderlayMTU, m.MAC); err != nil {
		return err
	}
	if err := m.finishChecksums("eth0"); err != nil {
		return err
	}
	for _, a := range addresses {
		if err := m.addAddress("eth0", a); err != nil {
			return err
		}
	}
	_, err = p.Vsctl("add-port", physicalBridge, port, fmt.Sprintf("tag=%d", vlan))
	return err
}
