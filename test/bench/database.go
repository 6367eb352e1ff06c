package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// database is a connection to a host's ovsdb-server (RFC 7047), kept open so that
// a plug costs one transaction and not the start of a program. It is no client
// of ours: what is measured must not measure itself.
type database struct {
	host string
	conn net.Conn
	in   *json.Decoder
	id   int
}

// op is an operation in the notation of RFC 7047 section 5.2.
type op map[string]any

func openDatabase(h *testbed.CheapHost) (*database, error) {
	conn, err := net.Dial("unix", filepath.Join(h.Dir, "db.sock"))
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return &database{host: h.Name, conn: conn, in: json.NewDecoder(conn)}, nil
}

func (d *database) close() { d.conn.Close() }

// transact commits the operations together and waits for the reply.
func (d *database) transact(ops ...op) error {
	if err := d.call(ops); err != nil {
		return fmt.Errorf("host %s: transact: %w", d.host, err)
	}
	return nil
}

func (d *database) call(ops []op) error {
	d.id++
	params := []any{"Open_vSwitch"}
	for _, o := range ops {
		params = append(params, o)
	}
	if err := d.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	request := map[string]any{"id": d.id, "method": "transact", "params": params}
	if err := json.NewEncoder(d.conn).Encode(request); err != nil {
		return err
	}
	for {
		var m struct {
			ID     any             `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			Error  any             `json:"error"`
			Result []*struct {
				Error   string `json:"error"`
				Details string `json:"details"`
			} `json:"result"`
		}
		if err := d.in.Decode(&m); err != nil {
			return err
		}
		if m.Method == "echo" {
			if err := json.NewEncoder(d.conn).Encode(map[string]any{"id": m.ID, "result": m.Params, "error": nil}); err != nil {
				return err
			}
			continue
		}
		if m.Error != nil {
			return fmt.Errorf("%v", m.Error)
		}
		var errs []error
		for _, r := range m.Result {
			if r != nil && r.Error != "" {
				errs = append(errs, fmt.Errorf("%s: %s", r.Error, r.Details))
			}
		}
		return errors.Join(errs...)
	}
}

// addInterface adds a port with its one interface to br-int. ids are the
// interface's external_ids, as os-vif writes them; none is an interface that is
// nobody's VIF yet.
func addInterface(device string, ids map[string]string) []op {
	return []op{
		{"op": "insert", "table": "Interface", "uuid-name": "i" + device, "row": op{"name": device, "external_ids": mapOf(ids)}},
		{"op": "insert", "table": "Port", "uuid-name": "p" + device, "row": op{"name": device, "interfaces": named("i" + device)}},
		{"op": "mutate", "table": "Bridge", "where": [][]any{{"name", "==", "br-int"}},
			"mutations": [][]any{{"ports", "insert", named("p" + device)}}},
	}
}

// setInterfaceIDs makes an interface a VIF.
func setInterfaceIDs(device string, ids map[string]string) op {
	return op{"op": "update", "table": "Interface", "where": [][]any{{"name", "==", device}}, "row": op{"external_ids": mapOf(ids)}}
}

func named(name string) []any { return []any{"named-uuid", name} }

func mapOf(m map[string]string) []any {
	pairs := [][]string{}
	for k, v := range m {
		pairs = append(pairs, []string{k, v})
	}
	return []any{"map", pairs}
}
