package metadata

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// novaTimeout is how long Nova may think, dialTimeout how long it may take to take a connection. One
// that refuses connections is known at once.
const (
	novaTimeout = 60 * time.Second
	dialTimeout = 3 * time.Second
)

// nova passes requests on to Nova's metadata API: the same method, path, query and body, with headers
// that say who asks, and a signature that Nova believes.
type nova struct {
	at     string // its address, without a password
	proxy  *httputil.ReverseProxy
	secret []byte
}

// machineOf is the context's key of the machine that a request is of, recorderOf that of its answer.
type (
	machineOf  struct{}
	recorderOf struct{}
)

func newNova(at *url.URL, secret []byte, log *slog.Logger) *nova {
	n := &nova{at: at.Redacted(), secret: secret}
	n.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			m := p.In.Context().Value(machineOf{}).(*machine)
			p.SetURL(at)
			p.Out.URL.RawQuery = p.In.URL.RawQuery // the proxy drops what it does not understand
			p.Out.Trailer = nil
			strip(p.Out.Header)
			p.Out.Header.Set("X-Instance-ID", m.port.DeviceID)
			p.Out.Header.Set("X-Tenant-ID", m.port.ProjectID)
			p.Out.Header.Set("X-Instance-ID-Signature", n.sign(m.port.DeviceID))
			p.Out.Header.Set("X-Forwarded-For", m.address.String())
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: novaTimeout,
			IdleConnTimeout:       time.Minute,
			MaxIdleConns:          256,
			MaxIdleConnsPerHost:   256,
			DisableCompression:    true, // what the machine asked for is what Nova is asked
		},
		ModifyResponse: mapStatus,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			answer := w.(*recorder)
			var large *http.MaxBytesError
			var timeout net.Error
			var dial *net.OpError
			failed := fmt.Sprintf("Nova at %s failed, see metadata-url: %v", n.at, err)
			switch {
			case errors.As(err, &large):
				answer.fail(http.StatusRequestEntityTooLarge, "request body too large", tooLarge)
				return
			case errors.Is(err, context.Canceled):
				answer.reason = "the machine hung up while Nova was asked"
				answer.WriteHeader(http.StatusBadGateway)
				return
			case errors.As(err, &dial) && dial.Op == "dial":
				answer.fail(http.StatusServiceUnavailable, "metadata service unavailable", failed)
			case errors.As(err, &timeout) && timeout.Timeout():
				answer.fail(http.StatusGatewayTimeout, "metadata service timed out", failed)
			default:
				answer.fail(http.StatusBadGateway, "metadata service failed", failed)
			}
			log.Warn("metadata not served: see metadata-url", "port", r.RemoteAddr, "nova", n.at, "error", err)
		},
	}
	return n
}

// serve asks Nova. A port that no instance uses is not asked for: Nova knows instances.
func (n *nova) serve(w *recorder, r *http.Request, m *machine) {
	text, ok := n.serves(m)
	if !ok {
		w.fail(http.StatusNotFound, "no instance uses this port", text)
		return
	}
	w.reason = text + ", and says so"
	ctx := context.WithValue(context.WithValue(r.Context(), machineOf{}, m), recorderOf{}, w)
	n.proxy.ServeHTTP(w, r.WithContext(ctx))
}

func (n *nova) serves(m *machine) (text string, ok bool) {
	if m.port.DeviceID == "" {
		return "no instance uses the port: its device_id is empty, and Nova knows instances only", false
	}
	return fmt.Sprintf("Nova at %s is asked for instance %s of project %s", n.at, m.port.DeviceID, m.port.ProjectID), true
}

// sign is the hex HMAC-SHA256 of an instance's ID, which Nova compares with its own.
func (n *nova) sign(instance string) string {
	h := hmac.New(sha256.New, n.secret)
	h.Write([]byte(instance))
	return hex.EncodeToString(h.Sum(nil))
}

// strip takes a machine's own X- headers away: X-Instance-ID and its likes (X-Neutron-…, X-OVN-…,
// X-Metadata-…, X-Forwarded-…) are for those to say who stand between a machine and Nova. To a WSGI
// server X_Instance_ID is the same header. Nor may a machine turn its connection into another protocol.
func strip(h http.Header) {
	for name := range h {
		if dashed := strings.ToLower(strings.ReplaceAll(name, "_", "-")); strings.HasPrefix(dashed, "x-") || dashed == "forwarded" {
			delete(h, name)
		}
	}
	h.Del("Connection")
	h.Del("Upgrade")
}

// mapStatus passes the statuses on that a machine can make sense of. What else may come, as a redirection
// or a request to log in, shows that metadata-url is not Nova's: that is a failure, not an answer.
func mapStatus(r *http.Response) error {
	switch s := r.StatusCode; {
	case s >= 200 && s < 300, s == 400, s == 403, s == 404, s == 409, s == 429, s == 500, s == 502, s == 503, s == 504:
		return nil
	}
	r.Request.Context().Value(recorderOf{}).(*recorder).reason = "that is not Nova's metadata API, see metadata-url: it answered " + r.Status
	text := []byte("metadata service answered with status " + strconv.Itoa(r.StatusCode) + "\n")
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 64<<10)) // so that the connection may be used again
	_ = r.Body.Close()
	r.StatusCode, r.Status = http.StatusInternalServerError, ""
	r.Header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {strconv.Itoa(len(text))}}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return nil
}
