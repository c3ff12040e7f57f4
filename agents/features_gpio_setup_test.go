package agents

import (
	"encoding/json"
	"strings"
	"time"
)

// gpioSetupFeatures are the rows of set-ups, and of what is told of the chip.
var gpioSetupFeatures = []gpioFeature{
	{"setup touches only what changes", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4}, b: {pin: 5}}")
		f.do("set/output/a", "ON")
		f.do("setup", "outputs: {a: {pin: 4}, c: {pin: 6, initial: on}}")
		f.wantLevel(4, 1)
		f.wantState("output/a", "ON")
		f.wantState("output/b", "")
		f.wantState("output/c", "ON")
	}},
	{"setup gives an output another name", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: restore}, b: {pin: 5, max_on: 800ms}}")
		start := time.Now()
		f.do("set/output/a", "ON")
		f.do("set/output/b", "ON")
		f.do("setup", "outputs: {x: {pin: 4, initial: restore}, y: {pin: 5, max_on: 800ms}}")
		f.wantState("output/a", "")
		f.wantState("output/x", "ON")
		f.wantState("output/y", "OFF") // its time goes on
		if took := time.Since(start); took < 800*time.Millisecond {
			f.t.Errorf("it went off after %v, want 800ms", took)
		}
		f.restart()
		f.wantState("output/x", "ON")
		f.wantLevel(4, 1)
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
	{"setup survives a power cut", "", func(f *features) {
		for k := range 4 {
			f.stop()
			f.wantState("status", "offline")
			victim := newGPIOVictim(f.t, f.dir, "bank", f.board.Path())
			victim.wait(1 + k%3)
			<-time.After(time.Duration(k*1370) * time.Microsecond) // any moment of the next one
			victim.kill()
			f.start()
			f.await("the old outputs or the new ones", func() bool {
				old, new := f.states["/pi/gpio/output/old"], f.states["/pi/gpio/output/new"]
				return old == "ON" && new == "" && f.board.Level(2) == 1 && f.board.Level(3) == 0 ||
					old == "" && new == "ON" && f.board.Level(3) == 1 && f.board.Level(2) == 0
			})
		}
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
	{"a reload of the configuration leaves what stays the same", "", func(f *features) {
		f.reload("host: pi\nagents: {gpio: {chip: bank, outputs: {a: {pin: 4}}}}\n")
		f.do("set/output/a", "ON")
		f.reload("host: pi\nagents: {gpio: {chip: bank, outputs: {a: {pin: 4}, b: {pin: 5}}, log: debug}}\n")
		f.wantState("output/a", "ON")
		f.wantLevel(4, 1)
		f.do("set/output/b", "ON")
		f.wantLevel(5, 1)
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
