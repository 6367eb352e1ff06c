// Package flows is the pipeline: which tables and register fields exist on br-int and br-tun, what a
// flow is and who owns it, what a host's compiler is shown (View), and how the wanted state is
// compared with what a switch holds.
//
//	View ── Feature.Compile ──▶ Emitter ──▶ State (wanted, per bridge) ──┐
//	                                                                     ├─▶ Plan ──▶ messages
//	flow dump ──────────── State.Installed ─────────────────────────────┘
//
// Everything here is a pure function of immutable data; nothing here talks to a switch.
//
// Read pipeline.go first (the tables, one line each), then fields.go (the registers), view.go (what a
// feature sees), emit.go (how it says what it wants) and plan.go (what is sent).
package flows
