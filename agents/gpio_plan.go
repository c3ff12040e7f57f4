package agents

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// plan checks a set-up against the chip and makes the state that it asks for, with no line held yet.
func (a *gpioAgent) plan(o gpioOptions) (next gpioState, err error) {
	next = gpioState{options: o, chip: a.present.chip, byPath: map[string]*gpioLine{}}
	if next.chip == nil || o.Chip != a.present.options.Chip {
		if next.chip, next.options.Chip, err = a.openChip(o.Chip); err != nil {
			return next, &gpioFault{"chip", err}
		}
	}
	defer func() {
		if err != nil && next.chip != a.present.chip {
			err = errors.Join(err, next.chip.Close())
		}
	}()
	if next.info, err = next.chip.Info(); err != nil {
		return next, fmt.Errorf("read chip %s: %w", next.options.Chip, err)
	}
	next.name = next.info.Name
	if next.chip != a.present.chip && next.name == a.present.name { // the same chip, spelt otherwise
		if err := next.chip.Close(); err != nil {
			return next, err
		}
		next.chip = a.present.chip
	}
	if next.lines, err = o.lines(next.info, a.deps.Root); err != nil {
		return next, err
	}
	for _, l := range next.lines {
		next.byPath[l.path] = l
		ours := next.chip == a.present.chip && a.present.at(l.wiring.offset) != nil
		if is := next.info.Lines[l.wiring.offset]; is.Used && !ours && !l.wiring.hardware {
			return next, &gpioFault{l.at + ".pin", fmt.Errorf("line %d of %s is held by %.40q", l.wiring.offset, next.info, is.Consumer)}
		}
	}
	return next, a.openTotals(next.lines)
}

// openChip opens the chip that a set-up names, or the header's.
func (a *gpioAgent) openChip(name string) (gpio.Chip, string, error) {
	if name != "" {
		chip, err := a.open(name)
		return chip, name, err
	}
	if a.deps.OpenChip == nil {
		return gpio.OpenHeader()
	}
	var first error
	for _, label := range gpio.HeaderLabels() {
		chip, err := a.open(label)
		if err == nil {
			return chip, label, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", fmt.Errorf("no chip is named and there is none of a Raspberry Pi's header: %w", first)
}

// commit makes next the present state, describes it, and gives back what is no longer in it. What can't be given back is only
// logged: the new set-up is in force and saved.
func (a *gpioAgent) commit(next gpioState, t *gpioTaking) {
	old := a.present
	a.present, a.bank, a.unmet = next, t.bank, nil
	for _, l := range old.lines {
		a.keepCount(l)
		if !l.hold.held() || slices.ContainsFunc(next.lines, func(n *gpioLine) bool { return n.hold == l.hold || n.hold.line != nil && n.hold.line == l.hold.line }) {
			continue
		}
		if err := errors.Join(l.rest(), l.release()); err != nil {
			a.log.Warn("give a line back", "err", err)
		}
	}
	if old.chip != nil && old.chip != next.chip {
		if err := old.chip.Close(); err != nil {
			a.log.Warn("close the old chip", "err", err)
		}
	}
	for _, l := range next.lines {
		l.hold.owner = l
		if l.out != nil {
			a.adopt(l)
		}
	}
	a.kept.retain(next.lines, a.bank)
	a.kept.began = nil
	for _, l := range next.lines {
		l.old, l.prepared = nil, false
	}
	a.relink()
	a.goOn(next.lines)
	a.drive() // brings lines that stay to what their new rules say
	a.redescribe()
}

// goOn tells the outputs to go on that were not to be taken so.
func (a *gpioAgent) goOn(lines []*gpioLine) {
	for _, l := range lines {
		if !l.later {
			continue
		}
		if err := a.bank.Resume(l.name, time.Now()); err != nil {
			a.log.Error("output does not begin on", "output", l.name, "err", err)
		}
		l.later = false
	}
}

// redescribe describes the present state, and forgets what was to be told of points that are not in it.
func (a *gpioAgent) redescribe() {
	a.guard(time.Now())
	points := a.present.points()
	known := map[string]bool{}
	for _, p := range points {
		known[p.Path] = p.Access != reports.Set
	}
	a.queue.keep(func(path string) bool { return known[path] })
	a.describe.Store(&reports.Service{Function: "gpio", Points: points, Simulated: a.present.simulated()})
}

// rest drives an output that is to be given back to its safe value.
func (l *gpioLine) rest() error {
	switch {
	case l.mod != nil && l.hold.channel != nil:
		return l.stopMod()
	case l.out == nil, l.out.Safe == gpioSafeKeep:
		return nil
	}
	if err := l.hold.line.SetValue(gpioBit(l.out.Safe == gpioSafeOn)); err != nil {
		return fmt.Errorf("set %s: %w", l.path, err)
	}
	return nil
}

// adopt takes over what is known of an output that stays.
func (a *gpioAgent) adopt(l *gpioLine) {
	l.seen = l.hold.value == 1
	if err := a.readBack(l); err != nil {
		a.log.Warn("output can't be read", "err", err)
	}
	if old := l.old; old != nil && old.name == l.name && old.out != nil {
		l.said = old.said
	}
	if !l.said.known {
		l.said = a.shown(l) // the runner reads all that is new
	}
}

// close leaves the outputs safe and gives back the lines and the chip.
func (a *gpioAgent) close() error {
	a.closed = true
	a.kept.dirty = a.kept.dirty || len(a.kept.running) > 0
	for topic := range a.link.stops {
		a.link.stops[topic]()
	}
	var errs []error
	for _, on := range []bool{false, true} { // what goes off does so first
		for _, l := range a.present.lines {
			if l.hold.held() && !a.gone {
				errs = append(errs, a.leave(l, on))
			}
		}
	}
	for _, l := range a.present.lines {
		a.keepCount(l)
		if err := l.release(); err != nil && !a.gone {
			errs = append(errs, err)
		}
	}
	errs = append(errs, a.saveAll())
	if a.present.chip != nil {
		if err := a.present.chip.Close(); err != nil && !a.gone {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// leave drives an output to its safe value, if that is on as asked, and tells of it.
func (a *gpioAgent) leave(l *gpioLine, on bool) error {
	switch {
	case l.mod != nil && l.hold.channel != nil && on == (l.mod.safe == 100):
		if err := l.stopMod(); err != nil {
			return err
		}
		if l.mod.servo == nil {
			a.put(l.path, l.mod.safe, time.Now())
		}
		return nil
	case l.out == nil, l.out.Safe == gpioSafeKeep, on != (l.out.Safe == gpioSafeOn):
		return nil
	}
	if err := l.hold.line.SetValue(gpioBit(on)); err != nil {
		return err
	}
	a.put(l.path, on, time.Now())
	return nil
}
