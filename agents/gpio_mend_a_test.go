package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/reports"
)

// What adds to a set-up is refused while none is in force: it would be saved in the place of the one that waits.
func TestGPIOUnmetTakesNoPart(t *testing.T) {
	t.Parallel()
	for _, saved := range []bool{true, false} {
		b := newGPIOBench(t)
		doc := "chip: pinctrl-bcm2835\noutputs: {pump: {pin: 25, max_on: 30s}}"
		what := "the configuration's set-up"
		file := filepath.Join(b.dir, "gpio.setup.yaml")
		if saved {
			what = file
			a := b.open("chip: pinctrl-bcm2835")
			if err := a.Setup(t.Context(), []byte(doc)); err != nil {
				t.Fatal(err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := os.ReadFile(file)
		b.chip().Hog(25, "spidev")
		a, err := b.try(doc)
		if err == nil {
			t.Fatal("it started beside who holds its line")
		}
		for _, c := range []reports.Command{
			{Verb: "set", Path: "inputs", Value: []any{}},
			{Verb: "set", Path: "outputs", Value: []any{}},
			{Verb: "control", Value: []byte("output\n name led\n pin 17\n")},
			{Verb: "control", Value: []byte("outputs: {led: {pin: 17}}")},
		} {
			_, err := a.Apply(t.Context(), c)
			want := "no set-up is in force: send a whole one (setup), or put right what keeps " + what + " from being brought into force"
			if err == nil || err.Error() != want || reports.CodeOf(err) != reports.CodeBadSetup {
				t.Errorf("%s %s %s: %v, want %s", c.Verb, c.Path, c.Value, err, want)
			}
			if after, _ := os.ReadFile(file); string(after) != string(before) || b.held() != "25" {
				t.Errorf("%s %s %s: saved %q, was %q; held %s", c.Verb, c.Path, c.Value, after, before, b.held())
			}
		}
		if err := a.Setup(t.Context(), []byte("outputs: {led: {pin: 17}}")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte("outputs: {led2: {pin: 18}}")}); err != nil {
			t.Error(err)
		}
	}
}

// A pin with keys that the other direction has no place for is not turned round, and nothing else of the list either.
func TestGPIOTurnLosesNothing(t *testing.T) {
	t.Parallel()
	const doc = `chip: pinctrl-bcm2835
outputs:
  pump: {pin: 25, as: valve, initial: keep, safe: off, max_on: 1s, failsafe: {after: 1s}, single: false, pulse: 300ms, drive: open-drain}
  plain: {pin: 2, label: P, pull: up, active_low: true, initial: off, safe: off, drive: push-pull}
  once: {pin: 3, single: true}
inputs:
  meter: {pin: 5, on_change: /a/b, scan: 1s, debounce: 5ms, edge: rising, count: true, long_press: 1s, double_click: 1s}
  button: {pin: 6, as: button}
  bare: {pin: 7, label: B, pull: down, active_low: true, on_change: true, debounce: 0s, edge: both, count: false, long_press: 0s}
`
	b := newGPIOBench(t)
	a := b.open(doc)
	for _, step := range []struct {
		path string
		v    []any
		want string
	}{
		{"inputs", []any{"plain", "pump"}, "output/pump has as, initial, drive, max_on, pulse, failsafe, which an input can't have: send a set-up"},
		{"inputs", []any{"once"}, "output/once has single, which an input can't have: send a set-up"},
		{"outputs", []any{"bare", "meter"}, "input/meter has on_change, scan, debounce, edge, count, long_press, double_click, which an output can't have: send a set-up"},
		{"outputs", []any{"button"}, "input/button has as, which an output can't have: send a set-up"},
	} {
		before, held := gpioDoc(t, a), b.held()
		_, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: step.path, Value: step.v})
		if err == nil || err.Error() != step.want || reports.CodeOf(err) != reports.CodeBadSetup {
			t.Errorf("set %s %v: %v, want %s", step.path, step.v, err, step.want)
		}
		if gpioDoc(t, a) != before || b.held() != held {
			t.Errorf("set %s %v: it was applied", step.path, step.v)
		}
	}
	for path, name := range map[string]string{"inputs": "plain", "outputs": "bare"} {
		if _, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: path, Value: []any{name}}); err != nil {
			t.Errorf("set %s %s: %v", path, name, err)
		}
	}
	got := gpioDoc(t, a)
	for _, want := range []string{
		"  plain:\n    pin: \"2\"\n    label: P\n    pull: up\n    active_low: true\n",
		"  bare:\n    pin: \"7\"\n    label: B\n    pull: down\n    active_low: true\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("set-up\n%swant in it\n%s", got, want)
		}
	}
}

