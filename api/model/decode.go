package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Operation is what a body is for.
type Operation string

// The operations that have a body.
const (
	Create Operation = "create"
	Update Operation = "update"
)

// maxDepth bounds the nesting of a body; the deepest attribute needs 4.
const maxDepth = 32

// Object is a JSON object in the order it was written.
type Object []Member

// Member is a key of an object and its value, decoded by encoding/json with UseNumber.
type Member struct {
	Name  string
	Value any
}

// Read takes a request's body apart: {"network": {…}}, or for a creation also {"networks": [{…}, …]},
// which it reports as bulk. An item of these may have a body of its own: {"networks": [{"network": {…}}, …]}.
// Errors are *Invalid.
func (s *Schema) Read(op Operation, body []byte) (objects []Object, bulk bool, err error) {
	missing := BadRequest("Unable to find '%s' in request body", s.Name)
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, false, missing
	}
	nonsense := BadRequest("Body contains invalid data")
	if !utf8.Valid(body) || !json.Valid(body) || depth(body) > maxDepth {
		return nil, false, nonsense
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil || top == nil {
		return nil, false, nonsense
	}
	contents := BadRequest("Object '%s' contains invalid data", s.Name)
	if many, ok := top[s.Collection]; ok && op == Create {
		var items []json.RawMessage
		if json.Unmarshal(many, &items) != nil {
			return nil, true, contents
		}
		if len(items) == 0 {
			return nil, true, BadRequest("Resources required")
		}
		for _, item := range items {
			o, ok := readObject(item)
			if ok && slices.ContainsFunc(o, func(m Member) bool { return m.Name == s.Name }) {
				var own map[string]json.RawMessage
				ok = json.Unmarshal(item, &own) == nil
				if ok {
					o, ok = readObject(own[s.Name])
				}
			}
			if !ok {
				return nil, true, contents
			}
			objects = append(objects, o)
		}
		return objects, true, nil
	}
	one, ok := top[s.Name]
	if !ok {
		return nil, false, missing
	}
	o, ok := readObject(one)
	if !ok {
		return nil, false, contents
	}
	return []Object{o}, false, nil
}

// readObject reads valid JSON; ok is false when it is no object.
func readObject(text []byte) (o Object, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v any
		if d.Decode(&v) != nil {
			return nil, false
		}
		o = append(o, Member{key.(string), v})
	}
	return o, true
}

// depth is how deeply the objects and arrays of valid JSON are nested.
func depth(text []byte) int {
	deepest, now := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}

// Input is a decoded request: the attributes that were given, and for a creation the defaults of the
// others. Absent, null and the zero value are three things: Given, Null and Apply tell them apart.
type Input struct {
	schema *Schema
	values []any // by Attribute.at; nil: leave as it is
	given  []bool
	null   []bool
}

// Decode checks an object against the declarations. Errors are *Invalid, in Neutron's words: of
// unknown attributes first, then of missing and forbidden ones, then of values, in declared order.
func (s *Schema) Decode(op Operation, o Object) (*Input, error) {
	in := &Input{s, make([]any, len(s.Attributes)), make([]bool, len(s.Attributes)), make([]bool, len(s.Attributes))}
	raw := make([]any, len(s.Attributes))
	var unknown []string
	for _, m := range o {
		a := s.byName[m.Name]
		if a == nil || a.Hidden && !a.Post && !a.Put {
			unknown = append(unknown, m.Name)
			continue
		}
		if a.Alias != "" && in.given[a.at] && !reflect.DeepEqual(raw[a.at], m.Value) {
			return nil, BadRequest("'%s' and '%s' do not match", a.Name, a.Alias)
		}
		raw[a.at], in.given[a.at] = m.Value, true
	}
	if unknown != nil {
		return nil, BadRequest("Unrecognized attribute(s) '%s'", Quote(strings.Join(unknown, ", ")))
	}
	for _, a := range s.Attributes {
		switch given := in.given[a.at]; {
		case op == Create && given && !a.Post:
			return nil, BadRequest("Attribute '%s' not allowed in POST", a.Name)
		case op == Create && !given && a.Required:
			return nil, BadRequest("Failed to parse request. Required attribute '%s' not specified", a.Name)
		case op == Update && given && !a.Put:
			return nil, BadRequest("Cannot update read-only attribute %s", a.Name)
		}
	}
	for _, a := range s.Attributes {
		if !in.given[a.at] {
			if op == Create && a.HasDefault {
				in.values[a.at] = a.defaultValue()
			}
			continue
		}
		if raw[a.at] == nil && (a.Null || a.Clear) {
			in.null[a.at] = true
			in.values[a.at] = a.kind.zero()
			continue
		}
		v, err := a.kind.decode(a, raw[a.at])
		var invalid *Invalid
		switch {
		case errors.As(err, &invalid):
			return nil, invalid.of(a.Name)
		case err != nil:
			return nil, BadRequest("Invalid input for %s. Reason: %s.", a.Name, err)
		}
		in.values[a.at] = v
	}
	return in, nil
}

func (a *Attribute) defaultValue() any {
	v, err := a.kind.decode(a, a.Default)
	if err != nil {
		panic("model: default of " + a.Name + ": " + err.Error())
	}
	return v
}

func (in *Input) attribute(name string) *Attribute {
	a := in.schema.byName[name]
	if a == nil {
		panic("model: " + in.schema.Name + " has no attribute " + name)
	}
	return a
}

// Given reports whether the request named the attribute, be it with null.
func (in *Input) Given(name string) bool { return in.given[in.attribute(name).at] }

// Null reports whether the request set the attribute to null.
func (in *Input) Null(name string) bool { return in.null[in.attribute(name).at] }

// Value is what the request, or a creation's default, gives the attribute; nil when it gives none.
func (in *Input) Value(name string) any { return in.values[in.attribute(name).at] }

// GivenAttributes are the attributes the request named, in declared order.
func (in *Input) GivenAttributes() []*Attribute {
	var given []*Attribute
	for _, a := range in.schema.Attributes {
		if in.given[a.at] {
			given = append(given, a)
		}
	}
	return given
}

// IsDefault reports whether the attribute's value is what it would be if it were absent from a creation.
func (in *Input) IsDefault(a *Attribute) bool {
	return a.HasDefault && reflect.DeepEqual(in.values[a.at], a.defaultValue())
}

// Apply sets the attributes that were given, and the defaults of a creation, in a view: a pointer to
// the schema's view struct, whose row is set. What was neither is left as it is.
func (in *Input) Apply(view any) {
	v := in.schema.value(view)
	for _, a := range in.schema.Attributes {
		if value := in.values[a.at]; value != nil {
			a.kind.assign(a.of(v), value)
		}
	}
}
