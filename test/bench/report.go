package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// seconds are printed with their fraction, also in JSON.
type seconds float64

func secondsOf(d time.Duration) seconds { return seconds(d.Seconds()) }

// cpu is what processes used of the processors: user and system time.
type cpu struct {
	Controller seconds `json:"controller_s"`
	Vswitchd   seconds `json:"vswitchd_s"`
	OVSDB      seconds `json:"ovsdb_server_s"`
	Sum        seconds `json:"sum_s"`
}

func (c cpu) divided(n int) cpu {
	by := seconds(n)
	return cpu{c.Controller / by, c.Vswitchd / by, c.OVSDB / by, c.Sum / by}
}

// spread of durations, in milliseconds.
type spread struct {
	Min    float64 `json:"min_ms"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
}

// figures of one run.
type figures struct {
	LoadBefore float64 `json:"load_before"` // the machine's load average of one minute: what else ran
	Wiring     struct {
		CPU          cpu     `json:"cpu"`
		Created      seconds `json:"created_s"`      // until the API had answered
		Named        seconds `json:"named_s"`        // until every interface was a VIF
		Active       seconds `json:"active_s"`       // until the API showed every port ACTIVE
		Acknowledged seconds `json:"acknowledged_s"` // until the last host acknowledged its last change
		PeakMiB      float64 `json:"peak_rss_mib"`   // of the controller
		Flows        int     `json:"flows"`          // on all hosts
	} `json:"wiring"`
	Plug  plugFigures `json:"plug"`
	Flows struct {
		Local  float64 `json:"per_local_port"`
		Remote float64 `json:"per_remote_port"`
		Host   int     `json:"on_one_host"`
	} `json:"flows"`
}

// plugFigures are of single VIFs on the settled system.
type plugFigures struct {
	FromInsert spread `json:"from_insert"` // from before the transaction that adds the interface was sent
	FromReply  spread `json:"from_reply"`  // from the database's answer to it
	CPU        cpu    `json:"cpu_each"`
}

// reference is what another system needs for the same, or what is aimed at; 0 is
// not known.
type reference struct {
	ControllerCPU seconds `json:"controller_cpu_s,omitempty"`
	VswitchdCPU   seconds `json:"vswitchd_cpu_s,omitempty"`
	SumCPU        seconds `json:"sum_cpu_s,omitempty"`
	Acknowledged  seconds `json:"acknowledged_s,omitempty"`
	PlugMedian    float64 `json:"plug_median_ms,omitempty"`
	Local         float64 `json:"flows_per_local_port,omitempty"`
	Remote        float64 `json:"flows_per_remote_port,omitempty"`
}

var (
	// ovn is OVN 23.03 with 30 chassis, 10 networks and 1,000 ports, on a machine of
	// two processors. What stands for the controller is northd (1.4 CPU seconds), both
	// databases (7.4) and the agents on the hosts (29.7).
	ovn = reference{ControllerCPU: 1.4 + 7.4 + 29.7, VswitchdCPU: 2.8, SumCPU: 42, Acknowledged: 28.4, PlugMedian: 344, Local: 32, Remote: 3}
	aim = reference{ControllerCPU: 3, PlugMedian: 10, Local: 10, Remote: 2}
)

// result is what --json prints.
type result struct {
	size
	OVN  reference `json:"ovn_23_03"`
	Aim  reference `json:"aim"`
	Runs []figures `json:"runs"`
}

// print writes the table: of several runs the median, with the least and the most.
func print(out io.Writer, s size, runs []figures) error {
	fmt.Fprintf(out, "%d hosts, %d networks on all of them, %d ports, %d single VIFs; runs: %d\n\n", s.Hosts, s.Networks, s.Ports, s.Plugs, len(runs))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tmeasured\taim\tOVN 23.03")
	row := func(name, format string, aim, ovn float64, value func(*figures) float64) {
		values := make([]float64, len(runs))
		for i := range runs {
			values[i] = value(&runs[i])
		}
		slices.Sort(values)
		shown := fmt.Sprintf(format, quantile(values, 0.5))
		if len(values) > 1 {
			shown += fmt.Sprintf(" ("+format+"–"+format+")", values[0], values[len(values)-1])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, shown, known(aim), known(ovn))
	}
	row("wiring all: controller, CPU s", "%.2f", float64(aim.ControllerCPU), float64(ovn.ControllerCPU), func(f *figures) float64 { return float64(f.Wiring.CPU.Controller) })
	row("  all ovs-vswitchd, CPU s", "%.2f", 0, float64(ovn.VswitchdCPU), func(f *figures) float64 { return float64(f.Wiring.CPU.Vswitchd) })
	row("  all ovsdb-server, CPU s", "%.2f", 0, 0, func(f *figures) float64 { return float64(f.Wiring.CPU.OVSDB) })
	row("  sum, CPU s", "%.2f", 0, float64(ovn.SumCPU), func(f *figures) float64 { return float64(f.Wiring.CPU.Sum) })
	row("  until the API answered, s", "%.2f", 0, 0, func(f *figures) float64 { return float64(f.Wiring.Created) })
	row("  until every port ACTIVE, s", "%.2f", 0, 0, func(f *figures) float64 { return float64(f.Wiring.Active) })
	row("  until every host acknowledged, s", "%.2f", 0, float64(ovn.Acknowledged), func(f *figures) float64 { return float64(f.Wiring.Acknowledged) })
	row("  controller's peak memory, MiB", "%.0f", 0, 0, func(f *figures) float64 { return f.Wiring.PeakMiB })
	row("new VIF to ACTIVE: median, ms", "%.1f", aim.PlugMedian, ovn.PlugMedian, func(f *figures) float64 { return f.Plug.FromInsert.Median })
	row("  p99, ms", "%.1f", 0, 0, func(f *figures) float64 { return f.Plug.FromInsert.P99 })
	row("  median from the database's reply, ms", "%.1f", 0, 0, func(f *figures) float64 { return f.Plug.FromReply.Median })
	row("  p99 from the database's reply, ms", "%.1f", 0, 0, func(f *figures) float64 { return f.Plug.FromReply.P99 })
	row("  controller, CPU ms each", "%.1f", 0, 0, func(f *figures) float64 { return 1000 * float64(f.Plug.CPU.Controller) })
	row("  all ovs-vswitchd, CPU ms each", "%.1f", 0, 0, func(f *figures) float64 { return 1000 * float64(f.Plug.CPU.Vswitchd) })
	row("flows per local port", "%.4g", aim.Local, ovn.Local, func(f *figures) float64 { return f.Flows.Local })
	row("  per remote port", "%.4g", aim.Remote, ovn.Remote, func(f *figures) float64 { return f.Flows.Remote })
	row("  on one host", "%.0f", 0, 0, func(f *figures) float64 { return float64(f.Flows.Host) })
	row("load average before", "%.1f", 0, 0, func(f *figures) float64 { return f.LoadBefore })
	return w.Flush()
}

// known prints a value of a reference.
func known(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.4g", v)
}

func spreadOf(all []time.Duration) spread {
	ms := make([]float64, len(all))
	for i, d := range all {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	slices.Sort(ms)
	return spread{Min: quantile(ms, 0), Median: quantile(ms, 0.5), P99: quantile(ms, 0.99)}
}

// quantile of sorted values, by the nearest rank: p99 of fewer than 100 values is
// the worst.
func quantile[T cmp.Ordered](sorted []T, q float64) T {
	return sorted[min(max(int(math.Ceil(q*float64(len(sorted))))-1, 0), len(sorted)-1)]
}
