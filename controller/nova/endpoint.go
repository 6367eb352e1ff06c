package nova

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
)

// maxAnswer bounds what is read of an answer: 100 events are some 20 KiB.
const maxAnswer = 1 << 20

// Endpoint is Nova's compute API.
type Endpoint interface {
	// Post sends a JSON body to a path below the endpoint. An error is that there was no answer.
	Post(ctx context.Context, path string, body []byte) (status int, answer []byte, err error)
}

// At is the compute API at a URL, "http://controller:8774/v2.1", that asks nobody who they are.
func At(url string, client *http.Client) Endpoint {
	return &endpoint{url: strings.TrimSuffix(url, "/"), client: client}
}

type endpoint struct {
	url    string
	client *http.Client
}

func (e *endpoint) Post(ctx context.Context, path string, body []byte) (int, []byte, error) {
	return post(ctx, e.client, e.url+path, "", body)
}

func post(ctx context.Context, client *http.Client, url, token string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("X-Openstack-Request-Id", "req-"+uuid.NewString())
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

// Service is a user of Keystone as which Nova is told: of the role admin or service there.
type Service struct {
	Keystone string // URL with its version, "http://controller:5000/v3"
	Username string
	Project  string
	// Password is asked for at each sign-in, so that it may be renewed.
	Password func() (string, error)
	// UserDomain and ProjectDomain are names.
	UserDomain, ProjectDomain string
	Region                    string // whose endpoint is taken from the catalog; "" is any
}

// WithKeystone is the compute API as the service reaches it: at url, or, if that is "", where Keystone's
// catalog says.
func WithKeystone(s Service, url string, client *http.Client) Endpoint {
	return &authenticated{service: s, url: strings.TrimSuffix(url, "/"), client: client}
}

type authenticated struct {
	service Service
	url     string
	client  *http.Client

	mu    sync.Mutex
	token string // "" is none
	at    string // the endpoint of that token's catalog
}

// Post authenticates first if it has to, and again if the token is no longer good.
func (a *authenticated) Post(ctx context.Context, path string, body []byte) (int, []byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for fresh := false; ; fresh = true {
		if a.token == "" {
			if err := a.authenticate(ctx); err != nil {
				return 0, nil, fmt.Errorf("keystone at %s: %w", a.service.Keystone, err)
			}
			fresh = true
		}
		status, answer, err := post(ctx, a.client, a.at+path, a.token, body)
		if err != nil || status == http.StatusUnauthorized {
			a.token = "" // the catalog may know of another endpoint by now
		}
		if status != http.StatusUnauthorized || fresh {
			return status, answer, err
		}
	}
}

func (a *authenticated) authenticate(ctx context.Context) error {
	p, err := openstack.NewClient(a.service.Keystone)
	if err != nil {
		return err
	}
	p.HTTPClient = *a.client
	s := a.service
	password, err := s.Password()
	if err != nil {
		return err
	}
	err = openstack.Authenticate(ctx, p, gophercloud.AuthOptions{
		IdentityEndpoint: s.Keystone, Username: s.Username, Password: password, DomainName: s.UserDomain,
		Scope: &gophercloud.AuthScope{ProjectName: s.Project, DomainName: s.ProjectDomain},
	})
	if err != nil {
		return err
	}
	a.at = a.url
	if a.at == "" {
		if p.EndpointLocator == nil {
			return errors.New("no catalog")
		}
		found, err := p.EndpointLocator(gophercloud.EndpointOpts{Type: "compute", Region: s.Region, Availability: gophercloud.AvailabilityPublic})
		if err != nil {
			return fmt.Errorf("the catalog has no endpoint of type compute: %w", err)
		}
		a.at = strings.TrimSuffix(found, "/")
	}
	a.token = p.Token()
	return nil
}
