package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Top shows hosts live.
type Top struct {
	Admin
	Interval time.Duration `help:"How often it looks." default:"1s"`
	Once     bool          `help:"Look twice, an interval apart, print once and end."`
	Rows     int           `help:"Hosts to show at most: those with something to say first, then the busiest." default:"30"`
}

// Help is shown below the flags.
func (Top) Help() string {
	return `A line for each host: packet-ins a second that the controller answers and drops, plans a second, changes in the last plan, how long it took to compile what is wanted and to have the last plan acknowledged. --json prints a line of JSON for each look.

Examples:
  tunbridge top --once
  tunbridge top --once --json`
}

// ANSI: to the top left, clear; clear the rest of the line; clear the rest of the screen.
const (
	ansiHome  = "\x1b[H"
	ansiClear = "\x1b[2J"
	ansiLine  = "\x1b[K\n"
	ansiRest  = "\x1b[J"
)

// Load is a host between two looks.
type Load struct {
	Host    string  `json:"host"`
	State   string  `json:"state"`
	Note    string  `json:"note,omitempty"`
	VIFs    int     `json:"vifs"`
	Wired   int     `json:"wired"`
	Flows   int     `json:"flows"`
	Punts   float64 `json:"punts_per_second"`
	Dropped float64 `json:"punts_dropped_per_second"`
	Plans   float64 `json:"plans_per_second"`
	Pending int     `json:"pending"` // changes that are not acknowledged
	*inspect.Activity
}

// Run looks until Ctrl-C.
func (c *Top) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	if c.Interval < 100*time.Millisecond {
		return fmt.Errorf("--interval %s: want at least 100ms", c.Interval)
	}
	out := c.stdout()
	if !c.Once && !c.JSON {
		fmt.Fprint(out, ansiClear)
	}
	before, at, err := looked(ctx, client)
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.Interval):
		}
		var now map[string]inspect.Host
		then := at
		if now, at, err = looked(ctx, client); err != nil {
			break
		}
		list := loads(before, now, at.Sub(then).Seconds())
		if err := c.show(out, list, at); err != nil || c.Once {
			return err
		}
		before = now
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func looked(ctx context.Context, client *inspect.Client) (map[string]inspect.Host, time.Time, error) {
	hosts, err := client.Hosts(ctx)
	all := make(map[string]inspect.Host, len(hosts))
	for _, h := range hosts {
		all[h.ID] = h
	}
	return all, time.Now(), err
}

// loads compares two looks. A host that connected again begins at 0.
func loads(before, now map[string]inspect.Host, seconds float64) []Load {
	rate := func(was, is uint64) float64 {
		if is < was {
			was = 0
		}
		return float64(is-was) / seconds
	}
	sum := func(m map[string]uint64) (n uint64) {
		for _, v := range m {
			n += v
		}
		return n
	}
	list := make([]Load, 0, len(now))
	for _, id := range slices.Sorted(maps.Keys(now)) {
		h, was := now[id], before[id]
		l := Load{Host: h.Hostname, State: state(&h), Note: note(&h), VIFs: len(h.VIFs), Wired: wired(&h), Flows: total(&h), Pending: strings.Count(h.Pending, "\n"),
			Activity: cmp.Or(h.Activity, &inspect.Activity{}), Plans: rate(was.Commits, h.Commits)}
		old := cmp.Or(was.Activity, &inspect.Activity{})
		l.Punts, l.Dropped = rate(sum(old.Punts), sum(l.Activity.Punts)), rate(sum(old.Dropped), sum(l.Activity.Dropped))
		list = append(list, l)
	}
	slices.SortStableFunc(list, func(a, b Load) int {
		return cmp.Or(cmp.Compare(b.troubled(), a.troubled()), cmp.Compare(b.Punts, a.Punts), cmp.Compare(b.Plans, a.Plans), cmp.Compare(a.Host, b.Host))
	})
	return list
}

// troubled is 1 if there is something to say of the host.
func (l *Load) troubled() int { return min(len(l.Note), 1) }

func (c *Top) show(out io.Writer, list []Load, at time.Time) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(list)
	}
	var text strings.Builder
	w := &fit{w: &text}
	up, punts, plans := 0, 0.0, 0.0
	for i := range list {
		if list[i].State == "ok" {
			up++
		}
		punts, plans = punts+list[i].Punts, plans+list[i].Plans
	}
	fmt.Fprintf(w, "%s  %d hosts, %d of them ok; %.0f packet-ins and %.1f plans a second\n\n", at.Format(time.TimeOnly), len(list), up, punts, plans)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "HOST\tSTATE\tVIFS\tFLOWS\tPACKET-INS/s\tDROPPED/s\tPLANS/s\tLAST PLAN\tCOMPILE\tACK\t")
	shown := list[:min(len(list), max(c.Rows, 1))]
	for i := range shown {
		l := &shown[i]
		fmt.Fprintf(t, "%.20s\t%s\t%d/%d\t%d\t%.1f\t%.1f\t%.1f\t%d\t%s\t%s\t\n", l.Host, l.State, l.Wired, l.VIFs, l.Flows, l.Punts, l.Dropped, l.Plans, l.LastPlan, milliseconds(l.Compile), milliseconds(l.Acknowledge))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more := len(list) - len(shown); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	for i := range shown {
		if l := &shown[i]; l.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", l.Host, l.Note)
		}
	}
	if err := w.flush(""); err != nil {
		return err
	}
	if c.Once {
		_, err := io.WriteString(out, text.String())
		return err
	}
	_, err := io.WriteString(out, ansiHome+strings.ReplaceAll(text.String(), "\n", ansiLine)+ansiRest)
	return err
}
