package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rollcall/config"
	"rollcall/reports"
)

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
	s := gpioStep{kind: rapid.IntRange(0, 16).Draw(r, "step"), name: rapid.SampledFrom(gpioWorldNames[:]).Draw(r, "name")}
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
	case 9:
		s.on = rapid.Bool().Draw(r, "hub")
	case 10, 11:
		s.name, s.level = rapid.SampledFrom([]string{"p", "q"}).Draw(r, "pwm"), rapid.SampledFrom([]int{0, 1, 35, 100}).Draw(r, "percent")
		s.verb = rapid.SampledFrom([]string{"", "", "0s", "700ms", "release"}).Draw(r, "fade")
	case 13, 14:
		if s.kind == 14 {
			s.doc = gpioDraw(r)
		}
	case 12:
		s.doc, s.pin = gpioDraw(r), rapid.IntRange(0, 5).Draw(r, "cut")
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

// gpioWorldHub is where who controls outputs says whether it is there.
const gpioWorldHub = "/hub/status"

// What the sequences are made of.
var (
	gpioWorldNames = [...]string{"a", "b", "c", "d", "e"}
	gpioWorldTimes = [...]time.Duration{0, time.Millisecond, 90 * time.Millisecond, 100 * time.Millisecond, 600 * time.Millisecond, 2 * time.Second, 61 * time.Second}
)

// gpioDraw draws a set-up of outputs on the lines 2 to 6 and inputs on 10 and 11.
func gpioDraw(r *rapid.T) string {
	var outs, ins, mods []string
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
			{"failsafe: {after: 1s}", "failsafe: {after: 1s, value: on}", "failsafe: {after: 2s, renew: true}", "failsafe: {after: 500ms, watch: " + gpioWorldHub + "}"}} {
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
	for i, name := range []string{"p", "q"} {
		if rapid.Bool().Draw(r, "pwm") {
			mods = append(mods, fmt.Sprintf("%s: {pin: %d, driver: pwmchip0/%d%s}", name, 12+i, i, rapid.SampledFrom([]string{"", ", initial: 40", ", fade: 2s",
				", gamma: 2.2, failsafe: {after: 1s}", ", max: 50, failsafe: {after: 1s, value: on}", ", min: 20, fade: 1s, failsafe: {after: 500ms, watch: " + gpioWorldHub + "}",
				", failsafe: {after: 2s, renew: true}"}).Draw(r, "keys")))
		}
	}
	doc := "chip: pinctrl-bcm2835\npwm: {" + strings.Join(mods, ", ") + "}\noutputs: {" + strings.Join(outs, ", ") + "}\ninputs: {" + strings.Join(ins, ", ") + "}\n"
	if len(present) > 2 && rapid.IntRange(0, 3).Draw(r, "interlocks") > 0 {
		doc += "interlocks: [[" + strings.Join(present[:2], ", ") + "]"
		if len(present) > 3 && rapid.Bool().Draw(r, "second") {
			doc += ", [" + strings.Join(present[1:4], ", ") + "]"
		}
		doc += "]\n" + rapid.SampledFrom([]string{"", "", "dead_time: 700ms\n", "dead_time: 1ms\n"}).Draw(r, "dead")
	}
	return doc
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
		states: map[string]reports.Reading{}, since: map[int]time.Time{}, off: map[int]time.Time{}, downSince: map[bool]time.Time{}, commanded: map[string]time.Time{}}
	w.with.Link, w.with.Root = w.link, gpioPWMChip(t, 2)
	w.links()
	w.begin("")
	for line := range 8 {
		defer w.chip().Watch(line, func(c changeOf) { w.change(line, c) })()
	}
	for _, s := range steps {
		log = append(log, fmt.Sprintf("%v ", time.Since(w.start))+w.step(s))
		w.links()
		w.look("then")
		w.quiet()
		if len(w.faults) > 0 {
			break
		}
	}
	w.demand(gpioDemands{}) // a line that is given back is what its pull makes of it
	if err := w.agent.Close(); err != nil {
		w.wrong("close: %v", err)
	}
	w.chip().Wait()
	for _, channel := range []string{"pwm0", "pwm1"} {
		if got := w.pwmFile(channel + "/duty_cycle"); got != "0" {
			w.wrong("%s is left at %s", channel, got)
		}
	}
	return w, log
}

// restart starts the agent after its end. What lines without it made of their pulls is nobody's doing.
func (w *gpioWorld) restart() {
	w.t.Helper()
	w.chip().Wait()
	w.mu.Lock()
	w.went = nil
	w.mu.Unlock()
	w.states = map[string]reports.Reading{}
	w.begin("")
}

// again begins with a set-up that is new, or an agent.
func (w *gpioWorld) again() {
	w.mu.Lock()
	w.renewed = time.Now()
	w.mu.Unlock()
	w.links()
	w.demand(w.demands())
	w.described()
}

