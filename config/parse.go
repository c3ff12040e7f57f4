package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Limits of a document that comes over the network (ParseNode); files have them too.
const (
	MaxBytes = 64 * 1024
	MaxNodes = 10_000
	MaxDepth = 16

	maxKey = 256 // bytes of a key in a map
)

// ParseNode reads one YAML or JSON document. It refuses aliases and anchors (a billion laughs), duplicate keys, custom tags,
// a second document, and anything beyond the limits. A byte order mark is passed over.
func ParseNode(name string, doc []byte) (Node, error) {
	if len(doc) > MaxBytes {
		return Node{}, &Error{File: name, Text: fmt.Sprintf("has %d bytes, at most %d are allowed", len(doc), MaxBytes)}
	}
	doc = bytes.TrimPrefix(doc, []byte("\uFEFF"))
	if err := checkBytes(name, doc); err != nil {
		return Node{}, err
	}
	read := readYAML
	if trimmed := bytes.TrimSpace(doc); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(doc) {
		read = readJSON // YAML 1.1 lacks surrogate pairs and, in places, tabs
	}
	y, err := read(name, doc)
	if err != nil || y == nil {
		return Node{file: name}, err
	}
	n := Node{file: name, line: y.Line, y: y}
	nodes := 0
	if err := n.check(1, &nodes); err != nil {
		return Node{}, err
	}
	return n, nil
}

// checkBytes refuses what is no text at all: bytes that are not UTF-8, and control characters.
func checkBytes(name string, doc []byte) error {
	line := 1
	for i := 0; i < len(doc); {
		r, size := utf8.DecodeRune(doc[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Error{File: name, Line: line, Text: fmt.Sprintf("byte %#02x is not UTF-8", doc[i])}
		case r == '\n':
			line++
		case r == '\t' || r == '\r' || (r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) && r != 0x2028 && r != 0x2029 && r != 0xfeff):
		default: // U+0085, U+2028 and U+2029 would be line breaks that no editor counts
			return &Error{File: name, Line: line, Text: fmt.Sprintf("character %U is not allowed", r)}
		}
		i += size
	}
	return nil
}

// readYAML returns the one document, or nil for an empty one.
func readYAML(name string, doc []byte) (*yaml.Node, error) {
	first, second, err := decodeYAML(doc)
	if err != nil {
		line := errorLine(doc, err.Error())
		return nil, &Error{File: name, Line: line, Text: plainSyntax(bytes.Split(doc, []byte("\n"))[line-1], err.Error())}
	}
	if second != nil {
		return nil, &Error{File: name, Line: max(second.Line, 1), Text: "a second document begins here; one is allowed"}
	}
	if first == nil || len(first.Content) == 0 {
		return nil, nil
	}
	return first.Content[0], nil
}

