package model

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Schema is what the API knows of a resource, derived from the tags of its view.
//
// A field that is an attribute has the tag
//
//	api:"name,option,…"
//
// An embedded struct's attributes are the resource's own; so are those of a field tagged ",inline".
// The Go type decides how a value is read, checked, shown, compared and asked for (kinds.go). The
// options are:
//
//	post, put      may be given when creating, when updating; else it is read-only
//	required       must be given when creating
//	default=V      the value when it is absent from a creation; without it, the zero value
//	null           the zero value is shown as null, and null sets it
//	clear          null sets the zero value, which is shown as it is
//	min=N, max=N   bounds: of a number its value, of a string its length in characters
//	values=A|B     the only values of a string or a number
//	form=F         what a string must look like: dns-name, fqdn
//	filter, sort   may select and order a list
//	hidden         is not shown, and without post and put not read: it is only asked for
//	alias=N        an older name, read and shown beside the name
//	policy=P       who may see or set it, see Policy
//	ext=A          the alias of the extension that it belongs to
type Schema struct {
	Name       string // the key of one in a body: "network"
	Collection string // the key of several, and the path: "networks"
	Attributes []*Attribute
	byName     map[string]*Attribute
	view       reflect.Type
}

// Attribute is one attribute of a resource, as declared by its field's tag.
type Attribute struct {
	Name, Alias       string
	Kind              string // of value: "string", "boolean", "integer", "uuid", "cidr" …
	Post, Put         bool
	Required          bool
	Default           string // in the form of a query's value
	HasDefault        bool
	Null, Clear       bool
	Min, Max          int
	HasMin, HasMax    bool
	Values            []string
	Form              string
	Filter, Sort      bool
	Hidden            bool
	Policy            Policy
	Extension         string
	Field, StructName string // where it is declared

	at    int // its place in Schema.Attributes
	index []int
	kind  kind
}

// Policy says who may see and set an attribute, beyond what holds for its resource.
type Policy string

// The policies. Administrators may do everything.
const (
	PolicyNone               Policy = ""                     // as the resource
	PolicyAdmin              Policy = "admin"                // only administrators set it, they and services see it
	PolicyOwner              Policy = "owner"                // only its own project sees and sets it
	PolicyService            Policy = "service"              // only administrators and services see and set it
	PolicyAdminSets          Policy = "admin-sets"           // only administrators set it
	PolicyNetworkOwnerSets   Policy = "network-owner-sets"   // only the network's project and services set it
	PolicyNetworkOwnerGives  Policy = "network-owner-gives"  // so when creating; then only services change it
	PolicyNetworkOwnerMoves  Policy = "network-owner-moves"  // so of addresses; a shared network's subnets can be chosen
	PolicyNotEverybody       Policy = "not-everybody"        // only administrators for every project
	PolicyNetworkOwnerDevice Policy = "network-owner-device" // so of what begins with network:
)

// Core are the resources of the API's core, in the order of its index.
func Core() []*Schema { return []*Schema{Networks, Subnets, SubnetPools, Ports} }

// Schemas are all resources.
func Schemas() []*Schema {
	return append(Core(), Quotas, Agents, AvailabilityZones, NetworkIPAvailabilities, RBACPolicies)
}

// Attribute returns the attribute of that name or older name, or nil.
func (s *Schema) Attribute(name string) *Attribute { return s.byName[name] }

// declare derives the schema from the tags of V. A wrong tag is a mistake in this package: it panics.
func declare[V any](name, collection string) *Schema {
	s := &Schema{
		Name:       name,
		Collection: collection,
		byName:     make(map[string]*Attribute),
		view:       reflect.TypeFor[V](),
	}
	s.walk(s.view, nil)
	return s
}

func (s *Schema) walk(t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		tag := f.Tag.Get("api")
		if f.Anonymous || tag == ",inline" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			s.walk(inner, at)
			continue
		}
		if tag == "" {
			panic(fmt.Sprintf("model: %s.%s has no api tag", t.Name(), f.Name))
		}
		a, err := parseTag(tag)
		if err != nil {
			panic(fmt.Sprintf("model: %s.%s: %v", t.Name(), f.Name, err))
		}
		a.Field, a.StructName, a.index, a.at = f.Name, t.Name(), at, len(s.Attributes)
		a.kind = kinds[f.Type]
		if a.kind == nil {
			panic(fmt.Sprintf("model: %s.%s: no kind for the type %v", t.Name(), f.Name, f.Type))
		}
		a.Kind = a.kind.title()
		for _, name := range []string{a.Name, a.Alias} {
			if name == "" {
				continue
			}
			if s.byName[name] != nil {
				panic(fmt.Sprintf("model: %s declares %s twice", s.Name, name))
			}
			s.byName[name] = a
		}
		s.Attributes = append(s.Attributes, a)
	}
}

func parseTag(tag string) (*Attribute, error) {
	name, options, _ := strings.Cut(tag, ",")
	a := &Attribute{Name: name}
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "":
		case "post":
			a.Post = true
		case "put":
			a.Put = true
		case "required":
			a.Required = true
		case "default":
			a.Default, a.HasDefault = value, true
		case "null":
			a.Null = true
		case "clear":
			a.Clear = true
		case "min":
			a.HasMin = true
			a.Min, err = strconv.Atoi(value)
		case "max":
			a.HasMax = true
			a.Max, err = strconv.Atoi(value)
		case "values":
			a.Values = strings.Split(value, "|")
		case "form":
			a.Form = value
		case "filter":
			a.Filter = true
		case "sort":
			a.Sort = true
		case "hidden":
			a.Hidden = true
		case "alias":
			a.Alias = value
		case "policy":
			a.Policy = Policy(value)
		case "ext":
			a.Extension = value
		default:
			err = fmt.Errorf("unknown option %q", option)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// of returns the attribute's field in a view, which is a pointer to the schema's view struct.
func (a *Attribute) of(view reflect.Value) reflect.Value {
	return view.Elem().FieldByIndex(a.index)
}

// value checks that view is what the schema describes.
func (s *Schema) value(view any) reflect.Value {
	v := reflect.ValueOf(view)
	if v.Kind() != reflect.Pointer || v.Type().Elem() != s.view {
		panic(fmt.Sprintf("model: %T is not a *%v", view, s.view))
	}
	return v
}