// anew has the agent take a set-up. While it does, what is on together is looked at by its old rules and its new ones alike only
// if both say so: what holds is what the new set-up demands as soon as it is in force.
func (w *gpioWorld) anew(take func() (text string, ok bool)) string {
	before := w.rules
	w.demand(gpioDemands{pins: before.pins})
	text, ok := take()
	w.chip().Wait()
	if !ok {
		w.demand(before)
	}
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
		w.demand(gpioDemands{})
		finals := w.finals()
		if s.pin%2 == 0 {
			w.kill()
		} else if err := w.agent.Close(); err != nil {
			w.wrong("close: %v", err)
		}
		w.restart()
		w.again()
		w.restored(finals)
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
	case 9:
		w.link.say(gpioWorldHub, map[bool]string{true: "online", false: "offline"}[s.on])
		w.hub = s.on // if anybody has heard it
		return fmt.Sprintf("hub %v", s.on)
	case 10, 11:
		return w.modulate(s)
	case 12:
		return w.cutSetup(s)
	case 13:
		return w.command(reports.Command{Verb: "set", Path: "output/" + s.name, Value: reports.Toggle})
	case 14:
		return w.anew(func() (string, bool) {
			err := gpioReload(w.agent, s.doc, w.deps())
			return fmt.Sprintf("reload %s: %v", s.doc, err), err == nil
		})
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
	path := c.Path
	value, _ := c.Value.([]byte)
	if at := strings.Index(string(value), `"path":"`); at >= 0 {
		path, _, _ = strings.Cut(string(value[at+len(`"path":"`):]), `"`)
	}
	before := w.controlled(path, time.Now())
	r, err := w.agent.Apply(w.t.Context(), c)
	if err == nil && r.Path != "" {
		w.take(r)
	}
	if err != nil {
		w.controlled(path, before)
	}
	if value != nil {
		c.Value = string(value)
	}
	return fmt.Sprintf("%s %s %v %v: %v %v", c.Verb, c.Path, c.Value, c.Args, r.Value, err)
}

// modulate sets or releases a modulated output.
func (w *gpioWorld) modulate(s gpioStep) string {
	path := "pwm/" + s.name
	if s.verb == "release" {
		return w.anew(func() (string, bool) {
			return w.command(reports.Command{Verb: "control", Value: []byte(`{"verb":"release","path":"` + path + `"}`)}), true
		})
	}
	c := reports.Command{Verb: "set", Path: path, Value: float64(s.level)}
	if s.verb != "" {
		c.Args = map[string]any{"fade": s.verb}
	}
	return w.command(c)
}

// cutSetup has the power be cut while a set-up is saved, or right after it: the set-up is the old one or the new one then, and nothing
// is restored to be on that was not to be on with that one.
func (w *gpioWorld) cutSetup(s gpioStep) string {
	old, finals := gpioDoc(w.t, w.agent), w.finals()
	w.run()
	cuts := []map[string]string{w.filesNow()}
	gpioEngine(w.t, w.agent, func() {
		w.agent.write = func(file string, doc []byte) error {
			err := config.Save(file, doc)
			cuts = append(cuts, w.filesNow())
			return err
		}
	})
	w.demand(gpioDemands{})
	setupErr := w.agent.Setup(w.t.Context(), []byte(s.doc))
	synctest.Wait()
	next, nextFinals := gpioDoc(w.t, w.agent), w.finals()
	w.kill()
	w.chip().Wait()
	cut := cuts[s.pin%len(cuts)]
	for name := range w.filesNow() {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			w.wrong("cut: %v", err)
		}
	}
	for name, doc := range cut {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(doc), 0o600); err != nil {
			w.wrong("cut: %v", err)
		}
	}
	w.restart()
	w.again()
	switch got := gpioDoc(w.t, w.agent); {
	case cut["gpio.setup.yaml"] == "" && len(w.agent.present.lines) == 0:
	case got == old && cut["gpio.setup.yaml"] == string(gpioFrame([]byte(old))):
		w.restored(finals)
	case got == next && cut["gpio.setup.yaml"] == string(gpioFrame([]byte(next))):
		w.restored(nextFinals)
	default:
		w.wrong("after a cut the set-up is\n%sbefore it was\n%sthe next\n%s", got, old, next)
	}
	return fmt.Sprintf("cut %d of %d in setup %s: %v", s.pin%len(cuts), len(cuts), s.doc, setupErr)
}

// restored checks that nothing is on again that was not to be.
func (w *gpioWorld) restored(finals map[string]bool) {
	for name, on := range w.finals() {
		if on && !finals[name] {
			w.wrong("%s is restored to be on; it was not to be", name)
		}
	}
}
