package nova

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is an external event as it arrived.
type Event struct {
	Name     string `json:"name"`
	ServerID string `json:"server_uuid"`
	Tag      string `json:"tag"`
	Status   string `json:"status"`
	Code     int    `json:"code,omitempty"`

	At time.Time `json:"-"`
}

// compute is the compute API as far as Neutron uses it.
type compute struct {
	// OnEvent is called before an event is answered.
	OnEvent func(Event)
	// Validate says with which status a request with a token is refused; 0 is not at all, nil asks for none.
	Validate func(token string) (refused int)

	mu        sync.Mutex
	away      bool
	instances map[string]*Instance
	events    []Event
	arrived   chan struct{}
}

// SetAway makes the API answer 503, or no longer.
func (c *compute) SetAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// Know adds an instance to those that events may be about.
func (c *compute) Know(i *Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.instances == nil {
		c.instances = map[string]*Instance{}
	}
	c.instances[i.ID] = i
}

// ServeHTTP answers POST /v2.1/os-server-external-events as Nova does: 200, or 207 when some of the
// events are of no use, or 404 when all are.
func (c *compute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	away := c.away
	c.mu.Unlock()
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	bad := func(format string, args ...any) {
		answer(http.StatusBadRequest, map[string]any{"badRequest": map[string]any{"code": 400, "message": fmt.Sprintf(format, args...)}})
	}
	switch {
	case away:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.Method != http.MethodPost || r.URL.Path != "/v2.1/os-server-external-events":
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if c.Validate != nil {
		if refused := c.Validate(r.Header.Get("X-Auth-Token")); refused != 0 {
			w.WriteHeader(refused)
			return
		}
	}
	var body struct{ Events []Event }
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &body) != nil || len(body.Events) == 0 {
		bad("Invalid input: %s", text)
		return
	}
	status, found := http.StatusOK, false
	for i := range body.Events {
		e := &body.Events[i]
		if !slices.Contains([]string{"network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted"}, e.Name) || e.Status != "completed" || e.ServerID == "" || e.Tag == "" {
			bad("Invalid event: %+v", *e)
			return
		}
		if c.OnEvent != nil {
			c.OnEvent(*e)
		}
		c.mu.Lock()
		instance := c.instances[e.ServerID]
		switch {
		case instance == nil:
			e.Code, status = http.StatusNotFound, http.StatusMultiStatus
		case instance.Host == "":
			e.Code, status, found = http.StatusUnprocessableEntity, http.StatusMultiStatus, true
		default:
			e.Code, found = http.StatusOK, true
			e.At = time.Now()
			c.events = append(c.events, *e)
			if c.arrived != nil {
				close(c.arrived)
				c.arrived = nil
			}
		}
		c.mu.Unlock()
	}
	if !found {
		answer(http.StatusNotFound, map[string]any{"itemNotFound": map[string]any{"code": 404, "message": "No instances found for any event"}})
		return
	}
	answer(status, map[string]any{"events": body.Events})
}

// Mark is a place in the course of events.
type Mark int

// Mark is where the course of events is now.
func (c *compute) Mark() Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Mark(len(c.events))
}

// Since lists the events after a mark.
func (c *compute) Since(m Mark) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events[m:])
}

// Await waits for an event of a port after a mark.
func (c *compute) Await(ctx context.Context, m Mark, name, port string) (Event, error) {
	for {
		c.mu.Lock()
		if c.arrived == nil {
			c.arrived = make(chan struct{})
		}
		arrived, all := c.arrived, c.events[m:]
		c.mu.Unlock()
		for _, e := range all {
			if e.Name == name && e.Tag == port {
				return e, nil
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			var came []string
			for _, e := range all {
				came = append(came, e.Name+" "+e.Tag)
			}
			return Event{}, errors.Join(fmt.Errorf("no %s of port %s came, but %s", name, port, strings.Join(came, ", ")), ctx.Err())
		}
	}
}
