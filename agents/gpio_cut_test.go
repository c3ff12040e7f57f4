package agents

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/config"
)

// gpioCuts is what a folder holds whenever something in it has changed: what a power cut at that moment leaves. What a cut within
// such a change leaves, TestSave of config tests.
type gpioCuts []map[string]string

func (s *gpioStage) filesNow() map[string]string {
	out := map[string]string{}
	names, err := filepath.Glob(filepath.Join(s.dir, "gpio.*"))
	if err != nil {
		s.t.Error(err)
	}
	for _, name := range names {
		doc, err := os.ReadFile(name)
		if err != nil {
			s.t.Error(err)
		}
		out[filepath.Base(name)] = string(doc)
	}
	return out
}

// cuts has the power be cut after each save of what happens in f and the time that it needs.
func (s *gpioStage) cuts(f func()) (cuts gpioCuts) {
	gpioEngine(s.t, s.agent, func() {
		s.agent.write = func(file string, doc []byte) error {
			err := config.Save(file, doc)
			cuts = append(cuts, s.filesNow())
			return err
		}
	})
	cuts = append(cuts, s.filesNow())
	f()
	s.pass(2 * gpioKeptEvery)
	if len(cuts) < 3 || !maps.Equal(cuts[len(cuts)-1], s.filesNow()) {
		s.t.Errorf("%d cuts, the last %v; the files are %v", len(cuts), cuts[len(cuts)-1], s.filesNow())
	}
	return cuts
}

// A power cut at any moment of a set-up that gives outputs other names leaves the old set-up with what its outputs were last told,
// or the new one with what these were, and never one of them with the states of the other.
func TestGPIOCutStates(t *testing.T) {
	for _, tt := range []struct{ name, old, new, levels string }{
		{"another name", "a: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}", "b: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}", "2:1 4:1"},
		{"its name goes to another line", "a: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}",
			"b: {pin: 2, initial: restore}, a: {pin: 3, initial: restore}, c: {pin: 4, initial: restore}", "2:1 3:0 4:1"},
		{"changed names", "a: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}, d: {pin: 5, initial: restore}",
			"d: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}, a: {pin: 5, initial: restore}", "2:1 4:1 5:0"},
		{"begins to be restored", "a: {pin: 2}, c: {pin: 4, initial: restore}", "a: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}", "2:1 4:1"},
		{"by a name that was forgotten", "a: {pin: 2, initial: restore}, c: {pin: 4, initial: restore}", "a: {pin: 2}, c: {pin: 4, initial: restore}", "4:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				doc := func(outputs string) string { return "chip: pinctrl-bcm2835\noutputs: {" + outputs + "}" }
				s := &gpioStage{gpioBench: newGPIOBench(t), start: time.Now()}
				s.begin("")
				s.setup(doc(tt.old))
				s.do("output/a", true)
				s.do("output/c", true)
				s.pass(time.Minute)
				cuts := s.cuts(func() { s.setup(doc(tt.new)) })
				if err := s.agent.Close(); err != nil {
					t.Error(err)
				}
				old := 0
				for i, files := range cuts {
					levels := gpioAfterCut(t, files)
					want := tt.levels
					if files["gpio.setup.yaml"] == cuts[0]["gpio.setup.yaml"] {
						old++
						if want = "2:1 4:1"; strings.Contains(tt.old, "a: {pin: 2}") {
							want = "4:1"
						}
					}
					for _, level := range strings.Fields(want) {
						if !strings.Contains(levels, level) {
							t.Errorf("cut %d leaves %v: levels %s, want %s", i, files, levels, want)
						}
					}
				}
				if old == len(cuts) {
					t.Error("no cut left the new set-up")
				}
			})
		})
	}
}

