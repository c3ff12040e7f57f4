package agents

import (
	"strings"
	"time"

	"rollcall/gpio"
)

// gpioInputFeatures are the rows of inputs.
var gpioInputFeatures = []gpioFeature{
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
		f.refuse("setup", "inputs:\n  a: {pin: 8}\n  b: {pin: 9, on_change: /pi/gpio/input/b}", "setup:3", "on_change", "state of a point")
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
		f.do("setup", "inputs: {a: {pin: 8, long_press: 1500ms, double_click: 1s}}")
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
		press(1800 * time.Millisecond)
		f.await("long", func() bool { return strings.Join(f.all["/pi/gpio/press/a"], " ") == "single double long" })
	}},
	{"input lost edges", "", func(f *features) {
		f.do("setup", "inputs: {a: {pin: 8}}")
		f.wantState("lost", "0")
		release := f.hold()
		for i := range 4 * gpio.EventBuffer { // while nobody takes them; gpio-sim makes one of those that come too fast
			f.board.Drive(8, (i+1)%2)
		}
		f.board.Drive(8, 1)
		release()
		f.wantState("input/a", "ON")
		f.await("lost edges", func() bool { return f.states["/pi/gpio/lost"] != "0" })
		f.board.Drive(8, 0)
		f.wantState("input/a", "OFF")
	}},
}
