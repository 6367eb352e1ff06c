package controller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/flows"
)

// Whatever the operator has at hand leads to the object, and what may mean several is told apart.
func TestFind(t *testing.T) {
	s := store.OpenMemory()
	t.Cleanup(func() { s.Close() })
	id := func(text string) uuid.UUID { return uuid.MustParse(text + "-1111-4222-8333-444455556666") }
	network := &model.Network{Common: model.Common{ID: id("aaaa0001"), Name: "blue"}, Segment: model.Segment{NetworkType: model.TypeVXLAN, SegmentationID: 77}}
	subnet := &model.Subnet{Common: model.Common{ID: id("aaaa0002"), Name: "blue"}, NetworkID: network.ID, IPVersion: 4, CIDR: netip.MustParsePrefix("10.0.0.0/24")}
	host := &model.Host{ID: "5c8ac1f4-0000-4000-8000-000000000001", Hostname: "compute01", EncapIP: netip.MustParseAddr("172.31.0.1")}
	web := &model.Port{Common: model.Common{ID: id("bbbb0001"), Name: "web"}, NetworkID: network.ID, MACAddress: mac(1), HostID: "compute01", DeviceID: "server-1",
		FixedIPs: []model.FixedIP{{SubnetID: subnet.ID, IPAddress: netip.MustParseAddr("10.0.0.5")}}}
	other := &model.Port{Common: model.Common{ID: id("bbbb0002"), Name: "web"}, NetworkID: network.ID, MACAddress: mac(2), DeviceID: "server-1"}
	_, err := s.Update(context.Background(), func(tx *store.Tx) error {
		return errors.Join(tx.PutNetwork(network), tx.PutSubnet(subnet), tx.PutHost(host), tx.PutPort(web), tx.PutPort(other))
	})
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{Store: s})
	cookie := func(kind flows.Kind, id uuid.UUID) string {
		return fmt.Sprintf("%#x", flows.Object{Kind: kind, ID: id}.Cookie(flows.OwnerL2))
	}

	for _, test := range []struct {
		what string
		want []string // kind and beginning of the ID
	}{
		{web.ID.String(), []string{"port bbbb0001"}},
		{strings.ToUpper(web.ID.String()), []string{"port bbbb0001"}},
		{"bbbb0002", []string{"port bbbb0002"}},
		{"tapbbbb0002-11", []string{"port bbbb0002"}},
		{"bbbb", []string{"port bbbb0001", "port bbbb0002"}},
		{"bbb", nil},
		{"web", []string{"port bbbb0001", "port bbbb0002"}},
		{"server-1", []string{"port bbbb0001", "port bbbb0002"}},
		{"blue", []string{"network aaaa0001", "subnet aaaa0002"}},
		{"02:00:00:00:00:01", []string{"port bbbb0001"}},
		{"10.0.0.5", []string{"port bbbb0001"}},
		{"10.0.0.9", nil},
		{"172.31.0.1", []string{"host 5c8ac1f4"}},
		{"10.0.0.77/24", []string{"subnet aaaa0002"}},
		{"compute01", []string{"host 5c8ac1f4"}},
		{host.ID, []string{"host 5c8ac1f4"}},
		{cookie(flows.KindPort, other.ID), []string{"port bbbb0002"}},
		{cookie(flows.KindNetwork, network.ID), []string{"network aaaa0001"}},
		{cookie(flows.KindPeer, flows.HostID(host.ID)), []string{"host 5c8ac1f4"}},
		{"0x1234", nil},
		{"", nil},
		{"nobody", nil},
	} {
		found, err := c.lookup(context.Background(), s.Snapshot(), test.what)
		var got []string
		for _, o := range found {
			got = append(got, o.Kind+" "+o.ID[:8])
		}
		if !slices.Equal(got, test.want) || (err == nil) != (len(test.want) > 0) || err != nil && !errors.Is(err, errUnknownObject) {
			t.Errorf("%q: %q, error %v; want %q", test.what, got, err, test.want)
		}
	}
	if _, err := c.lookup(context.Background(), s.Snapshot(), "compute01:7"); !errors.Is(err, errAway) {
		t.Errorf("a port of a host that is away: error %v", err)
	}

	for _, test := range []struct{ kind, what, want string }{
		{"network", "blue", "network blue (aaaa0001"},
		{"network", "10.0.0.5", "network blue (aaaa0001"},
		{"network", "web", "network blue (aaaa0001"}, // of both
		{"network", "10.0.0.0/24", "network blue (aaaa0001"},
		{"host", "10.0.0.5", "host compute01 (5c8ac1f4"},
		{"port", "web", "error ambiguous, give the ID of one of these:"},
		{"", "blue", "error ambiguous, give the ID of one of these:"},
		{"port", "compute01", "error belongs to none"},
	} {
		o, err := c.one(context.Background(), s.Snapshot(), test.kind, test.what)
		got := o.String()
		if err != nil {
			got = "error " + err.Error()
		}
		if wanted, failing := strings.CutPrefix(test.want, "error "); !strings.Contains(got, wanted) || failing != (err != nil) {
			t.Errorf("%s %q: %s; want %s", test.kind, test.what, got, test.want)
		}
	}
	if _, err := c.one(context.Background(), s.Snapshot(), "port", "web"); !errors.Is(err, errAmbiguous) || !strings.Contains(err.Error(), web.ID.String()) ||
		!strings.Contains(err.Error(), "10.0.0.5 on compute01") || !strings.Contains(err.Error(), other.ID.String()) {
		t.Errorf("candidates are not listed: %v", err)
	}
}
