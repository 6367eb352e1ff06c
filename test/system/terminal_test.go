package system

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

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
func (d *deployment) openTerminal(columns, lines int, cmd *exec.Cmd) *terminal {
	d.t.Helper()
	t := &terminal{cmd: cmd, ended: make(chan error, 1)}
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

func (t *terminal) types(d *deployment, keys string) {
	d.t.Helper()
	if _, err := t.master.WriteString(keys); err != nil {
		d.t.Fatal(err)
	}
}
