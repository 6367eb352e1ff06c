package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// kind is what the Go type of an attribute decides.
type kind interface {
	title() string
	zero() any
	decode(a *Attribute, v any) (any, error) // of a body's value; an error that is not *Invalid is a reason
	assign(field reflect.Value, v any)
	append(b []byte, a *Attribute, field reflect.Value) []byte
	compare(x, y reflect.Value) int
	match(values []string) (func(reflect.Value) bool, error) // for a query's values
	sortable() bool
	filterable() bool
}

// typed is the kind of the attributes of Go type T. A nil function is something the type cannot do.
type typed[T any] struct {
	name   string
	read   func(a *Attribute, v any) (T, error)
	write  func(b []byte, v T) []byte
	order  func(x, y T) int
	filter func(values []string) (func(T) bool, error)
}

func (k typed[T]) title() string    { return k.name }
func (k typed[T]) sortable() bool   { return k.order != nil }
func (k typed[T]) filterable() bool { return k.filter != nil }

func (k typed[T]) zero() any {
	var zero T
	return zero
}

func (k typed[T]) decode(a *Attribute, v any) (any, error) {
	if k.read == nil {
		return nil, because("'%s' cannot be set", Quote(v))
	}
	return k.read(a, v)
}

func (k typed[T]) assign(field reflect.Value, v any) { *field.Addr().Interface().(*T) = v.(T) }

func (k typed[T]) append(b []byte, a *Attribute, field reflect.Value) []byte {
	if a.Null && field.IsZero() {
		return append(b, "null"...)
	}
	return k.write(b, *field.Addr().Interface().(*T))
}

func (k typed[T]) compare(x, y reflect.Value) int {
	return k.order(*x.Addr().Interface().(*T), *y.Addr().Interface().(*T))
}

func (k typed[T]) match(values []string) (func(reflect.Value) bool, error) {
	f, err := k.filter(values)
	if err != nil {
		return nil, err
	}
	return func(field reflect.Value) bool { return f(*field.Addr().Interface().(*T)) }, nil
}

// anyOf is the filter of a type whose values are equal or not. A text that is no value of the type
// equals none of them.
func anyOf[T comparable](parse func(string) (T, error)) func([]string) (func(T) bool, error) {
	return func(values []string) (func(T) bool, error) {
		wanted := make(map[T]bool, len(values))
		for _, text := range values {
			v, err := parse(text)
			var invalid *Invalid
			switch {
			case errors.As(err, &invalid):
				return nil, invalid
			case err == nil:
				wanted[v] = true
			}
		}
		return func(v T) bool { return wanted[v] }, nil
	}
}

// orZero parses a text, of which the empty one is the zero value.
func orZero[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (v T, err error) {
		if s == "" {
			return v, nil
		}
		return parse(s)
	}
}

