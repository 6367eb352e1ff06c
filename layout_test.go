// Package tunbridge_test checks the repository itself: which package may import
// which, and the rules that hold for every file.
package tunbridge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tunbridge/tunbridge"

// levels of packages, lowest first: a package imports only from levels above its
// own in this list. Programs under test/ are on the last.
var levels = [][]string{
	{"flows/openflow", "ovsdb", "api/model", "controller/inspect", "test/testbed", "test/nova"},
	{"api/store", "flows"},
	{"api/ipam", "flows/capture", "flows/eval", "flows/l2", "l2pop", "dhcp", "metadata", "probe", "controller/shard", "controller/nova", "test/demo"},
	{"api", "controller", "cmd/tunbridge/cli"},
	{"cmd/tunbridge", "test"},
}

// only says what else a package of ours may not do: these are all it may import of
// ours. A name that ends in /... stands for the packages below it too.
var only = map[string][]string{
	"flows/openflow":    {},
	"test/testbed":      {},
	"test/nova":         {},
	"test/demo":         {"test/testbed", "controller/inspect"},
	"cmd/tunbridge/cli": {"controller/inspect", "flows/..."},
	"flows/eval":        {"flows", "flows/openflow"},
	"flows/capture":     feature,
	"flows/l2":          feature,
	"l2pop":             feature,
	"dhcp":              feature,
	"metadata":          feature,
	"probe":             feature,
}

var feature = []string{"flows", "flows/openflow", "api/model"}

// decoders read bytes that others wrote, so they are fuzzed.
var decoders = []string{"flows/openflow", "flows/eval", "ovsdb", "api/model", "dhcp", "metadata", "probe"}

type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// name of the package below the module: "flows/openflow".
func (p pkg) name() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.name() != "" {
			all = append(all, p)
		}
	}
}

func level(name string) int {
	for i, names := range levels {
		if slices.Contains(names, name) {
			return i
		}
	}
	if strings.HasPrefix(name, "test/") {
		return len(levels) - 1
	}
	return -1
}

// allowed explains why a package may not import another of ours; "" if it may.
func allowed(from, to string) string {
	if level(to) >= level(from) {
		return "it is not on a level below"
	}
	names, restricted := only[from]
	if !restricted {
		return ""
	}
	for _, n := range names {
		if dir, below := strings.CutSuffix(n, "/..."); n == to || below && (dir == to || strings.HasPrefix(to, dir+"/")) {
			return ""
		}
	}
	return "of ours it may import only " + strings.Join(names, ", ")
}

func TestImportLaw(t *testing.T) {
	for _, p := range packages(t) {
		name := p.name()
		if level(name) < 0 {
			t.Errorf("package %s has no place in the layout", name)
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module+"/"); ours {
				if why := allowed(name, to); why != "" {
					t.Errorf("%s imports %s: %s", name, to, why)
				}
			} else if name == "flows/openflow" && strings.Contains(imp, ".") {
				t.Errorf("%s imports %s: it uses the standard library alone", name, imp)
			}
		}
		if name != "test/testbed" {
			continue
		}
		if slices.Contains(p.Imports, "testing") {
			t.Errorf("%s imports testing: programs use it too", name)
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if strings.HasPrefix(imp, module+"/") && imp != p.ImportPath {
				t.Errorf("the tests of %s import %s: it knows nothing of ours", name, imp)
			}
		}
	}
}

// The law itself: what it must refuse and what it must not.
func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"flows", "flows/openflow", true},
		{"flows/openflow", "flows", false},
		{"flows/l2", "flows", true},
		{"flows/l2", "l2pop", false},
		{"flows/l2", "api/store", false},
		{"dhcp", "ovsdb", false},
		{"dhcp", "api/model", true},
		{"api", "controller", false},
		{"controller", "api", false},
		{"controller", "dhcp", true},
		{"api", "api/ipam", true},
		{"cmd/tunbridge/cli", "flows/eval", true},
		{"cmd/tunbridge/cli", "api/store", false},
		{"cmd/tunbridge", "controller", true},
		{"test/demo", "test/testbed", true},
		{"test/demo", "api/model", false},
		{"test/bench", "controller", true},
		{"test/bench", "test/demo", true},
		{"controller", "test/bench", false},
	} {
		if why := allowed(c.from, c.to); (why == "") != c.ok {
			t.Errorf("%s imports %s: %q, want allowed=%v", c.from, c.to, why, c.ok)
		}
	}
}

func TestPackages(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no package comment", p.name())
		}
		if !slices.Contains(decoders, p.name()) {
			continue
		}
		fuzzed := false
		for _, f := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			b, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			fuzzed = fuzzed || bytes.Contains(b, []byte("\nfunc Fuzz"))
		}
		if !fuzzed {
			t.Errorf("package %s decodes what others wrote and has no fuzz target", p.name())
		}
	}
}

// empty are words that say nothing of the domain; Manager is one but for OVSDB's table.
var empty = regexp.MustCompile(`(Manager|Helper|Util|Utils|Impl)([A-Z0-9]|$)`)

func TestFiles(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if formatted, err := format.Source(src); err != nil || !bytes.Equal(src, formatted) {
			t.Errorf("%s: not as gofmt writes it", path)
		}
		base := strings.ToLower(d.Name())
		for _, word := range []string{"manager", "helper", "util", "impl", "common", "misc"} {
			if slices.Contains(strings.FieldsFunc(base, func(r rune) bool { return r == '_' || r == '.' || r == '-' }), word) {
				t.Errorf("%s: name the file for its concept", path)
			}
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		if lines := bytes.Count(src, []byte("\n")); lines > 700 && !ast.IsGenerated(f) {
			t.Errorf("%s: %d lines; a concept that large is several", path, lines)
		}
		for _, decl := range f.Decls {
			for _, name := range typesOf(decl) {
				if empty.MatchString(name) && !(strings.HasPrefix(path, "ovsdb/") && strings.HasPrefix(strings.TrimPrefix(name, "Wanted"), "Manager")) {
					t.Errorf("%s: type %s: name it for what it is", path, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func typesOf(decl ast.Decl) (names []string) {
	if d, ok := decl.(*ast.GenDecl); ok {
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok {
				names = append(names, s.Name.Name)
			}
		}
	}
	return names
}
