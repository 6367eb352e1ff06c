package store

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/tunbridge/tunbridge/api/model"
)

// Any transactions do the same to a store in memory, to one in etcd, and to a replica that only
// watches; opening anew shows the same rows; and nothing breaks an invariant, also when two
// replicas write at once.
func TestRandomTransactions(t *testing.T) {
	endpoint := externalEtcd(t)
	client := etcdClient(t, endpoint)
	replica := func() *Store {
		s, err := open(t.Context(), &etcd{client: client, ttl: 10 * time.Second, stop: func() error { return nil }}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rapid.Check(t, func(rt *rapid.T) {
		if _, err := client.Delete(t.Context(), root, clientv3.WithPrefix()); err != nil {
			rt.Fatal(err)
		}
		memory, writer, watcher := OpenMemory(), replica(), replica()
		stores := map[string]*Store{"memory": memory, "writer": writer, "watcher": watcher}
		defer func() {
			for _, s := range stores {
				s.Close()
			}
		}()
		for _, f := range drawTransactions(rt, "alone", 12) {
			_, inMemory := memory.Update(t.Context(), f)
			_, inEtcd := writer.Update(t.Context(), f)
			if fmt.Sprint(inMemory) != fmt.Sprint(inEtcd) {
				rt.Fatalf("memory says %v, etcd %v", inMemory, inEtcd)
			}
		}
		stores["anew"] = replica()
		agree(rt, stores)

		delete(stores, "memory")
		memory.Close()
		var all sync.WaitGroup
		for i, s := range []*Store{writer, watcher, writer, watcher} {
			fs := drawTransactions(rt, fmt.Sprint("at once ", i), 4)
			all.Go(func() {
				for _, f := range fs {
					s.Update(t.Context(), f)
				}
			})
		}
		all.Wait()
		agree(rt, stores)
	})
}

// agree checks that the stores have the same rows and nothing broken.
func agree(rt *rapid.T, stores map[string]*Store) {
	var want map[string]any
	for name, s := range stores {
		if err := s.ReadIndex(context.Background()); err != nil {
			rt.Fatal(err)
		}
		got := content(s.Snapshot())
		if want == nil {
			want = got
		}
		if !reflect.DeepEqual(got, want) {
			rt.Errorf("%s has %v, another %v", name, got, want)
		}
		for _, broken := range s.Check(context.Background()) {
			rt.Errorf("%s: %v", name, broken)
		}
	}
}

func drawTransactions(rt *rapid.T, label string, most int) (all []func(*Tx) error) {
	for range rapid.IntRange(1, most).Draw(rt, label) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 6).Draw(rt, "steps")
		all = append(all, func(tx *Tx) error {
			for _, step := range steps {
				if err := step.do(tx); err != nil && !step.lenient {
					return err
				}
			}
			return nil
		})
	}
	return all
}

// content is every row of a snapshot.
func content(s *Snapshot) map[string]any {
	rows := map[string]any{}
	for n := range tables {
		for key, r := range walk(s.state.rows[n]) {
			rows[rowKey(tables[n], key)] = r.value
		}
	}
	return rows
}

// step is one thing that a random transaction does.
type step struct {
	name    string
	lenient bool // its error does not end the transaction
	do      func(*Tx) error
}

func (s step) String() string { return s.name }

// drawStep draws from so few objects that they get into each other's way all the time.
func drawStep(t *rapid.T) step {
	id := func(kind byte, n int) uuid.UUID { return uuid.UUID{kind, 15: byte(n)} }
	small := func(label string) int { return rapid.IntRange(0, 2).Draw(t, label) }
	network, subnet, port, n := id('n', small("network")), id('s', small("subnet")), id('p', small("port")), small("n")
	s := step{lenient: rapid.Bool().Draw(t, "lenient")}
	switch what := rapid.IntRange(0, 11).Draw(t, "what"); what {
	case 0, 1:
		s.name = fmt.Sprintf("put network %v vni %d", network, n)
		s.do = func(tx *Tx) error {
			row := &model.Network{Segment: model.Segment{NetworkType: "vxlan", SegmentationID: uint32(n)}}
			row.ID = network
			return tx.PutNetwork(row)
		}
	case 2, 3:
		s.name = fmt.Sprintf("put subnet %v", subnet)
		s.do = func(tx *Tx) error {
			// A subnet keeps its network and CIDR for life; two of them cannot both be.
			row := &model.Subnet{NetworkID: id('n', int(subnet[15])/2), IPVersion: 4, EnableDHCP: true, CIDR: netip.MustParsePrefix("10.0.0.0/24")}
			row.ID = subnet
			row.Name = fmt.Sprint(n)
			return tx.PutSubnet(row)
		}
	case 4, 5, 6:
		s.name = fmt.Sprintf("put port %v of %v on h%d with an address of %v", port, network, n, subnet)
		s.do = func(tx *Tx) error {
			row := &model.Port{NetworkID: network, MACAddress: model.MAC{2, 5: byte(n)}, HostID: fmt.Sprint("h", n)}
			row.ID = port
			if of, ok := tx.Subnet(subnet); ok && of.NetworkID == network {
				row.FixedIPs = fixed(of, of.CIDR.Addr().Next())
			}
			if n == 2 {
				row.DeviceOwner, row.DeviceID = model.OwnerDHCP, "dhcp"
			}
			return tx.PutPort(row)
		}
	case 7:
		s.name = fmt.Sprintf("put claim of %v", port)
		s.do = func(tx *Tx) error { return tx.PutClaim(&model.Claim{PortID: port, Host: fmt.Sprint("h", n)}) }
	case 8:
		s.name = fmt.Sprintf("delete network %v", network)
		s.do = func(tx *Tx) error { return tx.DeleteNetwork(network) }
	case 9:
		s.name = fmt.Sprintf("delete subnet %v", subnet)
		s.do = func(tx *Tx) error { return tx.DeleteSubnet(subnet) }
	case 10:
		s.name = fmt.Sprintf("delete port %v", port)
		s.do = func(tx *Tx) error { return tx.DeletePort(port) }
	case 11:
		s.name = fmt.Sprintf("delete claim of %v", port)
		s.do = func(tx *Tx) error { return tx.DeleteClaim(port) }
	}
	return s
}
