package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wrapper stands for the program in a shell: it completes by it, and writes down what else it is called with.
const wrapper = `#!/bin/sh
case $1 in complete | completion) exec %s "$@" ;; esac
printf '[%%s]' "$@" >typed.new && mv typed.new typed
`

// typed is what is typed, and what becomes of it.
var typed = []struct{ keys, becomes string }{
	{"expl\tport we\t", "[explain][port][web-1]"},
	{"explain n\tbl\t", "[explain][network][blue]"},
	{"explain h\tcomp\t", "[explain][host][compute01]"},
	{"explain dh\tsq\t", "[explain][dhcp][sql 1]"},
	{"explain dhcp sql\\ \t", "[explain][dhcp][sql 1]"},
	{"tra\twe\tsq\t--pro\tud\t--por\t53", "[trace][web-1][sql 1][--proto][udp][--port][53]"},
	{"flows comp\t--bri\tbr-t\t--st\t", "[flows][compute01][--bridge][br-tun][--stale]"},
	{"flows compute01 --port we\t", "[flows][compute01][--port][web-1]"},
	{"plan -f po\t", "[plan][-f][port.json]"},
	{"lea\twe\t--js\t", "[leases][web-1][--json]"},
}

// Shells complete commands, flags, values, files, and the names of what there is.
func TestCompletion(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	for _, name := range []string{"web-1", "sql 1", "x\x1b[2J"} {
		d.must("PUT", "/v2.0/ports/"+d.addPort(n, h.Name).ID, object{"port": object{"name": name}}, nil)
	}
	nameless := d.addPort(n, "")
	shell := func(name string, args ...string) *exec.Cmd {
		dir := t.TempDir()
		for file, text := range map[string]string{"tunbridge": fmt.Sprintf(wrapper, program), "port.json": "{}"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "TERM=dumb", "PS1=READY> ", "TUNBRIDGE_ADMIN=unix:"+filepath.Join(d.dataDir, "admin.sock"))
		return cmd
	}

	for _, c := range []*exec.Cmd{shell("bash", "--norc", "--noprofile", "-i"), shell("zsh", "-f", "-i")} {
		name := filepath.Base(c.Path)
		on := d.openTerminal(200, 50, c)
		ready := func() {
			d.await(name+"'s prompt", func() error {
				text := on.printed()
				if last := text[max(0, len(text)-40):]; !strings.Contains(last, "READY> ") {
					return fmt.Errorf("it printed %q", last)
				}
				return nil
			})
		}
		ready()
		on.types(d, "source <(tunbridge completion "+name+")\necho loa''ded\n")
		d.await(name+"'s having read the script", func() error {
			if text := on.printed(); !strings.Contains(text, "\nloaded") {
				return fmt.Errorf("it printed %q", text)
			}
			return nil
		})
		for _, x := range append(typed, struct{ keys, becomes string }{"leases " + nameless.ID[:6] + "\t", "[leases][" + nameless.ID + "]"}) {
			// Names that do not come in the time that somebody who types will wait are left out: on a busy machine
			// it is typed again.
			file, got := filepath.Join(c.Dir, "typed"), ""
			for try := 0; try < 5 && got != x.becomes; try++ {
				ready()
				if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				on.types(d, "tunbridge "+x.keys+"\n")
				d.await(name+"'s running what was typed", func() error {
					text, err := os.ReadFile(file)
					got = string(text)
					return err
				})
			}
			if got != x.becomes {
				t.Fatalf("%s: %q became %s; it printed %q", name, x.keys, got, on.printed())
			}
		}
		ready()
		on.types(d, "exit\n")
		if err := <-on.ended; err != nil {
			t.Logf("%s: %v", name, err)
		}
	}

	for line, want := range map[string]string{
		"tunbridge expl":                   "explain",
		"tunbridge explain port w":         "web-1",
		"tunbridge explain host ":          "compute01",
		"tunbridge trace web-1 sql\\ ":     "sql 1",
		"tunbridge flows --bridge br-t":    "br-tun",
		"tunbridge flows --bridge=br-t":    "--bridge=br-tun",
		"tunbridge flows compute01 --stal": "--stale",
		"tunbridge plan -f port.j":         "port.json",
	} {
		c := shell("fish", "--no-config", "-c", "tunbridge completion fish | source; complete -C '"+line+"'")
		text, err := c.Output()
		var words []string
		for l := range strings.Lines(string(text)) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			words = append(words, word)
		}
		if err != nil || len(words) != 1 || strings.ReplaceAll(words[0], `\`, "") != want {
			t.Errorf("fish completes %q by %q, error %v", line, words, err)
		}
	}

	// No controller, no names, no words either.
	c := exec.Command(program, "complete", "explain", "host", "")
	c.Env = append(os.Environ(), "TUNBRIDGE_ADMIN=unix:/nowhere")
	if text, err := c.CombinedOutput(); err != nil || len(text) > 0 {
		t.Errorf("without a controller: error %v, %q", err, text)
	}
}
