package api

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// view is a resource as it is shown: *model.NetworkView, *model.SubnetView, *model.PortView.
type view interface{ Row() *model.Common }

// resource is what one resource adds to what all have in common.
type resource interface {
	schema() *model.Schema
	// find returns the row of that id as a view of which nothing is derived yet, for reading only.
	find(t *store.Tables, id uuid.UUID) (view, bool)
	// candidates lists rows among which are all that the query selects, as find does.
	candidates(t *store.Tables, q *query) iter.Seq[view]
	// derive completes a view for showing it to the caller.
	derive(t *store.Tables, c *Caller, v view)
	// rules say who may do what with it.
	rules() rules
	// target is what the rules ask about a row.
	target(t *store.Tables, c *Caller, v view) target
	// create makes the row of an input and returns its id.
	create(tx *store.Tx, c *Caller, in *model.Input) (uuid.UUID, error)
	// update changes the row.
	update(tx *store.Tx, c *Caller, v view, in *model.Input) error
	// retag changes the row's tags, and nothing else.
	retag(tx *store.Tx, v view, tags []string) error
	// remove deletes the row and what goes with it.
	remove(tx *store.Tx, v view) error
}

// handlers are the operations on one resource.
type handlers struct {
	*Server
	resource
}

// tables are the newest there are, also when another replica wrote them.
func (s *Server) tables(r *http.Request) (*store.Tables, error) {
	if err := s.store.ReadIndex(r.Context()); err != nil {
		return nil, err
	}
	return &s.store.Snapshot().Tables, nil
}

// lookup finds what the caller may know of by the id in the path. A name is not found, so that clients
// go on to ask for it by name.
func (h handlers) lookup(t *store.Tables, c *Caller, id string) (view, error) {
	if h.rules().get == AccessAdmin && !c.Admin {
		return nil, errNoRoute // not even whether it exists
	}
	parsed, err := model.ParseUUID(id)
	if err != nil {
		return nil, notFound(h.schema(), model.Quote(id))
	}
	v, ok := h.find(t, parsed)
	if !ok || !c.may(h.rules().get, h.target(t, c, v)) {
		return nil, notFound(h.schema(), id)
	}
	return v, nil
}

func (h handlers) show(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(h.schema(), r.URL.RawQuery)
	if err != nil {
		return err
	}
	t, err := h.tables(r)
	if err != nil {
		return err
	}
	v, err := h.lookup(t, callerOf(r), mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	h.derive(t, callerOf(r), v)
	h.write(w, r, http.StatusOK, q, v)
	return nil
}

// write answers with one resource.
func (h handlers) write(w http.ResponseWriter, r *http.Request, status int, q *query, v view) {
	s := h.schema()
	b := append(model.AppendString([]byte{'{'}, s.Name), ':')
	b = s.Append(b, v, h.shownOf(q, callerOf(r))(v))
	writeBody(w, status, append(b, '}'))
}

// shownOf says which attributes of a resource the caller is shown.
func (h handlers) shownOf(q *query, c *Caller) func(view) model.Shown {
	own := h.schema().Shown(q.fields, c.privileged())
	others := h.schema().OfOthers(own)
	return func(v view) model.Shown {
		if c.may(attributeRules[model.PolicyOwner].get, target{project: v.Row().ProjectID}) {
			return own
		}
		return others
	}
}

// writeAll answers with a list of resources.
func (h handlers) writeAll(w http.ResponseWriter, r *http.Request, status int, q *query, all []view, links []byte) {
	s := h.schema()
	shown := h.shownOf(q, callerOf(r))
	b := append(model.AppendString([]byte{'{'}, s.Collection), ':', '[')
	for i, v := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.Append(b, v, shown(v))
		if i == 0 { // the others are about as long
			b = slices.Grow(b, len(all)*(len(b)+len(b)/8))
		}
	}
	b = append(b, ']')
	b = append(b, links...)
	writeBody(w, status, append(b, '}'))
}

func (h handlers) list(w http.ResponseWriter, r *http.Request) error {
	s, c := h.schema(), callerOf(r)
	q, err := parseQuery(s, r.URL.RawQuery)
	if err != nil {
		return err
	}
	filter, err := s.Filter(q.keys, q.filters, c.privileged())
	if err != nil {
		return err
	}
	t, err := h.tables(r)
	if err != nil {
		return err
	}
	var marker view
	if q.limit > 0 && q.marker != "" {
		if marker, err = h.lookup(t, c, q.marker); err != nil {
			return err
		}
		h.derive(t, c, marker)
	}
	all := []view{}
	for v := range h.candidates(t, q) {
		if !c.may(h.rules().get, h.target(t, c, v)) {
			continue
		}
		h.derive(t, c, v)
		if filter.Match(v) {
			all = append(all, v)
		}
	}
	if len(q.sort) == 1 && s.Attribute("id") != nil { // by id, which most ask for
		slices.SortFunc(all, func(x, y view) int { return slices.Compare(x.Row().ID[:], y.Row().ID[:]) })
	} else {
		slices.SortFunc(all, func(x, y view) int { return s.Compare(q.sort, x, y) })
	}
	var links []byte
	if q.limit > 0 {
		all = q.page(s, all, marker)
		links = appendLinks(links, s, q.links(r, all))
	}
	h.writeAll(w, r, http.StatusOK, q, all, links)
	return nil
}

func appendLinks(b []byte, s *model.Schema, links []link) []byte {
	b = append(model.AppendString(append(b, ','), s.Collection+"_links"), ':', '[')
	for i, l := range links {
		if i > 0 {
			b = append(b, ',')
		}
		b = model.AppendString(append(b, `{"rel":`...), l.Rel)
		b = model.AppendString(append(b, `,"href":`...), l.Href)
		b = append(b, '}')
	}
	return append(b, ']')
}