var kinds = map[reflect.Type]kind{
	reflect.TypeFor[string](): typed[string]{
		name: "string", read: readString, write: AppendString, order: strings.Compare,
		filter: anyOf(func(s string) (string, error) { return s, nil }),
	},
	reflect.TypeFor[bool](): typed[bool]{
		name: "boolean", read: func(_ *Attribute, v any) (bool, error) { return ToBoolean(v) },
		write: strconv.AppendBool,
		order: func(x, y bool) int {
			switch {
			case x == y:
				return 0
			case x:
				return 1
			}
			return -1
		},
		filter: anyOf(func(s string) (bool, error) { return ToBoolean(s) }),
	},
	reflect.TypeFor[int]():    integers[int](),
	reflect.TypeFor[int64]():  integers[int64](),
	reflect.TypeFor[uint32](): integers[uint32](),
	reflect.TypeFor[uuid.UUID](): typed[uuid.UUID]{
		name: "uuid", read: readUUID, write: appendUUID,
		order:  func(x, y uuid.UUID) int { return bytes.Compare(x[:], y[:]) },
		filter: anyOf(ParseUUID),
	},
	reflect.TypeFor[MAC](): typed[MAC]{
		name: "mac", read: readMAC,
		write:  func(b []byte, m MAC) []byte { return append(m.append(append(b, '"')), '"') },
		order:  func(x, y MAC) int { return bytes.Compare(x[:], y[:]) },
		filter: anyOf(func(s string) (MAC, error) { return ParseMAC(s) }),
	},
	reflect.TypeFor[netip.Addr](): typed[netip.Addr]{
		name: "address", read: func(_ *Attribute, v any) (netip.Addr, error) { return readAddr(v) },
		write: appendAddr, order: netip.Addr.Compare, filter: anyOf(orZero(netip.ParseAddr)),
	},
	reflect.TypeFor[netip.Prefix](): typed[netip.Prefix]{
		name: "cidr", read: readCIDR,
		write: appendPrefix,
		order: func(x, y netip.Prefix) int {
			return cmp.Or(x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
		},
		filter: anyOf(netip.ParsePrefix),
	},
	reflect.TypeFor[time.Time](): typed[time.Time]{
		name: "time", write: appendTime, order: time.Time.Compare,
		filter: func(values []string) (func(time.Time) bool, error) {
			same, err := anyOf(func(s string) (time.Time, error) {
				t, err := time.Parse(time.RFC3339, s)
				return t.UTC(), err
			})(values)
			return func(t time.Time) bool { return same(t.Truncate(time.Second)) }, err
		},
	},
	reflect.TypeFor[[]SubnetIPAvailability](): typed[[]SubnetIPAvailability]{
		name: "subnet-ip-availabilities",
		write: func(b []byte, l []SubnetIPAvailability) []byte {
			return appendList(b, l, appendJSON[SubnetIPAvailability])
		},
	},
	reflect.TypeFor[[]DNSAssignment](): typed[[]DNSAssignment]{
		name:  "dns-assignments",
		write: func(b []byte, l []DNSAssignment) []byte { return appendList(b, l, appendDNSAssignment) },
	},
	reflect.TypeFor[*big.Int](): typed[*big.Int]{
		name: "integer", write: func(b []byte, n *big.Int) []byte { return n.Append(b, 10) },
	},
	reflect.TypeFor[Moment](): typed[Moment]{
		name: "time", write: appendMoment,
		order: func(x, y Moment) int { return time.Time(x).Compare(time.Time(y)) },
	},
	reflect.TypeFor[[]string](): typed[[]string]{
		name: "strings", read: readStrings,
		write: func(b []byte, l []string) []byte { return appendList(b, l, AppendString) },
		filter: func(values []string) (func([]string) bool, error) {
			return func(l []string) bool {
				return slices.ContainsFunc(l, func(s string) bool { return slices.Contains(values, s) })
			}, nil
		},
	},
	reflect.TypeFor[[]uuid.UUID](): typed[[]uuid.UUID]{
		name:  "uuids",
		write: func(b []byte, l []uuid.UUID) []byte { return appendList(b, l, appendUUID) },
	},
	reflect.TypeFor[[]netip.Addr](): typed[[]netip.Addr]{
		name: "addresses", read: readNameservers,
		write: func(b []byte, l []netip.Addr) []byte { return appendList(b, l, appendAddr) },
	},
	reflect.TypeFor[[]netip.Prefix](): typed[[]netip.Prefix]{
		name: "cidrs", read: readPrefixes,
		write: func(b []byte, l []netip.Prefix) []byte { return appendList(b, l, appendPrefix) },
	},
	reflect.TypeFor[[]Pool](): typed[[]Pool]{
		name: "pools", read: readPools,
		write: func(b []byte, l []Pool) []byte { return appendList(b, l, appendPool) },
	},
	reflect.TypeFor[[]Route](): typed[[]Route]{
		name: "routes", read: readRoutes,
		write: func(b []byte, l []Route) []byte { return appendList(b, l, appendRoute) },
	},
	reflect.TypeFor[[]Segment](): typed[[]Segment]{name: "segments", read: readSegments},
	reflect.TypeFor[[]FixedIP](): typed[[]FixedIP]{
		name: "fixed-ips", read: readFixedIPs, filter: filterFixedIPs,
		write: func(b []byte, l []FixedIP) []byte { return appendList(b, l, appendFixedIP) },
	},
	reflect.TypeFor[[]AddressPair](): typed[[]AddressPair]{
		name: "address-pairs", read: readAddressPairs,
		write: func(b []byte, l []AddressPair) []byte { return appendList(b, l, appendAddressPair) },
	},
	reflect.TypeFor[[]ExtraDHCPOpt](): typed[[]ExtraDHCPOpt]{
		name: "dhcp-options", read: readExtraDHCPOpts,
		write: func(b []byte, l []ExtraDHCPOpt) []byte { return appendList(b, l, appendExtraDHCPOpt) },
	},
	reflect.TypeFor[json.RawMessage](): typed[json.RawMessage]{
		name: "object", read: readProfile,
		write: func(b []byte, text json.RawMessage) []byte {
			if len(text) == 0 {
				return append(b, "{}"...)
			}
			return append(b, text...)
		},
	},
	reflect.TypeFor[*Metadata](): typed[*Metadata]{
		name: "metadata", read: readMetadata,
		write: func(b []byte, m *Metadata) []byte {
			if m == nil {
				return append(b, "{}"...)
			}
			return appendJSON(b, m)
		},
	},
	reflect.TypeFor[*VIFDetails](): typed[*VIFDetails]{
		name: "object",
		write: func(b []byte, d *VIFDetails) []byte {
			if d == nil {
				return append(b, "{}"...)
			}
			return appendJSON(b, d)
		},
	},
}

func integers[T int | int64 | uint32]() kind {
	return typed[T]{
		name: "integer", read: readInteger[T],
		write:  func(b []byte, v T) []byte { return strconv.AppendInt(b, int64(v), 10) },
		order:  cmp.Compare[T],
		filter: anyOf(func(s string) (T, error) { n, err := ToInteger(s); return T(n), err }),
	}
}

func readInteger[T int | int64 | uint32](a *Attribute, v any) (T, error) {
	n, err := ToInteger(v)
	if err != nil {
		return 0, err
	}
	if len(a.Values) > 0 && !slices.Contains(a.Values, strconv.FormatInt(n, 10)) {
		return 0, because("%s is not in valid_values", Quote(v))
	}
	switch {
	case a.HasMin && a.Min != 0 && n < int64(a.Min):
		return 0, because("'%s' is too small - must be at least '%d'", Quote(v), a.Min)
	case a.HasMin && n < int64(a.Min):
		return 0, because("'%s' should be non-negative", Quote(v))
	}
	if a.HasMax && n > int64(a.Max) || int64(T(n)) != n {
		return 0, because("'%s' is too large", Quote(v))
	}
	return T(n), nil
}

// ToBoolean reads what Neutron takes for a boolean: one, or 0, 1, "0", "1", "true", "False" … The error
// is an *Invalid.
func ToBoolean(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
	case json.Number:
		switch v {
		case "0":
			return false, nil
		case "1":
			return true, nil
		}
	}
	return false, InvalidInput("'%s' cannot be converted to boolean", Quote(v))
}

