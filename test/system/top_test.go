package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal with a program on it.
type terminal struct {
	master, slave *os.File
	before        unix.Termios
	cmd           *exec.Cmd
	ended         chan error

	mu   sync.Mutex
	text strings.Builder
}

// openTerminal runs the command on a terminal of that size, which is its controlling one.
func (d *deployment) openTerminal(columns, lines int, args ...string) *terminal {
	d.t.Helper()
	t := &terminal{ended: make(chan error, 1)}
	open := func(name string, flags int) *os.File {
		fd, err := unix.Open(name, flags|unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			d.t.Fatalf("%s: %v", name, err)
		}
		return os.NewFile(uintptr(fd), name)
	}
	t.master = open("/dev/ptmx", unix.O_NONBLOCK)
	number, err := unix.IoctlGetInt(int(t.master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(t.master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	t.slave = open(fmt.Sprintf("/dev/pts/%d", number), 0)
	t.resize(d.t, columns, lines)
	t.before = t.mode(d.t)
	t.cmd = exec.Command(program, append(args, "--admin=unix:"+filepath.Join(d.dataDir, "admin.sock"))...)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = t.slave, t.slave, t.slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		part := make([]byte, 4096)
		for {
			n, err := t.master.Read(part)
			t.mu.Lock()
			t.text.Write(part[:n])
			t.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() { t.ended <- t.cmd.Wait() }()
	return t
}

func (t *terminal) resize(by tester, columns, lines int) {
	by.Helper()
	if err := unix.IoctlSetWinsize(int(t.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(lines)}); err != nil {
		by.Fatal(err)
	}
}

func (t *terminal) mode(by tester) unix.Termios {
	by.Helper()
	m, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		by.Fatal(err)
	}
	return *m
}

func (t *terminal) printed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func (t *terminal) drawings() []string { return strings.Split(t.printed(), "\x1b[H") }

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

func (t *terminal) types(d *deployment, keys string) {
	d.t.Helper()
	if _, err := t.master.WriteString(keys); err != nil {
		d.t.Fatal(err)
	}
}

// top is drawn on a terminal, follows its size, and gives it back whichever way it ends.
func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	start := func() *terminal {
		screen := d.openTerminal(80, 24, "top", "--interval=100ms")
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
