package gpio

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultConsumer is the name under which a line is held when LineOptions has none.
const DefaultConsumer = "rollcall"

// EventBuffer is how many edges of a line wait for an Events function that is late. Then the oldest are lost, and Seq has a gap.
const EventBuffer = 256

// maxConsumer is how much of a consumer's name the kernel keeps: GPIO_MAX_NAME_SIZE of linux/gpio.h less the final NUL.
const maxConsumer = 31

// maxDebounce is the longest period that the kernel's 32 bits of microseconds hold.
const maxDebounce = math.MaxUint32 * time.Microsecond

// Normal returns the options with all defaults in place, or an error that names the first option that makes no sense. Every chip
// calls it first, so that all of them refuse the same.
func (o LineOptions) Normal() (LineOptions, error) {
	if o.Consumer == "" {
		o.Consumer = DefaultConsumer
	}
	if strings.ContainsRune(o.Consumer, 0) {
		return o, fmt.Errorf("consumer %q: has a NUL in it", o.Consumer)
	}
	if len(o.Consumer) > maxConsumer {
		o.Consumer = strings.ToValidUTF8(o.Consumer[:maxConsumer], "")
	}
	switch o.Bias {
	case BiasAsIs, PullUp, PullDown, PullNone:
	default:
		return o, fmt.Errorf("bias %q: not up, down or none", o.Bias)
	}
	if o.Output {
		return o.normalOutput()
	}
	return o.normalInput()
}

func (o LineOptions) normalOutput() (LineOptions, error) {
	switch o.Drive {
	case "":
		o.Drive = PushPull
	case PushPull, OpenDrain, OpenSource:
	default:
		return o, fmt.Errorf("drive %q: not push-pull, open-drain or open-source", o.Drive)
	}
	switch {
	case o.Debounce != 0:
		return o, errors.New("debounce: only an input has it")
	case o.Events != nil:
		return o, errors.New("events: only an input has them")
	}
	return o, CheckValue(o.Value)
}

func (o LineOptions) normalInput() (LineOptions, error) {
	switch {
	case o.Drive != "":
		return o, fmt.Errorf("drive %q: only an output has it", o.Drive)
	case o.Value != 0:
		return o, errors.New("value: only an output has it")
	case o.Debounce < 0 || o.Debounce > maxDebounce:
		return o, fmt.Errorf("debounce %v: not from 0 to %v", o.Debounce, maxDebounce)
	case o.Debounce > 0 && o.Debounce < time.Microsecond:
		o.Debounce = time.Microsecond // the kernel counts in these; rounding down would switch it off
	}
	return o, nil
}

// CheckValue returns an error unless the value is 0 or 1.
func CheckValue(value int) error {
	if value != 0 && value != 1 {
		return fmt.Errorf("value %d: not 0 or 1", value)
	}
	return nil
}

// RequestError says why a line could not be had.
type RequestError struct {
	Chip   string   // the chip's name
	Line   LineInfo // what the line was at that time; Consumer is the holder of a busy one
	Reason string   // in words, where there is more to say than Err does
	Err    error    // the kernel's
}

// Error names the line, the chip, and the holder of a busy line.
func (e *RequestError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "request line %d", e.Line.Offset)
	if e.Line.Name != "" {
		fmt.Fprintf(&b, " (%s)", e.Line.Name)
	}
	fmt.Fprintf(&b, " of %s", e.Chip)
	if reason := e.reason(); reason != "" {
		b.WriteString(": " + reason)
	}
	b.WriteString(": " + e.Err.Error())
	return b.String()
}

func (e *RequestError) reason() string {
	if e.Reason != "" || !errors.Is(e.Err, syscall.EBUSY) {
		return e.Reason
	}
	if e.Line.Consumer == "" {
		return "held by a program or driver that gives no name"
	}
	return "held by " + strconv.Quote(e.Line.Consumer)
}

// Unwrap returns the kernel's error.
func (e *RequestError) Unwrap() error { return e.Err }

// NoLine returns the error for an offset that the chip does not have.
func NoLine(chip string, offset, lines int) error {
	reason := "the chip has no lines"
	if lines > 0 {
		reason = fmt.Sprintf("the chip has the lines 0 to %d", lines-1)
	}
	return &RequestError{Chip: chip, Line: LineInfo{Offset: offset}, Reason: reason, Err: syscall.EINVAL}
}
