package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Invalid is input that the API answers with 400: the type and message of Neutron's error body.
type Invalid struct{ Type, Message string }

func (e *Invalid) Error() string { return e.Message }

// BadRequest is a request that cannot be understood. The message stands as it is.
func BadRequest(format string, args ...any) *Invalid {
	return &Invalid{"HTTPBadRequest", fmt.Sprintf(format, args...)}
}

// introduction begins the message of what cannot be used.
const introduction = "Invalid input for operation: "

// InvalidInput is a value that cannot be used. The message gets Neutron's introduction and a full stop.
func InvalidInput(format string, args ...any) *Invalid {
	return &Invalid{"InvalidInput", introduction + fmt.Sprintf(format, args...) + "."}
}

// of is the same with the name of the attribute that has the value, which Neutron leaves out.
func (e *Invalid) of(attribute string) *Invalid {
	if reason, ok := strings.CutPrefix(e.Message, introduction); ok && !strings.Contains(reason, attribute) {
		return &Invalid{e.Type, introduction + attribute + ": " + reason}
	}
	return e
}

// because is why a value is not of its kind, in Neutron's words, which Decode puts into a sentence.
func because(format string, args ...any) error { return reason(fmt.Sprintf(format, args...)) }

type reason string

func (r reason) Error() string { return string(r) }

// maxQuoted bounds how much of a value an error repeats, in bytes.
const maxQuoted = 4096

// Quote shows a decoded JSON value as Neutron's messages do: as Python's str().
func Quote(v any) string {
	s := quote(v, false)
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return s
}

func quote(v any, nested bool) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case json.Number:
		return v.String()
	case string:
		if nested {
			return "'" + v + "'"
		}
		return v
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = s
		}
		return quote(items, nested)
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, quote(item, true))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		var items []string
		for key, item := range v {
			items = append(items, "'"+key+"': "+quote(item, true))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}
