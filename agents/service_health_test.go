package agents

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// healthOf returns the health that is retained.
func (b *bench) healthOf() reports.Health {
	b.Helper()
	h, ok := reports.ParseHealth([]byte(b.state("/h/s/" + reports.HealthTail)))
	if !ok {
		b.Fatalf("no health is retained: %q", b.state("/h/s/"+reports.HealthTail))
	}
	return h
}

// TestHealth counts what a service does, publishes it once a minute at most and on request, and not at all where nothing happens.
func TestHealth(t *testing.T) {
	t.Parallel()
	a := newFake()
	inBubble(t, nil, func() (Agent, error) { return a, nil }, func(b *bench) {
		b.after(2 * time.Minute)
		b.sent("/h/s/" + reports.HealthTail)
		b.after(5 * time.Minute)
		was, published := b.healthOf(), len(b.sent("/h/s/"+reports.HealthTail))
		if published > 5 {
			t.Errorf("published %d times in five minutes", published)
		}
		if !was.Since.Equal(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) || was.Connects != 0 {
			t.Errorf("health %+v, want one since the start", was)
		}
		a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
			if c.Path == "level" {
				return reports.Reading{}, errors.New("wedged")
			}
			return reports.Reading{Path: c.Path, Value: c.Value, Time: time.Now()}, nil
		}
		b.do("set/relay", "ON")
		b.do("set/level", "3")
		b.do("set/none", "3")
		a.events <- reports.Reading{Path: "button", Value: true, Time: time.Now()}
		b.after(time.Millisecond)
		b.do("get/status/health", `{"id":1}`)
		now := b.healthOf()
		if now.Commands-was.Commands != 3 || now.CommandErrors-was.CommandErrors != 2 || now.Events-was.Events != 1 || now.Publishes <= was.Publishes {
			t.Errorf("health %+v after %+v, want 3 commands more, 2 of them errors, and an event", now, was)
		}
		results := b.results(t)
		answer, err := json.Marshal(results[len(results)-1].Data)
		if h, ok := reports.ParseHealth(answer); err != nil || !ok || h != now {
			t.Errorf("get is answered with %s, want %+v", answer, now)
		}
		b.sent("/h/s/" + reports.HealthTail)
		b.after(time.Minute)
		if n := len(b.sent("/h/s/" + reports.HealthTail)); n != 1 {
			t.Errorf("the answer itself is published %d times within a minute, want once", n)
		}
		a.onSample = func(context.Context, string) (reports.Reading, error) { return reports.Reading{}, errors.New("gone") }
		b.do("get/level", "")
		b.do("get/status/health", "")
		if got := b.healthOf(); got.ReadErrors <= now.ReadErrors {
			t.Errorf("health %+v after a read that failed, before %+v", got, now)
		}
	})
}

// TestHealthOfConnection counts connections at a real broker.
func TestHealthOfConnection(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	startRunner(t, RunnerConfig{Config: parse(t, broker.URL(), t.TempDir(), "  s: {agent: fake}\n"), Factories: []Factory{fakeFactory(func() (Agent, error) { return newFake(), nil })}})
	w := newWatch(t, broker.URL())
	connects := func(want uint64) {
		t.Helper()
		w.publish("/h/s/get/status/health", "", false)
		w.until("health with the connections", func() bool {
			h, ok := reports.ParseHealth(w.last["/h/s/"+reports.HealthTail].Payload)
			return ok && h.Connects >= want && h.Reads > 0
		})
	}
	w.until("a state", func() bool { return len(w.last["/h/s/level"].Payload) > 0 })
	connects(1)
	broker.Stop()
	broker.Start()
	w = newWatch(t, broker.URL())
	w.wantLast("/h/s/status", "online")
	connects(2)
}
