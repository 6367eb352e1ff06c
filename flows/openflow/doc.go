// Package openflow speaks OpenFlow 1.5 with the Nicira extensions, as Open vSwitch does.
package openflow
