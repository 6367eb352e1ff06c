package clients

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions"
)

// others are gophercloud's packages, and beginnings of functions, that are not run because they belong to
// extensions that are not advertised.
var others = map[string]string{
	"extensions/bgp": "bgp", "extensions/bgpvpns": "bgpvpn", "extensions/fwaas_v2": "fwaas_v2", "extensions/layer3": "router", "extensions/portstrustedvif": "port-trusted-vif",
	"extensions/qos": "qos", "extensions/security": "security-group", "extensions/segments": "segment", "extensions/taas": "taas", "extensions/dns.FloatingIP": "router",
	"extensions/trunks": "trunk", "extensions/vlantransparent": "vlan-transparent", "extensions/vpnaas": "vpnaas",
	"extensions/agents.ListBGP": "bgp_dragent_scheduler", "extensions/agents.ScheduleBGP": "bgp_dragent_scheduler", "extensions/agents.RemoveBGP": "bgp_dragent_scheduler",
	"extensions/agents.ListDRAgent": "bgp_dragent_scheduler", "extensions/agents.ListL3": "l3_agent_scheduler", "extensions/agents.ScheduleL3": "l3_agent_scheduler", "extensions/agents.RemoveL3": "l3_agent_scheduler",
}

// complete fails if gophercloud has a request for the network service, or options that extend one, which
// nothing here uses.
func (l *library) complete() {
	aliases := list(l, extensions.List(l.ServiceClient), extensions.ExtractExtensions, func(e extensions.Extension) string { return e.Alias })
	used, needless := selectors(l.t), make(map[string]bool)
	for of, alias := range others {
		needless[of] = true
		if slices.Contains(aliases, alias) {
			l.t.Errorf("%s is advertised: run %s", alias, of)
		}
	}
	known := requestsOf(l.t)
	if len(known) < 100 {
		l.t.Fatalf("gophercloud has only %d requests", len(known))
	}
known:
	for name := range known {
		for of := range others {
			rest, ok := strings.CutPrefix(name, of)
			if ok && (strings.Contains(of, ".") || rest[0] == '/' || rest[0] == '.') {
				delete(needless, of)
				continue known
			}
		}
		if !used[name[strings.LastIndex(name, "/")+1:]] {
			l.t.Errorf("never used: %s", name)
		}
	}
	for of := range needless {
		l.t.Errorf("gophercloud has no %s", of)
	}
}

// requestsOf are gophercloud's functions that make requests to the network service, and the types of options
// that extend others: "extensions/quotas.Update".
func requestsOf(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gophercloud/gophercloud/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "openstack/networking/v2")
	known := make(map[string]bool)
	for _, pattern := range []string{"*/*.go", "extensions/*.go", "extensions/*/*.go", "extensions/*/*/*.go"} {
		sources, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			within, _ := filepath.Rel(root, filepath.Dir(source))
			if strings.Contains(source, "/testing/") || strings.HasSuffix(source, "_test.go") {
				continue
			}
			for _, decl := range parse(t, source).Decls {
				for _, name := range requests(decl) {
					known[within+"."+name] = true
				}
			}
		}
	}
	return known
}

// requests are the exported functions of a declaration that take a client, and its types of options that extend others.
func requests(decl ast.Decl) (names []string) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv != nil || !decl.Name.IsExported() {
			return nil
		}
		for _, p := range decl.Type.Params.List {
			star, ok := p.Type.(*ast.StarExpr)
			if !ok {
				continue
			}
			if of, ok := star.X.(*ast.SelectorExpr); ok && of.Sel.Name == "ServiceClient" {
				names = append(names, decl.Name.Name)
			}
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			if of, ok := spec.(*ast.TypeSpec); ok && strings.HasSuffix(of.Name.Name, "OptsExt") {
				names = append(names, of.Name.Name)
			}
		}
	}
	return names
}

// selectors are the names of other packages that this package's files mention: "quotas.Update".
func selectors(t *testing.T) map[string]bool {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources", err)
	}
	used := make(map[string]bool)
	for _, source := range sources {
		ast.Inspect(parse(t, source), func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if of, ok := s.X.(*ast.Ident); ok {
					used[of.Name+"."+s.Sel.Name] = true
				}
			}
			return true
		})
	}
	return used
}

func parse(t *testing.T, source string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
