package agents

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/input"
	"rollcall/gpio/pwm"
	"rollcall/reports"
)

// gpioWiring is all that makes two lines electrically the same; a line whose wiring a new set-up does not change is left alone.
type gpioWiring struct {
	offset    int
	output    bool // also of a modulated line
	activeLow bool
	pull      gpio.Bias
	drive     gpio.Drive
	debounce  time.Duration
	edges     bool

	period        time.Duration // of a modulated line; 0: it is not modulated
	hardware      bool          // by this channel
	chip, channel int
}

// switched reports whether it is a plain output.
func (w gpioWiring) switched() bool { return w.output && w.period == 0 }

// gpioHold is a line as it is held. A line that is configured anew is held anew, so that nobody takes the edges of before for
// those of after.
type gpioHold struct {
	line    gpio.Line   // nil: a channel of the hardware, or not held any more
	channel pwm.Channel // of a modulated line
	owner   *gpioLine   // whose edges they are; nil: nobody's yet
	value   int         // what an output was last told, logical
	duty    float64     // what a modulated line was last told
	soft    bool        // the kernel can't debounce it
	base    uint32      // added to the kernel's count of edges, which begins anew with each hold
	probed  bool        // requested as it is, to learn its level
}

// held reports whether the line is still ours.
func (h *gpioHold) held() bool { return h != nil && (h.line != nil || h.channel != nil) }

// gpioLine is an output, an input or a modulated output of a set-up.
type gpioLine struct {
	name, path, at string // pump_drive, output/pump_drive, and outputs.pump_drive in the document
	label          string
	wiring         gpioWiring
	hold           *gpioHold // nil when it is not held
	lookAt         time.Time // when it is to be looked at whether the chip is still there; zero: another line tells

	out   *gpioOutput // resolved; of an output
	sense *gpioSensed // of an input
	mod   *gpioMod    // of a modulated output

	// While it is being taken.
	old      *gpioLine // who had the line
	stays    bool      // as an output with its state, whatever else of it changes
	start    bool      // what the output is taken with
	prepared bool      // its channel need not be waited for
	later    bool      // it is to go on once it is taken, as its interlock allows
	began    gpioBegan // since when it was on in the run before, if it goes on as that one

	// What became of an output.
	seen  bool      // what was read back after it was told something
	fresh bool      // seen was read, and not only told
	err   error     // why it could not be told what it was to be
	said  gpioShown // what was last made known

	// What became of an input.
	machine    *input.Input
	counts     uint64 // by the machines before
	counted    bool   // since its counts were last made known
	countsAt   time.Time
	countsSaid input.Counts

	// What became of a modulated output.
	value float64 // what it is set to; NaN: nothing yet
	fade  *gpioFade
	safe  bool // its failsafe has acted
}

// gpioState is a set-up in force.
type gpioState struct {
	options gpioOptions
	chip    gpio.Chip
	name    string // the chip's own name, however the set-up spells it
	info    gpio.ChipInfo
	lines   []*gpioLine
	byPath  map[string]*gpioLine
}

// newGPIOLines makes the lines of a set-up on a chip: outputs, inputs, PWM, servos, each by name. It changes nothing.
func (o gpioOptions) lines(info gpio.ChipInfo, root string) ([]*gpioLine, error) {
	var out []*gpioLine
	used := map[int]string{}
	add := func(kind, section, name, pin, label string, make func(l *gpioLine) error) error {
		l := &gpioLine{name: name, path: kind + "/" + name, at: section + "." + name, label: cmp.Or(label, name)}
		offset, err := info.Find(pin)
		if err != nil {
			return &gpioFault{l.at + ".pin", err}
		}
		if other, ok := used[offset]; ok {
			return &gpioFault{l.at + ".pin", fmt.Errorf("%q is line %d, which %s has already", pin, offset, other)}
		}
		used[offset] = l.path
		l.wiring.offset = offset
		out = append(out, l)
		return make(l)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		out := o.Outputs[name].resolved()
		if err := add("output", "outputs", name, out.Pin, out.Label, out.wire); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Inputs)) {
		in := o.Inputs[name]
		if err := add("input", "inputs", name, in.Pin, in.Label, in.wire); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.PWM)) {
		p := o.PWM[name]
		wire := func(l *gpioLine) error { return p.wire(l, info, root) }
		if err := add("pwm", "pwm", name, p.Pin, p.Label, wire); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Servos)) {
		s := o.Servos[name]
		wire := func(l *gpioLine) error { return s.wire(l, info, root) }
		if err := add("servo", "servos", name, s.Pin, s.Label, wire); err != nil {
			return nil, err
		}
	}
	return out, oneEach(out)
}

// oneEach refuses two lines on one channel of the hardware.
func oneEach(lines []*gpioLine) error {
	seen := map[[2]int]string{}
	for _, l := range lines {
		if w := l.wiring; w.hardware {
			if other, twice := seen[[2]int{w.chip, w.channel}]; twice {
				return &gpioFault{l.at + ".driver", fmt.Errorf("pwmchip%d/%d is that of %s already", w.chip, w.channel, other)}
			}
			seen[[2]int{w.chip, w.channel}] = l.path
		}
	}
	return nil
}

// wire makes the line of an output, which is resolved.
func (o gpioOutput) wire(l *gpioLine) error {
	l.out = &o
	l.wiring.output, l.wiring.activeLow, l.wiring.pull, l.wiring.drive = true, o.ActiveLow, o.Pull, o.Drive
	return nil
}

// wire makes the line of an input.
func (i gpioInput) wire(l *gpioLine) error {
	s := i.resolved()
	l.sense = &s
	l.wiring.activeLow, l.wiring.pull, l.wiring.debounce, l.wiring.edges = s.activeLow, s.pull, s.debounce, s.watched()
	return nil
}

// gpioFault is what is wrong with a set-up, and where in the document.
type gpioFault struct {
	at  string
	err error
}

func (f *gpioFault) Error() string { return f.at + ": " + f.err.Error() }
func (f *gpioFault) Unwrap() error { return f.err }

// held returns the line of a point, if the agent holds it.
func (s *gpioState) held(path string) (*gpioLine, error) {
	l := s.byPath[path]
	switch {
	case l == nil:
		return nil, reports.Errorf(reports.CodeUnknown, "%.140q is no output and no input", path)
	case !l.hold.held():
		return nil, reports.Errorf(reports.CodeOffline, "%s was released; set-up takes it again", path)
	}
	return l, nil
}

// at returns the line of the state at an offset, if it is held.
func (s *gpioState) at(offset int) *gpioLine {
	for _, l := range s.lines {
		if l.wiring.offset == offset && l.hold.held() {
			return l
		}
	}
	return nil
}

// next returns when the line's own timers are due, or zero.
func (l *gpioLine) next() time.Time {
	switch {
	case !l.hold.held():
		return time.Time{}
	case l.sense != nil:
		return earlier(l.nextSense(), l.lookAt)
	case l.fade != nil:
		return earlier(l.fade.next, l.lookAt)
	}
	return l.lookAt
}

// release gives a line back.
func (l *gpioLine) release() error {
	if err := l.hold.release(); err != nil {
		return fmt.Errorf("release %s: %w", l.path, err)
	}
	return nil
}

// release gives a line back, a modulated one inactive.
func (h *gpioHold) release() error {
	if h == nil {
		return nil
	}
	var errs []error
	if h.channel != nil {
		errs = append(errs, h.channel.Close())
	}
	if h.line != nil {
		errs = append(errs, h.line.Close())
	}
	h.channel, h.line, h.owner = nil, nil, nil
	return errors.Join(errs...)
}
