package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

// gpioLab is a gpio service with outputs and inputs from the start, on one of two chips.
type gpioLab struct {
	*features
	chip, other *gpiotest.Chip // pinctrl-bcm2835 and gpiochip7
	missing     atomic.Bool    // there is no pinctrl-bcm2835
}

const gpioLabOptions = `
host: pi
agents:
  gpio:
    chip: pinctrl-bcm2835
    outputs: {pump: {pin: 25, initial: off}}
    inputs: {door: {pin: 22, pull: up}}
`

// newGPIOLab returns one that is to be started.
func newGPIOLab(t *testing.T) *gpioLab {
	l := &gpioLab{chip: gpiotest.New("pinctrl-bcm2835", 54), other: gpiotest.New("gpiochip7", 8)}
	l.features = newFeatureService(t, "gpio", gpioLabOptions, gpioLabBoard{&memoryBoard{chip: l.chip}, l})
	return l
}

// gpioLabBoard is the chips of a gpioLab.
type gpioLabBoard struct {
	*memoryBoard
	lab *gpioLab
}

// Open opens one of them.
func (b gpioLabBoard) Open(name string) (gpio.Chip, error) {
	switch {
	case name == "gpiochip7":
		return b.lab.other.Open(), nil
	case name != "pinctrl-bcm2835" || b.lab.missing.Load():
		return nil, fmt.Errorf("no chip %q, there is gpiochip7", name)
	}
	return b.present().Open(), nil
}

func TestGPIOOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.run()
	l.wantState("status", "online")
	l.wantState("output/pump", "OFF")
	l.wantState("input/door", "ON") // pulled up: the state at the start, without an edge
	l.chip.Drive(22, 0)
	l.wantState("input/door", "OFF")
	for _, tt := range []struct {
		tail, payload string
		ok            bool
		level         int
		code          string
	}{
		{"set/output/pump", "ON", true, 1, ""},
		{"set/output/pump", "toggle", true, 0, ""},
		{"set/output/pump", `{"value":true,"id":7}`, true, 1, ""},
		{"control", `{"verb":"toggle","path":"output/pump"}`, true, 0, ""},
		{"control", `{"verb":"dance","path":"output/pump"}`, false, 0, reports.CodeUnsupported},
		{"set/output/pump", "maybe", false, 0, reports.CodeWrongType},
		{"set/input/door", "ON", false, 0, reports.CodeReadOnly},
		{"set/output/none", "ON", false, 0, reports.CodeUnknown},
		{"setup", "outputs:\n  pump: {pin: 25}\n  x: {pin: pin22}", false, 0, reports.CodeBadSetup},
		{"setup", "a: &a [x]\nb: [*a]", false, 0, reports.CodeBadSetup},
		{"set/output/pump", "ON", true, 1, ""},
	} {
		r := l.ask(tt.tail, tt.payload)
		if r.OK != tt.ok || r.Code != tt.code || (r.Error == "") != tt.ok || l.chip.Level(25) != tt.level {
			t.Errorf("%s %s: %+v, level %d, want ok %v, code %q, level %d", tt.tail, tt.payload, r, l.chip.Level(25), tt.ok, tt.code, tt.level)
		}
		if tt.ok {
			l.wantState("output/pump", map[int]string{0: "OFF", 1: "ON"}[tt.level])
		}
	}
	if r := l.ask("setup", "outputs:\n  pump: {pin: 25}\n  x: {pin: pin22}"); r.Error != `setup:3: outputs.x.pin: "pin22" is line 25, which output/pump has already` {
		t.Errorf("refused set-up: %s", r.Error)
	}
	l.stop()
	l.wantState("status", "offline")
}

func TestGPIOSetupOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.run()
	l.wantState("input/door", "ON")
	l.chip.Drive(5, 1)
	changes := len(l.chip.History(25))
	doc := "outputs: {pump: {pin: 25}}\ninputs: {bell: {pin: 5, debounce: 1ms}}\n"
	if r := l.ask("setup", doc); !r.OK {
		t.Fatalf("setup: %+v", r)
	}
	l.wantState("input/bell", "ON")
	l.wantState("input/door", "") // the topic of a point that is gone is emptied
	l.await("description", func() bool {
		return strings.Contains(l.states[l.base+"description"], "input/bell") && !strings.Contains(l.states[l.base+"description"], "input/door")
	})
	l.chip.Drive(5, 0)
	l.wantState("input/bell", "OFF")
	r := l.ask("get/setup", "")
	text, _ := r.Data.(string)
	if !r.OK || !strings.Contains(text, "bell:") || !strings.Contains(text, "chip: pinctrl-bcm2835") {
		t.Errorf("get/setup: %+v", r)
	}
	if again := l.ask("setup", text); !again.OK || len(l.chip.History(25)) != changes {
		t.Errorf("the present set-up again: %+v, output flickered: %v", again, l.chip.History(25))
	}
	l.stop()
	l.wantState("status", "offline")
	l.run() // the configuration still says door
	l.wantState("status", "online")
	l.chip.Drive(5, 1)
	l.wantState("input/bell", "ON")
	if r := l.ask("get/input", ""); !r.OK || !strings.Contains(fmt.Sprint(r.Data), "input/bell") || strings.Contains(fmt.Sprint(r.Data), "input/door") {
		t.Errorf("after a restart: %+v", r)
	}
}

