// Package pipeline tests all features together: what they want for a whole deployment, whether real
// Open vSwitch does with packets what the pipeline promises, that an incremental compilation equals
// one from nothing, and how many flows a port costs. It has nothing to import.
//
// Read topology_test.go first: the deployment, and how its views are made.
package pipeline
