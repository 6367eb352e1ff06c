package model

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Shown is under which names an answer has the attributes of a resource, by their place in the schema.
type Shown []names

// names are an attribute's own and the older one.
type names uint8

const (
	ownName names = 1 << iota
	olderName
)

// Shown chooses the attributes to show: all those the caller may see, or of these the ones named by
// fields. Unknown fields are ignored, as Neutron does.
func (s *Schema) Shown(fields []string, privileged bool) Shown {
	shown := make(Shown, len(s.Attributes))
	for _, a := range s.Attributes {
		if len(fields) == 0 && a.VisibleTo(privileged) {
			shown[a.at] = ownName | olderName
		}
	}
	for _, field := range fields {
		switch a := s.byName[field]; {
		case a == nil || !a.VisibleTo(privileged):
		case field == a.Alias:
			shown[a.at] |= olderName
		default:
			shown[a.at] |= ownName
		}
	}
	return shown
}

// OfOthers is what of shown remains for the resources of other projects than the caller's.
func (s *Schema) OfOthers(shown Shown) Shown {
	rest := slices.Clone(shown)
	for _, a := range s.Attributes {
		if a.Policy == PolicyOwner {
			rest[a.at] = 0
		}
	}
	return rest
}

// VisibleTo reports whether answers to administrators and services, or to others, have the attribute.
func (a *Attribute) VisibleTo(privileged bool) bool {
	return !a.Hidden && (privileged || a.Policy != PolicyAdmin && a.Policy != PolicyService)
}

// Append appends the view as a JSON object with the attributes shown.
func (s *Schema) Append(b []byte, view any, shown Shown) []byte {
	v := s.value(view)
	b = append(b, '{')
	first := len(b)
	for _, a := range s.Attributes {
		if shown[a.at] == 0 {
			continue
		}
		for i, name := range [...]string{a.Name, a.Alias} {
			if name == "" || shown[a.at]&(ownName<<i) == 0 {
				continue
			}
			if len(b) > first {
				b = append(b, ',')
			}
			b = append(AppendString(b, name), ':')
			b = a.kind.append(b, a, a.of(v))
		}
	}
	return append(b, '}')
}

// AppendString appends a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendJSON(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendJSON[T any](b []byte, v T) []byte {
	text, err := json.Marshal(v)
	if err != nil { // cannot be: the types are this package's
		panic("model: " + err.Error())
	}
	return append(b, text...)
}
