package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/chiptest"
	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// featurePatience is how long a feature may take that takes milliseconds.
const featurePatience = time.Minute

// featureBoard is a chip "bank" of 28 lines, and what it is wired to.
type featureBoard interface {
	chiptest.Board
	Open(name string) (gpio.Chip, error)
	Path() string // of a chip that another process can open; "": of none
	Unplug()      // takes the chip away, whoever holds lines of it
	Plug()        // puts one like it in its place
}

// features is a service that a runner runs on a broker, a client that has heard all they say, and the board of its chip.
type features struct {
	t      *testing.T
	base   string // /pi/gpio/
	conf   string // of the host, without its broker and its folder
	root   string // "": the machine's own
	board  featureBoard
	broker *bustest.Broker
	client *bus.Client
	dir    string
	runner *Runner
	stop   func()

	mu     sync.Mutex
	states map[string]string   // the last payload of each topic
	all    map[string][]string // every payload of each topic
	news   chan struct{}
	held   chan struct{} // while it is open, nobody takes edges
}

// newFeatures starts the gpio service with nothing set up.
func newFeatures(t *testing.T, board featureBoard) *features {
	f := newFeatureService(t, "gpio", "host: pi\nagents: {gpio: {chip: bank}}\n", board)
	f.start()
	return f
}

// newFeatureService returns a service that is to be started.
func newFeatureService(t *testing.T, service, conf string, board featureBoard) *features {
	f := &features{t: t, base: "/pi/" + service + "/", conf: conf, board: board, broker: bustest.StartStoppable(t), dir: t.TempDir(),
		states: map[string]string{}, all: map[string][]string{}, news: make(chan struct{}, 1), held: make(chan struct{})}
	close(f.held)
	f.client = bustest.Dial(t, f.broker.URL())
	if err := f.client.Subscribe(t.Context(), 1, f.hear, "#"); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *features) hear(m bus.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[m.Topic] = string(m.Payload)
	f.all[m.Topic] = append(f.all[m.Topic], string(m.Payload))
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// config returns the configuration of the host.
func (f *features) config() config.Config {
	f.t.Helper()
	conf, err := config.Parse("rollcall.yaml", []byte(f.conf+"state_dir: "+f.dir+"\nbroker: {url: "+f.broker.URL()+"}\n"))
	if err != nil {
		f.t.Fatal(err)
	}
	return conf
}

// reload has the runner take another configuration, with something else about the service, and waits until it is online again.
func (f *features) reload(conf string) {
	f.t.Helper()
	f.conf = conf
	described := len(f.heard(f.base + "description"))
	ctx, cancel := context.WithTimeout(f.t.Context(), featurePatience)
	defer cancel()
	if err := f.runner.Reload(ctx, f.config()); err != nil {
		f.t.Fatal(err)
	}
	f.await("another description", func() bool { return len(f.all[f.base+"description"]) > described })
	f.wantState("status", "online")
}

// run runs the service until stop or the end of the test.
func (f *features) run() {
	f.t.Helper()
	r, err := NewRunner(RunnerConfig{Config: f.config(), Factories: All(), Log: slog.New(slog.DiscardHandler), Root: f.root, OpenChip: f.open})
	if err != nil {
		f.t.Fatal(err)
	}
	f.runner = r
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }() // stop waits for it
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("runner: %v", err)
		}
	})
	f.t.Cleanup(f.stop)
}

// start runs the service and waits until it is online.
func (f *features) start() {
	f.t.Helper()
	f.run()
	f.wantState("status", "online")
}

// open opens a chip whose edges nobody takes while they are held.
func (f *features) open(name string) (gpio.Chip, error) {
	chip, err := f.board.Open(name)
	if err != nil {
		return nil, err
	}
	return heldChip{chip, f}, nil
}

// heldChip is a chip as a service has it.
type heldChip struct {
	gpio.Chip
	f *features
}

// Request takes a line.
func (c heldChip) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	if events := o.Events; events != nil {
		o.Events = func(e gpio.Event) {
			c.f.mu.Lock()
			held := c.f.held
			c.f.mu.Unlock()
			<-held
			events(e)
		}
	}
	return c.Chip.Request(offset, o)
}

// hold has nobody take edges, of lines that were requested as inputs, until release or the end of the test.
func (f *features) hold() (release func()) {
	held := make(chan struct{})
	f.mu.Lock()
	f.held = held
	f.mu.Unlock()
	release = sync.OnceFunc(func() { close(held) })
	f.t.Cleanup(release)
	return release
}

// info returns what the chip says of a line.
func (f *features) info(offset int) gpio.LineInfo {
	f.t.Helper()
	chip, err := f.board.Open("bank")
	if err != nil {
		f.t.Fatal(err)
	}
	info, err := chip.Info()
	if err = errors.Join(err, chip.Close()); err != nil {
		f.t.Fatal(err)
	}
	return info.Lines[offset]
}

// duty returns the part of the time that a line is high.
func (f *features) duty(offset int, during time.Duration) float64 {
	looks, high := 0, 0
	ticker := time.NewTicker(700 * time.Microsecond) // no part of a period
	defer ticker.Stop()
	for end := time.Now().Add(during); time.Now().Before(end); <-ticker.C {
		looks++
		high += f.board.Level(offset)
	}
	return float64(high) / float64(looks)
}

