package system

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tunbridge/tunbridge/test/keystone"
	"github.com/tunbridge/tunbridge/test/nova"
)

// bearer adds a token to requests that have none.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("X-Auth-Token") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("X-Auth-Token", b.token)
	}
	return b.next.RoundTrip(r)
}

// doorman is what stands before Nova's compute API: it asks Keystone about tokens.
type doorman struct {
	t        *testing.T
	keystone *keystone.Server

	mu    sync.Mutex
	token string // that was good last
}

func (d *doorman) validate(token string) (refused int) {
	roles, err := d.keystone.Roles(d.t.Context(), token)
	switch {
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
		return http.StatusUnauthorized
	case err != nil:
		return http.StatusServiceUnavailable
	case !slices.Contains(roles, "service"):
		return http.StatusForbidden
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token = token
	return 0
}

func (d *doorman) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.token
}

// Everybody has a token of a real Keystone: who owns the instance, Nova, and the controller, whose events
// go to where Keystone's catalog says. Tokens end, Keystone is away, Nova is away, the controller crashes.
func TestNovaWithKeystone(t *testing.T) {
	t.Parallel()
	ctx, d := t.Context(), prepare(t)
	k, err := keystone.Start(ctx, t.TempDir(), "http://"+d.api)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	c := addTaps(t, d)
	n, gate := c.nova, &doorman{t: t, keystone: k}
	n.Validate = gate.validate
	ids := map[string]string{}
	for _, name := range []string{"service", "acme"} {
		ids[name], err = k.Project(ctx, name)
		c.must("project", err)
	}
	tokens := map[string]string{}
	for _, u := range [][3]string{{"neutron", "service", "service"}, {"nova", "service", "service"}, {"alice", "member", "acme"}} {
		id, err := k.User(ctx, u[0], u[1], ids[u[2]])
		c.must("user", err)
		if u[0] == "nova" {
			c.must("nova is an administrator too", k.Grant(ctx, id, "admin", ids["service"]))
		}
		client, err := k.SignIn(ctx, u[0], u[2])
		c.must("token", err)
		tokens[u[0]] = client.Token()
	}
	c.must("endpoint", k.Offer(ctx, "compute", c.url))
	n.Authenticate = func(r *http.Request, as nova.Caller) error {
		r.Header.Set("X-Auth-Token", tokens["nova"])
		if as == nova.User {
			r.Header.Set("X-Auth-Token", tokens["alice"])
			r.Header.Set("X-Service-Token", tokens["nova"])
		}
		return nil
	}
	d.http.Transport = &bearer{tokens["alice"], d.http.Transport}
	password := filepath.Join(d.bed.Dir(), "password")
	c.must("password", os.WriteFile(password, []byte(keystone.Password+"\n"), 0o600))
	d.flags = append(d.flags, "--auth=keystone", "--keystone-url="+k.URL, "--keystone-username=neutron", "--keystone-password-file="+password, "--nova-url=catalog")
	c.start("compute01")

	blue := c.addNetwork("blue", "10.0.0.0/24")
	i := &nova.Instance{ID: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Project: ids["acme"], Name: "vm1"}
	c.must("boot", n.Boot(ctx, i, "compute01", blue.ID))
	c.heard("boot", 0, i.NICs[0].Port, "changed", "vif-plugged")
	// again plugs the VIF anew, of which Nova is to hear, and says with which token.
	again := func(what string, meanwhile func()) string {
		t.Helper()
		m := n.Mark()
		c.must(what+": hard reboot", n.HardReboot(ctx, i))
		meanwhile()
		if _, err := n.Await(ctx, m, "network-vif-plugged", i.NICs[0].Port); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return gate.last()
	}
	nothing := func() {}

	first := gate.last()
	if token := again("as before", nothing); token != first {
		t.Error("a new token though the old one is good")
	}
	c.must("revoke", k.Revoke(ctx, first))
	second := again("its token was revoked", nothing)
	if second == first {
		t.Error("Nova took a token that was revoked")
	}
	refused := func(times int) {
		c.await("an event that was refused", func() error { return is(strings.Count(d.log(), "Nova is not told of its ports"), times) })
	}
	k.Stop()
	again("Keystone was away", func() {
		refused(1)
		c.must("configure", k.Configure(3*time.Second)) // for the tokens to come
		c.must("run", k.Run(ctx))
	})
	c.must("revoke", k.Revoke(ctx, second))
	third := again("its token is short-lived", nothing)
	c.await("the token's end", func() error { return is(fmt.Sprint(gate.validate(third)), "401") })
	if token := again("its token has expired", nothing); token == third {
		t.Error("Nova took a token that has expired")
	}

	n.SetAway(true)
	again("Nova was away, and the controller crashed", func() {
		refused(2)
		d.kill()
		d.serve()
		n.SetAway(false)
	})
	c.neverEarly()
}
