package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/api/store"
)

// Error is an answer that is not a success. Clients choose their exception by Type.
type Error struct {
	Status        int
	Type, Message string
}

func (e *Error) Error() string { return e.Message }

func notFound(s *model.Schema, id string) *Error {
	kind := strings.ToUpper(s.Name[:1]) + s.Name[1:]
	title := kind
	switch s {
	case model.RBACPolicies:
		return &Error{Status: http.StatusNotFound, Type: "RbacPolicyNotFound", Message: "RBAC policy of type unknown with ID " + id + " not found"}
	case model.SubnetPools:
		kind, title = "SubnetPool", "Subnet pool"
	case model.NetworkIPAvailabilities: // they have their networks' ids
		kind, title = "Network", "Network"
	}
	return &Error{http.StatusNotFound, kind + "NotFound", fmt.Sprintf("%s %s could not be found.", title, id)}
}

func conflict(kind, format string, args ...any) *Error {
	return &Error{http.StatusConflict, kind, fmt.Sprintf(format, args...)}
}

var (
	errNoRoute      = &Error{http.StatusNotFound, "HTTPNotFound", "The resource could not be found."}
	errMethod       = &Error{http.StatusMethodNotAllowed, "HTTPMethodNotAllowed", "The server could not comply with the request since it is either malformed or otherwise incorrect."}
	errAccept       = &Error{http.StatusNotAcceptable, "HTTPNotAcceptable", "The server could not comply with the request since it is either malformed or otherwise incorrect."}
	errTooLarge     = &Error{http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", "The request is larger than can be committed at once."}
	errBodyTooLarge = &Error{http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", fmt.Sprintf("The body is larger than %d bytes.", maxBody)}
	errTooSlow      = &Error{http.StatusRequestTimeout, "HTTPRequestTimeout", fmt.Sprintf("The body was not there within %s.", readTimeout)}
	errBusy         = &Error{http.StatusServiceUnavailable, "HTTPServiceUnavailable", "The store does not answer. Try again."}
	errInternal     = &Error{http.StatusInternalServerError, "HTTPInternalServerError", "Request Failed: internal server error while processing your request."}
	errNoDryRuns    = &Error{http.StatusNotImplemented, "HTTPNotImplemented", "Dry runs are not available."}
)

// answerable turns any error into what the client is told. What it does not know is a fault of ours:
// known is false, and the client learns nothing but that.
func answerable(err error) (answer *Error, known bool) {
	var answerErr *Error
	var invalid *model.Invalid
	var taken *store.UniqueError
	var missing *store.ReferenceError
	var used *store.InUseError
	switch {
	case errors.As(err, &answerErr):
		return answerErr, true
	case errors.As(err, &invalid):
		return &Error{http.StatusBadRequest, invalid.Type, invalid.Message}, true
	case errors.As(err, &taken):
		return takenError(taken)
	case errors.As(err, &missing):
		for _, s := range model.Schemas() {
			if s.Name == missing.Wanted {
				return notFound(s, missing.WantedID), true
			}
		}
		return errInternal, false
	case errors.As(err, &used):
		return inUseError(used)
	case errors.Is(err, store.ErrTooLarge):
		return errTooLarge, true
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrOutdated),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errBusy, false
	}
	return errInternal, false
}

// takenError names what somebody else has, in the words of the resource it belongs to.
func takenError(taken *store.UniqueError) (*Error, bool) {
	parts := strings.Split(taken.Key, "/")
	if len(parts) < 3 {
		return errInternal, false
	}
	switch parts[0] {
	case "mac":
		return conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", parts[1], parts[2]), true
	case "ip":
		return addressTaken(parts[2], parts[1]), true
	case "segment":
		return segmentTaken(parts[1:])
	case "rbac":
		return conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values."), true
	case "cidr":
		cidr := strings.ReplaceAll(parts[2], "%2F", "/")
		return &Error{http.StatusBadRequest, "InvalidInput", overlaps(cidr, parts[1]).Message}, true
	}
	return errInternal, false
}

// segmentTaken names a segment by the parts of its key: type, physical network, number.
func segmentTaken(parts []string) (*Error, bool) {
	if len(parts) != 3 {
		return errInternal, false
	}
	physicalNetwork, err := url.PathUnescape(parts[1])
	if err != nil {
		return errInternal, false
	}
	switch parts[0] {
	case model.TypeFlat:
		return conflict("FlatNetworkInUse", "Unable to create the flat network. Physical network %s is in use.", physicalNetwork), true
	case model.TypeVLAN:
		return conflict("VlanIdInUse", "Unable to create the network. The VLAN %s on physical network %s is in use.", parts[2], physicalNetwork), true
	}
	return conflict("TunnelIdInUse", "Unable to create the network. The tunnel ID %s is in use.", parts[2]), true
}

func addressTaken(address, subnet string) *Error {
	return conflict("IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s", address, subnet)
}

func overlaps(cidr, network string) *model.Invalid {
	return model.InvalidInput("Requested subnet with cidr: %s for network: %s overlaps with another subnet", cidr, network)
}

// inUseError is what the store found at the end of a transaction that had looked before: something was
// added meanwhile by the transaction itself.
func inUseError(used *store.InUseError) (*Error, bool) {
	id, err := uuid.Parse(used.Key)
	if err != nil {
		return errInternal, false
	}
	switch used.Table {
	case model.Networks.Name:
		return networkInUse(id, used.ByKey), true
	case model.Subnets.Name:
		return subnetInUse(id), true
	}
	return errInternal, false
}

func networkInUse(network uuid.UUID, ports string) *Error {
	return conflict("NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in use on the network, id for these ports is: %s", network, ports)
}

func subnetInUse(subnet uuid.UUID) *Error {
	return conflict("SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", subnet)
}

// write answers with the error's body. All three keys must be there: clients fail without detail.
func (e *Error) write(w http.ResponseWriter) {
	type body struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Detail  string `json:"detail"`
	}
	writeJSON(w, e.Status, map[string]body{"NeutronError": {e.Type, e.Message, ""}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("api: " + err.Error()) // the types are this package's or a plan's
	}
	writeBody(w, status, text)
}

func writeBody(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	w.Write(text)
}
