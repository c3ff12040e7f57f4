package agents

import (
	"cmp"
	"fmt"
	"time"

	"rollcall/gpio/output"
	"rollcall/reports"
)

// gpioShown is what was last made known of an output.
type gpioShown struct {
	on      bool
	pattern string
	known   bool
}

// gpioTold is what was last made known of the service as a whole.
type gpioTold struct {
	failsafe bool
	lost     int64
}

// rules returns what the outputs of a set-up are held to. A modulated output with a failsafe is in it as well, on while it is
// above 0: the bank only says when its failsafe acts.
func (s *gpioState) rules() (specs []output.Spec, groups []output.Group) {
	for _, l := range s.lines {
		switch {
		case l.out != nil:
			specs = append(specs, output.Spec{Name: l.name, On: l.start, Since: l.began.since, Commanded: l.began.commanded, Rules: output.Rules{MaxOn: time.Duration(l.out.MaxOn),
				Pulse: time.Duration(l.out.Pulse), Single: l.out.Single, Failsafe: l.out.Failsafe.rule()}})
		case l.limited():
			specs = append(specs, output.Spec{Name: l.name, On: l.mod.initial > 0, Rules: output.Rules{Failsafe: l.mod.failsafe.rule()}})
		}
	}
	for _, names := range s.options.Interlocks {
		groups = append(groups, output.Group{Names: names, Dead: time.Duration(cmp.Or(s.options.DeadTime, reports.Duration(gpioDeadTime)))})
	}
	return specs, groups
}

func (f *gpioFailsafe) rule() *output.Failsafe {
	if f == nil {
		return nil
	}
	action := output.FailsafeOff
	switch f.Value {
	case gpioStay:
		action = output.FailsafeHold
	case gpioWordOn:
		action = output.FailsafeOn
	}
	return &output.Failsafe{After: time.Duration(f.After), Action: action, Renew: f.Renew}
}

// gpioDriveMost is how often the bank is asked in a row; it has an answer each time only if lines fail.
const gpioDriveMost = 8

// drive tells the lines what the bank wants them to be.
func (a *gpioAgent) drive() {
	for range gpioDriveMost {
		if a.bank == nil {
			return
		}
		now := time.Now()
		changes := a.bank.Due(now)
		for _, c := range changes {
			a.carryOut(c, now)
		}
		if len(changes) == 0 {
			break
		}
	}
	a.keep()
	a.failsafes()
	a.look(time.Now())
}

// carryOut tells one line. An ON that is no longer wanted, since the OFF of another one failed, is passed over.
func (a *gpioAgent) carryOut(c output.Change, now time.Time) {
	l := a.present.byPath["output/"+c.Name]
	if l == nil || !l.hold.held() || c.On && !a.bank.State(c.Name).On {
		return
	}
	if c.Why != output.WhyCommand && c.Why != output.WhyBlink && c.Why != output.WhyPulse {
		a.log.Warn("output switched", "output", c.Name, "on", c.On, "why", c.Why)
	}
	l.err = l.drive(c.On)
	if l.err != nil {
		_ = a.failed(l.err) // only looked at
		a.log.Error("output can't be switched", "output", c.Name, "on", c.On, "err", l.err)
		a.bank.Failed(c.Name, !c.On, now)
	}
}

// switchBy tells the lines of a set-up what a bank wants them to be, and returns when that is to be asked again.
func (a *gpioAgent) switchBy(s *gpioState, bank *output.Bank, now time.Time) time.Time {
	for _, c := range bank.Due(now) {
		l := s.byPath["output/"+c.Name]
		if l == nil || l.out == nil || !l.hold.held() || c.On && !bank.State(c.Name).On {
			continue
		}
		if err := l.drive(c.On); err != nil {
			bank.Failed(c.Name, !c.On, now)
		}
	}
	return bank.Next()
}

// drive tells the line and reads it back.
func (l *gpioLine) drive(on bool) error {
	if err := l.hold.line.SetValue(gpioBit(on)); err != nil {
		return fmt.Errorf("set %s: %w", l.path, err)
	}
	l.hold.value = gpioBit(on)
	l.seen, l.fresh = on, false
	if v, err := l.hold.line.Value(); err == nil { // an error comes out when it is asked for
		l.seen, l.fresh = v == 1, true
	}
	return nil
}

// shown returns what is to be made known of an output: one that blinks is on all the while, but not before it has begun.
func (a *gpioAgent) shown(l *gpioLine) gpioShown {
	s := a.bank.State(l.name)
	return gpioShown{on: l.seen || s.Pattern != "" && !s.Pending, pattern: s.Pattern, known: true}
}

// pattern returns the value of the blink point.
func (s gpioShown) patternName() string {
	switch {
	case s.pattern != "":
		return s.pattern
	case s.on:
		return gpioWordOn
	}
	return gpioWordOff
}

