package openflow

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// certificate makes a certificate and its key signed by parent, or by itself, and
// writes them to NAME-cert.pem and NAME-key.pem.
func certificate(t *testing.T, s *vswitch, name string, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + "-cert.pem": {Type: "CERTIFICATE", Bytes: der},
		name + "-key.pem":  {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(s.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestSwitchTLS(t *testing.T) {
	verifyNoLeak(t)
	s := startVSwitch(t)
	ca := certificate(t, s, "ca", nil)
	ours := certificate(t, s, "controller", ca)
	certificate(t, s, "host1", ca)
	s.vsctl("set-ssl", s.path("host1-key.pem"), s.path("host1-cert.pem"), s.path("ca-cert.pem"))
	trusted := x509.NewCertPool()
	trusted.AddCert(ca.Leaf)
	l := tls.NewListener(listen(t), &tls.Config{
		Certificates: []tls.Certificate{*ours}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
	})
	nc := s.dialIn("ssl", l)
	c := s.accept(nc, Options{EchoInterval: 50 * time.Millisecond})
	if name := nc.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName; name != "host1" {
		t.Errorf("the switch is %s", name)
	}
	if _, _, err := c.Role(s.within(), RolePrimary, 1); err != nil {
		t.Fatal(err)
	}
	// Silences that end the reading in the middle of nothing do no harm to TLS.
	time.Sleep(300 * time.Millisecond)
	if err := c.Bundle(s.within(), flows(5000)...); err != nil {
		t.Fatal(err)
	}
	if n := s.flowCount(); n != 5000 {
		t.Errorf("%d flows", n)
	}
	seen := 0
	if err := c.DumpFlows(s.within(), FlowStatsRequest{Table: TableAll}, func(*FlowStats) error { seen++; return nil }); err != nil || seen != 5000 {
		t.Error(seen, err)
	}
}

// A peer that does not speak TLS where it must is refused with a reason.
func TestTLSRefused(t *testing.T) {
	verifyNoLeak(t)
	controller, peer := dialled(t)
	peer.Write(message(Version, TypeHello, 1))
	_, err := Accept(within(t, 5*time.Second), tls.Server(controller, &tls.Config{}), Options{})
	if err == nil {
		t.Fatal("accepted")
	}
	wantIn(t, err.Error(), "does not look like a TLS handshake")
}
