package model

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestDeclarations walks all resources: what is declared must be known, possible and documented.
func TestDeclarations(t *testing.T) {
	documented := documentedFields(t)
	extensions := make(map[string]bool)
	for _, e := range Extensions {
		if extensions[e.Alias] {
			t.Errorf("the extension %s is declared twice", e.Alias)
		}
		extensions[e.Alias] = true
		if e.Name == "" || e.Description == "" || e.Updated == "" {
			t.Errorf("the extension %s is not described", e.Alias)
		}
	}
	if !slices.IsSortedFunc(Extensions, func(x, y Extension) int { return strings.Compare(x.Alias, y.Alias) }) {
		t.Error("the extensions are not in order")
	}
	collections := make(map[string]bool)
	for _, s := range Schemas() {
		if collections[s.Collection] {
			t.Errorf("%s is declared twice", s.Collection)
		}
		collections[s.Collection] = true
		for _, a := range s.Attributes {
			where := s.Name + "." + a.Name
			if !documented[a.StructName+"."+a.Field] {
				t.Errorf("%s: the field %s.%s has no doc comment", where, a.StructName, a.Field)
			}
			if a.Extension != "" && !extensions[a.Extension] {
				t.Errorf("%s: unknown extension %s", where, a.Extension)
			}
			switch a.Policy {
			case PolicyNone, PolicyAdmin, PolicyOwner, PolicyService, PolicyAdminSets, PolicyNetworkOwnerSets, PolicyNetworkOwnerGives,
				PolicyNetworkOwnerMoves, PolicyNetworkOwnerDevice, PolicyNotEverybody:
			default:
				t.Errorf("%s: unknown policy %s", where, a.Policy)
			}
			if a.Form != "" && a.Form != "dns-name" && a.Form != "fqdn" {
				t.Errorf("%s: unknown form %s", where, a.Form)
			}
			if a.Sort && !a.kind.sortable() {
				t.Errorf("%s: %s cannot be ordered", where, a.Kind)
			}
			if a.Filter && !a.kind.filterable() {
				t.Errorf("%s: %s cannot be selected by", where, a.Kind)
			}
			if a.Required && (!a.Post || a.HasDefault || a.Null) {
				t.Errorf("%s: required, but not in POST or with a default", where)
			}
			if a.HasDefault {
				a.defaultValue() // panics if it is none
			}
			if a.Kind == "string" && (a.Post || a.Put) && !a.HasMax && a.Values == nil {
				t.Errorf("%s: a string without bounds", where)
			}
		}
	}
}

// documentedFields are the fields of this package that have a doc comment, as "Struct.Field".
func documentedFields(t *testing.T) map[string]bool {
	sources, err := filepath.Glob("*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources", err)
	}
	documented := make(map[string]bool)
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						documented[spec.Name.Name+"."+name.Name] = f.Doc.Text() != ""
					}
				}
			}
			return true
		})
	}
	return documented
}

// TestTags shows that a wrong tag is found.
func TestTags(t *testing.T) {
	for _, tag := range []string{"x,pots", "x,max=ten", "x,min="} {
		if _, err := parseTag(tag); err == nil {
			t.Errorf("%q was taken for a tag", tag)
		}
	}
	type untagged struct{ X string }
	type untyped struct {
		X chan int `api:"x"`
	}
	type twice struct {
		X string `api:"x"`
		Y string `api:"y,alias=x"`
	}
	for name, declare := range map[string]func(){
		"untagged": func() { declare[untagged]("a", "as") },
		"untyped":  func() { declare[untyped]("a", "as") },
		"twice":    func() { declare[twice]("a", "as") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was declared", name)
				}
			}()
			declare()
		}()
	}
}

// TestStoredForm holds the stored form of the rows still: it is what is read back after an upgrade.
func TestStoredForm(t *testing.T) {
	for _, row := range []struct {
		value any
		keys  string
	}{
		{Network{}, "AdminStateUp AvailabilityZoneHints CreatedAt DNSDomain Description External ID MTU Name PortSecurityEnabled ProjectID RevisionNumber Segment Shared Tags UpdatedAt"},
		{Subnet{}, "AllocationPools CIDR CreatedAt DNSNameservers Description EnableDHCP GatewayIP HostRoutes ID IPVersion IPv6AddressMode IPv6RAMode Name NetworkID ProjectID RevisionNumber SubnetPoolID Tags UpdatedAt"},
		{Port{}, "AdminStateUp AllowedAddressPairs CreatedAt DNSName Description DeviceID DeviceOwner ExtraDHCPOpts FixedIPs HostID ID MACAddress Name NetworkID PortSecurityEnabled ProjectID RevisionNumber Tags UpdatedAt VNICType"},
	} {
		text, err := json.Marshal(row.value)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(keys)), " "); got != row.keys {
			t.Errorf("%T is stored with the keys\n%s, not\n%s", row.value, got, row.keys)
		}
	}
	port := Port{
		MACAddress: MAC{0xfa, 0x16, 0x3e, 1, 2, 3},
		Profile:    json.RawMessage(`{"n":12345678901234567890}`),
	}
	text, err := json.Marshal(port)
	if err != nil {
		t.Fatal(err)
	}
	var back Port
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(port, back) {
		t.Errorf("stored %+v, read back %+v", port, back)
	}
}
