package system

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Two controllers on one etcd serve one API: what may be had once is had once, a limit is kept, a change of
// an old revision is refused, and each shows what was answered by the other.
func TestTwoServeOneAPI(t *testing.T) {
	t.Parallel()
	first, second := prepare(t), prepare(t)
	endpoint, _ := first.startEtcd(bigTransactions...)
	both := []*deployment{first, second}
	for _, d := range both {
		d.flags = []string{"--etcd-endpoints=" + endpoint, "--quota-port=20"}
		d.serve()
	}
	// race makes requests at the same time, every other to the same controller, and counts the answers by
	// their status.
	race := func(n int, request func(d *deployment, i int) (int, error)) map[int]int {
		var wait sync.WaitGroup
		var mu sync.Mutex
		statuses := map[int]int{}
		for i := range n {
			wait.Go(func() {
				status, err := request(both[i%2], i)
				mu.Lock()
				defer mu.Unlock()
				statuses[status]++
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		return statuses
	}
	post := func(path string, body object) func(*deployment, int) (int, error) {
		return func(d *deployment, _ int) (int, error) { return d.call(http.MethodPost, path, body, nil) }
	}
	expect := func(what string, got, want map[int]int) {
		t.Helper()
		if !maps.Equal(got, want) {
			t.Errorf("%s: answers by status: %v, not %v", what, got, want)
		}
	}

	n := first.addNetwork("blue", "10.0.0.0/24") // with the port that DHCP is answered from
	for i := range 3 {
		at := object{"port": object{"network_id": n.ID, "fixed_ips": []object{{"ip_address": fmt.Sprintf("10.0.0.%d", 100+i)}}}}
		expect("one address", race(8, post("/v2.0/ports", at)), map[int]int{201: 1, 409: 7})
	}
	expect("16 ports are left of 20", race(32, post("/v2.0/ports", object{"port": object{"network_id": n.ID}})), map[int]int{201: 16, 409: 16})
	var subnets struct{ Subnets []struct{ ID string } }
	first.must(http.MethodGet, "/v2.0/subnets", nil, &subnets)
	expect("two subnets that overlap", race(2, func(d *deployment, i int) (int, error) {
		return post("/v2.0/subnets", object{"subnet": object{"network_id": n.ID, "ip_version": 4, "cidr": fmt.Sprintf("10.1.0.0/%d", 16+i)}})(d, i)
	}), map[int]int{201: 1, 400: 1})
	expect("changes of one revision", race(8, func(d *deployment, i int) (int, error) {
		req, err := http.NewRequest(http.MethodPut, "http://"+d.api+"/v2.0/subnets/"+subnets.Subnets[0].ID, strings.NewReader(fmt.Sprintf(`{"subnet":{"name":"s%d"}}`, i)))
		if err != nil {
			return 0, err
		}
		req.Header.Set("If-Match", "revision_number=1")
		resp, err := d.http.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}), map[int]int{200: 1, 412: 7})
	expect("tags, each added by another", race(16, func(d *deployment, i int) (int, error) {
		return d.call(http.MethodPut, fmt.Sprintf("/v2.0/networks/%s/tags/t%d", n.ID, i), nil, nil)
	}), map[int]int{201: 16})
	var shown struct{ Network struct{ Tags []string } }
	second.must(http.MethodGet, "/v2.0/networks/"+n.ID, nil, &shown)
	if len(shown.Network.Tags) != 16 {
		t.Errorf("of 16 tags that were added there are %v", shown.Network.Tags)
	}
	for i := range 20 {
		made := both[i%2].addNetwork("red", "10.0.0.0/24")
		both[(i+1)%2].must(http.MethodGet, "/v2.0/networks/"+made.ID, nil, nil)
	}
}
