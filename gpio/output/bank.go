package output

import (
	"errors"
	"fmt"
	"time"
)

// Bank is a set of outputs under their rules. It is not safe for concurrent use. A time that is before one that it was given
// already is taken for that one.
type Bank struct {
	outs []*out // as given
	by   map[string]*out
	now  time.Time // the latest
}

// New returns the outputs as their lines are requested: those that are on have been since now, and those that are off were
// switched off now, for nobody knows what was before; so the first ON of an interlocked output waits for the dead time.
// The link of each is up until Link says otherwise. The error names the output that is wrong.
func New(specs []Spec, groups []Group, now time.Time) (*Bank, error) {
	b, err := build(specs, groups, now)
	if err != nil {
		return nil, err
	}
	for _, o := range b.outs {
		for _, m := range o.mates {
			if o.on && m.on {
				return nil, fmt.Errorf("outputs %q and %q are interlocked, only one can start on", o.Name, m.Name)
			}
		}
	}
	return b, nil
}

// build checks everything but what the outputs start with, and returns them as they start.
func build(specs []Spec, groups []Group, now time.Time) (*Bank, error) {
	b := &Bank{by: make(map[string]*out, len(specs)), now: now}
	for _, s := range specs {
		if err := s.check(); err != nil {
			return nil, err
		}
		if b.by[s.Name] != nil {
			return nil, fmt.Errorf("output %q is there twice", s.Name)
		}
		o := newOut(s, now)
		b.outs = append(b.outs, o)
		b.by[s.Name] = o
	}
	for _, g := range groups {
		if err := b.interlock(g); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// newOut returns an output as its line is requested.
func newOut(s Spec, now time.Time) *out {
	if f := s.Rules.Failsafe; f != nil { // the caller's may change
		own := *f
		s.Rules.Failsafe = &own
	}
	o := &out{Spec: s, on: s.On, ran: s.On, plan: plan{on: s.On}, commanded: given(s.Commanded, now)}
	if !s.On {
		o.offAt = now
		return o
	}
	o.onSince = given(s.Since, now)
	o.plan.hold = o.holdOn()
	o.wentOn(now)
	return o
}

// given returns a time that is known, but none to come, or else now.
func given(t, now time.Time) time.Time {
	if t.IsZero() || t.After(now) {
		return now
	}
	return t
}

// check refuses rules that are wrong by themselves.
func (s Spec) check() error {
	f := s.Rules.Failsafe
	switch {
	case s.Name == "":
		return errors.New("an output has no name")
	case s.MaxOn < 0:
		return fmt.Errorf("output %q: max_on is %v, must not be negative", s.Name, s.MaxOn)
	case s.Rules.Pulse < 0:
		return fmt.Errorf("output %q: pulse is %v, must not be negative", s.Name, s.Rules.Pulse)
	case s.MaxOn > 0 && s.Rules.Pulse > s.MaxOn:
		return fmt.Errorf("output %q: pulse %v is longer than max_on %v", s.Name, s.Rules.Pulse, s.MaxOn)
	case s.Single && s.Rules.Pulse == 0:
		return fmt.Errorf("output %q: single needs a pulse", s.Name)
	case f == nil:
		return nil
	case f.After < 0 || f.Renew && f.After == 0:
		return fmt.Errorf("output %q: failsafe after is %v, must be more than 0", s.Name, f.After)
	case f.Action < FailsafeHold || f.Action > FailsafeOn:
		return fmt.Errorf("output %q: failsafe has no action %d", s.Name, f.Action)
	}
	return nil
}

// interlock makes the outputs of a group mates. Two that are mates by two groups have the longer dead time.
func (b *Bank) interlock(g Group) error {
	switch {
	case len(g.Names) < 2:
		return fmt.Errorf("interlock %q needs two outputs or more", g.Names)
	case g.Dead < 0:
		return fmt.Errorf("interlock %q: dead time is %v, must not be negative", g.Names, g.Dead)
	}
	failsafeOn := ""
	for i, name := range g.Names {
		o := b.by[name]
		if o == nil {
			return fmt.Errorf("interlock %q: there is no output %q", g.Names, name)
		}
		if f := o.Rules.Failsafe; f != nil && f.Action == FailsafeOn {
			if failsafeOn != "" {
				return fmt.Errorf("interlock %q: outputs %q and %q both have failsafe on", g.Names, failsafeOn, name)
			}
			failsafeOn = name
		}
		for _, other := range g.Names[:i] {
			if other == name {
				return fmt.Errorf("interlock %q: output %q is there twice", g.Names, name)
			}
			o.pair(b.by[other], g.Dead)
			b.by[other].pair(o, g.Dead)
		}
	}
	return nil
}

// pair makes m a mate of o.
func (o *out) pair(m *out, dead time.Duration) {
	for i := range o.mates {
		if o.mates[i].out == m {
			o.mates[i].dead = max(o.mates[i].dead, dead)
			return
		}
	}
	o.mates = append(o.mates, mate{m, dead})
}

// State returns what the output is as of the last call with a time; the zero State if there is none of this name.
func (b *Bank) State(name string) State {
	if o := b.by[name]; o != nil {
		return o.state(b.now)
	}
	return State{}
}

// Began returns since when the output is on, as MaxOn counts it, the pauses of a pattern included, and when it was last commanded. The
// first is zero for what is off, or to be off, and both if there is no output of this name.
func (b *Bank) Began(name string) (since, commanded time.Time) {
	if o := b.by[name]; o != nil {
		return o.since(), o.commanded
	}
	return since, commanded
}

// Finally returns what the output is to be when the timer of its last command has ended, as if nothing else came; a pattern is on.
// It is what to begin with where that is to go on which was, and false if there is no output of this name.
func (b *Bank) Finally(name string) bool {
	o := b.by[name]
	switch {
	case o == nil:
		return false
	case o.plan.on:
		return o.plan.hold == 0 && o.plan.until.IsZero()
	}
	return !o.plan.until.IsZero() && o.holdOn() == 0
}

// find returns the output of this name.
func (b *Bank) find(name string) (*out, error) {
	if o := b.by[name]; o != nil {
		return o, nil
	}
	return nil, fmt.Errorf("there is no output %q", name)
}
