// Package dhcp answers the DHCPv4 and DHCPv6 requests of VIFs (RFC 2131 and RFC 8415) and their router
// solicitations (RFC 4861) from the API's own data: the port says which address, its subnet says the
// rest. There is no lease store; an address belongs to its port for as long as the port lives, and the
// same request gets the same answer from any controller at any time.
//
//	View ── Compile ──▶ flows: punt the requests, answer ARP for the DHCP port's address
//	Punt ── parse ──▶ request ── find ──▶ lease ── appendReply ──▶ frame, out of the asking port
//	Network ── Announce ──▶ router advertisement, to who asks and to all from time to time
//
// Who asks is known by the ingress port, never by what the packet says: a port is offered nothing but
// its own addresses. A request that deserves no answer gets a Silence, which is counted.
//
// Read server.go first (the flows and who may ask), then handle.go (the states of RFC 2131),
// reply.go (the frame), options.go (what is handed out) and extra.go (a port's extra_dhcp_opts). IPv6 has
// the same in v6.go, v6_handle.go, v6_reply.go and v6_extra.go; advertisement.go is for who makes its
// address of a prefix.
//
// An answer takes about 2 µs and no allocation (BenchmarkHandle, BenchmarkHandleIPv6).
package dhcp
