package controller

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
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
	keyZone           = "tunbridge-availability-zone"
	keyAdopt          = "tunbridge-adopt"
	keyLocalManager   = "tunbridge-local-manager"
)

// lockName is the OVSDB lock that the host's one controller holds.
const lockName = "tunbridge"

// redialWithin is how long a host waits at most before it dials a controller again, in milliseconds.
const redialWithin = 1000

// localManager is where os-vif on the host finds the database.
const localManager = "ptcp:6640:127.0.0.1"

// ownerKey and ownerName mark the bridges and ports that the controller made, in external_ids.
const (
	ownerKey  = "owner"
	ownerName = "tunbridge"
)

// programmedByHand says whether an integration bridge that is not ours is one that somebody programs:
// os-vif makes br-int, too, but leaves its fail_mode alone. Connecting to it would flush what it has.
func programmedByHand(b *ovsdb.Bridge) bool { return b != nil && !ours(b) && b.FailMode == "secure" }

// ours says whether the controller made, or took over, a bridge before.
func ours(b *ovsdb.Bridge) bool { return b != nil && b.ExternalIDs[ownerKey] == ownerName }

// Port names on the bridges that the controller makes.
const (
	portPatchTun = "patch-tun" // on br-int
	portPatchInt = "patch-int" // on br-tun
	tunnelSuffix = "-tb"       // of the tunnel ports on br-tun: vxlan-tb, gre-tb, geneve-tb
)

