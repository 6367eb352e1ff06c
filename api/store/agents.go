package store

import (
	"iter"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
)

// Agent finds what an administrator has set of an agent.
func (t *Tables) Agent(id uuid.UUID) (*model.Agent, bool) {
	return get[model.Agent](t, agents, id.String())
}

// Agents lists what has been set of agents, in the order of their ids.
func (t *Tables) Agents() iter.Seq[*model.Agent] { return list[model.Agent](t.state.rows[agents], "") }

// PutAgent writes what an administrator sets of an agent.
func (tx *Tx) PutAgent(a *model.Agent) error { return tx.put(agents, a) }

// DeleteAgent deletes it. [ErrNotFound] when there is none.
func (tx *Tx) DeleteAgent(id uuid.UUID) error { return tx.drop(agents, id.String()) }

// Zones lists the availability zones that have a host, in the order of their names as they are in a URL.
func (t *Tables) Zones() []string {
	var zones []string
	from := zoneRoot
	for {
		it := t.state.index.Root().Iterator() // one is good for one seek
		it.SeekLowerBound([]byte(from))
		key, _, ok := it.Next()
		rest, isZone := strings.CutPrefix(string(key), zoneRoot)
		if !ok || !isZone {
			return zones
		}
		escaped, _, _ := strings.Cut(rest, "/")
		if zone, err := url.PathUnescape(escaped); err == nil { // it always can be
			zones = append(zones, zone)
		}
		from = zoneRoot + escaped + "0" // what follows a slash
	}
}

// HostsIn lists the hosts of an availability zone in the order of their system-ids.
func (t *Tables) HostsIn(zone string) iter.Seq[*model.Host] {
	return list[model.Host](t.state.index, zonePrefix(zone))
}
