package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTransactIsMirrored: when Transact returns, Mirror has the effect.
func TestTransactIsMirrored(t *testing.T) {
	s := newHost(t).dial()
	root := s.Mirror().OpenVSwitch.UUID
	began := time.Now()
	const n = 500
	for i := range n {
		want := fmt.Sprint(i)
		commit(t, s, SetExternalIDs("Open_vSwitch", root, map[string]string{"n": want}))
		if got := s.Mirror().OpenVSwitch.ExternalIDs["n"]; got != want {
			t.Fatalf("mirror has n=%s after n=%s was committed", got, want)
		}
	}
	t.Logf("%v per transaction", time.Since(began)/n)
}

func TestTransactErrors(t *testing.T) {
	h := newHost(t)
	h.vsctl("--no-wait", "add-br", "br-int")
	s := h.dial()
	ctx := testContext(t)
	root := s.Mirror().OpenVSwitch
	ok := SetExternalIDs("Open_vSwitch", root.UUID, map[string]string{"half": "done"})
	for _, test := range []struct {
		name  string
		ops   []Operation
		index int
		text  string
	}{
		{"constraint", []Operation{ok, ok, insert("Bridge", "b", Row{"name": "br0", "fail_mode": "never"})}, 2, "transact: op 2 (insert Bridge): constraint violation: "},
		{"duplicate name", []Operation{ok, insert("Bridge", "b", Row{"name": "br-int"}), add("Open_vSwitch", root.UUID, "bridges", "b")}, 3, "transact: commit: constraint violation: "},
		{"wait", []Operation{ok, Unchanged("Open_vSwitch", root.UUID, Row{"next_cfg": -1})}, 1, "transact: op 1 (wait Open_vSwitch): timed out: "},
		{"unknown column", []Operation{Update("Bridge", root.UUID, Row{"colour": "red"}), ok}, 0, "transact: op 0 (update Bridge): unknown column: "},
		{"lock of nobody", []Operation{ok, AssertLock("mine")}, 1, "transact: op 1 (assert ): not owner"},
	} {
		_, err := s.Transact(ctx, test.ops...)
		var e *OperationError
		if !errors.As(err, &e) || e.Index != test.index || !strings.HasPrefix(err.Error(), test.text) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if ids := s.Mirror().OpenVSwitch.ExternalIDs; ids["half"] != "" {
		t.Errorf("a failed transaction left %v", ids)
	}
	if results, err := s.Transact(ctx); results != nil || err != nil {
		t.Errorf("no operations: %v, %v", results, err)
	}
	results, err := s.Transact(ctx, ok, Update("Open_vSwitch", root.UUID, Row{"next_cfg": 7}))
	if err != nil || len(results) != 2 || results[0].Count != 1 || results[1].Count != 1 {
		t.Errorf("results %+v, %v", results, err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Transact(canceled, ok); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	commit(t, s, ok) // the late reply of the one before is nobody's surprise
}

// TestConcurrentTransactions has replies find their requests.
func TestConcurrentTransactions(t *testing.T) {
	s := newHost(t).dial()
	root := s.Mirror().OpenVSwitch.UUID
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				key := fmt.Sprintf("%d.%d", i, j)
				ops := []Operation{SetExternalIDs("Open_vSwitch", root, map[string]string{key: "here"})}
				for range i { // as many results as the writer's number
					ops = append(ops, ops[0])
				}
				results, err := s.Transact(testContext(t), ops...)
				if err != nil || len(results) != i+1 {
					t.Errorf("%d results for %d operations: %v", len(results), i+1, err)
				}
				if s.Mirror().OpenVSwitch.ExternalIDs[key] == "" {
					t.Errorf("%s is not in the mirror", key)
				}
			}
		})
	}
	wg.Wait()
}

