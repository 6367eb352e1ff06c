package metadata

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	proxy  *httputil.ReverseProxy
	secret []byte
}

// machineOf is the context's key of the machine that a request is of.
type machineOf struct{}

func newNova(at *url.URL, secret []byte, log *slog.Logger) *nova {
	n := &nova{secret: secret}
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
			var tooLarge *http.MaxBytesError
			var timeout net.Error
			var dial *net.OpError
			switch {
			case errors.As(err, &tooLarge):
				http.Error(w, "request body too large", http.StatusRequestEntityTooLarge)
				return
			case errors.Is(err, context.Canceled): // the machine hung up
				w.WriteHeader(http.StatusBadGateway)
				return
			case errors.As(err, &dial) && dial.Op == "dial":
				http.Error(w, "metadata service unavailable", http.StatusServiceUnavailable)
			case errors.As(err, &timeout) && timeout.Timeout():
				http.Error(w, "metadata service timed out", http.StatusGatewayTimeout)
			default:
				http.Error(w, "metadata service failed", http.StatusBadGateway)
			}
			log.Warn("metadata not served: see metadata-url", "port", r.RemoteAddr, "nova", at.Redacted(), "error", err)
		},
	}
	return n
}

// serve asks Nova. A port that no instance uses is not asked for: Nova knows instances.
func (n *nova) serve(w http.ResponseWriter, r *http.Request, m *machine) {
	if m.port.DeviceID == "" {
		http.Error(w, "no instance uses this port", http.StatusNotFound)
		return
	}
	n.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), machineOf{}, m)))
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
	text := []byte("metadata service answered with status " + strconv.Itoa(r.StatusCode) + "\n")
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 64<<10)) // so that the connection may be used again
	_ = r.Body.Close()
	r.StatusCode, r.Status = http.StatusInternalServerError, ""
	r.Header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {strconv.Itoa(len(text))}}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return nil
}
