package model

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Filter selects the views of a list: all of its conditions must hold.
type Filter struct {
	schema     *Schema
	conditions []func(view any) bool
	nothing    bool
}

// Names of filters that are no attributes.
var tagFilters = []string{"tags", "tags-any", "not-tags", "not-tags-any"}

// Filter compiles the filters of a query: one condition for each key, that holds when one of its values
// does. Keys that cannot select are an *Invalid that names them all. Who may not see an attribute
// finds nothing by it.
func (s *Schema) Filter(keys []string, values map[string][]string, privileged bool) (*Filter, error) {
	f := &Filter{schema: s}
	var unknown []string
	for _, key := range keys {
		switch a := s.byName[key]; {
		case slices.Contains(tagFilters, key) && s.byName["tags"] != nil:
			f.conditions = append(f.conditions, matchTags(s, key, values[key]))
		case key == "changed_since" && s.byName["updated_at"] != nil:
			condition, err := matchChangedSince(s, values[key])
			if err != nil {
				return nil, err
			}
			f.conditions = append(f.conditions, condition)
		case a == nil || !a.Filter:
			unknown = append(unknown, key)
		case !privileged && !a.Hidden && !a.VisibleTo(false):
			f.nothing = true
		default:
			match, err := a.kind.match(values[key])
			var invalid *Invalid
			switch {
			case errors.As(err, &invalid):
				return nil, invalid.of(key)
			case err != nil:
				return nil, err
			}
			f.conditions = append(f.conditions, func(view any) bool { return match(a.of(s.value(view))) })
		}
	}
	if unknown != nil {
		return nil, BadRequest("%s is invalid attribute for filtering", Quote(unknown))
	}
	return f, nil
}

// Match reports whether the view is selected.
func (f *Filter) Match(view any) bool {
	if f.nothing {
		return false
	}
	for _, condition := range f.conditions {
		if !condition(view) {
			return false
		}
	}
	return true
}

// matchTags knows the four ways to ask for tags, each with lists separated by commas: all of them, any
// of them, not all of them, none of them.
func matchTags(s *Schema, key string, values []string) func(any) bool {
	wanted := strings.Split(strings.Join(values, ","), ",")
	a := s.byName["tags"]
	return func(view any) bool {
		tags := *a.of(s.value(view)).Addr().Interface().(*[]string)
		found := 0
		for _, w := range wanted {
			if slices.Contains(tags, w) {
				found++
			}
		}
		switch key {
		case "tags":
			return found == len(wanted)
		case "tags-any":
			return found > 0
		case "not-tags":
			return found < len(wanted)
		}
		return found == 0
	}
}

func matchChangedSince(s *Schema, values []string) (func(any) bool, error) {
	var since time.Time
	for _, v := range values {
		t, err := parseTime(v)
		if err != nil {
			return nil, InvalidInput("%s: %s is not a valid time", "changed_since", Quote(v))
		}
		if t.After(since) {
			since = t
		}
	}
	a := s.byName["updated_at"]
	return func(view any) bool {
		return !a.of(s.value(view)).Addr().Interface().(*time.Time).Before(since)
	}, nil
}

// parseTime reads UTC times with and without the Z that says so.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Parse("2006-01-02T15:04:05", s)
	}
	return t, nil
}

// SortKey is an attribute to order a list by.
type SortKey struct {
	Attribute  *Attribute
	Descending bool
}

// SortKeys reads the sort_key and sort_dir of a query. Without any the list is ordered by the first
// attribute, the id; with some, it decides between equals, so that pages are stable. Errors are *Invalid.
func (s *Schema) SortKeys(keys, directions []string) ([]SortKey, error) {
	if len(keys) != len(directions) {
		return nil, BadRequest("The number of sort_keys and sort_dirs must be same")
	}
	var sort []SortKey
	var unknown, wrong []string
	for i, key := range keys {
		a := s.byName[key]
		if a == nil || !a.Sort {
			unknown = append(unknown, key)
		}
		if d := directions[i]; d != "asc" && d != "desc" {
			wrong = append(wrong, d)
		}
		sort = append(sort, SortKey{a, directions[i] == "desc"})
	}
	if unknown != nil {
		return nil, BadRequest("%s is invalid attribute for sort_keys", Quote(unknown))
	}
	if wrong != nil {
		return nil, BadRequest("%s is invalid value for sort_dirs, valid value is 'asc' and 'desc'", Quote(wrong))
	}
	return append(sort, SortKey{Attribute: s.Attributes[0]}), nil
}

// Compare orders two views by the keys.
func (s *Schema) Compare(keys []SortKey, x, y any) int {
	vx, vy := s.value(x), s.value(y)
	for _, k := range keys {
		c := k.Attribute.kind.compare(k.Attribute.of(vx), k.Attribute.of(vy))
		if k.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}
