package agents

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// A fade in a command goes before that of the set-up, and has the same bounds.
func TestGPIOFadeOfACommand(t *testing.T) {
	t.Parallel()
	a := newGPIOBench(t).open("chip: pinctrl-bcm2835\npwm: {lamp: {pin: 18, fade: 1h}, bare: {pin: 19}}")
	fades := func(path string) (fades bool) {
		gpioEngine(t, a, func() { fades = a.present.byPath[path].fade != nil })
		return fades
	}
	for _, tt := range []struct {
		path  string
		value float64
		fade  any
		fades bool
		err   string
	}{
		{"pwm/lamp", 10, nil, true, ""},
		{"pwm/lamp", 20, "0s", false, ""}, {"pwm/lamp", 30, json.Number("0"), false, ""}, {"pwm/lamp", 40, "1h", true, ""}, {"pwm/lamp", 50, "0", false, ""},
		{"pwm/bare", 10, nil, false, ""}, {"pwm/bare", 20, "30m", true, ""}, {"pwm/bare", 30, json.Number("3600"), true, ""},
		{"pwm/bare", 0, "1h1ns", true, `fade: "1h1ns" is not from 0 to 1h0m0s`}, {"pwm/bare", 0, "-1s", true, `fade: "-1s" is not from 0 to 1h0m0s`},
		{"pwm/bare", 0, json.Number("1e300"), true, `fade: "1e300" is not from 0 to 1h0m0s`}, {"pwm/bare", 0, json.Number("-1e300"), true, `fade: "-1e300" is not from 0 to 1h0m0s`},
		{"pwm/bare", 0, "NaN", true, `fade: "NaN" is not a duration like 500ms, 10s or 1h30m, and no number of seconds`},
		{"pwm/bare", 0, false, true, "fade: it is neither a text nor a number"},
	} {
		c := reports.Command{Verb: "set", Path: tt.path, Value: tt.value}
		if tt.fade != nil {
			c.Args = map[string]any{"fade": tt.fade}
		}
		_, err := a.Apply(t.Context(), c)
		if got := errText(err); got != tt.err || err != nil && reports.CodeOf(err) != reports.CodeBadPayload {
			t.Errorf("%s %v fade %v: %v, want %s", tt.path, tt.value, tt.fade, err, tt.err)
		}
		if got := fades(tt.path); got != tt.fades {
			t.Errorf("%s %v fade %v: it fades: %v, want %v", tt.path, tt.value, tt.fade, got, tt.fades)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A section of a set-up in which nothing stands adds nothing, and whoever sent it is told so.
func TestGPIOEmptyPart(t *testing.T) {
	t.Parallel()
	a := newGPIOBench(t).open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 2}, y: {pin: 3}}\ninterlocks: [[x, y]]")
	before := gpioDoc(t, a)
	for _, section := range gpioSections {
		for _, doc := range []string{`{"` + section + `":null}`, "outputs:\n  z: {pin: 4}\n" + section + ":\n"} {
			if section == "outputs" && strings.HasPrefix(doc, section) {
				continue // that it stands twice is said first
			}
			_, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte(doc)})
			if err == nil || !strings.HasSuffix(err.Error(), ": "+section+": nothing stands there to be added to the set-up") || reports.CodeOf(err) != reports.CodeBadPayload {
				t.Errorf("%q: %v", doc, err)
			}
		}
	}
	if got := gpioDoc(t, a); got != before {
		t.Errorf("set-up is\n%swant\n%s", got, before)
	}
	if _, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte("interlocks: []")}); err != nil || strings.Contains(gpioDoc(t, a), "interlocks") {
		t.Errorf("no interlocks: %v, set-up\n%s", err, gpioDoc(t, a))
	}
}

// Edges are not published where a state of the service stands, or is to stand by the same set-up.
func TestGPIOOnChangeOfItsOwn(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.with.Link = &gpioFakeLink{up: true, subs: map[string]func([]byte){}}
	a := b.open("chip: pinctrl-bcm2835\ninputs: {old: {pin: 4}}")
	for _, path := range []string{"input/door", "output/lock", "count/meter", "total/meter", "press/bell", "blink/led", "pwm/fan", "servo/arm", "lost", "inputs"} {
		doc := "inputs:\n  meter: {pin: 5, as: meter}\n  bell: {pin: 6, as: button}\n  door: {pin: 22, on_change: /pi/gpio/" + path +
			"}\noutputs: {lock: {pin: 7}, led: {pin: 8, as: led}}\npwm: {fan: {pin: 9}}\nservos: {arm: {pin: 10}}"
		err := a.Setup(t.Context(), []byte(doc))
		if err == nil || !strings.HasPrefix(err.Error(), "setup:4: inputs.door.on_change: topic ") || reports.CodeOf(err) != reports.CodeBadSetup {
			t.Errorf("on_change: /pi/gpio/%s: %v", path, err)
		}
	}
	if got := b.held(); got != "4" {
		t.Errorf("held: %s, want 4", got)
	}
	// Where it was known by another name before, nothing stands any more.
	if err := a.Setup(t.Context(), []byte("inputs: {door: {pin: 4, on_change: /pi/gpio/input/old}}")); err != nil {
		t.Error(err)
	}
}

