// Package nova tells Nova what it must hear of its instances' ports: that a VIF was plugged, which a boot
// waits for, or unplugged, that a port was deleted or changed.
//
//	change + event, one transaction ─▶ store's outbox ─▶ Notifier ─▶ POST os-server-external-events
//	                                        ▲                │
//	                                        └── delivered ───┘
//
// An event leaves the outbox when Nova has answered for it, so that none is lost with a process or while
// Nova is away; Nova may hear one twice. The events of a port are told in the order in which they came.
//
// Read this file first, then endpoint.go (how Nova is reached).
package nova

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

const (
	most         = 100 // events in one request
	answerWithin = 30 * time.Second
	firstPause   = 200 * time.Millisecond // after a failure; twice as long after the next
	longestPause = 30 * time.Second
	holdPause    = 2 * time.Second // before an event is told again that Nova could not place yet
	holdTries    = 15
)

// Options of a Notifier.
type Options struct {
	Store    *store.Store
	Endpoint Endpoint
	Logger   *slog.Logger
	// Gather is how long the news that a port has changed may wait for more of the kind; everything
	// else is told at once, together with what waits. 0 is 500 ms.
	Gather time.Duration
}

// Notifier empties the store's outbox to Nova.
type Notifier struct {
	o       Options
	failing bool // the last request did, and that has been logged
	pause   time.Duration
	held    map[uuid.UUID]hold // by port
}

// hold is an event that Nova could not place yet; the later ones of its port wait for it.
type hold struct {
	event uuid.UUID
	until time.Time
	tries int
}

// New makes a notifier, and the store keep events for it.
func New(o Options) *Notifier {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Gather == 0 {
		o.Gather = 500 * time.Millisecond
	}
	o.Store.KeepEvents()
	return &Notifier{o: o, held: map[uuid.UUID]hold{}}
}

// Run tells Nova until ctx ends.
func (n *Notifier) Run(ctx context.Context) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for ctx.Err() == nil {
		snap := n.o.Store.Snapshot()
		wait, pending := n.step(ctx, snap)
		again.Reset(wait)
		changed := snap.Changed(store.Outbox)
		if n.failing {
			changed = nil // more events do not bring Nova back
		}
		if !pending {
			again.Stop()
		}
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// told is an event as Nova reads it.
type told struct {
	Name     string `json:"name"`
	ServerID string `json:"server_uuid"`
	Tag      string `json:"tag"` // the port
	Status   string `json:"status"`
}

// item is an event of a request, and the rows that it stands for.
type item struct {
	told
	port uuid.UUID
	rows []uuid.UUID
}

// step tells what is due. wait is when to look again, if anything is pending.
func (n *Notifier) step(ctx context.Context, snap *store.Snapshot) (wait time.Duration, pending bool) {
	items, wait, pending := n.due(snap, time.Now())
	if len(items) == 0 {
		return wait, pending
	}
	err := n.tell(ctx, items)
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err != nil:
		if !n.failing {
			n.o.Logger.Error("Nova is not told of its ports; trying again", "events", len(items), "error", err)
		}
		n.failing = true
		n.pause = min(max(2*n.pause, firstPause), longestPause)
		return n.pause, true
	case n.failing:
		n.o.Logger.Info("Nova is told of its ports again")
		n.failing = false
	}
	n.pause = 0
	return 0, true // look whether there are more
}

// due is what to tell now, in order. The news that a port has changed is told once, however often it has.
func (n *Notifier) due(snap *store.Snapshot, now time.Time) (items []*item, wait time.Duration, pending bool) {
	urgent := false
	last := map[uuid.UUID]*item{} // of each port
	wait = longestPause
	for e := range snap.Events() {
		if h, ok := n.held[e.PortID]; ok && now.Before(h.until) {
			wait, pending = min(wait, h.until.Sub(now)), true
			continue
		}
		if i := last[e.PortID]; i != nil && i.Name == model.EventChanged && e.Name == model.EventChanged && i.ServerID == e.ServerID {
			i.rows = append(i.rows, e.ID)
			continue
		}
		if len(items) == most {
			break
		}
		i := &item{told{e.Name, e.ServerID, e.PortID.String(), e.Status}, e.PortID, []uuid.UUID{e.ID}}
		items, last[e.PortID] = append(items, i), i
		if rest := e.At.Add(n.o.Gather).Sub(now); e.Name != model.EventChanged || rest <= 0 {
			urgent = true
		} else {
			wait, pending = min(wait, rest), true
		}
	}
	if !urgent && len(items) < most {
		return nil, wait, pending
	}
	return items, 0, true
}

