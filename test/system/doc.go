// Package system tests the program itself: `tunbridge serve` as a child process, driven through the
// Neutron API, against real Open vSwitch hosts. Most of them are hosts of dummies, which need no root;
// where packets must really travel they are namespaces.
//
// Each test is a user's story. At the end of every one, on every host that is connected, what is
// installed must be what a recompute from nothing wants, and each flow must name its owner and object.
//
// Read deployment_test.go first. The package has nothing to import.
package system
