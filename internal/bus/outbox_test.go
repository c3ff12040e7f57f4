package bus

import (
	"testing"
	"time"
)

// What waits is bounded in bytes as well, the count of them follows every way that a message takes, and a single one always waits.
func TestOutboxBytes(t *testing.T) {
	t.Parallel()
	o := outbox{kept: map[string]*item{}}
	check := func(what string, messages int, dropped uint64) {
		t.Helper()
		var sum int64
		for _, it := range o.queue {
			sum += it.m.size()
		}
		if len(o.queue) != messages || o.dropped.Load() != dropped || o.bytes != sum || (o.bytes > sendBytes && messages > 1) {
			t.Errorf("%s: %d messages, %d dropped, %d bytes counted of %d; want %d messages and %d dropped", what, len(o.queue), o.dropped.Load(), o.bytes, sum, messages, dropped)
		}
	}
	mib := Message{Topic: "t", Payload: make([]byte, 1<<20), QoS: 1}
	for range 20 {
		o.send(mib)
	}
	check("20 of a MiB", 7, 13) // and a byte each for the topic
	s := &session{wake: make(chan struct{}, 1)}
	o.attach(s)
	for range 3 {
		if it, ok := o.next(s); it == nil || !ok {
			t.Fatal("nothing to send")
		}
	}
	check("three handed over", 4, 13)
	o.send(mib)
	o.detach("", false)
	check("three back", 7, 14)
	for range strikes {
		o.detach("t", false)
	}
	check("one given up", 6, 15)
	o.send(Message{Topic: "large", Payload: make([]byte, 2*sendBytes)})
	check("one that is too large for all others", 1, 21)
	o.send(Message{Topic: "small"})
	check("one after it", 1, 22)
	for range sendLimit + 5 {
		o.send(Message{Topic: "small"})
	}
	check("many", sendLimit, 22+6)
}

// A loss is said once a minute, with all that was lost meanwhile.
func TestOutboxSaysWhatItLost(t *testing.T) {
	t.Parallel()
	o := outbox{kept: map[string]*item{}}
	begin := time.Now()
	for _, tt := range []struct {
		send  int
		after time.Duration
		want  uint64
	}{{sendLimit, 0, 0}, {3, 0, 3}, {4, sayEvery - 1, 0}, {1, sayEvery, 5}, {0, 3 * sayEvery, 0}, {2, 3 * sayEvery, 2}} {
		for range tt.send {
			o.send(Message{Topic: "t"})
		}
		if got := o.unsaid(begin.Add(tt.after)); got != tt.want {
			t.Errorf("%d more after %v: said %d, want %d", tt.send, tt.after, got, tt.want)
		}
	}
}

// Offer's messages are taken between admit and detach only.
func TestOutboxOffer(t *testing.T) {
	t.Parallel()
	o := outbox{kept: map[string]*item{}}
	m := Message{Topic: "t", QoS: 1}
	if o.offer(m) {
		t.Error("offered without a connection")
	}
	for range 2 {
		o.admit()
		if !o.offer(m) || len(o.queue) != 1 || o.bytes != m.size() {
			t.Errorf("%d messages of %d bytes", len(o.queue), o.bytes)
		}
		o.send(m)
		o.detach("", false)
		if o.offer(m) || len(o.queue) != 1 || o.queue[0].brief || o.bytes != m.size() {
			t.Errorf("after detach: %d messages of %d bytes", len(o.queue), o.bytes)
		}
		o.queue, o.bytes = nil, 0
	}
}
