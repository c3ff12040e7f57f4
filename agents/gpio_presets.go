package agents

import (
	"cmp"
	"strings"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// A preset sets the class of what it names, by which Home Assistant and others know what to show, and defaults of what the
// set-up does not say. What is in force is what resolved returns; the document stays as it was written.

// gpioPulse is how long a pulse of a one-shot output is by default.
const gpioPulse = 500 * time.Millisecond

// gpioDeadTime is the default dead time of interlocks.
const gpioDeadTime = 100 * time.Millisecond

// resolved returns the output with its defaults in place.
func (o gpioOutput) resolved() gpioOutput {
	o.Initial = cmp.Or(o.Initial, gpioOff)
	o.Drive = cmp.Or(o.Drive, gpio.PushPull)
	if o.Single {
		o.Pulse = cmp.Or(o.Pulse, reports.Duration(gpioPulse))
	}
	if o.Safe == "" {
		o.Safe = gpioSafeOff
		if kept := o.Initial == gpioKeep || o.Initial == gpioRestore; kept && !o.limited() && o.As != gpioValve && o.As != gpioRelay {
			o.Safe = gpioSafeKeep
		}
	}
	return o
}

// limited reports whether something limits how long the output is on, which nobody would do once the service has stopped.
func (o gpioOutput) limited() bool { return o.MaxOn > 0 || o.Single }

// blinks reports whether it has a point for patterns.
func (l *gpioLine) blinks() bool { return l.out != nil && l.out.As == gpioLED }

// class returns what kind of output it is, in the words of Home Assistant.
func (o gpioOutput) class() string {
	return map[gpioPreset]string{gpioRelay: "switch", gpioLED: "light", gpioValve: "valve"}[o.As]
}

// gpioSense is what the presets of inputs say where the set-up says nothing.
type gpioSense struct {
	class             string
	pull              gpio.Bias
	activeLow         bool // if the pull is up
	debounce          time.Duration
	longPress, double time.Duration
	count             bool
	onChange          gpioOnChange
}

func gpioSenseOf(p gpioPreset) gpioSense {
	switch p {
	case gpioButton: // to ground
		return gpioSense{pull: gpio.PullUp, activeLow: true, debounce: 20 * time.Millisecond, longPress: time.Second, double: 300 * time.Millisecond}
	case gpioPIR: // its sensor drives the line high
		return gpioSense{class: "motion", pull: gpio.PullDown}
	case gpioDoor: // a contact to ground that an open door opens
		return gpioSense{class: "door", pull: gpio.PullUp, debounce: 50 * time.Millisecond}
	case gpioLeak: // water closes a contact to ground
		return gpioSense{class: "moisture", pull: gpio.PullUp, activeLow: true, debounce: 100 * time.Millisecond}
	case gpioMeter: // a contact to ground or an open collector, as of DIN EN 62053-31 (S0), whose pulses last 30 ms at least
		return gpioSense{pull: gpio.PullUp, activeLow: true, debounce: 5 * time.Millisecond, count: true, onChange: gpioQuiet}
	}
	return gpioSense{}
}

// gpioSensed is an input with its defaults in place.
type gpioSensed struct {
	class                         string
	pull                          gpio.Bias
	activeLow, count, tell        bool
	topic                         string // that edges are published on as well, or ""
	edge                          gpioEdge
	debounce, longPress, dblClick time.Duration
	scan                          reports.Duration
}

// resolved returns the input with its defaults in place.
func (i gpioInput) resolved() gpioSensed {
	p := gpioSenseOf(i.As)
	onChange := cmp.Or(i.OnChange, p.onChange, gpioTell)
	s := gpioSensed{
		class: p.class, pull: cmp.Or(i.Pull, p.pull), count: orDefault(i.Count, p.count), tell: onChange != gpioQuiet, topic: onChange.topic(),
		edge: cmp.Or(i.Edge, gpioBoth), scan: i.Scan,
		debounce:  time.Duration(orDefault(i.Debounce, reports.Duration(p.debounce))),
		longPress: time.Duration(orDefault(i.LongPress, reports.Duration(p.longPress))),
		dblClick:  time.Duration(orDefault(i.DoubleClick, reports.Duration(p.double))),
	}
	s.activeLow = orDefault(i.ActiveLow, p.activeLow && s.pull == gpio.PullUp)
	return s
}

// presses reports whether presses are told of.
func (s gpioSensed) presses() bool { return s.longPress > 0 || s.dblClick > 0 }

// watched reports whether the input needs its edges.
func (s gpioSensed) watched() bool { return s.tell || s.count || s.presses() }

// orDefault returns what p points to, or the default.
func orDefault[T any](p *T, d T) T {
	if p == nil {
		return d
	}
	return *p
}

// gpioKey is a key of a set-up, and whether it says something there.
type gpioKey struct {
	name string
	says bool
}

func gpioSaying(keys []gpioKey) string {
	var names []string
	for _, k := range keys {
		if k.says {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ", ")
}

// ownKeys returns the keys that say something which an input can't have.
func (o gpioOutput) ownKeys() string {
	return gpioSaying([]gpioKey{
		{"as", o.As != ""}, {"initial", cmp.Or(o.Initial, gpioOff) != gpioOff}, {"safe", cmp.Or(o.Safe, gpioSafeOff) != gpioSafeOff},
		{"drive", cmp.Or(o.Drive, gpio.PushPull) != gpio.PushPull}, {"max_on", o.MaxOn != 0}, {"pulse", o.Pulse != 0},
		{"single", o.Single}, {"failsafe", o.Failsafe != nil},
	})
}

// ownKeys returns the keys that say something which an output can't have.
func (i gpioInput) ownKeys() string {
	return gpioSaying([]gpioKey{
		{"as", i.As != ""}, {"on_change", cmp.Or(i.OnChange, gpioTell) != gpioTell}, {"scan", i.Scan != 0},
		{"debounce", orDefault(i.Debounce, 0) != 0}, {"edge", cmp.Or(i.Edge, gpioBoth) != gpioBoth}, {"count", orDefault(i.Count, false)},
		{"long_press", orDefault(i.LongPress, 0) != 0}, {"double_click", orDefault(i.DoubleClick, 0) != 0},
	})
}
