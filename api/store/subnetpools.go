package store

import (
	"iter"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// SubnetPool finds a subnet pool by its id.
func (t *Tables) SubnetPool(id uuid.UUID) (*model.SubnetPool, bool) {
	return get[model.SubnetPool](t, subnetPools, id.String())
}

// SubnetPools lists all subnet pools in the order of their ids.
func (t *Tables) SubnetPools() iter.Seq[*model.SubnetPool] {
	return list[model.SubnetPool](t.state.rows[subnetPools], "")
}

// DefaultSubnetPool finds the pool for subnets of an IP version that ask for the default one.
func (t *Tables) DefaultSubnetPool(version int) (*model.SubnetPool, bool) {
	return unique[model.SubnetPool](t, defaultPoolKey(version))
}

// SubnetsOfPool lists the subnets that were cut from a pool, in the order of their CIDRs' text. It is
// watched over, as [Tables.SubnetsOf].
func (t *Tables) SubnetsOfPool(pool uuid.UUID) iter.Seq[*model.Subnet] {
	return listUnique[model.Subnet](t, poolPrefix(pool))
}

// PutSubnetPool writes a subnet pool. Its IP version must have no other default pool: [*UniqueError].
func (tx *Tx) PutSubnetPool(p *model.SubnetPool) error { return tx.put(subnetPools, p) }

// DeleteSubnetPool deletes a subnet pool, of which there may be no subnets when the function ends:
// [*InUseError]. [ErrNotFound] when there is none.
func (tx *Tx) DeleteSubnetPool(id uuid.UUID) error { return tx.drop(subnetPools, id.String()) }
