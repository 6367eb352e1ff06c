package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/tunbridge/tunbridge/api"
	"github.com/tunbridge/tunbridge/api/store"
)

// policy prints the table of the API's rules. It needs no controller: the table is the program's own.
type policy struct{}

// Run prints one line for each action: an operation, or an attribute that not everybody who may do the
// operation sees or sets.
func (policy) Run() error {
	st := store.OpenMemory()
	defer st.Close()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tWHO MAY")
	for _, row := range api.New(api.Options{Store: st}).Policy() {
		fmt.Fprintf(w, "%s\t%s\n", row.Action, row.Rule)
	}
	return w.Flush()
}
