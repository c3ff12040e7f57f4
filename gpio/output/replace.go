package output

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Replace returns the bank of a new set-up; this one stays as it is, to go on with if the set-up fails later. An output of keep,
// whose line stays as it is, keeps its state, link and timers and comes under its new rules; its Spec.On is not looked at. Every
// other starts as in New, but that one which is on before and after has been on all the time for MaxOn. The error names an output
// that cannot start on because another one of its group is on, is to go on, or went off less than the dead time ago. Of kept
// ones that a new group joins while they are on, the one that was commanded last stays.
func (b *Bank) Replace(specs []Spec, groups []Group, keep map[string]bool, now time.Time) (*Bank, error) {
	n, err := build(specs, groups, later(b.now, now))
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(keep)) {
		if keep[name] && (b.by[name] == nil || n.by[name] == nil) {
			return nil, fmt.Errorf("output %q cannot be kept: it is not in both set-ups", name)
		}
	}
	for _, o := range n.outs {
		old := b.by[o.Name]
		switch {
		case old == nil:
		case keep[o.Name]:
			o.inherit(old, n.now)
		default:
			o.ran = o.ran || old.ran
			if o.on && old.on {
				o.onSince = old.onSince
			}
		}
	}
	for _, o := range n.outs {
		if o.on && !keep[o.Name] {
			if err := b.mayStart(o, n.now); err != nil {
				return nil, err
			}
		}
	}
	n.settleKept()
	n.advance(n.now)
	return n, nil
}

// inherit makes o go on where old is, under its own rules.
func (o *out) inherit(old *out, now time.Time) {
	spec, mates := o.Spec, o.mates
	*o = *old
	o.Spec, o.mates = spec, mates
	if o.Rules.Failsafe == nil {
		o.failsafe = false
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
func (b *Bank) mayStart(o *out, now time.Time) error {
	for _, m := range o.mates {
		old, was := b.by[m.Name], ""
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
