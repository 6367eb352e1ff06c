package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tunbridge/tunbridge/controller/inspect"
	"github.com/tunbridge/tunbridge/flows"
	"github.com/tunbridge/tunbridge/metadata"
)

// metadata follows a request for metadata from the port to its answer.
func (e *explanation) metadata(ctx context.Context) error {
	server, ok := e.c.o.Handlers[flows.OpMetadata].(*metadata.Server)
	if !ok {
		return errors.New("explain metadata: this controller serves none")
	}
	view, from, l, err := e.asker(ctx)
	if err != nil || l == nil {
		return err
	}
	text, ok := server.Serves(view, from.network, from.port)
	e.step(ok, "%s", text)
	asked := server.Asked(from.port.ID)
	switch x := asked.Last; {
	case asked.Segments == 0:
		e.step(false, "nothing was asked since the VIF was wired at %s, or for a day: the guest does not ask, or has no route to %s that leads out of this VIF",
			from.asker.since.Format(time.DateTime), metadata.AddressIPv4)
	case x == nil:
		e.stepAt(asked.Seen, false, "%d TCP segments came, but no request: the connection does not come about, or the request is larger than what passes", asked.Segments)
	default:
		decision := "silence"
		if x.Status != 0 {
			decision = fmt.Sprintf("%d %s, %d bytes in %s", x.Status, http.StatusText(x.Status), x.Bytes, x.Took.Round(time.Microsecond))
		}
		// Not to have a document is well, too: those who ask try many.
		well := x.Status >= http.StatusOK && x.Status < http.StatusBadRequest || x.Status == http.StatusNotFound && ok
		e.stepAt(x.At, well, "%s from %s: %s, because %s", x.Request, x.From, decision, x.Reason)
		e.Exchanges = []inspect.Exchange{{Operation: flows.OpMetadata.String(), At: x.At, Requests: asked.Requests, Request: x.Request, Decision: decision, Reason: x.Reason,
			RequestText: x.RequestHead, AnswerText: x.AnswerHead}}
	}
	if asked.Refused > 0 {
		e.step(false, "%d connections of the port were refused: it had too many at a time", asked.Refused)
	}
	for why, n := range asked.Silent {
		if n > 0 {
			e.step(false, "%d packets of the port were dropped: %s", n, metadata.Silence(why))
		}
	}
	return e.limits(ctx, &from, l)
}
