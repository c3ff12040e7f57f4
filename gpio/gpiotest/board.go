package gpiotest

import (
	"slices"
	"time"

	"rollcall/gpio"
)

// undriven is the external level of a wire to which nothing is connected.
const undriven = -1

// historyLength is how many changes of a line are kept.
const historyLength = 256

// Change is a new level on a line.
type Change struct {
	Level int       // physical: 1 is high, whatever the holder's ActiveLow
	Time  time.Time // when it came
}

// wire is a line as a wire of the board.
type wire struct {
	name     string
	holder   *line
	hog      string // a holder that is no line of ours
	bias     gpio.Bias
	external int // the level that the outside world drives
	level    int
	changes  int // of the level, ever
	history  []Change
	watchers []*watcher
}

type watcher struct {
	box
	call func(Change)
}

func (w *wire) used() bool { return w.holder != nil || w.hog != "" }

func (w *wire) info(offset int) gpio.LineInfo {
	info := gpio.LineInfo{Offset: offset, Name: w.name, Consumer: w.hog, Used: w.used()}
	if w.holder != nil {
		o := w.holder.o
		info.Consumer, info.Output, info.ActiveLow = o.Consumer, o.Output, o.ActiveLow
		info.Bias, info.Drive, info.Debounce = o.Bias, o.Drive, o.Debounce
	}
	return info
}

// next returns the level that all who drive or pull the wire make together: an output wins over what is connected from outside,
// that over the bias; a wire that floats is low. A chip that is gone neither drives nor pulls.
func (w *wire) next(gone bool) int {
	if l := w.holder; l != nil && l.o.Output && !gone {
		level := l.level(l.value)
		released := l.o.Drive == gpio.OpenDrain && level == 1 || l.o.Drive == gpio.OpenSource && level == 0
		if !released {
			return level
		}
	}
	switch {
	case w.external != undriven:
		return w.external
	case w.bias == gpio.PullUp && !gone:
		return 1
	}
	return 0
}

// settle gives a wire its next level and tells all who want to know; the lock is held.
func (b *board) settle(offset int) {
	w := &b.wires[offset]
	level := w.next(b.gone)
	if level == w.level {
		return
	}
	w.level = level
	w.changes++
	c := Change{Level: level, Time: time.Now()}
	if len(w.history) == historyLength {
		w.history = w.history[1:]
	}
	w.history = append(w.history, c)
	for _, who := range w.watchers {
		b.post.send(&who.box, func() { who.call(c) })
	}
	if w.holder != nil && !b.gone {
		w.holder.changed(level)
	}
}

// Drive connects a level, 0 or 1, to a line from outside, as a switch or a sensor does. It does not overcome an output.
func (c *Chip) Drive(offset, value int) {
	if err := gpio.CheckValue(value); err != nil {
		panic("gpiotest: drive: " + err.Error())
	}
	c.connect(offset, value)
}

// Release disconnects from a line what Drive connected: an input then has the level of its bias.
func (c *Chip) Release(offset int) { c.connect(offset, undriven) }

func (c *Chip) connect(offset, external int) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	c.board.wire(offset).external = external
	c.board.settle(offset)
}

// Level returns the physical level that is on a line.
func (c *Chip) Level(offset int) int {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	return c.board.wire(offset).level
}

// Changes returns how often the level of a line has changed.
func (c *Chip) Changes(offset int) int {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	return c.board.wire(offset).changes
}

// History returns the latest 256 changes of a line's level, oldest first. All lines begin low.
func (c *Chip) History(offset int) []Change {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	return slices.Clone(c.board.wire(offset).history)
}

// Watch calls f for every change of a line's level, whoever made it, in order and from the goroutine that calls Events functions
// too. So f must not block, but it may use the chip: a simulated sensor answers with Drive. The returned function ends the
// watch and waits for f; f must not call it.
func (c *Chip) Watch(offset int, f func(Change)) (stop func()) {
	b := c.board
	who := &watcher{call: f}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.wire(offset)
	w.watchers = append(w.watchers, who)
	return func() {
		b.mu.Lock()
		w.watchers = slices.DeleteFunc(w.watchers, func(x *watcher) bool { return x == who })
		b.mu.Unlock()
		b.post.stop(&who.box)
	}
}

// Wait waits until every event and change so far has been delivered. It must not be called from where they are delivered.
func (c *Chip) Wait() { c.board.post.wait() }

// Hog lets another program or a driver hold a line under that name until it is called again with "". A line that is requested
// cannot be hogged.
func (c *Chip) Hog(offset int, consumer string) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	w := c.board.wire(offset)
	if w.holder != nil {
		panic("gpiotest: hog: line is requested by " + w.holder.o.Consumer)
	}
	w.hog = consumer
}

// Rename gives a line another name, or none, as boards have them.
func (c *Chip) Rename(offset int, name string) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	c.board.wire(offset).name = name
}
