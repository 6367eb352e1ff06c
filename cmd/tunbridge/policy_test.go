package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/store"
)

// The command prints the API's table, whole or in part, as text and as JSON.
func TestPolicy(t *testing.T) {
	st := store.OpenMemory()
	defer st.Close()
	table := api.New(api.Options{Store: st}).Policy()
	printed := func(p policy) string {
		t.Helper()
		var out strings.Builder
		p.out = &out
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	var rules []rule
	if err := json.Unmarshal([]byte(printed(policy{JSON: true})), &rules); err != nil {
		t.Fatal(err)
	}
	if len(rules) != len(table) || len(table) < 100 {
		t.Errorf("%d rules of %d", len(rules), len(table))
	}
	text := printed(policy{})
	for i, row := range table {
		if i < len(rules) && (rules[i].Action != row.Action || strings.Join(rules[i].WhoMay, ", ") != row.Rule.String()) {
			t.Errorf("%s is for %s, and printed as %v", row.Action, row.Rule, rules[i])
		}
		_, after, found := strings.Cut(text, "\n"+row.Action+" ")
		if words := strings.Join(strings.Fields(after), " "); !found || !strings.HasPrefix(words, row.Rule.String()) {
			t.Errorf("%s is for %s, and printed as %.150s", row.Action, row.Rule, words)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 101 {
			t.Errorf("wider than 100 columns: %s", line)
		}
	}
	part := strings.Split(strings.TrimSpace(printed(policy{About: "port:binding"})), "\n")
	if len(part) < 3 || slices.ContainsFunc(part[1:], func(line string) bool { return !strings.Contains(line, "port:binding") }) {
		t.Errorf("about bindings: %q", part)
	}
	if err := (&policy{About: "nonesuch"}).Run(); err == nil {
		t.Error("rules of what is no action")
	}
}
