package agents

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rollcall/gpio"
	"rollcall/reports"
)

// The TM1638 of Titan Micro Electronics as pure encoding and decoding: what is sent to it, and what it answers. What is said of its
// data sheet (V1.3) and of the module LED&KEY, here and of its wires, is from memory: neither was at hand.

// Commands (data sheet, "Command description"): the two high bits say which, and all bits go out with the lowest first.
const (
	tm1638Write   = 0x40 // data commands: write, the address counts up by itself
	tm1638Read    = 0x42 // read the keys
	tm1638Fixed   = 0x44 // write, to one address
	tm1638Address = 0xC0 // address commands: 0xC0 + address
	tm1638Control = 0x80 // display control: 0x80 + brightness; off
	tm1638On      = 0x08 // of display control: on
)

const (
	tm1638Digits = 8
	// tm1638Brightest is the most of brightness here, where 0 is off; the chip's eight steps are duties of 1/16, 2/16, 4/16, 10/16 … 14/16.
	tm1638Brightest = 8
	tm1638Point     = 0x80 // the segment of the point
)

// tm1638Memory is the chip's display memory: of each grid first its segments 1 to 8, then 9 and 10. On the module LED&KEY a grid is
// a digit, from left to right, and segment 9 the LED above it.
type tm1638Memory [2 * tm1638Digits]byte

// tm1638Frames returns what is sent, one frame for each time that STB is low, to make a display that shows was show next. With nil
// nobody knows what it shows, and everything is sent.
func tm1638Frames(was *tm1638Memory, next tm1638Memory, brightness int) [][]byte {
	control := byte(tm1638Control)
	if brightness > 0 {
		control |= tm1638On | byte(brightness-1)
	}
	var frames [][]byte
	if was != nil {
		for i, b := range next {
			if b != was[i] {
				frames = append(frames, []byte{tm1638Address | byte(i), b})
			}
		}
	}
	switch few := len(frames) <= len(next)/4; {
	case was == nil || !few:
		frames = [][]byte{{tm1638Write}, append([]byte{tm1638Address}, next[:]...)}
	case len(frames) > 0:
		frames = append([][]byte{{tm1638Fixed}}, frames...)
	}
	return append(frames, []byte{control})
}

// tm1638Keys returns the keys that are down from the four bytes that the chip answers (data sheet, "Key scan": bits 0 and 4 are K3, 1
// and 5 K2, 2 and 6 K1; the low half is of an odd KS, the high half of the even one after it). Bits 0 to 7 are those of K3 in the
// order of the buttons S1 to S8 of LED&KEY, 8 to 15 those of K2, 16 to 23 those of K1. ok is false if nothing answers: bits 3 and
// 7 are always 0, and all ones are the pull-up alone.
func tm1638Keys(answer [4]byte) (keys uint32, ok bool) {
	if answer == [4]byte{0xFF, 0xFF, 0xFF, 0xFF} {
		return 0, false
	}
	for i, b := range answer {
		for k := range 3 { // K3, K2, K1
			keys |= uint32(b>>k&1) << (8*k + i)
			keys |= uint32(b>>(4+k)&1) << (8*k + 4 + i)
		}
	}
	return keys, true
}

// tm1638KeysMost is the value with all 24 keys down.
const tm1638KeysMost = 1<<24 - 1

// tm1638Cell is what one digit shows.
type tm1638Cell struct {
	char rune
	dot  bool
}

// segments returns the cell's segments: bit 0 is a, bit 6 is g, bit 7 the point.
func (c tm1638Cell) segments() byte {
	s, _ := tm1638Glyph(c.char) // tm1638Cells has let nothing else in
	if c.dot {
		s |= tm1638Point
	}
	return s
}

// tm1638Cells takes a text apart. A point, comma or colon is lit on the digit before it, if that has none yet.
func tm1638Cells(text string, most int) ([]tm1638Cell, error) {
	if len(text) > utf8.UTFMax*2*most {
		return nil, reports.Errorf(reports.CodeOutOfRange, "a text of %d bytes: %d digits are there", len(text), most)
	}
	var cells []tm1638Cell
	for _, r := range text {
		if strings.ContainsRune(".,:", r) {
			if n := len(cells); n > 0 && !cells[n-1].dot {
				cells[n-1].dot = true
				continue
			}
			cells = append(cells, tm1638Cell{' ', true})
			continue
		}
		if _, ok := tm1638Glyph(r); !ok {
			return nil, reports.Errorf(reports.CodeOutOfRange, "%q can't be shown by seven segments", r)
		}
		cells = append(cells, tm1638Cell{char: r})
	}
	if len(cells) > most {
		return nil, reports.Errorf(reports.CodeOutOfRange, "%.40q needs %d digits, %d are there", text, len(cells), most)
	}
	return cells, nil
}

