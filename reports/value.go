package reports

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Reading is a value of a point at a time.
type Reading struct {
	Path  string    `json:"path"`
	Value any       `json:"value"` // of the Go type that the point's Type names
	Unit  string    `json:"unit,omitempty"`
	Time  time.Time `json:"time"`
	Stale bool      `json:"stale,omitempty"` // older than the point's source should let it get
}

// MarshalJSON writes the reading with its value as it stands on the wire: a bool as "ON" or "OFF".
func (r Reading) MarshalJSON() ([]byte, error) {
	type plain Reading
	if b, ok := r.Value.(bool); ok {
		r.Value = FormatValue(b)
	}
	return json.Marshal(plain(r))
}

// toggle is the type of Toggle.
type toggle struct{}

// Toggle is the value of a bool point that asks for the opposite of what is. The runner resolves it but for agents that do so themselves.
var Toggle = toggle{}

// FormatValue returns v as it stands in the payload of a state topic: a bool as ON or OFF, a number in decimal without an
// exponent, a string as it is, anything else as JSON.
func FormatValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "ON"
		}
		return "OFF"
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "" // only values that came from JSON or an agent's own structs stand here
	}
	return string(b)
}

// ParseValue checks v, which is what a payload held (a string for a bare payload; a bool, json.Number, string, map or slice
// from JSON; any Go number from YAML), against the point and returns it in the Go type of the point's Type. A bool point
// takes ON, OFF, TOGGLE, 1, 0, true and false in any case; TOGGLE returns Toggle. A json point takes a text for the JSON that it
// holds, or for itself where it holds none.
func (p Point) ParseValue(v any) (any, error) {
	wrong := func() error {
		return Errorf(CodeWrongType, "%s: %s is not a value of type %s", p.Path, quoteShort(v), p.Type)
	}
	switch p.Type {
	case Bool:
		if b, ok := v.(bool); ok {
			return b, nil
		}
		switch strings.ToLower(numberText(v)) {
		case "on", "1", "true":
			return true, nil
		case "off", "0", "false":
			return false, nil
		case "toggle":
			return Toggle, nil
		}
		return nil, wrong()
	case Int:
		n, err := strconv.ParseInt(numberText(v), 10, 64)
		if err != nil {
			f, ferr := parseFloat(numberText(v))
			if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
				return nil, wrong()
			}
			n = int64(f)
		}
		return n, p.inRange(float64(n))
	case Float:
		f, err := parseFloat(numberText(v))
		if err != nil {
			return nil, wrong()
		}
		return f, p.inRange(f)
	case String, Enum:
		s, ok := v.(string)
		if !ok || !utf8.ValidString(s) {
			return nil, wrong()
		}
		if p.Type == Enum && !slices.Contains(p.Options, s) {
			return nil, Errorf(CodeOutOfRange, "%s: %s is none of %s", p.Path, quoteShort(s), strings.Join(p.Options, ", "))
		}
		return s, nil
	case JSON:
		s, ok := v.(string)
		if !ok {
			return v, nil
		}
		if !utf8.ValidString(s) || Depth([]byte(s)) > MaxDepth {
			return nil, wrong()
		}
		if decoded, err := decodeNumber([]byte(s)); err == nil {
			return decoded, nil
		}
		return s, nil // words, as FormatValue writes them
	}
	return nil, wrong()
}

// Names reads a list of names from what ParseValue returned for a json point: a list, or a text that holds one without the quotes
// of JSON, as the original and people write it: [a,b] or a, b. One name is a list of one; the empty list is [] only.
func Names(v any) ([]string, error) {
	var items []string
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			items = append(items, numberText(item))
		}
	case []string:
		items = v
	case string:
		s := strings.TrimSpace(v)
		inner, open := strings.CutPrefix(s, "[")
		inner, closed := strings.CutSuffix(inner, "]")
		if open != closed {
			return nil, Errorf(CodeWrongType, "%s is not a list of names: a bracket is missing", quoteShort(v))
		}
		if open && strings.TrimSpace(inner) == "" {
			return []string{}, nil
		}
		for item := range strings.SplitSeq(inner, ",") {
			items = append(items, unquote(strings.TrimSpace(item)))
		}
	default:
		if items = []string{numberText(v)}; items[0] == "" {
			return nil, Errorf(CodeWrongType, "%s is not a list of names", quoteShort(v))
		}
	}
	names := make([]string, 0, len(items))
	for i, item := range items {
		if err := ValidName(item); err != nil {
			return nil, Errorf(CodeWrongType, "item %d of the list: %w", i+1, err)
		}
		if slices.Contains(names, item) {
			return nil, Errorf(CodeWrongType, "%q stands twice in the list", item)
		}
		names = append(names, item)
	}
	return names, nil
}

// unquote takes a pair of quotes off a word.
func unquote(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

func (p Point) inRange(f float64) error {
	if p.Min != nil && f < *p.Min {
		return Errorf(CodeOutOfRange, "%s: %s is less than %s", p.Path, FormatValue(f), FormatValue(*p.Min))
	}
	if p.Max != nil && f > *p.Max {
		return Errorf(CodeOutOfRange, "%s: %s is more than %s", p.Path, FormatValue(f), FormatValue(*p.Max))
	}
	return nil
}

// parseFloat reads a finite decimal number; it refuses what strconv also takes: hexadecimal, underscores, inf and nan.
func parseFloat(s string) (float64, error) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, strconv.ErrSyntax
	}
	return f, nil
}

// numberText returns the text of a value that may be a number or a word, or "" for any other.
func numberText(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}

// quoteShort quotes a value for an error, cut to a length that fits a line.
func quoteShort(v any) string {
	s := FormatValue(v)
	if n, ok := v.(json.Number); ok {
		s = n.String()
	}
	if len(s) > 40 {
		return strconv.Quote(strings.ToValidUTF8(s[:40], "")) + "…"
	}
	return strconv.Quote(s)
}