// ToInteger reads what Neutron takes for an integer: one, or its decimal digits as a string. The error
// is an *Invalid.
func ToInteger(v any) (int64, error) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, InvalidInput("'%s' is not an integer", Quote(v))
	}
	return n, nil
}

func readString(a *Attribute, v any) (string, error) {
	s, ok := v.(string)
	switch {
	case len(a.Values) > 0 && (!ok || !slices.Contains(a.Values, s)):
		return "", because("%s is not in valid_values", Quote(v))
	case !ok:
		return "", because("'%s' is not a valid string", Quote(v))
	case a.HasMax && utf8.RuneCountInString(s) > a.Max:
		return "", because("'%s' exceeds maximum length of %d", Quote(s), a.Max)
	}
	if a.Form == "" || s == "" {
		return s, nil
	}
	if reason := checkName(s); reason != "" {
		return "", because("'%s' not a valid PQDN or FQDN. Reason: %s", Quote(s), reason)
	}
	if a.Form == "fqdn" && !strings.HasSuffix(s, ".") {
		return "", because("'%s' is not a FQDN", Quote(s))
	}
	return strings.ToLower(s), nil
}

// checkName says what is wrong with a domain name (RFC 1123 §2.1, RFC 1035 §2.3.4).
func checkName(s string) string {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return "it is longer than 253 characters"
	}
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return "encountered an empty component"
		case len(label) > 63:
			return fmt.Sprintf("name '%s' must be 1-63 characters long", label)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Sprintf("name '%s' must not begin or end with a hyphen", label)
		}
		for _, c := range []byte(label) {
			if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return fmt.Sprintf("name '%s' must be of letters, digits and hyphens", label)
			}
		}
	}
	return ""
}

