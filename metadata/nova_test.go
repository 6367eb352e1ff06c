package metadata

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// novaAPI is Nova's metadata API as far as this proxy can tell: it believes who signs, and knows which
// project an instance is of.
type novaAPI struct {
	secret string
	answer http.HandlerFunc // to those it believes
}

func (n *novaAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// As webob sees headers: a hyphen and an underscore are the same, and the last one counts.
	environ := map[string]string{}
	for name, values := range r.Header {
		key := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if environ[key] += strings.Join(values, ","); len(values) != 1 || environ[key] != values[0] {
			http.Error(w, name+" came twice", http.StatusTeapot)
			return
		}
	}
	h := hmac.New(sha256.New, []byte(n.secret))
	h.Write([]byte(environ["X_INSTANCE_ID"]))
	switch {
	case environ["X_INSTANCE_ID"] == "" || environ["X_TENANT_ID"] == "":
		http.Error(w, "who is it?", http.StatusBadRequest)
	case !hmac.Equal([]byte(environ["X_INSTANCE_ID_SIGNATURE"]), []byte(hex.EncodeToString(h.Sum(nil)))):
		http.Error(w, "not signed by whom I know", http.StatusForbidden)
	case environ["X_TENANT_ID"] != "project":
		http.Error(w, "not yours", http.StatusNotFound)
	default:
		n.answer(w, r)
	}
}

// withNova makes a server that asks such a Nova, and the machines of some networks.
func withNova(t *testing.T, networks int, secret string, answer http.HandlerFunc) (*Server, []*guest, *httptest.Server) {
	t.Helper()
	upstream := httptest.NewServer(&novaAPI{"shared secret", answer})
	t.Cleanup(upstream.Close)
	at, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Nova: at, Secret: []byte(secret)})
	return s, bootAll(t, s, deployment(networks)), upstream
}

// Everything of a request gets to Nova but what a machine says of its identity: that is the port's.
func TestNova(t *testing.T) {
	t.Parallel()
	_, guests, upstream := withNova(t, 2, "shared secret", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name := range r.Header {
			if strings.HasPrefix(name, "X") && !strings.HasPrefix(name, "X-Instance-Id") && name != "X-Tenant-Id" && name != "X-Forwarded-For" {
				t.Errorf("a machine's %s got through", name)
			}
		}
		w.Header().Set("Content-Type", "text/x-nova")
		fmt.Fprintf(w, "%s %s %s from %s to %s with %q %q", r.Method, r.RequestURI, r.Header.Get("X-Instance-ID"), r.Header.Get("X-Forwarded-For"), r.Host, body, r.Header.Get("User-Agent"))
	})
	host := strings.TrimPrefix(upstream.URL, "http://")
	forged := http.Header{"User-Agent": {"cloud-init"}, "Connection": {"X-Instance-ID, upgrade"}, "Upgrade": {"websocket"}, "Forwarded": {"for=192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}}
	for _, name := range []string{"X-Instance-ID", "x_instance_id", "X_Instance-Id", "X-Instance-ID-Signature", "X-Tenant-ID", "x_tenant_id", "X-Forwarded-For", "x_forwarded_for",
		"X-Neutron-Network-ID", "X-Neutron-Router-ID", "X-OVN-Network-ID", "X-Metadata-Provider", "X-Metadata-Provider-Signature", "X-Project-ID"} {
		forged[name] = []string{id(0xb0, 9).String()} // as it is, not as net/http would write it
	}
	for i, g := range guests {
		for _, from := range []struct{ base, address string }{{overIPv4, "10.0.0.5"}, {overIPv6, guestIPv6}} {
			for _, c := range []struct{ method, path, body string }{
				{"GET", "/latest/meta-data/", ""}, {"GET", "/openstack/2018-08-27//a%2Fb;c?x=%zz&y;z=1", ""}, {"POST", "/openstack/latest/password", strings.Repeat("p", 64<<10)}, {"PUT", "/x", "1"}, {"DELETE", "/y", ""},
			} {
				status, body, err := g.ask(c.method, from.base+c.path, forged.Clone(), strings.NewReader(c.body))
				want := fmt.Sprintf("%s %s %s from %s to %s with %q %q", c.method, c.path, id(0xb0, byte(i+1)), from.address, host, c.body, "cloud-init")
				if err != nil || status != 200 || body != want {
					t.Errorf("%s %s: %d, %v, %.300s; want %.300s", c.method, c.path, status, err, body, want)
				}
			}
		}
	}
}

// What Nova answers is what the machine gets, but for statuses that say the deployment is wrong.
func TestStatus(t *testing.T) {
	t.Parallel()
	answer := 200
	s, guests, upstream := withNova(t, 1, "shared secret", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://192.0.2.1/")
		w.WriteHeader(answer)
		fmt.Fprint(w, "as Nova says")
	})
	for _, answer = range []int{200, 201, 301, 302, 400, 401, 403, 404, 405, 409, 429, 500, 501, 502, 503, 504} {
		status, body, err := guests[0].ask("GET", overIPv4+"/", nil, nil)
		want := answer
		switch answer {
		case 301, 302, 401, 405, 501:
			want = 500
		}
		if err != nil || status != want || (want == answer) != (body == "as Nova says") {
			t.Errorf("%d became %d: %q, %v", answer, status, body, err)
		}
		if s.Counts().Answers[want] == 0 {
			t.Errorf("%d is not counted", want)
		}
	}
	upstream.Close()
	start := time.Now()
	if status, _, err := guests[0].ask("GET", overIPv4+"/", nil, nil); err != nil || status != 503 || time.Since(start) > 3*time.Second {
		t.Errorf("with Nova down: %d after %s, %v", status, time.Since(start), err)
	}

	_, guests, _ = withNova(t, 1, "another secret", nil)
	if status, _, err := guests[0].ask("GET", overIPv4+"/", nil, nil); err != nil || status != 403 {
		t.Errorf("with another secret: %d, %v", status, err)
	}
}

