package model

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// decode reads and decodes the one object of a body.
func decode(s *Schema, op Operation, body string) (*Input, error) {
	objects, _, err := s.Read(op, []byte(body))
	if err != nil {
		return nil, err
	}
	return s.Decode(op, objects[0])
}

func TestInvalidBodies(t *testing.T) {
	long := strings.Repeat("x", 256)
	const net = `"network_id":"12d63079-fddf-421d-ac8c-ae934ced5c99"`
	for _, c := range []struct {
		schema  *Schema
		op      Operation
		body    string
		message string
	}{
		{Networks, Create, `{"network": `, "Body contains invalid data"},
		{Networks, Create, ``, "Unable to find 'network' in request body"},
		{Networks, Create, `[]`, "Body contains invalid data"},
		{Networks, Create, `null`, "Body contains invalid data"},
		{Networks, Create, "{\"network\":{\"name\":\"\xff\"}}", "Body contains invalid data"},
		{Networks, Create, `{"network":{"name":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}`, "Body contains invalid data"},
		{Networks, Create, `{"port":{}}`, "Unable to find 'network' in request body"},
		{Networks, Create, `{"network":"str"}`, "Object 'network' contains invalid data"},
		{Networks, Create, `{"network":null}`, "Object 'network' contains invalid data"},
		{Networks, Create, `{"networks":[]}`, "Resources required"},
		{Networks, Create, `{"networks":{}}`, "Object 'network' contains invalid data"},
		{Networks, Create, `{"networks":[{"network":1}]}`, "Object 'network' contains invalid data"},
		{Networks, Create, `{"networks":[1]}`, "Object 'network' contains invalid data"},
		{Networks, Update, `{"networks":[{}]}`, "Unable to find 'network' in request body"},
		{Networks, Create, `{"network":{"bogus":1,"alpha":2}}`, "Unrecognized attribute(s) 'bogus, alpha'"},
		{Networks, Create, `{"network":{"status":"ACTIVE"}}`, "Attribute 'status' not allowed in POST"},
		{Networks, Create, `{"network":{"id":null}}`, "Attribute 'id' not allowed in POST"},
		{Networks, Create, `{"network":{"project_id":"a","tenant_id":"b"}}`, "'project_id' and 'tenant_id' do not match"},
		{Networks, Create, `{"network":{"name":7}}`, "Invalid input for name. Reason: '7' is not a valid string."},
		{Networks, Create, `{"network":{"name":null}}`, "Invalid input for name. Reason: 'None' is not a valid string."},
		{Networks, Create, `{"network":{"name":"` + long + `"}}`, "Invalid input for name. Reason: '" + long + "' exceeds maximum length of 255."},
		{Networks, Create, `{"network":{"admin_state_up":"perhaps"}}`, "Invalid input for operation: admin_state_up: 'perhaps' cannot be converted to boolean."},
		{Networks, Create, `{"network":{"mtu":-1}}`, "Invalid input for mtu. Reason: '-1' should be non-negative."},
		{Networks, Create, `{"network":{"mtu":1.5}}`, "Invalid input for operation: mtu: '1.5' is not an integer."},
		{Networks, Create, `{"network":{"dns_domain":"a"}}`, "Invalid input for dns_domain. Reason: 'a' is not a FQDN."},
		{Networks, Create, `{"network":{"provider:segmentation_id":4294967296}}`, "Invalid input for provider:segmentation_id. Reason: '4294967296' is too large."},
		{Networks, Create, `{"network":{"provider:segmentation_id":-1}}`, "Invalid input for provider:segmentation_id. Reason: '-1' should be non-negative."},
		{Subnets, Create, `{"subnet":{` + net + `,"cidr":"10.0.0.0/8"}}`, "Failed to parse request. Required attribute 'ip_version' not specified"},
		{Subnets, Create, `{"subnet":{` + net + `,"ip_version":5}}`, "Invalid input for ip_version. Reason: 5 is not in valid_values."},
		{Subnets, Create, `{"subnet":{"network_id":"nope","ip_version":4}}`, "Invalid input for network_id. Reason: 'nope' is not a valid UUID."},
		{Subnets, Create, `{"subnet":{` + net + `,"ip_version":4,"cidr":"banana"}}`, "Invalid input for operation: cidr: banana is not in a CIDR format."},
		{Subnets, Create, `{"subnet":{` + net + `,"ip_version":4,"cidr":"::ffff:10.0.0.0/120"}}`, "Invalid input for operation: cidr: ::ffff:10.0.0.0/120 is not in a CIDR format."},
		{Subnets, Create, `{"subnet":{` + net + `,"ip_version":4,"dns_nameservers":["nope"]}}`, "Invalid input for dns_nameservers. Reason: 'nope' is not a valid nameserver. 'nope' is not a valid IP address."},
		{Subnets, Create, `{"subnet":{` + net + `,"ip_version":4,"host_routes":[{"destination":"x","nexthop":"10.80.0.2"}]}}`, "Invalid input for host_routes. Reason: 'x' is not a valid CIDR."},
		{Subnets, Create, `{"subnet":{` + net + `,"ip_version":4,"allocation_pools":7}}`, "Invalid input for allocation_pools. Reason: Invalid data format for IP pool: '7'."},
		{Subnets, Update, `{"subnet":{"cidr":"10.99.0.0/24"}}`, "Cannot update read-only attribute cidr"},
		{Subnets, Update, `{"subnet":{"shared":true}}`, "Unrecognized attribute(s) 'shared'"},
		{Ports, Create, `{"port":{` + net + `,"mac_address":"xx:yy"}}`, "Invalid input for mac_address. Reason: 'xx:yy' is not a valid MAC address."},
		{Ports, Create, `{"port":{` + net + `,"mac_address":"01:00:5e:00:00:01"}}`, "Invalid input for mac_address. Reason: '01:00:5e:00:00:01' is not a valid MAC address."},
		{Ports, Create, `{"port":{` + net + `,"fixed_ips":[{"ip_address":"banana"}]}}`, "Invalid input for fixed_ips. Reason: 'banana' is not a valid IP address."},
		{Ports, Create, `{"port":{` + net + `,"fixed_ips":[{"ip_address":"10.0.0.1%eth0"}]}}`, "Invalid input for fixed_ips. Reason: '10.0.0.1%eth0' is not a valid IP address."},
		{Ports, Create, `{"port":{` + net + `,"fixed_ips":[{"ip_address":"10.0.0.1"},{"ip_address":"10.0.0.1"}]}}`, "Invalid input for fixed_ips. Reason: Duplicate IP address '10.0.0.1'."},
		{Ports, Create, `{"port":{` + net + `,"fixed_ips":null}}`, "Invalid input for fixed_ips. Reason: Invalid data format for fixed IP: 'None'."},
		{Ports, Create, `{"port":{` + net + `,"fixed_ips":[{}]}}`, "Invalid input for fixed_ips. Reason: Invalid data format for fixed IP: '{}'."},
		{Ports, Create, `{"port":{` + net + `,"allowed_address_pairs":[{"ip_address":"zz"}]}}`, "Invalid input for allowed_address_pairs. Reason: 'zz' is not a valid IP address."},
		{Ports, Create, `{"port":{` + net + `,"allowed_address_pairs":[{"ip_address":"10.0.0.1"},{"ip_address":"10.0.0.1"}]}}`, "Request contains duplicate address pair: mac_address None ip_address 10.0.0.1."},
		{Ports, Create, `{"port":{` + net + `,"binding:vnic_type":"odd"}}`, "Invalid input for binding:vnic_type. Reason: odd is not in valid_values."},
		{Ports, Create, `{"port":{` + net + `,"binding:profile":[]}}`, "Invalid input for binding:profile. Reason: '[]' is not a dictionary."},
		{Ports, Create, `{"port":{` + net + `,"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":""}]}}`, "Invalid input for extra_dhcp_opts. Reason: '' Blank strings are not permitted."},
		{Ports, Create, `{"port":{` + net + `,"extra_dhcp_opts":[{"opt_name":"a","opt_value":"b\nc"}]}}`, "Invalid input for extra_dhcp_opts. Reason: 'b\nc' contains a control character."},
		{Ports, Create, `{"port":{` + net + `,"dns_name":"a_b"}}`, "Invalid input for dns_name. Reason: 'a_b' not a valid PQDN or FQDN. Reason: name 'a_b' must be of letters, digits and hyphens."},
	} {
		_, err := decode(c.schema, c.op, c.body)
		var invalid *Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%s %.120s: %v, not an *Invalid", c.op, c.body, err)
			continue
		}
		if invalid.Message != c.message {
			t.Errorf("%s %.120s:\n%s, not\n%s", c.op, c.body, invalid.Message, c.message)
		}
	}
}

