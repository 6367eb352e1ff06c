package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// lab is a store in memory with one network.
type lab struct {
	*testing.T
	store   *store.Store
	network *model.Network
	made    int
}

func newLab(t *testing.T) *lab {
	l := &lab{T: t, store: store.OpenMemory(), network: &model.Network{}}
	t.Cleanup(func() {
		for _, err := range l.store.Check(t.Context()) {
			t.Error(err)
		}
		l.store.Close()
	})
	l.network.ID = uuid.New()
	l.update(func(tx *store.Tx) error { return tx.PutNetwork(l.network) })
	return l
}

func (l *lab) update(f func(*store.Tx) error) {
	l.Helper()
	if _, err := l.store.Update(l.Context(), f); err != nil {
		l.Fatal(err)
	}
}

// subnet makes one; pools are "first-last".
func (l *lab) subnet(cidr, gateway string, pools ...[2]string) *model.Subnet {
	l.Helper()
	s := &model.Subnet{NetworkID: l.network.ID, CIDR: netip.MustParsePrefix(cidr), EnableDHCP: true, IPVersion: 4}
	s.ID = uuid.New()
	l.made++
	s.CreatedAt = time.Unix(int64(l.made), 0).UTC()
	if s.CIDR.Addr().Is6() {
		s.IPVersion = 6
	}
	if gateway != "" {
		s.GatewayIP = netip.MustParseAddr(gateway)
	}
	for _, p := range pools {
		s.AllocationPools = append(s.AllocationPools, model.Pool{Start: netip.MustParseAddr(p[0]), End: netip.MustParseAddr(p[1])})
	}
	l.update(func(tx *store.Tx) error { return tx.PutSubnet(s) })
	return s
}

// port creates one as the API does, with the fixed_ips of a request; nil requests nothing.
func (l *lab) port(requested []Request) (*model.Port, error) {
	port := &model.Port{NetworkID: l.network.ID}
	port.ID = uuid.New()
	_, err := l.store.Update(l.Context(), func(tx *store.Tx) (err error) {
		if port.MACAddress, err = MAC(tx, l.network.ID); err != nil {
			return err
		}
		port.FixedIPs = nil
		if requested == nil {
			port.FixedIPs, err = DefaultIPs(tx, port)
		} else {
			port.FixedIPs, err = FixedIPs(tx, port, requested)
		}
		if err != nil {
			return err
		}
		return tx.PutPort(port)
	})
	return port, err
}

// A /24 with a pool of all its 254 addresses gives 254, one after the other or all at once, and
// then says that none is left; what is freed is given again.
func TestExhaustion(t *testing.T) {
	for _, goroutines := range []int{1, 64} {
		t.Run(fmt.Sprint(goroutines, " at once"), func(t *testing.T) {
			l := newLab(t)
			subnet := l.subnet("10.0.0.0/24", "", [2]string{"10.0.0.1", "10.0.0.254"})
			var made, exhausted atomic.Int32
			tickets := make(chan int)
			var all sync.WaitGroup
			for range goroutines {
				all.Go(func() {
					for range tickets {
						_, err := l.port(nil)
						switch {
						case err == nil:
							made.Add(1)
						case errors.Is(err, ErrExhausted):
							exhausted.Add(1)
						default:
							t.Error(err)
						}
					}
				})
			}
			for i := range 300 {
				tickets <- i
			}
			close(tickets)
			all.Wait()
			if made.Load() != 254 || exhausted.Load() != 46 {
				t.Fatalf("%d of 300 got an address, %d were told that none is left", made.Load(), exhausted.Load())
			}
			freed, _ := l.store.Snapshot().PortByIP(subnet.ID, netip.MustParseAddr("10.0.0.77"))
			l.update(func(tx *store.Tx) error { return tx.DeletePort(freed.ID) })
			again, err := l.port(nil)
			if err != nil {
				t.Fatal(err)
			}
			if ip := again.FixedIPs[0].IPAddress; ip.String() != "10.0.0.77" {
				t.Errorf("the one free address is 10.0.0.77, given was %s", ip)
			}
		})
	}
}

