package api

import (
	_ "embed"
	"fmt"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
)

type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// base is the root of the API as the client reached it.
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func getVersions(w http.ResponseWriter, r *http.Request) error {
	type version struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Links  []link `json:"links"`
	}
	writeJSON(w, http.StatusOK, map[string][]version{"versions": {{"v2.0", "CURRENT", []link{{"self", base(r) + "/v2.0/"}}}}})
	return nil
}

// getHealth is what Neutron answers to load balancers: that it runs. Health says more, elsewhere.
func getHealth(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, struct {
		Detailed bool     `json:"detailed"`
		Reasons  []string `json:"reasons"`
	}{Reasons: []string{"OK"}})
	return nil
}

// openAPI is the description of the API that a test makes of the declarations.
//
//go:embed openapi.json
var openAPI []byte

// getOpenAPI answers /v2.0/openapi.json, of which the server cuts the ending as of every path.
func getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	writeBody(w, http.StatusOK, openAPI)
	return nil
}

func getResources(w http.ResponseWriter, r *http.Request) error {
	type entry struct {
		Name       string `json:"name"`
		Collection string `json:"collection"`
		Links      []link `json:"links"`
	}
	var entries []entry
	for _, s := range model.Core() {
		entries = append(entries, entry{s.Name, s.Collection, []link{{"self", base(r) + "/v2.0/" + s.Collection}}})
	}
	writeJSON(w, http.StatusOK, map[string][]entry{"resources": entries})
	return nil
}

type extension struct {
	Name        string `json:"name"`
	Alias       string `json:"alias"`
	Description string `json:"description"`
	Updated     string `json:"updated"`
	Links       []link `json:"links"`
}

func describe(e model.Extension) extension {
	return extension{e.Name, e.Alias, e.Description, e.Updated, []link{}}
}

func listExtensions(w http.ResponseWriter, _ *http.Request) error {
	advertised := []extension{}
	for _, e := range model.Extensions {
		if e.Advertised {
			advertised = append(advertised, describe(e))
		}
	}
	writeJSON(w, http.StatusOK, map[string][]extension{"extensions": advertised})
	return nil
}

func showExtension(w http.ResponseWriter, r *http.Request) error {
	alias := mux.Vars(r)["id"]
	for _, e := range model.Extensions {
		if e.Alias == alias && e.Advertised {
			writeJSON(w, http.StatusOK, map[string]extension{"extension": describe(e)})
			return nil
		}
	}
	writeJSON(w, http.StatusNotFound, map[string]string{
		"message": fmt.Sprintf("The resource could not be found.<br /><br />\nExtension with alias %s does not exist\n\n", model.Quote(alias)),
		"code":    "404 Not Found",
		"title":   "Not Found",
	})
	return nil
}
