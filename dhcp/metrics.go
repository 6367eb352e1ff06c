package dhcp

import "github.com/prometheus/client_golang/prometheus"

var (
	metricRequests = prometheus.NewDesc("tunbridge_dhcp_requests_total", "Well-formed requests of guests, by type.", []string{"type"}, nil)
	metricAnswers  = prometheus.NewDesc("tunbridge_dhcp_answers_total", "Answers to guests, by type.", []string{"type"}, nil)
	metricSilent   = prometheus.NewDesc("tunbridge_dhcp_silent_total", "Requests that got no answer, by reason.", []string{"reason"}, nil)
	metricOmitted  = prometheus.NewDesc("tunbridge_dhcp_options_omitted_total", "Options of extra_dhcp_opts that could not be encoded, and options that did not fit an answer.", nil, nil)
)

var _ prometheus.Collector = (*Server)(nil)

// Describe lists the metrics.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricRequests, metricAnswers, metricSilent, metricOmitted} {
		ch <- d
	}
}

// Collect reads the counters.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	c := s.Counts()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for m := Discover; m < messageTypes; m++ {
		switch m {
		case Discover, Request, Decline, Release, Inform:
			counter(metricRequests, c.Requests[m], m.String())
		default:
			counter(metricAnswers, c.Answers[m], m.String())
		}
	}
	for m := V6Solicit; m < v6Messages; m++ {
		switch {
		case m.fromClient():
			counter(metricRequests, c.V6.Requests[m], "DHCPv6 "+m.String())
		case m == V6Advertise || m == V6Reply:
			counter(metricAnswers, c.V6.Answers[m], "DHCPv6 "+m.String())
		}
	}
	counter(metricRequests, c.V6.Solicitations, "router solicitation")
	counter(metricAnswers, c.V6.Advertisements, "router advertisement")
	for reason, v := range c.Silent {
		counter(metricSilent, v, Silence(reason).Name())
	}
	counter(metricOmitted, c.Omitted)
}
