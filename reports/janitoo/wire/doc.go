// Package wire has the words of Janitoo's protocol on MQTT: addresses, topics, requests, replies, nodes, values, heartbeats, and the
// numbers of genres, types, command classes and capabilities. It parses what others send, bounded and tolerant as Janitoo's own programs
// are, and writes what they read, key for key. It does no I/O.
//
// Source of all topics, keys and numbers: JANITOO.md §1–§3, taken from runs of Janitoo's own servers and clients.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"rollcall/reports"
)

// Bounds of what is accepted, in bytes.
const (
	MaxRequest = reports.MaxPayload // of a request, a heartbeat, or the message of a value
	MaxReply   = 8 << 20            // of a discovery reply: a controller with thousands of values
	MaxUUID    = 128                // of a value's or a node's uuid
)

// ErrMalformed is wrapped by every error of a parser of this package.
var ErrMalformed = errors.New("not Janitoo's protocol")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// object reads a JSON object of at most most bytes one level deep.
func object(b []byte, most int) (map[string]json.RawMessage, error) {
	switch {
	case len(b) > most:
		return nil, malformed("%d bytes, at most %d are read", len(b), most)
	case reports.Depth(b) > reports.MaxDepth:
		return nil, malformed("nested deeper than %d", reports.MaxDepth)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(b, &out); err != nil || out == nil {
		return nil, malformed("%.40q is no JSON object", b)
	}
	return out, nil
}

// decode returns any JSON value, numbers as json.Number, so that 15.0 stays apart from 15; nil for none.
func decode(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] { // most values are simple, and a network has many
	case 'n':
		return nil
	case 't', 'f':
		return raw[0] == 't'
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return nil // it was parsed as a part of an object
		}
		return s
	case '{', '[':
	default:
		return json.Number(raw)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil // it was parsed as a part of an object
	}
	return v
}

// text returns a JSON string, and nil for null and all else.
func text(raw json.RawMessage) *string {
	s, ok := decode(raw).(string)
	if !ok {
		return nil
	}
	return &s
}

// integer returns a JSON number without a fraction, and whether it is one.
func integer(raw json.RawMessage) (int, bool) {
	n, ok := decode(raw).(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	if err != nil || f != float64(int32(f)) {
		return 0, false
	}
	return int(f), true
}

// truth returns a flag as Janitoo's servers read one: a bool, a number, or a text of which 0, false, off and no are false.
func truth(raw json.RawMessage) bool {
	switch v := decode(raw).(type) {
	case bool:
		return v
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	case string:
		return Truth(v)
	}
	return false
}

// number returns a JSON number as it was written, "0" for all else.
func number(raw json.RawMessage) json.Number {
	if n, ok := decode(raw).(json.Number); ok {
		return n
	}
	return "0"
}

// Float returns a finite number as Python writes a float: 15 as 15.0.
func Float(f float64) json.Number {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if a := strings.TrimPrefix(s, "-"); len(a) > 21 {
		s = strconv.FormatFloat(f, 'g', -1, 64)
	}
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}

// Int returns a whole number.
func Int(i int64) json.Number { return json.Number(strconv.FormatInt(i, 10)) }

// Text returns the text, "" for nil.
func Text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Ptr returns a pointer to the text.
func Ptr(s string) *string { return &s }

// Marshal writes JSON as Janitoo does: ASCII, all else as \uXXXX. It panics on what is no JSON; only values that were parsed here or
// made of strings and numbers stand in it.
func Marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	in := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if !bytes.ContainsFunc(in, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return in
	}
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		r, n := utf8.DecodeRune(in)
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		in = in[n:]
	}
	return out
}
