package main

import (
	"fmt"
	"strings"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/model"
)

// quotaKeys are the keys that say how many resources a project may have when its quota does not.
type quotaKeys struct {
	QuotaNetwork    int `help:"Networks that a project may have; -1 is any number." default:"100"`
	QuotaSubnet     int `help:"Subnets that a project may have." default:"100"`
	QuotaPort       int `help:"Ports that a project may have." default:"500"`
	QuotaSubnetPool int `name:"quota-subnetpool" help:"Subnet pools that a project may have." default:"-1"`
	QuotaRBACPolicy int `name:"quota-rbac-policy" help:"RBAC policies that a project may have." default:"10"`
}

// quotas are the keys as the API takes them.
func (k *quotaKeys) quotas() (api.Quotas, error) {
	q := api.Quotas{"network": k.QuotaNetwork, "subnet": k.QuotaSubnet, "port": k.QuotaPort, "subnetpool": k.QuotaSubnetPool, "rbac_policy": k.QuotaRBACPolicy}
	for resource, limit := range q {
		if limit < model.Unlimited {
			return nil, fmt.Errorf("quota-%s: %d: want a number, or -1 for any number", strings.ReplaceAll(resource, "_", "-"), limit)
		}
	}
	return q, nil
}
