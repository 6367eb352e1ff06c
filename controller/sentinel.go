package controller

import (
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// sentinel wants one flow on each bridge, in a table that nothing goes to. It is written last: a switch
// without it was restarted, or never programmed to the end.
type sentinel struct{}

func (sentinel) Owner() flows.Owner { return flows.OwnerController }

func (sentinel) Compile(v *flows.View, e *flows.Emitter) {
	e.Scope(flows.Object{Kind: flows.KindHost, ID: flows.HostID(v.Host.ID)}, v.Host.ID, func(e *flows.Emitter) {
		for _, b := range flows.Bridges {
			e.Flow(b.Sentinel(), 0, openflow.MustMatch(), openflow.Drop, "tells a programmed switch from a restarted one")
		}
	})
}
