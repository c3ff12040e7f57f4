package agents

import (
	"sync"
	"testing"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

// The lines that the display of the tests is wired to.
const (
	displaySTB = 17
	displayCLK = 27
	displayDIO = 22
	displayOn3 = "{chip: bank, stb: 17, clk: GPIO27, dio: pin15, scan: 10ms, poll: 1h, brightness: 3}"
)

// tm1638Chip plays the chip: it takes bits with the rise of CLK and answers with its fall, as the data sheet has it.
type tm1638Chip struct {
	t      *testing.T
	board  *gpiotest.Chip
	mu     sync.Mutex
	absent bool    // its supply is off
	deaf   bool    // it has come on in the midst of a frame, perhaps
	pull   bool    // the module has a pull-up of its own
	answer [4]byte // to a question for the keys

	memory  tm1638Memory
	control byte
	frames  int
	asked   int

	bits    int
	byteIn  byte
	frame   []byte
	fixed   bool
	reading int // bits of the answer that are out; -1: it listens
}

// newTM1638Chip wires the chip up, and returns what opens its GPIO chip. Each change that the agent makes is at the chip before
// the agent goes on, as on a wire.
func newTM1638Chip(t *testing.T) (*tm1638Chip, Deps) {
	c := &tm1638Chip{t: t, board: gpiotest.New("bank", 28), reading: -1}
	c.board.Watch(displaySTB, func(x gpiotest.Change) { c.strobe(x.Level) })
	c.board.Watch(displayCLK, func(x gpiotest.Change) { c.clock(x.Level) })
	return c, Deps{Service: "display", OpenChip: func(string) (gpio.Chip, error) { return tm1638Bank{c.board.Open(), c.board}, nil }}
}

// with has f look at the chip, or change it.
func (c *tm1638Chip) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *tm1638Chip) strobe(level int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if level == 0 {
		c.bits, c.byteIn, c.frame, c.reading, c.deaf = 0, 0, nil, -1, false
		return
	}
	c.release()
	if c.absent || c.deaf {
		return
	}
	if c.bits != 0 && c.reading < 0 {
		c.t.Errorf("a frame ends after %d bits of a byte", c.bits)
	}
	if c.reading >= 0 && c.reading != 32 {
		c.t.Errorf("%d bits of the keys were fetched", c.reading)
	}
	c.frames++
	c.reading = -1
}

// release lets DIO go.
func (c *tm1638Chip) release() {
	if c.pull {
		c.board.Drive(displayDIO, 1)
		return
	}
	c.board.Release(displayDIO)
}

func (c *tm1638Chip) clock(level int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.absent || c.deaf || c.board.Level(displaySTB) == 1:
	case level == 0 && c.reading >= 0 && c.reading < 32:
		if c.answer[c.reading/8]>>(c.reading%8)&1 == 0 {
			c.board.Drive(displayDIO, 0)
		} else {
			c.release()
		}
		c.reading++
	case level == 1 && c.reading < 0:
		c.byteIn |= byte(c.board.Level(displayDIO)) << c.bits
		if c.bits++; c.bits == 8 {
			c.take(c.byteIn)
			c.bits, c.byteIn = 0, 0
		}
	}
}

// take takes a byte.
func (c *tm1638Chip) take(b byte) {
	c.frame = append(c.frame, b)
	first := c.frame[0]
	switch n := len(c.frame) - 2; {
	case n >= 0 && first>>6 == 3:
		at := int(first&0x0F) + n
		if c.fixed && n > 0 || at >= len(c.memory) {
			c.t.Errorf("byte %d at address %d, fixed %v", n, first&0x0F, c.fixed)
			return
		}
		c.memory[at] = b
	case n >= 0:
		c.t.Errorf("%#x has more bytes: %x", first, c.frame)
	case b == 0x42:
		c.reading = 0
		c.asked++
	case b == 0x40, b == 0x44:
		c.fixed = b == 0x44
	case b&0xF0 == 0x80:
		c.control = b
	case b&0xF0 != 0xC0:
		c.t.Errorf("%#x is no command", b)
	}
}

// power switches the chip's supply. Without it the chip forgets everything.
func (c *tm1638Chip) power(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.absent, c.deaf = !on, true
	c.memory, c.control = tm1638Memory{}, 0
	c.release()
}

// tm1638Bank is the GPIO chip of the agent.
type tm1638Bank struct {
	gpio.Chip
	board *gpiotest.Chip
}

func (b tm1638Bank) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	l, err := b.Chip.Request(offset, o)
	b.board.Wait()
	return tm1638Line{l, b.board}, err
}

type tm1638Line struct {
	gpio.Line
	board *gpiotest.Chip
}

func (l tm1638Line) SetValue(v int) error {
	err := l.Line.SetValue(v)
	l.board.Wait()
	return err
}

func (l tm1638Line) Reconfigure(o gpio.LineOptions) error {
	err := l.Line.Reconfigure(o)
	l.board.Wait()
	return err
}
