package agents

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rollcall/reports"
)

// gpioWorld is a runner, reduced to what makes states of readings, with an agent, a chip and an observer of its lines.
type gpioWorld struct {
	*gpioStage
	states map[string]reports.Reading // by path, as they stand at the broker

	mu     sync.Mutex // held for what the watch of the lines needs
	groups [][]string
	pins   map[string]int // of outputs
	maxOn  map[string]time.Duration
	since  map[int]time.Time // lines that are on, since when at the earliest
	faults []string
}

func (w *gpioWorld) wrong(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("after %v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

// gpioStep is one thing that happens, drawn before.
type gpioStep struct {
	kind             int
	name, verb, doc  string
	wait             time.Duration
	on, timed        bool
	pin, line, level int
}

// gpioOneStep draws one.
func gpioOneStep(r *rapid.T) gpioStep {
	s := gpioStep{kind: rapid.IntRange(0, 11).Draw(r, "step"), name: rapid.SampledFrom(gpioWorldNames[:]).Draw(r, "name")}
	switch s.kind {
	case 0, 1:
		s.doc = gpioDraw(r)
	case 2, 3:
		s.pin, s.on = rapid.IntRange(0, 1).Draw(r, "clean"), rapid.Bool().Draw(r, "up")
	case 4:
		s.line, s.level = rapid.IntRange(10, 11).Draw(r, "line"), rapid.IntRange(0, 1).Draw(r, "level")
	case 5, 6:
		s.wait = rapid.SampledFrom(gpioWorldTimes[:]).Draw(r, "wait")
	case 7:
		s.verb = rapid.SampledFrom([]string{`"toggle"`, `"pulse","for":"500ms"`, `"pulse"`, `"blink","pattern":"alert"`, `"blink"`, `"release"`}).Draw(r, "verb")
	case 8:
		s.pin, s.level = rapid.IntRange(2, 6).Draw(r, "pin"), rapid.IntRange(0, 1).Draw(r, "init")
	default:
		s.on, s.timed = rapid.Bool().Draw(r, "on"), rapid.Bool().Draw(r, "for")
		if s.timed {
			s.wait = rapid.SampledFrom(gpioWorldTimes[1:]).Draw(r, "wait")
		}
	}
	return s
}

// What the sequences are made of.
var (
	gpioWorldNames = [...]string{"a", "b", "c", "d", "e"}
	gpioWorldTimes = [...]time.Duration{0, time.Millisecond, 90 * time.Millisecond, 100 * time.Millisecond, 600 * time.Millisecond, 2 * time.Second, 61 * time.Second}
)

// gpioDraw draws a set-up of outputs on the lines 2 to 6 and inputs on 10 and 11.
func gpioDraw(r *rapid.T) string {
	var outs, ins []string
	lines := rapid.Permutation([]int{2, 3, 4, 5, 6}).Draw(r, "lines")
	if rapid.IntRange(0, 2).Draw(r, "in order") > 0 {
		lines = []int{2, 3, 4, 5, 6}
	}
	var present []string
	for i, name := range gpioWorldNames {
		if rapid.IntRange(0, 4).Draw(r, "left out") == 0 {
			continue
		}
		present = append(present, name)
		keys := []string{fmt.Sprintf("pin: %d", lines[i])}
		for _, values := range [][]string{{"initial: on", "initial: keep", "initial: restore", "single: true"}, {"max_on: 2s", "max_on: 300ms", "safe: keep"}, {"as: led", "as: valve"}, {"pull: up"},
			{"failsafe: {after: 1s}", "failsafe: {after: 1s, value: on}", "failsafe: {after: 2s, renew: true}"}} {
			if i := rapid.IntRange(-5, len(values)-1).Draw(r, values[0]); i >= 0 {
				keys = append(keys, values[i])
			}
		}
		outs = append(outs, name+": {"+strings.Join(keys, ", ")+"}")
	}
	for line := 10; line < 12; line++ {
		if rapid.Bool().Draw(r, "input") {
			keys := rapid.SampledFrom([]string{"", ", as: button", ", debounce: 5ms", ", count: true, scan: 1s"}).Draw(r, "input")
			ins = append(ins, fmt.Sprintf("i%d: {pin: %d%s}", line, line, keys))
		}
	}
	doc := "chip: pinctrl-bcm2835\noutputs: {" + strings.Join(outs, ", ") + "}\ninputs: {" + strings.Join(ins, ", ") + "}\n"
	if len(present) > 2 && rapid.IntRange(0, 3).Draw(r, "interlocks") > 0 {
		doc += "interlocks: [[" + strings.Join(present[:2], ", ") + "]"
		if len(present) > 3 && rapid.Bool().Draw(r, "second") {
			doc += ", [" + strings.Join(present[1:4], ", ") + "]"
		}
		doc += "]\n"
	}
	return doc
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

// rules takes note of what the set-up in force demands.
func (w *gpioWorld) rules() {
	var groups [][]string
	pins, maxOn := map[string]int{}, map[string]time.Duration{}
	gpioEngine(w.t, w.agent, func() {
		groups = w.agent.present.options.Interlocks
		for _, l := range w.agent.present.lines {
			if l.out != nil && l.hold.held() {
				pins[l.name], maxOn[l.name] = l.wiring.offset, time.Duration(l.out.MaxOn)
			}
		}
	})
	w.demand(groups, pins, maxOn)
}

// change takes in that the level of a line has changed, in the order in which they did.
func (w *gpioWorld) change(line int, c changeOf) {
	w.look("before a change")
	w.mu.Lock()
	if delete(w.since, line); c.Level == 1 {
		w.since[line] = c.Time
	}
	w.mu.Unlock()
	w.look(fmt.Sprintf("at the change of line %d to %d", line, c.Level))
}

// look checks the lines.
func (w *gpioWorld) look(when string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, group := range w.groups {
		var on []string
		for _, name := range group {
			if line, ok := w.pins[name]; ok && !w.since[line].IsZero() {
				on = append(on, name)
			}
		}
		if len(on) > 1 {
			w.wrong("%s: %v are on together", when, on)
		}
	}
	for name, most := range w.maxOn {
		if since := w.since[w.pins[name]]; most > 0 && !since.IsZero() && time.Since(since) > most {
			w.wrong("%s: %s is on for %v, max_on is %v", when, name, time.Since(since), most)
		}
	}
}

// demand sets what the lines are held to.
func (w *gpioWorld) demand(groups [][]string, pins map[string]int, maxOn map[string]time.Duration) {
	w.chip().Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	before := map[int]bool{}
	for _, line := range w.pins {
		before[line] = true
	}
	for _, line := range pins {
		if !w.since[line].IsZero() && !before[line] { // it was an input, or nobody's
			w.since[line] = time.Now()
		}
	}
	w.groups, w.pins, w.maxOn = groups, pins, maxOn
}

// quiet checks that what stands at the broker is what the lines are.
func (w *gpioWorld) quiet() {
	w.run()
	for name, line := range w.pins {
		blinking := false
		gpioEngine(w.t, w.agent, func() { blinking = w.agent.bank.State(name).Pattern != "" })
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
}

// TestGPIOProperty draws sequences of set-ups, sets, controls, kills and restarts, and wants that interlocked outputs are never on
// together, that no output is on for longer than max_on, that the states are what the lines are, and that each command is answered.
func TestGPIOProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(gpioOneStep), 1, 25).Draw(r, "steps")
		var w *gpioWorld
		var log []string
		synctest.Test(t, func(t *testing.T) { w, log = gpioProperty(t, steps) })
		if len(w.faults) > 0 {
			r.Fatalf("%s\n%s", strings.Join(log, "\n"), strings.Join(w.faults, "\n"))
		}
	})
}

