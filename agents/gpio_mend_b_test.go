package agents

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/reports"
)

// An OFF of what is on in the file is saved at once, whoever switches it off: nothing comes back on after a power cut.
func TestGPIORestoreOff(t *testing.T) {
	const options = "outputs: {c: {pin: 2, initial: restore}, m: {pin: 3, initial: restore, max_on: 40s}, i: {pin: 4, initial: restore}, j: {pin: 5}, " +
		"f: {pin: 6, initial: restore, failsafe: {after: 1s}}, t: {pin: 7, initial: restore}, on: {pin: 8, initial: restore}}\ninterlocks: [[i, j]]"
	gpioBubble(t, options, func(s *gpioStage) {
		for _, name := range []string{"c", "m", "i", "f", "t", "on"} {
			s.do("output/"+name, true)
		}
		s.pass(38 * time.Second) // all are saved
		s.do("output/c", false)
		s.do("output/j", true)
		s.do("output/t", true, "for", "1h")
		s.link.set(false)
		s.pass(2 * time.Second) // the failsafe, and max_on
		s.wantLevels(2, 0, 3, 0, 4, 0, 6, 0, 7, 1, 8, 1)
		s.kill()
		s.link.up = true
		s.begin(options)
		s.wantLevels(2, 0, 3, 0, 4, 0, 6, 0, 7, 0, 8, 1)
	})
}

// Interlocked outputs that begin on wait for their dead time, since nobody knows since when the others are off.
func TestGPIOInterlockBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &gpioStage{gpioBench: newGPIOBench(t), start: time.Now()}
		const options = "outputs: {a: {pin: 2}, b: {pin: 3, initial: on}, r: {pin: 4, initial: restore}, m: {pin: 5}, k: {pin: 6, initial: keep}, n: {pin: 7}}\n" +
			"interlocks: [[a, b], [r, m], [k, n]]\ndead_time: 2s"
		s.chip().Drive(6, 1)
		s.begin(options)
		s.wantLevels(3, 0, 6, 1)
		s.pass(2 * time.Second)
		s.wantLevels(3, 1, 6, 1)
		s.do("output/r", true)
		s.do("output/a", true)
		s.pass(10 * time.Second)
		s.wantLevels(2, 1, 3, 0, 4, 1)
		s.kill()
		s.begin(options)
		s.pass(2*time.Second - 1)
		s.wantLevels(2, 0, 3, 0, 4, 0, 6, 1)
		s.wantValue("output/b", "OFF")
		s.told()
		s.pass(1)
		s.wantLevels(3, 1, 4, 1)
		s.wantTold("output/b ON, output/r ON")
	})
}

// What is released goes to its safe value first, and those that it is interlocked with wait for the dead time.
func TestGPIOReleaseDead(t *testing.T) {
	const options = "outputs: {a: {pin: 2}, b: {pin: 3}, k: {pin: 4, safe: keep}, l: {pin: 5}}\ninterlocks: [[a, b], [k, l]]\ndead_time: 2s"
	gpioBubble(t, options, func(s *gpioStage) {
		s.pass(2 * time.Second)
		s.do("output/a", true)
		s.do("output/k", true)
		s.pass(time.Minute)
		s.chip().Drive(2, 1)
		s.do("control", "{verb: release, path: output/a}")
		s.do("control", "{verb: release, path: output/k}")
		s.do("output/b", true)
		s.do("output/l", true)
		s.pass(2*time.Second - 1)
		s.wantLevels(3, 0, 5, 0)
		s.pass(1)
		s.wantLevels(3, 1, 5, 1)
		s.pass(time.Minute)
		s.setup("chip: pinctrl-bcm2835\n" + options)
		s.wantValue("output/a", "OFF")
		s.wantLevels(2, 0, 3, 1)
	})
}

