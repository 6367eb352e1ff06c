package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// sizeAPI is how much `bench api` does.
type sizeAPI struct {
	ports   int // made one after another, and then read
	lists   int // of all these ports
	clients int // that make ports side by side
	each    int // ports of each of them
	bulks   int // of 100 ports
}

var fullAPI = sizeAPI{ports: 1000, lists: 100, clients: 8, each: 500, bulks: 20}

// neutron is Neutron 21 with ML2/OVS, two API workers, MariaDB and RabbitMQ on two loaded processors:
// milliseconds, but for the ports per second.
var neutron = struct{ post, postP99, perSecond, bulk, put, remove, get, list float64 }{334, 617, 2.92, 29600, 228, 330, 28.5, 768}

// benchAPI measures the REST API with its store on disk: no request is answered before etcd has synced what
// it wrote. There are no hosts, so that nothing but the API is at work.
func benchAPI(ctx context.Context, out io.Writer, binary, dir string, s sizeAPI) (err error) {
	before, err := load()
	if err != nil {
		return err
	}
	d, err := deploy(ctx, size{Networks: 3}, binary, filepath.Join(dir, "api"))
	if d != nil {
		defer func() { err = errors.Join(err, d.close()) }()
	}
	if err != nil {
		return err
	}
	d.client.Transport = &http.Transport{MaxIdleConnsPerHost: s.clients}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tmeasured\taim\tNeutron 21")
	row := func(name, measured, aim string, neutron float64) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.4g\n", name, measured, aim, neutron)
	}

	create := func(network string) (p struct{ Port port }, err error) {
		return p, d.call(ctx, http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": network, "device_owner": owner}}, &p)
	}
	var ids []string
	posts, err := timed(s.ports, func(int) error {
		made, err := create(d.networks[0])
		ids = append(ids, made.Port.ID)
		return err
	})
	if err != nil {
		return err
	}
	var all struct{ Ports []port }
	if err := d.call(ctx, http.MethodGet, "/v2.0/ports", nil, &all); err != nil {
		return err
	}
	if want := s.ports + len(d.networks); len(all.Ports) != want { // each subnet has one for DHCP
		return fmt.Errorf("%d ports are listed, want %d", len(all.Ports), want)
	}
	lists, err := timed(s.lists, func(int) error { return d.call(ctx, http.MethodGet, "/v2.0/ports", nil, nil) })
	if err != nil {
		return err
	}
	gets, err := timed(s.ports, func(i int) error { return d.call(ctx, http.MethodGet, "/v2.0/ports/"+ids[i], nil, nil) })
	if err != nil {
		return err
	}
	puts, err := timed(s.ports, func(i int) error {
		return d.call(ctx, http.MethodPut, "/v2.0/ports/"+ids[i], object{"port": object{"name": fmt.Sprint("port", i)}}, nil)
	})
	if err != nil {
		return err
	}
	removes, err := timed(s.ports, func(i int) error { return d.call(ctx, http.MethodDelete, "/v2.0/ports/"+ids[i], nil, nil) })
	if err != nil {
		return err
	}
	bulks, err := timed(s.bulks, func(int) error {
		list := make([]object, 100)
		for i := range list {
			list[i] = object{"network_id": d.networks[1], "device_owner": owner}
		}
		return d.call(ctx, http.MethodPost, "/v2.0/ports", object{"ports": list}, nil)
	})
	if err != nil {
		return err
	}
	var side errgroup.Group
	start := time.Now()
	for range s.clients {
		side.Go(func() error {
			_, err := timed(s.each, func(int) error { _, err := create(d.networks[2]); return err })
			return err
		})
	}
	if err := side.Wait(); err != nil {
		return err
	}
	perSecond := float64(s.clients*s.each) / time.Since(start).Seconds()

	row("POST of a port: median, ms", fmt.Sprintf("%.2f", posts.Median), "2", neutron.post)
	row("  p99, ms", fmt.Sprintf("%.2f", posts.P99), "", neutron.postP99)
	row(fmt.Sprintf("  ports per second, %d clients", s.clients), fmt.Sprintf("%.0f", perSecond), "1000", neutron.perSecond)
	row("  bulk of 100: median, ms", fmt.Sprintf("%.1f", bulks.Median), "50", neutron.bulk)
	row("PUT of a name: median, ms", fmt.Sprintf("%.2f", puts.Median), "", neutron.put)
	row("DELETE of a port: median, ms", fmt.Sprintf("%.2f", removes.Median), "", neutron.remove)
	row("GET of a port: median, ms", fmt.Sprintf("%.2f", gets.Median), "", neutron.get)
	row(fmt.Sprintf("GET of %d ports: median, ms", s.ports), fmt.Sprintf("%.1f", lists.Median), "10", neutron.list)
	row("load average before", fmt.Sprintf("%.1f", before), "", 0)
	return w.Flush()
}

// timed runs f n times, one after another.
func timed(n int, f func(i int) error) (spread, error) {
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if err := f(i); err != nil {
			return spread{}, err
		}
		took[i] = time.Since(start)
	}
	return spreadOf(took), nil
}