func gpioProperty(t *testing.T, steps []gpioStep) (w *gpioWorld, log []string) {
	w = &gpioWorld{gpioStage: &gpioStage{gpioBench: newGPIOBench(t), start: time.Now(), link: &gpioFakeLink{up: true, subs: map[string]func([]byte){}}},
		states: map[string]reports.Reading{}, since: map[int]time.Time{}}
	w.with.Link = w.link
	w.begin("")
	for line := range 8 {
		defer w.chip().Watch(line, func(c changeOf) { w.change(line, c) })()
	}
	for _, s := range steps {
		log = append(log, w.step(s))
		w.look("then")
		w.quiet()
		if len(w.faults) > 0 {
			break
		}
	}
	w.demand(nil, nil, nil) // a line that is given back is what its pull makes of it
	if err := w.agent.Close(); err != nil {
		w.wrong("close: %v", err)
	}
	w.chip().Wait()
	return w, log
}

// again begins with a set-up that is new, or an agent.
func (w *gpioWorld) again() {
	w.rules()
	w.described()
}

// anew has the agent take a set-up. While it does, what is on together is looked at by its old rules and its new ones alike only
// if both say so: what holds is what the new set-up demands as soon as it is in force.
func (w *gpioWorld) anew(take func() (text string, ok bool)) string {
	groups, pins, maxOn := w.groups, w.pins, w.maxOn
	w.demand(nil, pins, nil)
	text, ok := take()
	w.demand(groups, pins, maxOn)
	if ok {
		w.again()
	}
	return text
}

