package api

import (
	"net/http"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// planned is the outcome of a request with ?dry_run=true in place of its own: what it would do. It goes up
// as an error, so that nothing that follows a change is done.
type planned struct{ plan any }

func (*planned) Error() string { return "a dry run: nothing was changed" }

// transact makes a request's change durable; every one is made by it. In a dry run it is only tried, and the
// error is a *planned.
func (s *Server) transact(r *http.Request, change func(*store.Tx) error) error {
	dry, err := dryRun(r)
	switch {
	case err != nil:
		return err
	case !dry:
		_, err = s.store.Update(r.Context(), change)
		return err
	case s.Plan == nil:
		return errNoDryRuns
	}
	before, after, err := s.store.Try(change)
	if err != nil {
		return err
	}
	plan, err := s.Plan(r.Context(), before, after)
	if err != nil {
		return err
	}
	return &planned{plan}
}

// dryRun says whether a request asks what it would do.
func dryRun(r *http.Request) (bool, error) {
	values := r.URL.Query()["dry_run"]
	if len(values) == 0 {
		return false, nil
	}
	return model.ToBoolean(values[len(values)-1])
}
