package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/gorilla/mux"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// A quota limits how many of a resource a project has. It is checked in the transaction that creates
// (spend), so that no number of requests at once gets past it.

// Quotas are the limits, by resource, of projects for which an administrator has set none. A resource
// that is not named is unlimited.
type Quotas map[string]int

// limit is how many of a resource the project of a quota, which may be nil, may have.
func (d Quotas) limit(q *model.Quota, resource string) int {
	if q != nil {
		if n, set := q.Limits[resource]; set {
			return n
		}
	}
	if n, set := d[resource]; set {
		return n
	}
	return model.Unlimited
}

// mostAtOnce is more than the requests that are likely to create one resource each, for one project,
// at the same time. Only creations that come nearer to a limit than this have to take turns.
const mostAtOnce = 256

// spend checks that what the inputs are about to create is within the quotas of its projects.
func (s *Server) spend(tx *store.Tx, c *Caller, schema *model.Schema, inputs []*model.Input) error {
	if !slices.Contains(s.limited, schema.Name) {
		return nil
	}
	wanted := make(map[string]int)
	for _, in := range inputs {
		given, _ := in.Value("project_id").(string)
		project, err := c.projectOf(in, given)
		if err != nil {
			return err
		}
		wanted[project]++
	}
	for _, project := range slices.Sorted(maps.Keys(wanted)) {
		quota, _ := tx.Quota(project)
		limit := s.quotas.limit(quota, schema.Name)
		if limit == model.Unlimited {
			continue
		}
		more, used := wanted[project], tx.Count(schema.Name, project)
		if used+more > limit {
			return conflict("OverQuota", "Quota exceeded for resources: ['%s'].", schema.Name)
		}
		if more == 1 && used+mostAtOnce < limit {
			continue
		}
		next := model.Quota{ProjectID: project}
		if quota != nil {
			next = *quota
		}
		next.Turn++
		if err := tx.PutQuota(&next); err != nil {
			return err
		}
	}
	return nil
}

// quotaRoutes are the operations on quotas. A quota is named by its project, and every project has one.
func (s *Server) quotaRoutes() []Route {
	const all, one = "/v2.0/quotas", "/v2.0/quotas/{id}"
	schema := model.Quotas
	post := func(http.ResponseWriter, *http.Request) error {
		return &Error{Status: http.StatusNotImplemented, Type: "HTTPNotImplemented", Message: "POST requests are not supported on this resource."}
	}
	return []Route{
		{"get_quotas", http.MethodGet, all, AccessAdmin, "quotas", schema, s.listQuotas},
		{"", http.MethodPost, all, AccessAdmin, "quotas", schema, post},
		{"get_quota_tenant", http.MethodGet, all + "/tenant", AccessAny, "quotas", nil, quotaProject("tenant")},
		{"get_quota_project", http.MethodGet, all + "/project", AccessAny, "quotas", nil, quotaProject("project")},
		{"get_quota", http.MethodGet, one, seesQuota, "quotas", schema, s.showQuota},
		{"update_quota", http.MethodPut, one, AccessAdmin, "quotas", schema, s.updateQuota},
		{"delete_quota", http.MethodDelete, one, AccessAdmin, "quotas", schema, s.deleteQuota},
		{"get_quota_default", http.MethodGet, one + "/default", seesQuota, "quotas", schema, s.showDefaultQuota},
		{"get_quota_details", http.MethodGet, one + "/details", seesQuota, "quota_details", schema, s.showQuotaDetails},
	}
}

// quotaProject answers with the caller's project, under Neutron's old or new name for it.
func quotaProject(key string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		writeJSON(w, http.StatusOK, map[string]map[string]string{key: {key + "_id": callerOf(r).Project}})
		return nil
	}
}

// appendLimits appends the limits of a quota, which may be nil, as a JSON object without its last brace.
func (s *Server) appendLimits(b []byte, q *model.Quota, value func(b []byte, resource string, limit int) []byte) []byte {
	b = append(b, '{')
	for i, resource := range s.limited {
		if i > 0 {
			b = append(b, ',')
		}
		b = value(append(model.AppendString(b, resource), ':'), resource, s.quotas.limit(q, resource))
	}
	return b
}

func appendLimit(b []byte, _ string, limit int) []byte { return strconv.AppendInt(b, int64(limit), 10) }

func (s *Server) writeQuota(w http.ResponseWriter, q *model.Quota, value func([]byte, string, int) []byte) error {
	writeBody(w, http.StatusOK, append(s.appendLimits([]byte(`{"quota":`), q, value), "}}"...))
	return nil
}

