package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tunbridge/tunbridge/api/model"
)

// TestOpenAPI makes openapi.json and docs/api.md of the declarations, the routes and the answers of a real
// server, which must be as the document says.
func TestOpenAPI(t *testing.T) {
	server, done := runExamples(t)
	d := newDescription(t, server, done)
	for _, r := range d.routes {
		if !slices.ContainsFunc(done, func(e example) bool { return e.route == r.Name }) {
			t.Errorf("%s %s has no example", r.Method, r.Path)
		}
	}
	for _, e := range done {
		d.check(t, e)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(d.document()); err != nil {
		t.Fatal(err)
	}
	golden(t, "openapi.json", text.Bytes())
	golden(t, "../docs/api.md", []byte(d.page()))
}

// object is a JSON object.
type object = map[string]any

// description is what is known of the API.
type description struct {
	routes   []Route // those with a name
	examples []example
	comments map[string]string // of the fields of package model, by "Struct.Field"
	named    object            // the schemas that the operations refer to, as they are read from JSON
}

func newDescription(t *testing.T, s *Server, examples []example) *description {
	d := &description{examples: examples, comments: make(map[string]string)}
	for _, r := range s.Routes() {
		if r.Name != "" {
			d.routes = append(d.routes, r)
		}
	}
	sources, err := filepath.Glob("model/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no declarations", err)
	}
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						d.comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	d.named = fromJSON(t, d.schemas())
	return d
}

// fromJSON is an object as it is read from JSON, so that it can be compared with what is.
func fromJSON(t *testing.T, o object) object {
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var read object
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// leads is how a phrase begins that can stand without its verb; a value cannot.
var leads = regexp.MustCompile(`^(whether|what|how|when|the|a|its|that|free|for|further|unique)\b`)

// says is what the declaration says of an attribute, in the API's words for it.
func (d *description) says(a *model.Attribute) string {
	comment := d.comments[a.StructName+"."+a.Field]
	if rest, ok := strings.CutPrefix(comment, a.Field+" "); ok {
		comment = rest
		if what := strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are "); leads.MatchString(what) {
			comment = what
		}
		comment = strings.ToUpper(comment[:1]) + comment[1:]
	}
	for _, s := range append(model.Schemas(), model.Bindings) {
		for _, other := range s.Attributes {
			if strings.Contains(other.Name, "_") { // the others are words of the language
				comment = strings.ReplaceAll(comment, other.Field, other.Name)
			}
		}
	}
	return comment
}

// Schemas of the values of attributes, by kind.

func arrayOf(items object) object { return object{"type": "array", "items": items} }

