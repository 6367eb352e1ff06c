// Package api serves the Neutron v2.0 REST API.
//
//	http ─► ServeHTTP (request id, log, limits) ─► authenticate ─► route ─► handlers.go
//	                                                                          │
//	   reads:  Store.Snapshot ─► candidates ─► view ─► filter, sort, page ─► JSON
//	   writes: model decodes ─► policy ─► Store.Update(networks.go, subnets.go, ports.go) ─► view ─► JSON
//
// handlers.go does what all resources have in common; a resource (networks.go, subnets.go, ports.go)
// adds its rules, which run inside one transaction with the allocations (ipam) and the checks. Nothing
// is answered before the commit is durable. Errors have Neutron's status, type and words (errors.go):
// its clients branch on them.
//
// Read routes.go first, then handlers.go.
package api
