package api

import (
	"maps"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tunbridge/tunbridge/api/store"
)

// Every request is counted once, under its route and its answer's status.
func TestMetrics(t *testing.T) {
	st := store.OpenMemory()
	t.Cleanup(func() { st.Close() })
	s := New(Options{Store: st})
	for _, path := range []string{"/v2.0/networks", "/v2.0/networks.json?name=x", "/v2.0/networks/none", "/v2.0/nothing", "/nothing"} {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
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
	want := map[string]uint64{name + "get_networks status=200": 2, name + "get_network status=404": 1, name + " status=404": 2}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
