package store

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// crashDir names the store of a child process that is to be killed.
const crashDir = "TUNBRIDGE_TEST_CRASH_DIR"

// A kill while 1,000 creates are always under way leaves a store with nothing broken, in which
// every create that was answered is to be found.
func TestKillInTheMiddleOfCreates(t *testing.T) {
	for _, after := range []int{1, 300, 700} {
		t.Run(fmt.Sprintf("after %d answers", after), func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), crashDir+"="+dir)
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			defer child.Process.Kill()
			var answered []uuid.UUID
			for lines := bufio.NewScanner(out); lines.Scan(); {
				id, err := uuid.Parse(strings.TrimSpace(lines.Text()))
				if err != nil {
					t.Fatal(err)
				}
				answered = append(answered, id)
				if len(answered) == after {
					if err := child.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
			child.Wait()
			if len(answered) < after {
				t.Fatalf("%d creates were answered, want %d", len(answered), after)
			}

			s, err := OpenEmbedded(t.Context(), dir, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			checked(t, s)
			for _, id := range answered {
				if _, ok := s.Snapshot().Port(id); !ok {
					t.Errorf("port %s was answered and is not there", id)
				}
			}
		})
	}
}

// crashChild creates ports, 1,000 at once, until it is killed, and says the id of each that was answered.
func crashChild(dir string) {
	ctx := context.Background()
	s, err := OpenEmbedded(ctx, dir, quiet())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	network := newNetwork(7)
	subnet := newSubnet(network, "10.0.0.0/8")
	if _, err := s.Update(ctx, func(tx *Tx) error {
		return first(tx.PutNetwork(network), tx.PutSubnet(subnet))
	}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			for n := i; ; n += 1000 {
				port := newPort(network, n)
				port.FixedIPs = fixed(subnet, netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}))
				if _, err := s.Update(ctx, func(tx *Tx) error { return tx.PutPort(port) }); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				os.Stdout.WriteString(port.ID.String() + "\n")
			}
		})
	}
	all.Wait()
}
