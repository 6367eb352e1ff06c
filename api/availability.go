package api

import (
	"cmp"
	"iter"
	"math/big"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// ipAvailabilities tells how many of networks' addresses are used.
type ipAvailabilities struct{ readOnly }

func (ipAvailabilities) schema() *model.Schema { return model.NetworkIPAvailabilities }

func (ipAvailabilities) rules() rules { return rules{get: AccessAdmin} }

func (ipAvailabilities) target(*store.Tables, *Caller, view) target { return target{} }

func (ipAvailabilities) find(t *store.Tables, id uuid.UUID) (view, bool) {
	n, ok := t.Network(id)
	if !ok {
		return nil, false
	}
	return availability(t, n, nil), true
}

func (ipAvailabilities) candidates(t *store.Tables, q *query) iter.Seq[view] {
	versions := q.filters["ip_version"]
	return func(yield func(view) bool) {
		for n := range t.Networks() {
			if !yield(availability(t, n, versions)) {
				return
			}
		}
	}
}

func (ipAvailabilities) derive(*store.Tables, *Caller, view) {}

// availability counts the addresses of a network's subnets, of all or of those of the IP versions.
func availability(t *store.Tables, n *model.Network, versions []string) *model.NetworkIPAvailability {
	a := &model.NetworkIPAvailability{NetworkID: n.ID, NetworkName: n.Name, ProjectID: n.ProjectID, UsedIPs: new(big.Int), TotalIPs: new(big.Int)}
	used := make(map[uuid.UUID]int64)
	for p := range t.PortsOf(n.ID) {
		for _, f := range p.FixedIPs {
			used[f.SubnetID]++
		}
	}
	for s := range t.SubnetsOf(n.ID) {
		version := strconv.Itoa(s.IPVersion)
		if versions != nil && !slices.Contains(versions, version) {
			continue
		}
		of := model.SubnetIPAvailability{SubnetID: s.ID, SubnetName: s.Name, IPVersion: s.IPVersion, CIDR: s.CIDR,
			UsedIPs: big.NewInt(used[s.ID]), TotalIPs: new(big.Int)}
		pools := s.AllocationPools
		if len(pools) == 0 { // all addresses were named by their ports
			pools = []model.Pool{{Start: s.CIDR.Addr(), End: last(s.CIDR)}}
		}
		for _, p := range pools {
			of.TotalIPs.Add(of.TotalIPs, p.Size())
		}
		a.Subnets = append(a.Subnets, of)
		a.UsedIPs.Add(a.UsedIPs, of.UsedIPs)
		a.TotalIPs.Add(a.TotalIPs, of.TotalIPs)
		if !slices.Contains(a.IPVersion, version) {
			a.IPVersion = append(a.IPVersion, version)
		}
	}
	slices.SortFunc(a.Subnets, func(x, y model.SubnetIPAvailability) int {
		return cmp.Or(x.CIDR.Addr().Compare(y.CIDR.Addr()), cmp.Compare(x.CIDR.Bits(), y.CIDR.Bits()))
	})
	return a
}

func (s *Server) availabilityRoutes() []Route {
	h := handlers{s, ipAvailabilities{}}
	const alias, all = "network-ip-availability", "/v2.0/network-ip-availabilities"
	const topology = "/v2.0/auto-allocated-topology/{id}"
	return []Route{
		{"get_network_ip_availabilities", http.MethodGet, all, AccessAdmin, alias, h.schema(), h.list},
		{"get_network_ip_availability", http.MethodGet, all + "/{id}", AccessAdmin, alias, h.schema(), h.show},
		// Nova asks for a topology when a machine is to have any network and the project has none. It takes
		// this answer for a no, and 404 for a fault.
		{"get_auto_allocated_topology", http.MethodGet, topology, seesTopology, "", nil, s.noTopology(conflict("AutoAllocationFailure", "Deployment error: No default router:external network."))},
		{"delete_auto_allocated_topology", http.MethodDelete, topology, seesTopology, "", nil, s.noTopology(nil)},
		{"get_service_providers", http.MethodGet, "/v2.0/service-providers", AccessAny, "service-type", nil, listServiceProviders},
	}
}

// seesTopology is who may ask for the network that was made for a project, and to have it deleted.
const seesTopology = AccessAdmin | AccessProjectReader

// noTopology answers with an error, or with 204 if it is nil, those who may ask.
func (s *Server) noTopology(answer *Error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, project := callerOf(r), mux.Vars(r)["id"]
		if project != "null" && !c.may(seesTopology, target{project: project}) {
			return &Error{Status: http.StatusForbidden, Type: "NotAuthorized", Message: "Not authorized."}
		}
		if answer != nil {
			return answer
		}
		if err := s.transact(r, func(*store.Tx) error { return nil }); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// listServiceProviders answers as a Neutron without routers: what is served here has no providers to choose.
func listServiceProviders(w http.ResponseWriter, _ *http.Request) error {
	writeBody(w, http.StatusOK, []byte(`{"service_providers":[]}`))
	return nil
}
