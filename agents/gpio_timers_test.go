package agents

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/reports"
)

// gpioBubble runs a test by a clock that stands still while anything happens, with a chip and the log of what the agent tells.
func gpioBubble(t *testing.T, options string, test func(*gpioStage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &gpioStage{gpioBench: newGPIOBench(t), start: time.Now()}
		s.link = &gpioFakeLink{up: true, subs: map[string]func([]byte){}}
		s.with.Link = s.link
		s.begin(options)
		test(s)
	})
}

// gpioStage is an agent in a bubble.
type gpioStage struct {
	*gpioBench
	start time.Time
	agent *gpioAgent
	link  *gpioFakeLink
}

func (s *gpioStage) begin(options string) {
	s.t.Helper()
	s.agent = s.open("chip: pinctrl-bcm2835\n" + options)
}

// pass lets time pass, in no time.
func (s *gpioStage) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
	s.chip().Wait()
	synctest.Wait()
}

// told returns what the agent has told since the last call.
func (s *gpioStage) told() string {
	synctest.Wait()
	s.chip().Wait()
	synctest.Wait()
	var out []string
	for {
		select {
		case r, ok := <-s.agent.Events():
			if !ok {
				return strings.Join(append(out, "closed"), ", ")
			}
			out = append(out, r.Path+" "+reports.FormatValue(r.Value))
			synctest.Wait()
		default:
			return strings.Join(out, ", ")
		}
	}
}

func (s *gpioStage) wantTold(want string) {
	s.t.Helper()
	if got := s.told(); got != want {
		s.t.Errorf("after %v: told %q, want %q", time.Since(s.start), got, want)
	}
}

func (s *gpioStage) wantLevels(want ...int) {
	s.t.Helper()
	for i := 0; i < len(want); i += 2 {
		if got := s.chip().Level(want[i]); got != want[i+1] {
			s.t.Errorf("after %v: level of line %d = %d, want %d", time.Since(s.start), want[i], got, want[i+1])
		}
	}
}

// do sets or, with the path control, controls, and returns the value or the error.
func (s *gpioStage) do(path string, value any, args ...any) string {
	s.t.Helper()
	c := reports.Command{Verb: "set", Path: path, Value: value}
	if path == "control" {
		c = reports.Command{Verb: "control", Value: []byte(value.(string))}
	}
	for i := 0; i < len(args); i += 2 {
		if c.Args == nil {
			c.Args = map[string]any{}
		}
		c.Args[args[i].(string)] = args[i+1]
	}
	r, err := s.agent.Apply(s.t.Context(), c)
	if err != nil {
		return "error: " + err.Error()
	}
	return reports.FormatValue(r.Value)
}

func (s *gpioStage) wantDo(want, path string, value any, args ...any) {
	s.t.Helper()
	if got := s.do(path, value, args...); got != want {
		s.t.Errorf("after %v: %s %v %v: %s, want %s", time.Since(s.start), path, value, args, got, want)
	}
}

func (s *gpioStage) wantValue(path, want string) {
	s.t.Helper()
	if got := gpioLevel(s.t, s.agent, path); got != want {
		s.t.Errorf("after %v: %s = %s, want %s", time.Since(s.start), path, got, want)
	}
}

func (s *gpioStage) setup(doc string) {
	s.t.Helper()
	if err := s.agent.Setup(s.t.Context(), []byte(doc)); err != nil {
		s.t.Fatal(err)
	}
}