// A port that no instance uses is not asked for.
func TestNoInstance(t *testing.T) {
	t.Parallel()
	at, _ := url.Parse("http://192.0.2.1")
	s := serve(t, Options{Nova: at, Secret: []byte("x")})
	v := deployment(1)
	v.Networks[0].Local[0].DeviceID = ""
	if status, _, err := bootAll(t, s, v)[0].ask("GET", overIPv4+"/", nil, nil); err != nil || status != 404 {
		t.Errorf("%d, %v", status, err)
	}
}

func TestOptions(t *testing.T) {
	for at, secret := range map[string]string{"nova:8775": "x", "ftp://nova": "x", "http://": "x", "http://nova:8775": ""} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Nova: u, Secret: []byte(secret)}); err == nil {
			t.Errorf("%s with the secret %q is taken", at, secret)
		}
	}
}

// Requests beyond the rate are refused with 429, after which cloud-init tries again.
func TestRequestRate(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	const burst = 5
	s.clients.rate, s.clients.burst = 1.0/60, burst
	guests := bootAll(t, s, deployment(2))
	for i := range 7 {
		want := http.StatusOK
		if i >= burst {
			want = http.StatusTooManyRequests
		}
		if status, _, err := guests[0].ask("GET", overIPv4+"/latest", nil, nil); err != nil || status != want {
			t.Errorf("request %d: %d, %v", i, status, err)
		}
	}
	if status, _, err := guests[1].ask("GET", overIPv4+"/latest", nil, nil); err != nil || status != 200 {
		t.Errorf("another machine's request: %d, %v", status, err)
	}
}

// What one port may have at once and ask for.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	guests := bootAll(t, s, deployment(2))

	status, _, err := guests[0].ask("POST", overIPv4+"/", nil, strings.NewReader(strings.Repeat("x", maxBody+1)))
	if err != nil || status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d, %v", status, err)
	}
	status, _, _ = guests[0].ask("GET", overIPv4+"/", http.Header{"A": {strings.Repeat("x", maxHeader+8<<10)}}, nil) // and the connection is reset
	if status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a large header: %d, %v", status, err)
	}

	var open []net.Conn
	dial := guests[0].http.Transport.(*http.Transport).DialContext
	guests[0].http.CloseIdleConnections()
	for range maxConnections + 10 {
		c, err := dial(t.Context(), "tcp", "169.254.169.254:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	served := 0
	for _, c := range open {
		fmt.Fprint(c, "GET /latest HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
			served++
		}
	}
	if served != maxConnections || s.Counts().Refused != 10 {
		t.Errorf("%d connections of one machine are served, %d refused", served, s.Counts().Refused)
	}
	if status, _, err = guests[1].ask("GET", overIPv4+"/latest", nil, nil); err != nil || status != 200 {
		t.Errorf("another machine's connection: %d, %v", status, err)
	}
}