// decodeYAML returns the first two documents. yaml.v3 has places that panic with "please report"; they must not end a daemon
// that reads a document from the network.
func decodeYAML(doc []byte) (first, second *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			first, second, err = nil, nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(doc))
	for _, to := range []**yaml.Node{&first, &second} {
		var y yaml.Node
		if err := d.Decode(&y); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		*to = &y
	}
	return first, second, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (line \d+: )?`)

// errorLine returns the line at which the document becomes unreadable: the fewest lines that fail with the same message. The
// lines that yaml.v3 names itself are off by one for some errors, and missing for others.
func errorLine(doc []byte, message string) int {
	message = yamlLine.ReplaceAllString(message, "")
	lines := bytes.SplitAfter(doc, []byte("\n"))
	return 1 + sort.Search(len(lines)-1, func(k int) bool {
		_, _, err := decodeYAML(bytes.Join(lines[:k+1], nil))
		return err != nil && yamlLine.ReplaceAllString(err.Error(), "") == message
	})
}

// plainSyntax returns a syntax error of yaml.v3 at the line in words that say what to do.
func plainSyntax(line []byte, message string) string {
	text := bytes.TrimLeft(line, " ")
	message = yamlLine.ReplaceAllString(message, "")
	switch {
	case len(text) > 0 && text[0] == '\t':
		return "the line is indented with a tab; YAML takes spaces only"
	case strings.HasPrefix(message, "exceeded max depth"):
		return fmt.Sprintf("nests more than %d deep", MaxDepth)
	case strings.HasPrefix(message, "unknown anchor"):
		return "aliases (*name) are not allowed"
	}
	return "not YAML: " + message
}

// readJSON returns a document that is known to be valid JSON.
func readJSON(name string, doc []byte) (*yaml.Node, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	j := jsonReader{name: name, doc: doc, d: d, line: 1}
	return j.value(1)
}

type jsonReader struct {
	name string
	doc  []byte
	d    *json.Decoder
	seen int64 // offset that line counts to
	line int
}

// value reads the next value; the end of a list or map is nil.
func (j *jsonReader) value(depth int) (*yaml.Node, error) {
	if depth > MaxDepth {
		return nil, tooDeep(j.name, j.line)
	}
	token, err := j.d.Token()
	if err != nil {
		return nil, &Error{File: j.name, Line: j.line, Text: "not JSON: " + err.Error()}
	}
	at := j.d.InputOffset()
	j.line += bytes.Count(j.doc[j.seen:at], []byte("\n"))
	j.seen = at
	y := &yaml.Node{Kind: yaml.ScalarNode, Line: j.line}
	switch t := token.(type) {
	case json.Delim:
		if t == ']' || t == '}' {
			return nil, nil
		}
		y.Kind, y.Tag = yaml.MappingNode, "!!map"
		if t == '[' {
			y.Kind, y.Tag = yaml.SequenceNode, "!!seq"
		}
		for {
			child, err := j.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if child == nil {
				return y, nil
			}
			y.Content = append(y.Content, child)
		}
	case string:
		y.Tag, y.Style, y.Value = "!!str", yaml.DoubleQuotedStyle, t
	case json.Number:
		y.Value = t.String()
	case bool:
		y.Tag, y.Value = "!!bool", fmt.Sprint(t)
	case nil:
		y.Tag, y.Value = "!!null", "null"
	}
	return y, nil
}

func tooDeep(name string, line int) error {
	return &Error{File: name, Line: line, Text: fmt.Sprintf("nests more than %d deep", MaxDepth)}
}

// check refuses what YAML allows and this package does not, in the node and all below it.
func (n Node) check(depth int, nodes *int) error {
	y := n.y
	fail := func(format string, args ...any) error {
		return &Error{File: n.file, Line: y.Line, Text: fmt.Sprintf(format, args...)}
	}
	*nodes++
	switch {
	case *nodes > MaxNodes:
		return fail("has more than %d values", MaxNodes)
	case depth > MaxDepth:
		return tooDeep(n.file, y.Line)
	case y.Kind == yaml.AliasNode:
		return fail("aliases (*%s) are not allowed", cut(y.Value, maxShownValue))
	case y.Anchor != "":
		return fail("anchors (&%s) are not allowed", cut(y.Anchor, maxShownValue))
	case y.Style&yaml.TaggedStyle != 0:
		return fail("tags (%s) are not allowed", cut(y.Tag, maxShownValue))
	case y.Kind == yaml.MappingNode:
		if err := n.checkKeys(nodes); err != nil {
			return err
		}
	}
	for _, child := range n.children() {
		if err := child.check(depth+1, nodes); err != nil {
			return err
		}
	}
	return nil
}

// checkKeys refuses keys that are no text, merge keys and keys that stand twice.
func (n Node) checkKeys(nodes *int) error {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.y.Content); i += 2 {
		k := n.y.Content[i]
		key := Node{file: n.file, path: n.path, line: k.Line, y: k}
		if k.Kind != yaml.ScalarNode && k.Kind != yaml.AliasNode {
			return key.Errorf("", "%s stands where a key is wanted", key.kindWords())
		}
		if k.Tag == "!!merge" && k.Style&yaml.TaggedStyle == 0 {
			return key.Errorf("", "merge keys (<<) are not allowed")
		}
		if err := key.check(1, nodes); err != nil {
			return err
		}
		if key.IsZero() || k.Value == "" {
			return key.Errorf("", "a key is empty")
		}
		if len(k.Value) > maxKey {
			return key.Errorf("", "a key has %d bytes, at most %d are allowed", len(k.Value), maxKey)
		}
		if first, ok := lines[k.Value]; ok {
			key.path = joinPath(n.path, k.Value)
			return key.Errorf("", "stands twice; first on line %d", first)
		}
		lines[k.Value] = k.Line
	}
	return nil
}
