package main

import (
	"context"
	"encoding/json"
	"fmt"
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

// gpio runs the gpio service with one output, led on line 3, at the host's broker.
func (b *bed) gpio() *gpiotest.Chip {
	b.t.Helper()
	chip := gpiotest.New("chip", 8)
	conf, err := config.Parse("c.yaml", fmt.Appendf(nil, "host: pi1\nstate_dir: %s\nbroker: {url: %q}\nagents: {gpio: {chip: chip, outputs: {led: {pin: 3, initial: off}}}}\n",
		b.t.TempDir(), b.m.at.url))
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := agents.NewRunner(agents.RunnerConfig{Config: conf, Factories: agents.All(), Log: quiet(),
		OpenChip: func(string) (gpio.Chip, error) { return chip.Open(), nil }})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("runner: %v", err)
		}
	})
	state(b.t, b.m.at.url, "/pi1/gpio/output/led", "OFF")
	return chip
}

// A command with the retain flag is refused by the service, whatever form its topic has: the output stays, and so does nothing
// in the broker.
func TestRetainedCommandIsRefused(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	chip := b.gpio()
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

// Every command of a burst gets its one result, on both topics: those that found no room are told that the service is busy.
func TestBurstOfCommands(t *testing.T) {
	t.Parallel()
	const n = 1000
	b := startBed(t, nil)
	b.gpio()
	got := listen(t, b.dial(), "/pi1/gpio/result", "/answers")
	sender := bustest.Dial(t, b.m.at.url)
	for i := range n {
		sender.Send(bus.Message{Topic: "/pi1/gpio/set/output/led", QoS: 1, Payload: fmt.Appendf(nil, `{"value":"toggle","id":"c%d","reply":"/answers"}`, i)})
	}
	results := map[string]map[string]int{"/pi1/gpio/result": {}, "/answers": {}}
	codes := map[string]int{}
	late := time.After(limit)
	for range 2 * n {
		select {
		case m := <-got:
			var r reports.Result
			if err := json.Unmarshal(m.Payload, &r); err != nil {
				t.Fatal(err)
			}
			results[m.Topic][string(r.ID)]++
			codes[r.Code]++
		case <-late:
			t.Fatalf("%d results and %d replies of %d; codes %v", len(results["/pi1/gpio/result"]), len(results["/answers"]), n, codes)
		}
	}
	for topic, ids := range results {
		if len(ids) != n {
			t.Errorf("%s: results of %d commands, want %d", topic, len(ids), n)
		}
	}
	if codes[""]+codes[reports.CodeBusy] != 2*n {
		t.Errorf("codes are %v, want none but %s", codes, reports.CodeBusy)
	}
	t.Logf("codes %v", codes)
}
