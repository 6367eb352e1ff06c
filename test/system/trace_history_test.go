package system

import (
	"slices"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// agrees compares where `tunbridge trace` brings a frame with where ofproto/trace does. The packets differ:
// what matters is from whom and to which MAC address.
func (w *world) agrees(from *planned, toMAC string, want []string) {
	w.t.Helper()
	got := w.follow(inspect.TraceQuery{Source: from.ID, Destination: toMAC})
	if at := arrivals(&got); !slices.Equal(at, want) {
		w.t.Fatalf("%s network: from port %s on %s to %s: trace arrives at %q, the switches say %q: %s", from.network.networkType, from.ID, from.Host, toMAC, at, want, got.Verdict)
	}
}
