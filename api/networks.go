package api

import (
	"errors"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// networks is the network resource.
type networks struct{ *Server }

func (networks) schema() *model.Schema { return model.Networks }

func (networks) find(t *store.Tables, id uuid.UUID) (view, bool) {
	n, ok := t.Network(id)
	return &model.NetworkView{Network: n}, ok
}

func (n networks) candidates(t *store.Tables, q *query) iter.Seq[view] {
	if ids, ok := q.only("id"); ok {
		return byID(n, t, ids)
	}
	return func(yield func(view) bool) {
		for row := range t.Networks() {
			if !yield(&model.NetworkView{Network: row}) {
				return
			}
		}
	}
}

func (networks) derive(t *store.Tables, v view) {
	n := v.(*model.NetworkView)
	n.Status = model.StatusActive
	n.L2Adjacency = true
	for s := range t.SubnetsOf(n.ID) {
		n.Subnets = append(n.Subnets, s.ID)
	}
	slices.SortFunc(n.Subnets, func(x, y uuid.UUID) int { return slices.Compare(x[:], y[:]) })
}

func (networks) visible(_ *store.Tables, c *Caller, v view) bool {
	n := v.(*model.NetworkView)
	return c.owns(n.ProjectID) || n.Shared || n.External
}

func (networks) changeable(_ *store.Tables, c *Caller, v view) bool { return c.owns(v.Row().ProjectID) }

func (n networks) create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error) {
	row := &model.Network{}
	in.Apply(&model.NetworkView{Network: row})
	if err := begin(&row.Common, c, in); err != nil {
		return uuid.Nil, err
	}
	if err := c.setAttributes(model.Create, model.Networks, in, row.ProjectID); err != nil {
		return uuid.Nil, err
	}
	segment, err := n.allocateSegment(tx, row.Segment)
	if err != nil {
		return uuid.Nil, err
	}
	row.Segment = segment
	if row.MTU, err = n.networkMTU(row.MTU); err != nil {
		return uuid.Nil, err
	}
	return row.ID, tx.PutNetwork(row)
}

// vxlanOverhead is what VXLAN adds to a packet over IPv4, in bytes: IPv4 20, UDP 8, VXLAN 8 and the
// inner Ethernet header 14 (RFC 7348 §5).
const vxlanOverhead = 50

// networkMTU is the MTU asked for, if the underlay can carry it, or the largest that it can for 0.
func (n networks) networkMTU(wanted int) (int, error) {
	largest := n.mtu - vxlanOverhead
	if wanted > largest {
		return 0, model.InvalidInput("Requested MTU is too big, maximum is %d", largest)
	}
	if wanted == 0 {
		return largest, nil
	}
	return wanted, nil
}

func (n networks) update(tx *store.Tx, c *Caller, v view, in *model.Input) error {
	old := v.(*model.NetworkView).Network
	if err := c.setAttributes(model.Update, model.Networks, in, old.ProjectID); err != nil {
		return err
	}
	row := *old
	in.Apply(&model.NetworkView{Network: &row})
	if row.Segment != old.Segment {
		return model.InvalidInput("Plugin does not support updating the following provider network attributes: %s", providerAttributes(in))
	}
	var err error
	if row.MTU, err = n.networkMTU(row.MTU); err != nil {
		return err
	}
	if row.MTU < old.MTU {
		for s := range tx.SubnetsOf(row.ID) {
			if err := checkMTU(&row, s); err != nil {
				return err
			}
		}
	}
	if old.Shared && !row.Shared {
		for p := range tx.PortsOf(row.ID) {
			if p.ProjectID != row.ProjectID {
				return conflict("InvalidSharedSetting", "Unable to reconfigure sharing settings for network %s. Multiple tenants are using it.", row.ID)
			}
		}
	}
	if reflect.DeepEqual(&row, old) {
		return nil
	}
	touch(&row.Common)
	return tx.PutNetwork(&row)
}

func providerAttributes(in *model.Input) string {
	var names []string
	for _, a := range in.GivenAttributes() {
		if a.Extension == "provider" {
			names = append(names, a.Name)
		}
	}
	return strings.Join(names, ", ")
}

// checkMTU refuses an MTU below the least that the subnet's IP version allows (RFC 791, RFC 8200 §5).
func checkMTU(n *model.Network, s *model.Subnet) error {
	least := 68
	if s.IPVersion == 6 {
		least = 1280
	}
	if n.MTU < least {
		return conflict("NetworkMTUSubnetConflict", "MTU of %s is not valid, subnet requires a minimum of %d", n.ID, least)
	}
	return nil
}

func (networks) retag(tx *store.Tx, v view, tags []string) error {
	row := *v.(*model.NetworkView).Network
	row.Tags = tags
	touch(&row.Common)
	return tx.PutNetwork(&row)
}

// remove deletes the network with its subnets and its DHCP port, if no other port is on it.
func (networks) remove(tx *store.Tx, v view) error {
	id := v.Row().ID
	var used []string
	for p := range tx.PortsOf(id) {
		if p.DeviceOwner != model.OwnerDHCP {
			used = append(used, p.ID.String())
		}
	}
	if used != nil {
		slices.Sort(used)
		return networkInUse(id, strings.Join(used, ","))
	}
	if p, ok := tx.DHCPPort(id); ok {
		if err := tx.DeletePort(p.ID); err != nil {
			return err
		}
	}
	for s := range tx.SubnetsOf(id) {
		if err := tx.DeleteSubnet(s.ID); err != nil {
			return err
		}
	}
	return tx.DeleteNetwork(id)
}

// networkFor finds the network that a new subnet or port is to be on, if the caller may know of it.
func networkFor(t *store.Tables, c *Caller, id uuid.UUID) (*model.Network, error) {
	n, ok := t.Network(id)
	if !ok || !(networks{}).visible(t, c, &model.NetworkView{Network: n}) {
		return nil, notFound(model.Networks, id.String())
	}
	return n, nil
}

// allocateSegment takes the segment that was asked for, or chooses one.
func (n networks) allocateSegment(tx *store.Tx, asked model.Segment) (model.Segment, error) {
	switch {
	case asked == model.Segment{}:
		asked.NetworkType = model.TypeVXLAN
	case asked.NetworkType == "":
		return asked, model.InvalidInput("network_type required")
	case asked.NetworkType != model.TypeVXLAN:
		return asked, model.InvalidInput("network_type value '%s' not supported", model.Quote(asked.NetworkType))
	case asked.PhysicalNetwork != "":
		return asked, model.InvalidInput("provider:physical_network specified for %s network", asked.NetworkType)
	case asked.SegmentationID > maxVNI:
		return asked, model.InvalidInput("provider:segmentation_id %d is too large for %s networks, maximum is %d", asked.SegmentationID, asked.NetworkType, maxVNI)
	case asked.SegmentationID != 0:
		return asked, nil // PutNetwork finds out whether it is free
	}
	chosen, err := ipam.Segment(tx, asked.NetworkType, asked.PhysicalNetwork, n.vxlan)
	if errors.Is(err, ipam.ErrExhausted) {
		return chosen, &Error{http.StatusServiceUnavailable, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation."}
	}
	return chosen, err
}

// maxVNI is the largest VXLAN network identifier (RFC 7348 §5).
const maxVNI = 1<<24 - 1
