package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/keystone"
)

// programEnv makes the test's executable the program itself.
const programEnv = "TUNBRIDGE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// certificate writes a self-signed certificate of 127.0.0.1 and its key, and returns their files.
func certificate(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "tunbridge"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: secret}, cert: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestWhoMayListen(t *testing.T) {
	const asks = "auth: keystone\nkeystone-url: https://192.0.2.1:5000/v3\nkeystone-username: neutron\nkeystone-password-file: /p\n"
	for _, c := range []struct{ file, refused string }{
		{"", ""},
		{"api-listen: 192.0.2.1:9696", "asks nobody"},
		{"api-listen: 192.0.2.1:9696\ninsecure: true", ""},
		{"api-listen: 192.0.2.1:9696\napi-tls-cert: /c\napi-tls-key: /k", "asks nobody"},
		{asks, ""},
		{asks + "api-listen: 192.0.2.1:9696", "has no TLS"},
		{asks + "api-listen: :9696", "has no TLS"},
		{asks + "api-listen: 192.0.2.1:9696\napi-tls-cert: /c\napi-tls-key: /k", ""},
		{asks + "api-tls-cert: /c", "go together"},
		{asks + "metrics-listen: 192.0.2.1:9697\napi-tls-cert: /c\napi-tls-key: /k", "metrics-listen"},
		{asks + "keystone-cache-time: 2h", "1s to 1h"},
		{"auth: keystone", "needs keystone-url"},
		{"keystone-url: https://192.0.2.1:5000/v3", "auth is none"},
		{strings.Replace(asks, "https", "http", 1), "without TLS"},
		{strings.Replace(asks, "https://192.0.2.1", "http://127.0.0.1", 1), ""},
		{strings.Replace(asks, "https://", "", 1), "want http://HOST"},
		{strings.Replace(asks, "https", "http", 1) + "insecure: true", ""},
	} {
		s, err := configured(t, c.file)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		switch err := s.check(); {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", c.file, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v, not %q", c.file, err, c.refused)
		}
		if want := !strings.Contains(c.file, "auth:"); s.claimUnbound() != want {
			t.Errorf("%s: unbound ports are claimed: %v", c.file, !want)
		}
	}
}

// TestRenewedCertificate replaces the files under a running server.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	config, err := serverTLS(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		got, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	time.Sleep(1100 * time.Millisecond)
	if err := os.WriteFile(cert, []byte("half of"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d while the files are written", n)
	}
	certificate(t, dir, 2)
	time.Sleep(1100 * time.Millisecond)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d after renewal", n)
	}
	if _, err := serverTLS(filepath.Join(dir, "none"), key); err == nil {
		t.Error("a file that is not there")
	}
}

// client is the real openstack client against the real program, which asks a real Keystone.
type client struct {
	*testing.T
	keystone *keystone.Server
	more     []string // environment
}

// run runs `openstack ARGS -f json` as a user and decodes what it prints, unless it fails with an error
// that contains refused.
func (c *client) run(user, project, refused string, into any, args ...string) {
	c.Helper()
	if into != nil {
		args = append(args, "-f", "json")
	}
	cmd := exec.CommandContext(c.Context(), "/usr/bin/openstack", args...)
	cmd.Env = append(append(os.Environ(), c.keystone.Environment(user, project)...), c.more...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	what := fmt.Sprintf("%s: openstack %s", user, strings.Join(args, " "))
	switch {
	case refused != "":
		if err == nil || !strings.Contains(stderr.String(), refused) {
			c.Errorf("%s: %v %s, not %q", what, err, stderr.String(), refused)
		}
	case err != nil:
		c.Fatalf("%s: %v %s", what, err, stderr.String())
	case into != nil:
		if err := json.Unmarshal(out, into); err != nil {
			c.Fatalf("%s: %v: %s", what, err, out)
		}
	}
}

func TestOpenStackClient(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	k, err := keystone.Start(ctx, t.TempDir(), "https://"+address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	ids := make(map[string]string)
	for _, name := range []string{"service", "acme", "other"} {
		if ids[name], err = k.Project(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range [][3]string{{"neutron", "service", "service"}, {"alice", "member", "acme"}, {"rita", "reader", "acme"}, {"bob", "member", "other"}} {
		if _, err := k.User(ctx, u[0], u[1], ids[u[2]]); err != nil {
			t.Fatal(err)
		}
	}

	cert, key := certificate(t, dir, 1)
	config := filepath.Join(dir, "tunbridge.yaml")
	text := fmt.Sprintf(`auth: keystone
api-listen: %s
api-tls-cert: %s
api-tls-key: %s
data-dir: %s/data
admin-listen: unix:%s/admin.sock
metrics-listen: ""
ovsdb-listen: tcp:127.0.0.1:0
openflow-listen: tcp:127.0.0.1:0
keystone-url: %s
keystone-username: neutron
keystone-password-file: %s/password
`, address, cert, key, dir, dir, k.URL, dir)
	for file, content := range map[string]string{config: text, filepath.Join(dir, "password"): keystone.Password + "\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(self, "serve", "--config", config)
	program.Env = append(os.Environ(), programEnv+"=1")
	var log strings.Builder
	program.Stderr = &log
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		program.Process.Signal(syscall.SIGTERM)
		if err := program.Wait(); err != nil || t.Failed() {
			t.Errorf("serve: %v\n%s", err, &log)
		}
	})
	authorities := x509.NewCertPool()
	pemText, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	authorities.AppendCertsFromPEM(pemText)
	https := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities}}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		answer, err := https.Get("https://" + address + "/v2.0/networks")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode != http.StatusUnauthorized || answer.Header.Get("WWW-Authenticate") != fmt.Sprintf("Keystone uri=%q", k.URL) {
				t.Fatalf("without a token: %s %v", answer.Status, answer.Header)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, &log)
		}
	}

	c := &client{t, k, []string{"OS_CACERT=" + cert}}
	var made, shown struct {
		ID, Name  string
		ProjectID string `json:"project_id"`
		Type      string `json:"provider:network_type"`
	}
	c.run("alice", "acme", "", &made, "network", "create", "blue")
	if made.Name != "blue" || made.ProjectID != ids["acme"] || made.Type != "" {
		t.Errorf("alice made %+v", made)
	}
	c.run("rita", "acme", "rule:create_network is disallowed by policy", nil, "network", "create", "red")
	c.run("alice", "acme", "disallowed by policy", nil, "network", "create", "red", "--provider-network-type", "vxlan")
	c.run("bob", "other", "No Network found for blue", nil, "network", "show", "blue")
	var listed []struct{ ID, Name string }
	c.run("rita", "acme", "", &listed, "network", "list")
	if len(listed) != 1 || listed[0].ID != made.ID || listed[0].Name != "blue" {
		t.Errorf("rita sees %v", listed)
	}
	listed = nil
	c.run("bob", "other", "", &listed, "network", "list")
	if len(listed) != 0 {
		t.Errorf("bob sees %v", listed)
	}
	c.run("admin", "admin", "", &shown, "network", "show", "blue")
	if shown.ID != made.ID || shown.Type != "vxlan" {
		t.Errorf("admin sees %+v", shown)
	}
}
