// Package chiptest is the suite that every gpio.Chip passes: the kernel's and the one in memory. It is for tests only.
package chiptest

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/gpio"
)

// Board is what a chip's lines are wired to.
type Board interface {
	Drive(offset, value int) // connect a level to an input, from outside
	Level(offset int) int    // the physical level on a line
}

// Open returns a chip of at least 8 lines that nobody holds, named GPIO0 and so on, wired to a board. It cleans up after the test.
type Open func(t *testing.T) (gpio.Chip, Board)

// Run runs the suite, without those of its tests that are named.
func Run(t *testing.T, open Open, without ...string) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, gpio.Chip, Board)
	}{
		{"info", testInfo},
		{"output starts with its value", testInitial},
		{"output", testOutput},
		{"open drain and open source", testDrive},
		{"bias", testBias},
		{"input", testInput},
		{"edges", testEdges},
		{"edges of an active low line", testEdgesActiveLow},
		{"no edges after close", testEdgesClose},
		{"debounce", testDebounce},
		{"as it is", testAsIs},
		{"keep the level", testKeep},
		{"reconfigure an output", testReconfigureOutput},
		{"reconfigure the value", testReconfigureValue},
		{"reconfigure the direction", testDirection},
		{"reconfigure events", testReconfigureEvents},
		{"reconfigure debounce", testReconfigureDebounce},
		{"reconfigure what can't be", testReconfigureErrors},
		{"busy", testBusy},
		{"bad requests", testBadRequests},
		{"line closed", testLineClosed},
		{"chip closed", testChipClosed},
	} {
		if slices.Contains(without, test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			c, b := open(t)
			test.run(t, c, b)
		})
	}
}

func testInfo(t *testing.T, c gpio.Chip, _ Board) {
	Request(t, c, 3, gpio.LineOptions{Consumer: "lamp", Output: true})
	Request(t, c, 4, gpio.LineOptions{})
	Request(t, c, 5, gpio.LineOptions{Consumer: strings.Repeat("x", 40)})
	Request(t, c, 6, gpio.LineOptions{Output: true, ActiveLow: true, Drive: gpio.OpenDrain, Bias: gpio.PullUp})
	Request(t, c, 7, gpio.LineOptions{Bias: gpio.PullDown})
	info, err := c.Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Name == "" || info.Label == "" || len(info.Lines) < 8 {
		t.Fatalf("Info() = %+v, want a name, a label and 8 lines or more", info)
	}
	for _, want := range []gpio.LineInfo{
		{Offset: 2, Name: "GPIO2"},
		{Offset: 3, Name: "GPIO3", Consumer: "lamp", Used: true, Output: true, Drive: gpio.PushPull},
		{Offset: 4, Name: "GPIO4", Consumer: gpio.DefaultConsumer, Used: true},
		{Offset: 5, Name: "GPIO5", Consumer: strings.Repeat("x", 31), Used: true},
		{Offset: 6, Name: "GPIO6", Consumer: gpio.DefaultConsumer, Used: true, Output: true, ActiveLow: true, Drive: gpio.OpenDrain, Bias: gpio.PullUp},
		{Offset: 7, Name: "GPIO7", Consumer: gpio.DefaultConsumer, Used: true, Bias: gpio.PullDown},
	} {
		if got := info.Lines[want.Offset]; got != want {
			t.Errorf("line %d = %+v, want %+v", want.Offset, got, want)
		}
	}
}

func testInitial(t *testing.T, c gpio.Chip, b Board) {
	for offset, test := range []struct {
		value     int
		activeLow bool
		level     int
	}{{0, false, 0}, {1, false, 1}, {0, true, 1}, {1, true, 0}} {
		l := Request(t, c, offset, gpio.LineOptions{Output: true, Value: test.value, ActiveLow: test.activeLow})
		if got := b.Level(offset); got != test.level {
			t.Errorf("output %+v: level = %d", test, got)
		}
		wantValue(t, l, test.value)
	}
}

func testOutput(t *testing.T, c gpio.Chip, b Board) {
	for offset, activeLow := range []bool{false, true} {
		l := Request(t, c, offset, gpio.LineOptions{Output: true, ActiveLow: activeLow})
		for _, value := range []int{1, 1, 0, 1, 0} {
			if err := l.SetValue(value); err != nil {
				t.Fatal(err)
			}
			level := value
			if activeLow {
				level = 1 - value
			}
			if got := b.Level(offset); got != level {
				t.Errorf("active low %t: SetValue(%d): level = %d, want %d", activeLow, value, got, level)
			}
			wantValue(t, l, value)
		}
		if err := l.SetValue(2); err == nil {
			t.Error("SetValue(2): no error")
		}
		wantValue(t, l, 0)
	}
}

// testDrive wants each kind of output to drive the level that it does drive. What it lets go is up to the board, and gpio-sim
// does not simulate that.
func testDrive(t *testing.T, c gpio.Chip, b Board) {
	for offset, test := range []struct {
		drive gpio.Drive
		level int
	}{{gpio.OpenDrain, 0}, {gpio.OpenSource, 1}, {gpio.PushPull, 0}, {gpio.PushPull, 1}} {
		b.Drive(offset, 1-test.level)
		l := Request(t, c, offset, gpio.LineOptions{Output: true, Value: test.level, Drive: test.drive})
		wantValue(t, l, test.level)
		if got := b.Level(offset); got != test.level {
			t.Errorf("%s output of %d: level = %d", test.drive, test.level, got)
		}
	}
}

