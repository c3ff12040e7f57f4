package agents

import (
	"slices"
	"time"

	"rollcall/gpio"
)

// gpioOutputFeatures are the rows of outputs.
var gpioOutputFeatures = []gpioFeature{
	{"output off, on, toggle", "", func(f *features) {
		f.do("setup", "outputs: {led: {pin: 4}}")
		f.wantState("output/led", "OFF")
		f.do("set/output/led", "ON")
		f.wantLevel(4, 1)
		f.wantState("output/led", "ON")
		f.do("set/output/led", "TOGGLE")
		f.wantLevel(4, 0)
		f.do("control", "verb: toggle\npath: output/led")
		f.wantLevel(4, 1)
		f.wantState("output/led", "ON")
	}},
	{"output initial on, active_low", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: on}, b: {pin: 5, initial: on, active_low: true}, c: {pin: 6, active_low: true}}")
		f.wantLevel(4, 1)
		f.wantLevel(5, 0)
		f.wantLevel(6, 1)
		f.wantState("output/b", "ON")
		f.wantState("output/c", "OFF")
	}},
	{"output initial keep", "", func(f *features) {
		f.board.Drive(4, 1)
		f.do("setup", "outputs: {a: {pin: 4, initial: keep}, b: {pin: 5, initial: keep}}")
		f.wantLevel(4, 1)
		f.wantState("output/a", "ON")
		f.wantState("output/b", "OFF")
	}},
	{"output initial restore", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: restore, safe: off}, b: {pin: 5, initial: restore}}")
		f.do("set/output/a", "ON")
		f.restart()
		f.wantState("output/a", "ON")
		f.wantLevel(4, 1)
		f.wantState("output/b", "OFF")
	}},
	{"output drive open-drain, open-source", "", func(f *features) {
		f.board.Drive(4, 1) // the pull-up that an open drain needs
		f.do("setup", "outputs: {a: {pin: 4, drive: open-drain, initial: on}, b: {pin: 5, drive: open-source}, c: {pin: 6}}")
		for offset, want := range map[int]gpio.Drive{4: gpio.OpenDrain, 5: gpio.OpenSource, 6: gpio.PushPull} {
			if got := f.info(offset); got.Drive != want || !got.Output {
				f.t.Errorf("line %d is held as %+v, want an output, %s", offset, got, want)
			}
		}
		f.wantLevel(4, 1)
		f.do("set/output/a", "OFF")
		f.wantLevel(4, 0)
		f.wantLevel(5, 0)
		f.do("set/output/b", "ON")
		f.wantLevel(5, 1)
	}},
	{"output let go by open-drain, open-source", "gpio-sim keeps the level of a line that is let go", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, drive: open-drain}, b: {pin: 5, drive: open-source, initial: on}}")
		f.board.Drive(4, 1)
		f.board.Drive(5, 0)
		f.wantLevel(4, 0)
		f.wantLevel(5, 1)
		f.do("set/output/a", "ON")
		f.wantLevel(4, 1)
		f.do("set/output/b", "OFF")
		f.wantLevel(5, 0)
	}},
	{"output read-back", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, drive: open-drain}, b: {pin: 5}}")
		f.board.Drive(4, 0) // something else holds it down, and an open drain lets it
		f.refuse("set/output/a", "ON", "output/a was set ON", "reads OFF", "something else drives it")
		f.wantState("output/a", "OFF")
		f.do("set/output/b", "ON")
	}},
	{"output set for a time", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}}")
		f.do("set/output/a", `{"value":"ON","for":"100ms"}`)
		f.wantState("output/a", "OFF")
		f.wantLevel(4, 0)
		if got := f.heard("/pi/gpio/output/a"); !slices.Contains(got, "ON") {
			f.t.Errorf("states were %v, want ON among them", got)
		}
		f.refuse("set/output/a", `{"value":"ON","for":"soon"}`, "for")
		f.refuse("set/output/a", `{"value":"ON","for":"-1s"}`, "for")
	}},
	{"output new command replaces the timer", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}}")
		f.do("set/output/a", `{"value":"ON","for":"150ms"}`)
		f.do("set/output/a", "ON")
		f.do("set/output/a", `{"value":"ON","for":"300ms"}`)
		f.do("set/output/a", "ON")
		<-time.After(400 * time.Millisecond) // that nothing happens has no event
		f.wantState("output/a", "ON")
		if got := f.heard("/pi/gpio/output/a"); slices.Contains(got[1:], "OFF") {
			f.t.Errorf("states were %v, want no OFF after the first", got)
		}
	}},
	{"output pulse", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, pulse: 50ms}, b: {pin: 5}}")
		f.do("control", `{"verb":"pulse","path":"output/a"}`)
		f.wantState("output/a", "OFF")
		f.do("control", `{"verb":"pulse","path":"output/b","for":"50ms"}`)
		f.await("both pulses", func() bool {
			a, b := f.all["/pi/gpio/output/a"], f.all["/pi/gpio/output/b"]
			return slices.Contains(a, "ON") && slices.Contains(b, "ON") && a[len(a)-1] == "OFF" && b[len(b)-1] == "OFF"
		})
		f.wantLevel(4, 0)
		f.wantLevel(5, 0)
	}},
	{"output single", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, single: true, pulse: 50ms}}")
		f.do("set/output/a", "ON")
		f.wantState("output/a", "OFF")
		f.wantLevel(4, 0)
	}},
	{"output max_on", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, max_on: 200ms}}")
		start := time.Now()
		f.do("set/output/a", "ON")
		f.do("set/output/a", "ON") // does not win time
		f.wantState("output/a", "OFF")
		f.wantLevel(4, 0)
		if took := time.Since(start); took < 200*time.Millisecond {
			f.t.Errorf("it went off after %v, want 200ms", took)
		}
	}},
	{"output blink", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, as: led}}")
		f.do("set/blink/a", "alert")
		f.wantState("blink/a", "alert")
		f.wantLevel(4, 1)
		f.wantLevel(4, 0)
		f.wantLevel(4, 1)
		f.do("control", `{"verb":"blink","path":"output/a","pattern":"off"}`)
		f.wantState("blink/a", "off")
		f.wantLevel(4, 0)
		f.refuse("set/blink/a", "disco", "heartbeat")
		f.do("set/blink/a", "warning")
		f.do("set/output/a", "ON") // replaces it
		f.wantState("blink/a", "on")
		f.wantState("output/a", "ON")
	}},
	{"output interlock with dead time", "", func(f *features) {
		f.do("setup", "outputs: {up: {pin: 4}, down: {pin: 5}}\ninterlocks: [[up, down]]\ndead_time: 100ms")
		f.do("set/output/up", "ON")
		f.wantLevel(4, 1)
		start := time.Now()
		f.do("set/output/down", "ON")
		f.wantLevel(4, 0)
		f.wantState("output/up", "OFF")
		f.wantLevel(5, 1)
		if took := time.Since(start); took < 100*time.Millisecond {
			f.t.Errorf("the other went on after %v, want a dead time of 100ms", took)
		}
		f.wantState("output/down", "ON")
		f.refuse("setup", "outputs: {up: {pin: 4}}\ninterlocks: [[up, nosuch]]", "nosuch", "setup:2")
		f.refuse("setup", "outputs: {up: {pin: 4, initial: on}, down: {pin: 5, initial: on}}\ninterlocks: [[up, down]]", "up", "down")
	}},
	{"output failsafe when the broker is gone", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, failsafe: {after: 100ms}}, b: {pin: 5, failsafe: {after: 100ms, value: hold}}, c: {pin: 6, failsafe: {after: 100ms, value: on}}, d: {pin: 7}}")
		for _, name := range []string{"a", "b", "d"} {
			f.do("set/output/"+name, "ON")
		}
		f.wantState("failsafe", "OFF")
		f.broker.Stop()
		f.wantLevel(4, 0)
		f.wantLevel(6, 1)
		f.wantLevel(5, 1)
		f.wantLevel(7, 1)
		f.broker.Start()
		f.wantState("failsafe", "ON")
		f.wantState("output/a", "OFF")
		f.wantState("output/c", "ON")
		for _, name := range []string{"a", "b", "c"} {
			f.do("set/output/"+name, "ON")
		}
		f.wantState("failsafe", "OFF")
		f.wantLevel(4, 1)
	}},
	{"output failsafe when the controller is gone", "", func(f *features) {
		f.publish("/hub/status", "online", true)
		f.do("setup", "outputs: {a: {pin: 4, failsafe: {after: 100ms, watch: /hub/status}}}")
		f.do("set/output/a", "ON")
		f.publish("/hub/status", "offline", true)
		f.wantLevel(4, 0)
		f.wantState("output/a", "OFF")
		f.wantState("failsafe", "ON")
	}},
	{"output failsafe when sets are not renewed", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, failsafe: {after: 200ms, renew: true}}}")
		f.do("set/output/a", "ON")
		f.wantLevel(4, 0)
		f.wantState("output/a", "OFF")
		f.wantState("failsafe", "ON")
	}},
	{"output safe value on stop", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, safe: off}}")
		f.do("set/output/a", "ON")
		f.stop()
		f.await("OFF at the end", func() bool { return f.states["/pi/gpio/status"] == "offline" })
		if got := f.heard("/pi/gpio/output/a"); got[len(got)-1] != "OFF" {
			f.t.Errorf("states were %v, want OFF in the end", got)
		}
	}},
}
