package model

// Quotas declares the quota resource: what one project may have.
var Quotas = declare[QuotaView]("quota", "quotas")

// Quota is how many resources a project may have (table kind: desired).
type Quota struct {
	ProjectID string
	// Limits has the limits that an administrator has set, by resource; the others are the server's
	// defaults.
	Limits map[string]int
	// Turn grows with every creation that comes near a limit: no two of them are committed at once,
	// each without having counted the other.
	Turn int64
}

// Unlimited is the limit that is none.
const Unlimited = -1

// QuotaView is what a request sets of a quota. The attributes that are integers are named for the
// resources they limit.
type QuotaView struct {
	// Network is how many networks the project may have; -1 is any number.
	Network int `api:"network,put,min=-1,max=2147483647,ext=quotas"`
	// Subnet is how many subnets.
	Subnet int `api:"subnet,put,min=-1,max=2147483647,ext=quotas"`
	// Port is how many ports, those that answer DHCP included.
	Port int `api:"port,put,min=-1,max=2147483647,ext=quotas"`
	// SubnetPool is how many subnet pools.
	SubnetPool int `api:"subnetpool,put,min=-1,max=2147483647,ext=quotas"`
	// RBACPolicy is how many RBAC policies.
	RBACPolicy int `api:"rbac_policy,put,min=-1,max=2147483647,ext=quotas"`
	// CheckLimit refuses a limit below what the project has.
	CheckLimit bool `api:"check_limit,put,hidden,ext=quota-check-limit"`
	// Force sets limits without looking at what the project has, as does a request without CheckLimit.
	Force bool `api:"force,put,hidden,ext=quotas"`
}

// QuotaResources are the names of the resources that a quota limits, in the order they are shown.
func QuotaResources() []string {
	var names []string
	for _, a := range Quotas.Attributes {
		if !a.Hidden {
			names = append(names, a.Name)
		}
	}
	return names
}