// A set can be for a time, and the next command takes its place (PEERS.md §2.6, 3).
func TestGPIOFor(t *testing.T) {
	gpioBubble(t, "outputs: {x: {pin: 2}}", func(s *gpioStage) {
		s.wantDo("ON", "output/x", true, "for", "5s")
		s.pass(4999 * time.Millisecond)
		s.wantLevels(2, 1)
		s.wantTold("")
		s.pass(time.Millisecond)
		s.wantLevels(2, 0)
		s.wantTold("output/x OFF")

		s.wantDo("ON", "output/x", true, "for", json.Number("2.5"))
		s.pass(2 * time.Second)
		s.wantDo("ON", "output/x", true) // replaces the timer
		s.pass(time.Hour)
		s.wantLevels(2, 1)
		s.wantDo("OFF", "output/x", false, "for", "1") // the other way round; a text of a number is seconds too
		s.pass(time.Second)
		s.wantLevels(2, 1)
		s.wantTold("output/x ON")

		s.wantDo("ON", "control", `{"verb":"pulse","path":"output/x","for":"2s"}`)
		s.pass(time.Second)
		s.wantDo("ON", "control", "verb: pulse\npath: output/x\nfor: 3\n")
		s.pass(2999 * time.Millisecond) // the first would have ended long ago
		s.wantLevels(2, 1)
		s.pass(time.Millisecond)
		s.wantLevels(2, 0)
		s.wantTold("output/x OFF")
		for value, want := range map[any]string{
			"0s": "error: for: \"0s\" is not more than 0 and at most a year", "-1s": "error: for: \"-1s\" is not more than 0 and at most a year",
			"soon": "error: for: \"soon\" is not a duration like 500ms, 10s or 1h30m, and no number of seconds", json.Number("1e300"): "error: for: \"1e300\" is not more than 0 and at most a year",
			true: "error: for: it is neither a text nor a number", "NaN": "error: for: \"NaN\" is not a duration like 500ms, 10s or 1h30m, and no number of seconds",
		} {
			s.wantDo(want, "output/x", true, "for", value)
		}
		s.wantLevels(2, 0)
		s.wantDo(`error: output/x: output "x" has no pulse of its own: say how long`, "control", `{"verb":"pulse","path":"output/x"}`)
	})
}

func TestGPIOMaxOnAndSingle(t *testing.T) {
	gpioBubble(t, "outputs: {pump: {pin: 2, max_on: 30s}, bell: {pin: 3, single: true}, gate: {pin: 4, single: true, pulse: 2s}, own: {pin: 5, pulse: 1s}, lit: {pin: 6, initial: on, max_on: 10s}}", func(s *gpioStage) {
		s.wantLevels(6, 1)
		s.pass(10 * time.Second)
		s.wantLevels(6, 0)
		s.wantTold("output/lit OFF")
		s.do("output/pump", true)
		s.pass(20 * time.Second)
		s.do("output/pump", true) // saying it again does not give it more
		s.pass(9999 * time.Millisecond)
		s.wantLevels(2, 1)
		s.pass(time.Millisecond)
		s.wantLevels(2, 0)
		s.wantTold("output/pump OFF")

		s.wantDo("ON", "output/bell", true)
		s.wantDo("ON", "output/gate", true)
		s.wantDo("ON", "control", `{"verb":"pulse","path":"output/own"}`)
		s.pass(500 * time.Millisecond)
		s.wantLevels(3, 0, 4, 1, 5, 1)
		s.pass(500 * time.Millisecond)
		s.wantLevels(3, 0, 4, 1, 5, 0)
		s.pass(time.Second)
		s.wantLevels(3, 0, 4, 0, 5, 0)
		s.wantTold("output/bell OFF, output/own OFF, output/gate OFF")
	})
}

func TestGPIOInterlock(t *testing.T) {
	gpioBubble(t, "outputs: {up: {pin: 2}, down: {pin: 3}, stop: {pin: 4}}\ninterlocks: [[up, down]]\ndead_time: 300ms", func(s *gpioStage) {
		s.pass(time.Second)
		s.wantDo("ON", "output/up", true)
		s.wantDo("OFF", "output/down", true) // not yet
		s.wantLevels(2, 0, 3, 0)
		s.wantTold("output/up OFF")
		s.pass(299 * time.Millisecond)
		s.wantLevels(2, 0, 3, 0)
		s.pass(time.Millisecond)
		s.wantLevels(2, 0, 3, 1)
		s.wantTold("output/down ON")
		s.wantDo("OFF", "output/up", true)
		s.wantDo("OFF", "output/up", false) // thought better of
		s.pass(time.Second)
		s.wantLevels(2, 0, 3, 0)
		s.wantTold("output/down OFF")
		if err := s.agent.Setup(s.t.Context(), []byte("outputs: {up: {pin: 2}, down: {pin: 3, initial: on}}\ninterlocks: [[up, down, up]]")); err == nil ||
			!strings.HasPrefix(err.Error(), "setup:2: interlocks[0][2]: up stands twice") {
			t.Errorf("set-up: %v", err)
		}
	})
}

