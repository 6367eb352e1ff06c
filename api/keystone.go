package api

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// The limits of authentication.
const (
	keystoneTimeout = 5 * time.Second  // for one answer of Keystone
	keystonePause   = time.Second      // before a Keystone that did not answer is asked again
	refusedFor      = 10 * time.Second // that a token which Keystone does not know is not asked for again
	maxIdentities   = 10000            // remembered
	maxRefused      = 1000             // remembered
	maxToken        = 8 << 10          // bytes
	keystoneSlots   = 16               // questions at once
	accessRules     = "1.0"            // version of application credentials' access rules that is enforced
)

// KeystoneOptions say which Keystone is asked, and as whom.
type KeystoneOptions struct {
	URL       string // of the identity API, with or without /v3
	PublicURL string // that clients without a token are told; "" is URL
	// The service user, which has the role service or admin in the project.
	Username, UserDomain, Project, ProjectDomain string
	// Password is asked for at each sign-in, so that it can change.
	Password func() (string, error)
	// Authorities that Keystone's certificate may be signed by; nil is the system's.
	Authorities *x509.CertPool
	// CacheTime is how long an answer is taken for true: a revoked token is refused after no more.
	CacheTime time.Duration
	// Logger is told when Keystone stops and begins to answer; nil is slog's default.
	Logger *slog.Logger
}

// Keystone says who makes a request by asking Keystone v3 about the request's token
// (https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token).
//
// What Keystone said is remembered for CacheTime. While it does not answer, tokens that it knew go on
// being good until they expire, and nobody waits for it; others are answered 503. One question is
// asked for each token, however many requests wait for the answer.
type Keystone struct {
	o          KeystoneOptions
	challenge  *unauthorized
	client     *gophercloud.ServiceClient
	identities *lru.Cache[tokenKey, *identity]
	refused    *lru.Cache[tokenKey, time.Time] // until when
	asking     singleflight.Group
	slots      chan struct{}
	now        func() time.Time

	mu     sync.Mutex
	signIn sync.Mutex // held while a token of our own is fetched
	failed time.Time  // when Keystone last failed to answer; zero if it answered since
}

// tokenKey stands for a token in memory, which so holds none. Its last byte says whether the token may
// have expired.
type tokenKey [sha256.Size + 1]byte

// identity is what Keystone says of a token.
type identity struct {
	caller     Caller
	expires    time.Time
	fresh      time.Time // until when it is taken for true
	restricted bool      // to the access rules of an application credential
	rules      []accessRule
}

// unauthorized is the answer to who has no good token, as keystonemiddleware gives it.
type unauthorized struct{ challenge string }

func (u *unauthorized) Error() string { return "The request you have made requires authentication." }

func (u *unauthorized) write(w http.ResponseWriter) {
	type body struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
	}
	w.Header().Set("WWW-Authenticate", u.challenge)
	writeJSON(w, http.StatusUnauthorized, map[string]body{"error": {http.StatusUnauthorized, "Unauthorized", u.Error()}})
}

// errFault is a failure of Keystone's with one token.
var errFault = errors.New("keystone answers 500")

var errNoKeystone = &Error{http.StatusServiceUnavailable, "HTTPServiceUnavailable", "Keystone does not answer, so that it is not known whose token this is. Try again."}

