package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// gpioLab is a service that a runner runs on a real broker, with a client that hears all it says.
type gpioLab struct {
	t      *testing.T
	conf   string
	root   string
	base   string // /pi/gpio/
	url    string
	dir    string
	chip   *gpiotest.Chip
	other  *gpiotest.Chip // gpiochip7
	broken bool           // there is no chip; guarded by mu
	client *bus.Client
	stop   func()

	mu      sync.Mutex
	topics  map[string]string // the last payload of each topic
	results []reports.Result
	news    chan struct{}
}

const gpioLabOptions = `
host: pi
agents:
  gpio:
    chip: pinctrl-bcm2835
    outputs: {pump: {pin: 25, initial: off}}
    inputs: {door: {pin: 22, pull: up}}
`

func newGPIOLab(t *testing.T) *gpioLab { return newServiceLab(t, "gpio", gpioLabOptions) }

func newServiceLab(t *testing.T, service, conf string) *gpioLab {
	l := &gpioLab{t: t, conf: conf, base: "/pi/" + service + "/", url: bustest.Start(t), dir: t.TempDir(), chip: gpiotest.New("pinctrl-bcm2835", 54),
		other:  gpiotest.New("gpiochip7", 8),
		topics: map[string]string{}, news: make(chan struct{}, 1)}
	l.client = bustest.Dial(t, l.url)
	if err := l.client.Subscribe(t.Context(), 1, l.hear, l.base+"#"); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *gpioLab) hear(m bus.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := strings.TrimPrefix(m.Topic, l.base)
	if tail == "result" {
		var r reports.Result
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			l.t.Errorf("result %s: %v", m.Payload, err)
		}
		l.results = append(l.results, r)
	}
	l.topics[tail] = string(m.Payload)
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// start runs the service until the test, or stop, ends it.
func (l *gpioLab) start() {
	l.t.Helper()
	conf, err := config.Parse("rollcall.yaml", []byte(l.conf+"state_dir: "+l.dir+"\nbroker: {url: "+l.url+"}\n"))
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := NewRunner(RunnerConfig{Config: conf, Factories: All(), Log: slog.New(slog.DiscardHandler), Root: l.root,
		OpenChip: func(name string) (gpio.Chip, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			switch {
			case name == "gpiochip7":
				return l.other.Open(), nil
			case name != "pinctrl-bcm2835" || l.broken:
				return nil, fmt.Errorf("no chip %q, there is gpiochip7", name)
			}
			return l.chip.Open(), nil
		}})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }() // stop waits for it
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("runner: %v", err)
		}
	})
	l.t.Cleanup(l.stop)
}

// await waits until ok.
func (l *gpioLab) await(what string, ok func() bool) {
	l.t.Helper()
	late := time.After(10 * time.Second)
	for {
		l.mu.Lock()
		met := ok()
		l.mu.Unlock()
		if met {
			return
		}
		select {
		case <-l.news:
		case <-late:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("%s: not in time; topics %q", what, l.topics)
		}
	}
}

func (l *gpioLab) want(tail, payload string) {
	l.t.Helper()
	l.await(tail+" "+payload, func() bool { return l.topics[tail] == payload })
}

// do sends a command and returns its result.
func (l *gpioLab) do(tail, payload string) reports.Result {
	l.t.Helper()
	l.mu.Lock()
	before := len(l.results)
	l.mu.Unlock()
	if err := l.client.Publish(l.t.Context(), bus.Message{Topic: l.base + tail, Payload: []byte(payload), QoS: 1}); err != nil {
		l.t.Fatal(err)
	}
	var r reports.Result
	l.await("result of "+tail, func() bool {
		if len(l.results) > before {
			r = l.results[before]
		}
		return len(l.results) > before
	})
	return r
}

func TestGPIOOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.start()
	l.want("status", "online")
	l.want("output/pump", "OFF")
	l.want("input/door", "ON") // pulled up: the state at the start, without an edge
	l.chip.Drive(22, 0)
	l.want("input/door", "OFF")
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
		r := l.do(tt.tail, tt.payload)
		if r.OK != tt.ok || r.Code != tt.code || (r.Error == "") != tt.ok || l.chip.Level(25) != tt.level {
			t.Errorf("%s %s: %+v, level %d, want ok %v, code %q, level %d", tt.tail, tt.payload, r, l.chip.Level(25), tt.ok, tt.code, tt.level)
		}
		if tt.ok {
			l.want("output/pump", map[int]string{0: "OFF", 1: "ON"}[tt.level])
		}
	}
	if r := l.do("setup", "outputs:\n  pump: {pin: 25}\n  x: {pin: pin22}"); r.Error != `setup:3: outputs.x.pin: "pin22" is line 25, which output/pump has already` {
		t.Errorf("refused set-up: %s", r.Error)
	}
	l.stop()
	l.want("status", "offline")
}

func TestGPIOSetupOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.start()
	l.want("input/door", "ON")
	l.chip.Drive(5, 1)
	changes := len(l.chip.History(25))
	doc := "outputs: {pump: {pin: 25}}\ninputs: {bell: {pin: 5, debounce: 1ms}}\n"
	if r := l.do("setup", doc); !r.OK {
		t.Fatalf("setup: %+v", r)
	}
	l.want("input/bell", "ON")
	l.want("input/door", "") // the topic of a point that is gone is emptied
	l.await("description", func() bool {
		return strings.Contains(l.topics["description"], "input/bell") && !strings.Contains(l.topics["description"], "input/door")
	})
	l.chip.Drive(5, 0)
	l.want("input/bell", "OFF")
	r := l.do("get/setup", "")
	text, _ := r.Data.(string)
	if !r.OK || !strings.Contains(text, "bell:") || !strings.Contains(text, "chip: pinctrl-bcm2835") {
		t.Errorf("get/setup: %+v", r)
	}
	if again := l.do("setup", text); !again.OK || len(l.chip.History(25)) != changes {
		t.Errorf("the present set-up again: %+v, output flickered: %v", again, l.chip.History(25))
	}
	l.stop()
	l.want("status", "offline")
	l.start() // the configuration still says door
	l.want("status", "online")
	l.chip.Drive(5, 1)
	l.want("input/bell", "ON")
	if r := l.do("get/input", ""); !r.OK || !strings.Contains(fmt.Sprint(r.Data), "input/bell") || strings.Contains(fmt.Sprint(r.Data), "input/door") {
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
	l.start()
	l.await("error", func() bool {
		return strings.HasPrefix(l.topics["error"], "start: saved set-up: "+file+`:2: outputs.pump.pin: pin "77": `)
	})
	if r := l.do("set/output/pump", "ON"); r.OK || r.Code != reports.CodeOffline || l.chip.Level(25) != 0 {
		t.Errorf("set without a set-up: %+v, level %d", r, l.chip.Level(25))
	}
	l.mu.Lock()
	l.broken = true
	l.mu.Unlock()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.await("error", func() bool { return strings.HasPrefix(l.topics["error"], "start: set up: ") })
	l.want("status", "offline")
	l.mu.Lock()
	l.broken = false
	l.mu.Unlock()
	l.want("status", "online")
	l.want("error", "")
	l.want("output/pump", "OFF")
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
	l.start()
	l.await("error", func() bool {
		text := l.topics["error"]
		return strings.HasPrefix(text, "start: saved set-up: "+file+`:3: outputs.pump.pin: pin "77": `) && strings.Contains(text, "until a good one is sent (udpsrv setup HOST/gpio -f FILE)")
	})
	l.want("status", "offline")
	if r := l.do("get/setup", ""); !r.OK || r.Data != broken {
		t.Errorf("get/setup: %+v, want the document that is broken", r)
	}
	for tail, payload := range map[string]string{"set/output/pump": "ON", "get/output": "", "control": `{"verb":"toggle","path":"output/pump"}`} {
		if r := l.do(tail, payload); r.OK || r.Code != reports.CodeOffline || !strings.Contains(r.Error, file+":3: ") {
			t.Errorf("%s: %+v, want it to be offline, and why", tail, r)
		}
	}
	if r := l.do("setup", "outputs:\n  pump: {pin: 78}\n"); r.OK || r.Code != reports.CodeBadSetup || !strings.HasPrefix(r.Error, `setup:2: outputs.pump.pin: pin "78": `) {
		t.Errorf("another broken set-up: %+v", r)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != broken {
		t.Errorf("the file became %q, %v", got, err)
	}
	l.want("status", "offline")
	if r := l.do("setup", "outputs: {pump: {pin: 25, initial: on}}"); !r.OK {
		t.Fatalf("setup: %+v", r)
	}
	l.want("status", "online")
	l.want("error", "")
	l.want("output/pump", "ON")
	if got, err := os.ReadFile(file); err != nil || !strings.Contains(string(got), `pin: "25"`) {
		t.Errorf("the file became %q, %v", got, err)
	}
}

// Where the chip is missing, whoever sends a set-up is told which, and which are there.
func TestGPIOWithoutChipOverMQTT(t *testing.T) {
	t.Parallel()
	l := newGPIOLab(t)
	l.broken = true
	l.start()
	l.want("error", `start: set up: rollcall.yaml:5: agents.gpio.chip: no chip "pinctrl-bcm2835", there is gpiochip7; nothing is set up until `+
		`a good one is sent (udpsrv setup HOST/gpio -f FILE), or the configuration is put right`)
	l.want("status", "offline")
	for doc, want := range map[string]string{
		"outputs: {pump: {pin: 25}}": `setup:1: chip: no chip "pinctrl-bcm2835", there is gpiochip7`,
		"chip: nowhere":              `setup:1: chip: no chip "nowhere", there is gpiochip7`,
	} {
		if r := l.do("setup", doc); r.OK || r.Code != reports.CodeBadSetup || r.Error != want {
			t.Errorf("setup %s: %+v, want %s", doc, r, want)
		}
	}
	if r := l.do("get/setup", ""); !r.OK || !strings.Contains(fmt.Sprint(r.Data), "door:") {
		t.Errorf("get/setup: %+v, want what the configuration asks for", r)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "gpio.setup.yaml")); err == nil {
		t.Error("a refused set-up was saved")
	}
	if r := l.do("setup", "{chip: gpiochip7, outputs: {pump: {pin: 3}}}"); !r.OK {
		t.Errorf("setup with the chip that is there: %+v", r)
	}
	l.want("status", "online")
	l.want("error", "")
	l.want("output/pump", "OFF")
}

// A rate that has no value yet is no fault: nothing is on the error topic at the start, and a second later there is a rate.
func TestHostsensorOverMQTT(t *testing.T) {
	t.Parallel()
	board := newHostsensorBoard(t, "pi4")
	l := newServiceLab(t, "hostsensor", "host: pi\nagents: {hostsensor: {poll: 1s, points: {network/*/*: {poll: 50ms}}}}\n")
	board.mkdir("boot/firmware/x") // statfs is real here
	l.root = board.root
	l.start()
	l.want("memory/total", "3974258688")
	l.want("throttling/under_voltage", "ON")
	l.want("network/eth0/rx_rate", "0")
	l.mu.Lock()
	if text := l.topics["error"]; text != "" {
		t.Errorf("error topic: %s", text)
	}
	l.mu.Unlock()
	board.edit("proc/812/net/dev", "eth0:", "eth1:")
	l.await("error", func() bool { return strings.Contains(l.topics["error"], "interface eth0 is gone") })
	if r := l.do("get/load/1m", ""); !r.OK {
		t.Errorf("get of another point: %+v", r)
	}
	board.edit("proc/812/net/dev", "eth1:", "eth0:")
	l.want("error", "")
}