// The default dead time holds where none is said, and outputs that are found on together are not left so.
func TestGPIOInterlockFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &gpioStage{gpioBench: newGPIOBench(t), start: time.Now()}
		s.chip().Drive(2, 1)
		s.chip().Drive(3, 1)
		s.begin("outputs: {a: {pin: 2, initial: keep}, b: {pin: 3, initial: keep}}\ninterlocks: [[a, b]]")
		s.wantLevels(2, 1, 3, 0)
		s.do("output/b", true)
		s.pass(gpioDeadTime - 1)
		s.wantLevels(2, 0, 3, 0)
		s.pass(1)
		s.wantLevels(2, 0, 3, 1)
		err := s.agent.Setup(s.t.Context(), []byte("outputs: {b: {pin: 3}, c: {pin: 4, initial: on}}\ninterlocks: [[b, c]]"))
		if err == nil || !strings.HasPrefix(err.Error(), "setup:2: interlocks: ") || s.held() != ">2 >3" {
			t.Errorf("an output that is to begin on beside one that is: %v, held %s", err, s.held())
		}
		s.wantLevels(3, 1, 4, 0)
	})
}

func TestGPIOBlink(t *testing.T) {
	gpioBubble(t, "outputs: {led: {pin: 2, as: led}, plain: {pin: 3}}", func(s *gpioStage) {
		p, ok := s.agent.Describe().Point("blink/led")
		if !ok || strings.Join(p.Options, " ") != "off on blink heartbeat info notify warning alert" || p.Access != reports.Get|reports.Set {
			t.Errorf("blink/led: %+v", p)
		}
		if _, ok := s.agent.Describe().Point("blink/plain"); ok {
			t.Error("an output that is no led has a blink point")
		}
		before := len(s.chip().History(2))
		s.wantDo("blink", "blink/led", "blink") // lit 0.6 s, paused 2.5 s
		s.wantTold("blink/led blink, output/led ON")
		s.wantLevels(2, 1)
		s.pass(600 * time.Millisecond)
		s.wantLevels(2, 0)
		s.wantValue("output/led", "ON") // it blinks, which is on
		s.wantValue("blink/led", "blink")
		s.pass(2500 * time.Millisecond)
		s.wantLevels(2, 1)
		s.pass(31 * time.Second)
		if got := len(s.chip().History(2)) - before; got != 1+2*11 {
			t.Errorf("%d changes in 34.1 s, want 23", got)
		}
		s.wantTold("") // the flicker is no state
		s.wantDo("OFF", "output/led", false)
		s.wantTold("blink/led off")
		s.wantDo("on", "blink/led", "on")
		s.wantTold("blink/led on, output/led ON")
		s.wantDo("ON", "control", `{"verb":"blink","path":"output/plain","pattern":"alert"}`)
		s.wantDo("OFF", "control", `{"verb":"toggle","path":"output/plain"}`)
		s.pass(time.Minute)
		s.wantLevels(3, 0)
		s.wantDo(`error: pattern "disco" is not known; known are off, on, blink, heartbeat, info, notify, warning, alert`, "control", `{"verb":"blink","path":"output/plain","pattern":"disco"}`)
	})
}

func TestGPIOSafe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		output string
		set    bool
		want   int
	}{
		{"{pin: 2}", true, 0}, {"{pin: 2, safe: off}", true, 0}, {"{pin: 2, safe: on}", false, 1}, {"{pin: 2, safe: keep}", true, 1}, {"{pin: 2, initial: keep}", true, 1},
		{"{pin: 2, initial: restore}", true, 1}, {"{pin: 2, initial: keep, safe: off}", true, 0}, {"{pin: 2, initial: keep, max_on: 1h}", true, 0},
		{"{pin: 2, initial: keep, as: valve}", true, 0}, {"{pin: 2, initial: restore, as: relay}", true, 0}, {"{pin: 2, initial: keep, as: led}", true, 1},
		{"{pin: 2, safe: on, active_low: true}", false, 0},
	} {
		b := newGPIOBench(t)
		a := b.open("chip: pinctrl-bcm2835\noutputs: {x: " + test.output + "}")
		gpioSet(t, a, "output/x", test.set)
		last := -1
		stop := b.chip().Watch(2, func(c changeOf) { last = c.Level })
		b.chip().Drive(2, 1) // shows what it is let go with: no change
		at := b.chip().Level(2)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		b.chip().Wait()
		stop()
		history := b.chip().History(2)
		// The line was driven to its safe value, and then let go, to the 1 outside.
		driven := at
		if last != -1 {
			driven = history[max(len(history)-1, 0)].Level
			if len(history) > 1 && driven == 1 && test.want == 0 {
				driven = history[len(history)-2].Level
			}
		}
		if driven != test.want {
			t.Errorf("%s left %s: levels %v, want %d at the end", test.output, reports.FormatValue(test.set), history, test.want)
		}
	}
}

