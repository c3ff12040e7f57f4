// Package gpiotest is a GPIO chip in memory that behaves as the kernel's do: who asks for a held line gets EBUSY, an output that
// is closed falls back to an input, edges are counted and come in order. Tests wire it up from the outside with Drive and
// look at it with Level, History and Watch; `chip: sim` is the same chip in production, so nothing here imports testing.
package gpiotest

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"rollcall/gpio"
)

// Chip is a chip in memory, and the board around it. The methods of gpio.Chip are those of the first program that has opened it;
// Open gives further ones. It is safe for concurrent use.
type Chip struct {
	handle
}

var _ gpio.Chip = (*Chip)(nil)

// New returns a chip whose lines are named GPIO0, GPIO1 and so on. Nothing is wired to them and nobody holds them.
func New(label string, lines int) *Chip {
	b := &board{label: label, start: time.Now(), wires: make([]wire, lines)}
	b.post.cond.L = &b.post.mu
	for i := range b.wires {
		b.wires[i] = wire{name: fmt.Sprintf("GPIO%d", i), external: undriven}
	}
	return &Chip{handle{board: b, lines: map[*line]struct{}{}}}
}

// Sim returns what `chip: sim` stands for: a chip labelled sim with the 28 lines of a Raspberry Pi's header.
func Sim() *Chip { return New("sim", 28) }

// Open opens the chip once more, as another program would. The returned chip has its own lines and its own Close; those of c
// remain as they are.
func (c *Chip) Open() gpio.Chip { return &handle{board: c.board, lines: map[*line]struct{}{}} }

// board is the chip itself, which all that opened it share. The post has its own lock, which is never held while taking mu.
type board struct {
	label string
	start time.Time
	post  post

	mu    sync.Mutex
	wires []wire
	lacks []gpio.Feature
	gone  bool
}

// Unplug takes the chip away, as the kernel does when its plug is pulled: the Gone functions of its lines are called, and from now
// on everything fails with gpio.ErrGone. Nothing drives its lines any more. There is no way back; New makes another chip.
func (c *Chip) Unplug() {
	b := c.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return
	}
	b.gone = true
	for i := range b.wires {
		if l := b.wires[i].holder; l != nil && l.edges != nil && l.o.Gone != nil {
			b.post.send(l.edges, l.o.Gone)
		}
		b.settle(i)
	}
}

// Lack makes the chip refuse what needs these features, as older kernels and simpler chips do. Lines that are held stay.
func (c *Chip) Lack(features ...gpio.Feature) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	c.board.lacks = features
}

// check returns why a line can't be what the options say; the lock is held.
func (b *board) check(offset int, o gpio.LineOptions, op string) error {
	for _, f := range b.lacks {
		wanted := map[gpio.Feature]bool{
			gpio.FeatureEdges:       o.Events != nil,
			gpio.FeatureDebounce:    o.Debounce > 0,
			gpio.FeatureBias:        o.Bias != gpio.BiasAsIs,
			gpio.FeatureReconfigure: op == opReconfigure,
		}[f]
		if wanted {
			return &gpio.RequestError{Op: op, Chip: b.label, Line: b.wires[offset].info(offset), Missing: f,
				Reason: "this chip has no " + string(f), Err: syscall.EOPNOTSUPP}
		}
	}
	return nil
}

// What is tried, in errors.
const (
	opRequest     = "request"
	opReconfigure = "reconfigure"
)

// errGone is what the kernel says of a chip that is gone.
func errGone() error { return gpio.Gone(syscall.ENODEV) }

// now is the board's monotonic clock.
func (b *board) now() time.Duration { return time.Since(b.start) }

// wire returns the wire of an offset; the lock is held. A test that names a line which is not there is wrong.
func (b *board) wire(offset int) *wire {
	if offset < 0 || offset >= len(b.wires) {
		panic(fmt.Sprintf("gpiotest: line %d of %s, which has %d lines", offset, b.label, len(b.wires)))
	}
	return &b.wires[offset]
}

// handle is a chip as one program has it open.
type handle struct {
	board  *board
	closed bool               // under board.mu
	lines  map[*line]struct{} // under board.mu
}

// Info returns what the chip and its lines are at present.
func (h *handle) Info() (gpio.ChipInfo, error) {
	b := h.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.closed {
		return gpio.ChipInfo{}, fmt.Errorf("info of %s: %w", b.label, gpio.ErrClosed)
	}
	if b.gone {
		return gpio.ChipInfo{}, fmt.Errorf("info of %s: %w", b.label, errGone())
	}
	info := gpio.ChipInfo{Name: b.label, Label: b.label, Lines: make([]gpio.LineInfo, len(b.wires)), Lacks: slices.Clone(b.lacks)}
	for i := range b.wires {
		info.Lines[i] = b.wires[i].info(i)
	}
	return info, nil
}

// Request takes a line.
func (h *handle) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	o, err := o.Normal()
	if err != nil {
		return nil, fmt.Errorf("request line %d of %s: %w", offset, h.board.label, err)
	}
	b := h.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("request line %d of %s: %w", offset, b.label, gpio.ErrClosed)
	}
	if offset < 0 || offset >= len(b.wires) {
		return nil, gpio.NoLine(b.label, offset, len(b.wires))
	}
	w := &b.wires[offset]
	switch {
	case b.gone:
		return nil, &gpio.RequestError{Chip: b.label, Line: gpio.LineInfo{Offset: offset}, Err: errGone()}
	case w.used():
		return nil, &gpio.RequestError{Chip: b.label, Line: w.info(offset), Err: syscall.EBUSY}
	}
	if err := b.check(offset, o, opRequest); err != nil {
		return nil, err
	}
	l := &line{handle: h, offset: offset}
	w.holder = l
	h.lines[l] = struct{}{}
	l.become(o)
	return l, nil
}

// Close closes the chip and gives back the lines that were requested from it.
func (h *handle) Close() error {
	h.board.mu.Lock()
	h.closed = true
	lines := make([]*line, 0, len(h.lines))
	for l := range h.lines {
		lines = append(lines, l)
	}
	h.board.mu.Unlock()
	for _, l := range lines {
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}
