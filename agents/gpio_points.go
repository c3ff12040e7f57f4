package agents

import (
	"fmt"
	"strings"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/output"
	"rollcall/reports"
)

// Paths of the points of the service itself.
const (
	gpioLostPath     = "lost"
	gpioFailsafePath = "failsafe"
	gpioChipPath     = "chip"
	gpioInputsPath   = "inputs"
	gpioOutputsPath  = "outputs"
)

// Arguments of sets.
const (
	gpioArgFor  = "for"
	gpioArgFade = "fade"
)

// points returns the points of a set-up in force.
func (s *gpioState) points() []reports.Point {
	var out []reports.Point
	for _, l := range s.lines {
		points := l.points(s.info)
		if !l.hold.held() {
			points = gpioReleased(points)
		}
		out = append(out, points...)
	}
	return append(out, s.own()...)
}

// paths returns the paths of all points that a set-up has once its lines are held.
func (s *gpioState) paths() (out []string) {
	for _, l := range s.lines {
		for _, p := range l.points(s.info) {
			out = append(out, p.Path)
		}
	}
	for _, p := range s.own() {
		out = append(out, p.Path)
	}
	return out
}

// points returns the points of a line that is held.
func (l *gpioLine) points(info gpio.ChipInfo) []reports.Point {
	switch {
	case l.out != nil:
		return l.outputPoints(info)
	case l.sense != nil:
		return l.inputPoints(info)
	case l.mod.servo != nil:
		return []reports.Point{{Path: l.path, Label: l.label, Help: l.help(info), Type: reports.Float, Unit: "°", Genre: reports.Basic,
			Access: reports.Get | reports.Set, Min: reports.Ptr(l.mod.min), Max: reports.Ptr(l.mod.max), Janitoo: l.janitoo("servo", "angle")}}
	}
	return []reports.Point{{Path: l.path, Label: l.label, Help: l.help(info) + "; while it fades this is where to", Type: reports.Float, Unit: "%",
		Genre: reports.Basic, Access: reports.Get | reports.Set, Min: reports.Ptr(0), Max: reports.Ptr(100), Args: []string{gpioArgFade},
		Janitoo: l.janitoo("pwm", "level")}}
}

// janitoo returns what Janitoo calls a point of the line: each line is a node.
func (l *gpioLine) janitoo(component, value string) string {
	return fmt.Sprintf("rpigpio.%s@%s;pin=%d/%s", component, l.name, l.wiring.offset, value)
}

// own returns the points of the service itself.
func (s *gpioState) own() (out []reports.Point) {
	if s.simulated() {
		out = append(out, simulatedPoint())
	}
	names := func(path, kind string) reports.Point {
		return reports.Point{Path: path, Label: path, Type: reports.JSON, Genre: reports.Config, Access: reports.Get | reports.Set,
			Help: "Names of the " + path + "; set to a list of names, it makes " + kind + " of these, and saves that"}
	}
	return append(out,
		reports.Point{Path: gpioLostPath, Label: "Lost edges", Type: reports.Int, Genre: reports.System, Access: reports.Get,
			Help: "Edges that the kernel or the service had no room for, since the start; the inputs were read again"},
		reports.Point{Path: gpioFailsafePath, Label: "Failsafe", Type: reports.Bool, Genre: reports.System, Class: "problem", Access: reports.Get,
			Help: "The failsafe of an output has acted, and nobody has commanded it since"},
		reports.Point{Path: gpioChipPath, Label: "Chip", Type: reports.JSON, Genre: reports.System, Access: reports.Get,
			Help: "The chip and all its lines: who holds them, and as what"},
		names(gpioInputsPath, "inputs"), names(gpioOutputsPath, "outputs"))
}

// simulated reports whether the chip is the one in memory.
func (s *gpioState) simulated() bool { return s.options.Chip == gpioSim }

// gpioReleased returns what is left of the points of a line that was released: no state, and sets that are refused with the reason.
func gpioReleased(points []reports.Point) []reports.Point {
	var out []reports.Point
	for _, p := range points {
		if p.Access.Has(reports.Set) {
			p.Access, p.Poll = reports.Set, 0
			out = append(out, p)
		}
	}
	return out
}

func (l *gpioLine) outputPoints(info gpio.ChipInfo) []reports.Point {
	help := l.help(info)
	if l.out.MaxOn > 0 {
		help += fmt.Sprintf(", on for %s at most", l.out.MaxOn)
	}
	if l.out.Single {
		help += fmt.Sprintf(", one-shot of %s", l.out.Pulse)
	}
	out := []reports.Point{{Path: l.path, Label: l.label, Help: help, Type: reports.Bool, Genre: reports.Basic, Access: reports.Get | reports.Set,
		Class: l.out.class(), Args: []string{gpioArgFor}, Janitoo: l.janitoo("output", "switch")}}
	if l.blinks() {
		out[0].Janitoo = l.janitoo("led", "switch")
		out = append(out, reports.Point{Path: "blink/" + l.name, Label: l.label + " pattern", Type: reports.Enum, Genre: reports.User,
			Access: reports.Get | reports.Set, Options: strings.Fields(gpioPatterns(" ")),
			Janitoo: l.janitoo("led", "blink"), Help: "How " + l.path + " blinks; while it does, that counts as on"})
	}
	return out
}

// gpioQuietScan is how often an input is read of which neither edges nor an interval are asked for, so that its state is no old one.
const gpioQuietScan = 10 * time.Second

