package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// ID is the id of a request or command as its JSON token: 1241 or "abc". It is echoed to the letter, but that <, > and & in a
// text are written as encoding/json does; "" means none.
type ID string

// MarshalJSON writes the token itself, or null.
func (id ID) MarshalJSON() ([]byte, error) {
	if id == "" {
		return []byte("null"), nil
	}
	return []byte(id), nil
}

// MaxID is the length of the longest id accepted, in bytes of JSON.
const MaxID = 64

// UnmarshalJSON takes a number or a string of at most MaxID bytes; null means none.
func (id *ID) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch {
	case !json.Valid(b):
		return Errorf(CodeBadPayload, "id %.16q is not JSON", b)
	case string(b) == "null":
		*id = ""
	case len(b) > MaxID:
		return Errorf(CodeBadPayload, "id has %d bytes, at most %d are allowed", len(b), MaxID)
	case b[0] == '"' || b[0] == '-' || (b[0] >= '0' && b[0] <= '9'):
		var escaped bytes.Buffer // as json.Marshal will, so that an id equals its echo
		json.HTMLEscape(&escaped, b)
		if escaped.Len() > MaxID {
			return Errorf(CodeBadPayload, "id has %d bytes as it is echoed, at most %d are allowed", escaped.Len(), MaxID)
		}
		*id = ID(escaped.String())
	default:
		return Errorf(CodeBadPayload, "id %.16q is neither a number nor a string", b)
	}
	return nil
}

// Command is one thing that a service is told, parsed.
type Command struct {
	ID    ID
	Verb  string         // get, set, control or setup
	Path  string         // the point, or a branch for get; "" for control and setup
	Value any            // what set is to set; for control and setup the document as []byte
	Args  map[string]any // further keys of a set's JSON object, such as "for"
	Reply string         // a topic that the result goes to as well, or ""
}

// Result is the one answer to a command.
type Result struct {
	ID    ID     `json:"id"`
	OK    bool   `json:"ok"`
	Data  any    `json:"data,omitempty"`
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
	Verb  string `json:"verb,omitempty"`
	Path  string `json:"path,omitempty"`
}

// Failed returns the result that refuses c because of err.
func Failed(c Command, err error) Result {
	return Result{ID: c.ID, Error: err.Error(), Code: CodeOf(err), Verb: c.Verb, Path: c.Path}
}

// Done returns the result that says c was carried out, with what it returned.
func Done(c Command, data any) Result {
	return Result{ID: c.ID, OK: true, Data: data, Verb: c.Verb, Path: c.Path}
}

// ParseCommand makes a command of a verb, a path and a payload as they came in on a command topic (PROTOCOL.md §3). With an
// error it returns what it could read, so that the refusal reaches the sender with its id and on its reply topic.
//
// A set takes a bare value or {"value":…,"id":…,"reply":…, further keys}; a get an empty payload or {"id":…,"reply":…};
// control and setup take a document, which is returned to the letter, or {"value":<document or its text>,"id":…,"reply":…}.
func ParseCommand(verb, path string, payload []byte) (Command, error) {
	c := Command{Verb: verb, Path: path}
	if len(payload) > MaxPayload {
		return c, Errorf(CodeTooLarge, "payload has %d bytes, at most %d are allowed", len(payload), MaxPayload)
	}
	if !utf8.Valid(payload) {
		return c, Errorf(CodeBadPayload, "payload is not UTF-8")
	}
	doc := payload
	payload = bytes.TrimSpace(payload)
	fields, object := parseObject(payload)
	if verb == "control" && object && fields["verb"] != nil {
		if err := c.envelope(fields, payload); err != nil {
			return c, err
		}
		c.Value = doc // the service itself reads the block; id and reply are ours
		return c, nil
	}
	_, hasValue := fields["value"]
	switch {
	case verb == "get" && len(payload) == 0:
		return c, nil
	case verb == "get" && !object:
		return c, Errorf(CodeBadPayload, `get takes an empty payload or {"id":…,"reply":…}, not %.40q`, payload)
	case verb != "get" && !(object && hasValue):
		c.Value = doc // leading blanks and line numbers mean something in YAML
		if verb == "set" {
			c.Value = string(payload)
		}
		return c, nil
	}
	if err := c.envelope(fields, payload); err != nil {
		return c, err
	}
	delete(fields, "id")
	delete(fields, "reply")
	if verb == "get" {
		return c, unknownKeys(fields, "id and reply")
	}
	raw := fields["value"]
	delete(fields, "value")
	v, err := decodeNumber(raw)
	if err != nil {
		return c, Errorf(CodeBadPayload, "value: %w", err)
	}
	if verb != "set" {
		c.Value = []byte(raw)
		if s, ok := v.(string); ok {
			c.Value = []byte(s)
		}
		return c, unknownKeys(fields, "id, reply and value")
	}
	c.Value = v
	c.Args, err = arguments(fields)
	return c, err
}

