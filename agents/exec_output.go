package agents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"rollcall/reports"
)

// execText returns output that is one number or word: a line, without the space around it.
func execText(out []byte) (string, error) {
	s := string(bytes.TrimSpace(out))
	switch {
	case s == "":
		return "", errors.New("the command has printed nothing")
	case !utf8.ValidString(s):
		return "", fmt.Errorf("the command has printed %.40q, which is no UTF-8", s)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("the command has printed %.40q, which is more than one number or word", s)
	}
	return s, nil
}

// execObject reads output that is one JSON object.
func execObject(out []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, errors.New("the command has printed nothing")
	}
	if !utf8.Valid(out) {
		return nil, errors.New("the command has printed something that is no UTF-8")
	}
	if reports.Depth(out) > reports.MaxDepth {
		return nil, fmt.Errorf("the command has printed JSON that is nested more than %d deep", reports.MaxDepth)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil || doc == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return nil, fmt.Errorf("the command has printed %.40q, which is no JSON object: %w", bytes.TrimSpace(out), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the command has printed more than one JSON object")
	}
	return doc, nil
}

// execPointer splits the name of a field: one that begins with a slash is a JSON Pointer (RFC 6901), any other a key.
func execPointer(field string) ([]string, error) {
	if !strings.HasPrefix(field, "/") {
		return []string{field}, nil
	}
	keys := strings.Split(field[1:], "/")
	for i, k := range keys {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(k), "~") {
			return nil, fmt.Errorf("%.60q: after ~ must stand 0 or 1 (RFC 6901)", field)
		}
		keys[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(k)
	}
	return keys, nil
}

// execPick takes the value of the point from what was printed: the field of an object, or all of a text.
func execPick(p reports.Point, doc any, field string) (any, error) {
	v := doc
	if _, text := doc.(string); !text {
		keys, err := execPointer(field)
		if err != nil {
			return nil, err
		}
		if v, err = execFind(doc, keys); err != nil {
			return nil, fmt.Errorf("field %.60q: %w", field, err)
		}
	}
	if v == nil {
		return nil, fmt.Errorf("field %.60q is null", field)
	}
	if n, ok := v.(json.Number); ok && p.Type == reports.String {
		v = n.String()
	}
	got, err := p.ParseValue(v)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), p.Path+": "))
	}
	if got == reports.Toggle {
		return nil, errors.New(`"toggle" is not a value of type bool`)
	}
	return got, nil
}

// execFind follows the keys.
func execFind(v any, keys []string) (any, error) {
	for _, k := range keys {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[k]
			if !ok {
				return nil, fmt.Errorf("there is no %.60q in what the command has printed", k)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(k)
			if err != nil || i < 0 || i >= len(in) || strconv.Itoa(i) != k {
				return nil, fmt.Errorf("%.60q is not one of the %d of a list", k, len(in))
			}
			v = in[i]
		default:
			return nil, fmt.Errorf("%.60q stands below something that is neither object nor list", k)
		}
	}
	return v, nil
}

// execSaid returns the first line of what a command wrote to its standard error, for an error, or nothing.
func execSaid(stderr []byte) string {
	lines := slices.DeleteFunc(strings.Split(string(stderr), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf(" and says %.200q", strings.TrimSpace(lines[0]))
}
