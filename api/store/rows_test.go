package store

import (
	"context"
	"net/netip"
	"testing"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

func newNetwork(vni uint32) *model.Network {
	n := &model.Network{Segment: model.Segment{NetworkType: "vxlan", SegmentationID: vni}}
	n.ID = uuid.New()
	return n
}

func newSubnet(n *model.Network, cidr string) *model.Subnet {
	s := &model.Subnet{NetworkID: n.ID, IPVersion: 4, CIDR: netip.MustParsePrefix(cidr), EnableDHCP: true}
	s.ID = uuid.New()
	return s
}

func newPort(n *model.Network, i int) *model.Port {
	p := &model.Port{NetworkID: n.ID, MACAddress: model.MAC{0xfa, 0x16, 0x3e, byte(i >> 16), byte(i >> 8), byte(i)}}
	p.ID = uuid.New()
	return p
}

func fixed(s *model.Subnet, ips ...netip.Addr) []model.FixedIP {
	var all []model.FixedIP
	for _, ip := range ips {
		all = append(all, model.FixedIP{SubnetID: s.ID, IPAddress: ip})
	}
	return all
}

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }

// first is the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// update commits or fails the test.
func update(t testing.TB, s *Store, f func(*Tx) error) Revision {
	t.Helper()
	revision, err := s.Update(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// closed reports whether a Changed channel is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