func TestAddressesComeFromPools(t *testing.T) {
	l := newLab(t)
	l.subnet("10.0.0.0/24", "10.0.0.11", [2]string{"10.0.0.10", "10.0.0.12"}, [2]string{"10.0.0.20", "10.0.0.20"})
	var got []string
	for range 3 {
		port, err := l.port(nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, port.FixedIPs[0].IPAddress.String())
	}
	slices.Sort(got)
	if want := []string{"10.0.0.10", "10.0.0.12", "10.0.0.20"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v: the pools without the gateway", got, want)
	}
	if _, err := l.port(nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("a fourth: %v", err)
	}
}

func TestMACs(t *testing.T) {
	l := newLab(t)
	seen := map[model.MAC]bool{}
	for range 100 {
		port, err := l.port([]Request{})
		if err != nil {
			t.Fatal(err)
		}
		if mac := port.MACAddress; mac[0] != 0xfa || mac[1] != 0x16 || mac[2] != 0x3e || seen[mac] {
			t.Fatalf("MAC %x", mac)
		}
		seen[port.MACAddress] = true
		if len(port.FixedIPs) != 0 {
			t.Errorf("an empty list of addresses gave %v", port.FixedIPs)
		}
	}
}

func TestFixedIPs(t *testing.T) {
	l := newLab(t)
	a := l.subnet("10.0.0.0/24", "10.0.0.1", [2]string{"10.0.0.5", "10.0.0.6"})
	b := l.subnet("10.0.1.0/24", "10.0.1.1", [2]string{"10.0.1.5", "10.0.1.5"})
	six := l.subnet("fd00::/64", "fd00::1", [2]string{"fd00::5", "fd00::5"})
	slaac := &model.Subnet{NetworkID: l.network.ID, CIDR: netip.MustParsePrefix("fd01::/64"), IPVersion: 6, IPv6AddressMode: "slaac", IPv6RAMode: "slaac"}
	slaac.ID = uuid.New()
	slaac.CreatedAt = time.Unix(100, 0).UTC()
	elsewhere := uuid.New()
	ip := netip.MustParseAddr

	before := l.store.Snapshot()
	for name, c := range map[string]struct {
		requested []Request
		want      []model.FixedIP
		err       error
	}{
		"address alone":          {[]Request{{IPAddress: ip("10.0.1.77")}}, []model.FixedIP{{SubnetID: b.ID, IPAddress: ip("10.0.1.77")}}, nil},
		"subnet alone":           {[]Request{{SubnetID: b.ID}}, []model.FixedIP{{SubnetID: b.ID, IPAddress: ip("10.0.1.5")}}, nil},
		"both":                   {[]Request{{b.ID, ip("10.0.1.9")}}, []model.FixedIP{{SubnetID: b.ID, IPAddress: ip("10.0.1.9")}}, nil},
		"IPv6":                   {[]Request{{SubnetID: six.ID}}, []model.FixedIP{{SubnetID: six.ID, IPAddress: ip("fd00::5")}}, nil},
		"given one is not taken": {[]Request{{SubnetID: b.ID}, {IPAddress: ip("10.0.1.5")}}, nil, ErrExhausted},
		"nothing":                {[]Request{}, []model.FixedIP{}, nil},
		"in no subnet":           {[]Request{{IPAddress: ip("10.0.2.1")}}, nil, ErrOutside},
		"in another subnet":      {[]Request{{a.ID, ip("10.0.1.9")}}, nil, ErrOutside},
		"network address":        {[]Request{{a.ID, ip("10.0.0.0")}}, nil, ErrOutside},
		"network address alone":  {[]Request{{IPAddress: ip("10.0.0.0")}}, nil, ErrOutside},
		"broadcast":              {[]Request{{a.ID, ip("10.0.0.255")}}, nil, ErrOutside},
		"router anycast":         {[]Request{{six.ID, ip("fd00::")}}, nil, ErrOutside},
		"other network's":        {[]Request{{SubnetID: elsewhere}}, nil, ErrNoSubnet},
		"twice":                  {[]Request{{IPAddress: ip("10.0.1.9")}, {IPAddress: ip("10.0.1.9")}}, nil, ErrOutside},
	} {
		_, _, err := l.store.Try(func(tx *store.Tx) error {
			got, err := FixedIPs(tx, &model.Port{NetworkID: l.network.ID}, c.requested)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
			return err
		})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
	if l.store.Snapshot() != before {
		t.Fatal("trying has changed the store")
	}

	// By default: one of IPv4, one of IPv6, as long as there are any in any subnet.
	l.update(func(tx *store.Tx) error { return tx.PutSubnet(slaac) })
	eui := func(p *model.Port) model.FixedIP {
		m := p.MACAddress
		return model.FixedIP{SubnetID: slaac.ID, IPAddress: netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})}
	}
	port, err := l.port(nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := port.FixedIPs; len(f) != 3 || f[0].SubnetID != a.ID || f[1] != (model.FixedIP{SubnetID: six.ID, IPAddress: ip("fd00::5")}) || f[2] != eui(port) {
		t.Errorf("by default %v", f)
	}
	if _, err := l.port(nil); !errors.Is(err, ErrExhausted) { // of fd00::/64
		t.Errorf("a second by default: %v", err)
	}
	if _, err := l.port([]Request{{slaac.ID, ip("fd01::9")}}); !errors.Is(err, ErrAutomatic) {
		t.Errorf("address of a subnet with automatic addresses: %v", err)
	}
	taken := port.FixedIPs[0].IPAddress
	if _, err := l.port([]Request{{IPAddress: taken}}); !errors.Is(err, ErrInUse) {
		t.Errorf("a taken address: %v", err)
	}
	if p, err := l.port([]Request{{SubnetID: slaac.ID}}); err != nil || !reflect.DeepEqual(p.FixedIPs, []model.FixedIP{eui(p)}) {
		t.Errorf("subnet with automatic addresses alone: %v, %v", p.FixedIPs, err)
	}

	// An update keeps what the port has.
	l.update(func(tx *store.Tx) error {
		got, err := FixedIPs(tx, port, []Request{{IPAddress: taken}, {SubnetID: six.ID}, {SubnetID: b.ID}})
		if err != nil {
			return err
		}
		want := []model.FixedIP{{SubnetID: a.ID, IPAddress: taken}, {SubnetID: six.ID, IPAddress: ip("fd00::5")}, {SubnetID: b.ID, IPAddress: ip("10.0.1.5")}, eui(port)}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("update: %v, want %v", got, want)
		}
		return nil
	})
}

