// Package keystone runs a real Keystone, of the Debian package python3-keystone, for tests: with SQLite
// in a directory, on a port of loopback, with a cloud's first projects and users in it.
//
// Start makes the database and runs the server; Stop and Run end and begin its process, which is what
// an outage is. Users and projects are made through its API.
package keystone

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
)

// Password is everybody's.
const Password = "correct horse"

// Server is a Keystone of one region, RegionOne. Its user admin has the role admin in the project admin,
// of the domain Default.
type Server struct {
	URL string // of its API: http://127.0.0.1:PORT/v3

	dir     string
	address string
	process *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer
	admin   *gophercloud.ServiceClient
}

// Start makes a Keystone in an empty directory, whose services have an endpoint at network, a URL, for
// the service type network.
func Start(ctx context.Context, dir, network string) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, address: l.Addr().String()}
	l.Close()
	s.URL = "http://" + s.address + "/v3"
	if err := writeKeys(dir); err != nil {
		return nil, err
	}
	if err := s.Configure(time.Hour); err != nil {
		return nil, err
	}
	// With a write-ahead log, a reader that Keystone leaves open does not lock the database.
	wal := exec.CommandContext(ctx, "/usr/bin/python3", "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode=WAL')", filepath.Join(dir, "keystone.db"))
	if out, err := wal.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sqlite: %w\n%s", err, out)
	}
	for _, args := range [][]string{
		{"db_sync"},
		{"bootstrap", "--bootstrap-password", Password, "--bootstrap-public-url", s.URL, "--bootstrap-region-id", "RegionOne"},
	} {
		if err := s.manage(ctx, args...); err != nil {
			return nil, err
		}
	}
	if err := s.Run(ctx); err != nil {
		return nil, err
	}
	if s.admin, err = s.SignIn(ctx, "admin", "admin"); err == nil {
		err = errors.Join(s.Offer(ctx, "network", network), s.role(ctx, "service"))
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w\n%s", err, &s.log)
	}
	return s, nil
}

