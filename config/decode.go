package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"rollcall/reports"

	"gopkg.in/yaml.v3"
)

// Decode decodes the node strictly into the struct that v points to: an unknown key is refused with a suggestion, a wrong
// type with what is expected; fields that the document does not name, or names without a value, keep the values they have
// in v. After that it calls v's Validate() error, if it has one, and gives the error of At its line. A map or list in the
// document replaces the one in v. With an error v is left as it was.
//
// Field names are those of yaml tags ("-", ",inline" and ",omitempty" are known); a type with UnmarshalText takes any scalar's text.
func (n Node) Decode(v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("decode into %T: not a pointer", v)
	}
	fresh := reflect.New(p.Type().Elem())
	fresh.Elem().Set(p.Elem())
	if err := n.decode(fresh.Elem()); err != nil {
		return err
	}
	if c, ok := fresh.Interface().(interface{ Validate() error }); ok {
		if err := c.Validate(); err != nil {
			return n.wrap(err)
		}
	}
	p.Elem().Set(fresh.Elem())
	return nil
}

func (n Node) decode(v reflect.Value) error {
	if v.Type() == reflect.TypeFor[Node]() {
		v.Set(reflect.ValueOf(n))
		return nil
	}
	if n.IsZero() {
		return nil
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return n.decodeText((*reports.Duration)(v.Addr().Interface().(*time.Duration)), "a duration")
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok && v.Kind() != reflect.Pointer {
		return n.decodeText(u, typeWords(v.Type()))
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		if err := n.decode(fresh.Elem()); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	case reflect.Struct:
		return n.decodeStruct(v)
	case reflect.Map:
		return n.decodeMap(v)
	case reflect.Slice:
		return n.decodeList(v)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(n.plain()))
			return nil
		}
	}
	return n.decodeScalar(v)
}

func (n Node) decodeText(u encoding.TextUnmarshaler, want string) error {
	if n.y.Kind != yaml.ScalarNode {
		return n.mismatch(want)
	}
	if err := u.UnmarshalText([]byte(n.y.Value)); err != nil {
		return n.wrap(err)
	}
	return nil
}

// field is a field of a struct that a key may set.
type field struct {
	name      string
	doc       string
	index     []int
	typ       reflect.Type
	omitEmpty bool
}

// fieldsOf returns the fields of a struct in their order, those of inlined structs among them.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || (!f.IsExported() && !f.Anonymous):
		case strings.Contains(options, "inline") && f.Type.Kind() == reflect.Struct:
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
		case f.IsExported():
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			out = append(out, field{name, f.Tag.Get("doc"), []int{i}, f.Type, strings.Contains(options, "omitempty")})
		}
	}
	return out
}

func (n Node) decodeStruct(v reflect.Value) error {
	entries, err := n.Entries()
	if err != nil {
		return err
	}
	index := map[string][]int{}
	names := []string{}
	for _, f := range fieldsOf(v.Type()) {
		index[f.name] = f.index
		names = append(names, f.name)
	}
	for _, e := range entries {
		i, ok := index[e.Key]
		if !ok {
			return e.Value.Errorf("", "unknown key; %s", Suggest(e.Key, append(names, n.own...)))
		}
		if err := e.Value.decode(v.FieldByIndex(i)); err != nil {
			return err
		}
	}
	return nil
}

func (n Node) decodeMap(v reflect.Value) error {
	entries, err := n.Entries()
	if err != nil {
		return err
	}
	t := v.Type()
	m := reflect.MakeMapWithSize(t, len(entries))
	for _, e := range entries {
		key := reflect.New(t.Key()).Elem()
		if u, ok := key.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(e.Key)); err != nil {
				return e.Value.wrap(err)
			}
		} else if key.Kind() == reflect.String {
			key.SetString(e.Key)
		} else {
			return e.Value.Errorf("", "keys of type %s are not supported", t.Key())
		}
		if m.MapIndex(key).IsValid() {
			return e.Value.Errorf("", "stands twice")
		}
		value := reflect.New(t.Elem()).Elem()
		if err := e.Value.decode(value); err != nil {
			return err
		}
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return nil
}

