package dhcp

import (
	"fmt"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/prometheus/client_golang/prometheus"
)

// Every request, answer and silence is in the metrics, by name.
func TestMetrics(t *testing.T) {
	s := New(Options{})
	mustAsk(t, s, punt(), message(t, dhcpv4.MessageTypeDiscover))
	mustAsk(t, s, punt(), message(t, dhcpv4.MessageTypeRequest, withRequested("10.0.0.6")))
	_, _ = ask(t, s, punt(), message(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(otherMAC[:])))
	_ = s.Handle(punt(), nil)

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got, series := map[string]float64{}, 0
	for _, f := range families {
		for _, m := range f.Metric {
			series++
			label := ""
			for _, l := range m.Label {
				label = l.GetValue()
			}
			if v := m.Counter.GetValue(); v != 0 {
				got[f.GetName()+" "+label] = v
			}
		}
	}
	want := map[string]float64{
		"tunbridge_dhcp_requests_total DHCPDISCOVER": 2,
		"tunbridge_dhcp_requests_total DHCPREQUEST":  1,
		"tunbridge_dhcp_answers_total DHCPOFFER":     1,
		"tunbridge_dhcp_answers_total DHCPNAK":       1,
		"tunbridge_dhcp_silent_total wrong_hardware": 1,
		"tunbridge_dhcp_silent_total malformed":      1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || series != 14+6+int(silences)+1 {
		t.Errorf("%d series, of which %v, want %v", series, got, want)
	}
}
