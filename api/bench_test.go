package api

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/store"
)

// crowd is a server with a network of that many ports, on the store in memory.
func crowd(b *testing.B, ports int) (*Server, string) {
	b.Helper()
	st := store.OpenMemory()
	b.Cleanup(func() { st.Close() })
	s := New(Options{Store: st, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ask(b, s, "POST", "/v2.0/networks", `{"network":{}}`)
	var network string
	for n := range st.Snapshot().Networks() {
		network = n.ID.String()
	}
	ask(b, s, "POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.0.0.0/8"}}`, network))
	for range ports / 100 {
		item := fmt.Sprintf(`{"network_id":%q}`, network)
		ask(b, s, "POST", "/v2.0/ports", `{"ports":[`+strings.Repeat(item+",", 99)+item+`]}`)
	}
	return s, network
}

func ask(b *testing.B, s *Server, method, path, body string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code >= 300 {
		b.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

func BenchmarkListPorts(b *testing.B) {
	s, network := crowd(b, 1000)
	for name, path := range map[string]string{
		"all":     "/v2.0/ports",
		"network": "/v2.0/ports?network_id=" + network + "&fields=id",
		"device":  "/v2.0/ports?device_id=nobody",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ask(b, s, "GET", path, "")
			}
		})
	}
}

func BenchmarkCreatePort(b *testing.B) {
	s, network := crowd(b, 1000)
	body := fmt.Sprintf(`{"port":{"network_id":%q}}`, network)
	b.ReportAllocs()
	for b.Loop() {
		ask(b, s, "POST", "/v2.0/ports", body)
	}
}