// A set-up that was saved and is broken, and a chip that is not there, are on the error topic, and heal without a restart.
func TestGPIOFaultsOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	file := filepath.Join(l.dir, "gpio.setup.yaml")
	if err := os.WriteFile(file, []byte("chip: pinctrl-bcm2835\noutputs: {pump: {pin: 77}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.run()
	l.await("error", func() bool {
		return strings.HasPrefix(l.states[l.base+"error"], "start: saved set-up: "+file+`:2: outputs.pump.pin: pin "77": `)
	})
	if r := l.ask("set/output/pump", "ON"); r.OK || r.Code != reports.CodeOffline || l.chip.Level(25) != 0 {
		t.Errorf("set without a set-up: %+v, level %d", r, l.chip.Level(25))
	}
	l.missing.Store(true)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.await("error", func() bool { return strings.HasPrefix(l.states[l.base+"error"], "start: set up: ") })
	l.wantState("status", "offline")
	l.missing.Store(false)
	l.wantState("status", "online")
	l.wantState("error", "")
	l.wantState("output/pump", "OFF")
}

// A saved set-up that is no longer valid is cured by sending a good one; the file stays as it is until then.
func TestGPIOSavedSetupIsRepairedOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	file := filepath.Join(l.dir, "gpio.setup.yaml")
	const broken = "# by hand\nchip: pinctrl-bcm2835\noutputs: {pump: {pin: 77}}\n"
	if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	l.run()
	l.await("error", func() bool {
		text := l.states[l.base+"error"]
		return strings.HasPrefix(text, "start: saved set-up: "+file+`:3: outputs.pump.pin: pin "77": `) && strings.Contains(text, "until a good one is sent (udpsrv setup HOST/gpio -f FILE)")
	})
	l.wantState("status", "offline")
	if r := l.ask("get/setup", ""); !r.OK || r.Data != broken {
		t.Errorf("get/setup: %+v, want the document that is broken", r)
	}
	for tail, payload := range map[string]string{"set/output/pump": "ON", "get/output": "", "control": `{"verb":"toggle","path":"output/pump"}`} {
		if r := l.ask(tail, payload); r.OK || r.Code != reports.CodeOffline || !strings.Contains(r.Error, file+":3: ") {
			t.Errorf("%s: %+v, want it to be offline, and why", tail, r)
		}
	}
	if r := l.ask("setup", "outputs:\n  pump: {pin: 78}\n"); r.OK || r.Code != reports.CodeBadSetup || !strings.HasPrefix(r.Error, `setup:2: outputs.pump.pin: pin "78": `) {
		t.Errorf("another broken set-up: %+v", r)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != broken {
		t.Errorf("the file became %q, %v", got, err)
	}
	l.wantState("status", "offline")
	if r := l.ask("setup", "outputs: {pump: {pin: 25, initial: on}}"); !r.OK {
		t.Fatalf("setup: %+v", r)
	}
	l.wantState("status", "online")
	l.wantState("error", "")
	l.wantState("output/pump", "ON")
	if got, err := os.ReadFile(file); err != nil || !strings.Contains(string(got), `pin: "25"`) {
		t.Errorf("the file became %q, %v", got, err)
	}
}

// Where the chip is missing, whoever sends a set-up is told which, and which are there.
func TestGPIOWithoutChipOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.missing.Store(true)
	l.run()
	l.wantState("error", `start: set up: rollcall.yaml:5: agents.gpio.chip: no chip "pinctrl-bcm2835", there is gpiochip7; nothing is set up until `+
		`a good one is sent (udpsrv setup HOST/gpio -f FILE), or the configuration is put right`)
	l.wantState("status", "offline")
	for doc, want := range map[string]string{
		"outputs: {pump: {pin: 25}}": `setup:1: chip: no chip "pinctrl-bcm2835", there is gpiochip7`,
		"chip: nowhere":              `setup:1: chip: no chip "nowhere", there is gpiochip7`,
	} {
		if r := l.ask("setup", doc); r.OK || r.Code != reports.CodeBadSetup || r.Error != want {
			t.Errorf("setup %s: %+v, want %s", doc, r, want)
		}
	}
	if r := l.ask("get/setup", ""); !r.OK || !strings.Contains(fmt.Sprint(r.Data), "door:") {
		t.Errorf("get/setup: %+v, want what the configuration asks for", r)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "gpio.setup.yaml")); err == nil {
		t.Error("a refused set-up was saved")
	}
	if r := l.ask("setup", "{chip: gpiochip7, outputs: {pump: {pin: 3}}}"); !r.OK {
		t.Errorf("setup with the chip that is there: %+v", r)
	}
	l.wantState("status", "online")
	l.wantState("error", "")
	l.wantState("output/pump", "OFF")
}

// A rate that has no value yet is no fault: nothing is on the error topic at the start, and a second later there is a rate.
func TestHostsensorOverMQTT(t *testing.T) {
	t.Parallel()
	board := newHostsensorBoard(t, "pi4")
	l := newFeatureService(t, "hostsensor", "host: pi\nagents: {hostsensor: {poll: 1s, points: {network/*/*: {poll: 50ms}}}}\n", newMemoryBoard())
	board.mkdir("boot/firmware/x") // statfs is real here
	l.root = board.root
	l.run()
	l.wantState("memory/total", "3974258688")
	l.wantState("throttling/under_voltage", "ON")
	l.wantState("network/eth0/rx_rate", "0")
	l.mu.Lock()
	if text := l.states[l.base+"error"]; text != "" {
		t.Errorf("error topic: %s", text)
	}
	l.mu.Unlock()
	board.edit("proc/812/net/dev", "eth0:", "eth1:")
	l.await("error", func() bool { return strings.Contains(l.states[l.base+"error"], "interface eth0 is gone") })
	if r := l.ask("get/load/1m", ""); !r.OK {
		t.Errorf("get of another point: %+v", r)
	}
	board.edit("proc/812/net/dev", "eth1:", "eth0:")
	l.wantState("error", "")
}
