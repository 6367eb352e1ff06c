package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a long-running command that belongs to the bed: recorded, killed
// with its owner, ended by Close.
type Process struct {
	Log string // file of its standard output and error

	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read after done
}

// Start runs a command in the namespace until it ends or is ended. Its output is
// appended to <name>.log.
func (n Namespace) Start(name string, argv ...string) (*Process, error) {
	return n.start(name, nil, argv...)
}

func (n Namespace) start(name string, stdout io.Writer, argv ...string) (*Process, error) {
	p := &Process{Log: n.logPath(name), name: name, done: make(chan struct{})}
	f, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer f.Close()
	p.cmd = n.Command(context.Background(), argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not the terminal's ^C: Close ends it
	if !n.bed.keep {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := forkOnLastingThread(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	n.bed.log.Debug("started", "name", name, "namespace", n.name, "argv", p.cmd.Args, "pid", p.cmd.Process.Pid)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := n.bed.record.addProcess(p.cmd.Process.Pid); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// forkOnLastingThread calls start on a thread that lives as long as this process:
// the kernel sends the parent-death signal when the thread that forked ends
// (prctl(2)), and Go's threads do end.
func forkOnLastingThread(start func() error) error {
	forker.once.Do(func() {
		forker.calls = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range forker.calls {
				f()
			}
		}()
	})
	result := make(chan error, 1)
	forker.calls <- func() { result <- start() }
	return <-result
}

var forker struct {
	once  sync.Once
	calls chan func()
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal; a process that has ended does not mind.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop sends SIGTERM and waits for the end, at most as long as given; then it kills.
func (p *Process) Stop(within time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		return errors.Join(fmt.Errorf("stop %s: still running after %s, killed", p.name, within), p.Kill())
	}
}

// Wait waits for the end and returns how it ended.
func (p *Process) Wait() error {
	<-p.done
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// lastWords are the end of what the process wrote.
func (p *Process) lastWords() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-500):]))
}

// Usage is what a process has used so far.
type Usage struct {
	CPU  time.Duration // user and system
	RSS  int64         // bytes resident now
	Peak int64         // bytes resident at most
}

// Usage reads /proc; see proc(5).
func (p *Process) Usage() (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return Usage{}, err
	}
	_, rest, _ := cutLast(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return Usage{}, fmt.Errorf("/proc/%d/stat: %d fields", p.PID(), len(f))
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return Usage{}, err
	}
	const tick = time.Second / 100 // USER_HZ, fixed in the kernel's interface on every architecture Go has
	u := Usage{CPU: time.Duration(user+system) * tick}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return Usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			u.RSS = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			u.Peak = kib << 10
		}
	}
	return u, nil
}

// eventually polls until done says true, an end with a reason, or the time is over.
func eventually(within time.Duration, what string, done func() (bool, error)) error {
	for deadline := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		ok, err := done()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s", what, within)
		}
	}
}
