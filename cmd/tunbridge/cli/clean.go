package cli

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Clean is a text as a terminal may have it. Names are anybody's: what is no letter, as an escape sequence or a
// change of the direction of writing, is shown by its number. Lines stay lines.
func Clean(s string) string { return cleaned(s, "\n") }

func cleaned(s, but string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	strange := func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune(but, r) }
	if strings.IndexFunc(s, strange) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !strange(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cleanAll cleans every string that v points to. One is of several lines where its field's tag says so, as
// `text:"lines"`; else a name that has two would pass for a line of ours.
func cleanAll(v reflect.Value, but string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(cleaned(v.String(), but))
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			cleanAll(v.Elem(), but)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			cleanAll(v.Index(i), but)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(k))
			cleanAll(e, but)
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				but := ""
				if f.Tag.Get("text") == "lines" {
					but = "\n"
				}
				cleanAll(v.Field(i), but)
			}
		}
	}
}
