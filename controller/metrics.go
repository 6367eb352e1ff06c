package controller

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tunbridge/tunbridge/flows"
)

var (
	metricHosts    = prometheus.NewDesc("tunbridge_hosts", "Hosts by state: connected with both sessions, connecting, away.", []string{"state"}, nil)
	metricCommits  = prometheus.NewDesc("tunbridge_host_commits_total", "Plans acknowledged by a host since it connected.", []string{"host"}, nil)
	metricRepairs  = prometheus.NewDesc("tunbridge_host_repairs_total", "Foreign changes undone on a host since it connected.", []string{"host"}, nil)
	metricRestarts = prometheus.NewDesc("tunbridge_host_switch_restarts_total", "Times a host's switch was found without its flows since it connected.", []string{"host"}, nil)
	metricFlows    = prometheus.NewDesc("tunbridge_host_flows", "Flows wanted on a bridge.", []string{"host", "bridge"}, nil)
	metricDropped  = prometheus.NewDesc("tunbridge_host_punts_dropped_total", "Punted packets of a host that nobody looked at: stale, its VIF is gone; rate, the port asked too often; queue, too much was waiting.", []string{"host", "reason"}, nil)
	metricTunnelUp = prometheus.NewDesc("tunbridge_tunnel_up", "1 while probes come back from a peer that a host shares an overlay network with.", []string{"host", "peer", "type"}, nil)
	metricRTT      = prometheus.NewDesc("tunbridge_tunnel_rtt_seconds", "Round trip through the tunnel to a peer, without the control channel's part.", []string{"host", "peer", "type"}, nil)
	metricError    = prometheus.NewDesc("tunbridge_host_error", "1 while a host is not in its wanted state.", []string{"host"}, nil)
)

// Describe lists the metrics.
func (c *Controller) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricHosts, metricCommits, metricRepairs, metricRestarts, metricFlows, metricDropped, metricError, metricTunnelUp, metricRTT} {
		ch <- d
	}
}

// Collect asks every loop.
func (c *Controller) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.mu.Lock()
	loops := make([]*host, 0, len(c.hosts))
	for _, h := range c.hosts {
		loops = append(loops, h)
	}
	c.mu.Unlock()
	states := map[string]int{"connected": 0, "connecting": 0, "away": -len(loops)}
	for range c.o.Store.Snapshot().Hosts() {
		states["away"]++
	}
	states["away"] = max(states["away"], 0)
	for _, h := range loops {
		_ = h.ask(ctx, func() {
			if h.row == nil {
				states["connecting"]++
				return
			}
			if h.connected() {
				states["connected"]++
			} else {
				states["connecting"]++
			}
			name := h.row.Hostname
			ch <- prometheus.MustNewConstMetric(metricCommits, prometheus.CounterValue, float64(h.commits), name)
			ch <- prometheus.MustNewConstMetric(metricRepairs, prometheus.CounterValue, float64(h.repairs), name)
			ch <- prometheus.MustNewConstMetric(metricRestarts, prometheus.CounterValue, float64(h.restarts), name)
			failing := 0.0
			if h.lastError != "" {
				failing = 1
			}
			ch <- prometheus.MustNewConstMetric(metricError, prometheus.GaugeValue, failing, name)
			for _, b := range flows.Bridges {
				ch <- prometheus.MustNewConstMetric(metricFlows, prometheus.GaugeValue, float64(h.compiler.Len(b)), name, b.String())
			}
			if l := h.links[flows.BrInt]; l != nil {
				for why, label := range puntDropNames {
					ch <- prometheus.MustNewConstMetric(metricDropped, prometheus.CounterValue, float64(l.dropped[why].Load()), name, label)
				}
			}
			for _, r := range h.probing.results() {
				up := 0.0
				if r.Alive {
					up = 1
				}
				ch <- prometheus.MustNewConstMetric(metricTunnelUp, prometheus.GaugeValue, up, name, r.Peer, r.Type)
				if r.RTT > 0 {
					ch <- prometheus.MustNewConstMetric(metricRTT, prometheus.GaugeValue, r.RTT.Seconds(), name, r.Peer, r.Type)
				}
			}
		})
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(metricHosts, prometheus.GaugeValue, float64(n), state)
	}
}
