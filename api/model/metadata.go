package model

import "encoding/base64"

// Metadata is what a machine is told of itself when no Nova knows it.
type Metadata struct {
	Hostname   string            `json:"hostname,omitempty"`    // instead of the port's dns_name
	PublicKeys map[string]string `json:"public_keys,omitempty"` // OpenSSH public keys by name
	UserData   []byte            `json:"user_data,omitempty"`   // base64 in JSON
	Meta       map[string]string `json:"meta,omitempty"`        // what else its owner wants it to know
}

// The most that a Metadata may hold: as much as Nova takes. User data is counted as base64.
const (
	maxUserData   = 65535
	maxPublicKeys = 32
	maxPublicKey  = 16 << 10
	maxMetaItems  = 128
	maxMetaText   = 255
)

func readMetadata(_ *Attribute, v any) (*Metadata, error) {
	o, err := object(v, "metadata", "hostname", "public_keys", "user_data", "meta")
	if err != nil {
		return nil, err
	}
	m := &Metadata{}
	if hostname := o["hostname"]; hostname != nil {
		s, ok := hostname.(string)
		if !ok || checkName(s) != "" {
			return nil, because("'%s' is not a valid hostname", Quote(hostname))
		}
		m.Hostname = s
	}
	if m.PublicKeys, err = readTexts(o["public_keys"], "public_keys", maxPublicKeys, maxPublicKey); err != nil {
		return nil, err
	}
	if m.Meta, err = readTexts(o["meta"], "meta", maxMetaItems, maxMetaText); err != nil {
		return nil, err
	}
	if data := o["user_data"]; data != nil {
		s, ok := data.(string)
		if !ok || len(s) > maxUserData {
			return nil, because("user_data is not a string of at most %d characters", maxUserData)
		}
		if m.UserData, err = base64.StdEncoding.DecodeString(s); err != nil {
			return nil, because("user_data is not base64")
		}
	}
	if m.Hostname == "" && m.PublicKeys == nil && m.Meta == nil && len(m.UserData) == 0 {
		return nil, nil
	}
	return m, nil
}

// readTexts reads an object of strings: names of 1 to maxMetaText bytes, texts of up to longest.
func readTexts(v any, what string, most, longest int) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	o, ok := v.(map[string]any)
	if !ok || len(o) > most {
		return nil, because("%s is not an object of at most %d strings", what, most)
	}
	var out map[string]string
	for name, text := range o {
		s, ok := text.(string)
		if !ok || name == "" || len(name) > maxMetaText || len(s) > longest {
			return nil, because("%s: the name '%s' or its value is not a string, or is too long", what, Quote(name))
		}
		if out == nil {
			out = make(map[string]string, len(o))
		}
		out[name] = s
	}
	return out, nil
}
