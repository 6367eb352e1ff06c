package testbed

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// Host is a namespace with its own Open vSwitch on the userspace datapath.
// Nothing but br-phy is on it, and what [Host.Connect] adds: a controller makes
// the other bridges.
type Host struct {
	Switch
	VTEP       netip.Addr // 172.31.x.N, on br-phy, until SetVTEP
	Management netip.Addr // 10.77.x.N, out of band

	number int
	bridge string    // that has the VTEP
	uplink *Physical // the only NIC's network; nil for a host on the underlay

	mu  sync.Mutex
	vms map[string]*VM
}

// AddHost starts a host. Name is also its hostname; 1 to 20 of [a-z0-9-].
func (b *Bed) AddHost(name string) (*Host, error) {
	n := b.nextNumber()
	return b.addHost(name, &Host{number: n, VTEP: address(172, 31, n), Management: address(10, 77, n), bridge: "br-phy"})
}

// AddSingleNICHost starts a host whose only NIC is ex0 in br-ex, on a physical
// network that becomes one with the management network. Its one address,
// 10.77.x.N on br-ex, is VTEP and management in one: its tunnels reach other
// hosts of this kind only.
func (b *Bed) AddSingleNICHost(name string, p *Physical) (*Host, error) {
	n := b.nextNumber()
	a := address(10, 77, n)
	return b.addHost(name, &Host{number: n, VTEP: a, Management: a, bridge: "br-ex", uplink: p})
}

func (b *Bed) addHost(name string, h *Host) (*Host, error) {
	if err := b.Wire(); err != nil {
		return nil, err
	}
	h.vms = map[string]*VM{}
	if err := h.init(Namespace{bed: b, name: b.prefix + "-" + name}, name); err != nil {
		return nil, err
	}
	if err := h.start(); err != nil {
		return nil, err
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
// the place to capture what the host sends and receives. A single-NIC host has
// [Physical.Port] instead.
func (h *Host) UnderlayPort() string { return fmt.Sprintf("phy%d", h.number) }

func (h *Host) start() error {
	if err := h.create(); err != nil {
		return err
	}
	nic, err := h.cable()
	if err != nil {
		return err
	}
	if err := h.StartOVSDB(); err != nil {
		return err
	}
	// The tunnels of the userspace datapath need the VTEP's address on the local
	// port of a bridge that is on the same datapath and forwards by itself.
	if _, err := h.Vsctl(append([]string{"--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=" + h.SystemID(), "--"},
		bridgeAround(h.bridge, nic)...)...); err != nil {
		return err
	}
	return h.StartVswitchd()
}

// cable gives the host its NICs, and says which one is for the VTEP's bridge.
func (h *Host) cable() (nic string, err error) {
	if h.uplink != nil {
		return "ex0", errors.Join(h.uplink.joinManagement(), h.uplink.cable(h, "ex0"))
	}
	if err := h.bed.wire(underlayBridge, h.UnderlayPort(), h.Namespace, "phy0", UnderlayMTU); err != nil {
		return "", err
	}
	if err := h.bed.wire(managementBridge, fmt.Sprintf("mgmt%d", h.number), h.Namespace, "mgmt0", 1500); err != nil {
		return "", err
	}
	return "phy0", h.addAddress("mgmt0", netip.PrefixFrom(h.Management, 16))
}

// bridgeAround are ovs-vsctl's arguments for a bridge that forwards by itself, with one NIC.
func bridgeAround(bridge, nic string) []string {
	return []string{"add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev", "fail_mode=standalone",
		"--", "add-port", bridge, nic, "--", "set", "Interface", bridge, fmt.Sprintf("mtu_request=%d", UnderlayMTU)}
}

// StartVswitchd starts the ovs-vswitchd. It has no flows yet, whatever it had
// before; the VTEP's bridge and address are made again if they went with its predecessor.
func (h *Host) StartVswitchd() error {
	if err := h.Switch.StartVswitchd(); err != nil {
		return err
	}
	nl, err := h.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := eventually(startTimeout, h.bridge, func() (bool, error) {
		link, err := nl.LinkByName(h.bridge)
		return err == nil && link.Attrs().MTU == UnderlayMTU, nil
	}); err != nil {
		return err
	}
	if err := up(nl, h.bridge, false); err != nil {
		return err
	}
	return h.addAddress(h.bridge, vtepPrefix(h.VTEP))
}

// vtepPrefix is a VTEP's address with the length of its network, which has every VTEP.
func vtepPrefix(a netip.Addr) netip.Prefix {
	if a.Is6() {
		return netip.PrefixFrom(a, 64)
	}
	return netip.PrefixFrom(a, 16)
}

// SetVTEP gives the host another VTEP address, IPv4 or IPv6, in place of the one
// it has. What its database says of it is the caller's to change, as it would be
// the operator's; [Bed.WarmTunnels] needs every VTEP in one network.
func (h *Host) SetVTEP(a netip.Addr) error {
	// First away with the old one: with an address the kernel drops the later ones of its network.
	if err := h.dropAddress(h.bridge, vtepPrefix(h.VTEP)); err != nil {
		return err
	}
	h.VTEP = a
	return h.addAddress(h.bridge, vtepPrefix(a))
}

// LeaveUnderlay loses the host's cable to the underlay: nothing arrives any more,
// and neither end is told.
func (h *Host) LeaveUnderlay() error { return h.bed.bridge(h.UnderlayPort(), "") }

// JoinUnderlay puts it back.
func (h *Host) JoinUnderlay() error { return h.bed.bridge(h.UnderlayPort(), underlayBridge) }

// SetUnderlayMTU makes the host's cable to the underlay carry IP packets of up to so many bytes, both
// ways. Larger ones vanish, and neither end is told.
func (h *Host) SetUnderlayMTU(mtu int) error {
	nl, err := h.bed.Underlay.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(h.UnderlayPort())
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nl.LinkSetMTU(link, mtu)
}

// resolve makes the switch learn the MAC behind another VTEP. It learns from ARP
// replies it sees, and there is one only if the kernel has to ask: so the kernel
// forgets what it may have learned from the other's own request.
func (h *Host) resolve(vtep netip.Addr) error {
	nl, err := h.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	return eventually(startTimeout, "host "+h.Name+": VTEP "+vtep.String(), func() (bool, error) {
		known, err := h.Appctl("tnl/neigh/show")
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(known) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == vtep.String() {
				return true, nil
			}
		}
		link, err := nl.LinkByName(h.bridge)
		if err != nil {
			return false, err
		}
		forget := &netlink.Neigh{LinkIndex: link.Attrs().Index, IP: vtep.AsSlice()}
		if err := nl.NeighDel(forget); err != nil && !errors.Is(err, syscall.ENOENT) {
			return false, err
		}
		_, err = h.Ping(vtep, 1, 0)
		return false, err
	})
}

// Enroll runs the operator's one command on the host: its external_ids, and the
// controller's OVSDB address (ovs-vsctl(8), set-manager). hostname,
// tunbridge-encap-ip and tunbridge-datapath-type need not be given.
func (h *Host) Enroll(target string, ids map[string]string) error {
	all := map[string]string{"hostname": h.Name, "tunbridge-encap-ip": h.VTEP.String(), "tunbridge-datapath-type": "netdev"}
	maps.Copy(all, ids)
	return h.enroll(target, all)
}
