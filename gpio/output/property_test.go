package output_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/gpio/output"
)

// line is what a model knows of an output: only what the changes said, in their order.
type line struct {
	on      bool
	onSince time.Time
	offAt   time.Time // zero: never told off
}

// model is a bank under random commands, and its lines as the changes made them.
type model struct {
	t      *rapid.T
	b      *output.Bank
	now    time.Time
	specs  map[string]output.Spec
	groups []output.Group
	lines  map[string]*line
}

// times are few and on a grid, so that many things fall on the same instant.
func times(min int) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(min, 12).Draw(t, "grid")) * 250 * ms
	})
}

// drawSpecs draws a set-up in which New finds nothing wrong; at most one output starts on.
func drawSpecs(t *rapid.T) ([]output.Spec, []output.Group) {
	names := []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "outputs")]
	starts, vents := rapid.SampledFrom(append(names, "")).Draw(t, "starts on"), rapid.SampledFrom(append(names, "")).Draw(t, "vents")
	var specs []output.Spec
	for _, name := range names {
		r := output.Rules{MaxOn: times(0).Draw(t, "max_on"), Pulse: times(0).Draw(t, "pulse")}
		if r.MaxOn > 0 {
			r.Pulse = min(r.Pulse, r.MaxOn)
		}
		r.Single = r.Pulse > 0 && rapid.Bool().Draw(t, "single")
		if rapid.Bool().Draw(t, "has failsafe") {
			r.Failsafe = &output.Failsafe{After: times(1).Draw(t, "after"), Renew: rapid.Bool().Draw(t, "renew")}
			if rapid.Bool().Draw(t, "failsafe off") {
				r.Failsafe.Action = output.FailsafeOff
			}
			if name == vents {
				r.Failsafe.Action = output.FailsafeOn
			}
		}
		specs = append(specs, output.Spec{Name: name, Rules: r, On: name == starts})
	}
	var groups []output.Group
	for len(names) > 1 && len(groups) < 3 && rapid.Bool().Draw(t, "another group") {
		groups = append(groups, output.Group{
			Names: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 2, len(names), rapid.ID[string]).Draw(t, "group"),
			Dead:  times(0).Draw(t, "dead"),
		})
	}
	return specs, groups
}

func newModel(t *rapid.T) *model {
	m := &model{t: t, now: epoch(), lines: map[string]*line{}, specs: map[string]output.Spec{}}
	specs, groups := drawSpecs(t)
	b, err := output.New(specs, groups, m.now)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	m.b, m.groups = b, groups
	for _, s := range specs {
		m.specs[s.Name] = s
		m.lines[s.Name] = &line{on: s.On, onSince: m.now}
	}
	return m
}

// dead returns the least time between an OFF of a and an ON of b, and whether they are in one group.
func (m *model) dead(a, b string) (time.Duration, bool) {
	var dead time.Duration
	found := false
	for _, g := range m.groups {
		if a != b && slices.Contains(g.Names, a) && slices.Contains(g.Names, b) {
			dead, found = max(dead, g.Dead), true
		}
	}
	return dead, found
}

// draw returns one of the names.
func (m *model) draw() string {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.specs))).Draw(m.t, "name")
}

// apply carries out one change and finds what must not be.
func (m *model) apply(c output.Change) {
	l := m.lines[c.Name]
	if l.on == c.On {
		m.t.Fatalf("change %v says nothing new", c)
	}
	l.on = c.On
	if !c.On {
		l.offAt = m.now
		return
	}
	l.onSince = m.now
	m.mayBeOn(c.Name)
}

// mayBeOn finds another of a group that is on, or was too short a time ago.
func (m *model) mayBeOn(name string) {
	for other, o := range m.lines {
		dead, mates := m.dead(name, other)
		switch {
		case !mates:
		case o.on:
			m.t.Fatalf("%s goes on while %s is on", name, other)
		case !o.offAt.IsZero() && m.now.Sub(o.offAt) < dead:
			m.t.Fatalf("%s goes on %v after %s went off, dead time is %v", name, m.now.Sub(o.offAt), other, dead)
		}
	}
}

