package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/flows/openflow"
)

// nameTag announces a network's name; nothing where it has none.
type nameTag struct{}

func (nameTag) Announce(n *flows.Network) []byte {
	if n.Name == "" {
		return nil
	}
	return []byte(n.Name)
}

func TestAnnouncements(t *testing.T) {
	a := announcements{features: []flows.Announcer{nameTag{}}}
	id := uuid.New()
	ports := map[int]*flows.LocalPort{}
	network := func(name string, on ...int) *flows.Network {
		n := &flows.Network{Network: &model.Network{Common: model.Common{ID: id, Name: name}}}
		for _, p := range on {
			if ports[p] == nil {
				ports[p] = &flows.LocalPort{Port: &model.Port{Common: model.Common{ID: uuid.New()}}, Key: uint32(p), OFPort: uint32(p)}
			}
			n.Local = append(n.Local, ports[p])
		}
		return n
	}
	var table *punts
	now := time.Now()
	// step returns what was sent, NAME>PORT.
	step := func(networks ...*flows.Network) (sent []string) {
		t.Helper()
		table = puntsOf(&flows.View{Networks: networks}, table)
		again := a.step(now, table, func(out *openflow.PacketOut) {
			if n := len(out.Actions) / 16; n > announceOutputs {
				t.Errorf("a packet-out to %d ports", n)
			}
			for action := range out.Actions.All() {
				sent = append(sent, fmt.Sprintf("%s>%d", out.Data, action.(openflow.Output).Port))
			}
		})
		if wait := again.Sub(now); wait <= 0 || wait > announceLatest {
			t.Errorf("to look again in %s", wait)
		}
		return sent
	}
	same := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: sent %v, want %v", what, got, want)
		}
	}
	blue := network("blue", 1, 2)
	same("at first", step(blue), "blue>1", "blue>2")
	same("nothing new", step(blue))
	same("a network that changed in something else", step(network("blue", 1, 2)))
	blue = network("blue", 1, 2, 3)
	same("a new VIF", step(blue), "blue>3")
	now = now.Add(announceSoonest - time.Second)
	same("before the time", step(blue))
	now = now.Add(announceLatest)
	same("after the time", step(blue), "blue>1", "blue>2", "blue>3")
	red := network("red", 1, 2)
	same("another announcement, without a VIF", step(red), "red>1", "red>2")
	same("a network with nothing to say", step(network("", 1, 2)))
	same("it has again", step(red), "red>1", "red>2")
	same("none", step())
	same("the network is back", step(red), "red>1", "red>2")
	again := *ports[1]
	again.Generation++
	ports[1] = &again
	same("another VIF of the port", step(network("red", 1, 2)), "red>1")

	many := make([]int, 0, 3*announceOutputs/2)
	for i := range cap(many) {
		many = append(many, 10+i)
	}
	if sent := step(network("red", many...)); len(sent) != len(many) {
		t.Errorf("%d of %d VIFs heard", len(sent), len(many))
	}
}
