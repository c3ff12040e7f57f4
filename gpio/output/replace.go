package output

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Was says which output of the bank before had the line of one that is in the new set-up, by whatever name.
type Was struct {
	Name string
	// Kept says that the line stays as it is: the output keeps its state, link and timers and comes under its new rules, and its
	// Spec.On is not looked at.
	Kept bool
	// Steady says that a kept output which blinks, also in a pause, is on without a pattern from now on.
	Steady bool
}

// Replace returns the bank of a new set-up; this one stays as it is, to go on with if the set-up fails later. What each output of
// the new one was is in was, by its new name; one that is not there was what had its name. An output that is not kept starts as in
// New, but that one which is on before and after has been on all the time for MaxOn. The error names an output that cannot start
// on because another one of its group is on, is to go on, or went off less than the dead time ago. Of kept ones that a new group
// joins while they are on, the one that was commanded last stays.
func (b *Bank) Replace(specs []Spec, groups []Group, was map[string]Was, now time.Time) (*Bank, error) {
	n, err := build(specs, groups, later(b.now, now))
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if was[name].Kept && (b.by[was[name].Name] == nil || n.by[name] == nil) {
			return nil, fmt.Errorf("output %q cannot be kept: it is not in both set-ups", name)
		}
	}
	for _, o := range n.outs {
		old := b.before(was, o.Name)
		switch {
		case old == nil:
		case was[o.Name].Kept:
			o.inherit(old, n.now)
			if was[o.Name].Steady && o.plan.blinks() {
				o.plan = plan{on: true, why: WhyCommand, since: o.since()}
			}
		default:
			o.ran = o.ran || old.ran
			if o.on && old.on {
				o.onSince = old.onSince
			}
		}
	}
	for _, o := range n.outs {
		if o.on && !was[o.Name].Kept {
			if err := b.mayStart(o, was, n.now); err != nil {
				return nil, err
			}
		}
	}
	n.settleKept()
	n.advance(n.now)
	return n, nil
}

// before returns what an output of the new set-up was, or nil. What goes on by another name is not what has its old one now.
func (b *Bank) before(was map[string]Was, name string) *out {
	if w, ok := was[name]; ok {
		return b.by[w.Name]
	}
	for _, w := range was {
		if w.Name == name {
			return nil
		}
	}
	return b.by[name]
}

// inherit makes o go on where old is, under its own rules.
func (o *out) inherit(old *out, now time.Time) {
	spec, mates := o.Spec, o.mates
	*o = *old
	o.Spec, o.mates = spec, mates
	if is, was := o.Rules.Failsafe, old.Rules.Failsafe; is == nil || was == nil || is.Action != was.Action {
		o.failsafe = false // what has acted is not what is to act
	}
	switch {
	case !o.Single || !o.plan.on:
	case o.plan.blinks():
		o.off(WhyCommand)
	case o.plan.hold == 0: // on for good before it became single
		o.plan.hold = o.holdOn()
		if o.on {
			o.wentOn(now)
		}
	}
}

// mayStart refuses that o, which is new or changed, starts on beside what is on in b or in the new bank.
func (b *Bank) mayStart(o *out, before map[string]Was, now time.Time) error {
	for _, m := range o.mates {
		old, was := b.before(before, m.Name), ""
		switch {
		case m.on || m.recall:
			was = "is on"
		case m.plan.on:
			was = "is to go on"
		case old == nil || !old.ran:
		case old.on || old.recall:
			was = "was on until now"
		case now.Sub(old.offAt) < m.dead:
			was = fmt.Sprintf("was on less than %v ago", m.dead)
		}
		if was != "" {
			return fmt.Errorf("output %q cannot start on: %q %s, and they are interlocked", o.Name, m.Name, was)
		}
	}
	return nil
}

// settleKept lets the one that was commanded last stay where a new group joined outputs that are on; none beside one that
// cannot be switched off.
func (b *Bank) settleKept() {
	for _, o := range b.outs {
		stuck := o.on && o.retryAt.After(b.now)
		for _, m := range o.mates {
			if m.plan.on && (stuck || o.plan.on && !m.commanded.After(o.commanded)) {
				m.yield()
			}
		}
	}
}
