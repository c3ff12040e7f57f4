package trust

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Rights are what an operator may do.
type Rights uint8

// The rights. Control and Setup include Read: an operator is told what became of his command.
const (
	Read    Rights = 1 << iota // ask who is there; read values
	Control                    // set and control
	Setup                      // set services up
	All     = Read | Control | Setup
)

// rightNames are the words for the rights, in the order of their bits.
var rightNames = [...]string{"read", "control", "setup"}

// String returns the rights as they stand in authorized_operators: "read,control".
func (r Rights) String() string {
	var names []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Has reports whether r has all of these rights.
func (r Rights) Has(these Rights) bool { return r&these == these }

// ParseRights reads rights with commas between them. Each but read includes read.
func ParseRights(s string) (Rights, error) {
	var r Rights
	for word := range strings.SplitSeq(s, ",") {
		i := slices.Index(rightNames[:], word)
		if i < 0 {
			return 0, fmt.Errorf("right %.40q is none of %s", word, strings.Join(rightNames[:], ", "))
		}
		if r&(1<<i) != 0 && word != rightNames[0] {
			return 0, fmt.Errorf("right %q stands twice", word)
		}
		r |= 1<<i | Read
	}
	return r, nil
}

// Operator is who may do what.
type Operator struct {
	PublicKey
	Rights Rights
}

// Line returns the operator's line in authorized_operators.
func (o Operator) Line() string { return o.Rights.String() + " " + o.PublicKey.String() }

// ParseOperator reads a line of authorized_operators: rights, if any, then the key.
func ParseOperator(line string) (Operator, error) {
	o := Operator{Rights: All}
	first, rest := nextField(line)
	if first != keyType {
		if strings.HasPrefix(first, "ssh-") || strings.HasPrefix(first, "ecdsa-") {
			return Operator{}, fmt.Errorf("key is of type %.40q, only %s can be used", first, keyType)
		}
		var err error
		if o.Rights, err = ParseRights(first); err != nil {
			return Operator{}, err
		}
		line = rest
	}
	var err error
	o.PublicKey, err = ParsePublicKey(line)
	return o, err
}

// Operators are those of an authorized_operators file. They are never changed.
type Operators struct{ byID map[ID]Operator }

// Bounds of an authorized_operators file.
const (
	maxOperatorsFile = 1 << 20
	maxOperators     = 1000
)

// ParseOperators reads an authorized_operators file; name stands for it in errors, which have the line. One bad line refuses
// the whole, for it may have been the one that took a right away.
func ParseOperators(name string, text []byte) (*Operators, error) {
	out := &Operators{byID: map[ID]Operator{}}
	lines := map[ID]int{}
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.ContainsRune(line, 0) || len(line) > maxLine {
			return nil, fmt.Errorf("%s:%d: line is too long or not text", name, n)
		}
		o, err := ParseOperator(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if before, ok := lines[o.ID()]; ok {
			return nil, fmt.Errorf("%s:%d: key stands on line %d already", name, n, before)
		}
		if len(out.byID) == maxOperators {
			return nil, fmt.Errorf("%s:%d: more than %d operators", name, n, maxOperators)
		}
		lines[o.ID()], out.byID[o.ID()] = n, o
	}
	return out, nil
}

// LoadOperators reads an authorized_operators file. One that others than its owner can write is refused. That there is none is
// fs.ErrNotExist.
func LoadOperators(path string) (*Operators, error) {
	b, err := readOwn(path, 0o022, "chmod go-w", maxOperatorsFile)
	if err != nil {
		return nil, err
	}
	return ParseOperators(path, b)
}

// Find returns the operator with the key of this id.
func (o *Operators) Find(id ID) (Operator, bool) {
	if o == nil {
		return Operator{}, false
	}
	op, ok := o.byID[id]
	return op, ok
}

// Rights returns the rights that the key has; none for one that is not in the file.
func (o *Operators) Rights(key PublicKey) Rights {
	op, ok := o.Find(key.ID())
	if !ok || !op.Equal(key) {
		return 0
	}
	return op.Rights
}

// All returns the operators, by their comments and keys.
func (o *Operators) All() []Operator {
	if o == nil {
		return nil
	}
	out := make([]Operator, 0, len(o.byID))
	for _, op := range o.byID {
		out = append(out, op)
	}
	slices.SortFunc(out, func(a, b Operator) int {
		if c := strings.Compare(a.Comment, b.Comment); c != 0 {
			return c
		}
		return strings.Compare(a.Fingerprint(), b.Fingerprint())
	})
	return out
}
