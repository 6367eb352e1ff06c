package controller

import (
	"time"

	"github.com/tunbridge/tunbridge/dhcp"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/capture"
	"github.com/tunbridge/tunbridge/flows/l2"
	"github.com/tunbridge/tunbridge/l2pop"
	"github.com/tunbridge/tunbridge/metadata"
	"github.com/tunbridge/tunbridge/probe"
)

// FeatureOptions configure the features.
type FeatureOptions struct {
	LeaseDuration time.Duration // 0 is a day; negative is for ever
	Domain        string        // that DHCP gives
	Metadata      flows.Handler // of flows.OpMetadata
	PuntRate      int           // as in Options
}

// Features is the program's feature list, and who answers which punted packet.
func Features(o FeatureOptions) ([]flows.Feature, map[flows.Op]flows.Handler) {
	leases := dhcp.New(dhcp.Options{LeaseDuration: o.LeaseDuration, Domain: o.Domain, Metadata: true})
	return []flows.Feature{l2.Feature{PuntRate: o.PuntRate}, l2pop.Feature{}, leases, metadata.Feature{}, probe.Feature{}, capture.Feature{}}, map[flows.Op]flows.Handler{
		flows.OpDHCPv4: leases, flows.OpDHCPv6: leases, flows.OpRouterSolicitation: leases, flows.OpMetadata: o.Metadata,
	}
}
