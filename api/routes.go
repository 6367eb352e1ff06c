package api

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
)

// Route is one operation of the API. Documentation is made by walking all of them.
type Route struct {
	Name      string // as the policy's rule: "create_network"
	Method    string
	Path      string        // below the root; {id} stands for what the caller names
	Access    Access        // who may call it
	Extension string        // that it belongs to; "" is the core
	Schema    *model.Schema // of what it is about, or nil
	serve     handler
}

// handler answers a request, or returns the error that is the answer.
type handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP makes a handler one of mux's; it is never called, since errors need an answer.
func (handler) ServeHTTP(http.ResponseWriter, *http.Request) { panic("api: not served by mux") }

// openRoutes need no authentication: they tell everybody the same.
var openRoutes = []string{"get_versions", "get_healthcheck", "get_openapi"}

// Routes are all operations, in the order of the documentation.
func (s *Server) Routes() []Route { return s.routes }

func (s *Server) declareRoutes() []Route {
	routes := []Route{
		{Name: "get_versions", Method: http.MethodGet, Path: "/", Access: AccessAny, serve: getVersions},
		{Name: "get_healthcheck", Method: http.MethodGet, Path: "/healthcheck", Access: AccessAny, serve: getHealth},
		{Name: "get_openapi", Method: http.MethodGet, Path: "/v2.0/openapi", Access: AccessAny, serve: getOpenAPI},
		{Name: "get_resources", Method: http.MethodGet, Path: "/v2.0/", Access: AccessAny, serve: getResources},
		{Name: "get_extensions", Method: http.MethodGet, Path: "/v2.0/extensions", Access: AccessAny, serve: listExtensions},
		{Name: "get_extension", Method: http.MethodGet, Path: "/v2.0/extensions/{id}", Access: AccessAny, serve: showExtension},
	}
	for _, res := range []resource{networks{s}, subnets{s}, subnetPools{s}, ports{s}} {
		schema, rules := res.schema(), res.rules()
		collection := "/v2.0/" + schema.Collection
		member := collection + "/{id}"
		none := func(http.ResponseWriter, *http.Request) error { return notFound(schema, "None") }
		h := handlers{s, res}
		routes = append(routes,
			Route{"get_" + schema.Collection, http.MethodGet, collection, rules.get, "", schema, h.list},
			Route{"create_" + schema.Name, http.MethodPost, collection, rules.create, "", schema, h.create},
			Route{"get_" + schema.Name, http.MethodGet, member, rules.get, "", schema, h.show},
			Route{"update_" + schema.Name, http.MethodPut, member, rules.update, "", schema, h.update},
			Route{"delete_" + schema.Name, http.MethodDelete, member, rules.delete, "", schema, h.remove},
			// Neutron takes these for operations on a member without a name.
			Route{"", http.MethodPut, collection, AccessAny, "", schema, none},
			Route{"", http.MethodDelete, collection, AccessAny, "", schema, none},
		)
		routes = append(routes, tagRoutes(h)...)
	}
	for _, more := range [][]Route{s.quotaRoutes(), s.agentRoutes(), s.zoneRoutes(), s.availabilityRoutes(), s.poolRoutes(), s.rbacRoutes(), bindingRoutes(s)} {
		routes = append(routes, more...)
	}
	return routes
}

func newRouter(routes []Route) *mux.Router {
	router := mux.NewRouter().SkipClean(true)
	for _, r := range routes {
		methods := []string{r.Method}
		if r.Method == http.MethodGet { // Neutron takes OPTIONS for GET
			methods = append(methods, http.MethodOptions)
		}
		router.Handle(r.Path, r.serve).Methods(methods...).Name(r.Name)
	}
	return router
}

// noRoute tells what is missing in Neutron, from what is not Neutron's.
func noRoute(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/v2.0" || strings.HasPrefix(r.URL.Path, "/v2.0/") {
		return errNoRoute
	}
	writeJSON(w, http.StatusNotFound, struct {
		Code        int     `json:"code"`
		Title       string  `json:"title"`
		Description *string `json:"description"`
	}{http.StatusNotFound, "Not Found", nil})
	return nil
}
