package output

import (
	"fmt"
	"time"
)

// Set tells the output to be on or off; with d > 0 for that long, then the other way. An ON lasts from when the line is on, which an
// interlock can delay; MaxOn can end it sooner. The ON of a Single output lasts for its pulse, or for a time below that. Every command
// replaces what was before, with its timer or pattern; an ON also that of every output of a group with this one: the latest
// wins. On an error nothing is changed.
func (b *Bank) Set(name string, on bool, d time.Duration, now time.Time) error {
	o, err := b.find(name)
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("output %q: time is %v, must not be negative", name, d)
	}
	if on && o.Single && d > o.Rules.Pulse {
		return fmt.Errorf("output %q is single: it can't be on for %v, its pulse is %v", name, d, o.Rules.Pulse)
	}
	b.command(o, now)
	switch {
	case !on:
		o.off(WhyCommand)
		if d > 0 {
			o.plan.until = b.now.Add(d)
		}
	case d > 0:
		b.turnOn(o, plan{hold: d, why: WhyCommand})
	default:
		b.turnOn(o, plan{hold: o.holdOn(), why: WhyCommand})
	}
	return nil
}

// Resume tells the output to be on as it was in a bank before, since when and as last commanded when Spec says; it is for one that
// could not begin on, since its interlock had to wait. What has been on for MaxOn meanwhile stays off.
func (b *Bank) Resume(name string, now time.Time) error {
	o, err := b.find(name)
	if err != nil {
		return err
	}
	b.command(o, now)
	o.commanded = given(o.Spec.Commanded, b.now)
	b.turnOn(o, plan{hold: o.holdOn(), why: WhyCommand, since: o.Spec.Since})
	return nil
}

// Pulse tells the output to be on for d, or its own pulse if d is 0, and off then.
func (b *Bank) Pulse(name string, d time.Duration, now time.Time) error {
	o, err := b.find(name)
	if err != nil {
		return err
	}
	if d == 0 {
		d = o.Rules.Pulse
	}
	if d == 0 {
		return fmt.Errorf("output %q has no pulse of its own: say how long", name)
	}
	return b.Set(name, true, d, now)
}

// Blink tells the output to blink by p, lit first, until the next command. A steady pattern is a Set without a time; any
// other needs a name, phases of MinPhase or more, and an output that is not Single.
func (b *Bank) Blink(name string, p Pattern, now time.Time) error {
	o, err := b.find(name)
	switch {
	case err != nil:
		return err
	case p.Lit < 0 || p.Pause < 0 || p.Lit == 0 && p.Pause == 0:
		return fmt.Errorf("output %q: no pattern is lit for %v and paused for %v", name, p.Lit, p.Pause)
	case p.Lit == 0 || p.Pause == 0:
		return b.Set(name, p.Lit > 0, 0, now)
	case p.Name == "":
		return fmt.Errorf("output %q: the pattern has no name", name)
	case p.Lit < MinPhase || p.Pause < MinPhase:
		return fmt.Errorf("output %q: pattern %q is lit for %v and paused for %v, at least %v each are needed",
			name, p.Name, p.Lit, p.Pause, MinPhase)
	case o.Single:
		return fmt.Errorf("output %q is single, it cannot blink", name)
	}
	b.command(o, now)
	b.turnOn(o, plan{pattern: p, why: WhyCommand})
	return nil
}

// Link says whether who controls the output is there. Only a change counts: the loss starts the time of the failsafe, the
// return stops it. What a failsafe switched stays as it is until the next command.
func (b *Bank) Link(name string, up bool, now time.Time) {
	b.advance(now)
	o := b.by[name]
	if o == nil || o.down == !up {
		return
	}
	o.down, o.downSince = !up, b.now
	if f := o.Rules.Failsafe; up && f != nil && f.Action == FailsafeHold && !f.Renew {
		o.failsafe = false
	}
}

// Failed says that the line could not be told what Due said, and is, or must be held to be, on or off. Report it before the next
// change of the list is carried out. The command is over: an ON that failed leaves the output off; an OFF that failed is
// asked for again every Retry, and so is the ON of a failsafe. While a line is stuck on, the others of its group are off: where
// the ON of one was told in the same list, State says at once that it is not On, and the ON must not be carried out any more.
func (b *Bank) Failed(name string, on bool, now time.Time) {
	b.advance(now)
	o := b.by[name]
	switch {
	case o == nil || o.on == on:
		return
	case on:
		b.stuckOn(o)
	default:
		b.stuckOff(o)
	}
}

// stuckOn takes note of a line that is on and should not be, and takes back what must not be on beside it.
func (b *Bank) stuckOn(o *out) {
	if o.plan.on {
		o.off(o.plan.lineWhy())
	}
	if o.plan.why == "" {
		o.plan.why = WhyFailed
	}
	o.on, o.ran, o.recall, o.retryAt = true, true, false, b.now.Add(Retry)
	if o.onSince.IsZero() {
		o.onSince = b.now
	}
	for _, m := range o.mates {
		m.yield()
		if m.on {
			m.on, m.recall, m.offAt = false, true, b.now
		}
	}
}

// stuckOff takes note of a line that is off and should be on.
func (b *Bank) stuckOff(o *out) {
	o.on, o.offAt = false, b.now
	if !o.plan.on {
		return
	}
	if o.plan.why == WhyFailsafe {
		o.plan.until, o.retryAt = time.Time{}, b.now.Add(Retry)
		return
	}
	o.off(WhyFailed)
}

// command prepares the output for a new command.
func (b *Bank) command(o *out, now time.Time) {
	b.advance(now)
	o.commanded, o.retryAt = b.now, time.Time{}
	o.failsafe, o.maxedOut = false, false
}

// turnOn makes p, with an ON, the output's plan, and ends those of its mates.
func (b *Bank) turnOn(o *out, p plan) {
	for _, m := range o.mates {
		m.yield()
	}
	o.maxedOut = false
	p.on = true
	if p.since.IsZero() && !o.on {
		p.since = o.since() // of a pattern that pauses, or of what waits
	}
	o.plan = p
	if o.on {
		o.wentOn(b.now)
	}
}

// yield ends the output's plan in favour of another of its group: also an ON that waits, or that a timer would bring.
func (o *out) yield() {
	if !o.plan.idle() {
		o.off(WhyInterlock)
	}
	o.retryAt = time.Time{}
}
