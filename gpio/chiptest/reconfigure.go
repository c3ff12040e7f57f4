package chiptest

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/gpio"
)

func reconfigure(t *testing.T, l gpio.Line, o gpio.LineOptions) {
	t.Helper()
	if err := l.Reconfigure(o); err != nil {
		t.Fatalf("Reconfigure(%+v): %v", o, err)
	}
}

func wantLevel(t *testing.T, b Board, offset, want int, when string) {
	t.Helper()
	if got := b.Level(offset); got != want {
		t.Errorf("level %s = %d, want %d", when, got, want)
	}
}

// testAsIs wants a line that is taken as it is to be read and left alone.
func testAsIs(t *testing.T, c gpio.Chip, b Board) {
	for offset, activeLow := range []bool{false, true} {
		b.Drive(offset, 1)
		l := Request(t, c, offset, gpio.LineOptions{AsIs: true, ActiveLow: activeLow, Consumer: "looker"})
		for _, level := range []int{1, 0, 1} {
			b.Drive(offset, level)
			want := level
			if activeLow {
				want = 1 - level
			}
			wantValue(t, l, want)
			wantLevel(t, b, offset, level, "of a line that is taken as it is")
		}
		if err := l.SetValue(0); !errors.Is(err, syscall.EPERM) {
			t.Errorf("SetValue of a line that is taken as it is: error %v, want EPERM", err)
		}
		wantLevel(t, b, offset, 1, "after SetValue")
		info, err := c.Info()
		if want := (gpio.LineInfo{Offset: offset, Name: info.Lines[offset].Name, Consumer: "looker", Used: true, ActiveLow: activeLow}); err != nil || info.Lines[offset] != want {
			t.Errorf("info = %+v, %v, want %+v", info.Lines[offset], err, want)
		}
	}
}

// testKeep makes an output of a line without its level moving, whatever it is: what `initial: keep` is made of.
func testKeep(t *testing.T, c gpio.Chip, b Board) {
	for offset, test := range []struct {
		level     int
		activeLow bool
	}{{0, false}, {1, false}, {0, true}, {1, true}} {
		b.Drive(offset, test.level)
		l := Request(t, c, offset, gpio.LineOptions{AsIs: true, ActiveLow: test.activeLow})
		value, err := l.Value()
		if err != nil {
			t.Fatal(err)
		}
		stays := watch(t, b, offset, test.level)
		reconfigure(t, l, gpio.LineOptions{Output: true, Value: value, ActiveLow: test.activeLow})
		stays("made an output")
		wantValue(t, l, value)
		b.Drive(offset, 1-test.level)
		wantLevel(t, b, offset, test.level, "of an output that is driven against from outside")
		if err := l.SetValue(1 - value); err != nil {
			t.Fatal(err)
		}
		wantLevel(t, b, offset, 1-test.level, "after SetValue")
	}
}

// testReconfigureOutput changes all about an output but its level.
func testReconfigureOutput(t *testing.T, c gpio.Chip, b Board) {
	for offset, level := range []int{0, 1} {
		low := gpio.LineOptions{Output: true, Value: 1 - level, ActiveLow: true}
		high := gpio.LineOptions{Output: true, Value: level}
		driving := gpio.OpenDrain // drives its level
		if level == 1 {
			driving = gpio.OpenSource
		}
		l := Request(t, c, offset, gpio.LineOptions{Output: true, Value: 1 - level})
		if err := l.SetValue(level); err != nil {
			t.Fatal(err)
		}
		stays := watch(t, b, offset, level)
		for _, drive := range []gpio.Drive{gpio.PushPull, driving, ""} {
			for _, bias := range []gpio.Bias{gpio.BiasAsIs, gpio.PullUp, gpio.PullDown, gpio.PullNone} {
				for _, o := range []gpio.LineOptions{high, low, high} {
					o.Drive, o.Bias = drive, bias
					reconfigure(t, l, o)
					wantValue(t, l, o.Value)
				}
			}
		}
		stays("reconfigured")
	}
}

// testReconfigureValue wants the value of the options, as a request does.
func testReconfigureValue(t *testing.T, c gpio.Chip, b Board) {
	l := Request(t, c, 0, gpio.LineOptions{Output: true, Consumer: "lamp"})
	for _, test := range []struct {
		o     gpio.LineOptions
		level int
	}{
		{gpio.LineOptions{Output: true, Value: 1}, 1},
		{gpio.LineOptions{Output: true}, 0},
		{gpio.LineOptions{Output: true, ActiveLow: true}, 1},
		{gpio.LineOptions{Output: true, Value: 1, ActiveLow: true, Consumer: "other"}, 0},
	} {
		reconfigure(t, l, test.o)
		wantLevel(t, b, 0, test.level, "after Reconfigure")
		wantValue(t, l, test.o.Value)
	}
	info, err := c.Info()
	want := gpio.LineInfo{Offset: 0, Name: "GPIO0", Consumer: "lamp", Used: true, Output: true, ActiveLow: true, Drive: gpio.PushPull}
	if err != nil || info.Lines[0] != want {
		t.Errorf("info = %+v, %v, want %+v", info.Lines[0], err, want)
	}
}

