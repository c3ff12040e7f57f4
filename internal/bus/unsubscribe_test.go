package bus_test

import (
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// What was unsubscribed comes no more, also after a reconnect; what others want of it still does.
func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	up := make(chan struct{}, 10)
	client, stop := start(t, bus.Config{URL: b.URL(), OnUp: func() { up <- struct{}{} }})
	defer stop()
	receive(t, up, "connection")
	ctx := within(t, 10*time.Second)
	got := make(chan bus.Message, 100)
	other := make(chan bus.Message, 100)
	for _, s := range []struct {
		to      chan bus.Message
		filters []string
	}{{got, []string{"a/+"}}, {other, []string{"a/+", "end"}}} {
		if err := client.Subscribe(ctx, 1, func(m bus.Message) { s.to <- m }, s.filters...); err != nil {
			t.Fatal(err)
		}
	}
	client.Unsubscribe("end") // stands beside another filter: not meant
	client.Unsubscribe("never")
	for round := range 2 {
		if round == 1 {
			client.Unsubscribe("a/+")
			b.Stop()
			b.Start()
			receive(t, up, "reconnect")
		}
		pub := bustest.Dial(t, b.URL())
		for _, topic := range []string{"a/x", "end"} {
			if err := pub.Publish(ctx, bus.Message{Topic: topic, QoS: 1}); err != nil {
				t.Fatal(err)
			}
		}
		for _, topic := range []string{"a/x", "end"} {
			if m := receive(t, other, topic); m.Topic != topic {
				t.Errorf("got %s, want %s", m.Topic, topic)
			}
		}
	}
	if len(got) != 1 {
		t.Errorf("the handler was called %d times, want once: before it was unsubscribed", len(got))
	}
}
