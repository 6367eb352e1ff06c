package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// newDurations makes the metric of all requests: how many, by route and status, and how long they took.
// The route is the policy's rule, such as create_network; that of a request for nothing that is served is "".
func newDurations() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tunbridge_api_request_duration_seconds",
		Help:    "Requests to the REST API, by the policy's rule and the answer's status.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
	}, []string{"route", "status"})
}

// Describe lists the server's metrics.
func (s *Server) Describe(ch chan<- *prometheus.Desc) { s.durations.Describe(ch) }

// Collect reads them.
func (s *Server) Collect(ch chan<- prometheus.Metric) { s.durations.Collect(ch) }

// observe counts one request.
func (s *Server) observe(a *answer, took time.Duration) {
	s.durations.WithLabelValues(a.route, strconv.Itoa(a.status)).Observe(took.Seconds())
}