// A label is text that can be shown.
func TestGPIOLabels(t *testing.T) {
	t.Parallel()
	a := newGPIOBench(t).open("chip: pinctrl-bcm2835")
	for label, want := range map[string]string{
		`"Pumpe für Grün 🌱"`: "", `"a\0b"`: `setup:2: outputs.x.label: "a\x00b" has a control character`, `"a\e[2Jb"`: `setup:2: outputs.x.label: "a\x1b[2Jb" has a control character`,
		`"` + strings.Repeat("ü", 41) + `"`: "setup:2: outputs.x.label: has 82 bytes, at most 80 are allowed",
	} {
		if got := errText(a.Setup(t.Context(), []byte("outputs:\n  x: {pin: 2, label: "+label+"}"))); got != want {
			t.Errorf("label %s: %s, want %s", label, got, want)
		}
	}
}

// A set-up that comes while timers, patterns, fades and dead times run lets them go on.
func TestGPIOSetupWhileTheyRun(t *testing.T) {
	const options = "outputs: {p: {pin: 2}, b: {pin: 3, as: led}, u: {pin: 4}, d: {pin: 5}}\ninterlocks: [[u, d]]\ndead_time: 2s"
	const lamp = "\npwm: {lamp: {pin: 18, driver: pwmchip0/0}}"
	gpioBubble(t, options, func(s *gpioStage) {
		s.with.Root = gpioPWMChip(s.t, 1)
		if err := s.agent.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.begin(options + lamp)
		s.pass(2 * time.Second)
		s.do("output/u", true)
		s.wantDo("ON", "control", "{verb: pulse, path: output/p, for: 3s}")
		s.do("blink/b", "alert")
		s.wantDo("OFF", "output/d", true)
		s.do("pwm/lamp", 100.0, "fade", "10s")
		s.pass(time.Second)
		s.setup("chip: pinctrl-bcm2835\n" + options + lamp + "\ninputs: {new: {pin: 6}}")
		s.wantLevels(2, 1, 3, 0, 4, 0, 5, 0)
		s.pass(time.Second - 1)
		s.wantLevels(2, 1, 3, 1, 4, 0, 5, 0)
		s.pass(1)
		s.wantLevels(2, 1, 4, 0, 5, 1)
		s.pass(time.Second)
		s.wantLevels(2, 0, 5, 1)
		gpioEngine(s.t, s.agent, func() {
			if l := s.agent.present.byPath["pwm/lamp"]; l.fade == nil || l.value != 100 || l.hold.duty < 0.25 || l.hold.duty > 0.35 {
				s.t.Errorf("after 3 s of 10: fade %v, duty %v", l.fade, l.hold.duty)
			}
		})
	})
}

// A failsafe that a set-up makes another one acts by its new rule, though the old one has acted already.
func TestGPIOFailsafeChanged(t *testing.T) {
	gpioBubble(t, "", func(s *gpioStage) {
		s.with.Root = gpioPWMChip(s.t, 1)
		if err := s.agent.Close(); err != nil {
			s.t.Fatal(err)
		}
		doc := func(value string) string {
			return "outputs: {a: {pin: 2, failsafe: {after: 1s, value: " + value + "}}}\npwm: {p: {pin: 18, driver: pwmchip0/0, failsafe: {after: 1s, value: " + value + "}}}"
		}
		s.begin(doc("on"))
		s.link.set(false)
		s.pass(time.Second)
		s.wantLevels(2, 1)
		s.wantValue("pwm/p", "100")
		s.told()
		s.setup("chip: pinctrl-bcm2835\n" + doc("off"))
		s.pass(time.Millisecond)
		s.wantLevels(2, 0)
		s.wantValue("pwm/p", "0")
		s.wantTold("pwm/p 0, output/a OFF")
		s.wantValue("failsafe", "ON")
	})
}

// What is released while it fades, counts or waits for a bounce to end is left alone from then on.
func TestGPIOReleaseWhileTheyRun(t *testing.T) {
	gpioBubble(t, "", func(s *gpioStage) {
		s.with.Root = gpioPWMChip(s.t, 1)
		if err := s.agent.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.chip().Lack(gpio.FeatureDebounce)
		const options = "pwm: {p: {pin: 18, driver: pwmchip0/0}}\ninputs: {soft: {pin: 5, debounce: 1s, long_press: 2s}, m: {pin: 6, count: true}}\noutputs: {b: {pin: 2, as: led}, o: {pin: 3}}"
		s.begin(options)
		s.do("pwm/p", 100.0, "fade", "10s")
		s.do("blink/b", "alert")
		s.chip().Drive(5, 1)
		s.chip().Drive(6, 1)
		s.pass(500 * time.Millisecond)
		for _, path := range []string{"pwm/p", "input/soft", "input/m", "output/b"} {
			s.wantDo("", "control", "{verb: release, path: "+path+"}")
		}
		s.told()
		for range 20 {
			s.pass(500 * time.Millisecond)
			s.do("output/o", true)
		}
		s.wantTold("")
		if got := s.pwm("pwm0"); got != "1000000 0 normal 0" {
			s.t.Errorf("the channel has %s", got)
		}
		s.setup("chip: pinctrl-bcm2835\n" + options)
		s.wantValue("pwm/p", "0")
		s.wantValue("blink/b", "off")
		s.wantValue("total/m", "1")
	})
}
