package output

import "time"

// Due returns what lines must be told now, OFFs before ONs, and takes it as told; Failed corrects that. It is to be called
// after every command and Link, and at Next. Asked again at the same time it returns nothing. Not every change of a State comes
// with a Change: compare States after each call to report an ON that was dropped, a pattern that ended in its pause, or a
// failsafe that holds.
func (b *Bank) Due(now time.Time) []Change {
	b.advance(now)
	var changes []Change
	for _, o := range b.outs {
		if !o.recall && (!o.on || o.plan.level(b.now)) || o.retryAt.After(b.now) {
			continue
		}
		o.on, o.recall, o.offAt = false, false, b.now
		changes = append(changes, Change{Name: o.Name, Why: o.plan.lineWhy()})
	}
	for _, o := range b.outs {
		if o.on || !o.plan.level(b.now) {
			continue
		}
		if at, ok := o.ready(b.now); !ok || at.After(b.now) {
			continue
		}
		o.on, o.ran = true, true
		if !o.plan.blinks() || o.plan.started.IsZero() {
			o.onSince, o.plan.since = given(o.plan.since, b.now), time.Time{}
			o.wentOn(b.now)
		}
		changes = append(changes, Change{Name: o.Name, On: true, Why: o.plan.lineWhy()})
	}
	return changes
}

// Next returns when Due is to be called again, which is not before the last call with a time; zero if never.
func (b *Bank) Next() time.Time {
	var next time.Time
	for _, o := range b.outs {
		at, _ := o.event()
		next = sooner(next, sooner(at, o.lineAt(b.now)))
	}
	if next.IsZero() {
		return next
	}
	return later(next, b.now)
}

// advance lets the rules act that were to act until now, in the order of their times.
func (b *Bank) advance(now time.Time) {
	b.now = later(b.now, now)
	for {
		var first *out
		var at time.Time
		for _, o := range b.outs {
			if t, _ := o.event(); !t.IsZero() && !t.After(b.now) && (first == nil || t.Before(at)) {
				first, at = o, t
			}
		}
		if first == nil {
			return
		}
		_, act := first.event()
		act(b, first)
	}
}

// event returns when the next rule of the output acts, zero if none, and what it does. Of two at the same time the timer is
// first, so that a pulse as long as MaxOn ends as a pulse, and the longest time on before the failsafe.
func (o *out) event() (time.Time, func(*Bank, *out)) {
	at, act := o.plan.until, (*Bank).timeUp
	if t := o.maxAt(); !t.IsZero() && (at.IsZero() || t.Before(at)) {
		at, act = t, (*Bank).maxOut
	}
	if t := o.failsafeAt(); !t.IsZero() && (at.IsZero() || t.Before(at)) {
		at, act = t, (*Bank).failSafe
	}
	return at, act
}

// timeUp turns the plan round at the end of its timer.
func (b *Bank) timeUp(o *out) {
	if o.plan.on {
		o.off(WhyPulse)
		return
	}
	b.turnOn(o, plan{hold: o.holdOn(), why: WhyPulse})
}

// maxOut ends the longest time on.
func (b *Bank) maxOut(o *out) {
	o.off(WhyMaxOn)
	o.maxedOut = true
}

// failSafe does what the output's failsafe says.
func (b *Bank) failSafe(o *out) {
	o.failsafe = true
	switch o.Rules.Failsafe.Action {
	case FailsafeOff:
		o.off(WhyFailsafe)
	case FailsafeOn:
		b.turnOn(o, plan{hold: o.holdOn(), why: WhyFailsafe})
	case FailsafeHold:
	}
}