func TestGPIOSafeRefused(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"outputs:\n  x: {pin: 2, max_on: 5s, safe: on}":                                          "setup:2: outputs.x.safe: on could leave it on for longer than single or max_on allow: nobody is there to switch it off",
		"outputs:\n  x: {pin: 2, single: true, safe: keep}":                                      "setup:2: outputs.x.safe: keep could",
		"outputs:\n  x: {pin: 2, single: true, initial: on}":                                     "setup:2: outputs.x.initial: a one-shot output (single) begins off",
		"outputs:\n  a: {pin: 2, initial: on}\n  b: {pin: 3, initial: on}\ninterlocks: [[a, b]]": "setup:3: outputs.b.initial: is on as that of a is, with which it is interlocked",
		"outputs:\n  a: {pin: 2, safe: on}\n  b: {pin: 3, safe: on}\ninterlocks: [[a, b]]":       "setup:2: outputs.a.safe: is on, but it is interlocked: ",
		"outputs:\n  a: {pin: 2}\ninterlocks:\n  - [a, c]":                                       `setup:4: interlocks[0][1]: "c" is no output`,
		"outputs:\n  a: {pin: 2}\ninterlocks:\n  - [a]":                                          "setup:4: interlocks[0]: an interlock needs two outputs at least",
		"outputs: {a: {pin: 2}}\ndead_time: 2m":                                                  "setup:2: dead_time: 2m0s is too long, at most 1m0s is possible",
		"outputs:\n  a: {pin: 2, failsafe: {value: off}}":                                        "setup:2: outputs.a.failsafe: after is missing",
		"outputs:\n  a: {pin: 2, failsafe: {after: 1ms}}":                                        "setup:2: outputs.a.failsafe.after: 1ms is too short, at least 100ms is needed",
		"outputs:\n  a: {pin: 2, failsafe: {after: 1s, value: maybe}}":                           `setup:2: outputs.a.failsafe.value: "maybe" is not off, on or hold`,
		"outputs:\n  a: {pin: 2, failsafe: {after: 1s, watch: a/#}}":                             `setup:2: outputs.a.failsafe.watch: topic "a/#" has a wildcard`,
		"outputs:\n  a: {pin: 2, as: button}":                                                    `setup:2: outputs.a.as: "button" is not relay, led or valve`,
		"inputs:\n  a: {pin: 2, as: relay}":                                                      `setup:2: inputs.a.as: "relay" is not button, pir, door, leak or meter`,
		"inputs:\n  a: {pin: 2, on_change: flase}":                                               `setup:2: inputs.a.on_change: "flase" is not true, false or a topic, which has a / somewhere`,
		"inputs:\n  a: {pin: 2, on_change: a/+}":                                                 `setup:2: inputs.a.on_change: topic "a/+" has a wildcard`,
		"inputs:\n  a: {pin: 2, long_press: 2h}":                                                 "setup:2: inputs.a.long_press: 2h0m0s is too long, at most 1m0s is possible",
		"pwm:\n  a: {pin: 2, initial: 101}":                                                      "setup:2: pwm.a.initial: 101 is not from 0 to 100",
		"pwm:\n  a: {pin: 2, safe: 50}":                                                          "setup:2: pwm.a.safe: 50 is not 0 or 100: nobody is there to modulate it",
		"pwm:\n  a: {pin: 2, safe: 100, driver: hardware}":                                       "setup:2: pwm.a.safe: a channel of the hardware always stops at 0",
		"pwm:\n  a: {pin: 2, min: 60, max: 50}":                                                  "setup:2: pwm.a.min: 60 is not from 0 to the max of 50",
		"pwm:\n  a: {pin: 2, gamma: 99}":                                                         "setup:2: pwm.a.gamma: 99 is not from 0.1 to 10",
		"pwm:\n  a: {pin: 2, polarity: sideways}":                                                `setup:2: pwm.a.polarity: "sideways" is not normal or inverted`,
		"pwm:\n  a: {pin: 2, driver: magic}":                                                     `setup:2: pwm.a.driver: "magic" is not hardware, software or a channel like pwmchip0/1`,
		"pwm:\n  a: {pin: 2, driver: hardware}":                                                  "setup:2: pwm.a.driver: line 2 of pinctrl-bcm2835 has no channel",
		"pwm:\n  a: {pin: 2, period: 20us}":                                                      "setup:2: pwm.a.period: ",
		"pwm:\n  a: {pin: 2, fade: 2h}":                                                          "setup:2: pwm.a.fade: 2h0m0s is too long, at most 1h0m0s is possible",
		"pwm:\n  a: {pin: 2}\nservos:\n  a: {pin: 3}":                                            "setup:4: servos.a: there is an entry in pwm of the same name",
		"pwm:\n  a: {pin: 2}\nservos:\n  b: {pin: 2}":                                            `setup:4: servos.b.pin: "2" is line 2, which pwm/a has already`,
		"pwm:\n  a: {pin: 2, driver: pwmchip0/0}\n  b: {pin: 3, driver: pwmchip0/0}":             "setup:3: pwm.b.driver: pwmchip0/0 is that of pwm/a already",
		"servos:\n  a: {pin: 2, min_angle: 10, max_angle: 10}":                                   "setup:2: servos.a.max_angle: 10 is not more than the min_angle of 10 and at most 3600",
		"servos:\n  a: {pin: 2, initial: 181}":                                                   "setup:2: servos.a.initial: 181 is not from 0 to 180",
		"servos:\n  a: {pin: 2, max_pulse: 21ms}":                                                "setup:2: servos.a.max_pulse: 21ms is not shorter than the period of 20ms",
		"servos:\n  a: {pin: 2, min_pulse: 3ms}":                                                 "setup:2: servos.a.max_pulse: 2ms is not longer than the min_pulse of 3ms",
		"outputs:\n  a: {pin: 2, label: " + strings.Repeat("x", gpioMostLabel+1) + "}":           "setup:2: outputs.a.label: has 81 bytes, at most 80 are allowed",
		"outputs:\n  a: {pin: 2, max_on: 99999h}":                                                "setup:2: outputs.a.max_on: 99999h0m0s is too long",
		"outputs:\n  a: {pin: 2, pulse: 1us}":                                                    "setup:2: outputs.a.pulse: 1µs is too short",
		"outputs:\n  a: {pin: 2, safe: maybe}":                                                   `setup:2: outputs.a.safe: "maybe" is not off, on or keep`,
	} {
		b := newGPIOBench(t)
		a := b.open(gpioBefore)
		held := b.held()
		err := a.Setup(t.Context(), []byte(doc))
		if err == nil || !strings.HasPrefix(err.Error(), want) || reports.CodeOf(err) != reports.CodeBadSetup || b.held() != held {
			t.Errorf("setup %q: %v (%s), held %s, want %s", doc, err, reports.CodeOf(err), b.held(), want)
		}
	}
}

