package system

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tunbridge/tunbridge/test/testbed"
)

// cloudInit has cloud-init's own readers, of OpenStack's form and of EC2's, read all there is.
const cloudInit = `
import json, sys
from cloudinit.sources.helpers import ec2, openstack
url = sys.argv[1]
o = openstack.MetadataReader(url, timeout=5, retries=2).read_v2()
e = ec2.get_instance_metadata(api_version="2009-04-04", metadata_address=url)
data = lambda b: b.decode() if isinstance(b, bytes) else b
print(json.dumps({"uuid": o["metadata"]["instance-id"], "hostname": o["metadata"]["local-hostname"], "keys": o["metadata"].get("public_keys", {}),
  "user_data": data(o["userdata"]), "links": [l["ethernet_mac_address"] for l in o["networkdata"]["links"]], "types": [n["type"] for n in o["networkdata"]["networks"]],
  "ec2": {"hostname": e["hostname"], "address": e["local-ipv4"], "keys": e.get("public-keys", {}), "user_data": data(ec2.get_instance_userdata(api_version="2009-04-04", metadata_address=url))}}))
`

// told is what cloud-init made of it.
type told struct {
	UUID     string            `json:"uuid"`
	Hostname string            `json:"hostname"`
	Keys     map[string]string `json:"keys"`
	UserData string            `json:"user_data"`
	Links    []string          `json:"links"`
	Types    []string          `json:"types"`
	EC2      struct {
		Hostname string            `json:"hostname"`
		Address  string            `json:"address"`
		Keys     map[string]string `json:"keys"`
		UserData string            `json:"user_data"`
	} `json:"ec2"`
}

// machine is a VM as an instance with metadata.
type machine struct {
	*testbed.VM
	port     *port
	instance string
	userData string
	key      string
}

// curl asks for a path; it says how, and what the answer was.
func (m *machine) curl(arg ...string) (status string, body string, err error) {
	out, err := m.Exec("curl", append([]string{"--silent", "--show-error", "--globoff", "--max-time", "20", "--write-out", "\n%{http_code}"}, arg...)...)
	if i := strings.LastIndexByte(out, '\n'); i >= 0 {
		return out[i+1:], out[:i], err
	}
	return "", out, err
}

// readByCloudInit is what cloud-init learns, which is the machine's own whatever its neighbours have.
func (m *machine) readByCloudInit(t *testing.T) {
	t.Helper()
	name := m.Name[len("vm-"):]
	out, err := m.Exec("/usr/bin/python3", "-c", cloudInit, metadataIPv4)
	if err != nil {
		t.Fatalf("cloud-init: %v", err)
	}
	var got told
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %.500s", err, out)
	}
	if got.UUID != m.instance || got.Hostname != name || got.Keys["me"] != m.key || got.UserData != m.userData || fmt.Sprint(got.Links) != "["+m.port.MAC+"]" || fmt.Sprint(got.Types) != "[ipv4_dhcp]" {
		t.Errorf("%s: OpenStack's reader got %.500s", name, out)
	}
	if got.EC2.Hostname != name || got.EC2.Address != "10.0.0.5" || got.EC2.UserData != m.userData || got.EC2.Keys["me"] != m.key {
		t.Errorf("%s: EC2's reader got %.500s", name, fmt.Sprintf("%+v", got.EC2))
	}
}

const metadataIPv4, metadataIPv6 = "http://169.254.169.254", "http://[fe80::a9fe:a9fe%25eth0]"