// errRefused is Nova's refusal of a whole request.
type errRefused struct {
	status int
	answer string
}

func (e *errRefused) Error() string {
	return fmt.Sprintf("nova answers %d: %.200s", e.status, e.answer)
}

// tell sends a request and takes out of the outbox what Nova has answered for.
func (n *Notifier) tell(ctx context.Context, items []*item) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	codes, err := n.post(ctx, items)
	var refused *errRefused
	if errors.As(err, &refused) && refused.status == http.StatusBadRequest {
		if len(items) > 1 { // one is wrong: which, shows when each is told alone
			for i := range items {
				if err := n.tell(ctx, items[i:i+1]); err != nil {
					return err
				}
			}
			return nil
		}
		n.o.Logger.Error("Nova does not take an event", "event", items[0].Name, "port", items[0].port, "error", err)
		codes, err = []int{http.StatusBadRequest}, nil
	}
	if err != nil {
		return err
	}
	var done []uuid.UUID
	for i, item := range items {
		if n.settled(item, codes[i]) {
			done = append(done, item.rows...)
		}
	}
	if len(done) == 0 {
		return nil
	}
	_, err = n.o.Store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range done {
			if err := tx.DeleteEvent(id); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// settled says whether an event is done with. Nova knows no host of an instance that is only being
// scheduled: that event is told again, for a while.
func (n *Notifier) settled(i *item, code int) bool {
	if code != http.StatusUnprocessableEntity {
		delete(n.held, i.port)
		if code != http.StatusOK {
			n.o.Logger.Debug("event of no use to Nova", "event", i.Name, "port", i.port, "instance", i.ServerID, "code", code)
		}
		return true
	}
	h := n.held[i.port]
	if h.event != i.rows[0] {
		h = hold{event: i.rows[0]}
	}
	if h.tries++; h.tries >= holdTries {
		n.o.Logger.Warn("Nova could not place an event: the instance has no host", "event", i.Name, "port", i.port, "instance", i.ServerID)
		delete(n.held, i.port)
		return true
	}
	h.until = time.Now().Add(holdPause)
	n.held[i.port] = h
	return false
}

// post sends a request and returns Nova's code for each event (compute API, "Run Events").
func (n *Notifier) post(ctx context.Context, items []*item) ([]int, error) {
	type request struct {
		Events []told `json:"events"`
	}
	var r request
	for _, i := range items {
		r.Events = append(r.Events, i.told)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	status, answer, err := n.o.Endpoint.Post(ctx, "/os-server-external-events", body)
	if err != nil {
		return nil, err
	}
	codes := make([]int, len(items))
	switch status {
	case http.StatusOK, http.StatusMultiStatus:
	case http.StatusNotFound:
		// Nova's own 404 says that it knows none of the instances; any other, that this is not Nova.
		var missing struct {
			ItemNotFound *struct{} `json:"itemNotFound"`
		}
		if json.Unmarshal(answer, &missing) != nil || missing.ItemNotFound == nil {
			return nil, &errRefused{status, string(answer)}
		}
		for i := range codes {
			codes[i] = status
		}
		return codes, nil
	default:
		return nil, &errRefused{status, string(answer)}
	}
	var answered struct {
		Events []struct {
			told
			Code int `json:"code"`
		} `json:"events"`
	}
	if err := json.Unmarshal(answer, &answered); err != nil {
		return nil, fmt.Errorf("answer of nova: %w", err)
	}
	for i := range codes {
		codes[i] = http.StatusOK
		for _, e := range answered.Events {
			if e.told == items[i].told && e.Code != 0 {
				codes[i] = e.Code
			}
		}
	}
	return codes, nil
}