// What was released has no state any more, and says why it is not set.
func TestGPIOReleasedPoints(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	const options = "chip: pinctrl-bcm2835\noutputs: {x: {pin: 2, as: led}, y: {pin: 3}}\ninputs: {m: {pin: 5, count: true}}"
	a := b.open(options)
	access := func() string {
		var out []string
		for _, p := range a.Describe().Points[:len(a.Describe().Points)-gpioOwnPoints] {
			if p.Access.Has(reports.Get) {
				out = append(out, p.Path)
			} else if p.Access == reports.Set {
				out = append(out, "set:"+p.Path)
			}
		}
		return strings.Join(out, " ")
	}
	const all = "output/x blink/x output/y input/m count/m total/m rate/m"
	for _, test := range []struct{ path, want string }{
		{"", all}, {"output/x", "set:output/x set:blink/x output/y input/m count/m total/m rate/m"}, {"input/m", "set:output/x set:blink/x output/y set:total/m"},
	} {
		if test.path != "" {
			if _, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte("{verb: release, path: " + test.path + "}")}); err != nil || !a.Renewed() {
				t.Errorf("release %s: %v, or not renewed", test.path, err)
			}
		}
		if got := access(); got != test.want {
			t.Errorf("after release of %q: %s, want %s", test.path, got, test.want)
		}
	}
	for path, v := range map[string]any{"output/x": true, "blink/x": "alert", "total/m": int64(1)} {
		if _, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: path, Value: v}); err == nil || !strings.Contains(err.Error(), "was released") {
			t.Errorf("set %s: %v", path, err)
		}
	}
	if err := a.Setup(t.Context(), []byte(options)); err != nil || access() != all {
		t.Errorf("set up again: %v, points %s", err, access())
	}
}

// A released output leaves no state at the broker.
func TestGPIOReleaseOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.run()
	l.wantState("status", "online")
	if r := l.ask("set/output/pump", "ON"); !r.OK {
		t.Fatalf("set: %+v", r)
	}
	l.wantState("output/pump", "ON")
	if r := l.ask("control", "{verb: release, path: output/pump}"); !r.OK {
		t.Errorf("release: %+v", r)
	}
	l.wantState("output/pump", "")
	if r := l.ask("set/output/pump", "ON"); r.OK || !strings.Contains(r.Error, "released") {
		t.Errorf("set of what was released: %+v", r)
	}
}

// An output that a set-up drops goes to its safe value before it is given back.
func TestGPIODropped(t *testing.T) {
	t.Parallel()
	for safe, want := range map[string]string{"off": "0", "keep": "1"} {
		b := newGPIOBench(t)
		b.chip().Drive(2, 1) // what becomes of the line then
		a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 2, safe: " + safe + "}, y: {pin: 3}}")
		gpioSet(t, a, "output/x", true)
		before := len(b.chip().History(2))
		if err := a.Setup(t.Context(), []byte("chip: pinctrl-bcm2835\noutputs: {y: {pin: 3}}")); err != nil {
			t.Fatal(err)
		}
		got := "1"
		for _, c := range b.chip().History(2)[before:] {
			if c.Level == 0 {
				got = "0"
			}
		}
		if got != want {
			t.Errorf("safe: %s: went to %s, want %s; %v", safe, got, want, b.chip().History(2)[before:])
		}
	}
}

// A controller that has never said anything counts as gone.
func TestGPIOFailsafeWatchNothing(t *testing.T) {
	gpioBubble(t, "outputs: {x: {pin: 2, initial: on, failsafe: {after: 5s, watch: house/status}}, y: {pin: 3, initial: on, failsafe: {after: 5s, watch: other/status}}}", func(s *gpioStage) {
		s.link.say("other/status", "online")
		s.pass(5*time.Second - 1)
		s.wantLevels(2, 1, 3, 1)
		s.pass(1)
		s.wantLevels(2, 0, 3, 1)
		s.wantTold("output/x OFF, failsafe ON")
		s.link.say("house/status", "online")
		s.do("output/x", true)
		s.pass(time.Minute)
		s.wantLevels(2, 1, 3, 1)
	})
}

// An input goes on counting from where it is, whatever a set-up changes of it.
func TestGPIOCountGoesOn(t *testing.T) {
	gpioBubble(t, "inputs: {m: {pin: 5, count: true}}", func(s *gpioStage) {
		pulses := func(line int) {
			for range 7 {
				s.chip().Drive(line, 1)
				s.chip().Drive(line, 0)
			}
			s.chip().Wait()
			synctest.Wait()
		}
		pulses(5)
		for i, in := range []string{"{pin: 5, count: true, scan: 1s}", "{pin: 5, count: true, pull: up}", "{pin: 6, count: true}"} {
			want := reports.FormatValue(int64(7 * (i + 1)))
			s.setup("chip: pinctrl-bcm2835\ninputs: {m: " + in + "}")
			s.wantValue("total/m", want)
			s.wantValue("count/m", want)
			if i == 2 {
				break
			}
			pulses(5)
		}
		pulses(6)
		s.do("control", "{verb: release, path: input/m}")
		s.setup("chip: pinctrl-bcm2835\ninputs: {m: {pin: 6, count: true, scan: 1s}}")
		s.wantValue("total/m", "28")
	})
}
