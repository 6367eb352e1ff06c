package api

import (
	"fmt"
	"iter"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// zones is the availability zones: the names that hosts share.
type zones struct{ readOnly }

func (zones) schema() *model.Schema { return model.AvailabilityZones }

func (zones) rules() rules { return rules{get: AccessAny} }

func (zones) target(*store.Tables, *Caller, view) target { return target{} }

func (zones) find(*store.Tables, uuid.UUID) (view, bool) { return nil, false } // a zone has no id

func (zones) candidates(t *store.Tables, _ *query) iter.Seq[view] {
	return func(yield func(view) bool) {
		for _, name := range t.Zones() {
			if !yield(&model.AvailabilityZone{Name: name, Resource: model.Networks.Name}) {
				return
			}
		}
	}
}

func (zones) derive(t *store.Tables, _ *Caller, v view) {
	z := v.(*model.AvailabilityZone)
	z.State = "unavailable"
	for h := range t.HostsIn(z.Name) {
		if agentSettings(t, h.AgentID(model.AgentDHCP)).AdminStateUp {
			z.State = "available"
			return
		}
	}
}

func (s *Server) zoneRoutes() []Route {
	h := handlers{s, zones{}}
	return []Route{{"get_availability_zones", http.MethodGet, "/v2.0/availability_zones", AccessAny, "availability_zone", model.AvailabilityZones, h.list}}
}

// checkZones finds the first name that is no zone's.
func checkZones(t *store.Tables, names []string) error {
	if len(names) == 0 {
		return nil
	}
	known := t.Zones()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return &Error{Status: http.StatusNotFound, Type: "AvailabilityZoneNotFound", Message: fmt.Sprintf("AvailabilityZone %s could not be found.", model.Quote(name))}
		}
	}
	return nil
}

// readOnly is what a resource that follows from others has instead of changes.
type readOnly struct{}

func (readOnly) create(*store.Tx, *Caller, *model.Input) (uuid.UUID, error) {
	return uuid.Nil, errMethod
}
func (readOnly) update(*store.Tx, *Caller, view, *model.Input) error { return errMethod }
func (readOnly) retag(*store.Tx, view, []string) error               { return errMethod }
func (readOnly) remove(*store.Tx, view) error                        { return errMethod }
