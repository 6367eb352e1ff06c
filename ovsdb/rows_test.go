package ovsdb

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// rowText prints a row with what its pointers point to.
func rowText(row any) string {
	text, err := json.Marshal(row)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// TestRowsMatchSchema holds every row type against Open vSwitch's own schema.
func TestRowsMatchSchema(t *testing.T) {
	text, err := os.ReadFile("/usr/share/openvswitch/vswitch.ovsschema")
	if err != nil {
		t.Fatal(err)
	}
	var schema ovsdb.DatabaseSchema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	matchSchema(t, schema, openVSwitchTable)
	matchSchema(t, schema, bridgeTable)
	matchSchema(t, schema, portTable)
	matchSchema(t, schema, interfaceTable)
	matchSchema(t, schema, controllerTable)
	matchSchema(t, schema, managerTable)
	matchSchema(t, schema, flowTableTable)
}

func matchSchema[R any](t *testing.T, schema ovsdb.DatabaseSchema, table table[R]) {
	t.Helper()
	columns := schema.Table(table.name)
	if columns == nil {
		t.Fatalf("no table %s", table.name)
	}
	for name, field := range table.field {
		column := columns.Column(name)
		if column == nil {
			t.Errorf("%s has no column %s", table.name, name)
			continue
		}
		kind := reflect.TypeFor[R]().Field(field).Type
		native := ovsdb.NativeType(column)
		// libovsdb has a pointer for every optional value, we only where zero is one.
		same := kind == native || native.Kind() == reflect.Pointer && kind == native.Elem()
		// An enumeration of at most one element it has as an array or a slice.
		if !same && slices.Contains([]reflect.Kind{reflect.Array, reflect.Slice}, native.Kind()) {
			same = column.TypeObj.Max() == 1 && kind == native.Elem()
		}
		if !same {
			t.Errorf("%s.%s is %v here and %v in the schema", table.name, name, kind, native)
		}
	}
}
