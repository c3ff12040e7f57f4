package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Marshal returns v as YAML that Decode reads back, with maps in the order of their keys. What Decode would refuse, such as a
// text that is not UTF-8 or a number that is not finite, is an error.
func Marshal(v any) ([]byte, error) {
	y, err := encode(reflect.ValueOf(v))
	if err != nil {
		return nil, fmt.Errorf("marshal %T: %w", v, err)
	}
	doc, err := write(y)
	if err != nil {
		return nil, fmt.Errorf("marshal %T: %w", v, err)
	}
	return doc, nil
}

// write returns the document, once it is sure that it can be read again.
func write(y *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(y), e.Close()); err != nil {
		return nil, err
	}
	if _, err := ParseNode("", b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// encode makes the node that decode makes v of. yaml.v3's own loses line breaks at the beginning of a text.
func encode(v reflect.Value) (*yaml.Node, error) {
	if !v.IsValid() || (slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Interface}, v.Kind()) && v.IsNil()) {
		return scalar("!!null", "null"), nil
	}
	switch x := v.Interface().(type) {
	case Node:
		return x.bare(), nil
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			return nil, err
		}
		return text(string(b))
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return encode(v.Elem())
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Map:
		return encodeMap(v)
	case reflect.Slice, reflect.Array:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			child, err := encode(v.Index(i))
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list.Content = append(list.Content, child)
		}
		return list, nil
	}
	return encodeScalar(v)
}

func encodeScalar(v reflect.Value) (*yaml.Node, error) {
	switch {
	case v.Kind() == reflect.String:
		return text(v.String())
	case v.Kind() == reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool())), nil
	case v.CanInt():
		return scalar("!!int", strconv.FormatInt(v.Int(), 10)), nil
	case v.CanUint():
		return scalar("!!int", strconv.FormatUint(v.Uint(), 10)), nil
	case v.CanFloat() && !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0):
		return scalar("", strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())), nil
	case v.CanFloat():
		return nil, fmt.Errorf("%v is not a finite number", v.Float())
	}
	return nil, fmt.Errorf("values of type %s are not supported", v.Type())
}

func encodeStruct(v reflect.Value) (*yaml.Node, error) {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.index)
		if f.omitEmpty && (value.IsZero() || (slices.Contains([]reflect.Kind{reflect.Map, reflect.Slice}, value.Kind()) && value.Len() == 0)) {
			continue
		}
		if err := addEntry(m, f.name, value); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func encodeMap(v reflect.Value) (*yaml.Node, error) {
	entries := map[string]reflect.Value{}
	for it := v.MapRange(); it.Next(); {
		key, err := encode(it.Key())
		if err != nil {
			return nil, err
		}
		entries[key.Value] = it.Value()
	}
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := addEntry(m, name, entries[name]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func addEntry(m *yaml.Node, name string, value reflect.Value) error {
	key, err := text(name)
	if err != nil {
		return err
	}
	child, err := encode(value)
	if err != nil {
		return fmt.Errorf("%s: %w", showPath(name), err)
	}
	m.Content = append(m.Content, key, child)
	return nil
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// plainText matches texts that no reader of YAML takes for anything but a text, but for the words.
var plainText = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./-]*$`)

// text returns a text, in quotes unless it is sure to be one without.
func text(s string) (*yaml.Node, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%s is not UTF-8", show(s))
	}
	y := scalar("!!str", s)
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		y.Style = yaml.DoubleQuotedStyle
	default:
		if !plainText.MatchString(s) {
			y.Style = yaml.DoubleQuotedStyle
		}
	}
	return y, nil
}

// bare returns the node's tree without comments and without the keys that are its parent's.
func (n Node) bare() *yaml.Node {
	if n.IsZero() {
		return scalar("!!null", "null")
	}
	y := &yaml.Node{Kind: n.y.Kind, Tag: n.y.ShortTag(), Value: n.y.Value, Style: n.y.Style & yaml.FlowStyle}
	if n.y.Kind == yaml.ScalarNode && n.quoted() {
		y.Style = yaml.DoubleQuotedStyle
	}
	entries, err := n.Entries()
	if err != nil { // no map
		for _, item := range n.children() {
			y.Content = append(y.Content, item.bare())
		}
		return y
	}
	for _, e := range entries {
		key := scalar("!!str", e.Key)
		key.Style = yaml.DoubleQuotedStyle
		if plain, err := text(e.Key); err == nil {
			key = plain
		}
		y.Content = append(y.Content, key, e.Value.bare())
	}
	return y
}
