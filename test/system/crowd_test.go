package system

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Many users and hosts' operators do everything at the same time. When they have finished, each port
// is as its last change left it, and each host has what a recompute wants.
func TestCrowd(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	hosts := d.addHosts("compute01", "compute02", "compute03")
	networks := []*network{d.addNetwork("blue", "10.0.0.0/16"), d.addNetwork("red", "10.0.0.0/16")}
	const users, rounds = 8, 12
	kept := make([][]*port, users)
	var wg sync.WaitGroup
	for user := range users {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(user), 1))
			for round := range rounds {
				h, n := hosts[draw.IntN(len(hosts))], networks[draw.IntN(len(networks))]
				made := struct{ Port port }{}
				body := object{"network_id": n.ID, "name": fmt.Sprint(user, "/", round)}
				if draw.IntN(2) == 0 {
					body["binding:host_id"] = h.Name
				}
				if status, err := d.call(http.MethodPost, "/v2.0/ports", object{"port": body}, &made); err != nil || status != http.StatusCreated {
					t.Errorf("create: status %d, error %v", status, err)
					return
				}
				p := &made.Port
				if err := h.PlugVIF(p.vif()); err != nil {
					t.Error(err)
					return
				}
				switch draw.IntN(4) {
				case 0:
					if status, err := d.call(http.MethodDelete, "/v2.0/ports/"+p.ID, nil, nil); err != nil || status != http.StatusNoContent {
						t.Errorf("delete: status %d, error %v", status, err)
					}
					fallthrough
				case 1:
					if err := h.UnplugVIF(p.vif()); err != nil {
						t.Error(err)
					}
				default:
					kept[user] = append(kept[user], p)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	start := time.Now()
	total := 0
	for _, ports := range kept {
		d.become("ACTIVE", ports...)
		total += len(ports)
	}
	d.settled(hosts...)
	t.Logf("%d ports are ACTIVE %s after the last was plugged", total, time.Since(start).Round(time.Millisecond))
	d.await("all others DOWN", func() error {
		var list struct{ Ports []port }
		status, err := d.call(http.MethodGet, "/v2.0/ports?status=ACTIVE&device_owner=", nil, &list)
		if err == nil {
			err = is(fmt.Sprint(status, " ", len(list.Ports)), fmt.Sprint("200 ", total))
		}
		return err
	})
}