// TestEveryRefusalNames the attribute and its value, of which Neutron leaves out one or both at times.
func TestEveryRefusalNames(t *testing.T) {
	serving := map[string]string{"uuid": `"12d63079-fddf-421d-ac8c-ae934ced5c99"`, "integer": "4", "cidrs": "[]", "string": `"x"`} // by kind
	refused := 0
	for _, s := range append(Schemas(), Bindings) {
		for _, op := range []Operation{Create, Update} {
			for _, a := range s.Attributes {
				if op == Create && !a.Post || op == Update && !a.Put {
					continue
				}
				object := map[string]json.RawMessage{}
				for _, other := range s.Attributes {
					if op == Create && other.Required {
						object[other.Name] = json.RawMessage(serving[other.Kind])
					}
				}
				for value, named := range map[string]string{
					`null`: "None", `true`: "True", `"odd one"`: "odd one", `""`: "", `-7.5`: "-7.5", `1e400`: "1e400", `99999999999999999999`: "99999999999999999999",
					`{"odd":1}`: "odd", `["odd one"]`: "odd one", `[null]`: "None", `[{"odd":1}]`: "odd", `[[7]]`: "7", `"` + strings.Repeat("x", 10000) + `"`: strings.Repeat("x", 1000),
				} {
					object[a.Name] = json.RawMessage(value)
					body, err := json.Marshal(map[string]any{s.Name: object})
					if err != nil {
						t.Fatal(err)
					}
					if _, err = decode(s, op, string(body)); err == nil {
						continue
					}
					refused++
					var invalid *Invalid
					if !errors.As(err, &invalid) || !strings.Contains(invalid.Message, a.Name) || !strings.Contains(invalid.Message, named) {
						t.Errorf("%s %s, %s: %.100s: %.300s", op, s.Name, a.Name, value, err)
					}
				}
			}
		}
	}
	if refused < 500 {
		t.Errorf("only %d values were refused", refused)
	}
}

