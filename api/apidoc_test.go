package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tunbridge/tunbridge/api/model"
)

const introduction = `# The API

<!-- Generated: go test ./api -run TestOpenAPI -update -->

OpenStack's Neutron v2.0, made of the same declarations as /v2.0/openapi.json, which the server serves.
Every request on this page is sent to a real server when it is tested, and the answers are its own;
` + "`docs/neutron.md`" + ` says where they are not Neutron's.

    curl -H "X-Auth-Token: $TOKEN" http://127.0.0.1:9696/v2.0/networks

Without Keystone (auth: none) no token is needed, everybody is an administrator, and X-Project-Id names
the project.

- **Names**: a resource is named by its id. Neutron's older tenant_id stands beside project_id.
  A path may end in .json or a slash.
- **Changes** are answered when they are durable. Several resources created together are one
  transaction.
- **Lists**: name=blue&name=red finds either, different keys must all hold; unknown keys are errors.
  sort_key and sort_dir come in pairs. With limit, the answer links to the next and the previous page.
  fields chooses attributes.
- **Tags** in lists: tags has all, tags-any any, not-tags not all, not-tags-any none of those given.
- **Revisions**: If-Match: revision_number=7 makes a change conditional; 412 if it is no longer so.
- **dry_run=true** answers what a change would do on which host, and does nothing.
- **Errors** have a type that clients branch on. 404 is what the caller may not know of, 403 what the
  caller may not do.
- **Limits**: a body has 8 MiB (413) and comes within 60 s (408), header and URL have 1 MiB (431). While
  the store does not answer, or Keystone for a token that is new, that is a 503.
- Every answer has an X-Openstack-Request-Id, which the log repeats, with the one that the request has.
`

// page is docs/api.md.
func (d *description) page() string {
	var b strings.Builder
	b.WriteString(introduction)
	shown := make(map[*model.Schema]bool)
	last := ""
	for _, r := range d.sorted() {
		if s := section(r); s != last {
			fmt.Fprintf(&b, "\n## %s\n", s)
			last = s
		}
		if r.Schema != nil && !shown[r.Schema] {
			shown[r.Schema] = true
			d.attributes(&b, r.Schema)
		}
		d.operation(&b, r)
	}
	return b.String()
}

// sorted are the routes, those of a section together. The tags of all resources are alike: those of
// networks stand for them.
func (d *description) sorted() []Route {
	var sections []string
	of := make(map[string][]Route)
	for _, r := range d.routes {
		s := section(r)
		if strings.Contains(r.Path, "/tags") && s != model.Networks.Collection {
			continue
		}
		if of[s] == nil {
			sections = append(sections, s)
		}
		of[s] = append(of[s], r)
	}
	var all []Route
	for _, s := range sections {
		all = append(all, of[s]...)
	}
	return all
}

func (d *description) attributes(b *strings.Builder, s *model.Schema) {
	fmt.Fprintf(b, "\nA %s:\n\n| Attribute | Type | Given in | In lists | Extension | |\n|---|---|---|---|---|---|\n", strings.ReplaceAll(s.Name, "_", " "))
	for _, a := range s.Attributes {
		var given, lists []string
		if a.Post {
			given = append(given, "POST")
		}
		if a.Put {
			given = append(given, "PUT")
		}
		if a.Filter {
			lists = append(lists, "filter")
		}
		if a.Sort {
			lists = append(lists, "sort")
		}
		says := d.says(a)
		if a.Required {
			says += " Required."
		}
		if a.HasDefault {
			says += " Default: " + a.Default + "."
		}
		if a.Values != nil {
			says += " One of " + strings.Join(a.Values, ", ") + "."
		}
		for _, row := range attributeRows(s, a) {
			if op, _, part := strings.Cut(row.Action, "_"); part && strings.HasSuffix(row.Action, ":"+a.Name) {
				says += fmt.Sprintf(" %s: %s.", map[string]string{"create": "May give it", "get": "May see it", "update": "May change it"}[op], row.Rule)
			}
		}
		kind := a.Kind
		if a.Null {
			kind += " or null"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", a.Name, kind, strings.Join(given, ", "), strings.Join(lists, ", "), a.Extension, strings.ReplaceAll(says, "|", "\\|"))
	}
}

func (d *description) operation(b *strings.Builder, r Route) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s. %s", r.Method, documented(r), shapeOf(r).summary, who(r))
	if r.Extension != "" {
		fmt.Fprintf(b, " Extension %s.", r.Extension)
	}
	b.WriteString("\n")
	for _, e := range d.examples {
		if e.route != r.Name {
			continue
		}
		b.WriteString("\n")
		if e.says != "" {
			b.WriteString(e.says + "\n\n")
		}
		fmt.Fprintf(b, "```\n%s %s\n", e.method, e.path)
		if e.header != "" {
			b.WriteString(e.header + "\n")
		}
		if e.body != "" {
			b.WriteString(e.body + "\n")
		}
		fmt.Fprintf(b, "\n%d %s\n", e.status, http.StatusText(e.status))
		switch {
		case e.long:
			b.WriteString("{…}\n")
		case e.answer != "":
			b.WriteString(e.answer + "\n")
		}
		b.WriteString("```\n")
	}
}

// who may call an operation.
func who(r Route) string {
	if slices.Contains(openRoutes, r.Name) {
		return "Needs no token."
	}
	return "For " + r.Access.String() + "."
}