// NewKeystone returns an authenticator that has not asked anything yet: Keystone may still be down.
func NewKeystone(o KeystoneOptions) (*Keystone, error) {
	provider, err := openstack.NewClient(strings.TrimSuffix(o.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("keystone: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Authorities}
	transport.MaxIdleConnsPerHost = keystoneSlots
	provider.HTTPClient = http.Client{Timeout: keystoneTimeout, Transport: transport}
	provider.UserAgent.Prepend("tunbridge")
	provider.UseTokenLock()
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	endpoint := strings.TrimSuffix(provider.IdentityBase, "/") + "/v3"
	if o.PublicURL == "" {
		o.PublicURL = endpoint
	}
	k := &Keystone{
		o: o, slots: make(chan struct{}, keystoneSlots), now: time.Now,
		client:    &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: endpoint + "/"},
		challenge: &unauthorized{fmt.Sprintf("Keystone uri=%q", o.PublicURL)},
	}
	if k.identities, err = lru.New[tokenKey, *identity](maxIdentities); err != nil {
		return nil, err
	}
	k.refused, err = lru.New[tokenKey, time.Time](maxRefused)
	return k, err
}

// Authenticate says who makes the request, by X-Auth-Token. A service that passes a user's request on
// adds its own token as X-Service-Token: then the user's may have expired since
// (https://docs.openstack.org/keystone/latest/admin/manage-services.html).
func (k *Keystone) Authenticate(r *http.Request) (*Caller, error) {
	var byService bool
	if token := r.Header.Get("X-Service-Token"); token != "" {
		service, err := k.identify(r.Context(), token, false)
		if err != nil {
			return nil, err
		}
		byService = service.caller.Service
	}
	who, err := k.identify(r.Context(), r.Header.Get("X-Auth-Token"), byService)
	if err != nil {
		return nil, err
	}
	if who.restricted && !byService && !allowedBy(who.rules, r) {
		return nil, k.challenge
	}
	if who.caller.Project == "" {
		return nil, &Error{http.StatusForbidden, "PolicyNotAuthorized", "The token is not scoped to a project: networks belong to projects"}
	}
	return &who.caller, nil
}

// identify returns whose token it is: *unauthorized if nobody's, errNoKeystone if that is not known.
func (k *Keystone) identify(ctx context.Context, token string, mayHaveExpired bool) (*identity, error) {
	if token == "" || len(token) > maxToken {
		return nil, k.challenge
	}
	sum := sha256.Sum256([]byte(token))
	var key tokenKey
	copy(key[:], sum[:])
	if mayHaveExpired {
		key[len(key)-1] = 1
	}
	now := k.now()
	known, ok := k.identities.Get(key)
	switch {
	case ok && !mayHaveExpired && !now.Before(known.expires):
		return nil, k.challenge
	case ok && now.Before(known.fresh):
		return known, nil
	}
	if until, no := k.refused.Get(key); no && now.Before(until) {
		return nil, k.challenge
	}
	answer := k.asking.DoChan(string(key[:]), func() (any, error) { return k.ask(key, token, mayHaveExpired) })
	if ok && k.isDown() {
		return known, nil
	}
	select {
	case a := <-answer:
		switch {
		case a.Err == nil:
			return a.Val.(*identity), nil
		case ok && errors.Is(a.Err, errNoKeystone):
			return known, nil
		}
		return nil, a.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *Keystone) isDown() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.failed.IsZero()
}

// ask asks Keystone and remembers what it says.
func (k *Keystone) ask(key tokenKey, token string, mayHaveExpired bool) (*identity, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*keystoneTimeout)
	defer cancel()
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return nil, errNoKeystone
	}
	k.mu.Lock()
	pause := k.now().Sub(k.failed) < keystonePause
	k.mu.Unlock()
	if pause {
		return nil, errNoKeystone
	}
	asked := k.now()
	said, err := k.validate(ctx, token, mayHaveExpired)
	if !errors.Is(err, errFault) { // a fault may be the token's doing, and no reason to doubt others
		k.note(err)
	}
	switch {
	case err != nil:
		return nil, errNoKeystone
	case said == nil:
		k.identities.Remove(key)
		k.refused.Add(key, asked.Add(min(refusedFor, k.o.CacheTime)))
		return nil, k.challenge
	}
	said.fresh = asked.Add(k.o.CacheTime)
	k.identities.Add(key, said)
	return said, nil
}

// note remembers whether Keystone answered, and says so when that changes.
func (k *Keystone) note(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		if k.failed.IsZero() {
			k.o.Logger.Error("keystone does not validate tokens; those it knew are good until they expire", "url", k.client.Endpoint, "error", err)
		}
		k.failed = k.now()
	case !k.failed.IsZero():
		k.failed = time.Time{}
		k.o.Logger.Info("keystone validates tokens again", "url", k.client.Endpoint)
	}
}

// tokenBody is Keystone's description of a token.
type tokenBody struct {
	Token struct {
		ExpiresAt time.Time `json:"expires_at"`
		User      struct {
			ID string `json:"id"`
		} `json:"user"`
		Project struct {
			ID string `json:"id"`
		} `json:"project"`
		Roles []struct {
			Name string `json:"name"`
		} `json:"roles"`
		ApplicationCredential struct {
			AccessRules *[]accessRule `json:"access_rules"`
		} `json:"application_credential"`
	} `json:"token"`
}