// What the rules of outputs refuse is refused where it stands, also by the check of a configuration.
func TestGPIORulesChecked(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"\noutputs:\n  x:\n    pin: 25\n    pulse: 40s\n    max_on: 30s":     "5: outputs.x.pulse: 40s is longer than the max_on of 30s",
		"\noutputs:\n  x:\n    pin: 25\n    single: true\n    max_on: 100ms": "5: outputs.x.single: its pulse of 500ms is longer than the max_on of 100ms",
		"\noutputs:\n  x:\n    pin: 25\n    failsafe:\n      after: 1s\n      value: on\n  y:\n    pin: 24\n    failsafe:\n      after: 1s\n      value: on\ninterlocks: [[x, y]]": "12: outputs.y.failsafe.value: is on as that of x is, with which it is interlocked",
	} {
		doc = "chip: pinctrl-bcm2835" + doc
		var o gpioOptions
		node, err := config.ParseNode("setup", []byte(doc))
		if err == nil {
			err = node.Decode(&o)
		}
		if got := fmt.Sprint(err); got != "setup:"+want {
			t.Errorf("check of %q: %s, want setup:%s", doc, got, want)
		}
		a := newGPIOBench(t).open("chip: pinctrl-bcm2835")
		if err := a.Setup(t.Context(), []byte(doc)); err == nil || err.Error() != "setup:"+want {
			t.Errorf("setup %q: %v, want setup:%s", doc, err, want)
		}
	}
}

// A one-shot output is on for its pulse at the most, whoever says how long.
func TestGPIOSingleMeansOnePulse(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 25, single: true, pulse: 10s}}")
	long := reports.Command{Verb: "set", Path: "output/x", Value: true, Args: map[string]any{"for": "11s"}}
	for _, c := range []reports.Command{long, {Verb: "control", Value: []byte("{verb: pulse, path: output/x, for: 11s}")}} {
		_, err := a.Apply(t.Context(), c)
		want := `output/x: output "x" is single: it can't be on for 11s, its pulse is 10s`
		if err == nil || err.Error() != want || reports.CodeOf(err) != reports.CodeOutOfRange || b.chip().Level(25) != 0 {
			t.Errorf("%s: %v, level %d, want %s", c.Verb, err, b.chip().Level(25), want)
		}
	}
	long.Args["for"] = "10s"
	if _, err := a.Apply(t.Context(), long); err != nil || b.chip().Level(25) != 1 {
		t.Errorf("for as long as the pulse: %v, level %d", err, b.chip().Level(25))
	}
}

// The total of an input is forgotten with the input, so that names that come and go don't fill the file.
func TestGPIOTotalsForgotten(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\ninputs: {a: {pin: 5, count: true}, b: {pin: 6, count: true}, c: {pin: 7, as: meter}}")
	for _, name := range []string{"a", "b", "c"} {
		if _, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: "total/" + name, Value: int64(5)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, doc := range []string{
		"inputs: {a: {pin: 8, count: true}, b: {pin: 6}}",
		"inputs: {a: {pin: 8, as: meter}, b: {pin: 6, count: true}, c: {pin: 7, count: true}}",
	} {
		if err := a.Setup(t.Context(), []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"a": "5", "b": "0", "c": "0"} {
		if got := gpioLevel(t, a, "total/"+name); got != want {
			t.Errorf("total/%s is %s, want %s", name, got, want)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if doc, err := os.ReadFile(filepath.Join(b.dir, "gpio.totals.json")); err != nil || !strings.Contains(string(doc), `"a": 5`) || strings.Count(string(doc), ": 0") != 2 {
		t.Errorf("saved: %s, %v", doc, err)
	}
}

// A pin that no set-up takes is refused by the check of a configuration too, where it stands.
func TestGPIOPinWords(t *testing.T) {
	t.Parallel()
	for pin, want := range map[string]string{
		`"+25"`: `pin "+25": is a number with a sign; say 25`, "+25": `pin "+25": is a number with a sign; say 25`, `"-5"`: `pin "-5": is a number with a sign; lines count from 0`,
		"025": `pin "025": begins with a 0; say 25`, `" 25"`: `pin " 25": has blanks around it; say 25`, `"GPIO25\t"`: `pin "GPIO25\t": has blanks around it; say GPIO25`,
		`"  "`: `pin "  ": has blanks around it`, `"GPIO25 "`: `pin "GPIO25 ": has blanks around it; say GPIO25`,
	} {
		for _, section := range []string{"outputs", "inputs", "pwm", "servos"} {
			doc := "chip: pinctrl-bcm2835\n" + section + ":\n  x:\n    pin: " + pin
			var o gpioOptions
			node, err := config.ParseNode("setup", []byte(doc))
			if err == nil {
				err = node.Decode(&o)
			}
			want := "setup:4: " + section + ".x.pin: " + want
			if got := fmt.Sprint(err); !strings.HasPrefix(got, want) {
				t.Errorf("check of pin: %s: %s, want %s", pin, got, want)
			}
			a := newGPIOBench(t).open("chip: pinctrl-bcm2835")
			if err := a.Setup(t.Context(), []byte(doc)); err == nil || !strings.HasPrefix(err.Error(), want) || reports.CodeOf(err) != reports.CodeBadSetup {
				t.Errorf("set-up of pin: %s: %v, want %s", pin, err, want)
			}
		}
	}
	for pin, line := range map[string]int{"0": 0, "25": 25, `"25"`: 25, "GPIO25": 25, "pin22": 25, "J8p22": 25, "gpio7": 7} {
		b := newGPIOBench(t)
		b.open(fmt.Sprintf("chip: pinctrl-bcm2835\noutputs: {x: {pin: %s}}", pin))
		if got := b.held(); got != fmt.Sprintf(">%d", line) {
			t.Errorf("pin: %s holds %s, want >%d", pin, got, line)
		}
	}
}
