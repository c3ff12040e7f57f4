package original

import (
	"errors"
	"slices"
	"strings"

	"rollcall/config"
	"rollcall/reports"
)

const keyDir = "Dir"

// pinKey is a key of a pin in a JSON map.
type pinKey struct {
	name, also string
	block      string // what a text block calls it; "" is Dir, which is the kind of block
}

func pinKeys() []pinKey {
	return []pinKey{{"Pin", "", "pin"}, {keyDir, "Direction", ""}, {"PD", "Pull", "pull"}, {"Type", "Drive", "drive"}, {"Value", "Init", "init"}}
}

// reserved are the keys of a set-up document. A pin of such a name is not possible in a JSON map.
func reserved(key string) bool {
	return slices.Contains([]string{"chip", "outputs", "inputs", "pwm", "servos", "interlocks", "dead_time"}, key)
}

// scalar is the text of any scalar.
type scalar string

// UnmarshalText takes anything.
func (s *scalar) UnmarshalText(b []byte) error {
	*s = scalar(b)
	return nil
}

// IsPins reports whether a document is meant as a map of pins, well made or not: one of its values is a map with Pin or Dir. A
// set-up document, where outputs and inputs stand a level deeper, is not.
func IsPins(doc []byte) bool {
	node, err := config.ParseNode("", doc)
	if err != nil {
		return false
	}
	entries, err := node.Entries()
	return err == nil && slices.ContainsFunc(entries, func(e config.Entry) bool { return !reserved(e.Key) && isPin(e.Value) })
}

func isPin(n config.Node) bool {
	entries, err := n.Entries()
	return err == nil && slices.ContainsFunc(entries, func(e config.Entry) bool {
		k, ok := findPinKey(e.Key)
		var s scalar
		return ok && (k.block == "pin" || k.block == "") && e.Value.Decode(&s) == nil
	})
}

// ParsePins reads a map of pins, as JSON or YAML, and returns its blocks by name. An error is a *config.Error with the line.
func ParsePins(doc []byte) ([]Block, error) {
	node, err := config.ParseNode("", doc)
	if err != nil {
		return nil, err
	}
	entries, err := node.Entries()
	if err != nil {
		return nil, err
	}
	set := newSet()
	for _, e := range entries {
		b, err := readPin(e)
		if err == nil {
			err = set.add(b)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(set.blocks) == 0 {
		return nil, fault(0, `there is no pin; one is "NAME": {"Pin": 23, "Dir": "Input", "PD": "PullUp"}`)
	}
	slices.SortFunc(set.blocks, func(a, b Block) int { return strings.Compare(a.Name, b.Name) })
	return set.blocks, nil
}

// readPin reads one pin of a map.
func readPin(e config.Entry) (Block, error) {
	b := Block{Name: e.Key, Line: e.Value.Line(""), Says: map[string]int{}}
	if err := reports.ValidName(e.Key); err != nil {
		return b, fault(b.Line, "%w", err)
	}
	values, err := pinValues(e.Value)
	if err != nil {
		return b, err
	}
	if b.Kind, err = direction(values[keyDir].text); err != nil {
		if dir, ok := values[keyDir]; ok {
			return b, dir.node.Errorf("", "%w", err)
		}
		return b, e.Value.Errorf("", "%w", err)
	}
	for _, known := range pinKeys() {
		v := values[known.name]
		if v.text == "" || known.block == "" {
			continue // an empty text says as little as null
		}
		k, ok := findKey(b.Kind, known.block)
		if !ok {
			return b, v.node.Errorf("", "an %s has none", b.Kind)
		}
		if err := k.set(&b, v.text); err != nil {
			return b, v.node.Errorf("", "%w", err)
		}
		b.Says[k.name] = v.node.Line("")
	}
	return b, nil
}

// pinValue is the value of a key of a pin.
type pinValue struct {
	node config.Node
	text string
}

// pinValues returns the values of a pin by the names of their keys.
func pinValues(n config.Node) (map[string]pinValue, error) {
	entries, err := n.Entries()
	if err != nil {
		return nil, err
	}
	values := map[string]pinValue{}
	for _, e := range entries {
		k, ok := findPinKey(e.Key)
		if !ok {
			return nil, e.Value.Errorf("", "not known of a pin; %s", suggest(e.Key, pinKeyNames()))
		}
		if first, twice := values[k.name]; twice {
			return nil, e.Value.Errorf("", "%s stands twice; first in line %d", k.name, first.node.Line(""))
		}
		var s scalar
		if err := e.Value.Decode(&s); err != nil {
			return nil, err
		}
		values[k.name] = pinValue{e.Value, strings.TrimSpace(string(s))}
	}
	return values, nil
}

// direction returns the kind of block that a Dir means.
func direction(dir string) (Kind, error) {
	if dir == "" {
		return "", errors.New("its Dir is missing: Input or Output")
	}
	kind, err := read([]spelling{{string(Input), []string{"input", "in"}}, {string(Output), []string{"output", "out"}}}, dir)
	return Kind(kind), err
}

func pinKeyNames() []string {
	var names []string
	for _, k := range pinKeys() {
		names = append(names, k.name)
	}
	return names
}

// findPinKey returns the key that a word means, in large or small letters.
func findPinKey(word string) (pinKey, bool) {
	for _, k := range pinKeys() {
		if strings.EqualFold(word, k.name) || k.also != "" && strings.EqualFold(word, k.also) {
			return k, true
		}
	}
	return pinKey{}, false
}
