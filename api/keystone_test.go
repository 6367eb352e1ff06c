package api

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"

	"github.com/tunbridge/tunbridge/test/keystone"
)

// cloud is a server that asks a real Keystone, and what there is in it.
type cloud struct {
	*bench
	keystone    *keystone.Server
	auth        *Keystone
	asked       atomic.Int64 // requests that reached Keystone, when it is asked through the counter
	acme, other string       // projects
	clock       atomic.Int64 // how far the server's clock is ahead, in nanoseconds
}

func newCloud(t *testing.T, cache time.Duration) *cloud {
	ctx := t.Context()
	k, err := keystone.Start(ctx, t.TempDir(), "http://127.0.0.1:9696/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	c := &cloud{keystone: k}
	ok := func(id string, err error) string {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
		return id
	}
	services := ok(k.Project(ctx, "service"))
	c.acme, c.other = ok(k.Project(ctx, "acme")), ok(k.Project(ctx, "other"))
	ok(k.User(ctx, "neutron", "service", services))
	ok(k.User(ctx, "nova", "service", services))
	ok(k.User(ctx, "alice", "member", c.acme))
	ok(k.User(ctx, "rita", "reader", c.acme))
	ok(k.User(ctx, "bob", "member", c.other))
	ok(k.User(ctx, "carol", "dancer", c.acme))
	counter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			c.asked.Add(1)
		}
		http.Redirect(w, r, strings.TrimSuffix(k.URL, "/v3")+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	t.Cleanup(counter.Close)
	c.auth, err = NewKeystone(KeystoneOptions{
		URL: counter.URL + "/v3", PublicURL: "http://keystone.test:5000/v3", Username: "neutron", UserDomain: "Default",
		Project: "service", ProjectDomain: "Default", Password: func() (string, error) { return keystone.Password, nil }, CacheTime: cache,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.auth.now = func() time.Time { return time.Now().Add(time.Duration(c.clock.Load())) }
	c.bench = newBench(t, func(o *Options) { o.Authenticate = c.auth.Authenticate })
	return c
}

// later moves the server's clock.
func (c *cloud) later(d time.Duration) { c.clock.Add(int64(d)) }

func (c *cloud) token(user, project string) string {
	c.t.Helper()
	client, err := c.keystone.SignIn(c.t.Context(), user, project)
	if err != nil {
		c.t.Fatal(err)
	}
	return client.Token()
}

// status is that of GET /v2.0/networks with the headers, "Name: value".
func (c *cloud) status(headers ...string) int {
	return c.send("GET", "/v2.0/networks", "", headers...).status
}

func (c *cloud) want(what string, status int, headers ...string) {
	c.t.Helper()
	if got := c.status(headers...); got != status {
		c.t.Errorf("%s: %d, not %d", what, got, status)
	}
}

// TestKeystone asks a real Keystone about real tokens.
func TestKeystone(t *testing.T) {
	t.Parallel()
	c := newCloud(t, time.Minute)
	const auth = "X-Auth-Token: "
	alice := c.token("alice", "acme")

	t.Run("no good token", func(t *testing.T) {
		for _, token := range []string{"", "nonsense", alice + "x", "é", strings.Repeat("a", 300), strings.Repeat("a", maxToken+1)} {
			out := c.send("GET", "/v2.0/networks", "", auth+token)
			const body = `{"error":{"code":401,"title":"Unauthorized","message":"The request you have made requires authentication."}}`
			if out.status != 401 || out.text != body || out.header.Get("WWW-Authenticate") != `Keystone uri="http://keystone.test:5000/v3"` {
				t.Errorf("%.20q: %d %s %v", token, out.status, out.text, out.header)
			}
		}
		c.want("a good one, after those", 200, auth+alice)
		if out := c.send("GET", "/", ""); out.status != 200 {
			t.Errorf("the versions need no token: %d", out.status)
		}
	})
	t.Run("roles", func(t *testing.T) {
		made := c.send("POST", "/v2.0/networks", `{"network":{"name":"n"}}`, auth+alice)
		n, _ := made.body["network"].(map[string]any)
		if made.status != 201 || n["project_id"] != c.acme || n["provider:network_type"] != nil {
			t.Fatalf("a member creates: %d %s", made.status, made.text)
		}
		path := "/v2.0/networks/" + n["id"].(string)
		for _, who := range []struct {
			user, project  string
			get, put, post int
			details        bool
		}{
			{"rita", "acme", 200, 403, 403, false},
			{"bob", "other", 404, 404, 201, false},
			{"carol", "acme", 404, 404, 403, false},
			{"admin", "admin", 200, 200, 201, true},
			{"nova", "service", 200, 403, 403, true},
		} {
			token := auth + c.token(who.user, who.project)
			get := c.send("GET", path, "", token)
			put := c.send("PUT", path, `{"network":{"description":"by `+who.user+`"}}`, token)
			post := c.send("POST", "/v2.0/networks", `{"network":{"name":"of `+who.user+`"}}`, token)
			if get.status != who.get || put.status != who.put || post.status != who.post {
				t.Errorf("%s: GET %d, PUT %d, POST %d", who.user, get.status, put.status, post.status)
			}
			if strings.Contains(get.text, "provider:") != who.details {
				t.Errorf("%s sees %s", who.user, get.text)
			}
		}
		unscoped, err := c.keystone.SignInUnscoped(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		c.want("a token without a project", 403, auth+unscoped.Token())
	})
	t.Run("asked once", func(t *testing.T) {
		c.auth.identities.Purge()
		before := c.asked.Load()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() { c.want("one of many", 200, auth+alice) })
		}
		wait.Wait()
		if n := c.asked.Load() - before; n != 1 {
			t.Errorf("Keystone was asked %d times about one token", n)
		}
		before = c.asked.Load()
		for range 5 {
			c.want("nonsense", 401, auth+"more nonsense")
		}
		if n := c.asked.Load() - before; n != 1 {
			t.Errorf("Keystone was asked %d times about one bad token", n)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		token := c.token("alice", "acme")
		c.want("new", 200, auth+token)
		if err := c.keystone.Revoke(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		c.want("remembered", 200, auth+token)
		c.later(time.Minute)
		c.want("after the cache time", 401, auth+token)
		c.want("another of the same user", 200, auth+c.token("alice", "acme"))
	})
	t.Run("application credential", func(t *testing.T) {
		owner, err := c.keystone.SignIn(t.Context(), "alice", "acme")
		if err != nil {
			t.Fatal(err)
		}
		user, err := c.auth.identify(t.Context(), owner.Token(), false)
		if err != nil {
			t.Fatal(err)
		}
		for name, rules := range map[string][]applicationcredentials.AccessRule{
			"all": nil,
			"some": {
				{Service: "network", Method: "GET", Path: "/v2.0/networks"},
				{Service: "network", Method: "GET", Path: "/v2.0/ports/{id}"},
				{Service: "compute", Method: "GET", Path: "/v2.0/subnets"},
			},
		} {
			made, err := applicationcredentials.Create(t.Context(), owner, user.caller.User, applicationcredentials.CreateOpts{
				Name: name, AccessRules: rules,
			}).Extract()
			if err != nil {
				t.Fatal(err)
			}
			client, err := c.keystone.SignInWith(t.Context(), made.ID, made.Secret)
			if err != nil {
				t.Fatal(err)
			}
			refused := map[bool]int{true: 401, false: 200}[rules != nil]
			c.want(name+": networks", 200, auth+client.Token())
			for _, path := range []string{"/v2.0/subnets", "/v2.0/ports"} {
				if out := c.send("GET", path, "", auth+client.Token()); out.status != refused {
					t.Errorf("%s: %s: %d, not %d", name, path, out.status, refused)
				}
			}
			if out := c.send("GET", "/v2.0/ports/no-id", "", auth+client.Token()); out.status != 404 {
				t.Errorf("%s: a port: %d", name, out.status)
			}
			if out := c.send("GET", "/v2.0/subnets", "", auth+client.Token(), "X-Service-Token: "+c.token("nova", "service")); out.status != 200 {
				t.Errorf("%s: through a service: %d", name, out.status)
			}
		}
	})
	t.Run("Keystone stopped", func(t *testing.T) {
		known, unknown := c.token("alice", "acme"), c.token("alice", "acme")
		c.want("before", 200, auth+known)
		c.keystone.Stop()
		c.later(time.Hour / 2) // the token is asked about again
		for range 3 {
			c.want("known", 200, auth+known)
			out := c.send("GET", "/v2.0/networks", "", auth+unknown)
			if e, _ := out.body["NeutronError"].(map[string]any); out.status != 503 || e["type"] != "HTTPServiceUnavailable" {
				t.Errorf("unknown: %d %s", out.status, out.text)
			}
		}
		c.later(time.Hour / 2) // it has expired
		c.want("expired", 401, auth+known)
		if err := c.keystone.Configure(5 * time.Second); err != nil { // for what comes next
			t.Fatal(err)
		}
		if err := c.keystone.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.want("when Keystone is back", 200, auth+c.token("alice", "acme"))
	})
	t.Run("expired", func(t *testing.T) {
		c.clock.Store(0)
		c.auth.identities.Purge()
		c.auth.refused.Purge()
		// Our own token ends too: signing in anew is part of this.
		c.auth.client.SetToken("")
		ours := c.token("alice", "acme")
		c.want("new", 200, auth+ours)
		unseen := c.token("alice", "acme")
		time.Sleep(5500 * time.Millisecond)
		c.want("seen before", 401, auth+ours)
		c.want("not seen before", 401, auth+unseen)
		nova := "X-Service-Token: " + c.token("nova", "service")
		c.want("with a service's token", 200, auth+unseen, nova)
		c.want("without it again", 401, auth+unseen)
		c.want("with a user's token for a service's", 401, auth+unseen, "X-Service-Token: "+c.token("bob", "other"))
		c.want("with a bad service token", 401, auth+c.token("alice", "acme"), "X-Service-Token: nonsense")
	})
}

// TestKeystoneMisconfigured tells 503 and logs what to do.
func TestKeystoneMisconfigured(t *testing.T) {
	answer := http.StatusUnauthorized
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && answer == http.StatusForbidden {
			w.Header().Set("X-Subject-Token", "t")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"token":{"catalog":[]}}`)
			return
		}
		w.WriteHeader(answer)
	}))
	defer fake.Close()
	for _, c := range []struct {
		answer int
		log    string
	}{
		{http.StatusUnauthorized, "check keystone-username"},
		{http.StatusForbidden, "give it the role service or admin in project service"},
		{http.StatusNotFound, "404"},
	} {
		answer = c.answer
		var log strings.Builder
		k, err := NewKeystone(KeystoneOptions{URL: fake.URL, Username: "neutron", UserDomain: "Default", Project: "service", ProjectDomain: "Default", Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Password: func() (string, error) { return "wrong", nil }, CacheTime: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(context.Background(), "GET", "/v2.0/networks", nil)
		r.Header.Set("X-Auth-Token", "t")
		for range 2 {
			if _, err := k.Authenticate(r); err != errNoKeystone {
				t.Errorf("%d: %v", answer, err)
			}
		}
		if !strings.Contains(log.String(), c.log) || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%d: the log says %s", answer, &log)
		}
	}
}

// TestKeystoneHangs has a Keystone that takes questions and never answers: only the first waits for it, and
// what it knew goes on.
func TestKeystoneHangs(t *testing.T) {
	var hangs atomic.Bool
	var asked atomic.Int64
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Subject-Token", "own")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"token":{"catalog":[]}}`)
			return
		}
		asked.Add(1)
		if hangs.Load() {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, `{"token":{"expires_at":%q,"project":{"id":"p"},"user":{"id":"u"}}}`, time.Now().Add(24*time.Hour).Format(time.RFC3339))
	}))
	defer fake.Close()
	k, err := NewKeystone(KeystoneOptions{URL: fake.URL, Username: "neutron", UserDomain: "Default", Project: "service", ProjectDomain: "Default", Password: func() (string, error) { return "secret", nil }, CacheTime: time.Hour, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	k.now = func() time.Time { return now }
	request := func(token string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v2.0/networks", nil)
		r.Header.Set("X-Auth-Token", token)
		return r
	}
	for i := range maxIdentities + 10 { // the cache is bounded; the last are in it
		if _, err := k.Authenticate(request(fmt.Sprint("known", i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.identities.Len(); n != maxIdentities {
		t.Errorf("%d identities are remembered", n)
	}
	hangs.Store(true)
	k.client.HTTPClient.Timeout = 100 * time.Millisecond
	now = now.Add(2 * time.Hour)
	before := asked.Load()
	for i := range 100 {
		if who, err := k.Authenticate(request(fmt.Sprint("known", maxIdentities+i%10))); err != nil || who.Project != "p" {
			t.Errorf("a known token: %v, %v", who, err)
		}
		if _, err := k.Authenticate(request(fmt.Sprint("unknown", i))); err != errNoKeystone {
			t.Errorf("an unknown token: %v", err)
		}
	}
	if n := asked.Load() - before; n != 1 {
		t.Errorf("a Keystone that does not answer was asked %d times", n)
	}
}

// FuzzMatchPath compares with the regular expression that keystonemiddleware makes of a pattern.
func FuzzMatchPath(f *testing.F) {
	f.Add("/v2.0/{collection}/*/**", "/v2.0/ports/1/tags/red")
	f.Add("***{a}b}", "//b}")
	parts := regexp.MustCompile(`\{[^}]*\}|\*\*|\*|[^*]`)
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if len(path) > maxRestrictedPath || len(pattern) > 100 || !utf8.ValidString(pattern) || !utf8.ValidString(path) {
			return // the expression cannot say what is meant
		}
		expression := parts.ReplaceAllStringFunc(pattern, func(part string) string {
			switch {
			case part == "**":
				return "(?s:.*)"
			case part == "*", len(part) > 1 && part[0] == '{':
				return "[^/]+"
			}
			return regexp.QuoteMeta(part)
		})
		if want := regexp.MustCompile(`\A(?:` + expression + `)\z`).MatchString(path); matchPath(pattern, path) != want {
			t.Errorf("%q matches %q: %v", pattern, path, !want)
		}
	})
}

// BenchmarkAuthenticate is what a token that Keystone knew costs each request.
func BenchmarkAuthenticate(b *testing.B) {
	k, err := NewKeystone(KeystoneOptions{URL: "http://127.0.0.1:1/v3", CacheTime: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	var key tokenKey
	token := strings.Repeat("a", 180) // as long as a Fernet token
	sum := sha256.Sum256([]byte(token))
	copy(key[:], sum[:])
	k.identities.Add(key, &identity{caller: Caller{Project: "p", Member: true}, expires: time.Now().Add(time.Hour), fresh: time.Now().Add(time.Hour)})
	r := httptest.NewRequest("GET", "/v2.0/networks", nil)
	r.Header.Set("X-Auth-Token", token)
	for b.Loop() {
		if _, err := k.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAccessLog has who asked, and what for.
func TestAccessLog(t *testing.T) {
	var log strings.Builder
	b := newBench(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Authenticate = func(*http.Request) (*Caller, error) { return &Caller{User: "u1", Project: "p1", Reader: true}, nil }
	})
	const global = "req-3a9e1239-0783-4e17-95e1-42bdf09e176e"
	b.send("GET", "/v2.0/networks?name=x", "", "X-Openstack-Request-Id: "+global)
	b.send("GET", "/v2.0/networks", "", "X-Openstack-Request-Id: forged line")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || strings.Contains(lines[1], "forged") {
		t.Fatalf("the log: %s", &log)
	}
	for _, part := range []string{"request=req-", "global=" + global, "method=GET", "/v2.0/networks?name=x", "status=200", "project=p1", "user=u1"} {
		if !strings.Contains(lines[0], part) {
			t.Errorf("no %s in %s", part, lines[0])
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		match         bool
	}{
		{"/v2.0/networks", "/v2.0/networks", true},
		{"/v2.0/networks", "/v2.0/networks/1", false},
		{"/v2.0/networks", "/v2/0/networks", false},
		{"/v2.0/networks/*", "/v2.0/networks/1", true},
		{"/v2.0/networks/*", "/v2.0/networks/", false},
		{"/v2.0/networks/*", "/v2.0/networks/1/tags", false},
		{"/v2.0/networks/{id}/tags", "/v2.0/networks/1/tags", true},
		{"/v2.0/{collection}/{id}", "/v2.0/ports/1", true},
		{"/v2.0/**", "/v2.0/networks/1/tags", true},
		{"/v2.0/**/tags", "/v2.0/networks/1/tags", true},
		{"/v2.0/**/tags", "/v2.0/networks/1", false},
		{"**", "", true},
		{"{", "{", true},
		{"{id", "1", false},
		{strings.Repeat("**a", 40), strings.Repeat("a", 1000) + "b", false},
		{"**", strings.Repeat("a", maxRestrictedPath+1), false},
	} {
		if got := matchPath(c.pattern, c.path); got != c.match {
			t.Errorf("%s matches %.40s: %v", c.pattern, c.path, got)
		}
	}
}

// TestKeystoneTLS asks a Keystone whose certificate an authority of ours has signed, and one that is
// anybody's.
func TestKeystoneTLS(t *testing.T) {
	fake := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Subject-Token", "own")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"token":{"catalog":[]}}`)
			return
		}
		fmt.Fprintf(w, `{"token":{"expires_at":%q,"project":{"id":"p"},"user":{"id":"u"}}}`, time.Now().Add(time.Hour).Format(time.RFC3339))
	}))
	defer fake.Close()
	fake.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ours := x509.NewCertPool()
	ours.AddCert(fake.Certificate())
	for authorities, want := range map[*x509.CertPool]error{ours: nil, x509.NewCertPool(): errNoKeystone} {
		k, err := NewKeystone(KeystoneOptions{URL: fake.URL, Username: "neutron", UserDomain: "Default", Project: "service", ProjectDomain: "Default", Authorities: authorities,
			Password: func() (string, error) { return "secret", nil }, CacheTime: time.Hour, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v2.0/networks", nil)
		r.Header.Set("X-Auth-Token", "t")
		if who, err := k.Authenticate(r); err != want || err == nil && who.Project != "p" {
			t.Errorf("signed by an authority that is known: %v; it is %v, error %v", want == nil, who, err)
		}
	}
}
