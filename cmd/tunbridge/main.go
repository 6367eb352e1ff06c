// Command tunbridge is the controller and its tools in one binary: configuration and wiring only.
//
// serve.go wires the controller: store, API, hosts' listeners, admin API. Package cli has the operator's
// commands, each in a file, all of them clients of the admin API.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/tunbridge/tunbridge/cmd/tunbridge/cli"
	"github.com/tunbridge/tunbridge/test/demo"
)

// program is the command line.
type program struct {
	Serve      serve          `cmd:"" help:"Run the controller."`
	Demo       demo.Demo      `cmd:"" help:"Run real Open vSwitch hosts in namespaces on this machine with one controller, and show every claim working. Needs root."`
	Hosts      cli.Hosts      `cmd:"" help:"List the hosts: sessions, VIFs, pending plan, last error."`
	Flows      cli.Flows      `cmd:"" help:"List the flows installed on a host now, or those of a saved dump, each with the object and the fact that wants it."`
	Diff       cli.Diff       `cmd:"" help:"Compare what is installed on a host with what is wanted. Exit status 1 if they differ."`
	Verify     cli.Verify     `cmd:"" help:"Prove that hosts hold what the store wants, that the store's invariants hold, and that networks are kept apart."`
	Leases     cli.Leases     `cmd:"" help:"List what DHCP gives to ports, and the last that each asked."`
	Explain    cli.Explain    `cmd:"" help:"Tell the story of a port, network, host or flow, or of DHCP for a port, and what is wrong with it. Exit status 1 if something is."`
	Trace      cli.Trace      `cmd:"" help:"Follow a packet over the flows that are installed now, on every host of its way: does it arrive, and if not, what stopped it?"`
	Capture    cli.Capture    `cmd:"" help:"Copy the frames of a port or a host, at the VIF, the tunnel and the controller, into a pcapng file."`
	Plan       cli.Plan       `cmd:"" help:"Show what a request to the API would add, change and remove: objects, rows, flows and groups. Nothing is changed."`
	Top        cli.Top        `cmd:"" help:"Show hosts live: packet-ins, plans and how long they take."`
	Policy     policy         `cmd:"" help:"Print who may do what through the API: every action with its rule."`
	Completion cli.Completion `cmd:"" help:"Print the script that makes bash, zsh or fish complete commands, flags and hosts."`
	Complete   cli.Complete   `cmd:"" hidden:"" help:"Print what may stand in place of the last word: the scripts of completion ask it."`
	Version    versionFlag    `help:"Print the version and exit."`
}

type versionFlag bool

// BeforeApply prints the version instead of running a command.
func (versionFlag) BeforeApply(app *kong.Kong) error {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				version += " " + s.Value
			}
		}
	}
	fmt.Fprintln(app.Stdout, "tunbridge", version)
	app.Exit(0)
	return nil
}

func main() {
	var p program
	ctx := kong.Parse(&p,
		kong.Name("tunbridge"),
		kong.Description("An Open vSwitch-native SDN controller that serves the Neutron API.\n\n"+
			"Exit status: 0 if all is as it should be, 1 if a question's answer is that something is not, 2 if there was no answer, 80 for wrong usage."),
		kong.UsageOnError(),
		kong.DefaultEnvars("TUNBRIDGE"),
		kong.Configuration(loadConfig),
		kong.Vars{"datadir": cli.DefaultDataDir()},
	)
	if err := ctx.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "tunbridge:", cli.Clean(err.Error()))
		status := 2
		var finding kong.ExitCoder
		if errors.As(err, &finding) {
			status = finding.ExitCode()
		}
		os.Exit(status)
	}
}