// ParseUUID reads the form with hyphens only, as everything but the API's users writes it.
func ParseUUID(s string) (uuid.UUID, error) {
	if len(s) != 36 {
		return uuid.Nil, because("'%s' is not a valid UUID", Quote(s))
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil, because("'%s' is not a valid UUID", Quote(s))
	}
	return id, nil
}

func readUUID(_ *Attribute, v any) (uuid.UUID, error) {
	s, ok := v.(string)
	if !ok {
		return uuid.Nil, because("'%s' is not a valid UUID", Quote(v))
	}
	return ParseUUID(s)
}

func readMAC(_ *Attribute, v any) (MAC, error) {
	s, _ := v.(string)
	m, err := ParseMAC(s)
	if err != nil || !m.IsUnicast() {
		return MAC{}, because("'%s' is not a valid MAC address", Quote(v))
	}
	return m, nil
}

// readAddr reads an address without a zone; an IPv4 address inside IPv6 is none of either family.
func readAddr(v any) (netip.Addr, error) {
	s, _ := v.(string)
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Addr{}, because("'%s' is not a valid IP address", Quote(v))
	}
	return addr, nil
}

// readPrefix reads a block, or an address for the block of that one; host bits are cut off.
func readPrefix(v any) (netip.Prefix, bool) {
	s, _ := v.(string)
	if addr, err := readAddr(v); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

func readCIDR(_ *Attribute, v any) (netip.Prefix, error) {
	p, ok := readPrefix(v)
	if !ok {
		return p, InvalidInput("%s is not in a CIDR format", Quote(v))
	}
	return p, nil
}

func appendUUID(b []byte, id uuid.UUID) []byte {
	var text [38]byte
	text[0], text[37] = '"', '"'
	s, _ := id.MarshalText()
	copy(text[1:], s)
	return append(b, text[:]...)
}

func appendAddr(b []byte, a netip.Addr) []byte { return append(a.AppendTo(append(b, '"')), '"') }

func appendDNSAssignment(b []byte, a DNSAssignment) []byte {
	b = appendAddr(append(b, `{"ip_address":`...), a.IPAddress)
	b = AppendString(append(b, `,"hostname":`...), a.Hostname)
	return append(AppendString(append(b, `,"fqdn":`...), a.FQDN), '}')
}

func appendPrefix(b []byte, p netip.Prefix) []byte { return append(p.AppendTo(append(b, '"')), '"') }

func appendTime(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), "2006-01-02T15:04:05Z"), '"')
}

func appendList[T any](b []byte, list []T, item func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, v)
	}
	return append(b, ']')
}