// due calls Due as a caller does, and checks everything that holds after it.
func (m *model) due() {
	ons := false
	for _, c := range m.b.Due(m.now) {
		if ons && !c.On {
			m.t.Fatalf("change %v comes after an ON", c)
		}
		ons = ons || c.On
		if !slices.Contains([]string{"command", "pulse", "max_on", "interlock", "failsafe", "blink"}, c.Why) {
			m.t.Fatalf("change %v has no reason", c)
		}
		m.apply(c)
	}
	if again := m.b.Due(m.now); len(again) > 0 {
		m.t.Fatalf("Due again = %v, want nothing", again)
	}
	next := m.b.Next()
	if !next.IsZero() && !next.After(m.now) {
		m.t.Fatalf("Next = %s at %s", since(next), since(m.now))
	}
	for name, l := range m.lines {
		m.check(name, l, next)
	}
}

// check finds what must not be of one line after Due.
func (m *model) check(name string, l *line, next time.Time) {
	s, spec := m.b.State(name), m.specs[name]
	if s.On != l.on {
		m.t.Fatalf("State(%s).On = %v, its line is %v", name, s.On, l.on)
	}
	if s.On && s.Pending {
		m.t.Fatalf("State(%s) = %+v, on and pending", name, s)
	}
	for other, o := range m.lines {
		if _, mates := m.dead(name, other); mates && l.on && o.on {
			m.t.Fatalf("%s and %s are both on", name, other)
		}
	}
	if end := l.onSince.Add(spec.MaxOn); l.on && spec.MaxOn > 0 && (!end.After(m.now) || next.IsZero() || next.After(end)) {
		m.t.Fatalf("%s is on since %s, max_on is %v, now is %s and Next %s", name, since(l.onSince), spec.MaxOn, since(m.now), since(next))
	}
	if spec.Single && l.on && s.Until.IsZero() {
		m.t.Fatalf("State(%s) = %+v, single and on for ever", name, s)
	}
	if !s.Until.IsZero() && (!s.Until.After(m.now) || next.IsZero() || next.After(s.Until)) {
		m.t.Fatalf("State(%s) = %+v at %s, Next is %s", name, s, since(m.now), since(next))
	}
	if s.Why == "max_on" && !s.MaxedOut || s.MaxedOut && s.On {
		m.t.Fatalf("State(%s) = %+v", name, s)
	}
}

// to calls Due at every Next until then, and at the end.
func (m *model) to(end time.Time) {
	for n := 0; ; n++ {
		next := m.b.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if n > 2000 {
			m.t.Fatalf("Next has not come to an end after %d calls", n)
		}
		m.now = next
		m.due()
	}
	m.now = end
	m.due()
}

// command tells one output something.
func (m *model) command() {
	name := m.draw()
	var err error
	switch what := rapid.IntRange(0, 5).Draw(m.t, "command"); what {
	case 0, 1, 2:
		d := times(0).Draw(m.t, "for")
		if err = m.b.Set(name, what > 0, d, m.now); what > 0 && m.tooLong(name, d) {
			m.refused(err)
			err = nil
		}
	case 3:
		d := times(1).Draw(m.t, "pulse")
		if err = m.b.Pulse(name, d, m.now); m.tooLong(name, d) {
			m.refused(err)
			err = nil
		}
	case 4:
		if p := rapid.SampledFrom(output.Patterns()).Draw(m.t, "pattern"); !m.specs[name].Single {
			err = m.b.Blink(name, p, m.now)
		}
	case 5:
		m.b.Link(name, rapid.Bool().Draw(m.t, "up"), m.now)
	}
	if err != nil {
		m.t.Fatalf("command: %v", err)
	}
}

// tooLong reports whether an output is a one-shot whose pulse is shorter than d.
func (m *model) tooLong(name string, d time.Duration) bool {
	return m.specs[name].Single && d > m.specs[name].Rules.Pulse
}

func (m *model) refused(err error) {
	if err == nil || !strings.Contains(err.Error(), "is single") {
		m.t.Fatalf("an ON that is longer than the only pulse: %v, want it refused", err)
	}
}

