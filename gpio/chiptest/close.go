package chiptest

import (
	"errors"
	"testing"

	"rollcall/gpio"
)

// Request takes a line until the test ends.
func Request(t *testing.T, c gpio.Chip, offset int, o gpio.LineOptions) gpio.Line {
	t.Helper()
	l, err := c.Request(offset, o)
	if err != nil {
		t.Fatalf("Request(%d, %+v): %v", offset, o, err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close line %d: %v", offset, err)
		}
	})
	return l
}

func wantValue(t *testing.T, l gpio.Line, want int) {
	t.Helper()
	got, err := l.Value()
	if err != nil || got != want {
		t.Errorf("Value() = %d, %v, want %d", got, err, want)
	}
}

func wantClosed(t *testing.T, l gpio.Line) {
	t.Helper()
	if v, err := l.Value(); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("Value() of a closed line = %d, %v, want ErrClosed", v, err)
	}
	if err := l.SetValue(0); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("SetValue() of a closed line: error %v, want ErrClosed", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close() of a closed line: error %v, want none", err)
	}
}

// testLineClosed looks at lines that are closed: an output no longer drives its line.
func testLineClosed(t *testing.T, c gpio.Chip, b Board) {
	out := Request(t, c, 0, gpio.LineOptions{Output: true, Value: 1})
	in := Request(t, c, 1, gpio.LineOptions{Events: func(gpio.Event) {}})
	for _, l := range []gpio.Line{out, in} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, l)
	}
	if got := b.Level(0); got != 0 {
		t.Errorf("level of a closed output = %d, want 0", got)
	}
	b.Drive(0, 1)
	if got := b.Level(0); got != 1 {
		t.Errorf("level of a closed output that is driven from outside = %d, want 1", got)
	}
	wantValue(t, Request(t, c, 0, gpio.LineOptions{}), 1)
}

func testChipClosed(t *testing.T, c gpio.Chip, b Board) {
	out := Request(t, c, 0, gpio.LineOptions{Output: true, Value: 1})
	in := Request(t, c, 1, gpio.LineOptions{Events: func(gpio.Event) {}})
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantClosed(t, out)
	wantClosed(t, in)
	if got := b.Level(0); got != 0 {
		t.Errorf("level of an output of a closed chip = %d, want 0", got)
	}
	if _, err := c.Info(); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("Info() of a closed chip: error %v, want ErrClosed", err)
	}
	if l, err := c.Request(2, gpio.LineOptions{}); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("Request() from a closed chip = %v, %v, want ErrClosed", l, err)
	}
}
