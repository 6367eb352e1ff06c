package dhcp

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tunbridge/tunbridge/api/model"
)

// form is how the text of an extra_dhcp_opts value becomes bytes.
type form uint8

const (
	free      form = iota // bytes as 01:ab:…, else addresses, else text
	address               // 10.0.0.1
	addresses             // 10.0.0.1,10.0.0.2
	text
	number8
	number16
	number32
	routes   // 10.1.0.0/16,10.0.0.1,…
	domains  // example.org,example.com, as in RFC 3397
	identity // what the client calls itself: taken, but never sent, as a port needs no other identity
	refused  // the protocol's own
)

// option is an option that has a name in dnsmasq's configuration, which is what users of the API give, or a
// form.
type option[Code byte | uint16] struct {
	code Code
	name string
	form form
}

// vocabulary is what the names of extra_dhcp_opts mean in one version of DHCP.
type vocabulary[Code byte | uint16] struct {
	protocol string // in errors
	ipxe     string // what iPXE's tag is called
	codes    map[string]Code
	forms    map[Code]form // free is that of all others
	value    func(b []byte, f form, value string) ([]byte, error)
}

func newVocabulary[Code byte | uint16](protocol, ipxe string, value func([]byte, form, string) ([]byte, error), options []option[Code]) *vocabulary[Code] {
	v := &vocabulary[Code]{protocol: protocol, ipxe: ipxe, codes: map[string]Code{}, forms: map[Code]form{}, value: value}
	for _, o := range options {
		v.codes[o.name] = o.code
		v.forms[o.code] = o.form
	}
	return v
}

// extraName is the name of an entry of extra_dhcp_opts: an option's name or number, behind conditions.
type extraName[Code byte | uint16] struct {
	code Code
	condition
}

// parse reads a name; ok is false if there is no such option, or if it is not for a user to give.
func (v *vocabulary[Code]) parse(name string) (n extraName[Code], ok bool) {
	if n.condition, name, ok = cutConditions(name, v.ipxe); !ok {
		return n, false
	}
	if n.code, ok = v.codes[name]; !ok {
		number, err := strconv.ParseUint(name, 10, 8*int(unsafe.Sizeof(n.code)))
		if err != nil || number == 0 { // no option
			return n, false
		}
		n.code = Code(number)
	}
	return n, v.forms[n.code] != refused
}

// check says why an entry of a port's extra_dhcp_opts cannot be sent.
func (v *vocabulary[Code]) check(o model.ExtraDHCPOpt) error {
	name, ok := v.parse(o.Name)
	if !ok {
		return fmt.Errorf("extra_dhcp_opts: %q is not the name or number of a %s option that can be given; tag:%s, or tag:!%s, may go before it", o.Name, v.protocol, v.ipxe, v.ipxe)
	}
	if o.Value == "" {
		return nil
	}
	if _, err := v.value(nil, v.forms[name.code], o.Value); err != nil {
		return fmt.Errorf("extra_dhcp_opts: %s: %w", o.Name, err)
	}
	return nil
}

// condition says which clients an entry of extra_dhcp_opts is for. As in dnsmasq's configuration it goes
// before the option, "tag:ipxe,67" or "tag:!ipxe,67", so that firmware is told to load iPXE, and iPXE what
// to load then.
type condition struct {
	ipxe, notIPXE bool // only for clients that are iPXE, or are not
}

// cutConditions reads the conditions in front of a name; ipxe is what iPXE's tag is called. ok is false if
// there are others.
func cutConditions(name, ipxe string) (c condition, rest string, ok bool) {
	for {
		tagged, has := strings.CutPrefix(name, "tag:")
		if !has {
			return c, name, true
		}
		var tag string
		switch tag, name, _ = strings.Cut(tagged, ","); tag {
		case ipxe:
			c.ipxe = true
		case "!" + ipxe:
			c.notIPXE = true
		default:
			return c, "", false
		}
	}
}

// conditional says whether there is a condition: such an entry goes before one without.
func (c condition) conditional() bool { return c.ipxe || c.notIPXE }

// isFor says whether a client fulfils the conditions.
func (c condition) isFor(ipxe bool) bool { return !(c.ipxe && !ipxe || c.notIPXE && ipxe) }

// pairsOfDigits reads bytes given as 01:ab:…, of two hexadecimal digits each.
func pairsOfDigits(value string) ([]byte, bool) {
	for i := 2; i < len(value); i += 3 {
		if value[i] != ':' {
			return nil, false
		}
	}
	b, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
	return b, err == nil && len(b) > 1 && len(value) == 3*len(b)-1
}
