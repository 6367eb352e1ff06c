package controller

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/inspect"
)

// What can be told while no host is connected is told, also by a controller that has just begun.
func TestExplainWithoutHosts(t *testing.T) {
	s := store.OpenMemory()
	t.Cleanup(func() { s.Close() })
	network := &model.Network{Common: model.Common{ID: uuid.New(), Name: "blue"}, AdminStateUp: true, Segment: model.Segment{NetworkType: model.TypeVXLAN, SegmentationID: 77}}
	port := &model.Port{Common: model.Common{ID: uuid.New(), Name: "web"}, NetworkID: network.ID, AdminStateUp: true, MACAddress: mac(1), HostID: "compute01"}
	dhcp := &model.Port{Common: model.Common{ID: uuid.New(), Name: "dhcp"}, NetworkID: network.ID, MACAddress: mac(2), DeviceOwner: model.OwnerDHCP}
	_, err := s.Update(context.Background(), func(tx *store.Tx) error {
		return errors.Join(tx.PutNetwork(network), tx.PutHost(&model.Host{ID: "id1", Hostname: "compute01"}), tx.PutPort(port), tx.PutPort(dhcp))
	})
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{Store: s})
	for _, test := range []struct{ subject, what, wrong string }{
		{"", "web", "host compute01 has no address for tunnels"},
		{"", "dhcp", ""},
		{"host", "compute01", "host compute01 is not connected"},
		{"network", "web", "host compute01 has no address for tunnels"},
		{"flow", "web", "no host has a flow for port web"},
	} {
		e, err := c.explain(context.Background(), test.subject, test.what)
		if err != nil || !strings.HasPrefix(e.Wrong, test.wrong) || (test.wrong == "") != (e.Wrong == "") || len(e.Steps) == 0 {
			t.Errorf("%s %s: %q, error %v; want %q\n%+v", test.subject, test.what, e.Wrong, err, test.wrong, e.Steps)
		}
	}
	if _, err := c.explain(context.Background(), "weather", "web"); !errors.Is(err, errNoSubject) || !strings.Contains(err.Error(), strings.Join(inspect.Subjects, ", ")) {
		t.Errorf("an unknown subject: %v", err)
	}
}
