package output

import "time"

// plan is what an output was told to be, by a command or by a rule. Each new one replaces the one before with its timer.
type plan struct {
	on      bool
	pattern Pattern       // blinking, if it has a name; on is set then
	started time.Time     // of the pattern: when the line first went on
	hold    time.Duration // on for that long, counted from when the line is on
	until   time.Time     // when the timer ends and the plan is turned round
	since   time.Time     // when it went on in a bank before; zero: it was not on
	why     string
}

// blinks tells whether the plan is a pattern.
func (p plan) blinks() bool { return p.pattern.Name != "" }

// idle tells whether the plan is to be off and stay so.
func (p plan) idle() bool { return !p.on && p.until.IsZero() }

// level returns what the line is to be.
func (p plan) level(now time.Time) bool {
	if !p.blinks() || p.started.IsZero() {
		return p.on
	}
	return p.pattern.lit(now.Sub(p.started))
}

// lineWhy returns the reason that a change of the line has.
func (p plan) lineWhy() string {
	if p.blinks() {
		return WhyBlink
	}
	return p.why
}

// out is an output, what its line was told, and what it is to be.
type out struct {
	Spec
	mates []mate
	plan  plan

	on      bool      // told last, or held to be
	onSince time.Time // of the last ON; kept over an OFF that failed
	offAt   time.Time // of the last OFF, or the start
	ran     bool      // has been on, in the bank before too
	recall  bool      // an ON that was told must be taken back: on is false, but the line may not be
	retryAt time.Time // not to be told anything before

	commanded time.Time // the last command, or the start
	down      bool
	downSince time.Time
	failsafe  bool // acted since the last command
	maxedOut  bool
}

// mate is another output of a group.
type mate struct {
	*out
	dead time.Duration
}

// off makes the plan an OFF for good.
func (o *out) off(why string) { o.plan = plan{why: why} }

// holdOn returns how long an ON without a time lasts; 0 is for ever.
func (o *out) holdOn() time.Duration {
	if o.Single {
		return o.Rules.Pulse
	}
	return 0
}

// wentOn starts what counts from the moment at which the line is on.
func (o *out) wentOn(now time.Time) {
	if o.plan.blinks() {
		o.plan.started = now
	}
	if o.plan.hold > 0 {
		o.plan.until = now.Add(o.plan.hold)
	}
}

// ready returns when the line may go on; not at all while one of a group with it is on.
func (o *out) ready(now time.Time) (time.Time, bool) {
	at := later(now, o.retryAt)
	for _, m := range o.mates {
		if m.on || m.recall {
			return time.Time{}, false
		}
		at = later(at, m.offAt.Add(m.dead))
	}
	return at, true
}

// since returns when what is on, and not to be off, went on; zero for anything else.
func (o *out) since() time.Time {
	switch {
	case !o.plan.on:
		return time.Time{}
	case o.on, o.plan.blinks() && !o.plan.started.IsZero(): // also in its pauses
		return o.onSince
	}
	return o.plan.since
}

// maxAt returns when the line will have been on for the longest time, or zero. What is to be off anyway is not maxed out.
func (o *out) maxAt() time.Time {
	since := o.since()
	if o.MaxOn == 0 || since.IsZero() {
		return time.Time{}
	}
	return since.Add(o.MaxOn)
}

// failsafeAt returns when the failsafe is to act, or zero.
func (o *out) failsafeAt() time.Time {
	f := o.Rules.Failsafe
	switch {
	case f == nil || o.failsafe:
		return time.Time{}
	case f.Renew:
		return o.commanded.Add(f.After)
	case o.down:
		return later(o.downSince, o.commanded).Add(f.After)
	}
	return time.Time{}
}

// lineAt returns when the line must be told something on behalf of the plan as it stands, or zero.
func (o *out) lineAt(now time.Time) time.Time {
	level := o.plan.level(now)
	switch {
	case o.recall, o.on && !level:
		return later(now, o.retryAt)
	case !o.on && level:
		at, _ := o.ready(now)
		return at
	case o.plan.blinks() && !o.plan.started.IsZero():
		return o.plan.started.Add(o.plan.pattern.turn(now.Sub(o.plan.started)))
	}
	return time.Time{}
}

// state returns what the output is.
func (o *out) state(now time.Time) State {
	s := State{On: o.on, Pattern: o.plan.pattern.Name, Failsafe: o.failsafe, MaxedOut: o.maxedOut, Why: o.plan.why}
	switch {
	case !o.on && o.plan.level(now):
		s.Pending = true
		s.Until, _ = o.ready(now)
	case !o.plan.blinks():
		s.Until = sooner(o.plan.until, o.maxAt())
	}
	return s
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sooner returns the earlier of two times, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
