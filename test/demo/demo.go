// Package demo is `tunbridge demo`: two real Open vSwitch hosts in network namespaces of this machine,
// one controller, networks of all six types, and every claim shown with what proved it.
//
// It uses nothing but public interfaces: the controller is this very program run as `serve`, networks
// and ports come from its REST API, hosts enrol with ovs-vsctl, and what the switches do is read from
// the wire, from ovs-ofctl and from the guests.
//
// demo.go is the story, claims.go what is claimed (traffic.go, wire.go and restart.go: the longer
// ones), deployment.go the controller and its clients, networks.go what is made through the API.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// Demo is the command.
type Demo struct {
	Keep   bool   `help:"Leave everything running and print how to look around."`
	Remove string `help:"Remove what a demo with --keep left running, by its prefix." placeholder:"PREFIX"`
}

// errNotHeld makes the exit status tell.
var errNotHeld = errors.New("not every claim held")

// Run shows every claim. Its error says whether all held.
func (d *Demo) Run() error {
	if os.Geteuid() != 0 {
		return errors.New("demo: network namespaces need root: run it with sudo")
	}
	if d.Remove != "" {
		return testbed.Reap(d.Remove)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	start := time.Now()
	bed, err := testbed.New(testbed.Options{Keep: d.Keep})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	deployment := &Deployment{bed: bed, program: program}
	held, err := deployment.show(ctx)
	if d.Keep && err == nil {
		deployment.lookAround()
	} else {
		err = errors.Join(err, deployment.close(), bed.Close())
	}
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if !held {
		return errNotHeld
	}
	fmt.Printf("Every claim held. %.1f s.\n", time.Since(start).Seconds())
	return nil
}

// show goes through the claims. The error is of the demo itself; a claim that does not hold is none.
func (d *Deployment) show(ctx context.Context) (held bool, err error) {
	fmt.Println("Two Open vSwitch hosts in namespaces, a physical network, one controller; nothing runs on a host beside Open vSwitch.")
	if err := d.start(ctx); err != nil {
		return false, err
	}
	held = true
	for _, c := range d.claims() {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		begun := time.Now()
		fmt.Printf("  …   %s\r", c.says)
		proof, err := c.show(d, ctx)
		mark := "held"
		if err != nil {
			mark, proof, held = "FAIL", err.Error(), false
		}
		fmt.Printf("%s  %s\n      %s (%.1f s)\n", mark, c.says, proof, time.Since(begun).Seconds())
		if err != nil && c.needed {
			return false, nil
		}
	}
	return held, nil
}
