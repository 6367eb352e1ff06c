package ovsdb

import (
	"iter"
	"slices"
)

// Mirror is the host's database as it was after one of its transactions. It is
// immutable; its maps and rows are shared with earlier and later mirrors and
// must not be written to.
type Mirror struct {
	OpenVSwitch *OpenVSwitch // nil until Session.Start has returned
	Bridges     map[UUID]*Bridge
	Ports       map[UUID]*Port
	Interfaces  map[UUID]*Interface
	Controllers map[UUID]*Controller
	Managers    map[UUID]*Manager
	FlowTables  map[UUID]*FlowTable

	changed chan struct{}
}

// Changed is closed once the session has a newer mirror than this one, or has
// won or lost its lock.
func (m *Mirror) Changed() <-chan struct{} { return m.changed }

// following returns a copy of m that is to replace it.
func (m *Mirror) following() *Mirror {
	next := *m
	next.changed = make(chan struct{})
	return &next
}

// apply reads <table-updates2>, an object from table to <table-update2>, into
// m, which nobody else has seen yet.
func (m *Mirror) apply(c *cursor) {
	for ok := c.first('{', '}'); ok; ok = c.next('}') {
		switch name := c.key(); string(name) {
		case openVSwitchTable.name:
			rows := make(map[UUID]*OpenVSwitch, 1)
			if m.OpenVSwitch != nil {
				rows[m.OpenVSwitch.UUID] = m.OpenVSwitch
			}
			rows = openVSwitchTable.apply(c, rows)
			if len(rows) != 1 {
				c.fail("table Open_vSwitch has %d rows, want 1: run `ovs-vsctl init` on the host", len(rows))
			}
			for _, row := range rows {
				m.OpenVSwitch = row
			}
		case bridgeTable.name:
			m.Bridges = bridgeTable.apply(c, m.Bridges)
		case portTable.name:
			m.Ports = portTable.apply(c, m.Ports)
		case interfaceTable.name:
			m.Interfaces = interfaceTable.apply(c, m.Interfaces)
		case controllerTable.name:
			m.Controllers = controllerTable.apply(c, m.Controllers)
		case managerTable.name:
			m.Managers = managerTable.apply(c, m.Managers)
		case flowTableTable.name:
			m.FlowTables = flowTableTable.apply(c, m.FlowTables)
		default:
			c.fail("update of table %q, which is not monitored", name)
		}
	}
}

// Configured says whether ovs-vswitchd has finished every configuration
// written so far. A bridge whose DatapathID is empty then could not be made:
// its datapath type is not available on the host.
func (m *Mirror) Configured() bool {
	return m.OpenVSwitch != nil && m.OpenVSwitch.CurCfg >= m.OpenVSwitch.NextCfg
}

// Bridge returns the bridge of that name, or nil.
func (m *Mirror) Bridge(name string) *Bridge {
	for _, b := range m.Bridges {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// PortsOf yields the ports of a bridge.
func (m *Mirror) PortsOf(b *Bridge) iter.Seq[*Port] { return referenced(m.Ports, b.Ports) }

// InterfacesOf yields the interfaces of a port.
func (m *Mirror) InterfacesOf(p *Port) iter.Seq[*Interface] {
	return referenced(m.Interfaces, p.Interfaces)
}

// ControllersOf yields the OpenFlow controllers of a bridge.
func (m *Mirror) ControllersOf(b *Bridge) iter.Seq[*Controller] {
	return referenced(m.Controllers, b.Controllers)
}

// referenced yields the rows that refs name. One transaction's effects arrive
// together, so a missing row is a hostile peer's doing: it is passed over.
func referenced[R any](rows map[UUID]*R, refs []UUID) iter.Seq[*R] {
	return func(yield func(*R) bool) {
		for _, ref := range refs {
			if row := rows[ref]; row != nil && !yield(row) {
				return
			}
		}
	}
}

// Attached yields every interface of a bridge with its port. A VIF is one of
// br-int's with external_ids:iface-id and OFPort ≥ 1.
func (m *Mirror) Attached(b *Bridge) iter.Seq2[*Port, *Interface] {
	return func(yield func(*Port, *Interface) bool) {
		for p := range m.PortsOf(b) {
			for i := range m.InterfacesOf(p) {
				if !yield(p, i) {
					return
				}
			}
		}
	}
}

// BridgeOf returns the bridge that an interface is on, or nil.
func (m *Mirror) BridgeOf(i *Interface) *Bridge {
	for _, b := range m.Bridges {
		for _, on := range m.Attached(b) {
			if on.UUID == i.UUID {
				return b
			}
		}
	}
	return nil
}

// ForeignControllers returns the sorted targets of the named bridge's
// Controller rows that are not among ours: Plan would take them off.
func (m *Mirror) ForeignControllers(bridge string, ours ...string) []string {
	b := m.Bridge(bridge)
	if b == nil {
		return nil
	}
	var foreign []string
	for c := range m.ControllersOf(b) {
		if !slices.Contains(ours, c.Target) {
			foreign = append(foreign, c.Target)
		}
	}
	slices.Sort(foreign)
	return foreign
}