// TestPresence tells absent, null and the zero value apart.
func TestPresence(t *testing.T) {
	for _, c := range []struct {
		body        string
		given, null bool
	}{
		{`{"subnet":{}}`, false, false},
		{`{"subnet":{"gateway_ip":null}}`, true, true},
		{`{"subnet":{"gateway_ip":"10.0.0.1"}}`, true, false},
	} {
		in, err := decode(Subnets, Update, c.body)
		if err != nil {
			t.Fatal(err)
		}
		if in.Given("gateway_ip") != c.given || in.Null("gateway_ip") != c.null {
			t.Errorf("%s: given %v, null %v", c.body, in.Given("gateway_ip"), in.Null("gateway_ip"))
		}
	}
	row := Port{HostID: "h1", Common: Common{Name: "p"}, DeviceID: "d"}
	in, err := decode(Ports, Update, `{"port":{"binding:host_id":null,"device_id":""}}`)
	if err != nil {
		t.Fatal(err)
	}
	in.Apply(&PortView{Port: &row})
	if row.HostID != "" || row.DeviceID != "" || row.Name != "p" || row.AdminStateUp {
		t.Errorf("after the update: %+v", row)
	}
	in, err = decode(Ports, Create, `{"port":{"network_id":"12d63079-fddf-421d-ac8c-ae934ced5c99","binding:profile":{"z":12345678901234567890,"a":[1]},"tenant_id":"t"}}`)
	if err != nil {
		t.Fatal(err)
	}
	row = Port{}
	in.Apply(&PortView{Port: &row})
	if !row.AdminStateUp || row.VNICType != VNICNormal || row.ProjectID != "t" || string(row.Profile) != `{"a":[1],"z":12345678901234567890}` {
		t.Errorf("created: %+v", row)
	}
}

// TestBulk reads several, be it each in a body of its own.
func TestBulk(t *testing.T) {
	const body = `{"networks":[{"name":"a","mtu":1400},{"network":{"mtu":1300,"name":"b"}}]}`
	objects, bulk, err := Networks.Read(Create, []byte(body))
	want := []Object{{{"name", "a"}, {"mtu", json.Number("1400")}}, {{"mtu", json.Number("1300")}, {"name", "b"}}}
	if err != nil || !bulk || !reflect.DeepEqual(objects, want) {
		t.Errorf("%v, bulk %v (%v)", objects, bulk, err)
	}
}

