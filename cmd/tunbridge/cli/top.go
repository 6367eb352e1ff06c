package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
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
	return `A line for each host: packet-ins a second that the controller answers and drops, plans a second, changes in the last plan, how long it took to compile what is wanted and to have the last plan acknowledged. q ends it. While no controller answers it shows what was last seen, and tries again. Where there is no terminal it prints one look after the other; --json prints a line of JSON for each.

Examples:
  tunbridge top --once
  tunbridge top --once --json`
}

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

// Run looks until q or Ctrl-C.
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
	before, at, err := c.look(ctx, client)
	if err != nil {
		return err
	}
	var on *screen
	var resized <-chan os.Signal
	if terminal, ok := isTerminal(c.stdout()); ok && !c.Once && !c.JSON {
		on = openScreen(terminal, cancel)
		defer on.close()
		resized = on.resized
		if err := on.draw("looking …"); err != nil {
			return err
		}
	}
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	var list []Load
	trouble := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case <-tick.C:
			now, then, err := c.look(ctx, client)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil && on == nil:
				return err
			case err != nil:
				trouble = fmt.Sprintf("No answer since %s: %s", at.Format(time.TimeOnly), Clean(err.Error()))
			default:
				list, before, at, trouble = loads(before, now, then.Sub(at).Seconds()), now, then, ""
			}
		}
		if err := c.show(on, list, at, trouble); err != nil || c.Once {
			return err
		}
	}
}

// look asks how all hosts are.
func (c *Top) look(ctx context.Context, client *inspect.Client) (map[string]inspect.Host, time.Time, error) {
	hosts, err := client.Hosts(ctx)
	if !c.JSON {
		cleanAll(reflect.ValueOf(&hosts), "")
	}
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

// show prints what is known, on a screen or, if that is nil, as lines.
func (c *Top) show(on *screen, list []Load, at time.Time, trouble string) error {
	if c.JSON {
		return json.NewEncoder(c.stdout()).Encode(list)
	}
	width, rows := columns, max(c.Rows, 1)
	if on != nil {
		var lines int
		width, lines = on.size()
		rows = max(min(rows, lines-4), 1) // beside the headings and a note
	}
	var text strings.Builder
	if err := c.text(&text, list, at, width, rows, trouble); err != nil {
		return err
	}
	if on != nil {
		return on.draw(text.String())
	}
	_, err := io.WriteString(c.stdout(), text.String())
	return err
}

// allColumns is how wide a terminal must be to hold all columns of hosts that are busy.
const allColumns = 100

func (c *Top) text(to io.Writer, list []Load, at time.Time, width, rows int, trouble string) error {
	w := &fit{w: to, width: width}
	up, punts, plans := 0, 0.0, 0.0
	for i := range list {
		if list[i].State == "ok" {
			up++
		}
		punts, plans = punts+list[i].Punts, plans+list[i].Plans
	}
	fmt.Fprintf(w, "%s  %d hosts, %d of them ok; %.0f packet-ins and %.1f plans a second\n", at.Format(time.TimeOnly), len(list), up, punts, plans)
	fmt.Fprintln(w, trouble)
	headings := []string{"HOST", "STATE", "VIFS", "FLOWS", "PKT-IN/s", "DROP/s", "PLAN/s", "ACK", "COMPILE", "LAST PLAN"}
	if width < allColumns {
		headings = headings[:8]
	}
	t := newTable(headings...)
	t.right = true
	rate := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	shown := list[:min(len(list), rows)]
	for i := range shown {
		l := &shown[i]
		cells := []any{l.Host, l.State, fmt.Sprintf("%d/%d", l.Wired, l.VIFs), l.Flows, rate(l.Punts), rate(l.Dropped), rate(l.Plans), milliseconds(l.Acknowledge), milliseconds(l.Compile), l.LastPlan}
		t.row(cells[:len(headings)]...)
	}
	if err := t.write(w, width); err != nil {
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
	return w.flush("")
}