// When the first subnet of a version is full the next one is used.
func TestNextSubnet(t *testing.T) {
	l := newLab(t)
	l.subnet("10.0.0.0/24", "", [2]string{"10.0.0.5", "10.0.0.5"})
	l.subnet("10.0.1.0/24", "", [2]string{"10.0.1.5", "10.0.1.5"})
	for _, want := range []string{"10.0.0.5", "10.0.1.5"} {
		port, err := l.port(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := port.FixedIPs; len(got) != 1 || got[0].IPAddress.String() != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if _, err := l.port(nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("a third: %v", err)
	}
}

func TestSegments(t *testing.T) {
	l := newLab(t)
	ranges := []Range{{100, 109}, {200, 209}, {5, 4}}
	ids := map[uint32]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			n := &model.Network{}
			n.ID = uuid.New()
			if _, err := l.store.Update(t.Context(), func(tx *store.Tx) (err error) {
				if n.Segment, err = Segment(tx, "vxlan", "", ranges); err != nil {
					return err
				}
				return tx.PutNetwork(n)
			}); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[n.Segment.SegmentationID] = true
		})
	}
	all.Wait()
	for id := range ids {
		if (id < 100 || id > 109) && (id < 200 || id > 209) {
			t.Errorf("%d is in no range", id)
		}
	}
	if len(ids) != 20 {
		t.Errorf("20 networks have %d segments", len(ids))
	}
	l.update(func(tx *store.Tx) error {
		if _, err := Segment(tx, "vxlan", "", ranges); !errors.Is(err, ErrExhausted) {
			t.Errorf("a 21st: %v", err)
		}
		if _, err := Segment(tx, "vxlan", "", nil); !errors.Is(err, ErrExhausted) {
			t.Errorf("without a range: %v", err)
		}
		if got, err := Segment(tx, "gre", "", []Range{{105, 105}}); err != nil || got != (model.Segment{NetworkType: "gre", SegmentationID: 105}) {
			t.Errorf("a number that another type has: %v %v", got, err)
		}
		if got, err := Segment(tx, "gre", "", []Range{{1<<32 - 1, 1<<32 - 1}}); err != nil || got.SegmentationID != 1<<32-1 {
			t.Errorf("the largest key: %v %v", got, err)
		}
		return nil
	})
}