// replace sets up anew. Lines that are not kept are off before the new ones are requested.
func (m *model) replace() {
	specs, groups := drawSpecs(m.t)
	keep := map[string]output.Was{}
	for _, s := range specs {
		if m.lines[s.Name] != nil && rapid.Bool().Draw(m.t, "keep") {
			keep[s.Name] = output.Was{Name: s.Name, Kept: true}
		}
	}
	b, err := m.b.Replace(specs, groups, keep, m.now)
	if err != nil {
		return // everything stays as it is
	}
	old := m.lines
	m.b, m.groups = b, groups
	m.lines, m.specs = map[string]*line{}, map[string]output.Spec{}
	for _, s := range specs {
		m.specs[s.Name] = s
		l := old[s.Name]
		switch {
		case l == nil:
			l = &line{on: s.On, onSince: m.now}
		case keep[s.Name].Kept:
		case s.On && !l.on:
			l.on, l.onSince = true, m.now
		case !s.On && l.on:
			l.on, l.offAt = false, m.now
		}
		m.lines[s.Name] = l
	}
	for _, s := range specs {
		if s.On && !keep[s.Name].Kept {
			m.mayBeOn(s.Name)
		}
	}
}

// TestProperties lets the rules meet random commands, punctual and late.
func TestProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		m.due()
		t.Repeat(map[string]func(*rapid.T){
			"command": func(*rapid.T) { m.command(); m.due() },
			"two":     func(*rapid.T) { m.command(); m.command(); m.due() },
			"wait":    func(t *rapid.T) { m.to(m.now.Add(times(1).Draw(t, "wait"))) },
			"next": func(*rapid.T) {
				if next := m.b.Next(); !next.IsZero() {
					m.now = next
					m.due()
				}
			},
			"setup": func(*rapid.T) { m.replace(); m.due() },
		})
		for name := range m.specs { // patterns have no end
			if m.b.State(name).Pattern != "" {
				if err := m.b.Set(name, false, 0, m.now); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.due()
		m.to(m.now.Add(time.Hour))
		if next := m.b.Next(); !next.IsZero() {
			t.Fatalf("Next = %s when everything has come to its end", since(next))
		}
	})
}

// hardware is lines that refuse at random, driven as Failed demands.
type hardware struct {
	t      *rapid.T
	b      *output.Bank
	groups []output.Group
	on     map[string]bool
}

// drive carries out what Due says.
func (h *hardware) drive(now time.Time) {
	list := h.b.Due(now)
	for i, c := range list {
		switch {
		case c.On && !h.b.State(c.Name).On: // taken back by an OFF that failed before it
			continue
		case rapid.IntRange(0, 3).Draw(h.t, "refuse") == 0:
			h.b.Failed(c.Name, h.on[c.Name], now)
			continue
		}
		h.on[c.Name] = c.On
		for _, g := range h.groups {
			if c.On && slices.Contains(g.Names, c.Name) {
				for _, other := range g.Names {
					if other != c.Name && h.on[other] {
						h.t.Fatalf("%s goes on while %s is on, change %d of %v", c.Name, other, i, list)
					}
				}
			}
		}
	}
}

// TestPropertiesOfFailures finds that lines which refuse never have two of a group on, and that all are right in the end.
func TestPropertiesOfFailures(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		h := &hardware{t: t, b: m.b, groups: m.groups, on: map[string]bool{}}
		for name, l := range m.lines {
			h.on[name] = l.on
		}
		h.drive(m.now)
		t.Repeat(map[string]func(*rapid.T){
			"command": func(*rapid.T) { m.command(); h.drive(m.now) },
			"next": func(*rapid.T) {
				if next := m.b.Next(); !next.IsZero() {
					m.now = later(m.now, next)
					h.drive(m.now)
				}
			},
			"wait": func(t *rapid.T) { m.now = m.now.Add(times(1).Draw(t, "wait")); h.drive(m.now) },
		})
		for n := 0; n < 3; n++ { // nothing refuses any more
			m.now = m.now.Add(output.Retry)
			for _, c := range m.b.Due(m.now) {
				h.on[c.Name] = c.On
			}
		}
		for name, on := range h.on {
			if got := m.b.State(name).On; got != on {
				t.Fatalf("State(%s).On = %v, its line is %v", name, got, on)
			}
		}
	})
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ExampleBank runs a pump for five seconds.
func ExampleBank() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b, err := output.New([]output.Spec{{Name: "pump", Rules: output.Rules{MaxOn: time.Minute}}}, nil, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Set("pump", true, 5*time.Second, now); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.Due(now))
	fmt.Println(b.Next().Sub(now))
	fmt.Println(b.Due(b.Next()))
	// Output:
	// [{pump true command}]
	// 5s
	// [{pump false pulse}]
}
