// Command report runs `go test` with the arguments it is given and says what a
// person wants to know: the output of what failed, what was skipped, and the ten
// slowest tests. It fails if a test failed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build's output
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// result of one test.
type result struct {
	name string
	took time.Duration
}

type report struct {
	out     io.Writer
	output  map[string]*strings.Builder // of tests and packages that still run
	passed  int
	failed  []string
	skipped []string
	tests   []result
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	r := report{out: os.Stdout, output: map[string]*strings.Builder{}}
	r.read(pipe)
	err = cmd.Wait()
	r.print()
	if err != nil || len(r.failed) > 0 {
		os.Exit(1)
	}
}

// read takes events until there are no more; other lines are passed on.
func (r *report) read(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			r.add(e)
		} else {
			fmt.Fprintf(r.out, "%s", line)
		}
		if err != nil {
			return
		}
	}
}

func (r *report) add(e event) {
	name := strings.TrimSpace(e.Package + " " + e.Test)
	switch e.Action {
	case "output":
		if r.output[name] == nil {
			r.output[name] = new(strings.Builder)
		}
		r.output[name].WriteString(e.Output)
		return
	case "build-output":
		fmt.Fprint(r.out, e.Output)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	output := r.output[name]
	delete(r.output, name)
	took := time.Duration(e.Elapsed * float64(time.Second))
	if e.Test == "" {
		if e.Action == "pass" {
			fmt.Fprintf(r.out, "ok    %-50s %7.2fs\n", e.Package, e.Elapsed)
		}
	} else if !strings.Contains(e.Test, "/") {
		r.tests = append(r.tests, result{name, took})
	}
	switch {
	case e.Action == "fail":
		fmt.Fprintf(r.out, "FAIL  %s\n", name)
		if output != nil {
			fmt.Fprint(r.out, output)
		}
		r.failed = append(r.failed, name)
	case e.Action == "skip" && e.Test != "":
		r.skipped = append(r.skipped, name)
	case e.Test != "":
		r.passed++
	}
}

func (r *report) print() {
	slices.SortFunc(r.tests, func(a, b result) int { return cmp.Compare(b.took, a.took) })
	fmt.Fprintln(r.out, "\nslowest:")
	for _, t := range r.tests[:min(10, len(r.tests))] {
		fmt.Fprintf(r.out, "%8.2fs  %s\n", t.took.Seconds(), t.name)
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	for _, name := range r.failed {
		fmt.Fprintln(r.out, "failed: ", name)
	}
	for _, name := range r.skipped {
		fmt.Fprintln(r.out, "skipped:", name)
	}
	if len(r.skipped) > 0 {
		fmt.Fprintln(r.out, "tests that need root run with: sudo make system")
	}
}
