package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listener serves the API to real connections with the limits of a public one, of which change may make
// the times shorter. closed has an item for each connection that the server has ended.
func listener(t *testing.T, change func(*http.Server)) (address string, closed chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := HTTP(newBench(t).server)
	change(server)
	closed = make(chan struct{}, 10)
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String(), closed
}

// TestSlowClients are cut off, each by the limit that is for it.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const get = "GET /v2.0/openapi.json HTTP/1.1\r\nHost: api.test\r\n\r\n"
	for _, c := range []struct {
		name   string
		change func(*http.Server)
		sent   string
		answer string // that is read before, or because, it is cut off
	}{
		{"sends nothing", func(s *http.Server) { s.ReadHeaderTimeout /= 20 }, "", ""},
		{"stops in the header", func(s *http.Server) { s.ReadHeaderTimeout /= 20 }, get[:20], ""},
		{"stops in the body", func(s *http.Server) { s.ReadTimeout /= 10 }, "POST /v2.0/networks HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\n{", "408 Request Timeout"},
		{"asks nothing more", func(s *http.Server) { s.IdleTimeout /= 40 }, get, "200 OK"},
		// The answers to these are more than the buffers of a connection hold.
		{"does not read", func(s *http.Server) { s.WriteTimeout /= 40 }, strings.Repeat(get, 100), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address, closed := listener(t, c.change)
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Fatal(err)
			}
			if c.answer != "" {
				r, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || r.Status != c.answer {
					t.Fatalf("the answer is %v, error %v", r, err)
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-closed:
			case <-time.After(30 * time.Second):
				t.Error("it is still connected")
			}
		})
	}
}

// TestLargeRequests are refused however they come, without waiting for the rest.
func TestLargeRequests(t *testing.T) {
	t.Parallel()
	address, _ := listener(t, func(*http.Server) {})
	ask := func(what, header string, body io.Reader, want int) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() { // the server need not read it all
			io.WriteString(conn, "POST /v2.0/networks HTTP/1.1\r\nHost: api.test\r\n"+header+"\r\n")
			io.Copy(conn, body)
		}()
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || r.StatusCode != want || !r.Close {
			t.Errorf("%s: %v, error %v, not %d", what, r, err, want)
		}
	}
	ask("a header", "X-A: "+strings.Repeat("a", maxHeader+8192)+"\r\n", strings.NewReader(""), http.StatusRequestHeaderFieldsTooLarge)
	ask("a body", fmt.Sprintf("Content-Length: %d\r\n", 1<<40), io.LimitReader(zeros{}, maxBody+1), http.StatusRequestEntityTooLarge)
	ask("a body of chunks", "Transfer-Encoding: chunked\r\n", io.MultiReader(strings.NewReader("fffffff\r\n"), io.LimitReader(zeros{}, maxBody+1)), http.StatusRequestEntityTooLarge)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