// deployReal starts a controller where hosts with real devices reach it, and one of these hosts, enrolled.
func deployReal(t *testing.T, flags ...string) (*deployment, *testbed.Host) {
	t.Helper()
	d := prepare(t)
	host, err := d.bed.AddHost("compute01")
	if err != nil {
		t.Fatal(err)
	}
	d.onUnderlay(flags...)
	d.serve()
	if err := host.Enroll("tcp:"+d.ovsdb, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Vsctl("set", "Manager", "tcp:"+d.ovsdb, "max_backoff=1000"); err != nil {
		t.Fatal(err)
	}
	d.quiet(host.Name)
	return d, host
}

// Machines of two networks with the same addresses read their metadata, from what is kept with their
// ports and then from Nova: over IPv4 and IPv6, by way of the route that DHCP gives and on the link.
func TestMetadata(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	d, host := deployReal(t, fmt.Sprintf("--underlay-mtu=%d", testbed.UnderlayMTU-50))

	var machines []*machine
	for i, name := range []string{"blue", "red"} {
		n := d.addNetwork(name, "10.0.0.0/24")
		m := &machine{instance: fmt.Sprintf("b0000000-0000-4000-8000-00000000000%d", i), key: "ssh-ed25519 AAAA" + name,
			userData: "#!/bin/sh\n# " + name + strings.Repeat("\n: of "+name, 4000)}
		var made struct{ Port port }
		d.must(http.MethodPost, "/v2.0/ports", object{"port": object{"network_id": n.ID, "binding:host_id": "compute01", "device_id": m.instance, "project_id": "project-" + name,
			"fixed_ips":          []object{{"ip_address": "10.0.0.5"}},
			"tunbridge:metadata": object{"hostname": name, "public_keys": object{"me": m.key}, "user_data": base64.StdEncoding.EncodeToString([]byte(m.userData))}}}, &made)
		m.port = &made.Port
		vm, err := host.AddVM("vm-"+name, m.port.vif())
		if err != nil {
			t.Fatal(err)
		}
		m.VM = vm
		machines = append(machines, m)
	}
	d.become("ACTIVE", machines[0].port, machines[1].port)
	d.quiet("compute01")

	// One by DHCP, with the route to the metadata that it gives; one by hand, with all of it on the link.
	if _, err := machines[0].DHCP(); err != nil {
		t.Fatal(err)
	}
	if out, err := machines[0].Exec("ip", "route", "get", "169.254.169.254"); err != nil || !strings.Contains(out, "via 10.0.0.2 ") {
		t.Errorf("the way to the metadata: %s, %v", out, err)
	}
	for _, a := range []string{"10.0.0.5/24", "169.254.1.1/16"} {
		if err := machines[1].AddAddress(netip.MustParsePrefix(a)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := machines[1].Exec("ip", "route", "replace", "169.254.0.0/16", "dev", "eth0", "src", "10.0.0.5"); err != nil {
		t.Fatal(err)
	}
	// One leaves its checksums to a network card that there is not.
	if _, err := machines[1].Exec("ethtool", "-K", "eth0", "tx", "on"); err != nil {
		t.Fatal(err)
	}

	d.says("metadata", machines[0].port, false, "nothing was asked since")
	for _, m := range machines {
		d.await(m.Name+" has a link-local address", func() error {
			out, err := m.Exec("ip", "-6", "address", "show", "dev", "eth0", "scope", "link", "-tentative")
			if err == nil && !strings.Contains(out, "fe80::") {
				err = errors.New("it looks for a duplicate")
			}
			return err
		})
		name := m.Name[len("vm-"):]
		m.readByCloudInit(t)
		for _, base := range []string{metadataIPv4, metadataIPv6} {
			if status, body, err := m.curl(base + "/latest/meta-data/hostname"); status != "200" || body != name {
				t.Errorf("%s: %s: %s, %s, %v", name, base, status, body, err)
			}
		}
	}
	if status, _, err := machines[1].curl(metadataIPv4 + "/latest/user-data"); status != "200" {
		t.Fatal(status, err)
	}
	d.says("metadata", machines[1].port, true, "what is kept with the port is served", "instance "+machines[1].instance+", hostname red")
	e := d.says("metadata", machines[1].port, true, "GET /latest/user-data from 10.0.0.5: 200 OK, ", "because that is what is kept with the port")
	if len(e.Exchanges) != 1 || e.Wrong != "" || !slices.Contains(e.Exchanges[0].RequestText, "Host: 169.254.169.254") || !slices.Contains(e.Exchanges[0].AnswerText, "200 OK") {
		t.Errorf("explain metadata: %q, %+v", e.Wrong, e.Exchanges)
	}
	// By way of a gateway that does not know the address, and is not asked.
	if _, err := machines[1].Exec("ip", "neigh", "replace", "10.0.0.1", "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent"); err != nil {
		t.Fatal(err)
	}
	if _, err := machines[1].Exec("ip", "route", "replace", "169.254.169.254/32", "via", "10.0.0.1", "src", "10.0.0.5"); err != nil {
		t.Fatal(err)
	}
	if status, body, err := machines[1].curl(metadataIPv4 + "/latest/meta-data/hostname"); status != "200" || body != "red" {
		t.Errorf("by way of a gateway: %s, %s, %v", status, body, err)
	}
	// A large answer, and how soon a small one is there.
	start := time.Now()
	for range 10 {
		if status, _, err := machines[0].curl(metadataIPv4 + "/openstack/latest/user_data"); status != "200" {
			t.Fatal(status, err)
		}
	}
	t.Logf("curl of %d bytes: %s each, process and connection included", len(machines[0].userData), time.Since(start)/10)

	t.Run("nova", func(t *testing.T) { askNova(t, d, machines) })
}

// novaAPI is Nova's metadata API as far as it judges who asks.
type novaAPI struct {
	mu        sync.Mutex
	secret    string
	projects  map[string]string            // by instance
	documents map[string]map[string]string // by instance and path; below /echo is what was asked
	requests  []*http.Request
}

func (n *novaAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = append(n.requests, r)
	instance := r.Header.Get("X-Instance-ID")
	h := hmac.New(sha256.New, []byte(n.secret))
	h.Write([]byte(instance))
	switch {
	case instance == "" || r.Header.Get("X-Tenant-ID") == "" || r.Header.Get("X-Forwarded-For") == "":
		http.Error(w, "who?", http.StatusBadRequest)
	case r.Header.Get("X-Instance-ID-Signature") != hex.EncodeToString(h.Sum(nil)):
		http.Error(w, "forged", http.StatusForbidden)
	case n.projects[instance] != r.Header.Get("X-Tenant-ID"):
		http.Error(w, "not yours", http.StatusNotFound)
	case strings.HasPrefix(r.URL.Path, "/echo"):
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.RequestURI(), instance, r.Header.Get("X-Forwarded-For"))
	case strings.HasSuffix(r.URL.Path, "/local-ipv4"):
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"))
	default:
		document, ok := n.documents[instance][r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, document)
	}
}

// documentsOf are a machine's, as Nova forms them.
func documentsOf(m *machine) map[string]string {
	name := m.Name[len("vm-"):]
	of := map[string]string{"/openstack": "2012-08-10\n2018-08-27\nlatest", "/2009-04-04/meta-data/": "hostname\nlocal-ipv4\npublic-keys/", "/2009-04-04/meta-data/hostname": name,
		"/2009-04-04/meta-data/public-keys/": "0=me", "/2009-04-04/meta-data/public-keys/0/": "openssh-key", "/2009-04-04/meta-data/public-keys/0/openssh-key": m.key, "/2009-04-04/user-data": m.userData}
	for path, document := range map[string]any{
		"meta_data.json": object{"uuid": m.instance, "hostname": name, "name": name, "public_keys": object{"me": m.key}, "project_id": "project-" + name, "launch_index": 0},
		"network_data.json": object{"links": []object{{"id": m.port.device(), "vif_id": m.port.ID, "type": "ovs", "mtu": 1450, "ethernet_mac_address": m.port.MAC}},
			"networks": []object{{"id": "network0", "type": "ipv4_dhcp", "link": m.port.device(), "network_id": m.port.NetworkID}}, "services": []object{}},
	} {
		b, err := json.Marshal(document)
		if err != nil {
			panic(err) // the types are these
		}
		of["/openstack/2018-08-27/"+path] = string(b)
	}
	of["/openstack/2018-08-27/user_data"] = m.userData
	return of
}

// askNova restarts the controller with a Nova, and asks.
func askNova(t *testing.T, d *deployment, machines []*machine) {
	listener, err := d.bed.Underlay.Listen("tcp", testbed.ManagementAddr.String()+":8775")
	if err != nil {
		t.Fatal(err)
	}
	nova := &novaAPI{secret: "shared secret", projects: map[string]string{machines[0].instance: "project-blue", machines[1].instance: "project-red"}, documents: map[string]map[string]string{}}
	for _, m := range machines {
		m.userData = strings.Repeat("64 KiB of "+m.Name+"\n", 64<<10/19)
		nova.documents[m.instance] = documentsOf(m)
	}
	server := &http.Server{Handler: nova}
	go server.Serve(listener)
	defer server.Close()
	secret := filepath.Join(d.bed.Dir(), "secret")
	if err := os.WriteFile(secret, []byte(nova.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.kill()
	d.flags = append(d.flags, "--metadata-url=http://"+listener.Addr().String(), "--metadata-secret-file="+secret)
	d.serve()
	d.quiet("compute01")

	for i, m := range machines {
		m.readByCloudInit(t)
		other := machines[1-i]
		for _, base := range []string{metadataIPv4, metadataIPv6} {
			address := "10.0.0.5"
			if base == metadataIPv6 {
				address = "fe80::" // and what follows from the MAC address
			}
			status, body, err := m.curl("-H", "X-Instance-ID: "+other.instance, "-H", "X_Instance_ID: "+other.instance, "-H", "X-Tenant-ID: project", "-H", "X-Forwarded-For: 192.0.2.1",
				"-H", "X-Instance-ID-Signature: 00", "-H", "X-Neutron-Network-ID: x", "-H", "X-OVN-Network-ID: x", "-H", "X-Metadata-Provider: x", base+"/echo/meta_data.json?a=1&b=%2f")
			if want := "GET /echo/meta_data.json?a=1&b=%2f " + m.instance + " " + address; err != nil || status != "200" || !strings.HasPrefix(body, want) {
				t.Errorf("%s: %s: %s, %q, %v; want %q", m.Name, base, status, body, err, want)
			}
		}
		if status, body, err := m.curl("-d", "password", metadataIPv4+"/echo/password"); status != "200" || !strings.HasPrefix(body, "POST ") {
			t.Errorf("%s: password: %s, %q, %v", m.Name, status, body, err)
		}
	}
	nova.mu.Lock()
	for _, r := range nova.requests {
		for name := range r.Header {
			switch name {
			case "X-Instance-Id", "X-Tenant-Id", "X-Instance-Id-Signature", "X-Forwarded-For":
			default:
				if strings.HasPrefix(name, "X") {
					t.Errorf("Nova was sent %s", name)
				}
			}
		}
	}
	nova.mu.Unlock()

	server.Close()
	d.says("metadata", machines[0].port, true, "is asked for instance "+machines[0].instance+" of project project-blue, and says so")
	start := time.Now()
	if status, _, err := machines[0].curl(metadataIPv4 + "/latest"); status != "503" || time.Since(start) > patience/2 {
		t.Errorf("with Nova down: %s after %s, %v", status, time.Since(start), err)
	}
	d.says("metadata", machines[0].port, false, "503 Service Unavailable", "connection refused")
}
