package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// Segments says which networks there can be. An administrator may name any segmentation id that the
// type allows; the ranges are those that others are chosen from. A network keeps its segment when
// these change, and gives it back when it is deleted.
type Segments struct {
	// Flat are the physical networks that may carry a flat network, "*" for any; each carries one.
	Flat []string
	// VLAN are the physical networks that may carry vlan networks, in the order of choice.
	VLAN []ipam.VLANRange
	// VXLAN, GRE and Geneve are what is chosen from; the zero value is 1 to 1048575.
	VXLAN, GRE, Geneve ipam.Range
	// Tenant are the types, in order of preference, of networks whose creator names none: the first that
	// has a free segment. Empty is vxlan.
	Tenant []string
}

// withDefaults completes the zero values.
func (s Segments) withDefaults() Segments {
	for _, r := range []*ipam.Range{&s.VXLAN, &s.GRE, &s.Geneve} {
		if *r == (ipam.Range{}) {
			*r = ipam.Range{First: 1, Last: 1<<20 - 1}
		}
	}
	if len(s.Tenant) == 0 {
		s.Tenant = []string{model.TypeVXLAN}
	}
	return s
}

// Check finds what cannot be. Its errors are the operator's.
func (s Segments) Check() error {
	for name, r := range map[string]ipam.Range{model.TypeVXLAN: s.VXLAN, model.TypeGeneve: s.Geneve} {
		if r.Last > model.MaxVNI {
			return fmt.Errorf("%s range %d:%d: the largest VNI is %d", name, r.First, r.Last, model.MaxVNI)
		}
	}
	for _, networkType := range s.Tenant {
		switch networkType {
		case model.TypeLocal, model.TypeVXLAN, model.TypeGRE, model.TypeGeneve:
		case model.TypeVLAN:
			if !slices.ContainsFunc(s.VLAN, func(v ipam.VLANRange) bool { return v.IDs != ipam.Range{} }) {
				return errors.New("tenant network type vlan: no physical network has a range of VLAN IDs")
			}
		case model.TypeFlat:
			return errors.New("tenant network type flat: a flat network takes a whole physical network, so only administrators make them")
		default:
			return fmt.Errorf("tenant network type %q: want vxlan, gre, geneve, vlan or local", networkType)
		}
	}
	return nil
}

// askedSegment reads what a request says in segments into the network, which has the other attributes
// already. numbered tells that a segmentation id was given, be it 0.
func askedSegment(in *model.Input, n *model.NetworkView) (numbered bool, err error) {
	given := func(name string) bool { return in.Given(name) && !in.Null(name) }
	if len(n.Segments) == 0 {
		return given("provider:segmentation_id"), nil
	}
	if given("provider:network_type") || given("provider:physical_network") || given("provider:segmentation_id") {
		return false, &Error{http.StatusBadRequest, "SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set."}
	}
	one := n.Segments[0]
	if one.NetworkType == "" {
		return false, model.InvalidInput("network_type required")
	}
	numbered = one.SegmentationID != 0
	if !numbered {
		one.SegmentationID = n.Segment.SegmentationID // an update keeps it
	}
	n.Segment = one
	return numbered, nil
}