func (n Node) decodeList(v reflect.Value) error {
	if n.y.Kind != yaml.SequenceNode {
		return n.mismatch("a list")
	}
	items := n.items()
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if item.IsZero() && v.Type().Elem().Kind() != reflect.Interface {
			return item.mismatch(typeWords(v.Type().Elem()))
		}
		if err := item.decode(list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func (n Node) decodeScalar(v reflect.Value) error {
	want := typeWords(v.Type())
	if n.y.Kind != yaml.ScalarNode {
		return n.mismatch(want)
	}
	s := n.y.Value
	if v.Kind() == reflect.String {
		v.SetString(s)
		return nil
	}
	if n.quoted() {
		return n.Errorf("", "the text %s stands where %s is wanted", show(s), want)
	}
	switch err := setScalar(v, s); {
	case errors.Is(err, errors.ErrUnsupported):
		return n.Errorf("", "values of type %s are not supported", v.Type())
	case errors.Is(err, strconv.ErrRange):
		return n.Errorf("", "%s is too large a number", show(s))
	case err != nil:
		return n.Errorf("", "%s is not %s", show(s), want)
	}
	return nil
}

// quoted reports whether a scalar is a text by the way it is written.
func (n Node) quoted() bool {
	return n.y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// setScalar sets a bool or number to what s says.
func setScalar(v reflect.Value, s string) error {
	switch {
	case v.Kind() == reflect.Bool:
		b, err := parseBool(s)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case v.CanInt():
		i, err := parseInt(s, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetInt(i)
	case v.CanUint():
		u, err := strconv.ParseUint(intText(s), 0, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetUint(u)
	case v.CanFloat():
		f, err := parseFloat(s)
		if err != nil {
			return err
		}
		v.SetFloat(f)
	default:
		return errors.ErrUnsupported
	}
	return nil
}

// parseBool takes the words of YAML 1.1, since on and off is how people write it.
func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, strconv.ErrSyntax
}

// parseInt takes a decimal number, or a hexadecimal one with 0x as I²C addresses are written. Underscores and leading zeros,
// which would be octal, are refused.
func parseInt(s string, bits int) (int64, error) { return strconv.ParseInt(intText(s), 0, bits) }

// intText returns s, or "" where strconv would take it and a person would read it otherwise.
func intText(s string) string {
	digits := strings.TrimLeft(s, "+-")
	if strings.Contains(s, "_") || (len(digits) > 1 && digits[0] == '0' && digits[1] != 'x') {
		return ""
	}
	return s
}

// parseFloat takes a finite decimal number.
func parseFloat(s string) (float64, error) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseFloat(s, 64)
	if err == nil && math.IsInf(f, 0) {
		err = strconv.ErrRange
	}
	return f, err
}

// plain returns the node as Go values: map[string]any, []any, string, bool, int, float64 or nil.
func (n Node) plain() any {
	if n.IsZero() {
		return nil
	}
	switch n.y.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		entries, _ := n.Entries() // a map has entries
		for _, e := range entries {
			out[e.Key] = e.Value.plain()
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, item := range n.items() {
			out = append(out, item.plain())
		}
		return out
	}
	s := n.y.Value
	switch n.y.ShortTag() {
	case "!!bool":
		return strings.EqualFold(s, "true")
	case "!!int", "!!float":
		i, err := parseInt(s, strconv.IntSize)
		if err == nil {
			return int(i)
		}
		if f, ferr := parseFloat(s); ferr == nil && (n.y.ShortTag() == "!!float" || errors.Is(err, strconv.ErrRange)) {
			return f
		}
	}
	return s
}

// typeWords says in plain words what a type takes.
func typeWords(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[reports.Duration]() || t == reflect.TypeFor[time.Duration]():
		return "a duration"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "a text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeWords(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a map"
	}
	return "a text"
}
