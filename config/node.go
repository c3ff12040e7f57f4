package config

import (
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Node is a part of a YAML document that remembers its file and lines. The zero Node is an empty document. A field of this
// type takes whatever stands in the document, undecoded.
type Node struct {
	file string
	path string     // where it stands in the document, for errors
	line int        // of its key; of the document's first node at the top
	y    *yaml.Node // nil: an empty document
	own  []string   // keys of the map that are its parent's and not the node's: see Without
}

// Entry is a key of a map with its value.
type Entry struct {
	Key   string
	Value Node
}

// Path returns where the node stands in its document, such as agents.gpio; "" is the document itself.
func (n Node) Path() string { return n.path }

// IsZero reports whether nothing stands there: an empty document, or a key without a value.
func (n Node) IsZero() bool {
	return n.y == nil || (n.y.Kind == yaml.ScalarNode && n.y.ShortTag() == "!!null")
}

// Without returns the node of a map without the keys; they remain known to Decode, which passes over them.
func (n Node) Without(keys ...string) Node {
	n.own = slices.Concat(n.own, keys)
	return n
}

// Entries returns the keys and values of a map in the order of the document; nothing has no entries, and anything but a map is
// an error.
func (n Node) Entries() ([]Entry, error) {
	if n.IsZero() {
		return nil, nil
	}
	if n.y.Kind != yaml.MappingNode {
		return nil, n.mismatch("a map")
	}
	var out []Entry
	for i := 0; i+1 < len(n.y.Content); i += 2 {
		k := n.y.Content[i]
		if slices.Contains(n.own, k.Value) {
			continue
		}
		child := Node{file: n.file, path: joinPath(n.path, k.Value), line: k.Line, y: n.y.Content[i+1]}
		out = append(out, Entry{Key: k.Value, Value: child})
	}
	return out, nil
}

// items returns the elements of a list.
func (n Node) items() []Node {
	out := make([]Node, len(n.y.Content))
	for i, y := range n.y.Content {
		out[i] = Node{file: n.file, path: n.path + "[" + strconv.Itoa(i) + "]", line: y.Line, y: y}
	}
	return out
}

// Line returns the line of the value at the dotted path ("outputs.pump.pin", "interlocks[1]"), or of the closest parent that
// is there. The line of a value in a map is that of its key.
func (n Node) Line(path string) int {
	found, _ := n.find(path)
	return found.line
}

// Has reports whether the document has something at the dotted path.
func (n Node) Has(path string) bool {
	found, whole := n.find(path)
	return whole && !found.IsZero()
}

// find returns the node at the dotted path, or the closest parent that is there with whole false. Keys may have dots in them.
func (n Node) find(path string) (found Node, whole bool) {
	if path == "" {
		return n, true
	}
	found = n
	for _, child := range n.children() {
		key := strings.TrimPrefix(child.path[len(n.path):], ".")
		rest, ok := strings.CutPrefix(path, key)
		if !ok || key == "" || (rest != "" && rest[0] != '.' && rest[0] != '[') {
			continue
		}
		deeper, all := child.find(strings.TrimPrefix(rest, "."))
		if all {
			return deeper, true
		}
		if len(deeper.path) > len(found.path) {
			found = deeper
		}
	}
	return found, false
}

// children returns the values of a map or the elements of a list.
func (n Node) children() []Node {
	if n.IsZero() {
		return nil
	}
	if n.y.Kind == yaml.SequenceNode {
		return n.items()
	}
	entries, err := n.Entries()
	if err != nil {
		return nil // a scalar has none
	}
	out := make([]Node, len(entries))
	for i, e := range entries {
		out[i] = e.Value
	}
	return out
}

// Equal reports whether both nodes say the same, whatever their files, lines, comments and ways of writing.
func (n Node) Equal(other Node) bool {
	if n.IsZero() || other.IsZero() {
		return n.IsZero() == other.IsZero()
	}
	if n.y.Kind != other.y.Kind || n.y.ShortTag() != other.y.ShortTag() || n.y.Value != other.y.Value {
		return false
	}
	a, errA := n.Entries()
	b, errB := other.Entries()
	if errA != nil || errB != nil { // no maps
		return slices.EqualFunc(n.children(), other.children(), Node.Equal)
	}
	return slices.EqualFunc(a, b, func(a, b Entry) bool { return a.Key == b.Key && a.Value.Equal(b.Value) })
}

// kindWords says in plain words what stands in the document.
func (n Node) kindWords() string {
	if n.IsZero() {
		return "nothing"
	}
	switch n.y.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.y.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "a text"
}

// mismatch returns the error that something else is wanted here.
func (n Node) mismatch(want string) error {
	return n.Errorf("", "%s stands where %s is wanted", n.kindWords(), want)
}