func (s *Server) listQuotas(w http.ResponseWriter, r *http.Request) error {
	if err := callerOf(r).authorize("get", model.Quotas, AccessAdmin, target{}); err != nil {
		return err
	}
	t, err := s.tables(r)
	if err != nil {
		return err
	}
	b, first := []byte(`{"quotas":[`), true
	for q := range t.Quotas() {
		if len(q.Limits) == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = s.appendLimits(b, q, appendLimit)
		b = model.AppendString(append(b, `,"project_id":`...), q.ProjectID)
		b = append(model.AppendString(append(b, `,"tenant_id":`...), q.ProjectID), '}')
	}
	writeBody(w, http.StatusOK, append(b, "]}"...))
	return nil
}

// seesQuota is who sees what a project may have.
const seesQuota = AccessAdmin | AccessProjectReader

// quotaOf finds the quota in the path, nil if it has the defaults only, for callers that may see it.
func (s *Server) quotaOf(r *http.Request) (*store.Tables, *model.Quota, error) {
	project := mux.Vars(r)["id"]
	if err := callerOf(r).authorize("get", model.Quotas, seesQuota, target{project: project}); err != nil {
		return nil, nil, err
	}
	t, err := s.tables(r)
	if err != nil {
		return nil, nil, err
	}
	q, _ := t.Quota(project)
	return t, q, nil
}

func (s *Server) showQuota(w http.ResponseWriter, r *http.Request) error {
	_, q, err := s.quotaOf(r)
	if err != nil {
		return err
	}
	return s.writeQuota(w, q, appendLimit)
}

func (s *Server) showDefaultQuota(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := s.quotaOf(r); err != nil {
		return err
	}
	return s.writeQuota(w, nil, appendLimit)
}

// showQuotaDetails tells what is used of each limit. Nothing is ever reserved: what is created counts
// from the moment it is committed.
func (s *Server) showQuotaDetails(w http.ResponseWriter, r *http.Request) error {
	project := mux.Vars(r)["id"]
	if c := callerOf(r); !c.Admin && !c.owns(project) {
		return &Error{Status: http.StatusForbidden, Type: "AdminRequired", Message: "User does not have admin privileges: Only admin is authorized to access quotas for another project"}
	}
	t, q, err := s.quotaOf(r)
	if err != nil {
		return err
	}
	return s.writeQuota(w, q, func(b []byte, resource string, limit int) []byte {
		return fmt.Appendf(b, `{"limit":%d,"used":%d,"reserved":0}`, limit, t.Count(resource, project))
	})
}

func (s *Server) updateQuota(w http.ResponseWriter, r *http.Request) error {
	if err := callerOf(r).authorize("update", model.Quotas, AccessAdmin, target{}); err != nil {
		return err
	}
	project := mux.Vars(r)["id"]
	if len(project) > 255 {
		return model.BadRequest("Invalid input for project_id. Reason: '%s' exceeds maximum length of 255.", model.Quote(project))
	}
	inputs, _, err := readInputs(r, model.Quotas, model.Update)
	if err != nil {
		return err
	}
	in := inputs[0]
	var next model.Quota
	err = s.transact(r, func(tx *store.Tx) error {
		next = model.Quota{ProjectID: project}
		if old, ok := tx.Quota(project); ok {
			next = *old
		}
		next.Limits = maps.Clone(next.Limits)
		for _, resource := range s.limited {
			limit, given := in.Value(resource).(int)
			if !given {
				continue
			}
			if used := tx.Count(resource, project); in.Value("check_limit") == true && limit != model.Unlimited && used > limit {
				return model.BadRequest("Quota limit %d for %s must be greater than or equal to already used %d", limit, resource, used)
			}
			if next.Limits == nil {
				next.Limits = make(map[string]int)
			}
			next.Limits[resource] = limit
		}
		return tx.PutQuota(&next)
	})
	if err != nil {
		return err
	}
	return s.writeQuota(w, &next, appendLimit)
}

// deleteQuota gives a project the defaults again.
func (s *Server) deleteQuota(w http.ResponseWriter, r *http.Request) error {
	if err := callerOf(r).authorize("delete", model.Quotas, AccessAdmin, target{}); err != nil {
		return err
	}
	project := mux.Vars(r)["id"]
	err := s.transact(r, func(tx *store.Tx) error {
		old, ok := tx.Quota(project)
		if !ok || len(old.Limits) == 0 {
			return &Error{Status: http.StatusNotFound, Type: "TenantQuotaNotFound", Message: fmt.Sprintf("Quota for tenant %s could not be found.", model.Quote(project))}
		}
		return tx.PutQuota(&model.Quota{ProjectID: project, Turn: old.Turn})
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