// testDirection turns an input into an output and back.
func testDirection(t *testing.T, c gpio.Chip, b Board) {
	b.Drive(2, 0)
	l := Request(t, c, 2, gpio.LineOptions{Bias: gpio.PullDown})
	for range 2 {
		reconfigure(t, l, gpio.LineOptions{Output: true, Value: 1})
		wantLevel(t, b, 2, 1, "of an input made an output")
		if err := l.SetValue(0); err != nil {
			t.Fatal(err)
		}
		wantLevel(t, b, 2, 0, "after SetValue")
		reconfigure(t, l, gpio.LineOptions{Bias: gpio.PullDown, ActiveLow: true})
		b.Drive(2, 1)
		wantValue(t, l, 0)
		b.Drive(2, 0)
		wantValue(t, l, 1)
		if err := l.SetValue(0); !errors.Is(err, syscall.EPERM) {
			t.Errorf("SetValue of an output made an input: error %v, want EPERM", err)
		}
	}
}

// testReconfigureErrors wants a refused change to change nothing.
func testReconfigureErrors(t *testing.T, c gpio.Chip, b Board) {
	l := Request(t, c, 3, gpio.LineOptions{Output: true, Value: 1})
	stays := watch(t, b, 3, 1)
	for _, test := range []struct {
		o    gpio.LineOptions
		want string
	}{
		{gpio.LineOptions{Output: true, Value: 2}, "value 2"},
		{gpio.LineOptions{Drive: gpio.OpenDrain}, "only an output"},
		{gpio.LineOptions{AsIs: true, Bias: gpio.PullUp}, "bias"},
		{gpio.LineOptions{Bias: "sideways"}, `bias "sideways"`},
		{gpio.LineOptions{AsIs: true}, "reconfigure line 3 (GPIO3) of"},
	} {
		if err := l.Reconfigure(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Reconfigure(%+v): error %v, want %q in it", test.o, err, test.want)
		}
	}
	if err := l.Reconfigure(gpio.LineOptions{AsIs: true}); !errors.Is(err, syscall.EOPNOTSUPP) || gpio.Missing(err) != gpio.FeatureReconfigure {
		t.Errorf("Reconfigure as is: error %v, want EOPNOTSUPP and %s", err, gpio.FeatureReconfigure)
	}
	stays("refused what was asked")
	if err := l.SetValue(0); err != nil {
		t.Errorf("SetValue after what was refused: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reconfigure(gpio.LineOptions{}); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("Reconfigure of a closed line: error %v, want ErrClosed", err)
	}
}

// testReconfigureEvents gives a held line events, takes them away and gives it others: each time the edges of that time only.
func testReconfigureEvents(t *testing.T, c gpio.Chip, b Board) {
	events := make(chan gpio.Event, gpio.EventBuffer)
	with := func(activeLow bool) gpio.LineOptions {
		return gpio.LineOptions{ActiveLow: activeLow, Events: func(e gpio.Event) { events <- e }}
	}
	l := Request(t, c, 4, gpio.LineOptions{Bias: gpio.PullDown})
	for _, activeLow := range []bool{false, true} {
		reconfigure(t, l, with(activeLow))
		for i, level := range []int{1, 0, 1, 0} {
			b.Drive(4, level)
			if e := next(t, events); e.Seq != uint32(i+1) || e.Offset != 4 || e.Rising != ((level == 1) != activeLow) {
				t.Errorf("active low %t: event for level %d = %+v, want seq %d", activeLow, level, e, i+1)
			}
		}
	}
	reconfigure(t, l, gpio.LineOptions{Output: true})
	for _, v := range []int{1, 0} {
		if err := l.SetValue(v); err != nil {
			t.Fatal(err)
		}
		wantLevel(t, b, 4, v, "of an input with events made an output")
	}
	reconfigure(t, l, gpio.LineOptions{Bias: gpio.PullDown})
	b.Drive(4, 1)
	wantValue(t, l, 1)
	reconfigure(t, l, with(false))
	b.Drive(4, 0)
	if e := next(t, events); e.Seq != 1 || e.Rising {
		t.Errorf("first event after all = %+v, want falling, seq 1", e)
	}
	wantNone(t, events)
}

// testReconfigureDebounce switches debouncing on and off on a held line.
func testReconfigureDebounce(t *testing.T, c gpio.Chip, b Board) {
	const period = 50 * time.Millisecond
	const jiffy = 10 * time.Millisecond // of the coarsest kernel: it counts the one that has begun as whole
	events := make(chan gpio.Event, gpio.EventBuffer)
	o := gpio.LineOptions{Events: func(e gpio.Event) { events <- e }} // no bias: in gpio-sim that is the same as what Drive does
	l := Request(t, c, 5, o)
	for i, debounce := range []time.Duration{0, period, 2 * period, 0, period} {
		o.Debounce = debounce
		reconfigure(t, l, o)
		info, err := c.Info()
		if err != nil || info.Lines[5].Debounce != debounce {
			t.Errorf("%d: info has the period %v, %v, want %v", i, info.Lines[5].Debounce, err, debounce)
		}
		level := (i + 1) % 2
		start := time.Now()
		b.Drive(5, level)
		if e := next(t, events); e.Seq != 1 || e.Rising != (level == 1) || time.Since(start) < debounce-jiffy {
			t.Errorf("%d: event %+v after %v, want seq 1, level %d, after %v", i, e, time.Since(start), level, debounce)
		}
		wantValue(t, l, level)
	}
	wantNone(t, events)
}
