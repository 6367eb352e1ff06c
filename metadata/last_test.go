package metadata

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/api/model"
)

// What was asked last is told with its reason, whether it was answered or not, and forgotten in the end.
func TestAsked(t *testing.T) {
	t.Parallel()
	s, v := serve(t, Options{}), deployment(2)
	v.Networks[0].Local[0].Metadata = &model.Metadata{UserData: []byte("#!/bin/sh")}
	g := bootAll(t, s, v)[0]
	port := v.Networks[0].Local[0].ID
	if got := s.Asked(port); got.Segments != 0 || got.Last != nil {
		t.Errorf("nobody asked, but: %+v", got)
	}
	ask := func(status int, method, path string, h http.Header) *Exchange {
		t.Helper()
		before := s.Asked(port).Requests
		if got, _, err := g.ask(method, overIPv4+path, h, nil); err != nil || got != status {
			t.Fatalf("%s %s: %d, %v", method, path, got, err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // it is kept once the answer was sent
			if got := s.Asked(port); got.Requests == before+1 {
				return got.Last
			} else if time.Now().After(deadline) {
				t.Fatalf("%s %s: kept is %+v", method, path, got)
			}
		}
	}
	x := ask(200, "GET", "/openstack/latest/user_data?a=1", http.Header{"User-Agent": {"cloud-init"}, "X-Instance-Id": {"forged"}})
	if x.Request != "GET /openstack/latest/user_data?a=1" || x.From != addr("10.0.0.5") || x.Status != 200 || x.Took <= 0 || !strings.Contains(x.Reason, "kept with the port") {
		t.Errorf("%+v", x)
	}
	if !slices.Contains(x.RequestHead, "User-Agent: cloud-init") || !slices.Contains(x.RequestHead, "X-Instance-Id: forged") || !slices.Contains(x.AnswerHead, "Content-Type: application/octet-stream") {
		t.Errorf("heads %q, %q", x.RequestHead, x.AnswerHead)
	}
	if x := ask(200, "GET", "/latest/meta-data/hostname", nil); x.Bytes != int64(len("host-10-0-0-5")) {
		t.Errorf("%+v", x)
	}
	if x := ask(404, "GET", "/latest/missing", nil); !strings.Contains(x.Reason, "there is no missing") {
		t.Errorf("%+v", x)
	}
	if x := ask(405, "POST", "/latest", nil); !strings.Contains(x.Reason, "can only be read") {
		t.Errorf("%+v", x)
	}
	many := http.Header{}
	for i := range 2 * maxLines {
		many.Add("A", strings.Repeat("é", 100)+string(rune('a'+i%26)))
	}
	x = ask(404, "GET", "/"+strings.Repeat("long", 1000), many)
	if len(x.Request) > maxLine+3 || len(x.RequestHead) != maxLines+2 || len(x.Reason) > 2*maxLine {
		t.Errorf("%d bytes and %d lines are kept", len(x.Request), len(x.RequestHead))
	}
	for _, line := range x.RequestHead {
		if len(line) > maxLine+3 || !strings.HasPrefix(line, "A: ") && strings.HasSuffix(line, "\xc3") {
			t.Errorf("a line of %d bytes is kept: %q", len(line), line)
		}
	}
	if other := s.Asked(v.Networks[1].Local[0].ID); other.Segments != 0 {
		t.Errorf("another port, with the same address, is said to have asked: %+v", other)
	}

	s.clients.dropped(port, TooManyHandshakes, time.Now())
	if got := s.Asked(port); got.Silent[TooManyHandshakes] != 1 || got.Segments < 5 || got.Seen.IsZero() {
		t.Errorf("%+v", got)
	}
	g.http.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); s.Asked(port).Segments > 0; time.Sleep(10 * time.Millisecond) {
		s.clients.forget(time.Now().Add(rememberTime / 2)) // as if it were later: the port is idle, but remembered
		if got := s.Asked(port); got.Segments == 0 {
			t.Fatal("forgotten after half the time")
		}
		s.clients.forget(time.Now().Add(2 * rememberTime))
		if time.Now().After(deadline) {
			t.Fatal("not forgotten")
		}
	}
}

// Of Nova's answers it is told who was asked for, and what is wrong where there is none.
func TestAskedNova(t *testing.T) {
	t.Parallel()
	answer := http.StatusOK
	s, guests, upstream := withNova(t, 1, "shared secret", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(answer) })
	v := deployment(1)
	n, p := v.Networks[0], v.Networks[0].Local[0]
	says := func(words string) {
		t.Helper()
		_, _, _ = guests[0].ask("GET", overIPv4+"/", nil, nil)
		deadline := time.Now().Add(10 * time.Second)
		for got := s.Asked(p.ID).Last; got == nil || !strings.Contains(got.Reason, words); got = s.Asked(p.ID).Last {
			if time.Now().After(deadline) {
				t.Fatalf("it says %+v, want %q", got, words)
			}
			time.Sleep(time.Millisecond)
		}
	}
	text, ok := s.Serves(v, n, p)
	if want := "Nova at " + upstream.URL + " is asked for instance " + p.DeviceID + " of project project"; text != want || !ok {
		t.Errorf("%v, %q; want %q", ok, text, want)
	}
	says(text)
	answer = http.StatusMovedPermanently
	says("that is not Nova's metadata API, see metadata-url: it answered 301 Moved Permanently")
	upstream.Close()
	says("connection refused")
	p.DeviceID = ""
	if text, ok := s.Serves(v, n, p); ok || !strings.Contains(text, "its device_id is empty") {
		t.Errorf("%v, %q", ok, text)
	}
}
