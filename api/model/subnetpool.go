package model

import "net/netip"

// SubnetPools declares the subnet pool resource.
var SubnetPools = declare[SubnetPoolView]("subnetpool", "subnetpools")

// SubnetPool is a stock of addresses that subnets are cut from, so that no two of them overlap.
type SubnetPool struct {
	Common
	// Prefixes are the blocks of the pool, of one IP version, as few as possible. They can be extended;
	// what is taken away must be in no subnet.
	Prefixes []netip.Prefix `api:"prefixes,post,put,required,ext=subnet_allocation"`
	// DefaultPrefixlen is the size of a subnet that names none; when absent it is MinPrefixlen.
	DefaultPrefixlen int `api:"default_prefixlen,post,put,min=0,filter,sort,ext=subnet_allocation"`
	// MinPrefixlen is that of the largest subnets; when absent it is 8 in IPv4 and 64 in IPv6.
	MinPrefixlen int `api:"min_prefixlen,post,put,min=0,filter,sort,ext=subnet_allocation"`
	// MaxPrefixlen is that of the smallest subnets; when absent it is 32 in IPv4 and 128 in IPv6.
	MaxPrefixlen int `api:"max_prefixlen,post,put,min=0,filter,sort,ext=subnet_allocation"`
	// DefaultQuota is how much each project may take of the pool: IPv4 addresses, or IPv6 blocks of /64;
	// null is any number.
	DefaultQuota int `api:"default_quota,post,put,null,min=0,filter,sort,ext=subnet_allocation"`
	// IsDefault marks the pool for subnets that ask for the default one; each IP version has one.
	IsDefault bool `api:"is_default,post,put,default=false,filter,sort,policy=admin-sets,ext=default-subnetpools"`
	// Shared is whether every project may use the pool.
	Shared bool `api:"shared,post,default=false,filter,sort,policy=admin-sets,ext=subnet_allocation"`
}

// IPVersion is that of the pool's blocks.
func (p *SubnetPool) IPVersion() int {
	if len(p.Prefixes) > 0 && p.Prefixes[0].Addr().Is6() {
		return 6
	}
	return 4
}

// SubnetPoolView is a subnet pool as the API shows it.
type SubnetPoolView struct {
	*SubnetPool
	// Version is 4 or 6, as the blocks are.
	Version int `api:"ip_version,filter,sort,ext=subnet_allocation"`
}
