package model

import (
	"fmt"
	"slices"
	"strings"
)

// Segment says how a network's frames are told apart on the wire.
type Segment struct {
	// NetworkType is how frames travel between hosts: vxlan, gre, geneve, vlan, flat, or local for not
	// at all.
	NetworkType string `api:"provider:network_type,post,put,max=32,filter,sort,policy=admin,ext=provider"`
	// PhysicalNetwork is the provider network's name, for vlan and flat only.
	PhysicalNetwork string `api:"provider:physical_network,post,put,null,max=64,filter,sort,policy=admin,ext=provider"`
	// SegmentationID is the VNI, the GRE key or the VLAN ID. That of a vlan network can be changed.
	SegmentationID uint32 `api:"provider:segmentation_id,post,put,null,min=0,filter,sort,policy=admin,ext=provider"`
}

// readSegments reads the list in which clients of networks with several segments name them. Here a network
// has one; a list without any asks for nothing.
func readSegments(_ *Attribute, v any) ([]Segment, error) {
	list, ok := v.([]any)
	switch {
	case !ok:
		return nil, because("'%s' is not a list", Quote(v))
	case len(list) > 1:
		return nil, because("a network has one segment, not %d: a port of it is on the same wire on every host", len(list))
	case len(list) == 0:
		return nil, nil
	}
	o, err := object(list[0], "segments", "provider:network_type", "provider:physical_network", "provider:segmentation_id")
	if err != nil {
		return nil, err
	}
	var s Segment
	if v := o["provider:network_type"]; v != nil {
		if s.NetworkType, err = readString(&Attribute{HasMax: true, Max: 32}, v); err != nil {
			return nil, err
		}
	}
	if v := o["provider:physical_network"]; v != nil {
		if s.PhysicalNetwork, err = readString(&Attribute{HasMax: true, Max: 64}, v); err != nil {
			return nil, err
		}
	}
	if v := o["provider:segmentation_id"]; v != nil {
		if s.SegmentationID, err = readInteger[uint32](&Attribute{HasMin: true}, v); err != nil {
			return nil, err
		}
	}
	return []Segment{s}, nil
}

// The network types.
const (
	TypeVXLAN  = "vxlan"
	TypeGeneve = "geneve"
	TypeGRE    = "gre"
	TypeVLAN   = "vlan"
	TypeFlat   = "flat"
	TypeLocal  = "local"
)

// The largest segmentation ids; the least is 1 for all types.
const (
	MaxVNI    = 1<<24 - 1 // of vxlan (RFC 7348 §5) and geneve (RFC 8926 §3.4)
	MaxGREKey = 1<<32 - 1 // RFC 2890 §2.1
	MaxVLAN   = 4094      // IEEE 802.1Q §9.6
)

// Overlay reports whether frames travel in tunnels between hosts.
func (s Segment) Overlay() bool {
	return s.NetworkType == TypeVXLAN || s.NetworkType == TypeGRE || s.NetworkType == TypeGeneve
}

// Provider reports whether frames travel on a physical network.
func (s Segment) Provider() bool { return s.NetworkType == TypeFlat || s.NetworkType == TypeVLAN }

// Reaches is nil if the host can take part in the network, or says what the host lacks and where to
// set it. A port on a host that does not reach its network cannot be bound.
func (h *Host) Reaches(n *Network) error {
	s := n.Segment
	switch {
	case s.Provider() && h.BridgeMappings[s.PhysicalNetwork] == "":
		return fmt.Errorf("host %s has no bridge for physical network %s: add %s:BRIDGE to external_ids:tunbridge-bridge-mappings on the host",
			h.Hostname, s.PhysicalNetwork, s.PhysicalNetwork)
	case s.Overlay() && !h.EncapIP.IsValid():
		return fmt.Errorf("host %s has no address for tunnels: set external_ids:tunbridge-encap-ip on the host", h.Hostname)
	case s.Overlay() && !slices.Contains(h.EncapTypes, s.NetworkType):
		return fmt.Errorf("host %s does not take part in %s tunnels: external_ids:tunbridge-encap-types on the host has only %s",
			h.Hostname, s.NetworkType, strings.Join(h.EncapTypes, ","))
	}
	return nil
}

// TunnelOverhead is by how many bytes a guest's IP packet grows on an underlay of IPv4 or IPv6: the outer
// IP header, UDP 8 and VXLAN 8 (RFC 7348 §5), or UDP and Geneve 8 without options (RFC 8926 §3.4), or
// GRE 4 with a key of 4 (RFC 2890 §2), and the inner Ethernet header 14. 0 without a tunnel.
func TunnelOverhead(networkType string, ipv6 bool) int {
	outer := 20
	if ipv6 {
		outer = 40
	}
	switch networkType {
	case TypeVXLAN, TypeGeneve:
		return outer + 8 + 8 + 14
	case TypeGRE:
		return outer + 4 + 4 + 14
	}
	return 0
}
