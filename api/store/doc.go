// Package store holds the tables: what the API was asked for, where VIFs are, and what is seen of
// them. The truth is in etcd (embedded, or a cluster of its own) or, for tests and dry labs, in
// memory; reads come from immutable snapshots in memory.
//
// One etcd key holds one row as JSON, and one key each value that must be unique:
//
//	/tunbridge/schema                              version of this layout
//	/tunbridge/incarnation                         when it was made, in 24 bits
//	/tunbridge/replica/<uuid>                      one per running process, on its lease
//	/tunbridge/row/<table>/<id>                    a row
//	/tunbridge/uniq/ip/<subnet>/<ip>               the id of the port that has the address
//	/tunbridge/uniq/mac/<network>/<mac>            … the MAC
//	/tunbridge/uniq/segment/<type>/<physnet>/<id>  the network that has the segment
//	/tunbridge/uniq/cidr/<network>/<cidr>          the subnet
//	/tunbridge/uniq/pool/<subnet pool>/<cidr>      the subnet that was cut from the pool
//	/tunbridge/uniq/default-pool/<4 or 6>          the default subnet pool
//	/tunbridge/uniq/rbac/<network>/<action>/<project>  the policy that says so
//	/tunbridge/uniq/dhcp/<network>                 the network's DHCP port
//	/tunbridge/uniq/hostname/<hostname>            the host
//
// The way of a write: [Store.Update] runs a function on a [Tx], which is a private copy of the
// newest snapshot that remembers what was read. The commit is one etcd transaction: it compares
// the revision of every row that was read or written, that new unique keys do not exist yet and
// that nothing was added under a listed prefix; then it writes rows and unique keys. If a compare
// fails the function runs again on a newer snapshot. Commits of many goroutines are under way at
// once; etcd puts them into one fsync.
//
// The way back: every revision of the cluster, our own or another replica's, is applied to the
// snapshot in its order (apply.go), from the answer of our own transaction or from the watch,
// whichever is first. Update returns when its revision is in the snapshot.
//
// Read tables.go first: it declares every table with its unique keys, indexes and references.
// Then tx.go, apply.go, and the two backends, memory.go and etcd.go.
package store
