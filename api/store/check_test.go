package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	radix "github.com/hashicorp/go-immutable-radix/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tunbridge/tunbridge/api/model"
)

// Whatever somebody does to the truth by hand, Check names it, with the rows that it concerns; and nothing once it is
// undone.
func TestCheckNamesWhatIsBroken(t *testing.T) {
	place := externalPlace(t)
	client := etcdClient(t, externalEtcd(t))
	s := place.open(t)

	a, b := newNetwork(7), newNetwork(8)
	subnet, plain := newSubnet(a, "10.0.0.0/24"), newSubnet(a, "10.0.1.0/24")
	plain.EnableDHCP = false
	pool := &model.SubnetPool{Common: model.Common{ID: uuid.New()}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
	cut := newSubnet(b, "10.9.0.0/24")
	cut.SubnetPoolID = pool.ID
	cut.AllocationPools = []model.Pool{{Start: ip("10.9.0.2"), End: ip("10.9.0.254")}}
	port, other, dhcp := newPort(a, 1), newPort(a, 2), newPort(a, 3)
	port.FixedIPs, other.FixedIPs, dhcp.FixedIPs = fixed(subnet, ip("10.0.0.5")), fixed(subnet, ip("10.0.0.6")), fixed(subnet, ip("10.0.0.2"))
	port.HostID, dhcp.DeviceOwner = "h1", model.OwnerDHCP
	binding := &model.Binding{PortID: port.ID, NetworkID: a.ID, Host: "h2"}
	policy := &model.RBACPolicy{ID: uuid.New(), ObjectType: "network", ObjectID: b.ID, Action: model.AccessAsShared, TargetTenant: "other"}
	hosts := []*model.Host{{ID: "one", Hostname: "h1"}, {ID: "two", Hostname: "h2"}}
	update(t, s, func(tx *Tx) error {
		return first(tx.PutNetwork(a), tx.PutNetwork(b), tx.PutSubnetPool(pool), tx.PutSubnet(subnet), tx.PutSubnet(plain), tx.PutSubnet(cut),
			tx.PutPort(port), tx.PutPort(other), tx.PutPort(dhcp), tx.PutBinding(binding), tx.PutRBACPolicy(policy), tx.PutHost(hosts[0]), tx.PutHost(hosts[1]))
	})
	checked(t, s)

	stored := func(n tableNumber, value any) (key string, text any) {
		return rowKey(tables[n], tables[n].key(value)), value
	}
	portWith := func(p *model.Port, change func(*model.Port)) (string, any) {
		copied := *p
		change(&copied)
		return stored(ports, &copied)
	}
	subnetWith := func(of *model.Subnet, change func(*model.Subnet)) (string, any) {
		copied := *of
		change(&copied)
		return stored(subnets, &copied)
	}
	type edit struct {
		key   string
		value any // to be stored as JSON; a string as it is; nil: deleted
	}
	put := func(key string, value any) []edit { return []edit{{key, value}} }
	id := func(ids ...fmt.Stringer) (text []string) {
		for _, id := range ids {
			text = append(text, id.String())
		}
		return text
	}
	address := func(ip string) string { return uniqRoot + addressKey(subnet.ID, netip.MustParseAddr(ip)) }
	stray := uuid.New()
	for _, c := range []struct {
		what  string
		edits []edit
		want  []string // in one of the errors
	}{
		{"a table of nobody", put(rowRoot+"flavor/1", "{}"), []string{"flavor/1", "no such table"}},
		{"what cannot be read", put(rowKey(tables[networks], a.ID.String()), "{"), []string{"network/" + a.ID.String(), "the store {"}},
		{"what never could be read", put(rowKey(tables[networks], stray.String()), "{"), []string{stray.String(), "not in the snapshot"}},
		{"a row under the key of another", put(rowKey(tables[networks], stray.String()), b), []string{stray.String(), "own key is " + b.ID.String()}},

		{"a port without its network", put(rowKey(tables[networks], a.ID.String()), nil), id(port.ID, a.ID)},
		{"a port without its subnet", put(rowKey(tables[subnets], subnet.ID.String()), nil), id(port.ID, subnet.ID)},
		{"a binding without its port", put(rowKey(tables[ports], port.ID.String()), nil), append(id(port.ID), "binding")},
		{"a subnet without its pool", put(rowKey(tables[subnetPools], pool.ID.String()), nil), id(cut.ID, pool.ID)},
		{"a policy without its network", put(rowKey(tables[networks], b.ID.String()), nil), id(policy.ID, b.ID)},

		{"a unique key that is lost", put(address("10.0.0.5"), nil), append(id(port.ID), "10.0.0.5", "no unique key is kept")},
		{"a unique key of nobody", put(address("10.0.0.99"), port.ID.String()), append(id(port.ID), "10.0.0.99", "does not have it")},
		{"a unique key of another", put(uniqRoot+macKey(a.ID, port.MACAddress), other.ID.String()), append(id(port.ID, other.ID), "but")},
		{"two ports with an address", put(portWith(other, func(p *model.Port) { p.FixedIPs = port.FixedIPs })), append(id(port.ID, other.ID), "10.0.0.5", "had by")},
		{"two ports with a MAC", put(portWith(other, func(p *model.Port) { p.MACAddress = port.MACAddress })), append(id(port.ID, other.ID), port.MACAddress.String(), "had by")},
		{"two networks with a segment", put(stored(networks, &model.Network{Common: b.Common, Segment: a.Segment})), append(id(a.ID, b.ID), "segment/vxlan", "had by")},
		{"two hosts with a name", put(stored(tableNamed("host").number, &model.Host{ID: "two", Hostname: "h1"})), []string{"hostname/h1", "one", "two"}},

		{"an address outside", put(portWith(port, func(p *model.Port) { p.FixedIPs = fixed(subnet, ip("10.0.7.5")) })), append(id(port.ID, subnet.ID), "10.0.7.5", "outside of 10.0.0.0/24")},
		{"an address of another network", put(portWith(port, func(p *model.Port) { p.FixedIPs = fixed(cut, ip("10.9.0.5")) })), append(id(port.ID, a.ID, b.ID), "10.9.0.5")},
		{"DHCP of a subnet without", put(portWith(dhcp, func(p *model.Port) { p.FixedIPs = fixed(plain, ip("10.0.1.2")) })), append(id(dhcp.ID, plain.ID), "has no DHCP")},
		{"subnets that overlap", put(subnetWith(plain, func(s *model.Subnet) { s.CIDR = netip.MustParsePrefix("10.0.0.128/25") })), append(id(subnet.ID, plain.ID, a.ID), "overlap")},
		{"an allocation pool outside", put(subnetWith(cut, func(s *model.Subnet) { s.AllocationPools = []model.Pool{{Start: ip("10.9.0.2"), End: ip("10.9.1.2")}} })), append(id(cut.ID), "10.9.1.2", "not inside")},
		{"a subnet outside of its pool", put(stored(subnetPools, &model.SubnetPool{Common: pool.Common, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}})), append(id(cut.ID, pool.ID), "not inside")},
		{"a binding of another network", put(stored(bindings, &model.Binding{PortID: port.ID, NetworkID: b.ID, Host: "h2"})), id(port.ID, a.ID, b.ID)},
		{"two bindings to a host", put(portWith(port, func(p *model.Port) { p.HostID = "h2" })), append(id(port.ID), "h2")},
	} {
		var undo []clientv3.Op
		for _, e := range c.edits {
			was, err := client.Get(t.Context(), e.key)
			if err != nil {
				t.Fatal(err)
			}
			if len(was.Kvs) > 0 {
				undo = append(undo, clientv3.OpPut(e.key, string(was.Kvs[0].Value)))
			} else {
				undo = append(undo, clientv3.OpDelete(e.key))
			}
			text, plain := e.value.(string)
			if !plain {
				encoded, err := json.Marshal(e.value)
				if err != nil {
					t.Fatal(err)
				}
				text = string(encoded)
			}
			if e.value == nil {
				_, err = client.Delete(t.Context(), e.key)
			} else {
				_, err = client.Put(t.Context(), e.key, text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		named(t, s, c.what, c.want)
		for _, op := range undo {
			if _, err := client.Do(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
		// A snapshot was not made for rows that contradict each other, and is not believed after them.
		s.Close()
		s = place.open(t)
		if broken := s.Check(t.Context()); broken != nil {
			t.Fatalf("%s: undone, and still: %v", c.what, broken)
		}
	}

	// What the snapshot has beside its rows is not in the truth.
	whole := s.Snapshot()
	r, _ := whole.state.row(ports, port.ID.String())
	for _, c := range []struct {
		what  string
		spoil func(*state)
		want  []string
	}{
		{"an index entry too many", func(s *state) { s.index, _, _ = s.index.Insert([]byte("port-on/h9/x"), r) }, append(id(port.ID), "indexes", "port-on/h9/x")},
		{"an index entry too few", func(s *state) { s.index, _, _ = s.index.Delete([]byte(portsOnPrefix("h1") + port.ID.String())) }, []string{"indexes", "the rows call for"}},
		{"a unique key too many", func(s *state) { s.unique, _, _ = s.unique.Insert([]byte("mac/x"), r) }, append(id(port.ID), "mac/x")},
		{"a wrong count", func(s *state) { s.counts, _, _ = s.counts.Insert([]byte(countKey("port", "")), 99) }, []string{"port/", "counted as 99"}},
		{"a network without a revision", func(s *state) { s.networks, _, _ = s.networks.Delete([]byte(a.ID.String())) }, append(id(a.ID), "has no revision")},
		{"a row too few", func(s *state) { s.rows[ports], _, _ = s.rows[ports].Delete([]byte(port.ID.String())) }, append(id(port.ID), "not in the snapshot")},
		{"a row too many", func(s *state) { s.rows[ports], _, _ = s.rows[ports].Insert([]byte("x"), r) }, []string{"the snapshot has", "rows, the store"}},
		{"rows that are gone", func(s *state) { s.rows[ports] = radix.New[*row]() }, append(id(port.ID), "not in the snapshot")},
	} {
		spoilt := *whole.state
		c.spoil(&spoilt)
		s.snapshot.Store(&Snapshot{Tables{state: &spoilt}})
		named(t, s, c.what, c.want)
		s.snapshot.Store(whole)
	}
	checked(t, s)
}

// named waits until Check says all the words in one error.
func named(t *testing.T, s *Store, what string, words []string) {
	t.Helper()
	var broken []error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		broken = s.Check(t.Context())
	errors:
		for _, err := range broken {
			for _, w := range words {
				if !strings.Contains(err.Error(), w) {
					continue errors
				}
			}
			return
		}
	}
	t.Errorf("%s: no error has %q of %v", what, words, broken)
}
