// Package testbed runs real Open vSwitch hosts on this machine: for the tests
// that need a switch, for the demo and for the benchmarks. It knows nothing of
// the controller; a controller meets these hosts as it meets any others, over
// OVSDB and OpenFlow.
//
// A [Bed] holds hosts of two kinds:
//
//   - [Host] (root): a network namespace with its own ovsdb-server and
//     ovs-vswitchd on the userspace datapath, a VTEP on br-phy, and VMs
//     ([VM]: a namespace with eth0) plugged the way os-vif plugs them. The hosts
//     share an underlay (MTU 1700) and a management network, both Linux bridges
//     in the bed's underlay namespace; a controller runs in there, at
//     [ManagementAddr]. A [Physical] network beside them has VLANs and machines
//     that are no hosts ([Machine]).
//   - [CheapHost] (any user): the same two daemons with --enable-dummy=override.
//     Ports are dummies: packets are injected by hand, what a port sends is
//     recorded. No traffic, no tunnels, but a real OpenFlow pipeline in 0.1 s.
//
// Nothing survives: daemons die with the process that owns the bed, and what a
// killed owner left behind (its namespaces) is removed by the next [New], from
// the state recorded on disk. Two beds never meet: every bed has a prefix of
// its own, and every interface lives in one of its namespaces.
//
// Read bed.go first, then host.go or cheap.go; physical.go is what lies outside,
// switch.go runs the daemons.
package testbed
