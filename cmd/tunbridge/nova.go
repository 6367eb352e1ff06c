package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/tunbridge/tunbridge/api/store"
	"github.com/tunbridge/tunbridge/controller/nova"
)

// novaKeys are the keys of what Nova is told.
type novaKeys struct {
	NovaURL    string `name:"nova-url" help:"Nova's compute API, as http://nova.example:8774/v2.1, or catalog for what Keystone's catalog says; default: Nova is told nothing." placeholder:"URL"`
	NovaRegion string `help:"Region whose endpoint nova-url: catalog takes; default any." placeholder:"NAME"`
}

// inCatalog is the nova-url that is looked up.
const inCatalog = "catalog"

// checkNova refuses keys that cannot work.
func (s *serve) checkNova() error {
	if s.NovaURL == "" {
		return nil
	}
	if s.NovaURL == inCatalog {
		if s.Auth != "keystone" {
			return errors.New("nova-url: catalog needs auth: keystone")
		}
		return nil
	}
	u, err := url.Parse(s.NovaURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("nova-url: %q: want http://HOST:PORT/v2.1, https://… or catalog", s.NovaURL)
	}
	return nil
}

// notifier tells Nova of its instances' ports; nil without nova-url.
func (s *serve) notifier(truth *store.Store, log *slog.Logger) (*nova.Notifier, error) {
	if s.NovaURL == "" {
		return nil, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if s.KeystoneCA != "" {
		config, err := tlsConfig("", "", s.KeystoneCA)
		if err != nil {
			return nil, fmt.Errorf("keystone-ca: %w", err)
		}
		transport.TLSClientConfig = config
	}
	client := &http.Client{Transport: transport}
	endpoint := nova.At(s.NovaURL, client)
	if s.Auth == "keystone" {
		at := s.NovaURL
		if at == inCatalog {
			at = ""
		}
		endpoint = nova.WithKeystone(nova.Service{
			Keystone: s.KeystoneURL, Username: s.KeystoneUsername, Password: s.password, Project: s.KeystoneProject,
			UserDomain: s.KeystoneUserDomain, ProjectDomain: s.KeystoneProjectDomain, Region: s.NovaRegion,
		}, at, client)
	}
	return nova.New(nova.Options{Store: truth, Endpoint: endpoint, Logger: log}), nil
}
