package controller

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/ovsdb"
)

// Keys of Open_vSwitch.external_ids that enrol a host.
const (
	keySystemID       = "system-id"
	keyHostname       = "hostname"
	keyEncapIP        = "tunbridge-encap-ip"
	keyEncapTypes     = "tunbridge-encap-types"
	keyBridgeMappings = "tunbridge-bridge-mappings"
	keyDatapathType   = "tunbridge-datapath-type"
	keyAdopt          = "tunbridge-adopt"
	keyLocalManager   = "tunbridge-local-manager"
)

// lockName is the OVSDB lock that the host's one controller holds.
const lockName = "tunbridge"

// localManager is where os-vif on the host finds the database.
const localManager = "ptcp:6640:127.0.0.1"

// ownerKey and ownerName mark the bridges and ports that the controller made, in external_ids.
const (
	ownerKey  = "owner"
	ownerName = "tunbridge"
)

// ours says whether the controller made, or took over, a bridge before.
func ours(b *ovsdb.Bridge) bool { return b != nil && b.ExternalIDs[ownerKey] == ownerName }

// Port names on the bridges that the controller makes.
const (
	portPatchTun = "patch-tun" // on br-int
	portPatchInt = "patch-int" // on br-tun
	portVXLAN    = "vxlan-tb"  // on br-tun
)

// hostRow reads what the host says of itself. remote is the address it dialled from.
func hostRow(o *ovsdb.OpenVSwitch, remote netip.Addr) (*model.Host, error) {
	ids := o.ExternalIDs
	h := &model.Host{ID: ids[keySystemID], Hostname: ids[keyHostname], DatapathType: ids[keyDatapathType]}
	if h.ID == "" {
		return nil, fmt.Errorf("external_ids:%s is not set in its Open_vSwitch row: start Open vSwitch with its own start script, or set it", keySystemID)
	}
	if h.Hostname == "" {
		h.Hostname = h.ID
	}
	if text := ids[keyEncapIP]; text != "" {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("external_ids:%s=%q is not an IP address", keyEncapIP, text)
		}
		h.EncapIP = addr.Unmap()
	} else if remote.IsValid() {
		h.EncapIP, h.EncapIPGuessed = remote, true
	}
	h.EncapTypes = splitList(ids[keyEncapTypes])
	if h.EncapTypes == nil {
		h.EncapTypes = []string{"vxlan", "gre", "geneve"}
	}
	for _, m := range splitList(ids[keyBridgeMappings]) {
		physnet, bridge, ok := strings.Cut(m, ":")
		if !ok || physnet == "" || bridge == "" {
			return nil, fmt.Errorf("external_ids:%s has %q: want PHYSNET:BRIDGE,…", keyBridgeMappings, m)
		}
		if h.BridgeMappings == nil {
			h.BridgeMappings = map[string]string{}
		}
		h.BridgeMappings[physnet] = bridge
	}
	return h, nil
}

func splitList(s string) (list []string) {
	for _, e := range strings.Split(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list
}

// datapathID is the pinned identity of one of a host's bridges: 55 bits of the system-id's hash, then
// the bridge. An OpenFlow connection is accepted only for one of these.
func datapathID(systemID string, b flows.Bridge) uint64 {
	sum := sha256.Sum256([]byte(systemID))
	return binary.BigEndian.Uint64(sum[:])>>1&^0xff | uint64(b) + 1
}

// wantedRows is what the host's database must hold. target is where its bridges find the controller.
func wantedRows(h *model.Host, m *ovsdb.Mirror, datapathType, target string) ovsdb.Wanted {
	bridge := func(b flows.Bridge) ovsdb.WantedBridge {
		names := map[int]string{}
		for _, t := range flows.Pipeline() {
			if t.Bridge == b {
				names[int(t.Number)] = t.Name
			}
		}
		return ovsdb.WantedBridge{
			Name: b.String(), DatapathType: datapathType, FailMode: "secure",
			DatapathID:  fmt.Sprintf("%016x", datapathID(h.ID, b)),
			Protocols:   []string{"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"},
			OtherConfig: map[string]string{"disable-in-band": "true"},
			ExternalIDs: map[string]string{ownerKey: ownerName},
			TableNames:  names,
			Controllers: []ovsdb.WantedController{{Target: target, ConnectionMode: "out-of-band", QueueSize: 512, MaxBackoff: 1000, InactivityProbe: 10000}},
		}
	}
	integration, tunnel := bridge(flows.BrInt), bridge(flows.BrTun)
	integration.Ports = []ovsdb.WantedPort{{Name: portPatchTun, Type: "patch", Options: map[string]string{"peer": portPatchInt}}}
	tunnel.Ports = []ovsdb.WantedPort{{Name: portPatchInt, Type: "patch", Options: map[string]string{"peer": portPatchTun}}}
	if h.EncapIP.IsValid() {
		tunnel.Ports = append(tunnel.Ports, ovsdb.WantedPort{Name: portVXLAN, Type: "vxlan",
			Options: map[string]string{"key": "flow", "remote_ip": "flow", "local_ip": h.EncapIP.String()}})
	}
	w := ovsdb.Wanted{Owner: ownerName, Bridges: []ovsdb.WantedBridge{integration, tunnel}}
	if m.OpenVSwitch.ExternalIDs[keyLocalManager] != "false" {
		w.Managers = []string{localManager}
	}
	return w
}

// bridgePorts reads the numbers of the ports that the controller made; ok when all are there.
func bridgePorts(m *ovsdb.Mirror) (p flows.BridgePorts, ok bool) {
	integration, tunnel := m.Bridge(flows.BrInt.String()), m.Bridge(flows.BrTun.String())
	if integration == nil || tunnel == nil {
		return p, false
	}
	number := func(b *ovsdb.Bridge, name string) uint32 {
		for _, i := range m.Attached(b) {
			if i.Name == name && i.OFPort >= 1 {
				return uint32(i.OFPort)
			}
		}
		return 0
	}
	p = flows.BridgePorts{PatchTun: number(integration, portPatchTun), PatchInt: number(tunnel, portPatchInt), VXLAN: number(tunnel, portVXLAN)}
	return p, p.PatchTun != 0 && p.PatchInt != 0 && p.VXLAN != 0
}

// addrOf is the IP address in a connection's address; the zero Addr for a unix socket.
func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
