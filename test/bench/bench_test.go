package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tunbridge-bench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = sync.OnceValues(func() (string, error) {
		binary := filepath.Join(dir, "tunbridge")
		return binary, build(context.Background(), binary)
	})
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// program is the program that is measured; built once, since that takes longer than to measure.
var program func() (binary string, err error)

// The bench itself, on a small system: every step ends, and flows are within their budget.
func TestRun(t *testing.T) {
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := size{Hosts: 3, Networks: 2, Ports: 12, Plugs: 3}
	f, err := run(t.Context(), s, binary, filepath.Join(t.TempDir(), "data"), "")
	if err != nil {
		t.Fatal(err)
	}
	if f.Wiring.Active <= 0 || f.Wiring.Acknowledged <= 0 || f.Wiring.PeakMiB < 1 || f.Wiring.Flows < s.Ports || f.Plug.FromReply.Min <= 0 {
		t.Errorf("figures are missing: %+v", f)
	}
	if f.Flows.Local < 1 || f.Flows.Local > float64(aim.Local) || f.Flows.Remote < 1 || f.Flows.Remote > float64(aim.Remote) {
		t.Errorf("%v flows for a local port and %v for a remote one, want at most %v and %v", f.Flows.Local, f.Flows.Remote, aim.Local, aim.Remote)
	}
	var table strings.Builder
	if err := print(&table, s, []figures{f, f}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "flows per local port") {
		t.Errorf("the table lacks a row:\n%s", &table)
	}
}

// What guests see of DHCP, measured on few of them: every step ends.
func TestRunDHCP(t *testing.T) {
	testbed.RequireRoot(t)
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	s := sizeDHCP{requests: 20, lasting: 300 * time.Millisecond, pairs: 1, boots: size{Hosts: 3, Networks: 2, Ports: 12}, within: 100 * time.Millisecond}
	if err := benchDHCP(t.Context(), &table, binary, t.TempDir(), s); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"one at a time, ms", "guests: 4", "p99 beside a flood, other host", "12 boots in 100ms"} {
		if !strings.Contains(table.String(), row) {
			t.Errorf("no %q in\n%s", row, &table)
		}
	}
}

// What guests see of the metadata service, measured on few of them: every step ends, and every request is
// answered.
func TestRunMetadata(t *testing.T) {
	testbed.RequireRoot(t)
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := benchMetadata(t.Context(), &table, binary, t.TempDir(), sizeMetadata{guests: 3, booting: []int{2, 4}, requests: 5, boot: 5, within: 20 * time.Millisecond, lasting: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"one guest", "2 guests boot at once, 5 requests each", "4 guests boot within 20ms, 5 requests each", "from Nova", "requests per second, 3 guests, new connections"} {
		if !strings.Contains(table.String(), row) {
			t.Errorf("no %q in\n%s", row, &table)
		}
	}
}

// The API, measured with few requests: every step ends, and each has its row.
func TestRunAPI(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "tunbridge")
	if err := build(t.Context(), binary); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := benchAPI(t.Context(), &table, binary, dir, sizeAPI{ports: 5, lists: 2, clients: 2, each: 3, bulks: 1}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"POST of a port", "2 clients", "bulk of 100", "PUT of a name", "DELETE of a port", "GET of 5 ports"} {
		if !strings.Contains(table.String(), row) {
			t.Errorf("no %q in\n%s", row, &table)
		}
	}
}

func TestSpread(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i)*time.Millisecond)
	}
	if got, want := spreadOf(all), (spread{Min: 1, Median: 50, P99: 99}); got != want {
		t.Errorf("of 1 to 100 ms: %+v, want %+v", got, want)
	}
	if got, want := spreadOf(all[:1]), (spread{Min: 100, Median: 100, P99: 100}); got != want {
		t.Errorf("of one: %+v, want %+v", got, want)
	}
}

// Every host gets every network, and as many ports as any other, but for one.
func TestPlace(t *testing.T) {
	s := size{Hosts: 30, Networks: 10, Ports: 1000}
	ports := make([]int, s.Hosts)
	pairs := map[[2]int]bool{}
	for i := range s.Ports {
		host, network := s.place(i)
		ports[host]++
		pairs[[2]int{host, network}] = true
	}
	if len(pairs) != s.Hosts*s.Networks || slices.Max(ports)-slices.Min(ports) > 1 {
		t.Errorf("%d pairs of host and network, ports per host %v", len(pairs), ports)
	}
}
