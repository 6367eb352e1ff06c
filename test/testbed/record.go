package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// record is what a bed has made, on disk before it is made, so that another
// process can remove it when this one was killed.
type record struct {
	Prefix     string      `json:"prefix"`
	Owner      processID   `json:"owner"`
	Keep       bool        `json:"keep"`
	Dir        string      `json:"dir"`
	Namespaces []string    `json:"namespaces"`
	Processes  []processID `json:"processes"`

	mu   sync.Mutex
	path string
}

// processID names a process for good: a PID is used again, but not with the same start time.
type processID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot: field 22 of /proc/PID/stat, proc(5)
}

var validPrefix = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// registry holds one directory per bed of this user, each with its state.json.
func registry() string {
	if os.Geteuid() == 0 {
		return "/run/tunbridge-testbed"
	}
	return fmt.Sprintf("/tmp/tunbridge-testbed-%d", os.Geteuid())
}

// newRecord reserves a prefix: the one given, or a random one that is free.
func newRecord(prefix string, keep bool) (*record, error) {
	if prefix != "" && !validPrefix.MatchString(prefix) {
		return nil, fmt.Errorf("testbed prefix %q: want 1 to 8 of a-z and 0-9", prefix)
	}
	if err := os.MkdirAll(registry(), 0o700); err != nil {
		return nil, err
	}
	owner, err := identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		p := prefix
		if p == "" {
			p = randomPrefix()
		}
		dir := filepath.Join(registry(), p)
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			r := &record{Prefix: p, Owner: owner, Keep: keep, path: filepath.Join(dir, "state.json")}
			return r, r.save()
		}
		if prefix != "" || try == 20 || !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("testbed %s: already there, of another process or kept from an earlier run: %w", p, err)
		}
	}
}

// save writes the record; readers see the old one or the new one.
func (r *record) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.path+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(r.path+".new", r.path)
}

func (r *record) addNamespace(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Namespaces = append(r.Namespaces, name)
	return r.save()
}

func (r *record) dropNamespace(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Namespaces = slices.DeleteFunc(r.Namespaces, func(n string) bool { return n == name })
	return r.save()
}

func (r *record) addProcess(pid int) error {
	id, err := identify(pid)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Processes = slices.DeleteFunc(r.Processes, func(p processID) bool { return !p.alive() })
	r.Processes = append(r.Processes, id)
	return r.save()
}

// clear ends the recorded processes and deletes the recorded namespaces, VMs' first.
func (r *record) clear() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, p := range r.Processes {
		if p.alive() {
			errs = append(errs, ignore(syscall.Kill(p.PID, syscall.SIGKILL), syscall.ESRCH))
		}
	}
	for _, p := range r.Processes {
		for deadline := time.Now().Add(5 * time.Second); p.alive(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				errs = append(errs, fmt.Errorf("testbed %s: process %d does not die", r.Prefix, p.PID))
				break
			}
		}
	}
	for _, n := range slices.Backward(r.Namespaces) {
		if _, err := os.Stat(filepath.Join("/run/netns", n)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if out, err := exec.Command("ip", "netns", "del", n).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("delete namespace %s: %w: %s", n, err, out))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.Processes, r.Namespaces = nil, nil
	return ignore(r.save(), fs.ErrNotExist)
}

// remove takes the bed off the registry. Its own directory goes with it.
func (r *record) remove() error { return os.RemoveAll(filepath.Dir(r.path)) }

// Reap removes what is left of beds whose owner died, and of those kept on
// purpose whose prefix is given. It never touches a bed whose owner lives.
func Reap(prefixes ...string) error {
	unlock, err := lockRegistry()
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(registry())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		path := filepath.Join(registry(), e.Name(), "state.json")
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // being made or removed at this moment
		}
		r := &record{path: path}
		if err := errors.Join(err, json.Unmarshal(b, r)); err != nil {
			errs = append(errs, fmt.Errorf("testbed %s: %w", e.Name(), err))
			continue
		}
		if r.Owner.alive() || (r.Keep && !slices.Contains(prefixes, r.Prefix)) {
			continue
		}
		errs = append(errs, r.clear(), r.remove())
	}
	return errors.Join(errs...)
}

// lockRegistry keeps two processes from reaping the same bed.
func lockRegistry() (unlock func(), err error) {
	if err := os.MkdirAll(registry(), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(registry(), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// identify reads a process's start time. A zombie has ended: it is not identified.
func identify(pid int) (processID, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processID{}, err
	}
	// The second field, the name, may hold spaces and parentheses; the last ')' ends it.
	_, rest, _ := cutLast(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 20 || f[0] == "Z" {
		return processID{}, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	return processID{PID: pid, Start: start}, err
}

// alive says whether the process of then is running now.
func (p processID) alive() bool {
	now, err := identify(p.PID)
	return err == nil && now == p
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// ignore turns the one error that means "already gone" into none.
func ignore(err, gone error) error {
	if errors.Is(err, gone) {
		return nil
	}
	return err
}
