package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// The most items a list attribute may have; Neutron's defaults.
const (
	maxNameservers  = 5
	maxHostRoutes   = 20
	maxAddressPairs = 10
	maxFixedIPs     = 64
	maxPools        = 256
	maxExtraOpts    = 64
	maxStrings      = 1000
	maxProfileBytes = 4095
)

// items takes a list apart; what names an item in the error.
func items(v any, what string, most int) ([]any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for %s: '%s'", what, Quote(v))
	}
	if len(list) > most {
		return nil, because("'%d' items of %s exceed the limit of %d", len(list), what, most)
	}
	return list, nil
}

// object takes an item of a list apart, which may have no other keys than these.
func object(v any, what string, keys ...string) (map[string]any, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil, because("Invalid data format for %s: '%s'", what, Quote(v))
	}
	var unknown []string
	for key := range o {
		if !slices.Contains(keys, key) {
			unknown = append(unknown, key)
		}
	}
	if unknown != nil {
		slices.Sort(unknown)
		return nil, because("Unrecognized attribute(s) '%s'", Quote(strings.Join(unknown, ", ")))
	}
	return o, nil
}

func readStrings(_ *Attribute, v any) ([]string, error) {
	list, err := items(v, "list", maxStrings)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok || len(s) > 4*maxTagLength {
			return nil, because("'%s' is not a valid string", Quote(item))
		}
		out = append(out, s)
	}
	return out, nil
}

func readNameservers(_ *Attribute, v any) ([]netip.Addr, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for nameserver: '%s'", Quote(v))
	}
	if len(list) > maxNameservers {
		return nil, &Invalid{"DNSNameServersExhausted", fmt.Sprintf(
			"Unable to complete operation for new subnet. The number of DNS nameservers exceeds the limit %d.", maxNameservers)}
	}
	var out []netip.Addr
	for _, item := range list {
		addr, err := readAddr(item)
		if err != nil {
			return nil, fmt.Errorf("'%s' is not a valid nameserver. %w", Quote(item), err)
		}
		if slices.Contains(out, addr) {
			return nil, because("Duplicate nameserver '%s'", addr)
		}
		out = append(out, addr)
	}
	return out, nil
}

func readPools(_ *Attribute, v any) ([]Pool, error) {
	list, err := items(v, "IP pool", maxPools)
	if err != nil {
		return nil, err
	}
	var out []Pool
	for _, item := range list {
		o, err := object(item, "IP pool", "start", "end")
		if err != nil {
			return nil, err
		}
		start, err := readAddr(o["start"])
		if err != nil {
			return nil, err
		}
		end, err := readAddr(o["end"])
		if err != nil {
			return nil, err
		}
		out = append(out, Pool{start, end})
	}
	return out, nil
}

func readPrefixes(_ *Attribute, v any) ([]netip.Prefix, error) {
	list, err := items(v, "subnet list", maxPools)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, item := range list {
		p, ok := readPrefix(item)
		if !ok {
			return nil, because("'%s' is not a valid IP subnet", Quote(item))
		}
		out = append(out, p)
	}
	return out, nil
}

// ReadPrefixes reads the body {"prefixes": ["10.0.0.0/8"]}. The error is an *Invalid.
func ReadPrefixes(body []byte) ([]netip.Prefix, error) {
	var given struct{ Prefixes []any }
	if json.Unmarshal(body, &given) != nil || given.Prefixes == nil {
		return nil, BadRequest("Unable to find 'prefixes' in request body")
	}
	prefixes, err := readPrefixes(nil, given.Prefixes)
	var invalid *Invalid
	if err != nil && !errors.As(err, &invalid) {
		return nil, BadRequest("Invalid input for prefixes. Reason: %s.", err)
	}
	return prefixes, err
}

func appendPool(b []byte, p Pool) []byte {
	b = appendAddr(append(b, `{"start":`...), p.Start)
	b = appendAddr(append(b, `,"end":`...), p.End)
	return append(b, '}')
}

