package api

import (
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/ipam"
	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// subnetPools is the subnet pool resource.
type subnetPools struct{ *Server }

func (subnetPools) schema() *model.Schema { return model.SubnetPools }

func (subnetPools) find(t *store.Tables, id uuid.UUID) (view, bool) {
	p, ok := t.SubnetPool(id)
	return subnetPoolView(p), ok
}

func subnetPoolView(p *model.SubnetPool) view { return &model.SubnetPoolView{SubnetPool: p} }

func (s subnetPools) candidates(t *store.Tables, q *query) iter.Seq[view] {
	if ids, ok := q.only("id"); ok {
		return byID(s, t, ids)
	}
	return func(yield func(view) bool) { each(t.SubnetPools(), subnetPoolView, yield) }
}

func (subnetPools) derive(_ *store.Tables, _ *Caller, v view) {
	p := v.(*model.SubnetPoolView)
	p.Version = p.IPVersion()
}

func (subnetPools) rules() rules {
	return rules{
		create: AccessOwner,
		get:    AccessAdmin | AccessService | AccessProjectReader | AccessSharedReader,
		update: AccessOwner,
		delete: AccessOwner,
	}
}

func (subnetPools) target(_ *store.Tables, _ *Caller, v view) target {
	return poolTarget(v.(*model.SubnetPoolView).SubnetPool)
}

func poolTarget(p *model.SubnetPool) target { return target{project: p.ProjectID, shared: p.Shared} }

func (s subnetPools) create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error) {
	row := &model.SubnetPool{}
	in.Apply(subnetPoolView(row))
	if err := begin(&row.Common, c, in); err != nil {
		return uuid.Nil, err
	}
	if err := c.authorize("create", model.SubnetPools, s.rules().create, poolTarget(row), clauses(model.Create, in)...); err != nil {
		return uuid.Nil, err
	}
	if !in.Given("name") {
		return uuid.Nil, model.BadRequest("Failed to parse request. Required attribute 'name' not specified")
	}
	if len(row.Prefixes) > 0 {
		bits := row.Prefixes[0].Addr().BitLen()
		if !in.Given("min_prefixlen") {
			row.MinPrefixlen = map[int]int{32: 8, 128: 64}[bits]
		}
		if !in.Given("max_prefixlen") {
			row.MaxPrefixlen = bits
		}
		if !in.Given("default_prefixlen") {
			row.DefaultPrefixlen = row.MinPrefixlen
		}
	}
	if err := checkPool(tx, row); err != nil {
		return uuid.Nil, err
	}
	return row.ID, tx.PutSubnetPool(row)
}

