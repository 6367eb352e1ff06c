package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what a client reads of one answer.
const maxAnswer = 256 << 20

// Client asks a controller over its admin address.
type Client struct {
	address string
	base    string
	http    *http.Client
}

// NewClient makes a client of the admin address "unix:PATH", "tcp:HOST:PORT" or "http://HOST:PORT".
func NewClient(address string) (*Client, error) {
	c := &Client{address: address, base: "http://tunbridge"}
	dial := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{}
	switch scheme, rest, _ := strings.Cut(address, ":"); scheme {
	case "unix":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial.DialContext(ctx, "unix", rest)
		}
	case "tcp":
		c.base = "http://" + rest
	case "http", "https":
		c.base = strings.TrimRight(address, "/")
	default:
		return nil, fmt.Errorf("admin address %q: want unix:PATH or tcp:HOST:PORT", address)
	}
	c.http = &http.Client{Transport: transport, Timeout: time.Minute}
	return c, nil
}

// Hosts lists all hosts, by hostname.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) { return get[[]Host](ctx, c, "hosts") }

// Host shows one host.
func (c *Client) Host(ctx context.Context, host string) (Host, error) {
	return get[Host](ctx, c, "hosts", host)
}

// Flows lists a host's installed flows, by bridge, table and falling priority.
func (c *Client) Flows(ctx context.Context, host string) ([]Flow, error) {
	return get[[]Flow](ctx, c, "hosts", host, "flows")
}

// Diff compares what a host has with what it should have.
func (c *Client) Diff(ctx context.Context, host string) (Diff, error) {
	return get[Diff](ctx, c, "hosts", host, "diff")
}

func get[T any](ctx context.Context, c *Client, path ...string) (answer T, err error) {
	return ask[T](ctx, c, nil, path...)
}

// ask is get with a query.
func ask[T any](ctx context.Context, c *Client, query url.Values, path ...string) (answer T, err error) {
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	address := c.base + "/v1/" + strings.Join(path, "/")
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer, fmt.Errorf("no controller answers at %s (is `tunbridge serve` running? --admin names its address): %w", c.address, err)
	}
	defer resp.Body.Close()
	body := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var e Error
		if body.Decode(&e) != nil || e.Error == "" {
			e.Error = resp.Status
		}
		return answer, fmt.Errorf("%s", e.Error)
	}
	if err := body.Decode(&answer); err != nil {
		return answer, fmt.Errorf("%s: %w", c.address, err)
	}
	return answer, nil
}

// stream makes a request whose answer is one JSON value after the other, and calls each with them until there are no
// more, ctx ends or each fails.
func stream[T any](ctx context.Context, c *Client, req *http.Request, each func(*T) error) error {
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return fmt.Errorf("no controller answers at %s (is `tunbridge serve` running? --admin names its address): %w", c.address, err)
	}
	defer resp.Body.Close()
	values := json.NewDecoder(resp.Body)
	if resp.StatusCode != http.StatusOK {
		var e Error
		if values.Decode(&e) != nil || e.Error == "" {
			e.Error = resp.Status
		}
		return errors.New(e.Error)
	}
	for {
		var v T
		switch err := values.Decode(&v); {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", c.address, err)
		}
		if err := each(&v); err != nil {
			return err
		}
	}
}
