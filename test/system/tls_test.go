package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// authority signs certificates and keeps them in files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	_, _ = a.sign("authority")
	return a
}

// ca is the file of the authority's own certificate.
func (a *authority) ca() string { return filepath.Join(a.dir, "authority.pem") }

// sign makes a key and a certificate for a common name. The first is the authority's own.
func (a *authority) sign(name string) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: a.cert == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if a.cert == nil {
		a.cert, a.key = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	if template == a.cert {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

// Hosts are known by their certificates.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	d := prepare(t)
	d.scheme = "ssl"
	cert, key := ca.sign("controller")
	d.flags = []string{"--tls-cert=" + cert, "--tls-key=" + key, "--tls-ca=" + ca.ca()}
	d.serve()
	hosts, err := d.bed.AddCheapHosts("compute01", "compute02", "twin", "stranger")
	if err != nil {
		t.Fatal(err)
	}
	h, wrong, twin, stranger := hosts[0], hosts[1], hosts[2], hosts[3]
	use := func(h *testbed.CheapHost, cert, key string) {
		t.Helper()
		if _, err := h.Vsctl("set-ssl", key, cert, ca.ca()); err != nil {
			t.Fatal(err)
		}
	}
	hostCert, hostKey := ca.sign(h.SystemID())
	use(h, hostCert, hostKey)
	d.enrol(h, nil)
	d.settled(h)
	p := d.addPort(d.addNetwork("blue", "10.0.0.0/24"), h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)

	otherCert, otherKey := ca.sign("somebody-else")
	use(wrong, otherCert, otherKey)
	d.enrol(wrong, nil)
	d.logged("refused", "somebody-else", wrong.SystemID(), "CN=")

	foreign := newAuthority(t)
	foreignCert, foreignKey := foreign.sign(stranger.SystemID())
	use(stranger, foreignCert, foreignKey)
	d.enrol(stranger, nil)
	d.logged("refused", "TLS", "unknown authority")
	for _, refused := range []*testbed.CheapHost{wrong, stranger} {
		if _, err := d.host(refused.Name); err == nil {
			t.Errorf("the refused host %s is enrolled", refused.Name)
		}
	}

	// The same certificate is the same host, which has lost its former session: no need to ask that.
	if err := h.OVSDB().Signal(stop); err != nil {
		t.Fatal(err)
	}
	if err := h.Vswitchd().Signal(stop); err != nil {
		t.Fatal(err)
	}
	use(twin, hostCert, hostKey)
	start := time.Now()
	d.enrol(twin, map[string]string{"system-id": h.SystemID()})
	d.await("the new session in the old one's place", func() error {
		state, err := d.host(h.SystemID())
		if err == nil {
			err = is(state.Hostname, "twin")
		}
		return err
	})
	t.Logf("replaced after %s", time.Since(start))
	d.settled(twin)
}
