package testbed

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Host is a namespace with its own Open vSwitch on the userspace datapath.
// Nothing but br-phy is on it: a controller makes the other bridges.
type Host struct {
	vswitch
	VTEP       netip.Addr // 172.31.x.N, on br-phy
	Management netip.Addr // 10.77.x.N, out of band

	number int

	mu  sync.Mutex
	vms map[string]*VM
}

// AddHost starts a host. Name is also its hostname; 1 to 20 of [a-z0-9-].
func (b *Bed) AddHost(name string) (*Host, error) {
	if err := b.Wire(); err != nil {
		return nil, err
	}
	n := b.nextNumber()
	h := &Host{number: n, VTEP: address(172, 31, n), Management: address(10, 77, n), vms: map[string]*VM{}}
	if err := h.init(Namespace{bed: b, name: b.prefix + "-" + name}, name); err != nil {
		return nil, err
	}
	if err := h.start(); err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	b.mu.Lock()
	b.hosts = append(b.hosts, h)
	b.mu.Unlock()
	return h, nil
}

// AddHosts starts hosts side by side.
func (b *Bed) AddHosts(names ...string) ([]*Host, error) {
	hosts := make([]*Host, len(names))
	var g errgroup.Group
	g.SetLimit(4)
	for i, name := range names {
		g.Go(func() (err error) {
			hosts[i], err = b.AddHost(name)
			return err
		})
	}
	return hosts, g.Wait()
}

// UnderlayPort is the host's port on the underlay's bridge, in [Bed.Underlay]:
// the place to capture what the host sends and receives.
func (h *Host) UnderlayPort() string { return fmt.Sprintf("phy%d", h.number) }

func (h *Host) start() error {
	if err := h.create(); err != nil {
		return err
	}
	if err := h.bed.wire(underlayBridge, h.UnderlayPort(), h.Namespace, "phy0", UnderlayMTU); err != nil {
		return err
	}
	if err := h.bed.wire(managementBridge, fmt.Sprintf("mgmt%d", h.number), h.Namespace, "mgmt0", 1500); err != nil {
		return err
	}
	nl, err := h.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := setAddress(nl, "mgmt0", netip.PrefixFrom(h.Management, 16)); err != nil {
		return err
	}
	if err := h.StartOVSDB(); err != nil {
		return err
	}
	// The tunnels of the userspace datapath need the VTEP's address on the local
	// port of a bridge that is on the same datapath and forwards by itself.
	if _, err := h.Vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id="+h.SystemID(),
		"--", "add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone",
		"--", "add-port", "br-phy", "phy0", "--", "set", "Interface", "br-phy", fmt.Sprintf("mtu_request=%d", UnderlayMTU)); err != nil {
		return err
	}
	return h.StartVswitchd()
}

// StartVswitchd starts the ovs-vswitchd. It has no flows yet, whatever it had
// before; br-phy and the VTEP's address are made again if they went with its predecessor.
func (h *Host) StartVswitchd() error {
	if err := h.vswitch.StartVswitchd(); err != nil {
		return err
	}
	nl, err := h.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := eventually(startTimeout, "br-phy", func() (bool, error) {
		link, err := nl.LinkByName("br-phy")
		return err == nil && link.Attrs().MTU == UnderlayMTU, nil
	}); err != nil {
		return err
	}
	if err := up(nl, "br-phy", false); err != nil {
		return err
	}
	return setAddress(nl, "br-phy", netip.PrefixFrom(h.VTEP, 16))
}

// Enroll runs the operator's one command on the host: its external_ids, and the
// controller's OVSDB address (ovs-vsctl(8), set-manager). hostname,
// tunbridge-encap-ip and tunbridge-datapath-type need not be given.
func (h *Host) Enroll(target string, ids map[string]string) error {
	all := map[string]string{"hostname": h.Name, "tunbridge-encap-ip": h.VTEP.String(), "tunbridge-datapath-type": "netdev"}
	maps.Copy(all, ids)
	return h.enroll(target, all)
}