// gpioAfterCut starts an agent with what a cut has left, and returns the levels of the lines 2 to 5.
func gpioAfterCut(t *testing.T, files map[string]string) string {
	t.Helper()
	b := newGPIOBench(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := b.open("chip: pinctrl-bcm2835")
	var out []string
	for line := 2; line < 6; line++ {
		out = append(out, string(rune('0'+line))+":"+string(rune('0'+b.chip().Level(line))))
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if log := b.log.String(); strings.Contains(log, "can't be restored") {
		t.Error(log)
	}
	return strings.Join(out, " ")
}

// What is to be restored is what an output is told for good: not what a timer gave it before it was to be restored, nor what it was
// before it was released.
func TestGPIORestoreForGood(t *testing.T) {
	t.Run("a timer", func(t *testing.T) {
		gpioBubble(t, "outputs: {a: {pin: 2}, b: {pin: 3}, c: {pin: 4}, d: {pin: 5, initial: on}}\ninterlocks: [[c, d]]", func(s *gpioStage) {
			s.pass(time.Second)
			s.do("output/a", true, "for", "5s")
			s.do("output/b", false, "for", "5s")
			const restored = "outputs: {a: {pin: 2, initial: restore}, b: {pin: 3, initial: restore}, c: {pin: 4, initial: restore}, d: {pin: 5, initial: restore}}\ninterlocks: [[c, d]]"
			s.do("output/c", true) // waits
			s.setup("chip: pinctrl-bcm2835\n" + restored)
			s.wantLevels(2, 1, 3, 0, 4, 0, 5, 0)
			s.kill()
			s.begin(restored)
			s.pass(time.Second)
			s.wantLevels(2, 0, 3, 1, 4, 1, 5, 0)
		})
	})
	t.Run("a release", func(t *testing.T) {
		const options = "outputs: {a: {pin: 2, initial: restore}, fan: {pin: 3, initial: restore, safe: on}, c: {pin: 4, initial: restore}}"
		gpioBubble(t, options, func(s *gpioStage) {
			for _, name := range []string{"a", "fan", "c"} {
				s.do("output/"+name, true)
			}
			s.pass(time.Minute)
			s.wantDo("", "control", "{verb: release, path: output/a}")
			s.do("control", "{verb: release, path: output/fan}")
			s.pass(time.Millisecond) // at once
			s.kill()
			s.begin(options)
			s.wantLevels(2, 0, 3, 1, 4, 1)
		})
	})
}

// A set-up whose states can't be saved is refused, and nothing is another than before.
func TestGPIOStatesNotSaved(t *testing.T) {
	gpioBubble(t, "outputs: {a: {pin: 2, initial: restore}}", func(s *gpioStage) {
		s.do("output/a", true)
		s.pass(time.Minute)
		before := s.filesNow()
		gpioEngine(t, s.agent, func() {
			s.agent.write = func(file string, doc []byte) error {
				if strings.HasSuffix(file, gpioKeptName) {
					return errors.New("no space")
				}
				return config.Save(file, doc)
			}
		})
		err := s.agent.Setup(t.Context(), []byte("outputs: {b: {pin: 2, initial: restore}, a: {pin: 3}}"))
		if err == nil || err.Error() != "save set-up: save states: no space" {
			t.Errorf("setup: %v", err)
		}
		if after := s.filesNow(); !maps.Equal(before, after) {
			t.Errorf("files %v, were %v", after, before)
		}
		s.wantLevels(2, 1, 3, 0)
		gpioEngine(t, s.agent, func() { s.agent.write = config.Save })
		s.wantDo("OFF", "output/a", false)
		s.setup("outputs: {b: {pin: 2, initial: restore}}")
		s.pass(time.Minute)
		if after := s.filesNow()["gpio.state.json"]; strings.Contains(after, "next") || !strings.Contains(after, `"b": false`) {
			t.Errorf("states: %s", after)
		}
	})
}

// What a set-up has forgotten stays forgotten, if the power is cut before it is out of its file.
func TestGPIOCutTotals(t *testing.T) {
	const counts, other = "chip: pinctrl-bcm2835\ninputs: {m: {pin: 5, count: true}, n: {pin: 6, count: true}}", "chip: pinctrl-bcm2835\ninputs: {n: {pin: 6, count: true}}"
	for name, forgets := range map[string]string{"another counts": other, "none counts": "chip: pinctrl-bcm2835"} {
		t.Run(name, func(t *testing.T) {
			gpioBubble(t, "", func(s *gpioStage) {
				s.setup(counts)
				s.wantDo("5", "total/m", int64(5))
				s.wantDo("7", "total/n", int64(7))
				cut := map[string]string{}
				gpioEngine(s.t, s.agent, func() {
					s.agent.write = func(file string, doc []byte) error {
						err := config.Save(file, doc)
						cut = s.filesNow()
						return err
					}
				})
				s.setup(forgets)
				after := &gpioStage{gpioBench: newGPIOBench(s.t)}
				for name, doc := range cut {
					if err := os.WriteFile(filepath.Join(after.dir, name), []byte(doc), 0o600); err != nil {
						s.t.Fatal(err)
					}
				}
				if !strings.Contains(cut["gpio.totals.json"], `"m": 5`) {
					s.t.Errorf("the cut came too late: %v", cut)
				}
				after.begin("")
				after.setup(counts)
				after.wantValue("total/m", "0")
				if forgets == other {
					after.wantValue("total/n", "7")
				}
			})
		})
	}
}