func testBias(t *testing.T, c gpio.Chip, _ Board) {
	wantValue(t, Request(t, c, 0, gpio.LineOptions{Bias: gpio.PullUp}), 1)
	wantValue(t, Request(t, c, 1, gpio.LineOptions{Bias: gpio.PullDown}), 0)
	wantValue(t, Request(t, c, 2, gpio.LineOptions{Bias: gpio.PullUp, ActiveLow: true}), 0)
	wantValue(t, Request(t, c, 3, gpio.LineOptions{Bias: gpio.PullDown, ActiveLow: true}), 1)
	wantValue(t, Request(t, c, 4, gpio.LineOptions{Bias: gpio.PullNone}), 0)
}

func testInput(t *testing.T, c gpio.Chip, b Board) {
	high := Request(t, c, 0, gpio.LineOptions{Bias: gpio.PullUp})
	low := Request(t, c, 1, gpio.LineOptions{ActiveLow: true})
	for _, level := range []int{0, 1, 0} {
		b.Drive(0, level)
		b.Drive(1, level)
		wantValue(t, high, level)
		wantValue(t, low, 1-level)
	}
	for _, value := range []int{0, 1} {
		if err := high.SetValue(value); !errors.Is(err, syscall.EPERM) {
			t.Errorf("SetValue(%d) of an input: error %v, want EPERM", value, err)
		}
	}
	wantValue(t, high, 0)
}

func testBusy(t *testing.T, c gpio.Chip, b Board) {
	l := Request(t, c, 6, gpio.LineOptions{Consumer: "door lock", Output: true, Value: 1})
	_, err := c.Request(6, gpio.LineOptions{Output: true})
	if !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("second request: error %v, want EBUSY", err)
	}
	for _, want := range []string{`"door lock"`, "line 6", "GPIO6"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("second request: error %q, want %s in it", err, want)
		}
	}
	var refused *gpio.RequestError
	if !errors.As(err, &refused) || refused.Line.Consumer != "door lock" {
		t.Errorf("second request: error %#v, want a RequestError with the holder", err)
	}
	if _, err := c.Request(6, gpio.LineOptions{Events: func(gpio.Event) {}}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("request with events: error %v, want EBUSY", err)
	}
	if got := b.Level(6); got != 1 {
		t.Errorf("level after the refused requests = %d, want 1 as before", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	Request(t, c, 6, gpio.LineOptions{})
}

func testBadRequests(t *testing.T, c gpio.Chip, _ Board) {
	events := func(gpio.Event) {}
	for _, test := range []struct {
		offset int
		o      gpio.LineOptions
		want   string // in the error
	}{
		{-1, gpio.LineOptions{}, "line -1"},
		{1 << 20, gpio.LineOptions{}, "the chip has the lines 0 to"},
		{0, gpio.LineOptions{Bias: "sideways"}, `bias "sideways"`},
		{0, gpio.LineOptions{Output: true, Drive: "hard"}, `drive "hard"`},
		{0, gpio.LineOptions{Drive: gpio.OpenDrain}, "only an output"},
		{0, gpio.LineOptions{Value: 1}, "only an output"},
		{0, gpio.LineOptions{Output: true, Value: 2}, "value 2"},
		{0, gpio.LineOptions{Output: true, Debounce: time.Second}, "only an input"},
		{0, gpio.LineOptions{Output: true, Events: events}, "only an input"},
		{0, gpio.LineOptions{Debounce: -1}, "debounce"},
		{0, gpio.LineOptions{Debounce: 2 * time.Hour}, "debounce 2h0m0s"},
		{0, gpio.LineOptions{Consumer: "a\x00b"}, "NUL"},
		{0, gpio.LineOptions{AsIs: true, Output: true}, "output: not for a line that is taken as it is"},
		{0, gpio.LineOptions{AsIs: true, Value: 1}, "value"},
		{0, gpio.LineOptions{AsIs: true, Bias: gpio.PullUp}, "bias"},
		{0, gpio.LineOptions{AsIs: true, Drive: gpio.OpenDrain}, "drive"},
		{0, gpio.LineOptions{AsIs: true, Debounce: time.Second}, "debounce"},
		{0, gpio.LineOptions{AsIs: true, Events: events}, "events"},
		{0, gpio.LineOptions{Gone: func() {}}, "only a line with events"},
		{0, gpio.LineOptions{Output: true, Gone: func() {}}, "only an input"},
	} {
		l, err := c.Request(test.offset, test.o)
		if err == nil {
			t.Errorf("Request(%d, %+v): no error", test.offset, test.o)
			_ = l.Close() // the test has failed already
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("Request(%d, %+v): error %q, want %q in it", test.offset, test.o, err, test.want)
		}
	}
	Request(t, c, 0, gpio.LineOptions{}) // nothing of it was half-applied
}
