package gpio

import (
	"cmp"
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

// EventBuffer is how many edges of a line wait for an Events function that is late. Then the oldest are lost, and Seq has a gap. It is
// the most that the kernel gives: GPIO_V2_LINES_MAX * 16 (drivers/gpio/gpiolib-cdev.c of 6.1, linereq_create).
//
// It costs a line 64 KiB of the kernel's memory from when it first has events until it is closed, and one without events nothing:
// edge_detector_setup allocates them with kfifo_alloc (lib/kfifo.c), linereq_free frees them. That is a kmalloc of 1,024 struct
// gpio_v2_line_event of 48 bytes, 48 KiB, which beyond two pages come as a power of two of pages. The lines of a header: 1.75 MiB.
const EventBuffer = 1024

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
	switch {
	case o.AsIs:
		return o.normalAsIs()
	case o.Output:
		return o.normalOutput()
	}
	return o.normalInput()
}

// normalAsIs checks that nothing is asked for that would change the line; the kernel refuses such without saying what it was.
func (o LineOptions) normalAsIs() (LineOptions, error) {
	what := ""
	switch {
	case o.Output:
		what = "output"
	case o.Value != 0:
		what = "value"
	case o.Bias != BiasAsIs:
		what = "bias"
	case o.Drive != "":
		what = "drive"
	case o.Debounce != 0:
		what = "debounce"
	case o.Events != nil || o.Gone != nil:
		what = "events"
	default:
		return o, nil
	}
	return o, fmt.Errorf("%s: not for a line that is taken as it is", what)
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
	case o.Events != nil || o.Gone != nil:
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
	case o.Gone != nil && o.Events == nil:
		return o, errors.New("gone: only a line with events has it")
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

// Feature is something that not every kernel or chip has.
type Feature string

// The features. Where one is missing the caller can do without, by a timer of its own or by reading the line every so often.
// That a chip has no pulls is no error of the kernel: it ignores what it was asked for, and nobody can tell.
const (
	FeatureEdges       Feature = "edges"           // Events: the chip has interrupts
	FeatureDebounce    Feature = "debounce"        // Debounce: Linux 5.10 or later, and interrupts
	FeatureBias        Feature = "bias"            // Bias: Linux 5.5 or later
	FeatureReconfigure Feature = "reconfiguration" // Reconfigure: Linux 5.5 or later; of a line with events, or to one, 5.10
	FeatureSequence    Feature = "sequence"        // a gap in Seq where edges were lost: Linux 5.10 or later
)

// Missing returns the feature for want of which a request or a reconfiguration was refused, or "". The same options without it
// have a chance then. The error is also syscall.EOPNOTSUPP, and so errors.ErrUnsupported.
func Missing(err error) Feature {
	if e, ok := errors.AsType[*RequestError](err); ok {
		return e.Missing
	}
	return ""
}

// RequestError says why a line could not be had, or not be changed.
type RequestError struct {
	Op      string   // what was tried: "request" if empty, or "reconfigure"
	Chip    string   // the chip's name
	Line    LineInfo // what the line was at that time; Consumer is the holder of a busy one
	Missing Feature  // what the chip or kernel has not got, if it was that
	Reason  string   // in words, where there is more to say than Err does
	Err     error    // the kernel's
}

// Error names the line, the chip, and the holder of a busy line.
func (e *RequestError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s line %d", cmp.Or(e.Op, opRequest), e.Line.Offset)
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

// asIsAgain is why no line can be reconfigured to what it was before anybody had requested it.
const asIsAgain = "a line that is held cannot be as it was found; close it and request it"

// AsIsAgain returns the error of Reconfigure with AsIs.
func AsIsAgain(chip string, line LineInfo) error {
	return &RequestError{Op: opReconfigure, Chip: chip, Line: line, Missing: FeatureReconfigure, Reason: asIsAgain, Err: syscall.EOPNOTSUPP}
}

// What a RequestError's Op may be.
const (
	opRequest     = "request"
	opReconfigure = "reconfigure"
)

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

// Gone returns err as ErrGone, if it is what the kernel returns for a chip that was unplugged; any other as it is.
func Gone(err error) error {
	if errors.Is(err, syscall.ENODEV) && !errors.Is(err, ErrGone) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}
