package agents_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// A command of a megabyte goes through the broker, gets its one result and changes nothing.
func TestCommandOfAMegabyte(t *testing.T) {
	t.Parallel()
	chip := gpiotest.New("pinctrl", 28)
	url := bustest.Start(t)
	results, online := make(chan reports.Result, 16), make(chan struct{}, 16)
	client := bustest.Dial(t, url)
	hear := func(m bus.Message) {
		switch {
		case m.Topic == "/pi/gpio/status" && reports.Status(m.Payload) == reports.Online:
			online <- struct{}{}
		case m.Topic == "/pi/gpio/result":
			var r reports.Result
			if err := json.Unmarshal(m.Payload, &r); err != nil {
				t.Errorf("result %s: %v", m.Payload, err)
			}
			results <- r
		}
	}
	if err := client.Subscribe(t.Context(), 1, hear, "/pi/gpio/#"); err != nil {
		t.Fatal(err)
	}
	runGPIO(t, url, chip)
	receive(t, online)

	line := chip.History(25)
	megabyte := strings.Repeat("x", 1<<20)
	commands := []struct{ verb, path, payload, code string }{
		{"set", "output/pump", "ON" + strings.Repeat(" ", 1<<20), reports.CodeTooLarge},
		{"set", "output/pump", `{"value":"ON","x":"` + megabyte + `"}`, reports.CodeTooLarge},
		{"setup", "", "outputs: {pump: {pin: 25, initial: on}} # " + megabyte, reports.CodeTooLarge},
		{"control", "", `{"verb":"toggle","path":"output/pump","x":"` + megabyte + `"}`, reports.CodeTooLarge},
		{"get", "output/pump", "", ""},
	}
	for _, c := range commands {
		topic := strings.TrimSuffix("/pi/gpio/"+c.verb+"/"+c.path, "/")
		if err := client.Publish(t.Context(), bus.Message{Topic: topic, Payload: []byte(c.payload), QoS: 1}); err != nil {
			t.Fatalf("publish %s: %v", topic, err)
		}
	}
	for _, c := range commands { // in turn: a second result of one would come before the result of the last
		r := receive(t, results)
		if r.Verb != c.verb || r.Code != c.code || r.OK != (c.code == "") {
			t.Errorf("%s of %d bytes: %+v, want code %q", c.verb, len(c.payload), r, c.code)
		}
	}
	if got := chip.History(25); !slices.Equal(got, line) || chip.Level(25) != 0 {
		t.Errorf("line: level %d, history %v, want 0 and %v", chip.Level(25), got, line)
	}
}

// runGPIO runs a service with an output that is off, until the test ends.
func runGPIO(t *testing.T, url string, chip *gpiotest.Chip) {
	t.Helper()
	conf, err := config.Parse("rollcall.yaml", []byte("host: pi\nstate_dir: "+t.TempDir()+"\nbroker: {url: "+url+"}\n"+
		"agents: {gpio: {chip: pinctrl, outputs: {pump: {pin: 25, initial: off}}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := agents.NewRunner(agents.RunnerConfig{Config: conf, Factories: agents.All(),
		OpenChip: func(string) (gpio.Chip, error) { return chip.Open(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }() // the cleanup waits for it
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("runner: %v", err)
		}
	})
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
		panic("not reached")
	}
}