// tell makes known what has changed by itself.
func (a *gpioAgent) tell() {
	for _, l := range a.present.lines {
		if l.out != nil && l.hold.held() {
			a.tellOutput(l, false)
		}
	}
	if is := a.failsafe(); is != a.told.failsafe {
		a.told.failsafe = is
		a.put(gpioFailsafePath, is, time.Now())
	}
	if a.lost != a.told.lost {
		a.told.lost = a.lost
		a.put(gpioLostPath, a.lost, time.Now())
	}
}

// tellOutput makes known what has become of an output; answered: but for its state, which the runner gets as an answer.
func (a *gpioAgent) tellOutput(l *gpioLine, answered bool) {
	is, was := a.shown(l), l.said
	l.said = is
	if !was.known {
		return
	}
	if is.on != was.on && !answered {
		a.put(l.path, is.on, time.Now())
	}
	if l.blinks() && is.patternName() != was.patternName() {
		a.put("blink/"+l.name, is.patternName(), time.Now())
	}
}

// failsafe reports whether the failsafe of any output has acted.
func (a *gpioAgent) failsafe() bool {
	for _, l := range a.present.lines {
		if a.bank.State(l.name).Failsafe {
			return true
		}
	}
	return false
}

// command has the bank take a command for an output and carries it out. The reading is what was read back.
func (a *gpioAgent) command(path string, do func(name string, now time.Time) error) (reports.Reading, error) {
	l, err := a.output(path)
	if err != nil {
		return reports.Reading{}, err
	}
	if err := do(l.name, time.Now()); err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeOutOfRange, "%s: %w", path, err)
	}
	l.err, l.fresh = nil, false
	a.drive()
	if l.err != nil {
		a.readBack(l)
		return reports.Reading{}, l.err
	}
	s := a.bank.State(l.name)
	if s.Pattern == "" {
		if !l.fresh {
			if err := a.readBack(l); err != nil {
				return reports.Reading{}, err
			}
		}
		if was := l.hold.value == 1; was != l.seen {
			return reports.Reading{}, reports.Errorf(reports.CodeDevice, "%s was set %s but the line reads %s: something else drives it",
				path, reports.FormatValue(was), reports.FormatValue(l.seen))
		}
	}
	a.tellOutput(l, true)
	return reports.Reading{Path: path, Value: l.said.on, Time: a.stamp(time.Now())}, nil
}

// readBack reads what is on the line of an output.
func (a *gpioAgent) readBack(l *gpioLine) error {
	v, err := l.hold.line.Value()
	if err != nil {
		return a.failed(fmt.Errorf("read %s back: %w", l.path, err))
	}
	l.seen = v == 1
	return nil
}

// output returns the line of an output by its path.
func (a *gpioAgent) output(path string) (*gpioLine, error) {
	l, err := a.present.held(path)
	if err == nil && l.out == nil {
		err = reports.Errorf(reports.CodeReadOnly, "%s is an input", path)
		if l.mod != nil {
			err = reports.Errorf(reports.CodeUnsupported, "%s is modulated, not switched", path)
		}
	}
	return l, err
}

// setOutput switches an output.
func (a *gpioAgent) setOutput(path string, on bool, d time.Duration) (reports.Reading, error) {
	return a.command(path, func(name string, now time.Time) error { return a.bank.Set(name, on, d, now) })
}

// blink has an output blink by a pattern.
func (a *gpioAgent) blink(path, pattern string) (reports.Reading, error) {
	p, ok := output.FindPattern(pattern)
	if !ok {
		return reports.Reading{}, reports.Errorf(reports.CodeOutOfRange, "pattern %.40q is not known; known are %s", pattern, gpioPatterns(", "))
	}
	return a.command(path, func(name string, now time.Time) error { return a.bank.Blink(name, p, now) })
}

// setPattern has an output blink by a pattern, and returns that instead of whether it is on, which it puts on the events.
func (a *gpioAgent) setPattern(path, pattern string) (reports.Reading, error) {
	r, err := a.blink(path, pattern)
	if err != nil {
		return r, err
	}
	a.put(path, r.Value, r.Time)
	return reports.Reading{Value: a.present.byPath[path].said.patternName(), Time: a.stamp(time.Now())}, nil
}

// toggle switches an output to what it is not, and is not about to be, for a time or with 0 for good.
func (a *gpioAgent) toggle(path string, d time.Duration) (reports.Reading, error) {
	l, err := a.output(path)
	if err != nil {
		return reports.Reading{}, err
	}
	s := a.bank.State(l.name)
	return a.setOutput(path, !(s.On || s.Pending || s.Pattern != ""), d)
}

// pulse has an output be on for a time, its own if d is 0.
func (a *gpioAgent) pulse(path string, d time.Duration) (reports.Reading, error) {
	return a.command(path, func(name string, now time.Time) error { return a.bank.Pulse(name, d, now) })
}
