// Package gpio is the general-purpose I/O of a board: chips, lines, and the events of their edges, in the kernel's words. The
// character device is driven through gpiod, of which this package is the one owner; gpiotest has a chip in memory, and chiptest
// the suite that both pass. The package knows no agent, no topic and no configuration.
package gpio

import (
	"errors"
	"time"
)

// ErrClosed is what every method but Close returns once the line, or the chip that it was requested from, has been closed.
var ErrClosed = errors.New("already closed")

// ErrGone is what every method but Close returns once the chip has been unplugged or its driver unloaded. A chip that is
// plugged in again is another one: close this one, and open that. The error is syscall.ENODEV too.
var ErrGone = errors.New("the chip is gone")

// Chip is a bank of lines. It is safe for concurrent use.
type Chip interface {
	// Info returns what the chip and its lines are at present.
	Info() (ChipInfo, error)
	// Request takes the line for this program until it is closed. An error of the kernel comes in a *RequestError, so
	// errors.Is(err, syscall.EBUSY) tells a line that someone else holds, and its text names the holder; Missing tells what of
	// the options this chip or kernel has not got, and what may be asked for without it.
	Request(offset int, o LineOptions) (Line, error)
	// Close releases the chip and all lines of it that are still requested; outputs fall back to inputs. It waits for a
	// running Events function, so that must not call it. Closing again does nothing.
	Close() error
}

// Line is a line that this program holds. It is safe for concurrent use. Values are logical: 1 is active, whatever ActiveLow says.
type Line interface {
	// Value returns the level that is on the line, of an output too; debounced when the line was requested so.
	Value() (int, error)
	// SetValue drives an output with 0 or 1. On an input, and on a line that was requested as it is, the error is
	// syscall.EPERM.
	SetValue(value int) error
	// Reconfigure changes the line to what the options say without giving it back: its direction, value, bias, drive, active
	// level, debounce period and events; only the consumer stays. Options that are not given have their defaults, as in
	// Request: an output that is to stay on needs Value 1, and then its level does not move. Where the kernel can't change
	// a line in place the error is syscall.EOPNOTSUPP, says what is needed, and the line is as it was; so it is after any
	// other error, as far as the hardware obeys.
	//
	// It waits for a running Events function, so that must not call it. No edge of before is delivered after it, and Seq
	// counts from 1 again. What happened meanwhile makes no event and no gap: read Value after it. Of a line that had no events
	// it makes some from the moment on at which the kernel looks for them.
	Reconfigure(o LineOptions) error
	// Close gives the line back. No event is delivered after it; it waits for a running Events function, so that must not
	// call it. Closing again does nothing.
	Close() error
}

// ChipInfo describes a chip.
type ChipInfo struct {
	Name  string // gpiochip0
	Label string // pinctrl-bcm2835
	Lines []LineInfo
	Lacks []Feature // what no line of the chip can have, as far as that is known without requesting one
}

// LineInfo describes a line.
type LineInfo struct {
	Offset   int
	Name     string // GPIO17, or "" where the kernel has none
	Consumer string // who holds it, or ""
	Used     bool
	Output   bool

	// How it was requested, or configured by the kernel: a chip does not tell what pull its hardware has.
	ActiveLow bool
	Bias      Bias          // BiasAsIs: whoever holds the line did not ask for one
	Drive     Drive         // of an output
	Debounce  time.Duration // 0: none
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

// Drive is how an output drives its line; the zero value is PushPull.
type Drive string

// The drives.
const (
	PushPull   Drive = "push-pull"
	OpenDrain  Drive = "open-drain"
	OpenSource Drive = "open-source"
)

// LineOptions says how a line is requested.
type LineOptions struct {
	Consumer  string // shown to others as the holder, cut to 31 bytes; DefaultConsumer if empty
	AsIs      bool   // take the line as it is: nothing about it changes, its level is read. Beside it only ActiveLow makes sense.
	Output    bool
	Value     int // the logical value that an output is requested with, so that there is no glitch
	ActiveLow bool
	Bias      Bias
	Drive     Drive
	Debounce  time.Duration // kernel 5.10 or later; 0: none
	// Events is called for both edges of an input, in order, from one goroutine at a time; it must not block.
	Events func(Event)
	// Gone is called once when no more events can come because the chip was unplugged, from where Events is called and under
	// the same rules. Not every kernel wakes a program for that (6.1 does not), so it may take some seconds. Before Linux
	// 5.10 it is not called at all.
	Gone func()
}

// Event is an edge.
type Event struct {
	Offset int
	Rising bool          // logical: after ActiveLow
	Time   time.Duration // the kernel's monotonic clock
	Seq    uint32        // counts the edges of this line from 1; a gap means that edges were lost (no gap before kernel 5.10)
}
