package agents

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"rollcall/internal/bus"
)

// gpioFeatures are the rows of the table in docs/gpio.md: each is run on the chip in memory and on a kernel's.
var gpioFeatures = []struct {
	name        string
	notOnKernel string // why not; "": it is
	run         func(f *features)
}{
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
	{"output drive open-drain, open-source", "gpio-sim does not let go of an open-drain line", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, drive: open-drain, initial: on}, b: {pin: 5, drive: open-source}}")
		f.board.Drive(4, 1)
		f.wantLevel(4, 1)
		f.do("set/output/a", "OFF")
		f.wantLevel(4, 0)
		f.do("set/output/b", "ON")
		f.wantLevel(5, 1)
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
	{"input state at start and on change", "", func(f *features) {
		f.board.Drive(8, 1)
		f.do("setup", "inputs: {a: {pin: 8}, b: {pin: 9, active_low: true}, c: {pin: 10, pull: up}}")
		f.wantState("input/a", "ON")
		f.wantState("input/b", "ON")
		f.wantState("input/c", "ON")
		f.board.Drive(8, 0)
		f.board.Drive(9, 1)
		f.wantState("input/a", "OFF")
		f.wantState("input/b", "OFF")
	}},
	{"input state again after reconnect", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8}}")
		f.wantState("input/a", "OFF")
		f.broker.Stop()
		f.board.Drive(8, 1)
		f.broker.Start()
		f.wantState("input/a", "ON")
	}},
	{"input on_change to a topic", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8, on_change: /doors/front}}")
		f.board.Drive(8, 1)
		f.await("ON on the topic", func() bool { return f.states["/doors/front"] == "ON" })
		f.wantState("input/a", "ON")
		f.refuse("setup", "inputs: {a: {pin: 8, on_change: '/doors/#'}}", "on_change", "setup:1")
		f.refuse("setup", "inputs: {a: {pin: 8, on_change: /udp/report}}", "/udp/report")
	}},
	{"input scan", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8, on_change: false, scan: 20ms}}")
		f.board.Drive(8, 1)
		f.wantState("input/a", "ON")
		f.board.Drive(8, 0)
		f.wantState("input/a", "OFF")
	}},
	{"input debounce ends on the true level", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8, debounce: 50ms}}")
		for i := range 20 {
			f.board.Drive(8, i%2)
		}
		f.board.Drive(8, 0)
		f.board.Drive(8, 1)
		f.wantState("input/a", "ON")
		f.board.Drive(8, 0)
		f.wantState("input/a", "OFF")
		if got := f.heard("/pi/gpio/input/a"); len(got) > 6 {
			f.t.Errorf("states were %v, want the bounces left out", got)
		}
	}},
	{"input edge as an event", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8, edge: rising}}")
		for range 3 {
			f.board.Drive(8, 1)
			<-time.After(30 * time.Millisecond) // gpio-sim merges pulls within 10 ms
			f.board.Drive(8, 0)
			<-time.After(30 * time.Millisecond)
		}
		f.await("three events", func() bool { return strings.Join(f.all["/pi/gpio/input/a"], " ") == "ON ON ON" })
	}},
	{"input counter", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8, count: true}}")
		pulses := func(n int) {
			for range n {
				f.board.Drive(8, 1)
				<-time.After(30 * time.Millisecond)
				f.board.Drive(8, 0)
				<-time.After(30 * time.Millisecond)
			}
		}
		pulses(3)
		f.wantState("count/a", "3")
		f.wantState("total/a", "3")
		f.do("set/total/a", "1000")
		pulses(2)
		f.wantState("total/a", "1002")
		f.restart()
		f.wantState("count/a", "0")
		f.wantState("total/a", "1002")
		f.refuse("set/count/a", "5", "set")
		f.refuse("set/total/a", "-5", "-5")
	}},
	{"input long press and double click", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8, long_press: 300ms, double_click: 200ms}}")
		press := func(d time.Duration) {
			f.board.Drive(8, 1)
			<-time.After(d)
			f.board.Drive(8, 0)
			<-time.After(40 * time.Millisecond)
		}
		press(40 * time.Millisecond)
		f.await("single", func() bool { return strings.Join(f.all["/pi/gpio/press/a"], " ") == "single" })
		press(40 * time.Millisecond)
		press(40 * time.Millisecond)
		f.await("double", func() bool { return strings.Join(f.all["/pi/gpio/press/a"], " ") == "single double" })
		press(500 * time.Millisecond)
		f.await("long", func() bool { return strings.Join(f.all["/pi/gpio/press/a"], " ") == "single double long" })
	}},
	{"pwm in software", "", func(f *features) {
		f.do("setup", "pwm: {lamp: {pin: 4, period: 20ms, initial: 50, driver: software}}")
		f.wantState("pwm/lamp", "50")
		f.wantLevel(4, 1)
		f.wantLevel(4, 0)
		f.wantLevel(4, 1)
		f.do("set/pwm/lamp", "100")
		f.wantLevel(4, 1)
		f.do("set/pwm/lamp", `{"value":0,"fade":"100ms"}`)
		f.wantState("pwm/lamp", "0")
		f.wantLevel(4, 0)
		f.refuse("set/pwm/lamp", "101", "100")
	}},
	{"servo", "", func(f *features) {
		f.do("setup", "servos: {arm: {pin: 4, initial: 90, driver: software}}")
		f.wantState("servo/arm", "90")
		f.wantLevel(4, 1)
		f.wantLevel(4, 0)
		f.do("set/servo/arm", "180")
		f.wantState("servo/arm", "180")
		f.refuse("set/servo/arm", "181", "180")
	}},
	{"setup touches only what changes", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}, b: {pin: 5}}")
		f.do("set/output/a", "ON")
		f.do("setup", "outputs: {a: {pin: 4}, c: {pin: 6, initial: on}}")
		f.wantLevel(4, 1)
		f.wantState("output/a", "ON")
		f.wantState("output/b", "")
		f.wantState("output/c", "ON")
	}},
	{"setup all or nothing", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: on}}")
		f.refuse("setup", "outputs:\n  a: {pin: 4, initial: on}\n  b: {pin: 99}\n", "setup:3", "99")
		f.refuse("setup", "outputs: {a: {pin: 5}}\ninputs: {b: {pin: 5}}", "5")
		f.refuse("setup", "chip: nosuch\noutputs: {a: {pin: 4}}", "nosuch", "bank")
		f.wantLevel(4, 1)
		f.do("set/output/a", "OFF")
	}},
	{"setup read back recreates it", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, max_on: 30s, failsafe: {after: 60s, value: hold}}}\ninputs: {b: {pin: 8, count: true, on_change: /x}}\npwm: {c: {pin: 6, period: 10ms}}\n")
		doc, ok := f.do("get/setup", "").Data.(string)
		if !ok {
			f.t.Fatal("get setup gave no text")
		}
		f.do("setup", doc)
		if again := f.do("get/setup", "").Data; again != doc {
			f.t.Errorf("second read-back is\n%v\nwant\n%s", again, doc)
		}
	}},
	{"setup survives a restart", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: on}}\ninputs: {b: {pin: 8, pull: up}}")
		f.restart()
		f.wantState("output/a", "ON")
		f.wantLevel(4, 1)
		f.wantState("input/b", "ON")
	}},
	{"original text blocks", "", func(f *features) {
		f.do("control", "output\n  name pump_drive\n  pin  4\n  init 1\n  pull down\n\ninput\n  name door\n  pin 8\n  on_change /door\n---\npwm\n name angle\n pin 6\n init 20\n period 10000\n pol norm\n")
		f.wantState("output/pump_drive", "ON")
		f.wantState("pwm/angle", "20")
		f.board.Drive(8, 1)
		f.await("ON on /door", func() bool { return f.states["/door"] == "ON" })
		f.do("control", "output\n name other\n pin 5\n single\n")
		f.wantState("output/pump_drive", "ON") // the others stay
		f.refuse("control", "output\n name x\n pim 5\n", "pim", "pin")
	}},
	{"original JSON pin maps", "", func(f *features) {
		f.board.Drive(4, 1) // the pull-up that an open collector needs
		f.do("setup", `{"FP_Switch_1":{"Pin":8,"Dir":"Input","PD":"PullUp"},"FP_Led_2":{"Pin":4,"Dir":"Output","Type":"OC","Value":"1"}}`)
		f.wantState("input/FP_Switch_1", "ON")
		f.wantState("output/FP_Led_2", "ON")
	}},
	{"set inputs and outputs", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}, b: {pin: 5, max_on: 1s}}")
		f.refuse("set/inputs", "[b]", "max_on")
		f.do("set/inputs", "[a]")
		f.board.Drive(4, 1)
		f.wantState("input/a", "ON")
		f.board.Drive(4, 0)
		f.wantState("input/a", "OFF")
		f.wantState("output/a", "")
		f.do("set/outputs", `["a"]`)
		f.wantState("output/a", "OFF")
		f.wantState("input/a", "")
		f.refuse("set/inputs", "[nosuch]", "nosuch")
	}},
	{"get one, get a branch", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8}, b: {pin: 9, pull: up}}")
		if data, _ := json.Marshal(f.do("get/input", "").Data); !strings.Contains(string(data), "input/a") || !strings.Contains(string(data), "input/b") {
			f.t.Errorf("get input gave %s", data)
		}
		if data, _ := json.Marshal(f.do("get/input/b", "").Data); !strings.Contains(string(data), `"ON"`) {
			f.t.Errorf("get input/b gave %s", data)
		}
	}},
	{"names of pins", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: GPIO4, initial: on}, b: {pin: 5, initial: on}}")
		f.wantLevel(4, 1)
		f.wantLevel(5, 1)
		f.refuse("setup", "outputs: {a: {pin: GPIO28}}", "GPIO28", "bank")
	}},
	{"chip described", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}}")
		data, _ := json.Marshal(f.do("get/chip", "").Data)
		for _, want := range []string{`"label"`, `output/a`, `GPIO5`} {
			if !strings.Contains(string(data), want) {
				f.t.Errorf("get chip gave %s, want %s in it", data, want)
			}
		}
	}},
	{"release", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}}")
		f.do("control", `{"verb":"release","path":"output/a"}`)
		f.refuse("set/output/a", "ON", "release")
	}},
	{"presets", "", func(f *features) {
		f.do("setup", "outputs: {lamp: {pin: 4, as: led}, pump: {pin: 5, as: relay}, tap: {pin: 6, as: valve}}\ninputs: {bell: {pin: 8, as: button}, hall: {pin: 9, as: pir}}")
		f.wantState("blink/lamp", "off")
		f.wantState("input/bell", "OFF")
		var desc struct {
			Points []struct{ Path, Class string }
		}
		if err := json.Unmarshal([]byte(f.heard("/pi/gpio/description")[len(f.heard("/pi/gpio/description"))-1]), &desc); err != nil {
			f.t.Fatal(err)
		}
		classes := map[string]string{}
		for _, p := range desc.Points {
			classes[p.Path] = p.Class
		}
		if classes["output/lamp"] != "light" || classes["output/tap"] == "" || classes["input/hall"] != "motion" {
			f.t.Errorf("classes are %v", classes)
		}
		f.refuse("setup", "outputs: {a: {pin: 4, as: rellay}}", "rellay", "relay")
	}},
	{"a line that another process holds", "", func(f *features) {
		chip, err := f.open("bank")
		if err != nil {
			f.t.Fatal(err)
		}
		defer func() { _ = chip.Close() }() // the test is over
		l, err := chip.Request(7, gpioInputOptions("somebody"))
		if err != nil {
			f.t.Fatal(err)
		}
		f.refuse("setup", "outputs: {a: {pin: 7}}", "7", "somebody")
		if err := l.Close(); err != nil {
			f.t.Fatal(err)
		}
		f.do("setup", "outputs: {a: {pin: 7}}")
	}},
}

func (f *features) publish(topic, payload string, retained bool) {
	f.t.Helper()
	if err := f.client.Publish(f.t.Context(), bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retained: retained}); err != nil {
		f.t.Fatal(err)
	}
}
