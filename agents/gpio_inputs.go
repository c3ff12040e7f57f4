package agents

import (
	"fmt"
	"math"
	"time"

	"rollcall/gpio/input"
	"rollcall/reports"
)

// gpioCountsEvery is how often counts are made known while they change, and a rate until it is 0.
const gpioCountsEvery = time.Second

// edges returns the number of the line's last edge.
func (l *gpioLine) edges() uint32 {
	if l.machine == nil {
		return 0
	}
	return l.machine.Seq()
}

// beginSense gives an input its machine: the one that it has if nothing but its label changes.
func (a *gpioAgent) beginSense(l *gpioLine) error {
	old := l.old
	kept := old != nil && old.hold == l.hold && old.machine != nil
	if kept && old.name == l.name && *old.sense == *l.sense {
		l.machine, l.counts, l.counted, l.countsAt, l.countsSaid = old.machine, old.counts, old.counted, old.countsAt, old.countsSaid
		return nil
	}
	level, err := l.hold.line.Value()
	if err != nil {
		return fmt.Errorf("read %s: %w", l.path, err)
	}
	s := l.sense
	o := input.Options{Count: s.count, Long: s.longPress, Double: s.dblClick}
	if l.hold.soft {
		o.Settle = s.debounce
	}
	if kept {
		o.Seq = old.machine.Seq()
	}
	now := time.Now()
	l.machine = input.New(o, level == 1, now)
	if !s.count {
		return nil
	}
	l.machine.SetTotal(a.total(l.name))
	if was := a.present.byPath[l.path]; was != nil && was.counting() {
		c := was.count(now)
		l.machine.SetTotal(c.Total)
		l.counts, l.counted, l.countsAt, l.countsSaid = c.Count, was.counted, was.countsAt, was.countsSaid
	}
	return nil
}

// counting reports whether the line is an input that counts.
func (l *gpioLine) counting() bool { return l.sense != nil && l.sense.count && l.machine != nil }

// count returns what an input has counted, whatever set-ups have changed of it since.
func (l *gpioLine) count(now time.Time) input.Counts {
	c := l.machine.Count(now)
	c.Count += l.counts
	return c
}

// keepCount has the total of an input saved, if it counts.
func (a *gpioAgent) keepCount(l *gpioLine) {
	if !l.counting() {
		return
	}
	if err := a.keepTotal(l.name, l.count(time.Now()).Total); err != nil {
		a.log.Error("total is not kept", "input", l.name, "err", err)
	}
}

// took takes in an edge.
func (a *gpioAgent) took(e gpioSeen) {
	l := e.hold.owner
	if l == nil || l.hold != e.hold || l.machine == nil {
		return
	}
	a.outcome(l, l.machine.Edge(e.event.Rising, e.event.Time, e.hold.base+e.event.Seq, e.at), e.at)
}

// tick tells an input that time has passed, if it waits for that, and makes its counts known.
func (a *gpioAgent) tick(l *gpioLine) {
	now := time.Now()
	for at := l.machine.Next(); !at.IsZero() && !at.After(now); at = l.machine.Next() {
		a.outcome(l, l.machine.Tick(now), now)
	}
	if at := l.countsDue(); !at.IsZero() && !at.After(now) {
		a.tellCounts(l, now)
	}
}

// nextSense returns when tick is due.
func (l *gpioLine) nextSense() time.Time { return earlier(l.machine.Next(), l.countsDue()) }

// outcome makes known what has become of an input.
func (a *gpioAgent) outcome(l *gpioLine, o input.Outcome, at time.Time) {
	if o.Lost > 0 {
		a.lost += int64(o.Lost)
		a.log.Warn("edges were lost", "input", l.name, "lost", o.Lost)
	}
	a.changed(l, o, at)
	if !o.Reread {
		return
	}
	v, err := l.hold.line.Value()
	if err != nil {
		_ = a.failed(err) // only looked at
		a.log.Warn("input can't be read again", "input", l.name, "err", err)
		return
	}
	again := l.machine.Read(v == 1, at)
	a.changed(l, again, at)
}

// changed makes known one change.
func (a *gpioAgent) changed(l *gpioLine, o input.Outcome, at time.Time) {
	s := l.sense
	if o.Changed && s.tell && s.edge.wants(o.Level) {
		a.put(l.path, o.Level, at)
		a.publish(l, o.Level)
	}
	if o.Press != "" {
		a.put("press/"+l.name, o.Press, at)
	}
	if o.Counted && !l.counted {
		l.counted = true
	}
}

// publish tells an edge on the topic that the set-up names.
func (a *gpioAgent) publish(l *gpioLine, level bool) {
	if l.sense.topic == "" || a.deps.Link == nil {
		return
	}
	if err := a.deps.Link.Publish(l.sense.topic, []byte(reports.FormatValue(level))); err != nil {
		a.log.Debug("edge not published", "input", l.name, "topic", l.sense.topic, "err", err)
	}
}

// countsDue returns when the counts are to be made known, or zero.
func (l *gpioLine) countsDue() time.Time {
	if !l.sense.count || !l.counted && l.countsSaid.Rate == 0 {
		return time.Time{}
	}
	return l.countsAt.Add(gpioCountsEvery)
}

// tellCounts makes the counts known, and has the total saved.
func (a *gpioAgent) tellCounts(l *gpioLine, now time.Time) {
	c := l.count(now)
	c.Rate = gpioRate(c.Rate)
	l.counted, l.countsAt = false, now
	said := l.countsSaid
	l.countsSaid = c
	if c.Count != said.Count {
		a.put("count/"+l.name, int64(c.Count), now)
	}
	if c.Total != said.Total {
		a.put("total/"+l.name, int64(c.Total), now)
		a.keepCount(l)
	}
	if c.Rate != said.Rate {
		a.put("rate/"+l.name, c.Rate, now)
	}
}

// gpioRate rounds a rate to what it is worth.
func gpioRate(hz float64) float64 { return math.Round(hz*1000) / 1000 }

// level reads an input. One that is debounced by its machine has the level of that; one that is not told of edges tells it what
// was read.
func (a *gpioAgent) level(l *gpioLine, now time.Time) (bool, error) {
	if l.hold.soft && l.wiring.edges {
		return l.machine.Level(), nil
	}
	v, err := l.hold.line.Value()
	if err != nil {
		return false, a.failed(fmt.Errorf("read %s: %w", l.path, err))
	}
	if l.wiring.edges {
		return v == 1, nil // its edge is on its way, if it is another
	}
	a.changed(l, l.machine.Read(v == 1, now), now)
	return l.machine.Level(), nil
}

// setTotal sets what an input has counted in all.
func (a *gpioAgent) setTotal(name string, n int64) (reports.Reading, error) {
	l, err := a.present.held("input/" + name)
	if err == nil && !l.sense.count {
		err = reports.Errorf(reports.CodeUnknown, "%s does not count", l.path)
	}
	if err != nil {
		return reports.Reading{}, err
	}
	if n < 0 {
		return reports.Reading{}, reports.Errorf(reports.CodeOutOfRange, "a total is not negative")
	}
	if err := a.keepTotal(l.name, uint64(n)); err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeDevice, "%w", err)
	}
	a.fault(gpioTotalsFault, nil)
	a.saver.wanted, a.saver.total = true, true // who sets a meter is answered when that is saved
	l.machine.SetTotal(uint64(n))
	l.countsSaid.Total = uint64(n)
	return reports.Reading{Value: n, Time: a.stamp(time.Now())}, nil
}