// unplugged unplugs the chip, and waits until that is known.
func (f *features) unplugged() {
	f.t.Helper()
	f.board.Unplug()
	f.wantState("status", "offline")
	f.await("why on the error topic", func() bool { return f.states[f.base+"error"] != "" })
}

// restart stops the service and starts it again.
func (f *features) restart() {
	f.t.Helper()
	f.stop()
	f.await("the service offline", func() bool { return f.states[f.base+"status"] == "offline" })
	f.start()
}

// await waits until ok, which is called with f.mu held.
func (f *features) await(what string, ok func() bool) {
	f.t.Helper()
	late := time.NewTimer(featurePatience)
	defer late.Stop()
	again := time.NewTicker(5 * time.Millisecond) // levels change without news
	defer again.Stop()
	for {
		f.mu.Lock()
		done := ok()
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-f.news:
		case <-again.C:
		case <-late.C:
			f.mu.Lock()
			defer f.mu.Unlock()
			f.t.Fatalf("waited for %s; states %v", what, f.states)
		}
	}
}

// wantState waits until a point's published state is want.
func (f *features) wantState(path, want string) {
	f.t.Helper()
	f.await(path+" = "+want, func() bool { return f.states[f.base+path] == want })
}

// wantLevel waits until the physical level of a line is want.
func (f *features) wantLevel(offset, want int) {
	f.t.Helper()
	f.await(fmt.Sprintf("line %d = %d", offset, want), func() bool { return f.board.Level(offset) == want })
}

// ask publishes a command and returns its result.
func (f *features) ask(topic, payload string) reports.Result {
	f.t.Helper()
	f.mu.Lock()
	before := len(f.all[f.base+"result"])
	f.mu.Unlock()
	if err := f.client.Publish(f.t.Context(), bus.Message{Topic: f.base + topic, Payload: []byte(payload), QoS: 1}); err != nil {
		f.t.Fatal(err)
	}
	var r reports.Result
	f.await("the result of "+topic, func() bool {
		results := f.all[f.base+"result"]
		if len(results) == before {
			return false
		}
		if err := json.Unmarshal([]byte(results[before]), &r); err != nil {
			f.t.Errorf("result %s: %v", results[before], err)
		}
		return true
	})
	return r
}

// do publishes a command that must succeed.
func (f *features) do(topic, payload string) reports.Result {
	f.t.Helper()
	r := f.ask(topic, payload)
	if !r.OK {
		f.t.Fatalf("%s %s: %s %s", topic, payload, r.Code, r.Error)
	}
	return r
}

// refuse publishes a command that must be refused with a text that has all the words.
func (f *features) refuse(topic, payload string, words ...string) {
	f.t.Helper()
	r := f.ask(topic, payload)
	if r.OK {
		f.t.Fatalf("%s %s was carried out, want a refusal", topic, payload)
	}
	for _, w := range words {
		if !strings.Contains(r.Error, w) {
			f.t.Errorf("%s %s: error %q does not say %q", topic, payload, r.Error, w)
		}
	}
}

// heard returns what was published on a topic, in order.
func (f *features) heard(topic string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.all[topic]...)
}

func (f *features) publish(topic, payload string, retained bool) {
	f.t.Helper()
	if err := f.client.Publish(f.t.Context(), bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retained: retained}); err != nil {
		f.t.Fatal(err)
	}
}

// memoryBoard is the chip in memory.
type memoryBoard struct {
	mu   sync.Mutex
	chip *gpiotest.Chip
}

func newMemoryBoard() *memoryBoard { return &memoryBoard{chip: gpiotest.New("bank", 28)} }

func (b *memoryBoard) present() *gpiotest.Chip {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chip
}

// Drive connects a level.
func (b *memoryBoard) Drive(offset, value int) { b.present().Drive(offset, value) }

// Level returns the level on a line.
func (b *memoryBoard) Level(offset int) int { return b.present().Level(offset) }

// Path says that no other process can open it.
func (b *memoryBoard) Path() string { return "" }

// Unplug takes it away.
func (b *memoryBoard) Unplug() { b.present().Unplug() }

// Plug puts another one in its place.
func (b *memoryBoard) Plug() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chip = gpiotest.New("bank", 28)
}

// Open opens it by its name.
func (b *memoryBoard) Open(name string) (gpio.Chip, error) {
	if name != "bank" {
		return nil, fmt.Errorf("open GPIO chip %q: there is bank", name)
	}
	return b.present().Open(), nil
}

// TestGPIOFeatures runs every feature of the gpio service on the chip in memory; TestKernelGPIOFeatures on the kernel's gpio-sim.
func TestGPIOFeatures(t *testing.T) {
	t.Parallel()
	for _, feature := range gpioFeatures() {
		t.Run(feature.name, func(t *testing.T) {
			t.Parallel()
			feature.run(newFeatures(t, newMemoryBoard()))
		})
	}
}

func gpioInputOptions(consumer string) gpio.LineOptions {
	return gpio.LineOptions{Consumer: consumer}
}
