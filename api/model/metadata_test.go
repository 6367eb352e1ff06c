package model

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// What a port's metadata may be, and how it is shown.
func TestMetadata(t *testing.T) {
	decode := func(value string) (*Port, error) {
		objects, _, err := Ports.Read(Create, []byte(`{"port":{"network_id":"11111111-1111-4111-8111-111111111111","tunbridge:metadata":`+value+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		in, err := Ports.Decode(Create, objects[0])
		if err != nil {
			return nil, err
		}
		v := &PortView{Port: &Port{}}
		in.Apply(v)
		return v.Port, nil
	}
	const full = `{"hostname":"web1","public_keys":{"me":"ssh-ed25519 AAAA me"},"user_data":"I2Nsb3VkLWNvbmZpZwo=","meta":{"role":"web"}}`
	most := base64.StdEncoding.EncodeToString(make([]byte, maxUserData/4*3))
	for value, shown := range map[string]string{
		full: full,
		`{}`: `{}`, `null`: `{}`, `{"hostname":null,"public_keys":{},"user_data":"","meta":null}`: `{}`,
		`{"hostname":"web1.example.org"}`: `{"hostname":"web1.example.org"}`,
		`{"user_data":"` + most + `"}`:    `{"user_data":"` + most + `"}`,
	} {
		p, err := decode(value)
		if err != nil {
			t.Errorf("%.100s: %v", value, err)
			continue
		}
		s := string(Ports.Append(nil, &PortView{Port: p}, Ports.Shown([]string{"tunbridge:metadata"}, true)))
		if want := `{"tunbridge:metadata":` + shown + `}`; s != want {
			t.Errorf("%.100s is shown as %.200s", value, s)
		}
	}
	if p, err := decode(full); err != nil || string(p.Metadata.UserData) != "#cloud-config\n" {
		t.Errorf("%+v, %v", p, err)
	}

	var keys []string
	for i := range maxPublicKeys + 1 {
		keys = append(keys, fmt.Sprintf(`"%d":""`, i))
	}
	for _, value := range []string{
		`[]`, `"x"`, `{"hostnam":"x"}`, `{"hostname":7}`, `{"hostname":""}`, `{"hostname":"a b"}`, `{"hostname":"` + strings.Repeat("x", 64) + `"}`,
		`{"public_keys":[]}`, `{"public_keys":{"":"x"}}`, `{"public_keys":{"x":1}}`, `{"public_keys":{` + strings.Join(keys, ",") + `}}`,
		`{"public_keys":{"x":"` + strings.Repeat("x", maxPublicKey+1) + `"}}`, `{"meta":{"x":"` + strings.Repeat("x", maxMetaText+1) + `"}}`,
		`{"user_data":7}`, `{"user_data":"%"}`, `{"user_data":"` + most + `AAAA"}`,
	} {
		if p, err := decode(value); err == nil {
			t.Errorf("%.100s was taken: %+v", value, p.Metadata)
		}
	}
}
