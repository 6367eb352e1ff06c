// Command bench measures the program as an operator runs it: one `tunbridge
// serve` of the built binary and many cheap hosts ([testbed.CheapHost]: real
// ovsdb-server and ovs-vswitchd, no traffic), driven through the REST API and
// OVSDB alone. `make bench` runs it; docs/benchmarks.md says how to read it.
//
// A run goes through four steps:
//
//	hosts enrolled, networks made, interfaces plugged      deployment.go
//	─▶ every port created and wired from nothing           wiring.go
//	─▶ single VIFs plugged into the settled system         wiring.go
//	─▶ flows that one more port costs                      wiring.go
//
// and ends by asking each host whether what it holds is what it should hold: a
// figure of a system that did not do its work is none.
//
// `bench api` measures the REST API alone: api.go.
// `bench dhcp` measures the answers to guests instead: dhcp.go, with the guests of guest.go.
// `bench metadata` measures those to guests in namespaces that ask for their metadata: metadata.go.
// `bench gap` measures for how long guests hear nothing of each other while one moves: gap.go.
//
// Read wiring.go first; report.go prints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// size of the system that is measured.
type size struct {
	Hosts    int `json:"hosts"`
	Networks int `json:"networks"` // each has members on every host, if there are enough ports
	Ports    int `json:"ports"`
	Plugs    int `json:"plugs"` // single VIFs on the settled system
}

func (s size) check() error {
	if s.Hosts < 2 || s.Networks < 1 || s.Ports < s.Hosts || s.Plugs < 1 {
		return errors.New("want at least 2 hosts, 1 network, 1 plug, and a port for every host")
	}
	if s.Networks > 200 || (s.Ports+s.Plugs)/s.Networks > 60000 {
		return errors.New("want at most 200 networks of 60000 ports each")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context) error {
	var s size
	flag.IntVar(&s.Hosts, "hosts", 30, "hosts")
	flag.IntVar(&s.Networks, "networks", 10, "networks, all of them on every host")
	flag.IntVar(&s.Ports, "ports", 1000, "ports wired from nothing")
	flag.IntVar(&s.Plugs, "plugs", 100, "single VIFs plugged into the settled system")
	runs := flag.Int("runs", 1, "runs, each from nothing")
	asJSON := flag.Bool("json", false, "print JSON")
	within := flag.Duration("timeout", 5*time.Minute, "time that one run may take")
	profile := flag.String("profile", "", "write a CPU profile of the controller, of 15 s from the wiring on, or while guests ask, to this `file`")
	flag.Parse()
	if err := s.check(); err != nil {
		return err
	}
	switch flag.Arg(0) {
	case "", "api", "dhcp", "gap", "metadata":
	default:
		return fmt.Errorf("%q: want api, dhcp, metadata, gap, or nothing", flag.Arg(0))
	}
	dir, err := os.MkdirTemp("", "tunbridge-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "tunbridge")
	if err := build(ctx, binary); err != nil {
		return err
	}
	if flag.Arg(0) == "api" {
		return benchAPI(ctx, os.Stdout, binary, dir, fullAPI)
	}
	if flag.Arg(0) == "gap" {
		return benchGaps(ctx, os.Stdout, binary, filepath.Join(dir, "data"), gaps{moves: 20, failovers: 10})
	}
	if flag.Arg(0) == "metadata" {
		full := fullMetadata
		full.profile = *profile
		return benchMetadata(ctx, os.Stdout, binary, dir, full)
	}
	if flag.Arg(0) == "dhcp" {
		full := fullDHCP
		full.profile = *profile
		return benchDHCP(ctx, os.Stdout, binary, dir, full)
	}
	var all []figures
	for i := range max(*runs, 1) {
		fmt.Fprintf(os.Stderr, "run %d of %d: %d hosts, %d networks, %d ports\n", i+1, max(*runs, 1), s.Hosts, s.Networks, s.Ports)
		runCtx, cancel := context.WithTimeout(ctx, *within)
		f, err := run(runCtx, s, binary, filepath.Join(dir, fmt.Sprint("data", i)), *profile)
		cancel()
		if err != nil {
			return err
		}
		all = append(all, f)
	}
	if *asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(result{size: s, OVN: ovn, Aim: aim, Runs: all})
	}
	return print(os.Stdout, s, all)
}

// build makes the program that is measured, as `make build` does.
func build(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/tunbridge/tunbridge/cmd/tunbridge")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the program: %w", err)
	}
	return nil
}

// run measures once, from nothing, and leaves nothing behind.
func run(ctx context.Context, s size, binary, dataDir, profile string) (f figures, err error) {
	if f.LoadBefore, err = load(); err != nil {
		return f, err
	}
	d, err := deploy(ctx, s, binary, dataDir)
	if d != nil {
		defer func() { err = errors.Join(err, d.close()) }()
	}
	if err != nil {
		return f, err
	}
	for _, step := range []func(context.Context, *figures) error{
		func(ctx context.Context, f *figures) error { return d.wireAll(ctx, f, profile) },
		d.plugSingly,
		d.countFlows,
		d.verify,
	} {
		if err := step(ctx, &f); err != nil {
			return f, err
		}
	}
	return f, nil
}

// load is the machine's load average of the last minute; see proc(5).
func load() (average float64, err error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(b), &average)
	return average, err
}