// checkPool checks what both creating and updating can set, and makes the prefixes as few as possible.
func checkPool(tx *store.Tx, p *model.SubnetPool) error {
	bad := func(kind, format string, args ...any) error {
		return &Error{http.StatusBadRequest, kind, fmt.Sprintf(format, args...)}
	}
	bounds := func(what string, bits int, base string, limit int) error {
		return bad("IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: %s=%d, %s=%d.", what, bits, base, limit)
	}
	if p.Name == "" {
		return model.BadRequest("Invalid input for name. Reason: '' Blank strings are not permitted.")
	}
	if len(p.Prefixes) == 0 {
		return bad("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
	}
	size := p.Prefixes[0].Addr().BitLen()
	for _, prefix := range p.Prefixes {
		if prefix.Addr().BitLen() != size {
			return bad("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
		}
	}
	switch {
	case p.MinPrefixlen > p.MaxPrefixlen:
		return bounds("min_prefixlen", p.MinPrefixlen, "max_prefixlen", p.MaxPrefixlen)
	case p.MaxPrefixlen > size:
		return bounds("max_prefixlen", p.MaxPrefixlen, "ip_version_max", size)
	case p.DefaultPrefixlen < p.MinPrefixlen:
		return bounds("default_prefixlen", p.DefaultPrefixlen, "min_prefixlen", p.MinPrefixlen)
	case p.DefaultPrefixlen > p.MaxPrefixlen:
		return bounds("default_prefixlen", p.DefaultPrefixlen, "max_prefixlen", p.MaxPrefixlen)
	}
	if p.IsDefault {
		if other, ok := tx.DefaultSubnetPool(p.IPVersion()); ok && other.ID != p.ID {
			return model.InvalidInput("A default subnetpool for this IP family has already been set. Only one default may exist per IP family")
		}
	}
	p.Prefixes = ipam.Compact(p.Prefixes)
	return nil
}

func illegalPrefixes(why string) *Error {
	return &Error{http.StatusBadRequest, "IllegalSubnetPoolPrefixUpdate", "Illegal update to prefixes: " + why + "."}
}

func (s subnetPools) update(tx *store.Tx, c *Caller, v view, in *model.Input) error {
	old := v.(*model.SubnetPoolView).SubnetPool
	if err := c.authorize("update", model.SubnetPools, s.rules().update, poolTarget(old), clauses(model.Update, in)...); err != nil {
		return err
	}
	row := *old
	in.Apply(subnetPoolView(&row))
	if err := checkPool(tx, &row); err != nil {
		return err
	}
	if len(ipam.Without(old.Prefixes, row.Prefixes)) > 0 {
		return illegalPrefixes("Existing prefixes must be a subset of the new prefixes")
	}
	if reflect.DeepEqual(&row, old) {
		return nil
	}
	touch(&row.Common)
	return tx.PutSubnetPool(&row)
}

func (subnetPools) retag(tx *store.Tx, v view, tags []string) error {
	row := *v.(*model.SubnetPoolView).SubnetPool
	row.Tags = tags
	touch(&row.Common)
	return tx.PutSubnetPool(&row)
}

func (subnetPools) remove(tx *store.Tx, v view) error {
	id := v.Row().ID
	for range tx.SubnetsOfPool(id) {
		return &Error{http.StatusBadRequest, "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations."}
	}
	return tx.DeleteSubnetPool(id)
}

// poolRoutes are the operations on a pool's prefixes.
func (s *Server) poolRoutes() []Route {
	p := subnetPools{s}
	h := handlers{s, p}
	const alias, one = "subnetpool-prefix-ops", "/v2.0/subnetpools/{id}"
	return []Route{
		{"add_prefixes", http.MethodPut, one + "/add_prefixes", p.rules().update, alias, model.SubnetPools, h.changePrefixes(
			func(_ *store.Tx, row *model.SubnetPool, given []netip.Prefix) ([]netip.Prefix, error) {
				return append(slices.Clone(row.Prefixes), given...), nil
			})},
		{"remove_prefixes", http.MethodPut, one + "/remove_prefixes", p.rules().update, alias, model.SubnetPools, h.changePrefixes(
			func(tx *store.Tx, row *model.SubnetPool, given []netip.Prefix) ([]netip.Prefix, error) {
				for subnet := range tx.SubnetsOfPool(row.ID) {
					if slices.ContainsFunc(given, subnet.CIDR.Overlaps) {
						return nil, illegalPrefixes("One or more of the prefixes to be removed is in use by a subnet")
					}
				}
				return ipam.Without(row.Prefixes, given), nil
			})},
	}
}

// changePrefixes makes the pool's prefixes what change makes of them and those in the body, and answers
// with them.
func (h handlers) changePrefixes(change func(tx *store.Tx, row *model.SubnetPool, given []netip.Prefix) ([]netip.Prefix, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := readBody(r)
		if err != nil {
			return err
		}
		given, err := model.ReadPrefixes(body)
		if err != nil {
			return err
		}
		var row model.SubnetPool
		err = h.transact(r, func(tx *store.Tx) error {
			v, err := h.change(tx, r, string(model.Update))
			if err != nil {
				return err
			}
			old := v.(*model.SubnetPoolView).SubnetPool
			row = *old
			if row.Prefixes, err = change(tx, old, given); err != nil {
				return err
			}
			if err := checkPool(tx, &row); err != nil || slices.Equal(row.Prefixes, old.Prefixes) {
				return err
			}
			touch(&row.Common)
			return tx.PutSubnetPool(&row)
		})
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, map[string][]netip.Prefix{"prefixes": row.Prefixes})
		return nil
	}
}

// fromPool cuts the CIDR of a new subnet from the pool that it names or means, if it does.
func fromPool(tx *store.Tx, c *Caller, row *model.Subnet, in *model.Input) error {
	bad := func(format string, args ...any) error {
		return &Error{http.StatusBadRequest, "BadRequest", "Bad subnets request: " + fmt.Sprintf(format, args...) + "."}
	}
	named := row.SubnetPoolID != uuid.Nil
	bits, sized := in.Value("prefixlen").(int)
	switch {
	case in.Value("use_default_subnetpool") == true && named:
		return bad("subnetpool_id and use_default_subnetpool cannot both be specified")
	case in.Value("use_default_subnetpool") == true:
		pool, ok := tx.DefaultSubnetPool(row.IPVersion)
		if !ok || !c.may(subnetPools{}.rules().get, poolTarget(pool)) {
			return bad("No default subnetpool found for IPv%d", row.IPVersion)
		}
		row.SubnetPoolID = pool.ID
	case !named && !row.CIDR.IsValid():
		return bad("a subnetpool must be specified in the absence of a cidr")
	}
	if row.SubnetPoolID == uuid.Nil {
		return checkAffinity(tx, row)
	}
	pool, ok := tx.SubnetPool(row.SubnetPoolID)
	switch {
	case !ok || !c.may(subnetPools{}.rules().get, poolTarget(pool)):
		return notFound(model.SubnetPools, row.SubnetPoolID.String())
	case pool.IPVersion() != row.IPVersion:
		return bad("Cannot allocate IPv%d subnet from IPv%d subnet pool", row.IPVersion, pool.IPVersion())
	case row.CIDR.IsValid() && sized:
		return bad("cidr and prefixlen must not be supplied together")
	case !row.CIDR.IsValid() && in.Given("allocation_pools"):
		return bad("allocation_pools allowed only for specific subnet requests")
	case row.CIDR.IsValid():
		bits = row.CIDR.Bits()
	case !sized:
		bits = pool.DefaultPrefixlen
	}
	if bits > pool.MaxPrefixlen {
		return &Error{http.StatusBadRequest, "MaxPrefixSubnetAllocationError", fmt.Sprintf("Unable to allocate subnet with prefix length %d, maximum allowed prefix is %d.", bits, pool.MaxPrefixlen)}
	}
	if bits < pool.MinPrefixlen {
		return &Error{http.StatusBadRequest, "MinPrefixSubnetAllocationError", fmt.Sprintf("Unable to allocate subnet with prefix length %d, minimum allowed prefix is %d.", bits, pool.MinPrefixlen)}
	}
	if err := cut(tx, pool, row, bits); err != nil {
		return err
	}
	return checkAffinity(tx, row)
}

// checkAffinity refuses subnets of one network that are not of one pool.
func checkAffinity(tx *store.Tx, row *model.Subnet) error {
	for other := range tx.SubnetsOf(row.NetworkID) {
		if other.IPVersion == row.IPVersion && other.SubnetPoolID != row.SubnetPoolID {
			return &Error{http.StatusBadRequest, "NetworkSubnetPoolAffinityError", "Subnets hosted on the same network must be allocated from the same subnet pool."}
		}
	}
	return nil
}

// cut takes a subnet's CIDR from a pool, or any of that prefix length.
func cut(tx *store.Tx, pool *model.SubnetPool, row *model.Subnet, bits int) error {
	unit := map[int]int{4: 32, 6: 64}[row.IPVersion]
	units := func(bits int) float64 { return math.Ldexp(1, unit-bits) }
	used := units(bits)
	var taken []netip.Prefix
	for s := range tx.SubnetsOfPool(pool.ID) {
		taken = append(taken, s.CIDR)
		if s.ProjectID == row.ProjectID {
			used += units(s.CIDR.Bits())
		}
	}
	if pool.DefaultQuota > 0 && used > float64(pool.DefaultQuota) {
		return conflict("SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded.")
	}
	if row.CIDR.IsValid() {
		if len(ipam.Without([]netip.Prefix{row.CIDR}, ipam.Without(pool.Prefixes, taken))) > 0 {
			return &Error{http.StatusBadRequest, "SubnetAllocationError", "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes."}
		}
		return nil
	}
	var ok bool
	if row.CIDR, ok = ipam.Block(pool.Prefixes, taken, bits); !ok {
		return conflict("SubnetAllocationError", "Failed to allocate subnet: Insufficient prefix space to allocate subnet size /%d.", bits)
	}
	return nil
}
