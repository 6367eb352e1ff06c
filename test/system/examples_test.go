package system

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// examples are those in a command's help.
func (d *deployment) examples(command string) (lines []string) {
	d.t.Helper()
	text, err := d.where.Exec(program, command, "--help")
	if err != nil {
		d.t.Fatal(err)
	}
	_, after, _ := strings.Cut(text, "Examples:")
	for line := range strings.Lines(after) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "tunbridge ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// What the help of the commands says one may type can be typed, is answered, and is legible.
func TestExamplesOfHelp(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	n := d.addNetwork("blue", "10.0.0.0/24")
	p := d.addPort(n, h.Name)
	d.must("PUT", "/v2.0/ports/"+p.ID, object{"port": object{"name": "web-1"}}, nil)
	var made struct{ Port port }
	d.must("POST", "/v2.0/ports", object{"port": object{"network_id": n.ID, "name": "db-1", "binding:host_id": h.Name, "fixed_ips": []object{{"ip_address": "10.0.0.5"}}}}, &made)
	d.plug(h, p, &made.Port)
	d.become("ACTIVE", p, &made.Port)
	d.settled(h)

	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "tunbridge")); err != nil {
		t.Fatal(err)
	}
	dump, err := h.Exec("ovs-ofctl", "dump-flows", "br-int")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"br-int.txt": dump,
		"port.json":  `{"port": {"network_id": "` + n.ID + `"}}`,
		"move.json":  `{"port": {"name": "web-2"}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	typed := func(line string) (string, error) {
		return d.where.Exec("sh", "-c", "cd "+dir+" && export PATH="+dir+":$PATH TUNBRIDGE_ADMIN=unix:"+filepath.Join(d.dataDir, "admin.sock")+" TUNBRIDGE_API=http://"+d.api+" && "+line)
	}
	// What stands for something else in the examples: a port and a network by their IDs, and a port's cookie.
	real := strings.NewReplacer("b7c1a5d2-0d4e-4c38-9f6e-6f1d0a2b3c4d", p.ID, "4f0c2a6e-8d1b-4c7e-a5f3-9b2d6e8f1a3c", d.addNetwork("unused", "10.9.0.0/24").ID,
		"0x0204a1b2c3d4e5f6", "0x0204"+strings.ReplaceAll(p.ID, "-", "")[:12])
	for _, command := range []string{"hosts", "flows", "diff", "verify", "leases", "explain", "trace", "capture", "plan", "top", "policy", "completion"} {
		lines := d.examples(command)
		if len(lines) == 0 {
			t.Errorf("the help of %s has no examples", command)
		}
		for _, line := range lines {
			text, err := typed(real.Replace(line))
			if says := command == "trace" || command == "plan" || command == "explain"; err != nil && !(says && strings.Contains(err.Error(), "exit status 1:")) {
				t.Errorf("%s: %v\n%s", line, err, text)
			}
			if strings.Contains(line, "--json") && !json.Valid([]byte(text)) {
				t.Errorf("%s: no JSON:\n%s", line, text)
			}
			for row := range strings.Lines(text) {
				if row = strings.TrimSpace(row); utf8.RuneCountInString(row) > 100 && !strings.Contains(line, "--json") && strings.ContainsAny(row, " ,") {
					t.Errorf("%s: wider than 100 columns: %s", line, row)
				}
			}
		}
	}

	// Each command's exit status says whether it was answered.
	for line, want := range map[string]string{
		"tunbridge verify compute99":          "exit status 2",
		"tunbridge flows compute99":           "exit status 2",
		"tunbridge flows":                     "exit status 2",
		"tunbridge flows --from missing.txt":  "exit status 2",
		"tunbridge top --once --interval 1ms": "exit status 2",
		"tunbridge capture nobody":            "exit status 2",
		"tunbridge flows --no-such-flag":      "exit status 80",
	} {
		if text, err := typed(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, error %v", line, text, err)
		}
	}
}

// top counts what VIFs ask the controller.
func TestTop(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	h := d.addHosts("compute01")[0]
	p := d.addPort(d.addNetwork("blue", "10.0.0.0/24"), h.Name)
	d.plug(h, p)
	d.become("ACTIVE", p)
	d.settled(h)
	d.ask(h, p, 1)
	d.await("the host's activity", func() error {
		text, err := d.tool("top", "--once", "--json", "--interval", "100ms")
		var list []struct {
			Host      string
			State     string
			Flows     int
			LastPlan  int               `json:"last_plan"`
			Compile   int64             `json:"compile_us"`
			Ack       int64             `json:"acknowledge_us"`
			Punts     map[string]uint64 `json:"punts"`
			VIFs      int
			PerSecond *float64 `json:"punts_per_second"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(text), &list)
		}
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].Host != h.Name || list[0].State != "ok" || list[0].Flows == 0 || list[0].LastPlan == 0 || list[0].Compile <= 0 || list[0].Ack <= 0 ||
			list[0].Punts["dhcpv4"] == 0 || list[0].VIFs != 1 || list[0].PerSecond == nil {
			t.Fatalf("top: %+v of %s", list, text)
		}
		return nil
	})
	text, err := d.tool("top", "--once", "--interval", "100ms")
	if err != nil || !strings.Contains(text, "1 hosts, 1 of them ok") || !strings.Contains(text, h.Name+"     ok   1/1") {
		t.Errorf("top: error %v\n%s", err, text)
	}
}
