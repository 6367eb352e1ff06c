// Package dhcp answers the DHCPv4 requests of VIFs (RFC 2131, options of RFC 2132 and RFC 3442) from
// the API's own data: the port says which address, its subnet says the rest. There is no lease store;
// an address belongs to its port for as long as the port lives, and the same request gets the same
// answer from any controller at any time.
//
//	View ── Compile ──▶ flows: punt the requests, answer ARP for the DHCP port's address
//	Punt ── parse ──▶ request ── find ──▶ lease ── appendReply ──▶ frame, out of the asking port
//
// Who asks is known by the ingress port, never by what the packet says: a port is offered nothing but
// its own addresses. A request that deserves no answer gets a Silence, which is counted.
//
// Read server.go first (the flows and who may ask), then handle.go (the states of RFC 2131),
// reply.go (the frame), options.go (what is handed out) and extra.go (a port's extra_dhcp_opts).
//
// An answer takes less than 2 µs and no allocation (BenchmarkHandle).
package dhcp