// validate checks, in Neutron's words, what the creator of a network asks for. numbered tells that a
// segmentation id was given, be it 0.
func (s Segments) validate(asked model.Segment, numbered bool) error {
	switch asked.NetworkType {
	case "":
		return model.InvalidInput("network_type required")
	case model.TypeLocal:
		if asked.PhysicalNetwork != "" {
			return model.InvalidInput("physical_network prohibited for local provider network")
		}
	case model.TypeFlat:
		switch {
		case asked.PhysicalNetwork == "":
			return model.InvalidInput("physical_network required for flat provider network")
		case !slices.Contains(s.Flat, asked.PhysicalNetwork) && !slices.Contains(s.Flat, "*"):
			return model.InvalidInput("physical_network '%s' unknown for flat provider network", asked.PhysicalNetwork)
		}
	case model.TypeVLAN:
		switch {
		case asked.PhysicalNetwork != "" && !slices.ContainsFunc(s.VLAN, func(v ipam.VLANRange) bool { return v.PhysicalNetwork == asked.PhysicalNetwork }):
			return model.InvalidInput("physical_network '%s' unknown for VLAN provider network", asked.PhysicalNetwork)
		case asked.PhysicalNetwork == "" && numbered:
			return model.InvalidInput("segmentation_id requires physical_network for VLAN provider network")
		}
		return within(asked, numbered, model.MaxVLAN)
	case model.TypeVXLAN, model.TypeGeneve, model.TypeGRE:
		if asked.PhysicalNetwork != "" {
			return model.InvalidInput("provider:physical_network specified for %s network", asked.NetworkType)
		}
		if asked.NetworkType == model.TypeGRE {
			return within(asked, numbered, model.MaxGREKey)
		}
		return within(asked, numbered, model.MaxVNI)
	default:
		return model.InvalidInput("network_type value '%s' not supported", model.Quote(asked.NetworkType))
	}
	if asked.SegmentationID != 0 {
		return model.InvalidInput("segmentation_id prohibited for %s provider network", asked.NetworkType)
	}
	return nil
}

func within(asked model.Segment, numbered bool, largest uint32) error {
	if numbered && (asked.SegmentationID < 1 || asked.SegmentationID > largest) {
		return model.InvalidInput("segmentation_id %d out of range (1 through %d)", asked.SegmentationID, largest)
	}
	return nil
}

// take returns the segment of a new network: what was asked for, completed. Whether a named one is
// free is found out when the network is put.
func (s Segments) take(tx *store.Tx, asked model.Segment, numbered bool) (model.Segment, error) {
	types := s.Tenant
	if asked != (model.Segment{}) || numbered {
		if err := s.validate(asked, numbered); err != nil {
			return asked, err
		}
		if numbered || asked.NetworkType == model.TypeFlat {
			return asked, nil
		}
		types = []string{asked.NetworkType}
	}
	for _, networkType := range types {
		segment, err := s.choose(tx, networkType, asked.PhysicalNetwork)
		if !errors.Is(err, ipam.ErrExhausted) {
			return segment, err
		}
	}
	return asked, &Error{http.StatusServiceUnavailable, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation."}
}

// choose takes a free segment of a type, for vlan on one physical network or, with "", on the first
// that has one.
func (s Segments) choose(tx *store.Tx, networkType, physicalNetwork string) (model.Segment, error) {
	var ranges []ipam.Range
	switch networkType {
	case model.TypeLocal:
		return model.Segment{NetworkType: networkType}, nil
	case model.TypeVLAN:
		for _, v := range s.VLAN {
			if physicalNetwork != "" && v.PhysicalNetwork != physicalNetwork {
				continue
			}
			segment, err := ipam.Segment(tx, networkType, v.PhysicalNetwork, []ipam.Range{v.IDs})
			if !errors.Is(err, ipam.ErrExhausted) {
				return segment, err
			}
		}
	case model.TypeVXLAN:
		ranges = []ipam.Range{s.VXLAN}
	case model.TypeGRE:
		ranges = []ipam.Range{s.GRE}
	case model.TypeGeneve:
		ranges = []ipam.Range{s.Geneve}
	}
	return ipam.Segment(tx, networkType, physicalNetwork, ranges)
}

// renumber is what an update makes of a network's segment. As with Neutron's Open vSwitch driver, only
// the number of a vlan network can be changed, and with ports bound too; null changes nothing.
func (s Segments) renumber(was model.Segment, in *model.Input, asked model.Segment) (model.Segment, error) {
	if in.Null("provider:physical_network") {
		asked.PhysicalNetwork = was.PhysicalNetwork
	}
	switch {
	case asked.NetworkType != was.NetworkType || asked.PhysicalNetwork != was.PhysicalNetwork:
		return was, model.InvalidInput("Plugin does not support updating the following provider network attributes: provider:network_type, provider:physical_network")
	case asked.SegmentationID == was.SegmentationID || in.Null("provider:segmentation_id"):
		return was, nil
	case was.NetworkType != model.TypeVLAN:
		return was, model.InvalidInput("Only VLAN type networks can be updated")
	}
	return asked, s.validate(asked, true)
}
