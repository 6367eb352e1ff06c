// Package eval says what the flows, groups and ports that were read from switches do to a packet, without
// asking a switch: the same flows always give the same answer, and nothing is counted, learnt or sent.
//
//	flows, groups, ports of a bridge ─▶ NewBridge ─▶ Bridge ─┐
//	                                      both bridges ─▶ Host ─▶ Run ─▶ Result: steps, and what became of
//	what a guest sends ─▶ NewPacket ─▶ Packet ──────────────┘    ▲      the packet and of each copy of it
//	                               tunnels and physical networks: Fabric
//
// It follows Open vSwitch: what a resubmit changes stays changed, what a bucket, a clone or the other end
// of a patch changes does not; a packet is not sent back through the port it came by unless a flow says
// IN_PORT; a patch port forgets registers, metadata and the tunnel's fields. The tests hold it to
// ofproto/trace.
//
// Not evaluated, and told as [Unknown], are actions that package openflow keeps in wire form (ct, multipath
// …). The bytes of a frame are not looked at: a packet is the fields that it is given.
//
// Read run.go first, then packet.go and bridge.go.
package eval
