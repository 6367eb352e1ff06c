// Package ovsdb is the controller's side of a conversation with one host's
// ovsdb-server: a mirror of the few tables the controller reads, and
// transactions that turn what is there into what is wanted.
//
// # The walk
//
// A [Session] takes a net.Conn, accepted from a host that ran `ovs-vsctl
// set-manager` or dialled to a ptcp:, pssl: or punix: remote; from then on both
// are the same (RFC 7047 is symmetric). Bytes become messages in frame.go, are
// read in place by the cursor of json.go and dispatched in session.go. A
// `monitor_cond_since` reply or an `update3` notification (ovsdb-server(7))
// is applied by table.go to the typed rows of rows.go, and each batch becomes a
// new immutable [Mirror]: readers hold a pointer, nothing is ever locked, and
// [Mirror.Changed] says when a newer one exists. [Mirror.Plan] compares a
// mirror with a [Wanted] and gives the operations of one transaction, which
// [Session.Transact] commits.
//
//	s := ovsdb.New(conn, ovsdb.Options{})
//	defer s.Close()
//	if err := s.Start(ctx); err != nil { … }
//	for {
//		m := s.Mirror()
//		if _, err := s.Transact(ctx, m.Plan(wanted)...); err != nil { … }
//		select {
//		case <-m.Changed():
//		case <-s.Done():
//			return s.Err()
//		}
//	}
//
// # What holds
//
// One goroutine reads; a second exists only while there is something to write.
// Neither waits for anybody but the peer, and the peer's time is bounded by
// [Options]. When Transact returns, Mirror already holds its effect. The mirror
// is always one that the database had after some transaction, never half of
// one. What the peer sends is never trusted: size, nesting, types and order are
// checked, and a violation ends this session, with the reason in
// [Session.Err], and nothing else.
//
// There is no reconnecting here and no resuming: a stand-alone ovsdb-server
// keeps no transaction history (it answers every monitor_cond_since with
// found=false), so a new session starts with a full mirror.
//
// # Cost
//
// Per host with 100 VIFs, over 200 sessions to a real ovsdb-server: 157 KiB of
// heap and stack (TestHeapPerHost, which fails above 250 KiB). On one 2.8 GHz
// core, from `go test -bench . ./ovsdb`:
//
//	Start, ovsdb-server's share included   4.6 ms
//	of it ours: decode and apply 78 kB     1.3 ms   2,082 allocations
//	one VIF's update                       5.4 µs      11 allocations
//	Plan with nothing to do                 27 µs      58 allocations
//
// Start reading at session.go.
package ovsdb
