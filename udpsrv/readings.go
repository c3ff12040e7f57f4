package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"rollcall/reports"
)

// reading is a reports.Reading with its value still in JSON, so that no digit of it changes.
type reading struct {
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
	Unit  string          `json:"unit"`
	Time  time.Time       `json:"time"`
	Stale bool            `json:"stale"`
}

// readings takes the data of a result apart: one reading, a list of them, an object of them by path, or a bare value. single is
// true for one reading and for a bare value.
func readings(data json.RawMessage) (list []reading, single bool) {
	data = bytes.TrimSpace(data)
	var one reading
	var fields map[string]json.RawMessage
	switch {
	case len(data) > 0 && data[0] == '[':
		if json.Unmarshal(data, &list) == nil && !slices.ContainsFunc(list, func(r reading) bool { return r.Path == "" }) {
			return list, false
		}
	case json.Unmarshal(data, &fields) != nil:
	case fields["value"] != nil && fields["path"] != nil && json.Unmarshal(data, &one) == nil:
		return []reading{one}, true
	case fields["value"] == nil && fields["path"] == nil:
		for _, path := range slices.Sorted(maps.Keys(fields)) {
			r := reading{}
			if json.Unmarshal(fields[path], &r) != nil || r.Value == nil {
				r = reading{Value: fields[path]}
			}
			r.Path = path
			list = append(list, r)
		}
		return list, false
	}
	return []reading{{Value: data}}, true
}

// printReadings prints the bare value of one point, that of a chip as a table; or a table of several. path is what was asked for.
func printReadings(w io.Writer, path string, data json.RawMessage, now time.Time) error {
	list, single := readings(data)
	if single || len(list) == 1 && list[0].Path == path {
		if c, ok := parseChip(list[0].Value); ok && path == pathChip {
			return c.print(w)
		}
		_, err := fmt.Fprintln(w, bare(list[0].Value))
		return err
	}
	t := newTable(w, column{head: "PATH"}, column{head: "VALUE"}, column{head: "UNIT", whole: true}, column{head: "AGE", whole: true, style: warningStyle("(stale)")})
	for _, r := range list {
		value := bare(r.Value)
		if c, ok := parseChip(r.Value); ok && r.Path == pathChip {
			value = c.String() // all of it would be a row as long as a page
		}
		t.add(r.Path, value, brief(r.Unit), r.age(now))
	}
	return t.flush()
}

// age says how old the reading is.
func (r reading) age(now time.Time) string {
	if r.Time.IsZero() {
		return "-"
	}
	age := max(0, now.Sub(r.Time)) // the clocks of two machines differ
	text := age.Round(time.Second).String()
	if age < time.Second {
		text = age.Round(time.Millisecond).String()
	}
	if r.Stale {
		text += " (stale)"
	}
	return text
}

// bare returns a JSON value as text: a string without its quotes, anything else as it is, all of it safe on a terminal.
func bare(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return clean(s)
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return clean(string(raw))
	}
	return string(reports.CleanJSON(b.Bytes()))
}

// printText prints a document that came as a JSON string exactly as it is, and any other as JSON, which is YAML too.
func printText(w io.Writer, data json.RawMessage) error {
	var s string
	if json.Unmarshal(data, &s) != nil {
		return printJSON(w, data)
	}
	_, err := io.WriteString(w, cleanDocument(s))
	return err
}