func readRoutes(_ *Attribute, v any) ([]Route, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for hostroute: '%s'", Quote(v))
	}
	if len(list) > maxHostRoutes {
		return nil, &Invalid{"HostRoutesExhausted", fmt.Sprintf(
			"Unable to complete operation for new subnet. The number of host routes exceeds the limit %d.", maxHostRoutes)}
	}
	var out []Route
	for _, item := range list {
		o, err := object(item, "hostroute", "destination", "nexthop")
		if err != nil {
			return nil, err
		}
		destination, ok := readPrefix(o["destination"])
		if !ok {
			return nil, because("'%s' is not a valid CIDR", Quote(o["destination"]))
		}
		nexthop, err := readAddr(o["nexthop"])
		if err != nil {
			return nil, err
		}
		r := Route{destination, nexthop}
		if slices.Contains(out, r) {
			return nil, because("Duplicate hostroute '%s'", Quote(item))
		}
		out = append(out, r)
	}
	return out, nil
}

func appendRoute(b []byte, r Route) []byte {
	b = append(b, `{"destination":"`...)
	b = append(r.Destination.AppendTo(b), `","nexthop":`...)
	return append(appendAddr(b, r.Nexthop), '}')
}

// readFixedIPs leaves what an item does not name zero.
func readFixedIPs(_ *Attribute, v any) ([]FixedIP, error) {
	list, err := items(v, "fixed IP", maxFixedIPs)
	if err != nil {
		return nil, err
	}
	var out []FixedIP
	for _, item := range list {
		o, err := object(item, "fixed IP", "subnet_id", "ip_address")
		if err != nil {
			return nil, err
		}
		if len(o) == 0 {
			return nil, because("Invalid data format for fixed IP: '%s'", Quote(item))
		}
		var f FixedIP
		if id, given := o["subnet_id"]; given {
			if f.SubnetID, err = readUUID(nil, id); err != nil {
				return nil, err
			}
		}
		if addr, given := o["ip_address"]; given {
			if f.IPAddress, err = readAddr(addr); err != nil {
				return nil, err
			}
			if slices.ContainsFunc(out, func(g FixedIP) bool { return g.IPAddress == f.IPAddress }) {
				return nil, because("Duplicate IP address '%s'", f.IPAddress)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

func appendFixedIP(b []byte, f FixedIP) []byte {
	b = appendUUID(append(b, `{"subnet_id":`...), f.SubnetID)
	b = appendAddr(append(b, `,"ip_address":`...), f.IPAddress)
	return append(b, '}')
}

// filterFixedIPs reads ip_address=A, subnet_id=S and ip_address_substr=T: one fixed IP of the port must
// be right by each key that is named, for one of the key's values.
func filterFixedIPs(values []string) (func([]FixedIP) bool, error) {
	var addresses, substrings []string
	var subnets []uuid.UUID
	bySubnet := false
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, InvalidInput("'%s' is not of the form <key>=[value]", Quote(v))
		}
		switch key {
		case "ip_address":
			if a, err := netip.ParseAddr(value); err == nil {
				value = a.String()
			}
			addresses = append(addresses, value)
		case "subnet_id":
			bySubnet = true
			if id, err := ParseUUID(value); err == nil {
				subnets = append(subnets, id)
			}
		case "ip_address_substr":
			substrings = append(substrings, value)
		default:
			return nil, BadRequest("['%s'] is invalid attribute for filtering", Quote(key))
		}
	}
	return func(list []FixedIP) bool {
		return slices.ContainsFunc(list, func(f FixedIP) bool {
			if bySubnet && !slices.Contains(subnets, f.SubnetID) {
				return false
			}
			if addresses == nil && substrings == nil {
				return true
			}
			text := f.IPAddress.String()
			return (addresses == nil || slices.Contains(addresses, text)) &&
				(substrings == nil || slices.ContainsFunc(substrings, func(s string) bool { return strings.Contains(text, s) }))
		})
	}, nil
}

func readAddressPairs(_ *Attribute, v any) ([]AddressPair, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for allowed address pairs: '%s'", Quote(v))
	}
	if len(list) > maxAddressPairs {
		return nil, &Invalid{"AllowedAddressPairExhausted", fmt.Sprintf(
			"The number of allowed address pair exceeds the maximum %d.", maxAddressPairs)}
	}
	var out []AddressPair
	for _, item := range list {
		o, err := object(item, "allowed address pair", "ip_address", "mac_address")
		if err != nil {
			return nil, err
		}
		if _, given := o["ip_address"]; !given {
			return nil, &Invalid{"AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address"}
		}
		var p AddressPair
		if p.IPAddress, ok = readPrefix(o["ip_address"]); !ok {
			return nil, because("'%s' is not a valid IP address", Quote(o["ip_address"]))
		}
		if mac := o["mac_address"]; mac != nil {
			if p.MACAddress, err = readMAC(nil, mac); err != nil {
				return nil, err
			}
		}
		if slices.Contains(out, p) {
			return nil, &Invalid{"DuplicateAddressPairInRequest", fmt.Sprintf(
				"Request contains duplicate address pair: mac_address %s ip_address %s.", Quote(o["mac_address"]), Quote(o["ip_address"]))}
		}
		out = append(out, p)
	}
	return out, nil
}

// appendAddressPair shows the pair of a single address without a prefix length.
func appendAddressPair(b []byte, p AddressPair) []byte {
	b = append(b, `{"mac_address":"`...)
	b = append(p.MACAddress.append(b), `","ip_address":"`...)
	if p.IPAddress.IsSingleIP() {
		b = p.IPAddress.Addr().AppendTo(b)
	} else {
		b = p.IPAddress.AppendTo(b)
	}
	return append(b, `"}`...)
}

func readExtraDHCPOpts(_ *Attribute, v any) ([]ExtraDHCPOpt, error) {
	list, err := items(v, "extra DHCP option", maxExtraOpts)
	if err != nil {
		return nil, err
	}
	var out []ExtraDHCPOpt
	for _, item := range list {
		o, err := object(item, "extra DHCP option", "opt_name", "opt_value", "ip_version")
		if err != nil {
			return nil, err
		}
		opt := ExtraDHCPOpt{IPVersion: 4}
		if opt.Name, err = readOptionText(o["opt_name"], 64); err != nil {
			return nil, err
		}
		switch value := o["opt_value"]; {
		case value == nil:
			opt.Remove = true
		case value == "" && slices.Contains(blankOptions, opt.Name):
		default:
			if opt.Value, err = readOptionText(value, 255); err != nil {
				return nil, err
			}
		}
		if version, given := o["ip_version"]; given {
			n, err := ToInteger(version)
			if err != nil {
				return nil, err
			}
			if n != 4 && n != 6 {
				return nil, because("%s is not in valid_values", Quote(version))
			}
			opt.IPVersion = int(n)
		}
		out = append(out, opt)
	}
	return out, nil
}

// blankOptions are those that may be "", so that clients are not told what the subnet says.
var blankOptions = []string{"router", "classless-static-route"}

// readOptionText refuses control characters, which are nothing but attempts to smuggle another option in.
func readOptionText(v any, most int) (string, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return "", because("'%s' is not a valid string", Quote(v))
	case strings.TrimSpace(s) == "":
		return "", because("'%s' Blank strings are not permitted", Quote(v))
	case len(s) > most:
		return "", because("'%s' exceeds maximum length of %d", Quote(v), most)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", because("'%s' contains a control character", Quote(v))
	}
	return s, nil
}

func appendExtraDHCPOpt(b []byte, o ExtraDHCPOpt) []byte {
	b = AppendString(append(b, `{"opt_name":`...), o.Name)
	b = AppendString(append(b, `,"opt_value":`...), o.Value)
	b = strconv.AppendInt(append(b, `,"ip_version":`...), int64(o.IPVersion), 10)
	return append(b, '}')
}

func readProfile(_ *Attribute, v any) (json.RawMessage, error) {
	if _, ok := v.(map[string]any); !ok {
		return nil, because("'%s' is not a dictionary", Quote(v))
	}
	text := appendJSON(nil, v)
	switch {
	case len(text) > maxProfileBytes:
		return nil, InvalidInput("binding:profile value too large: %d bytes, maximum is %d", len(text), maxProfileBytes)
	case string(text) == "{}":
		return nil, nil
	}
	return text, nil
}
