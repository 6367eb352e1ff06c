// Package cli has the operator's commands, one file each. Every one of them is a question to a running
// controller's admin API (package controller/inspect); the package has nothing of its own.
package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"syscall"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Admin are the flags that all commands share.
type Admin struct {
	Admin string `help:"Admin address of the controller, unix:PATH or tcp:ADDRESS:PORT; default unix:DATA-DIR/admin.sock." placeholder:"ADDRESS"`
	JSON  bool   `name:"json" help:"Print JSON."`

	out io.Writer // os.Stdout unless a test sets it
}

// DefaultDataDir is where the controller keeps its data when it is told nothing else.
func DefaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/tunbridge"
	}
	return "tunbridge-data"
}

func (a *Admin) client() (*inspect.Client, error) {
	address := a.Admin
	if address == "" {
		address = "unix:" + filepath.Join(DefaultDataDir(), "admin.sock")
	}
	return inspect.NewClient(address)
}

func (a *Admin) stdout() io.Writer {
	if a.out != nil {
		return a.out
	}
	return os.Stdout
}

// print writes what v points to as JSON if that was asked for, else as text does, with all names in it cleaned.
func (a *Admin) print(v any, text func(w io.Writer) error) error {
	if !a.JSON {
		cleanAll(reflect.ValueOf(v), "")
		w := &fit{w: a.stdout()}
		if err := text(w); err != nil {
			return err
		}
		return w.flush("")
	}
	e := json.NewEncoder(a.stdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// interruptible is a context that ends with Ctrl-C, or when the process is asked to end.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}