// writeKeys makes the keys that tokens and credentials are encrypted with, which are 32 bytes in base64.
func writeKeys(dir string) error {
	for _, of := range []string{"fernet", "receipts", "credentials"} {
		if err := os.Mkdir(filepath.Join(dir, of), 0o700); err != nil {
			return err
		}
		for _, name := range []string{"0", "1"} {
			key := make([]byte, 32)
			rand.Read(key)
			if err := os.WriteFile(filepath.Join(dir, of, name), []byte(base64.URLEncoding.EncodeToString(key)), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// Configure sets how long new tokens are good, from the next Run on.
func (s *Server) Configure(lifetime time.Duration) error {
	text := fmt.Sprintf(`[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///%[1]s/keystone.db
sqlite_synchronous = false
[cache]
enabled = true
backend = oslo_cache.dict
[identity]
password_hash_rounds = 4
[token]
expiration = %[2]d
[fernet_tokens]
key_repository = %[1]s/fernet
[fernet_receipts]
key_repository = %[1]s/receipts
[credential]
key_repository = %[1]s/credentials
`, s.dir, int(lifetime.Seconds()))
	return os.WriteFile(s.config(), []byte(text), 0o600)
}

func (s *Server) config() string { return filepath.Join(s.dir, "keystone.conf") }

func (s *Server) manage(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "/usr/bin/keystone-manage", append([]string{"--config-file", s.config()}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("keystone-manage %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// Run starts the server's process and waits until it answers.
func (s *Server) Run(ctx context.Context) error {
	host, port, _ := net.SplitHostPort(s.address)
	s.process = exec.Command("/usr/bin/keystone-wsgi-public", "-b", host, "-p", port)
	s.process.Env = append(os.Environ(), "OS_KEYSTONE_CONFIG_FILES="+s.config())
	s.log.Reset()
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	if err := s.process.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		p.Wait()
		close(ended)
	}(s.process, s.ended)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("keystone ended:\n%s", &s.log)
		case <-ctx.Done():
			s.Stop()
			return fmt.Errorf("keystone does not answer:\n%s", &s.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Log is what the process has said since it began.
func (s *Server) Log() string { return s.log.String() }

// Stop ends the server's process.
func (s *Server) Stop() {
	s.process.Process.Kill()
	<-s.ended
}

// SignIn returns an identity client of a user with a token for a project; the token is its Token.
func (s *Server) SignIn(ctx context.Context, user, project string) (*gophercloud.ServiceClient, error) {
	return s.signIn(ctx, &tokens.AuthOptions{
		Username: user, DomainName: "Default", Password: Password,
		Scope: tokens.Scope{ProjectName: project, DomainName: "Default"},
	})
}

// SignInUnscoped is SignIn without a project.
func (s *Server) SignInUnscoped(ctx context.Context, user string) (*gophercloud.ServiceClient, error) {
	return s.signIn(ctx, &tokens.AuthOptions{Username: user, DomainName: "Default", Password: Password, Scope: tokens.Scope{}})
}

// SignInWith is SignIn with an application credential.
func (s *Server) SignInWith(ctx context.Context, id, secret string) (*gophercloud.ServiceClient, error) {
	return s.signIn(ctx, &tokens.AuthOptions{ApplicationCredentialID: id, ApplicationCredentialSecret: secret})
}

func (s *Server) signIn(ctx context.Context, o *tokens.AuthOptions) (*gophercloud.ServiceClient, error) {
	provider, err := openstack.NewClient(s.URL)
	if err != nil {
		return nil, err
	}
	if err := openstack.AuthenticateV3(ctx, provider, o, gophercloud.EndpointOpts{}); err != nil {
		return nil, err
	}
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: s.URL + "/"}, nil
}

// Environment is what an OpenStack client needs to be a user with a token for a project.
func (s *Server) Environment(user, project string) []string {
	return []string{
		"OS_AUTH_URL=" + s.URL, "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=RegionOne", "OS_USERNAME=" + user, "OS_PASSWORD=" + Password,
		"OS_PROJECT_NAME=" + project, "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default",
	}
}

// Offer puts a service of a type, such as network, into the catalog.
func (s *Server) Offer(ctx context.Context, serviceType, url string) error {
	var service struct {
		Service struct{ ID string }
	}
	_, err := s.admin.Post(ctx, s.admin.ServiceURL("services"), map[string]any{"service": map[string]any{"type": serviceType, "name": serviceType}},
		&service, &gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated}})
	if err != nil {
		return err
	}
	_, err = s.admin.Post(ctx, s.admin.ServiceURL("endpoints"), map[string]any{"endpoint": map[string]any{
		"service_id": service.Service.ID, "interface": "public", "url": url, "region_id": "RegionOne",
	}}, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated}})
	return err
}

// role makes a role, if there is none of that name.
func (s *Server) role(ctx context.Context, name string) error {
	_, err := roles.Create(ctx, s.admin, roles.CreateOpts{Name: name}).Extract()
	if gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		return nil
	}
	return err
}

// Project makes a project and returns its id.
func (s *Server) Project(ctx context.Context, name string) (string, error) {
	p, err := projects.Create(ctx, s.admin, projects.CreateOpts{Name: name, DomainID: "default"}).Extract()
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

// User makes a user with a role in a project, by its id, and returns the user's id.
func (s *Server) User(ctx context.Context, name, role, project string) (string, error) {
	u, err := users.Create(ctx, s.admin, users.CreateOpts{Name: name, Password: Password, DomainID: "default"}).Extract()
	if err != nil {
		return "", err
	}
	return u.ID, s.Grant(ctx, u.ID, role, project)
}

// Grant gives a user a role in a project, all but the role by id.
func (s *Server) Grant(ctx context.Context, user, role, project string) error {
	if err := s.role(ctx, role); err != nil {
		return err
	}
	pages, err := roles.List(s.admin, roles.ListOpts{Name: role}).AllPages(ctx)
	if err != nil {
		return err
	}
	found, err := roles.ExtractRoles(pages)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return errors.New("no role " + role)
	}
	return roles.Assign(ctx, s.admin, found[0].ID, roles.AssignOpts{UserID: user, ProjectID: project}).ExtractErr()
}

// Revoke ends a token.
func (s *Server) Revoke(ctx context.Context, token string) error {
	return tokens.Revoke(ctx, s.admin, token).Err
}

// Roles are those that a token stands for. An error of gophercloud's with the code 404 is that it is not
// good, or no longer.
func (s *Server) Roles(ctx context.Context, token string) ([]string, error) {
	found, err := tokens.Get(ctx, s.admin, token).ExtractRoles()
	var names []string
	for _, r := range found {
		names = append(names, r.Name)
	}
	return names, err
}
