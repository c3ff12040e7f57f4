package agents

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/reports"
)

// gpioInitial is what an output is when it is taken.
type gpioInitial string

const (
	gpioOff  gpioInitial = "off"
	gpioOn   gpioInitial = "on"
	gpioKeep gpioInitial = "keep"
)

// UnmarshalText takes off, on and keep. YAML says off and on as false and true, and people say 0 and 1.
func (i *gpioInitial) UnmarshalText(b []byte) error {
	switch word := strings.ToLower(string(b)); word {
	case "off", "false", "0":
		*i = gpioOff
	case "on", "true", "1":
		*i = gpioOn
	case "keep":
		*i = gpioKeep
	default:
		return fmt.Errorf("%.40q is not off, on or keep", b)
	}
	return nil
}

// gpioEdge says which edges of an input are told of.
type gpioEdge string

const (
	gpioBoth    gpioEdge = "both"
	gpioRising  gpioEdge = "rising"
	gpioFalling gpioEdge = "falling"
)

func (e gpioEdge) wants(rising bool) bool {
	return e == gpioBoth || rising == (e == gpioRising)
}

// onChange reports whether edges are told of.
func (i gpioInput) onChange() bool { return i.OnChange == nil || *i.OnChange }

const (
	gpioSim         = "sim" // the chip in memory
	gpioHeaderLines = 28    // GPIO0 to GPIO27 of a Raspberry Pi's header
)

// Bounds of the times in a set-up.
const (
	gpioLeastScan    = 10 * time.Millisecond
	gpioMostDebounce = time.Minute
)

// Validate checks what can be checked without the chip.
func (o *gpioOptions) Validate() error {
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		at, out := "outputs."+name, o.Outputs[name]
		if err := gpioCheck(at, name, out.Pin, out.Pull); err != nil {
			return err
		}
		if !slices.Contains([]gpio.Drive{"", gpio.PushPull, gpio.OpenDrain, gpio.OpenSource}, out.Drive) {
			return config.At(at+".drive", "%.40q is not push-pull, open-drain or open-source", out.Drive)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Inputs)) {
		at, in := "inputs."+name, o.Inputs[name]
		if err := gpioCheck(at, name, in.Pin, in.Pull); err != nil {
			return err
		}
		_, twice := o.Outputs[name]
		switch {
		case twice:
			return config.At(at, "there is an output of the same name")
		case !slices.Contains([]gpioEdge{"", gpioBoth, gpioRising, gpioFalling}, in.Edge):
			return config.At(at+".edge", "%.40q is not both, rising or falling", in.Edge)
		case in.Edge != "" && !in.onChange():
			return config.At(at+".edge", "no edge is told of with on_change: false")
		case in.Scan != 0 && time.Duration(in.Scan) < gpioLeastScan:
			return config.At(at+".scan", "%s is too often, at least %s or 0 is needed", in.Scan, gpioLeastScan)
		case time.Duration(in.Debounce) > gpioMostDebounce:
			return config.At(at+".debounce", "%s is too long, at most %s is possible", in.Debounce, gpioMostDebounce)
		}
	}
	return o.checkPins()
}

// checkPins refuses a pin that stands twice, as far as that can be seen without the chip, so that a start with it is refused
// before anything runs: the same word on any chip, and two words for one line on a chip with the lines of a Raspberry Pi.
func (o *gpioOptions) checkPins() error {
	header := gpio.ChipInfo{Lines: make([]gpio.LineInfo, gpioHeaderLines)}
	for i := range header.Lines {
		header.Lines[i] = gpio.LineInfo{Offset: i, Name: fmt.Sprintf("GPIO%d", i)}
	}
	known := o.Chip == "" || o.Chip == gpioSim || slices.Contains(gpioHeaderChips[:], o.Chip)
	first := map[string]string{}
	check := func(at, path, pin string) error {
		line := strings.ToLower(strings.TrimSpace(pin))
		if offset, err := header.Find(pin); err == nil && known {
			line = "line " + strconv.Itoa(offset)
		}
		if other, twice := first[line]; twice {
			return config.At(at+".pin", "%q is %s, which %s has already", pin, line, other)
		}
		first[line] = path
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		if err := check("outputs."+name, "output/"+name, o.Outputs[name].Pin); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Inputs)) {
		if err := check("inputs."+name, "input/"+name, o.Inputs[name].Pin); err != nil {
			return err
		}
	}
	return nil
}

// gpioCheck checks what outputs and inputs have in common.
func gpioCheck(at, name, pin string, pull gpio.Bias) error {
	if err := reports.ValidName(name); err != nil {
		return config.At(at, "%w", err)
	}
	if pin == "" {
		return config.At(at, "pin is missing")
	}
	if !slices.Contains([]gpio.Bias{gpio.BiasAsIs, gpio.PullUp, gpio.PullDown, gpio.PullNone}, pull) {
		return config.At(at+".pull", "%.40q is not up, down or none", pull)
	}
	return nil
}

// gpioWiring is all that makes two lines electrically the same; a line whose wiring a new set-up does not change is left alone.
type gpioWiring struct {
	offset    int
	output    bool
	activeLow bool
	pull      gpio.Bias
	drive     gpio.Drive
	debounce  time.Duration
	edges     string // the path under which edges are told of, or ""
	edge      gpioEdge
}

// gpioLine is an output or an input of a set-up.
type gpioLine struct {
	path    string // output/pump_drive
	at      string // outputs.pump_drive, in the document
	wiring  gpioWiring
	initial gpioInitial
	point   reports.Point

	line  gpio.Line   // nil when it is not held
	value int         // what an output was last told, logical
	live  atomic.Bool // its edges are told of
}