// tm1638Text is the text that gives the cells.
func tm1638Text(cells []tm1638Cell) string {
	var b strings.Builder
	for i, c := range cells {
		if c.char != ' ' || !c.dot || i > 0 && !cells[i-1].dot { // else the point alone makes the cell
			b.WriteRune(c.char)
		}
		if c.dot {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// tm1638Glyph returns the segments of a character, of a letter in whichever case there is.
func tm1638Glyph(r rune) (byte, bool) {
	const font = " \x00-\x40_\x08=\x48°\x63'\x20\"\x22(\x39)\x0f[\x39]\x0f?\x53/\x52\\\x64" +
		"0\x3f1\x062\x5b3\x4f4\x665\x6d6\x7d7\x078\x7f9\x6f" +
		"A\x77b\x7cC\x39c\x58d\x5eE\x79F\x71G\x3dH\x76h\x74I\x30i\x10J\x1eK\x75L\x38M\x15n\x54O\x3fo\x5cP\x73q\x67r\x50S\x6dt\x78U\x3eu\x1cV\x3eW\x2aX\x76y\x6eZ\x5b"
	for _, want := range [...]rune{r, unicode.ToUpper(r), unicode.ToLower(r)} {
		for i, n := 0, 0; i < len(font); i += n + 1 {
			var glyph rune
			if glyph, n = utf8.DecodeRuneInString(font[i:]); glyph == want {
				return font[i+n], true
			}
		}
	}
	return 0, false
}

// displayBus is what stands between the agent and the chip.
type displayBus interface {
	// write sends a frame.
	write(frame []byte) error
	// keys asks for the keys.
	keys() ([4]byte, error)
	close() error
}

// displayNothing is the bus of a display that is made up: it has no buttons, and what it shows stands in its points.
type displayNothing struct{}

func (displayNothing) write([]byte) error     { return nil }
func (displayNothing) keys() ([4]byte, error) { return [4]byte{}, nil }
func (displayNothing) close() error           { return nil }

// tm1638Pause is the least time between two changes of the wires: a half clock of 400 ns, and 1 µs around STB and before the first bit
// of the keys (data sheet V1.3, "Timing characteristics": PW_CLK, PW_STB, t_CLK-STB, t_WAIT; from memory). There is no longest one, so that it
// does not matter when the program has to wait for the processor.
const tm1638Pause = time.Microsecond

// tm1638Wires moves the three wires.
type tm1638Wires struct {
	chip          gpio.Chip
	stb, clk, dio gpio.Line
	bias          gpio.Bias // of DIO while the chip speaks
	last          time.Time // when a wire was moved
}

// newTM1638Wires takes the wires and leaves them at rest: all high.
func newTM1638Wires(o displayOptions, d Deps) (*tm1638Wires, error) {
	w := &tm1638Wires{bias: gpio.PullUp}
	high := gpio.LineOptions{Output: true, Value: 1}
	chip, err := sensorWires(d, o.Chip, sensorWire{"stb", o.STB, high, &w.stb}, sensorWire{"clk", o.CLK, high, &w.clk}, sensorWire{"dio", o.DIO, high, &w.dio})
	if err != nil {
		return nil, err
	}
	w.chip = chip
	return w, nil
}

// close gives the lines back.
func (w *tm1638Wires) close() error { return w.chip.Close() }

// set moves a wire when that is due.
func (w *tm1638Wires) set(l gpio.Line, value int) error {
	for time.Since(w.last) < tm1638Pause {
		// Shorter than any timer: it is waited for on the spot.
	}
	err := l.SetValue(value)
	w.last = time.Now()
	return err
}

// frame has f done with STB low.
func (w *tm1638Wires) frame(f func() error) error {
	if err := w.set(w.stb, 0); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, w.set(w.stb, 1))
}

// send sends a byte, lowest bit first; the chip takes each with the rise of CLK.
func (w *tm1638Wires) send(b byte) error {
	for i := range 8 {
		if err := errors.Join(w.set(w.clk, 0), w.set(w.dio, int(b>>i&1)), w.set(w.clk, 1)); err != nil {
			return err
		}
	}
	return nil
}

func (w *tm1638Wires) write(frame []byte) error {
	return w.frame(func() error {
		for _, b := range frame {
			if err := w.send(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// keys asks for the keys: the chip pulls DIO low for each bit that is 0, from a fall of CLK to the next.
func (w *tm1638Wires) keys() (answer [4]byte, err error) {
	err = w.frame(func() error {
		if err := w.send(tm1638Read); err != nil {
			return err
		}
		if err := w.listen(); err != nil {
			return err
		}
		for i := range 8 * len(answer) {
			if err := w.set(w.clk, 0); err != nil {
				return err
			}
			for time.Since(w.last) < tm1638Pause {
				// DIO is given the time to settle.
			}
			bit, err := w.dio.Value()
			if err != nil {
				return err
			}
			answer[i/8] |= byte(bit) << (i % 8)
			if err := w.set(w.clk, 1); err != nil {
				return err
			}
		}
		return nil
	})
	// Only now, with STB high, has the chip let DIO go.
	return answer, errors.Join(err, w.dio.Reconfigure(gpio.LineOptions{Output: true, Value: 1}))
}

// listen makes DIO an input. Where the kernel has no pulls, the module's own has to do.
func (w *tm1638Wires) listen() error {
	err := w.dio.Reconfigure(gpio.LineOptions{Bias: w.bias})
	if gpio.Missing(err) == gpio.FeatureBias {
		w.bias = gpio.BiasAsIs
		err = w.dio.Reconfigure(gpio.LineOptions{Bias: w.bias})
	}
	w.last = time.Now()
	return err
}
