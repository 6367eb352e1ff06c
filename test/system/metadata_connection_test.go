package system

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// web asks for metadata as a program in the machine would.
func (m *machine) web() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: m.DialContext, MaxIdleConnsPerHost: 1}}
}

// dial opens a connection to the metadata address, which is closed at the test's end.
func (m *machine) dial(t *testing.T) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := m.DialContext(ctx, "tcp", "169.254.169.254:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// request sends a request without waiting for its answer.
func request(t *testing.T, c net.Conn, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: metadata\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

// response waits for an answer and reads it to its end.
func response(c net.Conn, within time.Duration) (status int, err error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return 0, err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, err
}

// addMachine plugs a machine with an instance's metadata, whose address is the port's and whose route to
// the metadata is DHCP's.
func (d *deployment) addMachine(host *testbed.Host, n *network, name string, userData []byte) *machine {
	d.t.Helper()
	m := &machine{instance: "instance-of-" + name, userData: string(userData)}
	var made struct{ Port port }
	d.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": n.ID, "binding:host_id": host.Name, "device_id": m.instance, "project_id": "project",
		"tunbridge:metadata": object{"hostname": name, "user_data": base64.StdEncoding.EncodeToString(userData)}}}, &made)
	m.port = &made.Port
	vm, err := host.AddVM("vm-"+name, m.port.vif())
	if err != nil {
		d.t.Fatal(err)
	}
	m.VM = vm
	d.become("ACTIVE", m.port)
	if _, err := m.DHCP(); err != nil {
		d.t.Fatal(err)
	}
	return m
}

