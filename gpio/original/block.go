// Package original reads what the original Python programs send to set up a gpio service: text blocks and JSON pin maps
// (PROTOCOL.md §4). It is lenient where people spell one thing in many ways, and strict about what it does not know. It knows no
// chip and no service; whether a pin is there is not its matter.
package original

import (
	"fmt"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/gpio"
)

// Limits of a document; its bytes are those of config.MaxBytes.
const (
	MaxBlocks = 256
	MaxPin    = 64 // bytes of a pin; the kernel's names of lines have 31 at most
)

// MaxTime is the longest time that a block may say.
const MaxTime = 10 * 365 * 24 * time.Hour

// Kind is what a block sets up.
type Kind string

// The kinds of blocks.
const (
	Output Kind = "output"
	PWM    Kind = "pwm"
	Input  Kind = "input"
)

// Block is one output, pwm or input. A field that the document does not name is zero, which means the service's default.
type Block struct {
	Kind Kind
	Line int            // where the block begins in its document
	Name string         // as reports.ValidName has it; no other block of the document has it
	Pin  string         // 25, GPIO25, pin22 or the name of a line, as it was written
	Says map[string]int // the lines of the keys that the block has, by their names in String

	Inverted bool // on is low: `pol inv` or `active_low`

	Initial string        // of an output: off, on, keep or restore
	Drive   gpio.Drive    // of an output
	Single  bool          // of an output: one-shot
	Pulse   time.Duration // of an output
	MaxOn   time.Duration // of an output

	Percent float64       // of a pwm: what it begins with
	Period  time.Duration // of a pwm

	Pull     gpio.Bias     // of an output or input
	OnChange string        // of an input: true, false, or a topic that edges are published on as well
	Scan     time.Duration // of an input: how often it is read as well
	Debounce time.Duration // of an input
	Edge     string        // of an input: both, rising or falling
	Count    bool          // of an input
}

// String returns the block as the text that Parse reads, without what has its default.
func (b Block) String() string {
	var s strings.Builder
	s.WriteString(string(b.Kind) + "\n")
	for _, k := range keysOf(b.Kind) {
		if text := k.text(&b); text != "" {
			fmt.Fprintf(&s, "  %s %s\n", k.name, text)
		}
	}
	return s.String()
}

// fault returns an error about a line of the document.
func fault(line int, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &config.Error{Line: line, Text: err.Error(), Err: err}
}

// set is the blocks of a document as they are read. No two of them may have one name or, in the same spelling, one pin.
type set struct {
	blocks []Block
	names  map[string]int // the line of the block that has it
	pins   map[string]int
}

func newSet() *set { return &set{names: map[string]int{}, pins: map[string]int{}} }

// add takes a block that has all its keys.
func (s *set) add(b Block) error {
	pin := strings.ToLower(b.Pin)
	switch {
	case b.Name == "":
		return fault(b.Line, "%s: name is missing", b.Kind)
	case b.Pin == "":
		return fault(b.Line, "%s %s: pin is missing", b.Kind, b.Name)
	case s.names[b.Name] != 0:
		return fault(b.Line, "name: %s stands twice; first in line %d", b.Name, s.names[b.Name])
	case s.pins[pin] != 0:
		return fault(b.Line, "%s %s: pin: %q stands twice; first in line %d", b.Kind, b.Name, b.Pin, s.pins[pin])
	case len(s.blocks) == MaxBlocks:
		return fault(b.Line, "there are more than %d blocks", MaxBlocks)
	}
	s.names[b.Name], s.pins[pin] = b.Line, b.Line
	s.blocks = append(s.blocks, b)
	return nil
}