// read takes the request's query and body apart.
func (h handlers) read(op model.Operation, r *http.Request) (*query, []*model.Input, bool, error) {
	q, err := parseQuery(h.schema(), r.URL.RawQuery)
	if err != nil {
		return nil, nil, false, err
	}
	inputs, bulk, err := readInputs(r, h.schema(), op)
	return q, inputs, bulk, err
}

// readInputs takes the request's body apart.
func readInputs(r *http.Request, s *model.Schema, op model.Operation) (inputs []*model.Input, bulk bool, err error) {
	body, err := readBody(r)
	if err != nil {
		return nil, false, err
	}
	objects, bulk, err := s.Read(op, body)
	if err != nil {
		return nil, false, err
	}
	inputs = make([]*model.Input, len(objects))
	for i, o := range objects {
		if inputs[i], err = s.Decode(op, o); err != nil {
			return nil, false, err
		}
	}
	return inputs, bulk, nil
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errTooSlow
	case err != nil:
		return nil, model.BadRequest("The body cannot be read")
	}
	return body, nil
}

func (h handlers) create(w http.ResponseWriter, r *http.Request) error {
	c := callerOf(r)
	q, inputs, bulk, err := h.read(model.Create, r)
	if err != nil {
		return err
	}
	ids := make([]uuid.UUID, len(inputs))
	err = h.transact(r, func(tx *store.Tx) error {
		if err := h.spend(tx, c, h.schema(), inputs); err != nil {
			return err
		}
		for i, in := range inputs {
			id, err := h.resource.create(tx, c, in)
			if err != nil {
				return err
			}
			ids[i] = id
		}
		return nil
	})
	if err != nil {
		return err
	}
	t := &h.store.Snapshot().Tables
	all := make([]view, len(ids))
	for i, id := range ids {
		v, ok := h.find(t, id)
		if !ok { // deleted by somebody else since
			return notFound(h.schema(), id.String())
		}
		h.derive(t, c, v)
		h.warnUnbound(t, v)
		all[i] = v
	}
	if bulk {
		h.writeAll(w, r, http.StatusCreated, q, all, nil)
	} else {
		h.write(w, r, http.StatusCreated, q, all[0])
	}
	return nil
}

// change finds the row that a request wants to change, if it may.
func (h handlers) change(tx *store.Tx, r *http.Request, op string) (view, error) {
	c := callerOf(r)
	v, err := h.lookup(&tx.Tables, c, mux.Vars(r)["id"])
	if err != nil {
		return nil, err
	}
	if err := c.authorize(op, h.schema(), h.rules().of(op), h.target(&tx.Tables, c, v)); err != nil {
		return nil, err
	}
	return v, matches(r.Header.Get("If-Match"), v.Row().RevisionNumber)
}

func (h handlers) update(w http.ResponseWriter, r *http.Request) error {
	q, inputs, _, err := h.read(model.Update, r)
	if err != nil {
		return err
	}
	err = h.transact(r, func(tx *store.Tx) error {
		v, err := h.change(tx, r, string(model.Update))
		if err != nil {
			return err
		}
		return h.resource.update(tx, callerOf(r), v, inputs[0])
	})
	if err != nil {
		return err
	}
	t := &h.store.Snapshot().Tables
	v, err := h.lookup(t, callerOf(r), mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	h.derive(t, callerOf(r), v)
	h.warnUnbound(t, v)
	h.write(w, r, http.StatusOK, q, v)
	return nil
}

func (h handlers) remove(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(h.schema(), r.URL.RawQuery); err != nil {
		return err
	}
	err := h.transact(r, func(tx *store.Tx) error {
		v, err := h.change(tx, r, "delete")
		if err != nil {
			return err
		}
		return h.resource.remove(tx, v)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// matches checks the If-Match header, as revision_number=7, against the row's revision.
func matches(header string, revision int64) error {
	if header == "" {
		return nil
	}
	number, ok := strings.CutPrefix(strings.Trim(header, `"`), "revision_number=")
	wanted, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return model.BadRequest("If-Match must be revision_number=N and not '%s'", model.Quote(header))
	}
	if wanted != revision {
		return &Error{http.StatusPreconditionFailed, "RevisionNumberConstraintFailed",
			fmt.Sprintf("Constrained to %d, but current revision is %d", wanted, revision)}
	}
	return nil
}

// now is the time as it is stored: UTC, in seconds.
// now has no monotonic part, so that a row equals what is read back.
func now() time.Time { return time.Now().UTC().Round(0) }

// begin fills in what every new row has.
func begin(row *model.Common, c *Caller, in *model.Input) error {
	project, err := c.projectOf(in, row.ProjectID)
	if err != nil {
		return err
	}
	if row.Tags, err = model.Tags(row.Tags); err != nil {
		return err
	}
	row.ID = uuid.New()
	row.ProjectID = project
	row.CreatedAt = now()
	row.UpdatedAt = row.CreatedAt
	row.RevisionNumber = 1
	return nil
}

// touch marks a row as changed.
func touch(row *model.Common) {
	row.UpdatedAt = now()
	row.RevisionNumber++
}

// byID lists the rows with the ids of a filter; what is no id is no row's.
func byID(res resource, t *store.Tables, ids []string) iter.Seq[view] {
	return func(yield func(view) bool) {
		for _, text := range ids {
			id, err := model.ParseUUID(text)
			if err != nil {
				continue
			}
			if v, ok := res.find(t, id); ok && !yield(v) {
				return
			}
		}
	}
}