// What an output was last told is what it is restored to, also where it was switched by a timer or has a timer running.
func TestGPIORestore(t *testing.T) {
	t.Parallel()
	const options = "outputs: {a: {pin: 2, initial: restore}, b: {pin: 3, initial: restore}, c: {pin: 4, initial: restore}, d: {pin: 5, initial: restore}}"
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean %v", clean), func(t *testing.T) {
			gpioBubble(t, options, func(s *gpioStage) {
				s.wantLevels(2, 0, 3, 0, 4, 0, 5, 0)
				s.do("output/a", true)
				s.do("output/b", true, "for", "1h")
				s.do("output/c", true)
				s.do("output/d", true)
				s.do("output/d", false)
				s.pass(2 * gpioKeptEvery) // a power cut costs no more than this
				if clean {
					if err := s.agent.Close(); err != nil {
						t.Error(err)
					}
				} else {
					s.kill()
				}
				s.begin(options)
				s.wantLevels(2, 1, 3, 0, 4, 1, 5, 0)
				saved := map[string]bool{s.saves("gpio.state.json"): true}
				for i := range 100 {
					s.do("output/a", i%2 == 0)
					s.pass(100 * time.Millisecond)
					saved[s.saves("gpio.state.json")] = true
				}
				if got := len(saved) - 1; got < 1 || got > 2 {
					t.Errorf("100 changes in 10 s made %d saves", got)
				}
			})
		})
	}
}
