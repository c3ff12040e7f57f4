package gpiotest

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"rollcall/gpio"
)

// line is a line that somebody holds. All its fields are under board.mu, but those that never change.
type line struct {
	handle *handle
	offset int
	config sync.Mutex // taken before board.mu by Reconfigure and Close, which wait for a running Events function

	o     gpio.LineOptions
	edges *box // where its events wait; nil without Events

	value  int  // logical, of an output
	ready  bool // configured: what changes from now on is an edge
	closed bool
	seq    uint32
	stable int         // the debounced level
	bounce *time.Timer // runs while the level is not yet stable
}

// level returns the logical value as a level on the wire, and the other way round.
func (l *line) level(value int) int {
	if l.o.ActiveLow {
		return 1 - value
	}
	return value
}

// Value returns what is on the line.
func (l *line) Value() (int, error) {
	b := l.handle.board
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case l.closed:
		return 0, l.wrap("read", gpio.ErrClosed)
	case b.gone:
		return 0, l.wrap("read", errGone())
	}
	if l.o.Debounce > 0 {
		return l.level(l.stable), nil
	}
	return l.level(b.wires[l.offset].level), nil
}

// SetValue drives an output.
func (l *line) SetValue(value int) error {
	if err := gpio.CheckValue(value); err != nil {
		return l.wrap("set", err)
	}
	b := l.handle.board
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case l.closed:
		return l.wrap("set", gpio.ErrClosed)
	case b.gone:
		return l.wrap("set", errGone())
	case !l.o.Output:
		return l.wrap("set", syscall.EPERM)
	}
	l.value = value
	b.settle(l.offset)
	return nil
}

// Reconfigure changes the line in place.
func (l *line) Reconfigure(o gpio.LineOptions) error {
	o, err := o.Normal()
	if err != nil {
		return l.wrap(opReconfigure, err)
	}
	l.config.Lock()
	defer l.config.Unlock()
	b := l.handle.board
	b.mu.Lock()
	defer b.mu.Unlock()
	info := b.wires[l.offset].info(l.offset)
	switch {
	case l.closed:
		return l.refused(info, gpio.ErrClosed)
	case b.gone:
		return l.refused(info, errGone())
	case o.AsIs:
		return gpio.AsIsAgain(b.label, info)
	}
	if err := b.check(l.offset, o, opReconfigure); err != nil {
		return err
	}
	if old := l.edges; old != nil {
		l.edges = nil // nothing is sent to it from here on
		b.mu.Unlock()
		b.post.stop(old)
		b.mu.Lock()
	}
	o.Consumer = l.o.Consumer
	l.become(o)
	return nil
}

func (l *line) refused(info gpio.LineInfo, err error) error {
	return &gpio.RequestError{Op: opReconfigure, Chip: l.handle.board.label, Line: info, Err: err}
}

// become makes the line what the options say; the lock is held. What its own level does meanwhile is no edge.
func (l *line) become(o gpio.LineOptions) {
	b := l.handle.board
	w := &b.wires[l.offset]
	if l.bounce != nil {
		l.bounce.Stop()
	}
	l.o, l.value, l.seq, l.bounce, l.edges, l.ready = o, o.Value, 0, nil, nil, false
	if o.Events != nil {
		l.edges = &box{}
	}
	if o.Bias != gpio.BiasAsIs {
		w.bias = o.Bias
	}
	b.settle(l.offset)
	l.stable, l.ready = w.level, true
}

// Close gives the line back.
func (l *line) Close() error {
	l.config.Lock()
	defer l.config.Unlock()
	b := l.handle.board
	b.mu.Lock()
	if !l.closed {
		l.closed = true
		if l.bounce != nil {
			l.bounce.Stop()
		}
		delete(l.handle.lines, l)
		b.wires[l.offset].holder = nil
		b.settle(l.offset)
	}
	b.mu.Unlock()
	if l.edges != nil {
		b.post.stop(l.edges)
	}
	return nil
}

func (l *line) wrap(verb string, err error) error {
	return fmt.Errorf("%s line %d of %s: %w", verb, l.offset, l.handle.board.label, err)
}

// changed takes note of a new level on the line; the lock is held.
func (l *line) changed(level int) {
	if l.o.Output || !l.ready {
		return
	}
	if l.o.Debounce == 0 {
		l.stable = level
		l.edge(level)
		return
	}
	if l.bounce == nil {
		l.bounce = time.AfterFunc(l.o.Debounce, l.settled)
		return
	}
	l.bounce.Reset(l.o.Debounce)
}

// settled runs when the level has not changed for the debounce period, or when it just has again and the timer was too late to
// be stopped: then another run is due, and finds the level that remained.
func (l *line) settled() {
	b := l.handle.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if level := b.wires[l.offset].level; !l.closed && !b.gone && level != l.stable {
		l.stable = level
		l.edge(level)
	}
}

// edge delivers an event; the lock is held.
func (l *line) edge(level int) {
	if l.edges == nil {
		return
	}
	l.seq++
	e := gpio.Event{Offset: l.offset, Rising: l.level(level) == 1, Time: l.handle.board.now(), Seq: l.seq}
	l.handle.board.post.send(l.edges, func() { l.o.Events(e) })
}