// hostRow reads what the host says of itself. remote is the address it dialled from.
func hostRow(o *ovsdb.OpenVSwitch, remote netip.Addr) (*model.Host, error) {
	ids := o.ExternalIDs
	h := &model.Host{ID: ids[keySystemID], Hostname: ids[keyHostname], DatapathType: ids[keyDatapathType], AvailabilityZone: ids[keyZone]}
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
		h.EncapTypes = []string{model.TypeVXLAN, model.TypeGRE, model.TypeGeneve}
	}
	for _, t := range h.EncapTypes {
		if !(model.Segment{NetworkType: t}).Overlay() {
			return nil, fmt.Errorf("external_ids:%s has %q: want some of vxlan,gre,geneve", keyEncapTypes, t)
		}
	}
	for _, m := range splitList(ids[keyBridgeMappings]) {
		physnet, bridge, ok := strings.Cut(m, ":")
		if !ok || physnet == "" || bridge == "" {
			return nil, fmt.Errorf("external_ids:%s has %q: want PHYSNET:BRIDGE,…", keyBridgeMappings, m)
		}
		if h.BridgeMappings == nil {
			h.BridgeMappings = map[string]string{}
		}
		for other, taken := range h.BridgeMappings {
			if taken == bridge {
				return nil, fmt.Errorf("external_ids:%s maps %s and %s to the one bridge %s", keyBridgeMappings, other, physnet, bridge)
			}
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

// wantedRows is what the host's database must hold. target is where its bridges find the controller,
// manager the target by which the host itself came, if it did.
func wantedRows(h *model.Host, m *ovsdb.Mirror, datapathType, target, manager string) ovsdb.Wanted {
	bridge := func(b flows.Bridge) ovsdb.WantedBridge {
		tables := map[int]ovsdb.WantedTable{}
		for _, t := range flows.Pipeline() {
			if t.Bridge == b {
				tables[int(t.Number)] = ovsdb.WantedTable{Name: t.Name, Prefixes: t.Prefixes}
			}
		}
		return ovsdb.WantedBridge{
			Name: b.String(), DatapathType: datapathType, FailMode: "secure",
			DatapathID:  fmt.Sprintf("%016x", datapathID(h.ID, b)),
			Protocols:   []string{"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"},
			OtherConfig: map[string]string{"disable-in-band": "true"},
			ExternalIDs: map[string]string{ownerKey: ownerName},
			Tables:      tables,
			Controllers: []ovsdb.WantedController{{Target: target, ConnectionMode: "out-of-band", QueueSize: 512, MaxBackoff: redialWithin, InactivityProbe: 10000}},
		}
	}
	integration, tunnel := bridge(flows.BrInt), bridge(flows.BrTun)
	integration.Ports = []ovsdb.WantedPort{{Name: portPatchTun, Type: "patch", Options: map[string]string{"peer": portPatchInt}}}
	tunnel.Ports = []ovsdb.WantedPort{{Name: portPatchInt, Type: "patch", Options: map[string]string{"peer": portPatchTun}}}
	for _, t := range tunnelTypes(h) {
		tunnel.Ports = append(tunnel.Ports, ovsdb.WantedPort{Name: t + tunnelSuffix, Type: t,
			Options: map[string]string{"key": "flow", "remote_ip": "flow", "local_ip": h.EncapIP.String()}})
	}
	w := ovsdb.Wanted{Owner: ownerName}
	for _, name := range slices.Sorted(maps.Keys(h.BridgeMappings)) {
		// The bridge is the operator's: it gets one end of a patch and nothing else.
		name = h.BridgeMappings[name]
		integration.Ports = append(integration.Ports, ovsdb.WantedPort{Name: uplinkPort(name), Type: "patch", Options: map[string]string{"peer": providerPort(name)}})
		w.Bridges = append(w.Bridges, ovsdb.WantedBridge{Name: name, MustExist: true,
			Ports: []ovsdb.WantedPort{{Name: providerPort(name), Type: "patch", Options: map[string]string{"peer": uplinkPort(name)}}}})
	}
	w.Bridges = append(w.Bridges, integration, tunnel)
	// ovsdb-server would wait up to 8 s before it dials a restarted controller again.
	w.Managers = []ovsdb.WantedManager{{Target: manager, MustExist: true, MaxBackoff: redialWithin}}
	if m.OpenVSwitch.ExternalIDs[keyLocalManager] != "false" {
		w.Managers = append(w.Managers, ovsdb.WantedManager{Target: localManager})
	}
	return w
}

// tunnelTypes are the types of tunnel that the host takes part in.
func tunnelTypes(h *model.Host) []string {
	if !h.EncapIP.IsValid() {
		return nil
	}
	return h.EncapTypes
}

// uplinkPort and providerPort are the two ends of the patch between br-int and a provider bridge, named
// as Neutron names them.
func uplinkPort(bridge string) string   { return "int-" + bridge }
func providerPort(bridge string) string { return "phy-" + bridge }

// portNumbers are the OpenFlow numbers of the ports that the controller made on a host.
type portNumbers struct {
	flows.BridgePorts
	uplinks map[string]uint32 // br-int's ends of the patches, by physical network; without those whose bridge is not there
}

// portsMade reads the ports' numbers; missing names one that ovs-vswitchd has yet to make.
func portsMade(h *model.Host, m *ovsdb.Mirror) (p portNumbers, missing string) {
	numbers := map[string]uint32{}
	for _, b := range flows.Bridges {
		br := m.Bridge(b.String())
		if br == nil {
			return p, b.String()
		}
		for _, i := range m.Attached(br) {
			numbers[i.Name] = uint32(max(i.OFPort, 0))
		}
	}
	p.PatchTun, p.PatchInt = numbers[portPatchTun], numbers[portPatchInt]
	for t, number := range map[string]*uint32{model.TypeVXLAN: &p.VXLAN, model.TypeGRE: &p.GRE, model.TypeGeneve: &p.Geneve} {
		if slices.Contains(tunnelTypes(h), t) {
			if *number = numbers[t+tunnelSuffix]; *number == 0 {
				missing = t + tunnelSuffix
			}
		}
	}
	switch {
	case p.PatchTun == 0:
		missing = portPatchTun
	case p.PatchInt == 0:
		missing = portPatchInt
	}
	p.uplinks = map[string]uint32{}
	for physical, bridge := range h.BridgeMappings {
		if n := numbers[uplinkPort(bridge)]; n != 0 && m.Bridge(bridge) != nil {
			p.uplinks[physical] = n
		}
	}
	return p, missing
}

// addrOf is the IP address in a connection's address; the zero Addr for a unix socket.
func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