func TestRangeText(t *testing.T) {
	for text, want := range map[string]VLANRange{
		"physnet1":        {"physnet1", Range{}},
		"physnet1:1:4094": {"physnet1", Range{1, 4094}},
		"p:7:7":           {"p", Range{7, 7}},
	} {
		var got VLANRange
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ":1:2", "p:", "p:1", "p:0:5", "p:5:4", "p:1:4095", "p:1:2:3", "p:a:b", "p:-1:2"} {
		if err := new(VLANRange).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for VLAN IDs", text)
		}
	}
	var got Range
	if err := got.UnmarshalText([]byte("1:4294967295")); err != nil || got != (Range{1, 1<<32 - 1}) {
		t.Errorf("all keys: %v %v", got, err)
	}
	for _, text := range []string{"", "1", "1:", ":1", "0:1", "2:1", "1:4294967296", "1:2:3", " 1:2"} {
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for a range", text)
		}
	}
}

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		start, end string
		want       uint64
	}{
		{"10.0.0.1", "10.0.0.1", 1},
		{"10.0.0.255", "10.0.1.1", 3},
		{"0.0.0.0", "255.255.255.255", 1 << 32},
		{"10.0.0.2", "10.0.0.1", 0},
		{"10.0.0.1", "fd00::1", 0},
		{"fd00::ffff:ffff:ffff:ffff", "fd00:0:0:1::", 2},
		{"fd00::", "fd00::ffff:ffff:ffff:ffff", 1<<64 - 1},
		{"fd00::", "fd01::", 1<<64 - 1},
	} {
		pool := model.Pool{Start: netip.MustParseAddr(c.start), End: netip.MustParseAddr(c.end)}
		if got := span(pool); got != c.want {
			t.Errorf("%s to %s: %d addresses, want %d", c.start, c.end, got, c.want)
		}
	}
	if got := offset(netip.MustParseAddr("fd00::ffff:ffff:ffff:ffff"), 1); got.String() != "fd00:0:0:1::" {
		t.Errorf("carry: %s", got)
	}
	if got := offset(netip.MustParseAddr("10.0.0.255"), 2); got.String() != "10.0.1.1" {
		t.Errorf("carry: %s", got)
	}
}

// Choosing must stay quick when nearly all of a large pool is taken.
func BenchmarkAddress(b *testing.B) {
	s := store.OpenMemory()
	defer s.Close()
	network := &model.Network{}
	network.ID = uuid.New()
	subnet := &model.Subnet{NetworkID: network.ID, IPVersion: 4, CIDR: netip.MustParsePrefix("10.0.0.0/20"),
		AllocationPools: []model.Pool{{Start: netip.MustParseAddr("10.0.0.1"), End: netip.MustParseAddr("10.0.15.254")}}}
	subnet.ID = uuid.New()
	if _, err := s.Update(b.Context(), func(tx *store.Tx) error {
		err := errors.Join(tx.PutNetwork(network), tx.PutSubnet(subnet))
		for i := range uint64(4000) {
			port := &model.Port{NetworkID: network.ID, MACAddress: model.MAC{2, 4: byte(i >> 8), 5: byte(i)},
				FixedIPs: []model.FixedIP{{SubnetID: subnet.ID, IPAddress: offset(subnet.AllocationPools[0].Start, i)}}}
			port.ID = uuid.New()
			err = errors.Join(err, tx.PutPort(port))
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	s.Try(func(tx *store.Tx) error {
		for b.Loop() {
			if _, err := Address(tx, subnet); err != nil {
				b.Fatal(err)
			}
		}
		return nil
	})
}
