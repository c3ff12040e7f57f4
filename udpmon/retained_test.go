package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// A command with the retain flag is refused by the service, whatever form its topic has: the output stays, and so does nothing
// in the broker.
func TestRetainedCommandIsRefused(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	chip := gpiotest.New("chip", 8)
	conf, err := config.Parse("c.yaml", fmt.Appendf(nil, "host: pi1\nstate_dir: %s\nbroker: {url: %q}\nagents: {gpio: {chip: chip, outputs: {led: {pin: 3, initial: off}}}}\n",
		t.TempDir(), b.m.at.url))
	if err != nil {
		t.Fatal(err)
	}
	r, err := agents.NewRunner(agents.RunnerConfig{Config: conf, Factories: agents.All(), Log: quiet(),
		OpenChip: func(string) (gpio.Chip, error) { return chip.Open(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("runner: %v", err)
		}
	})
	state(t, b.m.at.url, "/pi1/gpio/output/led", "OFF")
	results := listen(t, b.dial(), "/pi1/gpio/result")
	want := func(topic, code string) {
		t.Helper()
		var r reports.Result
		if err := json.Unmarshal(next(t, results, "result of "+topic).Payload, &r); err != nil || r.Code != code || r.OK != (code == "") {
			t.Errorf("%s: %+v, %v; want code %q", topic, r, err, code)
		}
	}
	topics := []string{"/pi1/gpio/set/output/led", "pi1/gpio/set/output/led", "/pi1/set/gpio/output/led", "/set/gpio/output/led", "set/gpio/output/led", "/pi1/gpio/setup"}
	for _, topic := range topics {
		b.retain(topic, "ON")
		want(topic, reports.CodeRetained)
	}
	for _, topic := range topics {
		b.retain(topic, "") // clears, and is no command: no result
	}
	if got := chip.Level(3); got != 0 {
		t.Errorf("the output is %d, want it unchanged", got)
	}
	ghosts := listen(t, bustest.Dial(t, b.m.at.url), append(topics, "/pi1/gpio/set/#", "/end")...)
	b.publish(topics[0], "ON")
	want(topics[0], "")
	b.publish("/end", "")
	for m := next(t, ghosts, "end"); m.Topic != "/end"; m = next(t, ghosts, "end") {
		if m.Retained {
			t.Errorf("%s=%s is retained", m.Topic, m.Payload)
		}
	}
	if got := chip.Level(3); got != 1 {
		t.Errorf("the output is %d after a command without the flag, want 1", got)
	}
}
