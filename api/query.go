package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
)

// query is the query of a list or of a member, taken apart.
type query struct {
	pairs   []pair // in the order they were written
	keys    []string
	filters map[string][]string
	fields  []string
	sort    []model.SortKey
	limit   int // 0: no pages
	marker  string
	reverse bool // the page before the marker
}

type pair struct{ key, value string }

// parseQuery reads a query of the resource. Errors are *model.Invalid.
func parseQuery(s *model.Schema, raw string) (*query, error) {
	q := &query{filters: make(map[string][]string)}
	var sortKeys, sortDirs []string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(rawKey)
		value, err2 := url.QueryUnescape(rawValue)
		if err != nil || err2 != nil {
			return nil, model.BadRequest("The query %s cannot be read", model.Quote(part))
		}
		q.pairs = append(q.pairs, pair{key, value})
		switch key {
		case "fields":
			if value != "" {
				q.fields = append(q.fields, value)
			}
		case "sort_key":
			sortKeys = append(sortKeys, value)
		case "sort_dir":
			sortDirs = append(sortDirs, value)
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return nil, &model.Invalid{Type: "BadRequest", Message: "Bad limit request: Limit must be an integer 0 or greater and not '" + model.Quote(value) + "'."}
			}
			q.limit = n
		case "marker":
			q.marker = value
		case "page_reverse":
			q.reverse = strings.EqualFold(value, "true")
		case "dry_run":
			// See Server.transact.
		default:
			if _, again := q.filters[key]; !again {
				q.keys = append(q.keys, key)
			}
			q.filters[key] = append(q.filters[key], value)
		}
	}
	var err error
	q.sort, err = s.SortKeys(sortKeys, sortDirs)
	return q, err
}

// only returns the values of a filter that can be looked up in an index; ok is false when the query
// does not have it, or asks for those without a value, which no index has.
func (q *query) only(key string) (values []string, ok bool) {
	values = q.filters[key]
	if len(values) == 0 || slices.Contains(values, "") {
		return nil, false
	}
	values = slices.Clone(values)
	slices.Sort(values)
	return slices.Compact(values), true
}

// page cuts a sorted list to the page that the query asks for. The marker itself is on no page; it need
// not be in the list, as it may not match the filters.
func (q *query) page(s *model.Schema, sorted []view, marker view) []view {
	if q.limit == 0 {
		return sorted
	}
	if marker != nil {
		before := len(sorted)
		for i, v := range sorted {
			if s.Compare(q.sort, v, marker) >= 0 {
				before = i
				break
			}
		}
		if q.reverse {
			sorted = sorted[:before]
		} else {
			if before < len(sorted) && s.Compare(q.sort, sorted[before], marker) == 0 {
				before++
			}
			sorted = sorted[before:]
		}
	}
	if len(sorted) <= q.limit {
		return sorted
	}
	if q.reverse {
		return sorted[len(sorted)-q.limit:]
	}
	return sorted[:q.limit]
}

// links are where the next and the previous page are: always, unless this page is not full, which shows
// that there is nothing more in its direction.
func (q *query) links(r *http.Request, page []view) []link {
	var links []link
	if full := len(page) == q.limit; full || q.reverse {
		links = append(links, link{"next", q.href(r, page, false)})
		if !full {
			return links
		}
	}
	return append(links, link{"previous", q.href(r, page, true)})
}

func (q *query) href(r *http.Request, page []view, reverse bool) string {
	var b strings.Builder
	b.WriteString(base(r) + r.URL.Path + "?")
	for _, p := range q.pairs {
		if p.key != "marker" && p.key != "page_reverse" {
			b.WriteString(url.QueryEscape(p.key) + "=" + url.QueryEscape(p.value) + "&")
		}
	}
	edge := ""
	if len(page) > 0 {
		end := page[len(page)-1]
		if reverse {
			end = page[0]
		}
		edge = "marker=" + end.Row().ID.String()
	}
	switch {
	case reverse && edge != "":
		edge += "&page_reverse=True"
	case reverse:
		edge = "page_reverse=True"
	}
	return strings.TrimSuffix(b.String()+edge, "&")
}