func TestLock(t *testing.T) {
	h := newHost(t)
	a, b := h.dial(), h.dial()
	ctx := testContext(t)
	touch := func(s *Session) error {
		_, err := s.Transact(ctx, SetExternalIDs("Open_vSwitch", s.Mirror().OpenVSwitch.UUID, map[string]string{"by": s.LocalAddr().String() + fmt.Sprintf("%p", s)}))
		return err
	}
	before := a.Mirror()
	if err := a.Steal(ctx, "tunbridge"); err != nil || !a.Owns() || b.Owns() {
		t.Fatalf("steal: %v, a %v, b %v", err, a.Owns(), b.Owns())
	}
	select {
	case <-before.Changed():
	default:
		t.Error("winning the lock is no change")
	}
	if err := touch(a); err != nil {
		t.Error(err)
	}
	if err := b.Steal(ctx, "tunbridge"); err != nil {
		t.Fatal(err)
	}
	until(t, a, "loss of the lock", func(*Mirror) bool { return !a.Owns() })
	if err := touch(a); !errors.Is(err, ErrNotOwner) {
		t.Errorf("write without the lock: %v", err)
	}
	if err := touch(b); err != nil {
		t.Error(err)
	}
	// The first takes it back. Nobody gets it when it goes: it must be taken.
	if err := a.Steal(ctx, "tunbridge"); err != nil || !a.Owns() {
		t.Fatalf("steal again: %v, %v", err, a.Owns())
	}
	until(t, b, "loss of the lock", func(*Mirror) bool { return !b.Owns() })
	a.Close()
	if err := b.Steal(ctx, "tunbridge"); err != nil || !b.Owns() {
		t.Fatalf("steal from one who has gone: %v, %v", err, b.Owns())
	}
	if err := b.Unlock(ctx); err != nil || b.Owns() {
		t.Errorf("unlock: %v, %v", err, b.Owns())
	}
	if err := touch(b); err != nil {
		t.Errorf("write without asking for a lock: %v", err)
	}
}

// TestDifferences makes ovsdb-server send every kind of modification and
// compares the mirror that followed them with one read afresh.
func TestDifferences(t *testing.T) {
	h := newHost(t)
	s := h.dial()
	for _, command := range []string{
		"add-br br0 -- add-port br0 p0 -- add-port br0 p1",
		"set bridge br0 protocols=OpenFlow13",
		"set bridge br0 protocols=OpenFlow10,OpenFlow13,OpenFlow15 other_config:a=1 other_config:b=2",
		"set bridge br0 protocols=OpenFlow10,OpenFlow14 fail_mode=secure -- set bridge br0 other_config:a=3 -- remove bridge br0 other_config b",
		"clear bridge br0 protocols -- clear bridge br0 fail_mode -- clear bridge br0 other_config",
		`set port p0 tag=0 trunks=1,2,3 -- set interface p0 options:peer=p1 options:odd="a\"\\ä" mtu_request=1450`,
		"set port p0 trunks=2,3,4 -- clear interface p0 options",
		"clear port p0 tag -- clear port p0 trunks -- set port p1 tag=4095 vlan_mode=access",
		"set-controller br0 tcp:127.0.0.1:1 -- set controller br0 inactivity_probe=0",
		"set-controller br0 tcp:127.0.0.1:1 tcp:127.0.0.1:2",
		"-- --id=@t create flow_table name=classify -- set bridge br0 flow_tables:0=@t",
		"-- --id=@t create flow_table name=output -- set bridge br0 flow_tables:90=@t",
		"remove bridge br0 flow_tables 0 -- del-port p1",
		"del-controller br0 -- set-manager ptcp:0:127.0.0.1",
		"add-br br1 -- del-br br0",
	} {
		h.vsctl(append([]string{"--no-wait", "--"}, strings.Fields(command)...)...)
		fresh := h.dial().Mirror()
		until(t, s, "the same as a fresh mirror after: "+command, func(m *Mirror) bool { return difference(m, fresh) == "" })
	}
}

// difference says where two mirrors differ, or nothing.
func difference(a, b *Mirror) string {
	for _, d := range []string{
		differentRows("Bridge", a.Bridges, b.Bridges), differentRows("Port", a.Ports, b.Ports),
		differentRows("Interface", a.Interfaces, b.Interfaces), differentRows("Controller", a.Controllers, b.Controllers),
		differentRows("Manager", a.Managers, b.Managers), differentRows("Flow_Table", a.FlowTables, b.FlowTables),
		differentRows("Open_vSwitch", map[UUID]*OpenVSwitch{"": a.OpenVSwitch}, map[UUID]*OpenVSwitch{"": b.OpenVSwitch}),
	} {
		if d != "" {
			return d
		}
	}
	return ""
}

func differentRows[R any](table string, a, b map[UUID]*R) string {
	if !maps.EqualFunc(a, b, func(x, y *R) bool { return rowText(x) == rowText(y) }) {
		return table
	}
	return ""
}
