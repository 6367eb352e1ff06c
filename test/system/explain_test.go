package system

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// answer runs one of the operator's commands, which may find something, and takes its text and status.
func (d *deployment) answer(args ...string) (text string, status int, err error) {
	text, err = d.tool(args...)
	if status = exitStatus(err); status > 0 {
		err = nil
	}
	return text, status, err
}

// exitStatus is that of a command, by its error; -1 if it did not run to its end.
func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// story is what explain says of something.
func (d *deployment) story(subject, what string) (inspect.Explanation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return d.admin.Explain(ctx, subject, what)
}

// tellsTheWalk looks at the story of a port that works: each step with its time, in their order.
func (d *deployment) tellsTheWalk(p *port, n *network) {
	d.t.Helper()
	var e inspect.Explanation
	d.await("the tunnels in the story", func() (err error) {
		if e, err = d.story("port", p.ID); err == nil && !strings.HasPrefix(e.Steps[len(e.Steps)-1].Text, "the vxlan tunnel from host") {
			err = fmt.Errorf("it ends with %q", e.Steps[len(e.Steps)-1].Text)
		}
		return err
	})
	steps := []string{"created on vxlan network " + n.Name, "bound to host", "its database is connected", "VIF seen: Interface " + p.device(), "wired on host", "flows sent", "flows acknowledged",
		"the port is ACTIVE", "are installed", "known to the other hosts", "the vxlan tunnel from host compute01 to compute02 carries packets"}
	timed := map[string]bool{"created on": true, "VIF seen": true, "wired on": true, "flows sent": true, "flows ackn": true, "the port i": true}
	last := e.Steps[0].At
	for _, s := range e.Steps {
		if len(steps) > 0 && strings.Contains(s.Text, steps[0]) {
			steps = steps[1:]
		}
		if !timed[s.Text[:min(len(s.Text), 10)]] && !timed[s.Text[:min(len(s.Text), 8)]] {
			continue
		}
		if s.At.Before(last) {
			d.t.Errorf("%q at %s, before what comes before it", s.Text, s.At)
		}
		last = s.At
	}
	if len(steps) > 0 || e.Subject != inspect.KindPort || e.Object.ID != p.ID {
		d.t.Errorf("the story of a port lacks %q:\n%+v", steps, e)
	}
}

// flowOf is a flow of a port in a table, as ovs-ofctl takes it.
func (d *deployment) flowOf(host string, p *port, table string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := d.admin.Flows(ctx, host)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range list {
		if f.ObjectID == p.ID && f.TableName == table {
			return fmt.Sprintf("table=%d,priority=%d,%s", f.Table, f.Priority, f.Match)
		}
	}
	d.t.Fatalf("port %s has no flow in table %s of host %s", p.ID, table, host)
	return ""
}

// firstLine is the first line of a text, with what was folded; it begins with all the words, or that is an error.
func firstLine(text string, words []string) (string, error) {
	lines := strings.Split(text, "\n")
	for _, w := range words {
		if !strings.Contains(lines[0], w) {
			return "", fmt.Errorf("its first line lacks %q:\n%s", w, text)
		}
	}
	line := lines[0]
	for _, more := range lines[1:] {
		if !strings.HasPrefix(more, "    ") {
			break
		}
		line += " " + strings.TrimSpace(more)
	}
	return line, nil
}