// arguments decodes the further keys of a set.
func arguments(fields map[string]json.RawMessage) (map[string]any, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(fields))
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		v, err := decodeNumber(fields[k])
		if err != nil {
			return nil, Errorf(CodeBadPayload, "%.40q: %w", k, err)
		}
		out[k] = v
	}
	return out, nil
}

// envelope takes id and reply out of a JSON object, and refuses one in which a key stands twice, however deep.
func (c *Command) envelope(fields map[string]json.RawMessage, object []byte) error {
	if raw := fields["id"]; raw != nil {
		if err := c.ID.UnmarshalJSON(raw); err != nil {
			return err
		}
	}
	if raw := fields["reply"]; raw != nil {
		var reply string
		if err := json.Unmarshal(raw, &reply); err != nil {
			return Errorf(CodeBadPayload, "reply %.40q is not a string", raw)
		}
		if err := ValidReply(reply); err != nil {
			return err
		}
		c.Reply = reply
	}
	if key, twice := keyTwice(object); twice {
		return Errorf(CodeBadPayload, "key %.40q stands twice", key)
	}
	return nil
}

// keyTwice returns the first key that stands twice in one object of a JSON document, which is known to be one and no deeper than
// MaxDepth.
func keyTwice(doc []byte) (string, bool) {
	type level struct {
		keys map[string]bool // nil: a list
		key  bool            // a key is next, not a value
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var in []level
	for {
		token, err := d.Token()
		if err != nil {
			return "", false
		}
		if n := len(in) - 1; n >= 0 && in[n].keys != nil {
			if name, ok := token.(string); ok && in[n].key {
				if in[n].keys[name] {
					return name, true
				}
				in[n].keys[name] = true
				in[n].key = false
				continue
			}
			in[n].key = true // after this value
		}
		switch token {
		case json.Delim('{'):
			in = append(in, level{map[string]bool{}, true})
		case json.Delim('['):
			in = append(in, level{})
		case json.Delim('}'), json.Delim(']'):
			in = in[:len(in)-1]
		}
	}
}

func unknownKeys(fields map[string]json.RawMessage, known string) error {
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		return Errorf(CodeBadPayload, "unknown key %.40q; %s are known", k, known)
	}
	return nil
}

// parseObject reads a JSON object one level deep; ok is false if b is not one.
func parseObject(b []byte) (fields map[string]json.RawMessage, ok bool) {
	if len(b) == 0 || b[0] != '{' || Depth(b) > MaxDepth || json.Unmarshal(b, &fields) != nil {
		return nil, false
	}
	return fields, true
}

// decodeNumber decodes one JSON value, keeping numbers as json.Number.
func decodeNumber(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// MaxDepth is how deep JSON from outside may nest.
const MaxDepth = 32

// Depth returns how deep the brackets of b nest, strings left out; it never recurses.
func Depth(b []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}
