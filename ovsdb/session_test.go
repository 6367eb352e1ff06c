package ovsdb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// TestHostDialsIn is `ovs-vsctl set-manager tcp:`: the host connects to us.
func TestHostDialsIn(t *testing.T) {
	h := newHost(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h.vsctl("--no-wait", "set-manager", "tcp:"+l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := startSession(t, c)
	if id := s.Mirror().OpenVSwitch.ExternalIDs["system-id"]; id != "compute01" {
		t.Errorf("system-id %q", id)
	}
	if err := s.Echo(testContext(t)); err != nil {
		t.Error(err)
	}
	h.vsctl("--no-wait", "del-manager")
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the session outlives the host's manager row")
	}
	if _, err := s.Transact(testContext(t), MergeMap("Open_vSwitch", s.Mirror().OpenVSwitch.UUID, "external_ids", map[string]string{"a": "b"})); err == nil {
		t.Error("transaction on a session that has ended")
	}
}

// TestDialOut is a host that listens on ptcp:.
func TestDialOut(t *testing.T) {
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	h := newHost(t, "--remote=ptcp:"+port+":127.0.0.1")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := startSession(t, c)
	h.vsctl("--no-wait", "add-br", "br-int")
	until(t, s, "br-int", func(m *Mirror) bool { return m.Bridge("br-int") != nil })
	s.Close()
	if !errors.Is(s.Err(), ErrClosed) || s.Owns() {
		t.Errorf("after Close: %v", s.Err())
	}
}

// TestTLS has both ends show certificates, in both directions of dialling.
func TestTLS(t *testing.T) {
	pki := newPKI(t)
	ours := pki.issue("controller")
	pool := x509.NewCertPool()
	pool.AddCert(pki.ca)
	pki.issue("compute01")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ours}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	h := newHost(t, "--remote=pssl:"+port+":127.0.0.1",
		"--private-key="+pki.file("compute01.key"), "--certificate="+pki.file("compute01.pem"), "--ca-cert="+pki.file("ca.pem"))

	h.vsctl("--no-wait", "set-manager", "ssl:"+l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(*tls.Conn).HandshakeContext(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s := startSession(t, c)
	certificate := c.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if cn, id := certificate.Subject.CommonName, s.Mirror().OpenVSwitch.ExternalIDs["system-id"]; cn != id {
		t.Errorf("certificate of %q, system-id %q", cn, id)
	}

	c, err = tls.Dial("tcp", address, &tls.Config{Certificates: []tls.Certificate{ours}, RootCAs: pool, ServerName: "compute01"})
	if err != nil {
		t.Fatal(err)
	}
	dialled := startSession(t, c)
	commit(t, dialled, SetExternalIDs("Open_vSwitch", dialled.Mirror().OpenVSwitch.UUID, map[string]string{"seen": "yes"}))
	until(t, s, "the other session's write", func(m *Mirror) bool { return m.OpenVSwitch.ExternalIDs["seen"] == "yes" })
}

// TestEcho keeps a quiet session up for many echo intervals, and tells a host
// that stops answering.
func TestEcho(t *testing.T) {
	h := newHost(t)
	c, err := net.Dial("unix", h.path("db.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := New(c, Options{EchoInterval: 20 * time.Millisecond, EchoTimeout: 2 * time.Second})
	defer s.Close()
	if err := s.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
		t.Fatal(s.Err())
	case <-time.After(500 * time.Millisecond):
	}
	s.mu.Lock()
	asked, pending := s.lastID, len(s.pending)
	s.mu.Unlock()
	if asked < 5 || pending > 1 {
		t.Errorf("%d requests made, %d unanswered", asked, pending)
	}
}

// TestQuiet proves that an idle host wakes nobody: no column that ticks is monitored.
func TestQuiet(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.vswitchd()
	h.vsctl("add-br", "br-int", "--", "set-controller", "br-int", "tcp:127.0.0.1:1")
	s := h.dial()
	until(t, s, "configuration", (*Mirror).Configured)
	time.Sleep(time.Second) // for what comes with it
	m := s.Mirror()
	select {
	case <-m.Changed():
		t.Errorf("an idle host changed from %+v to %+v", m.OpenVSwitch, s.Mirror().OpenVSwitch)
	case <-time.After(7 * time.Second): // statistics and status are written every 5 s
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// pki is a certificate authority in a directory.
type pki struct {
	t   *testing.T
	dir string
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

func newPKI(t *testing.T) *pki {
	p := &pki{t: t, dir: t.TempDir()}
	p.ca, p.key = &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, newKey(t)
	p.ca, _ = p.sign("ca", p.ca, p.key)
	return p
}

func (p *pki) file(name string) string { return p.dir + "/" + name }

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *pki) issue(name string) tls.Certificate {
	p.t.Helper()
	key := newKey(p.t)
	_, certificate := p.sign(name, &x509.Certificate{
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, key)
	return certificate
}

func (p *pki) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, tls.Certificate) {
	p.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, &key.PublicKey, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for file, text := range map[string][]byte{name + ".pem": certPEM, name + ".key": keyPEM} {
		if err := os.WriteFile(p.file(file), text, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		p.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(fmt.Errorf("certificate of %s: %w", name, err))
	}
	return parsed, pair
}