func TestAppend(t *testing.T) {
	id := uuid.MustParse("12d63079-fddf-421d-ac8c-ae934ced5c99")
	n := &Network{Common: Common{ID: id, ProjectID: "p", Name: "a\"<é\n", CreatedAt: time.Unix(1e9, 5), Tags: nil}, MTU: 1450, Segment: Segment{NetworkType: TypeVXLAN, SegmentationID: 7}}
	view := &NetworkView{Network: n, Status: StatusActive, Subnets: []uuid.UUID{id}}
	for _, c := range []struct {
		fields []string
		admin  bool
		want   string
	}{
		{[]string{"id", "name", "nonesuch"}, false, `{"id":"12d63079-fddf-421d-ac8c-ae934ced5c99","name":"a\"\u003cé\n"}`},
		{[]string{"tenant_id", "created_at", "tags", "subnets"}, false, `{"tenant_id":"p","created_at":"2001-09-09T01:46:40Z","tags":[],"subnets":["12d63079-fddf-421d-ac8c-ae934ced5c99"]}`},
		{[]string{"project_id"}, false, `{"project_id":"p"}`},
		{[]string{"tenant_id", "project_id"}, false, `{"project_id":"p","tenant_id":"p"}`},
		{[]string{"provider:network_type", "mtu"}, false, `{"mtu":1450}`},
		{[]string{"provider:network_type", "provider:physical_network", "provider:segmentation_id"}, true, `{"provider:network_type":"vxlan","provider:physical_network":null,"provider:segmentation_id":7}`},
	} {
		got := string(Networks.Append(nil, view, Networks.Shown(c.fields, c.admin)))
		if got != c.want {
			t.Errorf("%v admin=%v:\n%s, not\n%s", c.fields, c.admin, got, c.want)
		}
	}
	for _, admin := range []bool{true, false} {
		if all := Networks.Append(nil, view, Networks.Shown(nil, admin)); !json.Valid(all) {
			t.Errorf("admin=%v: no JSON: %s", admin, all)
		}
	}
}

// FuzzBody feeds bodies to all resources: no panic, only *Invalid errors, and what was decoded is shown
// as JSON.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"network":{"name":"n","admin_state_up":"true","mtu":"1400","provider:segmentation_id":null}}`))
	f.Add([]byte(`{"subnets":[{"network_id":"12d63079-fddf-421d-ac8c-ae934ced5c99","ip_version":6,"cidr":"fd00::/64","allocation_pools":[{"start":"fd00::1","end":"fd00::2"}],"dns_nameservers":["::1"],"host_routes":[{"destination":"::/0","nexthop":"fd00::1"}]}]}`))
	f.Add([]byte(`{"port":{"network_id":"12d63079-fddf-421d-ac8c-ae934ced5c99","mac_address":"FA-16-3E-00-00-01","fixed_ips":[{"subnet_id":"12d63079-fddf-421d-ac8c-ae934ced5c99"}],"allowed_address_pairs":[{"ip_address":"10.0.0.0/8","mac_address":"fa16.3e00.0001"}],"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":null}],"binding:profile":{"a":1e400}}}`))
	text, err := os.ReadFile("../testdata/neutron.json")
	if err != nil {
		f.Fatal(err)
	}
	var recorded []struct{ Body json.RawMessage }
	if err := json.Unmarshal(text, &recorded); err != nil {
		f.Fatal(err)
	}
	for _, r := range recorded {
		if r.Body != nil {
			f.Add([]byte(r.Body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, s := range Schemas() {
			for _, op := range []Operation{Create, Update} {
				objects, _, err := s.Read(op, body)
				for _, o := range objects {
					var in *Input
					if in, err = s.Decode(op, o); err != nil {
						break
					}
					view := s.empty()
					in.Apply(view)
					if text := s.Append(nil, view, s.Shown(nil, true)); !json.Valid(text) {
						t.Fatalf("no JSON: %s", text)
					}
				}
				var invalid *Invalid
				if err != nil && !errors.As(err, &invalid) {
					t.Fatalf("%v is a %T", err, err)
				}
			}
		}
	})
}

// empty is a view whose row has nothing.
func (s *Schema) empty() any {
	v := reflect.New(s.view)
	for i := range s.view.NumField() {
		if f := v.Elem().Field(i); s.view.Field(i).Anonymous && f.Kind() == reflect.Pointer {
			f.Set(reflect.New(f.Type().Elem()))
		}
	}
	return v.Interface()
}

func BenchmarkAppendPort(b *testing.B) {
	id := uuid.New()
	view := &PortView{Port: &Port{Common: Common{ID: id, Name: "p", ProjectID: "x"}, NetworkID: id, FixedIPs: []FixedIP{{SubnetID: id}}}}
	shown := Ports.Shown(nil, true)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = Ports.Append(buf[:0], view, shown)
	}
}
