package agents

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/gpio"
)

// gpioReloaded is a configuration of which only the lamp and what follows is another one after a reload.
func gpioReloaded(lamp, more string) string {
	return "host: pi\nagents:\n  gpio:\n    chip: bank\n    outputs:\n      pump: {pin: 25}\n      " + lamp + "\n" + more
}

// A reload of another configuration leaves alone what stays the same, however it is changed, and takes over what is new.
func TestGPIOReload(t *testing.T) {
	t.Parallel()
	board := newMemoryBoard()
	f := newFeatureService(t, "gpio", gpioReloaded("lamp: {pin: 24}", ""), board)
	f.start()
	f.do("set/output/pump", "ON")
	f.do("set/output/lamp", "ON")
	before := len(board.chip.History(25))
	for _, tt := range []struct{ what, lamp, more string }{
		{"another pin", "lamp: {pin: 23}", ""},
		{"a rule", "lamp: {pin: 23, max_on: 1h}", ""},
		{"filters", "lamp: {pin: 23, max_on: 1h}", "    points: {output/pump: {heartbeat: 1h}}\n"},
		{"a log", "lamp: {pin: 23, max_on: 1h}", "    log: debug\n"},
		{"no lamp", "bell: {pin: 22}", ""},
	} {
		f.reload(gpioReloaded(tt.lamp, tt.more))
		f.wantState("output/pump", "ON")
		if got := board.chip.History(25); len(got) != before {
			t.Fatalf("%s: the line of the pump was told %v", tt.what, got[before:])
		}
		f.do("get/output/pump", "")
	}
	if level := board.chip.Level(24); level != 0 {
		t.Errorf("the lamp that moved is left at %d", level)
	}
	f.wantState("output/lamp", "")
	f.do("set/output/bell", "ON")
	f.do("set/output/pump", "OFF")
	f.wantState("output/pump", "OFF")
	f.stop()
	f.wantState("status", "offline")
}

// Another configuration that can't be brought into force changes nothing, says so, and is tried again by the next reload.
func TestGPIOReloadRefused(t *testing.T) {
	t.Parallel()
	board := newMemoryBoard()
	f := newFeatureService(t, "gpio", gpioReloaded("lamp: {pin: 24}", ""), board)
	f.start()
	f.do("set/output/pump", "ON")
	other, err := board.chip.Open().Request(23, gpio.LineOptions{Consumer: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	before := len(board.chip.History(25))
	f.reload(gpioReloaded("lamp: {pin: 23}", ""))
	f.await("the reason", func() bool { return strings.Contains(f.states["/pi/gpio/error"], "new configuration refused") })
	f.wantState("error", `new configuration refused, what was before stays in force: set up: rollcall.yaml:7: agents.gpio.outputs.lamp.pin: line 23 of bank is held by "somebody"`)
	f.wantState("status", "online")
	f.do("set/output/lamp", "ON")
	f.wantLevel(24, 1)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	f.reload(gpioReloaded("lamp: {pin: 23}", ""))
	f.wantState("error", "")
	f.do("set/output/lamp", "ON")
	f.wantLevel(23, 1)
	if got := board.chip.History(25); len(got) != before {
		t.Errorf("the line of the pump was told %v", got[before:])
	}
}

// A saved set-up goes before another configuration, and one that was removed does not.
func TestGPIOReloadSaved(t *testing.T) {
	t.Parallel()
	f := newFeatureService(t, "gpio", gpioReloaded("lamp: {pin: 24}", ""), newMemoryBoard())
	f.start()
	f.do("setup", "outputs: {fan: {pin: 5}}")
	f.do("set/output/fan", "ON")
	f.reload(gpioReloaded("lamp: {pin: 23}", ""))
	f.wantState("output/fan", "ON")
	f.do("set/output/fan", "ON")
	f.wantState("output/lamp", "")
}

// gpioReload has an agent take the options of another configuration.
func gpioReload(a *gpioAgent, doc string, d Deps) error {
	var o gpioOptions
	node, err := config.ParseNode("rollcall.yaml", []byte(doc))
	if err == nil {
		err = node.Decode(&o)
	}
	if err != nil {
		return err
	}
	return a.Reload(&o, d)
}

// Timers, and who is there, go on over a reload, with another link.
func TestGPIOReloadGoesOn(t *testing.T) {
	const options = "outputs: {a: {pin: 2, max_on: 10s, failsafe: {after: 2s, watch: /hub/status}}, b: {pin: 3%s}}\n"
	gpioBubble(t, fmt.Sprintf(options, ""), func(s *gpioStage) {
		s.link.say("/hub/status", "online")
		s.wantDo("ON", "output/a", true)
		s.pass(6 * time.Second)
		link := &gpioFakeLink{up: true, subs: map[string]func([]byte){}}
		reload := func(doc string) error {
			d := s.deps()
			d.Link = link
			return gpioReload(s.agent, doc, d)
		}
		old := s.link
		if err := reload("chip: pinctrl-bcm2835\n" + fmt.Sprintf(options, ", pull: up")); err != nil {
			s.t.Fatal(err)
		}
		if len(old.subs) != 0 || old.watch != nil || len(link.subs) != 1 || link.watch == nil {
			s.t.Errorf("the old link watches %v, the new one %v", old.subs, link.subs)
		}
		s.pass(3900 * time.Millisecond)
		s.wantLevels(2, 1)
		s.pass(200 * time.Millisecond) // max_on counts from before
		s.wantLevels(2, 0)
		s.wantDo("ON", "output/a", true)
		link.say("/hub/status", "offline")
		s.pass(1900 * time.Millisecond)
		s.wantLevels(2, 1)
		s.pass(200 * time.Millisecond)
		s.wantLevels(2, 0)
		if err := reload("chip: gpiochip9\n"); err == nil || !strings.Contains(err.Error(), `no chip "gpiochip9"`) {
			s.t.Errorf("a chip that is not there: %v", err)
		}
		s.wantDo("ON", "output/a", true)
	})
}
