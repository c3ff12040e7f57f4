package agents

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// take requests the lines of next that the present state does not hold as they are to be: new ones first, since they are the
// ones that fail, then those whose wiring changes. It returns what undoes it, in the order in which it was done.
func (a *gpioAgent) take(next gpioState) (undo []func() error, err error) {
	var changed []func() error
	for _, l := range next.lines {
		var old *gpioLine
		if next.chip == a.present.chip {
			old = a.present.at(l.wiring.offset)
		}
		switch {
		case old == nil:
			if err := a.takeNew(next.chip, l); err != nil {
				return undo, err
			}
			undo = append(undo, l.release)
		case old.wiring == l.wiring:
			l.line, l.value = old.line, old.value
		default:
			changed = append(changed, func() error {
				back, err := a.retake(next.chip, old, l)
				undo = append(undo, back...)
				return err
			})
		}
	}
	for _, change := range changed {
		if err := change(); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

// takeNew requests a line that nobody holds. To keep its level it is read as an input first; where the firmware drives it as an
// output, it floats for that moment, some 100 µs.
func (a *gpioAgent) takeNew(chip gpio.Chip, l *gpioLine) error {
	l.value = gpioBit(l.initial == gpioOn)
	if l.wiring.output && l.initial == gpioKeep {
		probe, err := chip.Request(l.wiring.offset, gpio.LineOptions{Consumer: a.consumer()})
		if err != nil {
			return fmt.Errorf("take %s: %w", l.path, err)
		}
		level, err := probe.Value()
		if err = errors.Join(err, probe.Close()); err != nil {
			return fmt.Errorf("read the level of %s: %w", l.path, err)
		}
		l.value = level ^ gpioBit(l.wiring.activeLow)
	}
	return a.request(chip, l)
}

// retake gives the line of old back and requests it as l wants it.
func (a *gpioAgent) retake(chip gpio.Chip, old, l *gpioLine) (undo []func() error, err error) {
	l.value = gpioBit(l.initial == gpioOn)
	if l.wiring.output && l.initial == gpioKeep {
		value := old.value
		if !old.wiring.output {
			if value, err = old.line.Value(); err != nil {
				return nil, fmt.Errorf("read %s: %w", old.path, err)
			}
		}
		l.value = value ^ gpioBit(old.wiring.activeLow) ^ gpioBit(l.wiring.activeLow)
	}
	err = old.release()
	undo = append(undo, func() error { return a.request(chip, old) })
	if err != nil {
		return undo, err
	}
	if err := a.request(chip, l); err != nil {
		return undo, err
	}
	return append(undo, l.release), nil
}

// request takes a line with its value. Edges are told of once it is live.
func (a *gpioAgent) request(chip gpio.Chip, l *gpioLine) error {
	w := l.wiring
	o := gpio.LineOptions{Consumer: a.consumer(), Output: w.output, ActiveLow: w.activeLow, Bias: w.pull, Debounce: w.debounce}
	if w.output {
		o.Value, o.Drive = l.value, w.drive
	}
	if w.edges != "" {
		o.Events = func(e gpio.Event) {
			if l.live.Load() && w.edge.wants(e.Rising) {
				a.events.put(reports.Reading{Path: w.edges, Value: e.Rising, Time: time.Now()})
			}
		}
	}
	line, err := chip.Request(w.offset, o)
	if err != nil {
		return fmt.Errorf("take %s: %w", l.path, err)
	}
	l.line = line
	return nil
}

// consumer is the name under which the lines are held.
func (a *gpioAgent) consumer() string { return "rollcall-" + a.deps.Service }

// commit makes next the present state, describes it, and gives back what is no longer in it. What can't be given back is only
// logged: the new set-up is in force and saved.
func (a *gpioAgent) commit(next gpioState) {
	old := a.present
	for _, l := range old.lines {
		if l.line == nil || slices.ContainsFunc(next.lines, func(n *gpioLine) bool { return n.line == l.line }) {
			continue
		}
		if err := l.release(); err != nil {
			a.log.Warn("give a line back", "err", err)
		}
	}
	if old.chip != nil && old.chip != next.chip {
		if err := old.chip.Close(); err != nil {
			a.log.Warn("close the old chip", "err", err)
		}
	}
	a.present, a.unmet = next, nil
	points := make([]reports.Point, len(next.lines))
	known := map[string]bool{}
	for i, l := range next.lines {
		points[i] = l.point
		known[l.path] = true
		l.live.Store(true)
	}
	a.events.keep(func(path string) bool { return known[path] })
	a.describe.Store(&reports.Service{Function: "gpio", Points: points})
}
