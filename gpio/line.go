//go:build linux

package gpio

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/warthog618/gpiod"
)

// held is a line of a character device.
type held struct {
	chip   *chip
	offset int
	output bool

	mu     sync.Mutex
	closed bool
	line   Line // *gpiod.Line, or *edgeLine for one with events
}

// request asks the kernel. Events come by the way that can buffer them if the kernel has it, from Linux 5.10.
func (l *held) request(o LineOptions) error {
	var err error
	if o.Events != nil && l.chip.chip.UapiAbiVersion() >= 2 {
		l.line, err = requestEdges(l.chip.path, l.offset, o)
		return err
	}
	l.line, err = l.chip.chip.RequestLine(l.offset, gpiodOptions(o)...)
	return err
}

// gpiodOptions says in gpiod's words what the options, which are normal, ask for.
func gpiodOptions(o LineOptions) []gpiod.LineReqOption {
	options := []gpiod.LineReqOption{gpiod.WithConsumer(o.Consumer), bias(o.Bias)}
	if o.ActiveLow {
		options = append(options, gpiod.AsActiveLow)
	}
	if o.Output {
		return append(options, gpiod.AsOutput(o.Value), drive(o.Drive))
	}
	options = append(options, gpiod.AsInput)
	if o.Debounce > 0 {
		options = append(options, gpiod.WithDebounce(o.Debounce))
	}
	if o.Events != nil {
		options = append(options, gpiod.WithBothEdges, gpiod.WithEventHandler(counted(o.Events)))
	}
	return options
}

// counted makes an events function count by itself: kernels before 5.10 do not, so edges that are lost there leave no gap.
func counted(events func(Event)) gpiod.EventHandler {
	var seq uint32
	return func(e gpiod.LineEvent) {
		seq++
		events(Event{Offset: e.Offset, Rising: e.Type == gpiod.LineEventRisingEdge, Time: e.Timestamp, Seq: seq})
	}
}

func bias(b Bias) gpiod.LineBias {
	switch b {
	case PullUp:
		return gpiod.WithPullUp
	case PullDown:
		return gpiod.WithPullDown
	case PullNone:
		return gpiod.WithBiasDisabled
	}
	return gpiod.WithBiasAsIs
}

func drive(d Drive) gpiod.LineDrive {
	switch d {
	case OpenDrain:
		return gpiod.AsOpenDrain
	case OpenSource:
		return gpiod.AsOpenSource
	}
	return gpiod.AsPushPull
}

// Value reads the line.
func (l *held) Value() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, l.wrap("read", ErrClosed)
	}
	v, err := l.line.Value()
	if err != nil {
		return 0, l.wrap("read", err)
	}
	return v, nil
}

// SetValue drives an output.
func (l *held) SetValue(value int) error {
	if err := CheckValue(value); err != nil {
		return l.wrap("set", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return l.wrap("set", ErrClosed)
	case !l.output:
		return l.wrap("set", syscall.EPERM)
	}
	if err := l.line.SetValue(value); err != nil {
		return l.wrap("set", err)
	}
	return nil
}

// Close gives the line back.
func (l *held) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	// Without the lock, as this waits for an Events function, which may be reading the line.
	err := l.line.Close()
	l.chip.mu.Lock()
	delete(l.chip.lines, l)
	l.chip.mu.Unlock()
	if closed || err == nil {
		return nil
	}
	return l.wrap("close", err)
}

func (l *held) wrap(verb string, err error) error {
	return fmt.Errorf("%s line %d of %s: %w", verb, l.offset, l.chip.chip.Name, err)
}
