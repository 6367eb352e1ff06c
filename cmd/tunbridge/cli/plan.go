package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Plan shows what a request to the API would do. It is the one command that asks the API, with its user's
// token, and not the admin address: what its user may not do it may not plan.
type Plan struct {
	JSON      bool     `name:"json" help:"Print JSON."`
	Request   []string `arg:"" optional:"" help:"Method and path, as PUT /v2.0/ports/ID. Without, the file has them, or has one new object or a list of them."`
	File      string   `short:"f" help:"The request's JSON body, or {\"method\", \"path\", \"body\"}; - is the standard input." placeholder:"FILE"`
	API       string   `name:"api" default:"http://127.0.0.1:9696" help:"The API." placeholder:"URL"`
	TokenFile string   `help:"File with the token; without, the environment's OS_TOKEN." placeholder:"FILE"`
	CACert    string   `name:"cacert" env:"OS_CACERT" help:"Authority of the API's certificate, a PEM file." placeholder:"FILE"`

	out io.Writer // os.Stdout unless a test sets it
}

// Help is shown below the flags.
func (Plan) Help() string {
	return `Nothing is changed: the API is asked with ?dry_run=true.

Examples:
  tunbridge plan -f port.json
  tunbridge plan PUT /v2.0/ports/b7c1a5d2-0d4e-4c38-9f6e-6f1d0a2b3c4d -f move.json
  tunbridge plan DELETE /v2.0/networks/4f0c2a6e-8d1b-4c7e-a5f3-9b2d6e8f1a3c`
}

// Run prints the plan.
func (c *Plan) Run() error {
	method, path, body, err := c.request()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	plan, err := c.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	a := Admin{JSON: c.JSON, out: c.out}
	return a.print(&plan, func(w io.Writer) error {
		printPlan(w, plan)
		return nil
	})
}

// request reads what is to be asked.
func (c *Plan) request() (method, path string, body []byte, err error) {
	switch c.File {
	case "":
	case "-":
		body, err = io.ReadAll(os.Stdin)
	default:
		body, err = os.ReadFile(c.File)
	}
	switch {
	case err != nil:
		return "", "", nil, err
	case len(c.Request) == 2:
		return strings.ToUpper(c.Request[0]), c.Request[1], body, nil
	case len(c.Request) > 0:
		return "", "", nil, fmt.Errorf("plan %s: want a method and a path", strings.Join(c.Request, " "))
	case len(body) == 0:
		return "", "", nil, fmt.Errorf("plan of what? Give a method and a path, or -f FILE")
	}
	var whole struct {
		Method, Path string
		Body         json.RawMessage
	}
	if err := json.Unmarshal(body, &whole); err != nil {
		return "", "", nil, fmt.Errorf("%s: %w", c.File, err)
	}
	if whole.Method != "" && whole.Path != "" {
		return strings.ToUpper(whole.Method), whole.Path, whole.Body, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return "", "", nil, fmt.Errorf("%s: %w", c.File, err)
	}
	for name := range object {
		if len(object) == 1 {
			return http.MethodPost, "/v2.0/" + strings.TrimSuffix(name, "s") + "s", body, nil
		}
	}
	return "", "", nil, fmt.Errorf("%s is neither {\"method\", \"path\", \"body\"} nor one new object, as {\"port\": {…}}: give a method and a path", c.File)
}

// ask makes the request as a dry run.
func (c *Plan) ask(ctx context.Context, method, path string, body []byte) (plan inspect.Plan, err error) {
	u, err := url.Parse(strings.TrimRight(c.API, "/") + path)
	if err != nil {
		return plan, err
	}
	q := u.Query()
	q.Set("dry_run", "true")
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return plan, err
	}
	token := os.Getenv("OS_TOKEN")
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return plan, err
		}
		token = strings.TrimSpace(string(b))
	}
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	req.Header.Set("Content-Type", "application/json")
	client, err := c.client()
	if err != nil {
		return plan, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return plan, fmt.Errorf("no answer from the API (--api names its address): %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostPlan))
	if err != nil {
		return plan, err
	}
	if resp.StatusCode != http.StatusOK {
		var refused struct {
			NeutronError struct{ Type, Message string }
		}
		_ = json.Unmarshal(text, &refused) // else the text is all there is
		return plan, fmt.Errorf("%s %s would be refused: %s: %s", method, path, resp.Status, cmp.Or(refused.NeutronError.Message, strings.TrimSpace(string(text))))
	}
	if err := json.Unmarshal(text, &plan); err != nil {
		return plan, fmt.Errorf("%s %s: the answer is no plan: %w", method, path, err)
	}
	return plan, nil
}

// mostPlan bounds what is read of an answer, in bytes.
const mostPlan = 256 << 20

func (c *Plan) client() (*http.Client, error) {
	client := &http.Client{Timeout: 2 * time.Minute}
	if c.CACert == "" {
		return client, nil
	}
	pem, err := os.ReadFile(c.CACert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", c.CACert)
	}
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
	return client, nil
}

func printPlan(w io.Writer, p inspect.Plan) {
	rows, changes := 0, 0
	for i := range p.Hosts {
		rows += len(p.Hosts[i].Rows)
		changes += len(p.Hosts[i].Changes)
	}
	fmt.Fprintf(w, "%d objects, and on %d hosts %d rows and %d flows, groups, buckets and meters\n", len(p.Objects), len(p.Hosts), rows, changes)
	for _, o := range p.Objects {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s %s  %s", o.Sign, o.Object, o.Object.Note), " "))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "! %s\n", n)
	}
	for i := range p.Hosts {
		h := &p.Hosts[i]
		fmt.Fprintf(w, "\n%s\n", h.Hostname)
		for _, line := range append(h.Rows, h.Changes...) {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}
