package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printYAML prints v as YAML that is safe on a terminal.
func printYAML(w io.Writer, v any) error {
	doc, err := toYAML(v)
	if err != nil {
		return err
	}
	_, err = w.Write(doc)
	return err
}

// toYAML returns v as YAML, with the names, the order and the digits of its JSON. Every reader of YAML 1.1 or 1.2 understands it
// alike: what could be taken for anything but a text stands in quotes.
func toYAML(v any) ([]byte, error) {
	var doc bytes.Buffer
	e := json.NewEncoder(&doc)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	d := json.NewDecoder(&doc)
	d.UseNumber()
	var y yamlWriter
	if err := y.value(d, 0, ""); err != nil {
		return nil, err
	}
	return y.out.Bytes(), nil
}

// longestKey is how many bytes the name of a field may have without a mark of its own (YAML 1.2.2 §7.4.2: 1024 characters).
const longestKey = 1000

// yamlWriter writes the tokens of a JSON document as YAML in block style.
type yamlWriter struct{ out bytes.Buffer }

// value writes the next value, behind what stands in its line already: before, which is "" or ends in "-" or ":".
func (y *yamlWriter) value(d *json.Decoder, indent int, before string) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	y.out.WriteString(before)
	space := " "
	if before == "" {
		space = ""
	}
	switch v := t.(type) {
	case json.Delim:
		if !d.More() {
			y.out.WriteString(space + map[json.Delim]string{'[': "[]\n", '{': "{}\n"}[v])
			_, err := d.Token()
			return err
		}
		return y.children(d, v, indent, before)
	case string:
		y.out.WriteString(space)
		y.text(v, indent)
	case json.Number:
		y.out.WriteString(space + yamlNumber(v.String()) + "\n")
	case bool:
		y.out.WriteString(space + strconv.FormatBool(v) + "\n")
	case nil:
		y.out.WriteString(space + "null\n")
	}
	return nil
}

// children writes the elements of a list or the fields of an object, the first of them in the line of a dash.
func (y *yamlWriter) children(d *json.Decoder, open json.Delim, indent int, before string) error {
	inline := strings.HasSuffix(before, "-")
	if before != "" && !inline {
		y.out.WriteByte('\n')
	}
	for first := true; d.More(); first = false {
		lead := strings.Repeat(" ", indent)
		if first && inline {
			lead = " "
		}
		if open == '[' {
			if err := y.value(d, indent+2, lead+"-"); err != nil {
				return err
			}
			continue
		}
		key, err := d.Token()
		if err != nil {
			return err
		}
		name := yamlText(key.(string))
		if len(name) > longestKey {
			name = "? " + name + "\n" + strings.Repeat(" ", indent)
		}
		y.out.WriteString(lead)
		if err := y.value(d, indent+2, name+":"); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// text writes a text: as it is, in quotes, or as a block if it has several lines that a person can read.
func (y *yamlWriter) text(s string, indent int) {
	if !isYAMLBlock(s) {
		y.out.WriteString(yamlText(s) + "\n")
		return
	}
	chomp := "-"
	if strings.HasSuffix(s, "\n") {
		chomp = ""
	}
	indent = max(indent, 2) // a document that is a text
	y.out.WriteString("|" + chomp + "\n")
	for line := range strings.Lines(s) {
		if line != "\n" {
			y.out.WriteString(strings.Repeat(" ", indent))
		}
		y.out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
}

// isYAMLBlock reports whether a text can be a literal block: several lines of printable text, of which the first does not begin
// with a space and the last is not empty.
func isYAMLBlock(s string) bool {
	body := strings.TrimSuffix(s, "\n")
	if !strings.Contains(s, "\n") || body == "" || strings.HasSuffix(body, "\n") || strings.ContainsAny(s[:1], " \n\t") || !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) || r == '\ufeff' }) < 0
}

// yamlText returns a text in one line, in quotes unless no reader could take it for anything else.
func yamlText(s string) string {
	if s == "" || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/_", rune(s[0])) || strings.HasSuffix(s, " ") {
		return yamlQuoted(s)
	}
	for _, r := range s {
		if r < utf8.RuneSelf && !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 /_.+-()", r) ||
			r >= utf8.RuneSelf && !unicode.IsLetter(r) && r != '°' {
			return yamlQuoted(s)
		}
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf":
		return yamlQuoted(s)
	}
	return s
}

// yamlQuoted returns a text in double quotes.
func yamlQuoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// yamlNumber returns a number of JSON as YAML 1.1 has it as well: with a point and a sign where there is an exponent.
func yamlNumber(s string) string {
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return s
	}
	mantissa, exponent := s[:i], s[i+1:]
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if exponent[0] != '-' && exponent[0] != '+' {
		exponent = "+" + exponent
	}
	return mantissa + "e" + exponent
}
