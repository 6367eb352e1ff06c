package api

import (
	"maps"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tunbridge/tunbridge/api/store"
)

// Every request is counted once, under its route and its answer's status: whatever is asked for, there are
// no more series than these.
func TestMetrics(t *testing.T) {
	st := store.OpenMemory()
	t.Cleanup(func() { st.Close() })
	s := New(Options{Store: st})
	for _, r := range []string{"GET /v2.0/networks", "GET /v2.0/networks.json?name=x", "GET /v2.0/networks/none", "GET /v2.0/nothing", "GET /nothing", "BREW /v2.0/networks", "PATCH /v2.0/networks/none"} {
		method, path, _ := strings.Cut(r, " ")
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += " " + l.GetName() + "=" + l.GetValue()
			}
			got[key] = m.GetHistogram().GetSampleCount()
		}
	}
	const name = "tunbridge_api_request_duration_seconds route="
	want := map[string]uint64{name + "get_networks status=200": 2, name + "get_network status=404": 1, name + " status=404": 2, name + " status=405": 2}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
