package cli

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// savedFlows reads a file that ovs-ofctl dump-flows printed. Whose a flow is follows from its cookie and from
// whether it keeps to the pipeline; who its object is, only a controller could say.
func savedFlows(file, bridge string) ([]inspect.Flow, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	dump, err := openflow.ParseFlows(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var best []inspect.Flow
	most := -1
	for _, b := range flows.Bridges {
		if bridge != "" && bridge != b.String() {
			continue
		}
		list, ours := attribute(dump, b)
		if ours > most { // at a draw br-int, which comes first
			best, most = list, ours
		}
	}
	if most < 0 {
		return nil, fmt.Errorf("bridge %q: want %s or %s", bridge, flows.BrInt, flows.BrTun)
	}
	slices.SortStableFunc(best, func(x, y inspect.Flow) int {
		return cmp.Or(cmp.Compare(x.Table, y.Table), cmp.Compare(y.Priority, x.Priority))
	})
	return best, nil
}

// attribute takes a dump for that of a bridge and says which flows are ours then, and how many.
func attribute(dump []openflow.FlowText, b flows.Bridge) (list []inspect.Flow, ours int) {
	for i := range dump {
		f := &dump[i]
		t := flows.TableOf(b, f.Table)
		if f.TableName != "" {
			t = nil
			for _, named := range flows.Pipeline() {
				if named.Bridge == b && named.Name == f.TableName {
					t = named
				}
			}
		}
		out := inspect.Flow{Bridge: b.String(), Table: f.Table, TableName: f.TableName, Priority: f.Priority, Cookie: fmt.Sprintf("%#016x", f.Cookie),
			Match: f.MatchText, Actions: f.ActionsText, Packets: count(f.Packets), Bytes: count(f.Bytes), Seconds: int64(f.Duration / time.Second)}
		if t != nil {
			out.Table, out.TableName = t.Number, t.Name
		}
		if why := notOurs(t, f); why != "" {
			out.Owner, out.Reason, out.Stale = "foreign", "not ours: "+why, true
		} else {
			owner, kind, prefix := flows.CookieParts(f.Cookie)
			out.Owner, out.Kind = owner.String(), kind.String()
			out.ObjectID = fmt.Sprintf("%08x-%04x", prefix>>16, prefix&0xffff)
			out.Reason = "says its cookie; the table is for: " + t.Purpose
			ours++
		}
		list = append(list, out)
	}
	return list, ours
}

// notOurs says why a flow is not ours; "" if it is, for all that can be seen.
func notOurs(t *flows.Table, f *openflow.FlowText) string {
	owner, kind, _ := flows.CookieParts(f.Cookie)
	switch {
	case t == nil:
		return "the pipeline has no such table"
	case strings.HasPrefix(owner.String(), "owner("):
		return "no part of the program has the owner of its cookie"
	case strings.HasPrefix(kind.String(), "kind("):
		return "no object is of the kind in its cookie"
	case t.Learned:
		return ""
	case !slices.Contains(t.Owners, owner):
		return fmt.Sprintf("%s emits no flows into %s", owner, t)
	case len(f.Unknown) > 0:
		for _, token := range f.Unknown {
			// Names of ports and tables stand for their numbers, and mod_vlan_vid in OpenFlow 1.0 for push_vlan and set_field.
			if !strings.Contains(token, `"`) && !strings.HasPrefix(token, "mod_vlan_vid:") {
				return "no flow of ours has " + token
			}
		}
		return ""
	}
	err := flows.Verify(t, &flows.Flow{Key: flows.Key{Table: t.Number, Priority: f.Priority, Match: f.Match}, Instructions: f.Instructions,
		Owner: owner, Object: flows.Object{Kind: kind}, Reason: "of a dump"})
	if err != nil {
		return err.Error()
	}
	return ""
}

// count is a counter as a switch tells it; 0 where it does not.
func count(n uint64) uint64 {
	if n == math.MaxUint64 {
		return 0
	}
	return n
}