func (l *gpioLine) inputPoints(info gpio.ChipInfo) []reports.Point {
	s := l.sense
	p := reports.Point{Path: l.path, Label: l.label, Help: l.help(info), Type: reports.Bool, Genre: reports.Basic, Access: reports.Get, Class: s.class, Poll: s.scan,
		Janitoo: l.janitoo("input", "state")}
	if s.tell && s.edge != gpioBoth && s.scan == 0 {
		// Nobody would tell of the other level: as a state it would stand for ever, and hide the next edge.
		p.Access = reports.Event
	}
	if !s.tell && s.scan == 0 {
		p.Poll = reports.Duration(gpioQuietScan)
	}
	out := []reports.Point{p}
	if s.count {
		out = append(out,
			reports.Point{Path: "count/" + l.name, Label: l.label + " count", Type: reports.Int, Genre: reports.User, Access: reports.Get,
				StateClass: reports.TotalIncreasing, Help: "Rising edges of " + l.path + " since it was taken"},
			reports.Point{Path: "total/" + l.name, Label: l.label + " total", Type: reports.Int, Genre: reports.User, Access: reports.Get | reports.Set,
				StateClass: reports.Total, Min: reports.Ptr(0), Max: reports.Ptr(gpioTotalMost), Help: "Rising edges of " + l.path + " in all; it survives restarts, and a power cut costs 10 s of it at most"},
			reports.Point{Path: "rate/" + l.name, Label: l.label + " rate", Type: reports.Float, Unit: "Hz", Class: "frequency", Genre: reports.User, Access: reports.Get,
				Help: "Rising edges of " + l.path + " a second, over ten seconds"})
	}
	if s.presses() {
		var options []string
		for _, o := range []struct {
			name string
			is   bool
		}{{"single", true}, {"double", s.dblClick > 0}, {"long", s.longPress > 0}} {
			if o.is {
				options = append(options, o.name)
			}
		}
		out = append(out, reports.Point{Path: "press/" + l.name, Label: l.label + " press", Type: reports.Enum, Genre: reports.Basic, Access: reports.Event,
			Options: options, Help: "Presses of " + l.path})
	}
	return out
}

// gpioTotalMost is the largest total that every reader of JSON takes for what it is.
const gpioTotalMost = 1 << 53

// help says which line it is by all its names, so that nobody has to guess which numbering was meant.
func (l *gpioLine) help(info gpio.ChipInfo) string {
	w := l.wiring
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
	if w.switched() && w.drive != gpio.PushPull {
		words = append(words, string(w.drive))
	}
	switch {
	case w.hardware:
		words = append(words, fmt.Sprintf("by pwmchip%d/%d every %s", w.chip, w.channel, w.period))
	case w.period > 0:
		words = append(words, fmt.Sprintf("by software every %s", w.period))
	}
	if l.hold != nil && l.hold.soft {
		words = append(words, fmt.Sprintf("debounced for %s by the service, since the kernel can't", w.debounce))
	}
	return strings.Join(words, ", ")
}

// gpioPosition returns ", pin22" for a line of a Raspberry Pi's header, and nothing for any other.
func gpioPosition(info gpio.ChipInfo, offset int) string {
	if n := info.HeaderPin(offset); n > 0 {
		return fmt.Sprintf(", pin%d", n)
	}
	return ""
}

// gpioPatterns returns the names of the blink patterns.
func gpioPatterns(sep string) string {
	var names []string
	for _, p := range output.Patterns() {
		names = append(names, p.Name)
	}
	return strings.Join(names, sep)
}

// sample reads a point.
func (a *gpioAgent) sample(path string) (reports.Reading, error) {
	at := a.stamp(time.Now()) // an edge that comes while it is read is newer
	v, err := a.value(path)
	if err != nil {
		return reports.Reading{}, err
	}
	return reports.Reading{Path: path, Value: v, Time: at, Stale: v == nil}, nil
}

// value returns the value of a point; nil: it has none yet.
func (a *gpioAgent) value(path string) (any, error) {
	switch path {
	case gpioLostPath:
		return a.lost, nil
	case simulatedPath:
		return true, nil
	case gpioFailsafePath:
		return a.failsafe(), nil
	case gpioChipPath:
		return a.chipValue()
	case gpioInputsPath:
		return a.present.names(func(l *gpioLine) bool { return l.sense != nil }), nil
	case gpioOutputsPath:
		return a.present.names(func(l *gpioLine) bool { return l.out != nil }), nil
	}
	l, err := a.present.held(gpioOwner(path))
	if err != nil {
		return nil, err
	}
	kind, _, _ := strings.Cut(path, "/")
	now := time.Now()
	switch kind {
	case "input":
		return a.level(l, now)
	case "output":
		if err := a.readBack(l); err != nil {
			return nil, err
		}
		a.tellOutput(l, true)
		return l.said.on, nil
	case "blink":
		return a.shown(l).patternName(), nil
	case "count", "total", "rate":
		return l.countValue(kind, now)
	}
	return l.modValue(), nil
}

// gpioOwner returns the path of the line that a point belongs to.
func gpioOwner(path string) string {
	kind, name, _ := strings.Cut(path, "/")
	switch kind {
	case "blink":
		return "output/" + name
	case "count", "total", "rate":
		return "input/" + name
	}
	return path
}

func (l *gpioLine) countValue(kind string, now time.Time) (any, error) {
	if l.sense == nil || !l.sense.count {
		return nil, reports.Errorf(reports.CodeUnknown, "%s does not count", l.path)
	}
	switch c := l.count(now); kind {
	case "count":
		return int64(c.Count), nil
	case "total":
		return int64(c.Total), nil
	default:
		return gpioRate(c.Rate), nil
	}
}