// What a machine may send and be sent, over how many connections, and how often.
func TestMetadataLimits(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d, host := deployReal(t)
	n := d.addNetwork("blue", "10.0.0.0/24")
	userData := bytes.Repeat([]byte("64 KiB in base64\n"), 3*65535/4/17)
	m, other := d.addMachine(host, n, "one", userData), d.addMachine(host, n, "two", nil)

	// Many answers over one connection, the largest that there is among them.
	var dialled atomic.Int32
	client := m.web()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return m.DialContext(ctx, network, address)
	}
	get := func(path string) (int, string) {
		t.Helper()
		r, err := client.Get(metadataIPv4 + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	for range 20 {
		if status, body := get("/openstack/latest/user_data"); status != 200 || body != m.userData {
			t.Fatalf("user data: %d, %d bytes, want %d", status, len(body), len(m.userData))
		}
		if status, body := get("/latest/meta-data/hostname"); status != 200 || body != "one" {
			t.Fatalf("hostname: %d, %q", status, body)
		}
	}
	if got := dialled.Load(); got != 1 {
		t.Errorf("%d connections for requests that follow each other", got)
	}

	client.CloseIdleConnections()

	// A port has 64 connections; what is beyond is closed, and no other port's.
	served, closed := 0, 0
	var open []net.Conn
	for range 80 {
		c := m.dial(t)
		open = append(open, c)
		_, _ = fmt.Fprint(c, "GET /latest HTTP/1.1\r\nHost: metadata\r\n\r\n")
		switch status, err := response(c, patience); {
		case err == nil && status == 200:
			served++
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			closed++
		default:
			t.Errorf("a connection too many: status %d, %v", status, err)
		}
	}
	if served < 63 || served > 64 || served+closed != len(open) { // the client above may have one still
		t.Errorf("%d connections are served, %d closed", served, closed)
	}
	if status, body, err := other.curl(metadataIPv4 + "/latest/meta-data/hostname"); status != "200" || body != "two" {
		t.Errorf("the neighbour, meanwhile: %s, %q, %v", status, body, err)
	}
	for _, c := range open {
		c.Close()
	}

	// Requests beyond 500 at once and 100 a second are refused, and cloud-init asks again. They are sent
	// together, so that a busy machine is fast enough.
	d.await("requests refused", func() error {
		const requests = 800
		c := m.dial(t)
		defer c.Close()
		go fmt.Fprint(c, strings.Repeat("GET /latest HTTP/1.1\r\nHost: metadata\r\n\r\n", requests))
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		statuses := map[int]int{}
		answers := bufio.NewReader(c)
		for range requests {
			r, err := http.ReadResponse(answers, nil)
			if err != nil {
				return fmt.Errorf("after %v: %w", statuses, err)
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return err
			}
			statuses[r.StatusCode]++
		}
		if statuses[200]+statuses[429] != requests || statuses[429] == 0 {
			return fmt.Errorf("answered with %v", statuses)
		}
		return nil
	})
	if status, _, err := other.curl(metadataIPv4 + "/latest"); status != "200" {
		t.Errorf("the neighbour, meanwhile: %s, %v", status, err)
	}
	d.await("requests answered again", func() error {
		status, _ := get("/latest")
		return is(status, 200)
	})
}

// The controller is stopped, and killed, while machines have connections to Nova: the connections end, and
// who asks again is answered.
func TestMetadataRestart(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	listening := make(chan struct{}, 8) // an element for each request that Nova thinks about
	think := make(chan struct{})
	nova := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			listening <- struct{}{}
			<-think
		}
		fmt.Fprint(w, r.Header.Get("X-Instance-ID"))
	})}
	d, host := deployReal(t, "--metadata-url=http://"+testbed.ManagementAddr.String()+":8775", "--metadata-secret-file="+secretFile(t))
	listener, err := d.bed.Underlay.Listen("tcp", testbed.ManagementAddr.String()+":8775")
	if err != nil {
		t.Fatal(err)
	}
	go nova.Serve(listener)
	defer nova.Close()
	defer close(think)
	m := d.addMachine(host, d.addNetwork("blue", "10.0.0.0/24"), "one", nil)
	slow := func() net.Conn {
		t.Helper()
		c := m.dial(t)
		request(t, c, "/slow")
		select {
		case <-listening:
		case <-time.After(patience):
			t.Fatal("Nova is not asked")
		}
		return c
	}
	answered := func(what string) {
		t.Helper()
		if status, body, err := m.curl("--retry-connrefused", metadataIPv4+"/latest"); status != "200" || body != m.instance {
			t.Errorf("%s: %s, %q, %v", what, status, body, err)
		}
	}
	idle := func() net.Conn {
		t.Helper()
		c := m.dial(t)
		request(t, c, "/latest")
		if status, err := response(c, patience); status != 200 {
			t.Fatal(status, err)
		}
		return c
	}

	// Stopped, it says goodbye: nobody waits for an answer that does not come. Its last frames may be lost on
	// a busy machine, but not again and again.
	for try := 1; ; try++ {
		waits, rests := slow(), idle()
		if err := d.process.Stop(patience); err != nil {
			t.Fatal(err)
		}
		_, err1 := response(waits, patience/10)
		_, err2 := response(rests, patience/10)
		d.serve()
		d.quiet(host.Name)
		answered("after a stop")
		if err1 == nil || err2 == nil {
			t.Fatal("a controller that was stopped answers")
		}
		if !errors.Is(err1, os.ErrDeadlineExceeded) && !errors.Is(err2, os.ErrDeadlineExceeded) {
			break
		}
		if try == 5 {
			t.Fatalf("of a controller that is stopped a request under way heard %v, an idle connection %v", err1, err2)
		}
	}

	// Killed, it cannot; the next one ends the connections that it hears of and does not know. Of one that waits
	// for an answer it hears, too: a request is acknowledged with its answer only.
	rests := idle()
	program := m.web() // has an idle connection too
	ask := func() error {
		r, err := program.Get(metadataIPv4 + "/latest")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = is(string(body), m.instance)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	waits := slow()
	d.kill()
	request(t, rests, "/latest") // which nobody hears, until the machine says it again
	asked := make(chan error, 1)
	go func() { asked <- ask() }()
	fresh := make(chan error, 1)
	go func() {
		status, body, err := m.curl("--max-time", "60", metadataIPv4+"/latest") // its SYN is repeated too
		if status != "200" || body != m.instance {
			fresh <- fmt.Errorf("%s, %q, %w", status, body, err)
			return
		}
		fresh <- nil
	}()
	d.serve()
	d.quiet(host.Name)
	if status, err := response(rests, patience); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that the next controller does not know: %d, %v", status, err)
	}
	if status, err := response(waits, patience); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a request that the controller was killed over: %d, %v", status, err)
	}
	if err := <-asked; err != nil {
		t.Errorf("a program that keeps its connection: %v", err)
	}
	if err := <-fresh; err != nil {
		t.Errorf("a program that asked while the controller was away: %v", err)
	}
	answered("after a kill")
}

// secretFile is a file with what Nova and the controller share.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(strings.Repeat("secret ", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
