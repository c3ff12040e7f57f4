package agents

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/output"
)

// gpioTaking brings the lines of a set-up into being: first what can be refused without touching anything, then new lines, since
// they are the ones that fail, then those that change. What was done can be undone until commit.
type gpioTaking struct {
	a    *gpioAgent
	next *gpioState
	bank *output.Bank
	undo []func() error
}

// take requests the lines of next that the present state does not hold as they are to be.
func (t *gpioTaking) take() error {
	for _, l := range t.next.lines {
		if t.next.chip == t.a.present.chip {
			l.old = t.a.present.at(l.wiring.offset)
		}
	}
	for _, step := range []func() error{t.watch, t.starts, t.rules, t.lines, t.begin} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// starts finds out what each output begins with.
func (t *gpioTaking) starts() error {
	for _, l := range t.next.lines {
		old := l.old
		l.stays = l.out != nil && old != nil && old.wiring.switched() && old.wiring.activeLow == l.wiring.activeLow
	}
	for _, l := range t.next.lines {
		if l.out == nil {
			continue
		}
		switch {
		case l.stays:
			l.start = l.old.hold.value == 1
		case l.out.Initial == gpioOn:
			l.start = true
		case l.out.Initial == gpioRestore:
			l.start = t.a.kept.value(l.name) && !gpioAnew(t.next.lines, l.name)
		case l.out.Initial == gpioKeep:
			level, err := t.level(l)
			if err != nil {
				return err
			}
			l.start = (level == 1) != l.wiring.activeLow
		}
		if t.a.bank == nil && l.start {
			t.goOn(l)
		}
	}
	return nil
}

// goOn has an output that was on in the run before be that one still: what is over of its time counts, and without a rest of it, it
// begins off. A boot has all lines off, so that only what is to be restored is still the one of before it.
func (t *gpioTaking) goOn(l *gpioLine) {
	was, ok := t.a.kept.began[l.name]
	if !ok || !l.aged() || was.booted && !l.restored() {
		return
	}
	l.began = was
	if l.out.over(was, time.Now()) {
		t.a.log.Warn("an output begins off: its time was over before the start", "output", l.name)
		l.start = false
	}
}

// gpioAnew reports whether what had the name before goes on by another one, so that an output of this name, which does not stay,
// was never told anything.
func gpioAnew(lines []*gpioLine, name string) bool {
	return slices.ContainsFunc(lines, func(l *gpioLine) bool { return l.stays && l.name != name && l.old.name == name })
}

// level returns the physical level that is on the line of an output that is to keep it: of one that we hold what it was told,
// not what others have made of it. One that nobody holds is requested as it is, and becomes an output in place.
func (t *gpioTaking) level(l *gpioLine) (int, error) {
	if old := l.old; old != nil {
		value := old.hold.value
		switch {
		case old.wiring.period != 0: // it has no level to be kept
			return gpioBit(l.wiring.activeLow), nil
		case !old.wiring.output:
			var err error
			if value, err = old.hold.line.Value(); err != nil {
				return 0, fmt.Errorf("read %s: %w", old.path, err)
			}
		}
		return value ^ gpioBit(old.wiring.activeLow), nil
	}
	line, err := t.next.chip.Request(l.wiring.offset, gpio.LineOptions{Consumer: t.a.consumer(), AsIs: true})
	if err != nil {
		return 0, fmt.Errorf("take %s: %w", l.path, err)
	}
	l.hold = &gpioHold{line: line, probed: true}
	t.undo = append(t.undo, l.hold.release)
	level, err := line.Value()
	if err != nil {
		return 0, fmt.Errorf("read the level of %s: %w", l.path, err)
	}
	return level, nil
}

// rules makes the bank of the outputs and their interlocks.
func (t *gpioTaking) rules() error {
	now := time.Now()
	was := map[string]output.Was{}
	for _, l := range t.next.lines {
		if old := l.old; old != nil && (l.out != nil && old.out != nil || l.limited() && old.limited()) {
			was[l.name] = output.Was{Name: old.name, Kept: l.stays || l.limited() && old.wiring == l.wiring, Steady: l.stays && old.blinks() && !l.blinks()}
		}
	}
	t.settle(was)
	for { // with all that begins on, as a check, and then without what waits for its dead time
		specs, groups := t.next.rules()
		var err error
		if t.a.bank == nil {
			t.bank, err = output.New(specs, groups, now)
		} else {
			t.bank, err = t.a.bank.Replace(specs, groups, was, now)
		}
		if err != nil {
			return &gpioFault{"interlocks", err}
		}
		if !t.delay() {
			return nil
		}
	}
}

// delay has interlocked outputs that begin on be taken off, and go on later: nobody knows since when the others are off. One that
// keeps its level is on already.
func (t *gpioTaking) delay() (some bool) {
	for _, group := range t.next.options.Interlocks {
		for _, name := range group {
			if l := t.next.byPath["output/"+name]; l.start && !l.stays && l.out.Initial != gpioKeep {
				l.start, l.later, some = false, true, true
			}
		}
	}
	return some
}

// settle has outputs begin off that would begin on because of what was there, beside one that they are interlocked with.
func (t *gpioTaking) settle(was map[string]output.Was) {
	on := func(name string) bool {
		l := t.next.byPath["output/"+name]
		if w := was[name]; w.Kept {
			s := t.a.bank.State(w.Name)
			return s.On || s.Pending || s.Pattern != ""
		}
		return l.start
	}
	for _, group := range t.next.options.Interlocks {
		for i, name := range group {
			l := t.next.byPath["output/"+name]
			if !l.start || l.stays || l.out.Initial == gpioOn {
				continue // what we hold is not switched by a set-up, and who says on shall have it, or be refused
			}
			for j, other := range group {
				// Of two that both begin by what was there, the first of the group stays.
				o := t.next.byPath["output/"+other]
				if j != i && on(other) && (j < i || o.stays || o.out.Initial == gpioOn) {
					t.a.log.Warn("an output begins off, since one that it is interlocked with is on", "output", name, "other", other)
					l.start = false
				}
			}
		}
	}
}

// lines requests and reconfigures what must be.
func (t *gpioTaking) lines() error {
	var changed []*gpioLine
	for _, l := range t.next.lines {
		switch {
		case l.old != nil && l.old.wiring == l.wiring:
			l.hold = l.old.hold
		case l.old != nil:
			changed = append(changed, l)
		default:
			if err := t.fresh(l); err != nil {
				return err
			}
		}
	}
	for _, l := range changed {
		if err := t.change(l); err != nil {
			return err
		}
	}
	return nil
}

// fresh takes a line that nobody holds, or that was requested as it is.
func (t *gpioTaking) fresh(l *gpioLine) error {
	if probe := l.hold; probe != nil {
		err := t.a.configure(l, &gpioHold{}, func(o gpio.LineOptions, h *gpioHold) error {
			h.line = probe.line
			return probe.line.Reconfigure(o)
		})
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		// The kernel is too old: it has to let go of the line for some 100 µs.
		if err := probe.release(); err != nil {
			return fmt.Errorf("take %s: %w", l.path, err)
		}
	}
	if err := t.a.request(t.next.chip, l); err != nil {
		return err
	}
	t.undo = append(t.undo, l.release)
	return nil
}

// change makes a line that we hold what it is to be now: in place where that is possible, so that nothing flickers and nobody
// else can take it.
func (t *gpioTaking) change(l *gpioLine) error {
	a, old := t.a, l.old
	if old.wiring.period == 0 && l.wiring.period == 0 {
		err := a.reconfigure(l, old.hold.line)
		if err == nil {
			t.undo = append(t.undo, func() error { return a.reconfigure(old, old.hold.line) })
			return nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	t.undo = append(t.undo, func() error { return a.request(t.next.chip, old) })
	if err := old.release(); err != nil {
		return err
	}
	if err := a.request(t.next.chip, l); err != nil {
		return err
	}
	t.undo = append(t.undo, l.release)
	return nil
}

// begin reads what inputs begin with, and gives modulated outputs their first value.
func (t *gpioTaking) begin() error {
	for _, l := range t.next.lines {
		var err error
		switch {
		case l.sense != nil:
			err = t.a.beginSense(l)
		case l.mod != nil:
			err = t.beginMod(l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// back undoes what was done, and returns what went wrong with that.
func (t *gpioTaking) back() error {
	var errs []error
	for _, undo := range slices.Backward(t.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}
