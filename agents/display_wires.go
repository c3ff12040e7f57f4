package agents

import (
	"errors"
	"fmt"
	"time"

	"rollcall/gpio"
)

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
	chip, info, err := sensorChip(d, o.Chip)
	if err != nil {
		return nil, err
	}
	w := &tm1638Wires{chip: chip, bias: gpio.PullUp}
	for _, l := range []struct {
		name, pin string
		line      *gpio.Line
	}{{"stb", o.STB, &w.stb}, {"clk", o.CLK, &w.clk}, {"dio", o.DIO, &w.dio}} {
		if *l.line, err = sensorLine(d, chip, info, l.pin, gpio.LineOptions{Output: true, Value: 1}); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", l.name, err), chip.Close())
		}
	}
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
