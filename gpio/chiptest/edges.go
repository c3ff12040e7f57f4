package chiptest

import (
	"testing"
	"time"

	"rollcall/gpio"
)

// patience is how long an event may take on a machine that is busy.
const patience = 10 * time.Second

// edges requests an input and returns its events.
func edges(t *testing.T, c gpio.Chip, offset int, o gpio.LineOptions) (gpio.Line, <-chan gpio.Event) {
	t.Helper()
	events := make(chan gpio.Event, gpio.EventBuffer)
	o.Events = func(e gpio.Event) { events <- e }
	return Request(t, c, offset, o), events
}

func next(t *testing.T, events <-chan gpio.Event) gpio.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(patience):
		t.Fatalf("no event after %v", patience)
		return gpio.Event{}
	}
}

func wantNone(t *testing.T, events <-chan gpio.Event) {
	t.Helper()
	select {
	case e := <-events:
		t.Errorf("event %+v, want none", e)
	default:
	}
}

func testEdges(t *testing.T, c gpio.Chip, b Board) {
	const changes = 20
	l, events := edges(t, c, 2, gpio.LineOptions{Bias: gpio.PullDown})
	var last time.Duration
	for i := range changes {
		level := (i + 1) % 2
		b.Drive(2, level)
		e := next(t, events)
		if e.Offset != 2 || e.Rising != (level == 1) || e.Seq != uint32(i+1) {
			t.Errorf("event %d = %+v, want offset 2, rising %t, seq %d", i, e, level == 1, i+1)
		}
		if e.Time < last {
			t.Errorf("event %d: time %v is before that of the one before, %v", i, e.Time, last)
		}
		last = e.Time
		wantValue(t, l, level)
		b.Drive(2, level) // the same again is no edge
	}
	wantNone(t, events)
}

func testEdgesActiveLow(t *testing.T, c gpio.Chip, b Board) {
	l, events := edges(t, c, 3, gpio.LineOptions{Bias: gpio.PullUp, ActiveLow: true})
	wantValue(t, l, 0)
	for i, level := range []int{0, 1, 0} {
		b.Drive(3, level)
		e := next(t, events)
		if e.Rising != (level == 0) || e.Seq != uint32(i+1) {
			t.Errorf("level %d: event %+v, want rising %t, seq %d", level, e, level == 0, i+1)
		}
		wantValue(t, l, 1-level)
	}
}

// testEdgesClose closes a line, takes it again, and wants the edges of the second time only, counted from one.
func testEdgesClose(t *testing.T, c gpio.Chip, b Board) {
	first, before := edges(t, c, 4, gpio.LineOptions{Bias: gpio.PullDown})
	b.Drive(4, 1)
	next(t, before)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	b.Drive(4, 0)
	_, after := edges(t, c, 4, gpio.LineOptions{})
	b.Drive(4, 1)
	if e := next(t, after); e.Seq != 1 || !e.Rising {
		t.Errorf("first event after the line was taken again = %+v, want rising, seq 1", e)
	}
	wantNone(t, before)
	wantNone(t, after)
}

// testDebounce wants of a contact that bounces one edge, and the value to stay until it has settled.
func testDebounce(t *testing.T, c gpio.Chip, b Board) {
	const period = 200 * time.Millisecond
	l, events := edges(t, c, 5, gpio.LineOptions{Bias: gpio.PullDown, Debounce: period})
	for i, level := range []int{1, 0} {
		start := time.Now()
		for range 3 {
			b.Drive(5, level)
			b.Drive(5, 1-level)
		}
		b.Drive(5, level)
		v, err := l.Value()
		if took := time.Since(start); took >= period {
			t.Skipf("this machine is too busy: bouncing took %v, longer than the period of %v", took, period)
		}
		if err != nil || v != 1-level {
			t.Errorf("value while it bounces = %d, %v, want %d", v, err, 1-level)
		}
		e := next(t, events)
		if took := time.Since(start); took < period {
			t.Errorf("event came after %v, want %v or later", took, period)
		}
		if e.Rising != (level == 1) || e.Seq != uint32(i+1) {
			t.Errorf("event = %+v, want rising %t, seq %d: one edge for all that bounced", e, level == 1, i+1)
		}
		wantValue(t, l, level)
	}
	wantNone(t, events)
}
