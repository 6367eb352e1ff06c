package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tunbridge/tunbridge/cmd/tunbridge/cli"
	"github.com/tunbridge/tunbridge/controller/inspect"
)

var update = flag.Bool("update", false, "write docs/commands.md instead of comparing with it")

// answers are what the commands print with --json.
var answers = map[string]any{
	"hosts":   []inspect.Host{},
	"flows":   []inspect.Flow{},
	"diff":    inspect.Diff{},
	"verify":  inspect.Verification{},
	"leases":  []inspect.Lease{},
	"explain": inspect.Explanation{},
	"trace":   inspect.Trace{},
	"capture": inspect.Frame{},
	"plan":    inspect.Plan{},
	"top":     []cli.Load{},
	"policy":  []rule{},
}

const commandsHead = `# The operator's commands

<!-- Generated from the commands: go test ./cmd/tunbridge -run TestCommandsDoc -update -->

Each is a question to a running controller, at its admin address (` + "`--admin`, or `TUNBRIDGE_ADMIN`" + `); plan asks the API,
policy nobody.
Text is for people: it may change, fits 100 columns, and shows what is no letter in a name by its number. JSON is for
programs: names in it are whole and as they are; what is there stays, more may come. A key with ? is left out where
there is nothing to say. hosts with a HOST prints one object, capture and top a line for each frame and each look. What the keys mean, package controller/inspect says.

| Exit status | Means |
|---|---|
| 0 | the answer is there, and all that was asked about is as it should be |
| 1 | the answer is there, and says that something is not: diff, flows --stale, verify, explain, trace |
| 2 | there is no answer: no controller, nothing known by that name, a host that cannot be looked at |
| 80 | the command line is wrong |

An error is a line on the standard error output, which says what to do.
`

// What the documentation says of commands and of their JSON is what they are: programs rely on it.
func TestCommandsDoc(t *testing.T) {
	var p program
	parser, err := kong.New(&p, kong.Name("tunbridge"), kong.Vars{"datadir": "DATA-DIR"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(commandsHead)
	for _, c := range parser.Model.Children {
		answer, asks := answers[c.Name]
		if !asks {
			for _, f := range c.Flags {
				if f.Name == "json" {
					t.Errorf("what does %s print with --json?", c.Name)
				}
			}
			continue
		}
		fmt.Fprintf(&b, "\n## tunbridge %s\n\n%s\n\n", c.Name, c.Help)
		for _, a := range c.Positional {
			fmt.Fprintf(&b, "- `%s`: %s\n", strings.ToUpper(a.Name), a.Help)
		}
		for _, f := range c.Flags {
			if f.Name == "admin" || f.Name == "json" || f.Name == "help" {
				continue
			}
			name := "--" + f.Name
			if !f.IsBool() {
				name += "=" + f.FormatPlaceHolder()
			}
			fmt.Fprintf(&b, "- `%s`: %s\n", name, f.Help)
		}
		fmt.Fprintf(&b, "\n```\n%s\n```\n", shape(reflect.TypeOf(answer), "", nil))
	}
	const file = "../../docs/commands.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != b.String() {
		t.Errorf("%s is not what the commands are (error %v): if that is meant, run go test ./cmd/tunbridge -run TestCommandsDoc -update", file, err)
	}
}

// shape is what a type looks like in JSON. within are the types that it is a part of.
func shape(t reflect.Type, indent string, within []reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[[]byte]():
		return "base64"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem(), indent, within)
	case reflect.Slice:
		return "[" + shape(t.Elem(), indent, within) + ", …]"
	case reflect.Map:
		return "{" + t.Key().Kind().String() + ": " + shape(t.Elem(), indent, within) + ", …}"
	case reflect.Struct:
		for _, w := range within {
			if w == t {
				return "{as above}"
			}
		}
		var b strings.Builder
		b.WriteString("{\n")
		fields(&b, t, indent+"  ", append(within, t))
		b.WriteString(indent + "}")
		return b.String()
	case reflect.Bool, reflect.String:
		return t.Kind().String()
	}
	return "number"
}

func fields(b *strings.Builder, t reflect.Type, indent string, within []reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			fields(b, f.Type.Elem(), indent, within)
			continue
		case name == "-" || !f.IsExported():
			continue
		}
		if option != "" {
			name += "?"
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, name, shape(f.Type, indent, within))
	}
}
