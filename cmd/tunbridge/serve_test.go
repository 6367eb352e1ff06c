package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 30 * time.Second

// service is the program, serving as systemd's service.
type service struct {
	*testing.T
	process *exec.Cmd
	ended   chan error
	told    chan string // what systemd is told
	log     string      // file
	api     string      // address
}

// started starts the program with its data in dir and waits until it says that it is ready.
func started(t *testing.T, dir string, flags ...string) *service {
	t.Helper()
	run := t.TempDir()
	s := &service{T: t, ended: make(chan error, 1), told: make(chan string, 10), log: filepath.Join(run, "log")}
	socket := filepath.Join(run, "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { systemd.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			n, err := systemd.Read(b)
			if err != nil {
				return
			}
			s.told <- string(b[:n])
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.process = exec.Command(self, append([]string{"serve", "--data-dir", dir, "--admin-listen=unix:" + filepath.Join(run, "admin"), "--metrics-listen=",
		"--api-listen=127.0.0.1:0", "--ovsdb-listen=tcp:127.0.0.1:0", "--openflow-listen=tcp:127.0.0.1:0"}, flags...)...)
	s.process.Env = append(os.Environ(), programEnv+"=1", "NOTIFY_SOCKET="+socket)
	s.process.Stderr = log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.process.Process.Kill() })
	go func() { s.ended <- s.process.Wait() }()
	s.tells("READY=1")
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`msg=serving api=(\S+)`).FindSubmatch(text)
	if address == nil {
		t.Fatalf("it does not say where it serves:\n%s", text)
	}
	s.api = string(address[1])
	return s
}

// tells waits until systemd is told.
func (s *service) tells(state string) {
	s.Helper()
	select {
	case got := <-s.told:
		if got != state {
			s.Fatalf("systemd is told %s, not %s", got, state)
		}
	case err := <-s.ended:
		text, _ := os.ReadFile(s.log)
		s.Fatalf("it ended: %v\n%s", err, text)
	case <-time.After(patience):
		s.Fatalf("systemd is not told %s", state)
	}
}

// signal asks the program to end, and waits until it has begun to.
func (s *service) signal() {
	s.Helper()
	s.process.Process.Signal(syscall.SIGTERM)
	s.tells("STOPPING=1")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", s.api)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			c.Close()
		}
		if time.Now().After(deadline) {
			s.Fatalf("it still listens: %v", err)
		}
	}
}

// ends waits for the program's end.
func (s *service) ends() error {
	s.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.Fatal("it has not ended")
		return nil
	}
}

// halfway is a connection with the first half of a request to create a network, and the other half.
func (s *service) halfway() (net.Conn, string) {
	s.Helper()
	const body = `{"network":{"name":"late"}}`
	c, err := net.Dial("tcp", s.api)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	// The server asks for the body when it has begun with the request.
	fmt.Fprintf(c, "POST /v2.0/networks HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	const asked = "HTTP/1.1 100 Continue\r\n\r\n"
	got := make([]byte, len(asked))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != asked {
		s.Fatalf("%q, error %v", got, err)
	}
	io.WriteString(c, body[:9])
	return c, body[9:]
}

// TestEnd ends the program under requests.
func TestEnd(t *testing.T) {
	t.Parallel()
	t.Run("a request under way is finished", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := started(t, dir)
		idle, err := net.Dial("tcp", s.api)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		io.WriteString(idle, "GET /healthcheck HTTP/1.1\r\nHost: api.test\r\n\r\n")
		answers := bufio.NewReader(idle)
		if r, err := http.ReadResponse(answers, nil); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%v, error %v", r, err)
		} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Fatal(err)
		}
		late, rest := s.halfway()
		s.signal()
		if _, err := answers.ReadByte(); err != io.EOF {
			t.Errorf("a connection without a request: %v", err)
		}
		io.WriteString(late, rest)
		r, err := http.ReadResponse(bufio.NewReader(late), nil)
		if err != nil || r.StatusCode != http.StatusCreated || !r.Close {
			t.Fatalf("the request under way: %v, error %v", r, err)
		}
		if err := s.ends(); err != nil {
			t.Errorf("its end: %v", err)
		}
		again := started(t, dir)
		r, err = http.Get("http://" + again.api + "/v2.0/networks?name=late")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var list struct{ Networks []struct{ ID string } }
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil || len(list.Networks) != 1 {
			t.Errorf("afterwards there are %v, error %v", list.Networks, err)
		}
		again.signal()
		if err := again.ends(); err != nil {
			t.Errorf("its end: %v", err)
		}
	})
	t.Run("a request that is never complete is cut off", func(t *testing.T) {
		t.Parallel()
		s := started(t, t.TempDir())
		late, _ := s.halfway()
		s.signal()
		if err := s.ends(); err != nil {
			t.Errorf("its end: %v", err)
		}
		if b, err := io.ReadAll(late); len(b) > 0 {
			t.Errorf("the answer to half a request: %q, error %v", b, err)
		}
	})
	t.Run("the second signal does not wait", func(t *testing.T) {
		t.Parallel()
		s := started(t, t.TempDir())
		s.halfway()
		s.signal()
		s.process.Process.Signal(syscall.SIGTERM)
		err := s.ends()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("its end: %v", err)
		}
	})
}

// TestTLS connects to the real listener with what is too old, with none, and after a renewal.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	s := started(t, t.TempDir(), "--api-tls-cert="+cert, "--api-tls-key="+key)
	dial := func(newest uint16) (*tls.Conn, error) {
		return tls.Dial("tcp", s.api, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: newest})
	}
	serial := func(newest uint16) (int64, error) {
		c, err := dial(newest)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	if _, err := serial(tls.VersionTLS11); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if n, err := serial(version); err != nil || n != 1 {
			t.Errorf("%s: certificate %d, error %v", tls.VersionName(version), n, err)
		}
	}
	before, err := dial(tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	answers := bufio.NewReader(before)
	ask := func(when string) {
		t.Helper()
		io.WriteString(before, "GET /healthcheck HTTP/1.1\r\nHost: api.test\r\n\r\n")
		r, err := http.ReadResponse(answers, nil)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("on a connection from before the renewal, %s it: %v, error %v", when, r, err)
		}
		io.Copy(io.Discard, r.Body)
	}
	ask("before")
	r, err := http.Get("http://" + s.api + "/")
	if err != nil || r.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %v, error %v", r, err)
	} else {
		r.Body.Close()
	}
	if text, err := os.ReadFile(s.log); err != nil || !strings.Contains(string(text), `level=INFO msg="http: TLS handshake error from 127.0.0.1:`) {
		t.Errorf("error %v, and the log has nothing of TLS 1.1:\n%s", err, text)
	}
	certificate(t, dir, 2)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		n, err := serial(tls.VersionTLS13)
		if err == nil && n == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after renewal: certificate %d, error %v", n, err)
		}
	}
	ask("after")
	s.signal()
	if err := s.ends(); err != nil {
		t.Errorf("its end: %v", err)
	}
}
