package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/store"
)

// policy prints the table of the API's rules. It needs no controller: the table is the program's own.
type policy struct {
	About string `arg:"" optional:"" help:"Only actions with this in their names: create_port, binding."`
	JSON  bool   `name:"json" help:"Print JSON."`

	out io.Writer // os.Stdout unless a test sets it
}

// Help is shown below the flags.
func (policy) Help() string {
	return `Examples:
  tunbridge policy
  tunbridge policy update_port
  tunbridge policy binding --json

An attribute's rule, such as create_port:fixed_ips, is asked in addition to that of its action. Who
meets one of a rule's conditions may do it.`
}

// rule is a row of the table as JSON.
type rule struct {
	Action string   `json:"action"`
	WhoMay []string `json:"who_may"` // the conditions, of which one must be met
}

// Run prints one line for each action: an operation, or an attribute that not everybody who may do the
// operation sees or sets.
func (p *policy) Run() error {
	if p.out == nil {
		p.out = os.Stdout
	}
	st := store.OpenMemory()
	defer st.Close()
	rules := []rule{}
	for _, row := range api.New(api.Options{Store: st}).Policy() {
		if strings.Contains(row.Action, p.About) {
			rules = append(rules, rule{row.Action, strings.Split(row.Rule.String(), ", ")})
		}
	}
	if len(rules) == 0 {
		return fmt.Errorf("no action has %q in its name: `tunbridge policy` lists them all", p.About)
	}
	if p.JSON {
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(rules)
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tWHO MAY")
	for _, r := range rules {
		action, line := r.Action, ""
		for i, condition := range r.WhoMay {
			if i < len(r.WhoMay)-1 {
				condition += ","
			}
			if line != "" && len(line)+len(condition) > 50 { // a line is at most 100 columns wide
				fmt.Fprintf(w, "%s\t%s\n", action, line)
				action, line = "", ""
			}
			line = strings.TrimSpace(line + " " + condition)
		}
		fmt.Fprintf(w, "%s\t%s\n", action, line)
	}
	return w.Flush()
}
