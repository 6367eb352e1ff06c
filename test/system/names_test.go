package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Names are anybody's. However long they are and whatever is in them, the commands' text stays within its columns
// and has no control character but the ends of its own lines; JSON has the names as they are.
func TestStrangeNames(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	long := strings.Repeat("ö", 255)
	const strange = "red\x1b[31m\nport: in order\u202e\u009b2J\ttab"
	n := d.addNetwork("blue", "10.0.0.0/24")
	p, q := d.addPort(n, h.Name), d.addPort(n, h.Name)
	d.must("PUT", "/v2.0/networks/"+n.ID, object{"network": object{"name": long}}, nil)
	d.must("PUT", "/v2.0/ports/"+p.ID, object{"port": object{"name": long}}, nil)
	d.must("PUT", "/v2.0/ports/"+q.ID, object{"port": object{"name": strange}}, nil)
	for range 2 {
		d.must("PUT", "/v2.0/ports/"+d.addPort(n, "").ID, object{"port": object{"name": "two\x1b[2J"}}, nil)
	}
	d.plug(h, p, q)
	d.become("ACTIVE", p, q)
	d.settled(h)
	d.ask(h, q, 1)
	file := filepath.Join(t.TempDir(), "port.json")
	if err := os.WriteFile(file, []byte(`{"port": {"network_id": "`+n.ID+`", "name": "a\u001b[2J", "binding:host_id": "compute01"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"hosts"}, {"hosts", "compute01"}, {"flows", "compute01"}, {"diff", "compute01"}, {"verify"}, {"leases"}, {"explain", p.ID}, {"explain", q.ID}, {"explain", n.ID},
		{"explain", "compute01"}, {"explain", "dhcp", q.ID, "--bytes"}, {"explain", "metadata", q.ID}, {"trace", p.ID, q.ID}, {"trace", q.ID, p.ID, "--proto", "arp"},
		{"top", "--once", "--interval=100ms"}, {"plan", "-f", file}, {"explain", "nobody\x1b[2J"},
		{"explain", "two\x1b[2J"}, // which lists them
	} {
		var text string
		var err error
		if args[0] == "plan" {
			text, err = d.where.Exec(program, append(args, "--api=http://"+d.api)...)
		} else {
			text, err = d.tool(args...)
		}
		status := exitStatus(err)
		if status > 0 {
			_, said, _ := strings.Cut(err.Error(), ": exit status ") // before are the arguments
			text += said
		} else if err != nil {
			t.Errorf("%q: %v", args, err)
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }) {
			t.Errorf("%q: a control character reaches the terminal:\n%q", args, text)
		}
		for row := range strings.Lines(text) {
			if strings.HasPrefix(row, "port: in order") {
				t.Errorf("%q: a name made a line of its own:\n%s", args, text)
			}
			if n := utf8.RuneCountInString(strings.TrimRight(row, "\n")); n > 100 && status <= 0 {
				t.Errorf("%q: %d columns: %s", args, n, row)
			}
		}
	}
	text, err := d.tool("leases", q.ID, "--json")
	if err != nil || !strings.Contains(text, `red\u001b[31m\nport: in order`) {
		t.Errorf("--json: error %v\n%s", err, text)
	}
}
