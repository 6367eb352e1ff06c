package clients

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// offerOthers puts a compute and a volume service into the catalog: `openstack quota show` asks all three for
// their limits, `quota set --force` tells compute too, and every command wants to know where they are. They
// only say what a project may have, and that stays as it is.
func (c *cloud) offerOthers(t *testing.T) {
	t.Helper()
	limits := map[string]string{
		"compute":  `{"quota_set": {"id": "ID", "cores": 20, "instances": 10, "ram": 51200}}`,
		"volumev3": `{"quota_set": {"id": "ID", "volumes": 10, "gigabytes": 1000}}`,
	}
	for service, answer := range limits {
		mux := http.NewServeMux()
		for _, path := range []string{"GET /os-quota-sets/{project}", "PUT /os-quota-sets/{project}", "GET /os-quota-sets/{project}/defaults"} {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(strings.Replace(answer, "ID", r.PathValue("project"), 1)))
			})
		}
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		if err := c.keystone.Offer(t.Context(), service, server.URL); err != nil {
			t.Fatal(err)
		}
	}
}
