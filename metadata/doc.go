// Package metadata answers machines that ask at 169.254.169.254 or fe80::a9fe:a9fe, port 80, who they
// are: from Nova, or from what is kept with their port. Nothing runs on the host. The switch punts the
// packets of these TCP connections, one TCP stack in the controller terminates all of them, and net/http
// serves them.
//
//	Punt ── parse ──▶ segment ── client ──▶ synthetic source ──▶ netstack ──▶ net/http ──▶ Nova
//	                                                                 │                └──▶ the port's own
//	frame, out of the asking VIF ◀── the client's address ◀──────────┘
//
// Who asks is the port whose VIF the packet came in by, never what the packet says: its source is
// replaced by a synthetic address that stands for (port, source), so that two networks with the same
// addresses cannot meet, and what the HTTP server takes for the remote address is a port. Headers that
// name an instance, and the packet's own identity, are the controller's to write.
//
// Read feature.go first (the flows), then server.go (a packet's way), client.go (synthetic addresses and
// limits), segment.go (packets), question.go (what is acknowledged when), netstack.go (the TCP stack),
// http.go, nova.go (the proxy), kept.go with openstack.go and ec2.go (what is served without Nova), and
// last.go (what is told to the operator).
package metadata