// validate asks Keystone about a token; it returns nil if the token is not good. It signs in when it
// must: at first, and when our own token has ended.
func (k *Keystone) validate(ctx context.Context, token string, mayHaveExpired bool) (*identity, error) {
	url := k.client.ServiceURL("auth", "tokens") + "?nocatalog"
	if mayHaveExpired {
		url += "&allow_expired=1"
	}
	if k.client.Token() == "" {
		if err := k.authenticate(ctx, ""); err != nil {
			return nil, err
		}
	}
	for attempt := 1; ; attempt++ {
		own := k.client.Token()
		var body tokenBody
		_, err := k.client.Get(ctx, url, &body, &gophercloud.RequestOpts{
			MoreHeaders: map[string]string{"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": accessRules},
			OkCodes:     []int{http.StatusOK},
		})
		if err == nil {
			return body.identity(), nil
		}
		switch code := (gophercloud.ErrUnexpectedResponseCode{}); {
		case !errors.As(err, &code):
			return nil, err
		case code.Actual == http.StatusUnauthorized && attempt == 1:
			if err := k.authenticate(ctx, own); err != nil {
				return nil, err
			}
		case code.Actual == http.StatusForbidden:
			return nil, fmt.Errorf("user %s may not validate tokens: give it the role service or admin in project %s", k.o.Username, k.o.Project)
		case code.Actual == http.StatusInternalServerError:
			k.o.Logger.Error("keystone fails to validate a token", "url", k.client.Endpoint)
			return nil, errFault
		case code.Actual < http.StatusInternalServerError && code.Actual != http.StatusUnauthorized && code.Actual != http.StatusTooManyRequests:
			return nil, nil // 404; others if the token is no token at all
		default:
			return nil, fmt.Errorf("keystone answers %d", code.Actual)
		}
	}
}

// authenticate signs in, unless somebody else has since the token had was used.
func (k *Keystone) authenticate(ctx context.Context, had string) error {
	k.signIn.Lock()
	defer k.signIn.Unlock()
	if k.client.Token() != had {
		return nil
	}
	password, err := k.o.Password()
	if err != nil {
		return err
	}
	err = openstack.AuthenticateV3(ctx, k.client.ProviderClient, &tokens.AuthOptions{
		Username: k.o.Username, DomainName: k.o.UserDomain, Password: password,
		Scope: tokens.Scope{ProjectName: k.o.Project, DomainName: k.o.ProjectDomain},
	}, gophercloud.EndpointOpts{})
	if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
		return fmt.Errorf("keystone refuses user %s of domain %s in project %s of domain %s: check keystone-username, keystone-password-file and the user's role there",
			k.o.Username, k.o.UserDomain, k.o.Project, k.o.ProjectDomain)
	}
	return err
}

func (b *tokenBody) identity() *identity {
	t := &b.Token
	who := &identity{expires: t.ExpiresAt, caller: Caller{User: t.User.ID, Project: t.Project.ID}}
	for _, role := range t.Roles {
		switch strings.ToLower(role.Name) {
		case "admin":
			who.caller.Admin = true
		case "service":
			who.caller.Service = true
		case "member":
			who.caller.Member = true
		case "reader":
			who.caller.Reader = true
		}
	}
	if rules := t.ApplicationCredential.AccessRules; rules != nil {
		who.restricted, who.rules = true, *rules
	}
	return who
}

// accessRule is what an application credential is restricted to
// (https://docs.openstack.org/keystone/latest/user/application_credentials.html#access-rules).
type accessRule struct {
	Service string `json:"service"`
	Method  string `json:"method"`
	Path    string `json:"path"` // {name} and * stand for one part, ** for any
}

func allowedBy(rules []accessRule, r *http.Request) bool {
	for _, rule := range rules {
		if rule.Service == "network" && rule.Method == r.Method && matchPath(rule.Path, r.URL.Path) {
			return true
		}
	}
	return false
}

// maxRestrictedPath is longer than any path an access rule is meant for, and bounds what matching costs.
const maxRestrictedPath = 1024 // bytes

// matchPath matches a path with an access rule's, in time proportional to both lengths.
func matchPath(pattern, path string) bool {
	if len(path) > maxRestrictedPath {
		return false
	}
	// reach[i] is whether the pattern so far can end before path[i].
	reach := make([]bool, len(path)+1)
	reach[0] = true
	for pattern != "" {
		next := make([]bool, len(path)+1)
		end := strings.IndexByte(pattern, '}')
		switch {
		case strings.HasPrefix(pattern, "**"):
			pattern = pattern[2:]
			for i, before := 0, false; i <= len(path); i++ {
				before = before || reach[i]
				next[i] = before
			}
		case pattern[0] == '*', pattern[0] == '{' && end > 0:
			if pattern[0] == '*' {
				end = 0
			}
			pattern = pattern[end+1:]
			for i := 1; i <= len(path); i++ {
				next[i] = path[i-1] != '/' && (reach[i-1] || next[i-1])
			}
		default:
			for i := 1; i <= len(path); i++ {
				next[i] = reach[i-1] && path[i-1] == pattern[0]
			}
			pattern = pattern[1:]
		}
		reach = next
	}
	return reach[len(path)]
}
