package agents

import (
	"strings"
	"testing"
)

// What is added to a set-up takes nothing away from what is there.
func TestGPIOAmend(t *testing.T) {
	t.Parallel()
	const before = `
outputs:
  pump: {pin: 6, as: relay, label: Pump, max_on: 1s, failsafe: {after: 60s}, pulse: 500ms, pull: up, active_low: true}
  bare: {pin: 7, label: Bare}
inputs:
  m: {pin: 5, as: meter, debounce: 7ms}
  free: {pin: 8, pull: up}
pwm:
  p: {pin: 18, min: 10, max: 50, fade: 1s, initial: 20}
servos:
  v: {pin: 19, max_angle: 90}
`
	for _, tt := range []struct{ name, doc, want, fails string }{
		{"an output", "output\n name pump\n pin 6\n", "pump: {pin: \"6\", as: relay, label: Pump, pull: up, active_low: true, max_on: 1s, pulse: 500ms, failsafe: {after: 1m}}", ""},
		{"an output by another pin", "output\n name pump\n pin 9\n init 1\n pol norm\n max_on 0\n", "pump: {pin: \"9\", as: relay, label: Pump, initial: \"on\", pull: up, pulse: 500ms, failsafe: {after: 1m}}", ""},
		{"an input", "input\n name m\n pin 5\n debounce 0\n", "m: {pin: \"5\", as: meter, debounce: 0s}", ""},
		{"an input that counts no more", "input\n name m\n pin 5\n count 0\n", "m: {pin: \"5\", as: meter, debounce: 7ms, count: false}", ""},
		{"a pwm", "pwm\n name p\n pin 18\n init 30\n", "p: {pin: \"18\", initial: 30, fade: 1s, min: 10, max: 50}", ""},
		{"an output becomes an input", "input\n name pump\n pin 6\n", "", "output/pump has as, max_on, pulse, failsafe, which as input it can't have: send a set-up"},
		{"an output becomes a pwm", "pwm\n name pump\n pin 6\n", "", "output/pump has as, max_on, pulse, failsafe, which as pwm it can't have: send a set-up"},
		{"an input becomes an output", "output\n name m\n pin 5\n", "", "input/m has as, debounce, which as output it can't have: send a set-up"},
		{"a pwm becomes an output", "output\n name p\n pin 18\n", "", "pwm/p has min, max, fade, initial, which as output it can't have: send a set-up"},
		{"a servo becomes an output", "output\n name v\n pin 19\n", "", "servo/v has max_angle, which as output it can't have: send a set-up"},
		{"a bare output becomes an input", "input\n name bare\n pin 7\n", "bare: {pin: \"7\"}", ""},
		{"a part", "outputs: {pump: {pin: 9}}", "pump: {pin: \"9\", as: relay, label: Pump, pull: up, active_low: true, max_on: 1s, pulse: 500ms, failsafe: {after: 1m}}", ""},
		{"a part that says it", "{\"outputs\": {\"pump\": {\"max_on\": \"0s\", \"failsafe\": {\"value\": \"on\"}}}}",
			"pump: {pin: \"6\", as: relay, label: Pump, pull: up, active_low: true, pulse: 500ms, failsafe: {after: 1m, value: \"on\"}}", ""},
		{"a part of another kind", "inputs: {pump: {pin: 6}}", "", "output/pump has as, max_on, pulse, failsafe, which as input it can't have: send a set-up"},
		{"a part of another kind, bare", "inputs: {bare: {pin: 7}}", "bare: {pin: \"7\"}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newGPIOBench(t)
			a := b.open("chip: pinctrl-bcm2835")
			if err := a.Setup(t.Context(), []byte(before)); err != nil {
				t.Fatal(err)
			}
			was := gpioDoc(t, a)
			err := gpioControlBlock(t, a, tt.doc)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) || gpioDoc(t, a) != was {
					t.Errorf("%v, want %s, and nothing changed", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := newGPIOBench(t).open("chip: pinctrl-bcm2835")
			name, _, _ := strings.Cut(tt.want, ":")
			kind := map[string]string{"pump": "outputs", "m": "inputs", "p": "pwm", "bare": "inputs"}[name]
			if err := want.Setup(t.Context(), []byte("chip: pinctrl-bcm2835\n"+kind+": {"+tt.want+"}")); err != nil {
				t.Fatal(err)
			}
			_, entry, _ := strings.Cut(gpioDoc(t, want), kind+":\n")
			if !strings.Contains(gpioDoc(t, a), entry) {
				t.Errorf("set-up is\n%swant in it\n%s", gpioDoc(t, a), entry)
			}
		})
	}
}
