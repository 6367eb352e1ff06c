package metadata

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	metricAnswers = prometheus.NewDesc("tunbridge_metadata_answers_total", "Answers to machines, by HTTP status.", []string{"status"}, nil)
	metricRefused = prometheus.NewDesc("tunbridge_metadata_connections_refused_total", "Connections closed since their port had too many open.", nil, nil)
	metricSilent  = prometheus.NewDesc("tunbridge_metadata_silent_total", "Packets that were dropped, by reason.", []string{"reason"}, nil)
)

var _ prometheus.Collector = (*Server)(nil)

// Describe lists the metrics.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricAnswers, metricRefused, metricSilent} {
		ch <- d
	}
}

// Collect reads the counters.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	c := s.Counts()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for status, v := range c.Answers {
		counter(metricAnswers, v, strconv.Itoa(status))
	}
	counter(metricRefused, c.Refused)
	for reason, v := range c.Silent {
		counter(metricSilent, v, Silence(reason).Name())
	}
}
