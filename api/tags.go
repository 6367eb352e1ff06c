package api

import (
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// Tags are read and written below the resource that has them: all at /tags, one at /tags/{tag}.

// tagRoutes are the operations on the tags of one resource.
func tagRoutes(h handlers) []Route {
	s, rules := h.schema(), h.rules()
	all := "/v2.0/" + s.Collection + "/{id}/tags"
	one := all + "/{tag}"
	const alias = "standard-attr-tag"
	return []Route{
		{"get_" + s.Collection + "_tags", http.MethodGet, all, rules.get, alias, s, h.listTags},
		{"update_" + s.Collection + "_tags", http.MethodPut, all, rules.update, alias, s, h.replaceTags},
		{"create_" + s.Collection + "_tags", http.MethodPost, all, rules.update, alias, s, h.addTags},
		{"delete_" + s.Collection + "_tags", http.MethodDelete, all, rules.update, alias, s, h.removeTags},
		{"get_" + s.Collection + "_tag", http.MethodGet, one, rules.get, alias, s, h.hasTag},
		{"update_" + s.Collection + "_tag", http.MethodPut, one, rules.update, alias, s, h.addTag},
		{"delete_" + s.Collection + "_tag", http.MethodDelete, one, rules.update, alias, s, h.removeTag},
	}
}

func tagNotFound(tag string) *Error {
	return &Error{http.StatusNotFound, "TagNotFound", fmt.Sprintf("Tag %s could not be found.", model.Quote(tag))}
}

// tags returns the tags of the resource in the path.
func (h handlers) tags(r *http.Request) ([]string, error) {
	t, err := h.tables(r)
	if err != nil {
		return nil, err
	}
	v, err := h.lookup(t, callerOf(r), mux.Vars(r)["id"])
	if err != nil {
		return nil, err
	}
	return v.Row().Tags, nil
}

func writeTags(w http.ResponseWriter, status int, tags []string) {
	if tags == nil {
		tags = []string{}
	}
	writeJSON(w, status, map[string][]string{"tags": tags})
}

func (h handlers) listTags(w http.ResponseWriter, r *http.Request) error {
	tags, err := h.tags(r)
	if err != nil {
		return err
	}
	writeTags(w, http.StatusOK, tags)
	return nil
}

func (h handlers) hasTag(w http.ResponseWriter, r *http.Request) error {
	tags, err := h.tags(r)
	if err != nil {
		return err
	}
	if tag := mux.Vars(r)["tag"]; !slices.Contains(tags, tag) {
		return tagNotFound(tag)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// retagTo stores what change makes of the tags of the resource in the path.
func (h handlers) retagTo(r *http.Request, op string, change func(has []string) ([]string, error)) (tags []string, err error) {
	err = h.transact(r, func(tx *store.Tx) error {
		v, err := h.change(tx, r, op)
		if err != nil {
			return err
		}
		if tags, err = change(slices.Clone(v.Row().Tags)); err != nil {
			return err
		}
		if tags, err = model.Tags(tags); err != nil || slices.Equal(tags, v.Row().Tags) {
			return err
		}
		return h.retag(tx, v, tags)
	})
	return tags, err
}

func (h handlers) readTags(r *http.Request) ([]string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, errTooLarge
	}
	return model.ReadTags(body)
}

func (h handlers) replaceTags(w http.ResponseWriter, r *http.Request) error {
	given, err := h.readTags(r)
	if err != nil {
		return err
	}
	tags, err := h.retagTo(r, "update", func([]string) ([]string, error) { return given, nil })
	if err == nil {
		writeTags(w, http.StatusOK, tags)
	}
	return err
}

func (h handlers) addTags(w http.ResponseWriter, r *http.Request) error {
	given, err := h.readTags(r)
	if err != nil {
		return err
	}
	tags, err := h.retagTo(r, "update", func(has []string) ([]string, error) { return append(has, given...), nil })
	if err == nil {
		writeTags(w, http.StatusCreated, tags)
	}
	return err
}

func (h handlers) removeTags(w http.ResponseWriter, r *http.Request) error {
	_, err := h.retagTo(r, "update", func([]string) ([]string, error) { return nil, nil })
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (h handlers) addTag(w http.ResponseWriter, r *http.Request) error {
	tag := mux.Vars(r)["tag"]
	_, err := h.retagTo(r, "update", func(has []string) ([]string, error) { return append(has, tag), nil })
	if err == nil {
		w.WriteHeader(http.StatusCreated)
	}
	return err
}

func (h handlers) removeTag(w http.ResponseWriter, r *http.Request) error {
	tag := mux.Vars(r)["tag"]
	_, err := h.retagTo(r, "update", func(has []string) ([]string, error) {
		at := slices.Index(has, tag)
		if at < 0 {
			return nil, tagNotFound(tag)
		}
		return slices.Delete(has, at, at+1), nil
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
