package ovsdb

import (
	"context"
	"errors"
	"fmt"
)

// database is what Open vSwitch calls the one database of a host.
const database = "Open_vSwitch"

// noTransaction is the last-txn-id of one who has seen none (ovsdb-server(7), 4.1.15).
const noTransaction = "00000000-0000-0000-0000-000000000000"

// Start asks for the tables and returns once the mirror is complete. It may be
// called once. It needs Open vSwitch 2.12 or later.
func (s *Session) Start(ctx context.Context) error {
	type columns struct {
		Columns []string `json:"columns"`
	}
	requests := map[string][]columns{
		openVSwitchTable.name: {{openVSwitchTable.columns}},
		bridgeTable.name:      {{bridgeTable.columns}},
		portTable.name:        {{portTable.columns}},
		interfaceTable.name:   {{interfaceTable.columns}},
		controllerTable.name:  {{controllerTable.columns}},
		managerTable.name:     {{managerTable.columns}},
		flowTableTable.name:   {{flowTableTable.columns}},
	}
	params := []any{database, database, requests, noTransaction}
	err := s.call(ctx, "monitor_cond_since", params, func(c *cursor) {
		// [found, last-txn-id, <table-updates2>]. Found or not, what follows is
		// relative to the nothing that we said we had.
		c.expect('[')
		c.boolean()
		c.expect(',')
		c.raw()
		c.expect(',')
		next := s.Mirror().following()
		next.apply(c)
		c.expect(']')
		if c.err == nil && next.OpenVSwitch == nil {
			c.err = errors.New("table Open_vSwitch is empty: run `ovs-vsctl init` on the host")
		}
		if c.err == nil {
			s.publish(next)
		}
	})
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	return nil
}

// updated takes an update3: [json-value, last-txn-id, <table-updates2>].
func (s *Session) updated(c *cursor) {
	if s.Mirror().OpenVSwitch == nil {
		c.fail("no monitor yet")
		return
	}
	c.expect('[')
	if c.peek() != '"' || string(c.text()) != database {
		c.fail("want monitor %q", database)
	}
	c.expect(',')
	c.raw()
	c.expect(',')
	next := s.Mirror().following()
	next.apply(c)
	c.expect(']')
	c.end()
	if c.err == nil {
		s.publish(next)
	}
}

// publish makes next the newest mirror. Only the reader calls it.
func (s *Session) publish(next *Mirror) { close(s.mirror.Swap(next).changed) }