// gpioFault is what is wrong with a set-up, and where in the document.
type gpioFault struct {
	at  string
	err error
}

func (f *gpioFault) Error() string { return f.at + ": " + f.err.Error() }
func (f *gpioFault) Unwrap() error { return f.err }

// lines makes the lines of a set-up on a chip, outputs first, each by name. It changes nothing.
func (o gpioOptions) lines(info gpio.ChipInfo) ([]*gpioLine, error) {
	var out []*gpioLine
	used := map[int]string{}
	add := func(l *gpioLine, pin string) error {
		offset, err := info.Find(pin)
		if err != nil {
			return &gpioFault{l.at + ".pin", err}
		}
		if other, ok := used[offset]; ok {
			return &gpioFault{l.at + ".pin", fmt.Errorf("%q is line %d, which %s has already", pin, offset, other)}
		}
		used[offset] = l.path
		l.wiring.offset = offset
		l.point.Help = gpioHelp(info, l.wiring)
		out = append(out, l)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		if err := add(o.Outputs[name].line(name), o.Outputs[name].Pin); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Inputs)) {
		if err := add(o.Inputs[name].line(name), o.Inputs[name].Pin); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// line returns the line of an output, its offset still unknown.
func (o gpioOutput) line(name string) *gpioLine {
	l := newGPIOLine("output", name, reports.Get|reports.Set)
	l.initial = o.Initial
	l.wiring = gpioWiring{output: true, activeLow: o.ActiveLow, pull: o.Pull, drive: cmp.Or(o.Drive, gpio.PushPull)}
	return l
}

// line returns the line of an input, its offset still unknown.
func (i gpioInput) line(name string) *gpioLine {
	l := newGPIOLine("input", name, reports.Get)
	l.point.Poll = i.Scan
	l.wiring = gpioWiring{activeLow: i.ActiveLow, pull: i.Pull, debounce: time.Duration(i.Debounce)}
	if !i.onChange() {
		return l
	}
	l.wiring.edges, l.wiring.edge = l.path, cmp.Or(i.Edge, gpioBoth)
	if l.wiring.edge != gpioBoth && i.Scan == 0 {
		// Nobody would tell of the other level: as a state it would stand for ever, and hide the next edge.
		l.point.Access = reports.Event
	}
	return l
}

func newGPIOLine(kind, name string, access reports.Access) *gpioLine {
	path := kind + "/" + name
	return &gpioLine{path: path, at: kind + "s." + name,
		point: reports.Point{Path: path, Label: name, Type: reports.Bool, Genre: reports.Basic, Access: access}}
}

// gpioHelp says which line it is by all its names, so that nobody has to guess which numbering was meant.
func gpioHelp(info gpio.ChipInfo, w gpioWiring) string {
	words := []string{fmt.Sprintf("Line %d", w.offset)}
	if name := info.Lines[w.offset].Name; name != "" {
		words[0] += " (" + name + gpioPosition(info, w.offset) + ")"
	}
	words[0] += " of " + info.Label
	if w.activeLow {
		words = append(words, "active low")
	}
	if w.pull != gpio.BiasAsIs {
		words = append(words, "pull "+string(w.pull))
	}
	if w.output && w.drive != gpio.PushPull {
		words = append(words, string(w.drive))
	}
	return strings.Join(words, ", ")
}

// gpioPosition returns ", pin22" for a line of a Raspberry Pi's header, and nothing for any other.
func gpioPosition(info gpio.ChipInfo, offset int) string {
	for n := 1; n <= 40; n++ {
		pin := fmt.Sprintf("pin%d", n)
		if at, err := info.Find(pin); err == nil && at == offset {
			return ", " + pin
		}
	}
	return ""
}

// gpioState is a set-up in force.
type gpioState struct {
	options gpioOptions
	chip    gpio.Chip
	name    string // the chip's own name, however the set-up spells it
	lines   []*gpioLine
}

// held returns the line of a point, if the agent holds it.
func (s *gpioState) held(path string) (*gpioLine, error) {
	for _, l := range s.lines {
		switch {
		case l.path != path:
		case l.line == nil:
			return nil, reports.Errorf(reports.CodeOffline, "%s was released; set-up takes it again", path)
		default:
			return l, nil
		}
	}
	return nil, reports.Errorf(reports.CodeUnknown, "%.140q is no output and no input", path)
}

// at returns the line of the state at an offset, if it is held.
func (s *gpioState) at(offset int) *gpioLine {
	for _, l := range s.lines {
		if l.wiring.offset == offset && l.line != nil {
			return l
		}
	}
	return nil
}

// release gives a line back, or with "" all.
func (s *gpioState) release(path string) error {
	if path != "" {
		if _, err := s.held(path); err != nil {
			return err
		}
	}
	var errs []error
	for _, l := range s.lines {
		if (path == "" || path == l.path) && l.line != nil {
			errs = append(errs, l.release())
		}
	}
	return errors.Join(errs...)
}

func (l *gpioLine) release() error {
	err := l.line.Close()
	l.line = nil
	if err != nil {
		return fmt.Errorf("release %s: %w", l.path, err)
	}
	return nil
}

// close gives back the lines and the chip.
func (s *gpioState) close() error {
	err := s.release("")
	if s.chip != nil {
		err = errors.Join(err, s.chip.Close())
	}
	return err
}
