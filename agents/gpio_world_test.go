package agents

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"rollcall/reports"
)

// gpioWorld is a runner, reduced to what makes states of readings, with an agent, a chip and an observer of its lines.
type gpioWorld struct {
	*gpioStage
	states map[string]reports.Reading // by path, as they stand at the broker

	hub       bool                 // who controls outputs says that it is there
	downSince map[bool]time.Time   // since when the broker is gone, or under true the broker or the hub
	commanded map[string]time.Time // by path
	renewed   time.Time            // when the set-up in force came into it

	mu     sync.Mutex // held for what the watch of the lines needs
	rules  gpioDemands
	since  map[int]time.Time // lines that are on, since when at the earliest
	off    map[int]time.Time // lines that went off, when that was last
	went   []gpioWent        // lines that went on while no rules were looked at
	faults []string
}

// gpioDemands is what the set-up in force demands of the lines.
type gpioDemands struct {
	groups    [][]string
	dead      time.Duration
	pins      map[string]int // of outputs
	maxOn     map[string]time.Duration
	failsafes map[string]*gpioFailsafe // that switch off, by path
}

// gpioWent is a line that went on, and how long after the others went off.
type gpioWent struct {
	line int
	at   time.Time
	off  map[int]time.Time
}

func (w *gpioWorld) wrong(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("after %v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

// run lets the agent and the runner work until nothing happens any more.
func (w *gpioWorld) run() {
	for {
		synctest.Wait()
		w.chip().Wait()
		synctest.Wait()
		select {
		case r, ok := <-w.agent.Events():
			if !ok {
				w.wrong("the events have ended")
				return
			}
			w.take(r)
		default:
			return
		}
	}
}

// take does with a reading what the runner does: an older one than is known is dropped.
func (w *gpioWorld) take(r reports.Reading) {
	if p, ok := w.agent.Describe().Point(r.Path); ok && p.Access.Has(reports.Get) && !r.Time.Before(w.states[r.Path].Time) {
		w.states[r.Path] = r
	}
}

// described reads every point, as the runner does with a new description.
func (w *gpioWorld) described() {
	w.run()
	known := map[string]bool{}
	for _, p := range w.agent.Describe().Points {
		if !p.Access.Has(reports.Get) || strings.HasPrefix(p.Path, "chip") {
			continue
		}
		known[p.Path] = true
		r, err := w.agent.Sample(w.t.Context(), p.Path)
		if reports.CodeOf(err) == reports.CodeOffline { // it was released
			delete(known, p.Path)
			continue
		}
		if err != nil {
			w.wrong("sample %s: %v", p.Path, err)
		}
		w.take(r)
	}
	maps.DeleteFunc(w.states, func(path string, _ reports.Reading) bool { return !known[path] })
	w.run()
}

// demands returns what the set-up in force demands.
func (w *gpioWorld) demands() gpioDemands {
	d := gpioDemands{pins: map[string]int{}, maxOn: map[string]time.Duration{}, failsafes: map[string]*gpioFailsafe{}}
	gpioEngine(w.t, w.agent, func() {
		o := w.agent.present.options
		d.groups, d.dead = o.Interlocks, time.Duration(cmp.Or(o.DeadTime, reports.Duration(gpioDeadTime)))
		for _, l := range w.agent.present.lines {
			if !l.hold.held() {
				continue
			}
			if l.out != nil {
				d.pins[l.name], d.maxOn[l.name] = l.wiring.offset, time.Duration(l.out.MaxOn)
			}
			if f := l.failsafe(); f != nil && f.Value == "" {
				d.failsafes[l.path] = f
			}
		}
	})
	return d
}

// change takes in that the level of a line has changed, in the order in which they did.
func (w *gpioWorld) change(line int, c changeOf) {
	w.look("before a change")
	w.mu.Lock()
	if delete(w.since, line); c.Level == 1 {
		w.since[line] = c.Time
		went := gpioWent{line, c.Time, maps.Clone(w.off)}
		if w.rules.dead == 0 { // none are in force
			w.went = append(w.went, went)
		}
		w.deadTime(went)
	} else {
		w.off[line] = c.Time
	}
	w.mu.Unlock()
	w.look(fmt.Sprintf("at the change of line %d to %d", line, c.Level))
}

// deadTime checks that the lines with which one is interlocked have been off for long enough when it goes on.
func (w *gpioWorld) deadTime(went gpioWent) {
	for _, group := range w.rules.groups {
		for _, name := range group {
			if line, ok := w.rules.pins[name]; !ok || line != went.line {
				continue
			}
			for _, other := range group {
				off, was := went.off[w.rules.pins[other]]
				if is := went.at.Sub(off); was && other != name && is < w.rules.dead {
					w.wrong("%s went on %v after %s went off, the dead time is %v", name, is, other, w.rules.dead)
				}
			}
		}
	}
}

// look checks the lines.
func (w *gpioWorld) look(when string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, group := range w.rules.groups {
		var on []string
		for _, name := range group {
			if line, ok := w.rules.pins[name]; ok && !w.since[line].IsZero() {
				on = append(on, name)
			}
		}
		if len(on) > 1 {
			w.wrong("%s: %v are on together", when, on)
		}
	}
	for name, most := range w.rules.maxOn {
		if since := w.since[w.rules.pins[name]]; most > 0 && !since.IsZero() && time.Since(since) > most {
			w.wrong("%s: %s is on for %v, max_on is %v", when, name, time.Since(since), most)
		}
	}
	for path, f := range w.rules.failsafes {
		if late := w.alone(path, f) - time.Duration(f.After); late > 0 && w.isOn(path) {
			w.wrong("%s: %s is on, %v after its failsafe of %+v", when, path, late, *f)
		}
	}
}

// alone returns for how long nobody can have controlled an output, or with renew has.
func (w *gpioWorld) alone(path string, f *gpioFailsafe) time.Duration {
	from := w.renewed
	if at := w.commanded[path]; at.After(from) {
		from = at
	}
	if f.Renew {
		return time.Since(from)
	}
	down := w.downSince[f.Watch != ""]
	if down.IsZero() {
		return 0
	}
	if down.After(from) {
		from = down
	}
	return time.Since(from)
}

// controlled takes note of when an output was commanded, and returns when it was before.
func (w *gpioWorld) controlled(path string, at time.Time) (before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before = w.commanded[path]
	w.commanded[path] = at
	return before
}

// isOn tells whether an output gives any power.
func (w *gpioWorld) isOn(path string) bool {
	if name, ok := strings.CutPrefix(path, "output/"); ok {
		return !w.since[w.rules.pins[name]].IsZero()
	}
	return w.pwmFile(gpioWorldChannel(path)+"/duty_cycle") != "0"
}

// gpioWorldChannel returns the channel of pwm/p and pwm/q.
func gpioWorldChannel(path string) string {
	return map[string]string{"pwm/p": "pwm0", "pwm/q": "pwm1"}[path]
}

// links takes note of who is there.
func (w *gpioWorld) links() {
	w.link.mu.Lock()
	up := w.link.up
	w.hub = w.hub && w.link.subs[gpioWorldHub] != nil // who watches anew waits for the next word
	w.link.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for hub, is := range map[bool]bool{false: up, true: up && w.hub} {
		if is {
			delete(w.downSince, hub)
		} else if w.downSince[hub].IsZero() {
			w.downSince[hub] = time.Now()
		}
	}
}

// demand sets what the lines are held to.
func (w *gpioWorld) demand(d gpioDemands) {
	w.chip().Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	before := map[int]bool{}
	for _, line := range w.rules.pins {
		before[line] = true
	}
	for _, line := range d.pins {
		if !w.since[line].IsZero() && !before[line] { // it was an input, or nobody's
			w.since[line] = time.Now()
		}
	}
	w.rules = d
	for _, went := range w.went {
		w.deadTime(went)
	}
	if d.dead != 0 {
		w.went = nil
	}
}

// quiet checks that what stands at the broker is what the lines are.
func (w *gpioWorld) quiet() {
	w.run()
	for name, line := range w.rules.pins {
		blinking := false
		gpioEngine(w.t, w.agent, func() { s := w.agent.bank.State(name); blinking = s.Pattern != "" && !s.Pending })
		want := w.chip().Level(line) == 1 || blinking
		if got, ok := w.states["output/"+name]; !ok || got.Value != want {
			w.wrong("state of output/%s is %v, the line is %v", name, got.Value, want)
		}
	}
	for path, r := range w.states {
		if name, ok := strings.CutPrefix(path, "input/"); ok {
			l := w.agent.present.byPath["input/"+name]
			if want := (w.chip().Level(l.wiring.offset) == 1) != l.wiring.activeLow; r.Value != want {
				w.wrong("state of %s is %v, the line is %v", path, r.Value, want)
			}
		}
	}
	w.quietPWM()
}

// quietPWM checks that modulated outputs are what stands at the broker, but those that are on their way there.
func (w *gpioWorld) quietPWM() {
	type is struct {
		fades        bool
		value, wants float64
		period       time.Duration
	}
	mods := map[string]is{}
	gpioEngine(w.t, w.agent, func() {
		for _, l := range w.agent.present.lines {
			if l.mod != nil && l.hold.held() {
				mods[l.path] = is{l.fade != nil, l.value, l.mod.duty(l.value), l.wiring.period}
			}
		}
	})
	for path, m := range mods {
		if got := w.states[path].Value; got != m.value {
			w.wrong("state of %s is %v, it is set to %v", path, got, m.value)
		}
		duty, enable := w.pwmFile(gpioWorldChannel(path)+"/duty_cycle"), w.pwmFile(gpioWorldChannel(path)+"/enable")
		if want := fmt.Sprint(int64(math.Round(m.wants * float64(m.period)))); enable != "1" || !m.fades && duty != want {
			w.wrong("%s is %v: duty %s, enable %s, want %s, 1", path, m.value, duty, enable, want)
		}
	}
}

// finals returns the outputs that are to be restored, and what to.
func (w *gpioWorld) finals() map[string]bool {
	out := map[string]bool{}
	gpioEngine(w.t, w.agent, func() {
		for _, l := range w.agent.present.lines {
			if l.restored() {
				out[l.name] = l.hold.held() && w.agent.bank.Finally(l.name)
			}
		}
	})
	return out
}