func structure(properties object) object {
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

var (
	anyText = object{"type": "string"}
	anyID   = object{"type": "string", "format": "uuid"}
	address = object{"type": "string", "format": "ip-address"}
	block   = object{"type": "string", "format": "cidr"}
	number  = object{"type": "integer"}
	truth   = object{"type": "boolean"}
	anyMAC  = object{"type": "string", "format": "mac-address"}
)

var kindSchemas = map[string]object{
	"string": anyText, "boolean": truth, "integer": number, "uuid": anyID, "mac": anyMAC, "address": address, "cidr": block,
	"time": {"type": "string", "format": "date-time"}, "strings": arrayOf(anyText), "uuids": arrayOf(anyID), "addresses": arrayOf(address),
	"cidrs": arrayOf(block), "object": {"type": "object"},
	"segments": arrayOf(structure(object{"provider:network_type": anyText, "provider:physical_network": object{"type": []string{"string", "null"}},
		"provider:segmentation_id": object{"type": []string{"integer", "null"}}})),
	"pools":         arrayOf(structure(object{"start": address, "end": address})),
	"routes":        arrayOf(structure(object{"destination": block, "nexthop": address})),
	"fixed-ips":     arrayOf(structure(object{"subnet_id": anyID, "ip_address": address})),
	"address-pairs": arrayOf(structure(object{"ip_address": block, "mac_address": anyMAC})),
	"dhcp-options":  arrayOf(structure(object{"opt_name": anyText, "opt_value": object{"type": []string{"string", "null"}}, "ip_version": number})),
	"metadata": structure(object{"hostname": anyText, "user_data": anyText,
		"public_keys": object{"type": "object", "additionalProperties": anyText}, "meta": object{"type": "object", "additionalProperties": anyText}}),
	"subnet-ip-availabilities": arrayOf(structure(object{"subnet_id": anyID, "subnet_name": anyText, "ip_version": number, "cidr": block, "used_ips": number, "total_ips": number})),
	"dns-assignments":          arrayOf(structure(object{"ip_address": address, "hostname": anyText, "fqdn": anyText})),
}

// property is the schema of an attribute.
func (d *description) property(a *model.Attribute, request bool) object {
	p := make(object)
	for key, value := range kindSchemas[a.Kind] {
		p[key] = value
	}
	if a.Null || request && a.Clear {
		p["type"] = []any{p["type"], "null"}
	}
	p["description"] = d.says(a)
	switch {
	case a.Values != nil:
		var values []any
		for _, v := range a.Values {
			values = append(values, scalar(a, v))
		}
		if a.Null {
			values = append(values, nil)
		}
		p["enum"] = values
	case a.Kind == "string" && a.HasMax:
		p["maxLength"] = a.Max
	case a.Kind == "integer":
		if a.HasMin {
			p["minimum"] = a.Min
		}
		if a.HasMax {
			p["maximum"] = a.Max
		}
	}
	if request && a.HasDefault {
		p["default"] = scalar(a, a.Default)
	}
	if a.Extension != "" {
		p["x-extension"] = a.Extension
	}
	return p
}

// scalar is a tag's text as a JSON value.
func scalar(a *model.Attribute, text string) any {
	switch a.Kind {
	case "boolean":
		return text == "true"
	case "integer":
		n, _ := strconv.Atoi(text)
		return n
	}
	return text
}

// schema describes a resource in an answer, or in a request.
func (d *description) schema(s *model.Schema, op model.Operation) object {
	properties := make(object)
	var required []string
	for _, a := range s.Attributes {
		shown := !a.Hidden
		switch op {
		case model.Create:
			shown = a.Post
		case model.Update:
			shown = a.Put
		}
		if !shown {
			continue
		}
		p := d.property(a, op != "")
		properties[a.Name] = p
		if a.Alias != "" {
			properties[a.Alias] = p
		}
		if op == model.Create && a.Required {
			required = append(required, a.Name)
		}
	}
	out := structure(properties)
	if required != nil {
		out["required"] = required
	}
	return out
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// under is an object with one key.
func under(key string, value object) object { return structure(object{key: value}) }

// schemas are all that the operations refer to.
func (d *description) schemas() object {
	link := structure(object{"rel": anyText, "href": object{"type": "string", "format": "uri"}})
	all := object{
		"links": arrayOf(link),
		"tags":  under("tags", arrayOf(anyText)),
		"error": under("NeutronError", structure(object{
			"type":    object{"type": "string", "description": "What clients choose their exception by."},
			"message": object{"type": "string", "description": "What was wrong, with the attribute and its value."},
			"detail":  object{"type": "string", "description": "Empty."},
		})),
		"extension": structure(object{"name": anyText, "alias": anyText, "description": anyText, "updated": anyText, "links": ref("links")}),
		"prefixes":  under("prefixes", arrayOf(block)),
	}
	for _, s := range append(model.Schemas(), model.Bindings) {
		all[s.Name] = d.schema(s, "")
		for _, op := range []model.Operation{model.Create, model.Update} {
			if in := d.schema(s, op); len(in["properties"].(object)) > 0 {
				all[s.Name+"."+string(op)] = in
			}
		}
	}
	limits, usage := make(object), make(object)
	for _, resource := range model.QuotaResources() {
		limits[resource] = number
		usage[resource] = structure(object{"limit": number, "used": number, "reserved": number})
	}
	ofProject := object{"project_id": anyText, "tenant_id": anyText}
	for resource := range limits {
		ofProject[resource] = number
	}
	all["quota.list"], all["quota.details"] = structure(ofProject), structure(usage)
	return all
}

// shape is what an operation takes and answers.
type shape struct {
	summary      string
	body, answer object // nil: there is none
	status       int
	list         *model.Schema // whose filters and sort keys the query has
}

// shapes are those of operations that are not as all resources have them.
func shapes() map[string]shape {
	const ok, created, gone = http.StatusOK, http.StatusCreated, http.StatusNoContent
	entry := structure(object{"name": anyText, "collection": anyText, "links": ref("links")})
	version := structure(object{"id": anyText, "status": anyText, "links": ref("links")})
	binding := under("binding", ref("binding"))
	all := map[string]shape{
		"get_versions":        {summary: "The versions of the API", answer: under("versions", arrayOf(version)), status: ok},
		"get_healthcheck":     {summary: "Whether the server runs", answer: structure(object{"detailed": truth, "reasons": arrayOf(anyText)}), status: ok},
		"get_openapi":         {summary: "This document", answer: object{"type": "object"}, status: ok},
		"get_resources":       {summary: "The collections of the core", answer: under("resources", arrayOf(entry)), status: ok},
		"get_extensions":      {summary: "The extensions that are advertised", answer: under("extensions", arrayOf(ref("extension"))), status: ok},
		"get_extension":       {summary: "One extension, by its alias", answer: under("extension", ref("extension")), status: ok},
		"get_quotas":          {summary: "The quotas of projects that have their own", answer: under("quotas", arrayOf(ref("quota.list"))), status: ok},
		"get_quota_tenant":    {summary: "The caller's project, by its older name", answer: under("tenant", structure(object{"tenant_id": anyText})), status: ok},
		"get_quota_project":   {summary: "The caller's project", answer: under("project", structure(object{"project_id": anyText})), status: ok},
		"get_quota":           {summary: "What a project may have", answer: under("quota", ref("quota")), status: ok},
		"update_quota":        {summary: "Set what a project may have", body: under("quota", ref("quota.update")), answer: under("quota", ref("quota")), status: ok},
		"delete_quota":        {summary: "Give a project the defaults again", status: gone},
		"get_quota_default":   {summary: "What a project may have by default", answer: under("quota", ref("quota")), status: ok},
		"get_quota_details":   {summary: "What a project may have, and has", answer: under("quota", ref("quota.details")), status: ok},
		"get_dhcp-networks":   {summary: "The networks whose DHCP is answered on a host", answer: under("networks", arrayOf(ref("network"))), status: ok},
		"create_dhcp-network": {summary: "Refused: DHCP is answered wherever the network has a port", body: under("network_id", anyID)},
		"delete_dhcp-network": {summary: "Refused: DHCP is answered wherever the network has a port"},
		"get_dhcp-agents":     {summary: "The hosts on which a network's DHCP is answered", answer: under("agents", arrayOf(ref("agent"))), status: ok},
		"add_prefixes":        {summary: "Extend a pool", body: ref("prefixes"), answer: ref("prefixes"), status: ok},
		"remove_prefixes":     {summary: "Take blocks out of a pool that no subnet uses", body: ref("prefixes"), answer: ref("prefixes"), status: ok},
		"get_auto_allocated_topology": {
			summary: "Refused: no network is made for a project that has none"},
		"delete_auto_allocated_topology": {summary: "Delete the network that was made for a project: there is none", status: gone},
		"get_service_providers": {summary: "What provides services beyond layer 2: nothing", status: ok,
			answer: under("service_providers", arrayOf(structure(object{"service_type": anyText, "name": anyText, "default": truth})))},
		"get_port_bindings":     {summary: "The bindings of a port", answer: under("bindings", arrayOf(ref("binding"))), status: ok, list: model.Bindings},
		"create_port_binding":   {summary: "Bind a port to one host more", body: under("binding", ref("binding.create")), answer: binding, status: created},
		"get_port_binding":      {summary: "The binding of a port to a host", answer: binding, status: ok},
		"update_port_binding":   {summary: "Change a binding", body: under("binding", ref("binding.update")), answer: binding, status: ok},
		"delete_port_binding":   {summary: "Unbind a port from a host", status: gone},
		"activate_port_binding": {summary: "Make a binding the port's own", answer: ref("binding"), status: ok},
	}
	for _, s := range model.Core() {
		n := s.Collection
		all["get_"+n+"_tags"] = shape{summary: "The tags", answer: ref("tags"), status: ok}
		all["update_"+n+"_tags"] = shape{summary: "Replace the tags", body: ref("tags"), answer: ref("tags"), status: ok}
		all["create_"+n+"_tags"] = shape{summary: "Add tags", body: ref("tags"), answer: ref("tags"), status: created}
		all["delete_"+n+"_tags"] = shape{summary: "Remove all tags", status: gone}
		all["get_"+n+"_tag"] = shape{summary: "Whether it has a tag", status: gone}
		all["update_"+n+"_tag"] = shape{summary: "Add a tag", status: created}
		all["delete_"+n+"_tag"] = shape{summary: "Remove a tag", status: gone}
	}
	return all
}

var known = shapes()

// shapeOf is the shape of an operation.
func shapeOf(r Route) shape {
	if s, ok := known[r.Name]; ok {
		return s
	}
	s := r.Schema
	one := under(s.Name, ref(s.Name))
	title := strings.ReplaceAll(s.Name, "_", " ")
	several := strings.ReplaceAll(s.Collection, "_", " ")
	switch {
	case r.Method == http.MethodGet && !strings.HasSuffix(r.Path, "}"):
		list := structure(object{s.Collection: arrayOf(ref(s.Name)), s.Collection + "_links": ref("links")})
		return shape{summary: "List " + several, answer: list, status: http.StatusOK, list: s}
	case r.Method == http.MethodPost:
		in := ref(s.Name + "." + string(model.Create))
		both := object{"oneOf": []any{under(s.Name, in), under(s.Collection, arrayOf(in))}}
		made := object{"oneOf": []any{one, under(s.Collection, arrayOf(ref(s.Name)))}}
		return shape{summary: "Create " + title + ", or several together", body: both, answer: made, status: http.StatusCreated}
	case r.Method == http.MethodPut:
		return shape{summary: "Change " + title, body: under(s.Name, ref(s.Name+"."+string(model.Update))), answer: one, status: http.StatusOK}
	case r.Method == http.MethodDelete:
		return shape{summary: "Delete " + title, status: http.StatusNoContent}
	}
	return shape{summary: "Show " + title, answer: one, status: http.StatusOK}
}

// parameters are those of an operation's path and query.
func (d *description) parameters(r Route, s shape) []any {
	var all []any
	for part := range strings.SplitSeq(r.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			all = append(all, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": anyText})
		}
	}
	query := func(name string, schema object, says string) {
		all = append(all, object{"name": name, "in": "query", "schema": schema, "description": says})
	}
	if s.list != nil {
		var keys []any
		for _, a := range s.list.Attributes {
			if a.Filter {
				for _, name := range []string{a.Name, a.Alias} {
					if name != "" {
						query(name, arrayOf(anyText), "Only those with one of these values.")
					}
				}
			}
			if a.Sort {
				keys = append(keys, a.Name)
			}
		}
		if s.list.Attribute("tags") != nil {
			query("tags", anyText, "Only those with all of these tags, separated by commas.")
			query("tags-any", anyText, "Only those with any of these tags.")
			query("not-tags", anyText, "Only those without all of these tags.")
			query("not-tags-any", anyText, "Only those without any of these tags.")
			query("changed_since", object{"type": "string", "format": "date-time"}, "Only those changed at this time or later.")
		}
		if keys != nil {
			query("sort_key", arrayOf(object{"enum": keys}), "The attributes to sort by, the first one first.")
			query("sort_dir", arrayOf(object{"enum": []any{"asc", "desc"}}), "The direction of each sort_key.")
			query("limit", object{"type": "integer", "minimum": 0}, "How many a page has; 0 is all.")
			query("marker", anyID, "The last one of the page before, or of the page after with page_reverse.")
			query("page_reverse", truth, "The page before the marker.")
		}
	}
	if s.status == http.StatusOK && r.Schema != nil && r.Schema != model.Quotas && s.answer["$ref"] == nil {
		query("fields", arrayOf(anyText), "The attributes to show; without it all.")
	}
	if r.Method != http.MethodGet && s.status != 0 {
		query("dry_run", truth, "Answer with what would change on which host, and change nothing.")
	}
	if conditional(r) {
		all = append(all, object{"name": "If-Match", "in": "header", "schema": anyText, "description": "revision_number=N: only if that is still its revision."})
	}
	return all
}

// conditional reports whether an operation changes something that has a revision.
func conditional(r Route) bool {
	created := r.Method == http.MethodPost && !strings.Contains(r.Path, "{")
	return r.Method != http.MethodGet && !created && r.Schema != nil && slices.Contains(model.Core(), r.Schema)
}

// document is the OpenAPI document.
func (d *description) document() object {
	paths := make(object)
	for _, r := range d.routes {
		s := shapeOf(r)
		o := object{
			"operationId": r.Name, "summary": s.summary, "tags": []string{section(r)}, "x-access": r.Access.String(),
			"parameters": d.parameters(r, s),
		}
		if r.Extension != "" {
			o["x-extension"] = r.Extension
		}
		if slices.Contains(openRoutes, r.Name) {
			o["security"] = []any{}
		}
		responses := object{"default": object{"description": "What was wrong", "content": content(ref("error"), nil)}}
		if s.status != 0 {
			response := object{"description": http.StatusText(s.status)}
			if s.answer != nil {
				response["content"] = content(s.answer, d.of(r, s.status, func(e example) string { return e.answer }))
			}
			responses[strconv.Itoa(s.status)] = response
		}
		if s.body != nil {
			o["requestBody"] = object{"required": true, "content": content(s.body, d.of(r, s.status, func(e example) string { return e.body }))}
		}
		o["responses"] = responses
		item, _ := paths[documented(r)].(object)
		if item == nil {
			item = make(object)
		}
		item[strings.ToLower(r.Method)] = o
		paths[documented(r)] = item
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Tunbridge: the Neutron API", "version": "v2.0",
			"description": "Networks, subnets and ports as OpenStack's Neutron serves them. x-access is who may call an operation, x-extension the alias of the extension that it belongs to."},
		"security":   []any{object{"token": []any{}}},
		"paths":      paths,
		"components": object{"schemas": d.schemas(), "securitySchemes": object{"token": object{"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}},
	}
}

// documented is a route's path as clients write it.
func documented(r Route) string {
	if r.Name == "get_openapi" {
		return r.Path + ".json"
	}
	return r.Path
}

// section is the collection that an operation is listed under.
func section(r Route) string {
	parts := strings.Split(r.Path, "/")
	if len(parts) < 3 || parts[2] == "" || parts[2] == "openapi" {
		return "discovery"
	}
	return parts[2]
}

// of are the examples of an operation with this answer's status, by what they show.
func (d *description) of(r Route, status int, text func(example) string) object {
	all := make(object)
	for _, e := range d.examples {
		if e.route != r.Name || e.long || status != 0 && e.status != status || text(e) == "" {
			continue
		}
		name := e.says
		if name == "" {
			name = "example"
		}
		all[name] = object{"value": json.RawMessage(text(e))}
	}
	return all
}

func content(schema, examples object) object {
	c := object{"schema": schema}
	if len(examples) > 0 {
		c["examples"] = examples
	}
	return object{"application/json": c}
}

// check compares an example's answer, and its body if it was accepted, with their schemas.
func (d *description) check(t *testing.T, e example) {
	where := e.method + " " + e.path
	s := d.checkAnswer(t, where, e.route, e.status, e.answer)
	if e.status >= 400 {
		return
	}
	if e.status != s.status || (e.body == "") != (s.body == nil) {
		t.Errorf("%s: %d, with the body %q", where, e.status, e.body)
	} else if s.body != nil {
		d.valid(t, where, s.body, e.body)
	}
}

// checkAnswer compares an answer with its schema.
func (d *description) checkAnswer(t *testing.T, where, route string, status int, answer string) shape {
	t.Helper()
	i := slices.IndexFunc(d.routes, func(r Route) bool { return r.Name == route })
	if i < 0 {
		if status < 400 {
			t.Errorf("%s takes no route that is documented", where)
		}
		return shape{}
	}
	s := shapeOf(d.routes[i])
	schema := s.answer
	if status >= 400 {
		schema = ref("error")
		if status == http.StatusUnauthorized || route == "get_extension" {
			return s // not errors as the others are; Neutron's neither
		}
	}
	if (schema == nil) != (answer == "") {
		t.Errorf("%s: the answer %q", where, answer)
	} else if schema != nil {
		d.valid(t, where, schema, answer)
	}
	return s
}

func (d *description) valid(t *testing.T, where string, schema object, text string) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %s: %v", where, text, err)
	}
	if wrong := violation(d.named, fromJSON(t, schema), v); wrong != "" {
		t.Errorf("%s: %s\n%s", where, wrong, text)
	}
}

// violation says how a value is not as its schema says; "" if it is.
func violation(components, schema object, v any) string {
	if name, ok := schema["$ref"].(string); ok {
		return violation(components, components[name[strings.LastIndex(name, "/")+1:]].(object), v)
	}
	if choices, ok := schema["oneOf"].([]any); ok {
		var all []string
		for _, c := range choices {
			wrong := violation(components, c.(object), v)
			if wrong == "" {
				return ""
			}
			all = append(all, wrong)
		}
		return strings.Join(all, "; ")
	}
	types, many := schema["type"].([]any)
	if !many && schema["type"] != nil {
		types = []any{schema["type"]}
	}
	is := "null"
	switch v := v.(type) {
	case bool:
		is = "boolean"
	case string:
		is = "string"
	case float64:
		is = "integer"
		if v != float64(int64(v)) {
			is = "number"
		}
	case []any:
		is = "array"
		for _, item := range v {
			if wrong := violation(components, schema["items"].(object), item); wrong != "" {
				return wrong
			}
		}
	case object:
		is = "object"
		properties, _ := schema["properties"].(object)
		for key, value := range v {
			p, ok := properties[key].(object)
			if !ok && schema["additionalProperties"] == false {
				return key + " is not in the schema"
			}
			if ok {
				if wrong := violation(components, p, value); wrong != "" {
					return key + ": " + wrong
				}
			}
		}
		for _, key := range asList(schema["required"]) {
			if _, ok := v[key.(string)]; !ok {
				return fmt.Sprint(key, " is required")
			}
		}
	}
	if types != nil && !slices.Contains(types, any(is)) {
		return fmt.Sprintf("%v is %s, not %v", v, is, types)
	}
	if values := asList(schema["enum"]); values != nil && !slices.Contains(values, v) {
		return fmt.Sprintf("%v is none of %v", v, values)
	}
	return ""
}

func asList(v any) []any { list, _ := v.([]any); return list }