// step does one thing.
func (w *gpioWorld) step(s gpioStep) string {
	switch s.kind {
	case 0, 1:
		return w.anew(func() (string, bool) {
			err := w.agent.Setup(w.t.Context(), []byte(s.doc))
			return fmt.Sprintf("setup %s: %v", s.doc, err), err == nil
		})
	case 2:
		w.demand(nil, nil, nil)
		if s.pin%2 == 0 {
			w.kill()
		} else if err := w.agent.Close(); err != nil {
			w.wrong("close: %v", err)
		}
		w.chip().Wait()
		w.states = map[string]reports.Reading{}
		w.begin("")
		w.again()
		return "restart"
	case 3:
		w.link.set(s.on)
		return fmt.Sprintf("link %v", s.on)
	case 4:
		w.chip().Drive(s.line, s.level)
		w.pass(10 * time.Millisecond)
		w.pass(time.Second) // a scan
		w.scan()
		return fmt.Sprintf("line %d: %d", s.line, s.level)
	case 5, 6:
		w.passBy(s.wait)
		return fmt.Sprintf("wait %v", s.wait)
	case 7:
		c := reports.Command{Verb: "control", Value: []byte(`{"verb":` + s.verb + `,"path":"output/` + s.name + `"}`)}
		if s.verb != `"release"` {
			return w.command(c)
		}
		return w.anew(func() (string, bool) { return w.command(c), true })
	case 8:
		block := fmt.Sprintf("output\nname %s\npin %d\ninit %d\n", s.name, s.pin, s.level)
		return w.anew(func() (string, bool) {
			text := w.command(reports.Command{Verb: "control", Value: []byte(block)})
			return text, w.agent.Renewed()
		})
	}
	c := reports.Command{Verb: "set", Path: "output/" + s.name, Value: s.on}
	if s.timed {
		c.Args = map[string]any{"for": s.wait.String()}
	}
	return w.command(c)
}

// scan reads what is scanned.
func (w *gpioWorld) scan() {
	for _, p := range w.agent.Describe().Points {
		if p.Poll > 0 {
			if r, err := w.agent.Sample(w.t.Context(), p.Path); err == nil {
				w.take(r)
			}
		}
	}
}

// passBy lets time pass in steps, and looks.
func (w *gpioWorld) passBy(d time.Duration) {
	for left := d; left > 0; left -= 50 * time.Millisecond {
		w.pass(min(left, 50*time.Millisecond))
		w.run()
		w.look("while time passes")
	}
}

// command has the agent carry out a command, and counts its answer.
func (w *gpioWorld) command(c reports.Command) string {
	r, err := w.agent.Apply(w.t.Context(), c)
	if err == nil && r.Path != "" {
		w.take(r)
	}
	value, _ := c.Value.([]byte)
	if value != nil {
		c.Value = string(value)
	}
	return fmt.Sprintf("%s %s %v %v: %v %v", c.Verb, c.Path, c.Value, c.Args, r.Value, err)
}
