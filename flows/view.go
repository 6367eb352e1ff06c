package flows

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// View is all that one host's flows depend on: the desired and location tables as far as they concern
// the host, and the host's own OVSDB. It is immutable; parts that did not change are the very same
// pointers in the next View, which is what compilation is memoised on.
type View struct {
	Host     *model.Host
	Ports    BridgePorts
	Peers    []*model.Host // every other enrolled host with a tunnel address, by ID
	Networks []*Network    // those with a local member, by local VLAN
	Captures []Capture     // that have not expired and concern the host, by ID
}

// BridgePorts are the OpenFlow port numbers of the ports that the controller made itself.
type BridgePorts struct {
	PatchTun uint32 // on br-int, to br-tun
	PatchInt uint32 // on br-tun, to br-int
	VXLAN    uint32 // on br-tun, the flow-based tunnel port; 0: not there
	GRE      uint32 // likewise
	Geneve   uint32 // likewise
}

// Tunnel is the tunnel port for networks of a type; 0: not there, or no tunnels for that type.
func (p BridgePorts) Tunnel(networkType string) uint32 {
	switch networkType {
	case model.TypeVXLAN:
		return p.VXLAN
	case model.TypeGRE:
		return p.GRE
	case model.TypeGeneve:
		return p.Geneve
	}
	return 0
}

// maxPort is the highest number that Open vSwitch gives to a port.
const maxPort = 0xfeff

// check refuses what comes from a host's database and cannot be, so that features need not.
func (v *View) check() error {
	if p := v.Ports; max(p.PatchTun, p.PatchInt, p.VXLAN, p.GRE, p.Geneve) > maxPort {
		return fmt.Errorf("host %s: ports %+v: no port of Open vSwitch has a number above %d", v.Host.ID, p, maxPort)
	}
	for _, n := range v.Networks {
		if n.LocalVLAN < 1 || n.LocalVLAN > 4094 {
			return fmt.Errorf("host %s: network %s: %d is no local VLAN", v.Host.ID, n.ID, n.LocalVLAN)
		}
		if n.Uplink > maxPort {
			return fmt.Errorf("host %s: network %s: uplink %d is no port number of Open vSwitch", v.Host.ID, n.ID, n.Uplink)
		}
		s := n.Segment
		if most, ok := most[s.NetworkType]; ok && (s.SegmentationID < 1 || s.SegmentationID > most) {
			return fmt.Errorf("host %s: network %s: no %s network has the segmentation_id %d", v.Host.ID, n.ID, s.NetworkType, s.SegmentationID)
		}
		for _, p := range n.Local {
			if p.OFPort < 1 || p.OFPort > maxPort || p.Key < 1 || p.Key > maxPort {
				return fmt.Errorf("host %s: port %s: %d is no port number of Open vSwitch", v.Host.ID, p.ID, p.OFPort)
			}
		}
	}
	return nil
}

// most is the largest segmentation_id of each type that has them: more would be cut off on the wire,
// and be another network there. 0 is no network's.
var most = map[string]uint32{model.TypeVXLAN: model.MaxVNI, model.TypeGeneve: model.MaxVNI, model.TypeGRE: model.MaxGREKey, model.TypeVLAN: model.MaxVLAN}

// Network is one network as a host sees it.
type Network struct {
	*model.Network
	LocalVLAN uint16 // 1 to 4094, host-local
	Uplink    uint32 // flat and vlan: br-int's end of the patch to the physical network's bridge; 0: not here
	Subnets   []*model.Subnet
	Local     []*LocalPort  // wired here: VIF present, admin up, bound here or claimed; by key
	Remote    []*RemotePort // bound to another enrolled host; by port ID
	DHCP      *model.Port   // the network:dhcp port, if a subnet has DHCP on
}

// LocalPort is a port whose VIF is on this host.
type LocalPort struct {
	*model.Port
	Key        uint32 // REG_PORT, meter ID, bucket ID; host-local
	OFPort     uint32 // today equal to Key; only classify and output may use it
	Generation uint32 // tells this VIF from an earlier one with the same key

	// Also is another host where the VIF may be: the port migrates from here, or to here. nil mostly.
	Also *model.Host
	// Awaited says that the port migrates to here and was not heard from yet: the first word of its
	// guest goes to the controller (OpAnnounced) too.
	Awaited bool
}

// RemotePort is a port of a network that is bound to another host.
type RemotePort struct {
	*model.Port
	Host *model.Host
	Also *model.Host // another host where its VIF may be: it migrates. nil mostly
}

// Hosts appends the hosts where the port may be.
func (p *RemotePort) Hosts(hosts []*model.Host) []*model.Host {
	if hosts = append(hosts, p.Host); p.Also != nil {
		hosts = append(hosts, p.Also)
	}
	return hosts
}

// Subnet finds a subnet of the network; nil if it has none of that ID.
func (n *Network) Subnet(id uuid.UUID) *model.Subnet {
	for _, s := range n.Subnets {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// Punt is a packet of a VIF that the pipeline handed to the controller. Who sent it is known from the
// port it came in by, never from the packet.
type Punt struct {
	Op      Op
	View    *View // of the VIF's host
	Network *Network
	Port    *LocalPort
	Packet  []byte // from the Ethernet header on, untagged; valid during the call only
}

// Handler answers punted packets. A handler does no I/O and keeps nothing of the packet.
//
// reply sends an Ethernet frame out of the VIF that asked; the frame may be reused after it returns. It
// may be kept, and called later and by several goroutines; it never waits. Once the VIF has gone, or the
// connection to its switch, it does nothing.
type Handler interface {
	Handle(p *Punt, reply func(frame []byte)) error
}

// Announcer is a feature that has something to say to VIFs unasked.
type Announcer interface {
	// Announce is the Ethernet frame that each local port of the network is to be sent from time to
	// time, at once when it changes; nil is none. It follows from the network alone, and may be kept.
	Announce(n *Network) (frame []byte)
}
