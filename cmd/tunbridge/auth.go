package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/api"
)

// keystoneKeys are the keys of auth: keystone.
type keystoneKeys struct {
	KeystoneURL           string        `name:"keystone-url" help:"Identity API v3 that validates tokens, as https://keystone.example:5000/v3." placeholder:"URL"`
	KeystonePublicURL     string        `name:"keystone-public-url" help:"Identity API that clients without a token are told; default keystone-url." placeholder:"URL"`
	KeystoneCA            string        `name:"keystone-ca" help:"Authority that signed its certificate, PEM; default the system's." type:"path" placeholder:"FILE"`
	KeystoneUsername      string        `help:"Service user that may validate tokens (role service or admin)." placeholder:"NAME"`
	KeystonePasswordFile  string        `help:"File with its password; read again at each sign-in." type:"path" placeholder:"FILE"`
	KeystoneUserDomain    string        `help:"Domain of the service user." default:"Default"`
	KeystoneProject       string        `help:"Project that the service user signs in to." default:"service"`
	KeystoneProjectDomain string        `help:"Domain of that project." default:"Default"`
	KeystoneCacheTime     time.Duration `help:"How long a token is good without asking again: a revoked one is refused after no more." default:"1m"`
}

// checkKeystone refuses keys that cannot work.
func (k *keystoneKeys) checkKeystone(insecure bool) error {
	u, err := url.Parse(k.KeystoneURL)
	switch {
	case k.KeystoneURL == "", k.KeystoneUsername == "", k.KeystonePasswordFile == "":
		return errors.New("auth: keystone needs keystone-url, keystone-username and keystone-password-file")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("keystone-url: %q: want http://HOST:PORT/v3 or https://…", k.KeystoneURL)
	case u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")) && !insecure:
		return fmt.Errorf("keystone-url: %s carries passwords and tokens without TLS: use https:, or set insecure", k.KeystoneURL)
	case k.KeystoneCacheTime < time.Second || k.KeystoneCacheTime > time.Hour:
		return fmt.Errorf("keystone-cache-time: %s: want 1s to 1h", k.KeystoneCacheTime)
	}
	return nil
}

// password reads the service user's password.
func (k *keystoneKeys) password() (string, error) {
	b, err := os.ReadFile(k.KeystonePasswordFile)
	if err != nil {
		return "", fmt.Errorf("keystone-password-file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// authenticator is who the API asks who makes a request; nil takes everybody for an administrator.
func (s *serve) authenticator(log *slog.Logger) (func(*http.Request) (*api.Caller, error), error) {
	if s.Auth != "keystone" {
		return nil, nil
	}
	if _, err := s.password(); err != nil {
		return nil, err
	}
	o := api.KeystoneOptions{
		URL: s.KeystoneURL, PublicURL: s.KeystonePublicURL, Username: s.KeystoneUsername, UserDomain: s.KeystoneUserDomain,
		Project: s.KeystoneProject, ProjectDomain: s.KeystoneProjectDomain, Password: s.password,
		CacheTime: s.KeystoneCacheTime, Logger: log,
	}
	if s.KeystoneCA != "" {
		config, err := tlsConfig("", "", s.KeystoneCA)
		if err != nil {
			return nil, fmt.Errorf("keystone-ca: %w", err)
		}
		o.Authorities = config.RootCAs
	}
	k, err := api.NewKeystone(o)
	if err != nil {
		return nil, err
	}
	return k.Authenticate, nil
}

// claimUnbound is the key's value, or its default: on where everybody is an administrator.
func (s *serve) claimUnbound() bool {
	if s.ClaimUnbound != nil {
		return *s.ClaimUnbound
	}
	return s.Auth == "none"
}

// checkAPI refuses an API that other machines reach and that has no TLS, or asks nobody who they are.
func (s *serve) checkAPI() error {
	if (s.APITLSCert == "") != (s.APITLSKey == "") {
		return errors.New("api-tls-cert and api-tls-key go together")
	}
	if s.Auth == "keystone" {
		if err := s.checkKeystone(s.Insecure); err != nil {
			return err
		}
	} else if s.KeystoneURL != "" {
		return errors.New("keystone-url is set and auth is none: set auth to keystone")
	}
	if loopback(s.APIListen) || s.Insecure {
		return nil
	}
	switch {
	case s.Auth == "none":
		return fmt.Errorf("api-listen: %s can be reached from other machines and asks nobody who they are: set auth to keystone, or set insecure if that is meant", s.APIListen)
	case s.APITLSCert == "":
		return fmt.Errorf("api-listen: %s can be reached from other machines and has no TLS: set api-tls-cert and api-tls-key, or set insecure if something else adds it", s.APIListen)
	}
	return nil
}

// serverTLS is the configuration of a server whose clients need no certificate; nil without files. The
// files are read again when they change, so that a renewed certificate needs no restart.
func serverTLS(cert, key string) (*tls.Config, error) {
	if cert == "" {
		return nil, nil
	}
	files := &keyPair{cert: cert, key: key}
	if _, err := files.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}, nil
}
