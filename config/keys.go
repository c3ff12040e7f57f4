package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"rollcall/reports"

	"gopkg.in/yaml.v3"
)

// Key is one line of the configuration reference.
type Key struct {
	Path, Type, Default, Doc string
}

// Keys returns the reference of a struct made from its yaml and doc tags, and its defaults; prefix stands before every path.
// Structs within maps and lists are gone into, with NAME for the key of a map and [] for an element of a list.
func Keys(prefix string, v any) []Key {
	rv := reflect.Indirect(reflect.ValueOf(v))
	return structKeys(prefix, rv)
}

func structKeys(prefix string, v reflect.Value) []Key {
	var out []Key
	for _, f := range fieldsOf(v.Type()) {
		path, value := joinPath(prefix, f.name), v.FieldByIndex(f.index)
		t, tail := deref(f.typ), ""
		inner := t
		for inner.Kind() == reflect.Map || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Map {
				tail += ".NAME"
			} else {
				tail += "[]"
			}
			inner = deref(inner.Elem())
		}
		deep := inner.Kind() == reflect.Struct && !isText(inner)
		if !deep || tail != "" || f.doc != "" {
			out = append(out, Key{path, typeName(f.typ), defaultText(value), f.doc})
		}
		switch {
		case !deep:
		case tail == "" && value.Kind() != reflect.Pointer:
			out = append(out, structKeys(path, value)...)
		default:
			out = append(out, structKeys(path+tail, reflect.New(inner).Elem())...)
		}
	}
	return out
}

func deref(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// isText reports whether a value of the type is written as one text, or as anything at all.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || t == reflect.TypeFor[Node]()
}

func typeName(t reflect.Type) string {
	t = deref(t)
	switch {
	case t == reflect.TypeFor[Node]() || t.Kind() == reflect.Interface:
		return "any"
	case t.Kind() == reflect.Slice && !isText(t):
		return "list of " + typeName(t.Elem())
	case t.Kind() == reflect.Map && !isText(t):
		return "map of " + typeName(t.Elem())
	}
	name := typeWords(t)
	return strings.TrimPrefix(name, "a ")
}

// defaultText returns a value as it would stand in the file, "" for none.
func defaultText(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case reports.Duration:
		return shortDuration(x)
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			return "" // a default that can't be written has no text
		}
		return string(b)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return ""
		}
		return flowText(v)
	case reflect.Struct, reflect.Interface:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration returns 1h, not 1h0m0s.
func shortDuration(d reports.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// flowText returns a list or map in one line of YAML.
func flowText(v reflect.Value) string {
	y, err := encode(v)
	if err != nil {
		return "" // a default that can't be written has no text
	}
	y.Style = yaml.FlowStyle
	b, err := write(y)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
