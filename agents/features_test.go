package agents

import (
	"context"
	"encoding/json"
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
const featurePatience = 10 * time.Second

// features is a gpio service on a broker, a client that has heard all it says, and the board that its chip is wired to.
type features struct {
	t      *testing.T
	board  chiptest.Board
	open   func(name string) (gpio.Chip, error)
	broker *bustest.Broker
	client *bus.Client
	dir    string
	stop   func()

	mu     sync.Mutex
	states map[string]string   // the last payload of each topic
	all    map[string][]string // every payload of each topic
	news   chan struct{}
}

// newFeatures starts the service with nothing set up. open gives the chip "bank".
func newFeatures(t *testing.T, board chiptest.Board, open func(string) (gpio.Chip, error)) *features {
	f := &features{t: t, board: board, open: open, broker: bustest.StartStoppable(t), dir: t.TempDir(),
		states: map[string]string{}, all: map[string][]string{}, news: make(chan struct{}, 1)}
	f.client = bustest.Dial(t, f.broker.URL())
	if err := f.client.Subscribe(t.Context(), 1, f.hear, "#"); err != nil {
		t.Fatal(err)
	}
	f.start()
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

// start runs the service until stop or the end of the test.
func (f *features) start() {
	f.t.Helper()
	doc := "host: pi\nstate_dir: " + f.dir + "\nbroker: {url: " + f.broker.URL() + "}\nagents: {gpio: {chip: bank}}\n"
	conf, err := config.Parse("rollcall.yaml", []byte(doc))
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := NewRunner(RunnerConfig{Config: conf, Factories: All(), Log: slog.New(slog.DiscardHandler), OpenChip: f.open})
	if err != nil {
		f.t.Fatal(err)
	}
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
	f.await("the service online", func() bool { return f.states["/pi/gpio/status"] == "online" })
}

// restart stops the service and starts it again.
func (f *features) restart() {
	f.t.Helper()
	f.stop()
	f.await("the service offline", func() bool { return f.states["/pi/gpio/status"] == "offline" })
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
	f.await(path+" = "+want, func() bool { return f.states["/pi/gpio/"+path] == want })
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
	before := len(f.all["/pi/gpio/result"])
	f.mu.Unlock()
	if err := f.client.Publish(f.t.Context(), bus.Message{Topic: "/pi/gpio/" + topic, Payload: []byte(payload), QoS: 1}); err != nil {
		f.t.Fatal(err)
	}
	var r reports.Result
	f.await("the result of "+topic, func() bool {
		results := f.all["/pi/gpio/result"]
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

// TestGPIOFeatures runs every feature of the gpio service on the chip in memory; TestKernelGPIOFeatures on the kernel's gpio-sim.
func TestGPIOFeatures(t *testing.T) {
	t.Parallel()
	for _, feature := range gpioFeatures {
		t.Run(feature.name, func(t *testing.T) {
			t.Parallel()
			chip := gpiotest.New("bank", 28)
			feature.run(newFeatures(t, chip, func(name string) (gpio.Chip, error) {
				if name != "bank" {
					return nil, fmt.Errorf("open GPIO chip %q: there is bank", name)
				}
				return chip.Open(), nil
			}))
		})
	}
}

func gpioInputOptions(consumer string) gpio.LineOptions {
	return gpio.LineOptions{Consumer: consumer}
}
