package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// shows waits until the last whole drawing has the words, none of another, and fits the screen.
func (t *terminal) shows(d *deployment, columns, lines int, has, lacks string) {
	d.t.Helper()
	d.await(fmt.Sprintf("%q on a screen of %d columns and %d lines", has, columns, lines), func() error {
		all := t.drawings()
		last := all[len(all)-1]
		text, whole := strings.CutSuffix(last, "\x1b[J")
		if !whole || len(all) == 1 {
			return fmt.Errorf("it is being drawn: %q", last)
		}
		text = strings.ReplaceAll(text, "\x1b[K", "")
		rows := strings.Split(text, "\r\n")
		if strings.Contains(text, "\x1b") || !strings.Contains(text, has) || lacks != "" && strings.Contains(text, lacks) || len(rows) > lines {
			return fmt.Errorf("it shows\n%s", text)
		}
		for _, row := range rows {
			if utf8.RuneCountInString(row) > columns {
				return fmt.Errorf("a row of %d columns: %s", utf8.RuneCountInString(row), row)
			}
		}
		return nil
	})
}

// restored waits for the end, after which the terminal must be as before.
func (t *terminal) restored(d *deployment, after string) {
	d.t.Helper()
	select {
	case err := <-t.ended:
		if err != nil {
			d.t.Errorf("after %s: %v", after, err)
		}
	case <-time.After(patience):
		_ = t.cmd.Process.Kill()
		d.t.Fatalf("it does not end after %s", after)
	}
	if now := t.mode(d.t); now != t.before {
		d.t.Errorf("after %s the terminal's mode is %+v, and was %+v", after, now, t.before)
	}
	d.await("the terminal's own screen after "+after, func() error {
		if text := t.printed(); !strings.HasSuffix(text, "\x1b[?25h\x1b[?1049l") || strings.Count(text, "\x1b[?1049h") != strings.Count(text, "\x1b[?1049l") {
			return fmt.Errorf("the last that was printed: %q", text[max(0, len(text)-40):])
		}
		return nil
	})
	_ = errors.Join(t.master.Close(), t.slave.Close())
}

// top is drawn on a terminal, follows its size, and gives it back whichever way it ends.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	start := func() *terminal {
		screen := d.openTerminal(80, 24, exec.Command(program, "top", "--interval=100ms", "--admin=unix:"+filepath.Join(d.dataDir, "admin.sock")))
		screen.shows(d, 80, 24, h.Name, "")
		return screen
	}
	screen := start()
	if now := screen.mode(t); now.Lflag&(unix.ICANON|unix.ECHO) != 0 || now.Lflag&unix.ISIG == 0 {
		t.Errorf("keys do not come at once and unseen, or Ctrl-C is no signal: %+v", now)
	}
	screen.shows(d, 80, 24, "PLAN/s", "COMPILE")
	screen.resize(t, 120, 30)
	screen.shows(d, 120, 30, "COMPILE", "")
	screen.resize(t, 30, 3)
	screen.shows(d, 30, 3, "…", h.Name)
	screen.resize(t, 100, 24)
	screen.shows(d, 100, 24, h.Name, "")
	screen.types(d, "xq")
	screen.restored(d, "q")

	screen = start()
	screen.types(d, "\x03")
	screen.restored(d, "Ctrl-C")

	screen = start()
	if err := screen.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	screen.restored(d, "SIGTERM")

	screen = start()
	if err := screen.cmd.Process.Signal(syscall.SIGTSTP); err != nil { // Ctrl-Z does nothing where nobody could go on with it
		t.Fatal(err)
	}
	d.await("the terminal's own screen while it is stopped", func() error {
		var status [1]byte
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", screen.cmd.Process.Pid))
		if err == nil {
			_, after, _ := strings.Cut(string(stat), ") ")
			copy(status[:], after)
		}
		if err == nil && (status[0] != 'T' || screen.mode(t) != screen.before || !strings.HasSuffix(screen.printed(), "\x1b[?1049l")) {
			err = fmt.Errorf("its state is %c", status[0])
		}
		return err
	})
	if err := screen.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	screen.shows(d, 80, 24, h.Name, "")

	// The controller goes, and comes back.
	d.kill()
	screen.shows(d, 80, 24, "No answer since", "")
	screen.shows(d, 80, 24, h.Name, "")
	d.serve()
	d.settled(h)
	screen.shows(d, 80, 24, "1 of them ok", "No answer since")
	d.kill()
	screen.shows(d, 80, 24, "No answer since", "")
	screen.types(d, "q")
	screen.restored(d, "q without a controller")
	if text, err := d.tool("top", "--interval=100ms"); exitStatus(err) != 2 || strings.Contains(text, "\x1b") {
		t.Errorf("without a controller and a terminal: %q, error %v", text, err)
	}
	d.serve()
	d.settled(h)
}
