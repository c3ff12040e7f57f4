// Package gpio is the general-purpose I/O of a board: chips, lines, and the events of their edges, in the kernel's words. The
// character device is driven through gpiod, of which this package is the one owner; gpiotest has a chip in memory.
package gpio

import (
	"time"

	"rollcall/internal/stub"
)

// Chip is a bank of lines. It is safe for concurrent use.
type Chip interface {
	// Info returns what the chip and its lines are at present.
	Info() (ChipInfo, error)
	// Request takes the line for this program until it is closed. The kernel's EBUSY reaches the caller as it is.
	Request(offset int, o LineOptions) (Line, error)
	// Close releases the chip and all lines of it that are still requested.
	Close() error
}

// Line is a line that this program holds. *gpiod.Line meets it. Values are logical: 1 is active, whatever ActiveLow says.
type Line interface {
	Value() (int, error)
	SetValue(value int) error
	Close() error
}

// ChipInfo describes a chip.
type ChipInfo struct {
	Name  string // gpiochip0
	Label string // pinctrl-bcm2835
	Lines []LineInfo
}

// LineInfo describes a line.
type LineInfo struct {
	Offset   int
	Name     string // GPIO17, or "" where the kernel has none
	Consumer string // who holds it, or ""
	Used     bool
	Output   bool
}

// Bias is the pull of an input.
type Bias string

// The pulls; BiasAsIs leaves what the kernel or firmware set. Kernel 5.5 or later.
const (
	BiasAsIs Bias = ""
	PullUp   Bias = "up"
	PullDown Bias = "down"
	PullNone Bias = "none"
)

// Drive is how an output drives its line.
type Drive string

// The drives.
const (
	PushPull   Drive = "push-pull"
	OpenDrain  Drive = "open-drain"
	OpenSource Drive = "open-source"
)

// LineOptions says how a line is requested.
type LineOptions struct {
	Consumer  string
	Output    bool
	Value     int // the logical value that an output is requested with, so that there is no glitch
	ActiveLow bool
	Bias      Bias
	Drive     Drive
	Debounce  time.Duration // kernel 5.10 or later; 0: none
	Events    func(Event)   // called for both edges of an input, from one goroutine a line; must not block
}

// Event is an edge.
type Event struct {
	Offset int
	Rising bool          // logical: after ActiveLow
	Time   time.Duration // the kernel's monotonic clock
	Seq    uint32        // counts the edges of this line from 1; a gap means that edges were lost
}

// Open opens a character-device chip by label (pinctrl-bcm2835), name (gpiochip0) or path (/dev/gpiochip0). The error lists
// the chips that are there.
func Open(name string) (Chip, error) { panic(stub.TODO) }

// Find returns the offset of the line that pin names: an offset "25", a line name "GPIO25", or a header position "pin22" of a
// 40-pin Raspberry Pi header.
func (c ChipInfo) Find(pin string) (int, error) { panic(stub.TODO) }
