package controller

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/ovsdb"
)

// Columns of Port.other_config that keep the local VLAN on the host, named as Neutron's agent names
// them, so that its tools and ours read the same.
const (
	otherNetwork      = "net_uuid"
	otherTag          = "tag"
	otherNetworkType  = "network_type"
	otherPhysical     = "physical_network"
	otherSegmentation = "segmentation_id"
)

const maxLocalVLAN = 4094

// localVLANs is the notebook of one host: which network has which local VLAN. It is kept on the host,
// in the VIFs' Port rows, and restored from there and from the installed flows.
type localVLANs struct {
	byNetwork map[uuid.UUID]uint16
	byVLAN    map[uint16]uuid.UUID
	installed map[uint16]uint64 // numbers in installed flows, with the first 48 bits of their network
}

func newLocalVLANs() *localVLANs {
	return &localVLANs{byNetwork: map[uuid.UUID]uint16{}, byVLAN: map[uint16]uuid.UUID{}, installed: map[uint16]uint64{}}
}

// note is a network's number as it stands at a VIF in the database.
type note struct {
	vlan   int
	config map[string]string // of Port.other_config; an empty value: no such key
	kept   bool              // some VIF has it
}

func newNote(n *model.Network, vlan uint16) *note {
	return &note{vlan: int(vlan), config: map[string]string{otherNetwork: n.ID.String(), otherTag: strconv.Itoa(int(vlan)), otherNetworkType: n.Segment.NetworkType,
		otherPhysical: n.Segment.PhysicalNetwork, otherSegmentation: strconv.FormatUint(uint64(n.Segment.SegmentationID), 10)}}
}

func (n *note) isAt(p *ovsdb.Port) bool {
	if p.Tag == nil || *p.Tag != n.vlan || p.VLANMode != "" || len(p.Trunks) > 0 {
		return false
	}
	for k, v := range n.config {
		if p.OtherConfig[k] != v {
			return false
		}
	}
	return true
}

// noting is a note that is due at a VIF's port.
type noting struct {
	port *ovsdb.Port
	note *note
}

// number gives each wired VIF's network its number, and takes it from networks that nothing carries any
// more. It returns the notes that are due before any flow uses them, and those that may wait: at further
// VIFs of a network that has one. A VIF whose network gets none is wired no longer.
func (v *localVLANs) number(snap *store.Snapshot, vifs []vif) (first, later []noting) {
	carried := map[uuid.UUID]bool{}
	for i := range vifs {
		f := &vifs[i]
		if f.wired != nil {
			carried[f.wired.NetworkID] = true
		} else if id, err := uuid.Parse(f.port.OtherConfig[otherNetwork]); err == nil {
			carried[id] = true
		}
	}
	v.release(carried)
	notes := map[uuid.UUID]*note{}
	var without []noting
	for i := range vifs {
		f := &vifs[i]
		if f.wired == nil {
			continue
		}
		n := notes[f.wired.NetworkID]
		if n == nil {
			vlan, err := v.of(f.wired.NetworkID)
			if err != nil {
				f.wired, f.reason = nil, err.Error()
				continue
			}
			network, _ := snap.Network(f.wired.NetworkID)
			n = newNote(network, vlan)
			notes[network.ID] = n
		}
		if n.isAt(f.port) {
			n.kept = true
		} else {
			without = append(without, noting{f.port, n})
		}
	}
	for _, w := range without {
		if w.note.kept {
			later = append(later, w)
		} else {
			first = append(first, w)
		}
	}
	return first, later
}

// clone is a copy to try something with.
func (v *localVLANs) clone() *localVLANs {
	return &localVLANs{byNetwork: maps.Clone(v.byNetwork), byVLAN: maps.Clone(v.byVLAN), installed: maps.Clone(v.installed)}
}

// restore reads the notebook in the ports of br-int. A port whose entry contradicts another keeps its
// row, but the first reading stands.
func (v *localVLANs) restore(m *ovsdb.Mirror, br *ovsdb.Bridge) {
	for p := range m.PortsOf(br) {
		network, err := uuid.Parse(p.OtherConfig[otherNetwork])
		if err != nil {
			continue
		}
		tag, err := strconv.ParseUint(p.OtherConfig[otherTag], 10, 16)
		if err != nil || tag < 1 || tag > maxLocalVLAN {
			continue
		}
		v.take(network, uint16(tag))
	}
}

// restoreInstalled reads which numbers the installed flows of br-int use: the network's flow in
// l2_flood names both. os-vif's del-port and add-port erase the notebook, but not these.
func (v *localVLANs) restoreInstalled(in flows.Installed) {
	clear(v.installed)
	for i := range in.Flows {
		f := &in.Flows[i]
		_, kind, prefix := flows.CookieParts(f.Cookie)
		if f.Table != flows.L2Flood.Number || kind != flows.KindNetwork {
			continue
		}
		if vlan, ok := f.Match.Get(flows.RegNet.Field); ok && vlan.Uint() >= 1 && vlan.Uint() <= maxLocalVLAN {
			v.installed[uint16(vlan.Uint())] = prefix
		}
	}
}

func (v *localVLANs) take(network uuid.UUID, vlan uint16) bool {
	if _, taken := v.byVLAN[vlan]; taken {
		return false
	}
	if _, has := v.byNetwork[network]; has {
		return false
	}
	v.byNetwork[network], v.byVLAN[vlan] = vlan, network
	return true
}

// of gives the network's number, choosing one when it has none: the one its installed flows carry,
// else the lowest that nothing carries.
func (v *localVLANs) of(network uuid.UUID) (uint16, error) {
	if vlan, ok := v.byNetwork[network]; ok {
		return vlan, nil
	}
	_, _, prefix := flows.CookieParts(flows.Object{Kind: flows.KindNetwork, ID: network}.Cookie(0))
	for vlan, p := range v.installed {
		if p == prefix && v.take(network, vlan) {
			return vlan, nil
		}
	}
	for vlan := uint16(1); vlan <= maxLocalVLAN; vlan++ {
		if _, inUse := v.installed[vlan]; !inUse && v.take(network, vlan) {
			return vlan, nil
		}
	}
	return 0, fmt.Errorf("network %s: all %d local VLANs of this host are in use: move some of its ports to another host", network, maxLocalVLAN)
}

// release gives up the numbers of networks that wanted does not hold. They are free once no installed
// flow carries them: see committed.
func (v *localVLANs) release(wanted map[uuid.UUID]bool) {
	for network, vlan := range v.byNetwork {
		if !wanted[network] {
			delete(v.byNetwork, network)
			delete(v.byVLAN, vlan)
		}
	}
}

// committed records that the switch holds the flows of exactly the networks that have a number now.
func (v *localVLANs) committed() {
	clear(v.installed)
	for network, vlan := range v.byNetwork {
		_, _, prefix := flows.CookieParts(flows.Object{Kind: flows.KindNetwork, ID: network}.Cookie(0))
		v.installed[vlan] = prefix
	}
}
