package ovsdb

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// AssertLock makes a transaction fail unless this session has the lock.
// Transact does it by itself for the lock that was stolen.
func AssertLock(lock string) Operation {
	return Operation{Op: ovsdb.OperationAssert, Lock: &lock}
}

// Unchanged makes a transaction fail unless the row has these values: what it
// was computed from still holds.
func Unchanged(table string, row UUID, values Row) Operation {
	return Operation{
		Op: ovsdb.OperationWait, Table: table, Where: where(row), Timeout: new(0),
		Columns: slices.Sorted(maps.Keys(values)), Until: string(ovsdb.WaitConditionEqual), Rows: []Row{values},
	}
}

// Update sets columns of a row. A row that is gone is no error.
func Update(table string, row UUID, values Row) Operation {
	return Operation{Op: ovsdb.OperationUpdate, Table: table, Where: where(row), Row: values}
}

// MergeMap writes entries into a map column of a row and leaves other keys
// alone. An empty value takes the key out.
func MergeMap(table string, row UUID, column string, entries map[string]string) Operation {
	keys, values := ovsdb.OvsSet{}, ovsdb.OvsMap{GoMap: make(map[any]any)}
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		keys.GoSet = append(keys.GoSet, k)
		if v := entries[k]; v != "" {
			values.GoMap[k] = v
		}
	}
	return mutate(table, row,
		*ovsdb.NewMutation(column, ovsdb.MutateOperationDelete, keys), // insert keeps the old value of a key
		*ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, values))
}

// SetPortTag writes a port's VLAN tag, 1 to 4094, and merges other_config. What makes the tag mean
// something else, vlan_mode and trunks (os-vif isolates new ports by them), is taken out.
func SetPortTag(port UUID, tag int, otherConfig map[string]string) []Operation {
	none := setOf[string](nil)
	ops := []Operation{Update(portTable.name, port, Row{"tag": tag, "vlan_mode": none, "trunks": none})}
	if len(otherConfig) > 0 {
		ops = append(ops, MergeMap(portTable.name, port, "other_config", otherConfig))
	}
	return ops
}

// SetExternalIDs merges entries into the external_ids of a row of any table.
func SetExternalIDs(table string, row UUID, entries map[string]string) Operation {
	return MergeMap(table, row, "external_ids", entries)
}

func insert(table, name UUID, row Row) Operation {
	return Operation{Op: ovsdb.OperationInsert, Table: table, UUIDName: name, Row: row}
}

func mutate(table string, row UUID, mutations ...ovsdb.Mutation) Operation {
	return Operation{Op: ovsdb.OperationMutate, Table: table, Where: where(row), Mutations: mutations}
}

// add and remove change which rows a set column refers to.
func add(table string, row UUID, column string, refs ...UUID) Operation {
	return mutate(table, row, *ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, references(refs)))
}

func remove(table string, row UUID, column string, refs ...UUID) Operation {
	return mutate(table, row, *ovsdb.NewMutation(column, ovsdb.MutateOperationDelete, references(refs)))
}

func where(row UUID) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, reference(row))}
}

func reference(row UUID) ovsdb.UUID { return ovsdb.UUID{GoUUID: row} }

func references(rows []UUID) ovsdb.OvsSet {
	set := ovsdb.OvsSet{}
	for _, row := range rows {
		set.GoSet = append(set.GoSet, reference(row))
	}
	return set
}

func setOf[T any](elements []T) ovsdb.OvsSet {
	set := ovsdb.OvsSet{}
	for _, e := range elements {
		set.GoSet = append(set.GoSet, e)
	}
	return set
}

func mapOf[K cmp.Ordered, V any](m map[K]V) ovsdb.OvsMap {
	out := ovsdb.OvsMap{GoMap: make(map[any]any, len(m))}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}
