package gpiotest_test

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/gpio"
	"rollcall/gpio/chiptest"
	"rollcall/gpio/gpiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newChip returns a chip that is closed when the test ends.
func newChip(t *testing.T) *gpiotest.Chip {
	t.Helper()
	c := gpiotest.New("bank", 8)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func value(t *testing.T, l gpio.Line) int {
	t.Helper()
	v, err := l.Value()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func set(t *testing.T, l gpio.Line, v int) {
	t.Helper()
	if err := l.SetValue(v); err != nil {
		t.Fatal(err)
	}
}

func levels(changes []gpiotest.Change) []int {
	var got []int
	for _, c := range changes {
		got = append(got, c.Level)
	}
	return got
}

func TestConformance(t *testing.T) {
	t.Parallel()
	chiptest.Run(t, func(t *testing.T) (gpio.Chip, chiptest.Board) {
		t.Parallel()
		c := newChip(t)
		return c, c
	})
}

func TestSim(t *testing.T) {
	t.Parallel()
	info, err := gpiotest.Sim().Info()
	if err != nil || info.Label != "sim" || len(info.Lines) != 28 || info.Lines[27].Name != "GPIO27" {
		t.Errorf("Sim().Info() = %+v, %v, want label sim with the lines GPIO0 to GPIO27", info, err)
	}
	if offset, err := info.Find("pin22"); err != nil || offset != 25 {
		t.Errorf("Find(pin22) = %d, %v, want 25", offset, err)
	}
}

// TestWiring looks at all that can make a level together.
func TestWiring(t *testing.T) {
	t.Parallel()
	const float = -1
	for _, test := range []struct {
		name     string
		o        gpio.LineOptions
		external int
		want     int
	}{
		{"floating input", gpio.LineOptions{}, float, 0},
		{"pulled up", gpio.LineOptions{Bias: gpio.PullUp}, float, 1},
		{"pulled up and driven", gpio.LineOptions{Bias: gpio.PullUp}, 0, 0},
		{"pulled down and driven", gpio.LineOptions{Bias: gpio.PullDown}, 1, 1},
		{"no pull", gpio.LineOptions{Bias: gpio.PullNone}, float, 0},
		{"output against a driver", gpio.LineOptions{Output: true}, 1, 0},
		{"open drain lets go", gpio.LineOptions{Output: true, Value: 1, Drive: gpio.OpenDrain}, float, 0},
		{"open drain lets go of a pull-up", gpio.LineOptions{Output: true, Value: 1, Drive: gpio.OpenDrain, Bias: gpio.PullUp}, float, 1},
		{"open drain held low by another", gpio.LineOptions{Output: true, Value: 1, Drive: gpio.OpenDrain, Bias: gpio.PullUp}, 0, 0},
		{"open drain pulls", gpio.LineOptions{Output: true, Value: 0, Drive: gpio.OpenDrain, Bias: gpio.PullUp}, 1, 0},
		{"open drain, active low, pulls", gpio.LineOptions{Output: true, Value: 1, ActiveLow: true, Drive: gpio.OpenDrain}, 1, 0},
		{"open source lets go", gpio.LineOptions{Output: true, Value: 0, Drive: gpio.OpenSource, Bias: gpio.PullUp}, float, 1},
		{"open source pushes", gpio.LineOptions{Output: true, Value: 1, Drive: gpio.OpenSource}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newChip(t)
			c.Drive(0, 1)
			if test.external == float {
				c.Release(0)
			} else {
				c.Drive(0, test.external)
			}
			l := chiptest.Request(t, c, 0, test.o)
			if got := c.Level(0); got != test.want {
				t.Errorf("level = %d, want %d", got, test.want)
			}
			want := test.want
			if test.o.ActiveLow {
				want = 1 - want
			}
			if got := value(t, l); got != want {
				t.Errorf("value = %d, want %d", got, want)
			}
		})
	}
}

// TestBiasStays wants a pull to outlast the line that asked for it, as in a real chip, until another asks for another.
func TestBiasStays(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	for _, step := range []struct {
		bias gpio.Bias
		want int
	}{{gpio.PullUp, 1}, {gpio.BiasAsIs, 1}, {gpio.PullNone, 0}, {gpio.BiasAsIs, 0}} {
		l, err := c.Request(0, gpio.LineOptions{Bias: step.bias})
		if err != nil {
			t.Fatal(err)
		}
		if got := value(t, l); got != step.want {
			t.Errorf("bias %q: value = %d, want %d", step.bias, got, step.want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistory wants every change and no other: a line that is requested at the level that it has does not move.
func TestHistory(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	c.Drive(0, 1)
	l := chiptest.Request(t, c, 0, gpio.LineOptions{Output: true, Value: 0, ActiveLow: true})
	for _, v := range []int{0, 1, 1, 0} {
		set(t, l, v)
	}
	c.Drive(0, 0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h := c.History(0)
	if got, want := levels(h), []int{1, 0, 1, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("levels = %v, want %v", got, want)
	}
	for i := 1; i < len(h); i++ {
		if h[i].Time.Before(h[i-1].Time) {
			t.Errorf("change %d was before the one before", i)
		}
	}
	for i := range 1000 {
		c.Drive(1, (i+1)%2)
	}
	if got := len(c.History(1)); got != 256 {
		t.Errorf("history of 1000 changes has %d, want 256", got)
	}
}

// TestWatch has a simulated sensor that answers each trigger with an echo, from where changes are delivered.
func TestWatch(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	const trigger, echo = 0, 1
	stop := c.Watch(trigger, func(change gpiotest.Change) { c.Drive(echo, change.Level) })
	var echoes []bool
	chiptest.Request(t, c, echo, gpio.LineOptions{Events: func(e gpio.Event) { echoes = append(echoes, e.Rising) }})
	l := chiptest.Request(t, c, trigger, gpio.LineOptions{Output: true})
	for _, v := range []int{1, 0, 1} {
		set(t, l, v)
	}
	c.Wait()
	if want := []bool{true, false, true}; !reflect.DeepEqual(echoes, want) {
		t.Errorf("echoes = %v, want %v", echoes, want)
	}
	stop()
	stop()
	set(t, l, 0)
	c.Wait()
	if got := c.Level(echo); got != 1 {
		t.Errorf("echo after the watch was stopped = %d, want 1 as before", got)
	}
}

// TestOverflow wants of a reader that is late the newest edges, and a gap where the oldest are lost.
func TestOverflow(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	const made = gpio.EventBuffer + 10
	var got []uint32
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	chiptest.Request(t, c, 0, gpio.LineOptions{Events: func(e gpio.Event) {
		once.Do(func() { close(entered) })
		<-release
		got = append(got, e.Seq)
	}})
	c.Drive(0, 1)
	<-entered
	for i := 1; i < made; i++ {
		c.Drive(0, (i+1)%2)
	}
	close(release)
	c.Wait()
	if len(got) != gpio.EventBuffer+1 || got[0] != 1 || got[1] != 11 || got[len(got)-1] != made {
		t.Errorf("got %d events: %v …, want the first, a gap, and the last %d", len(got), got[:min(3, len(got))], gpio.EventBuffer)
	}
}

// TestOrder wants the edges of several lines in the order in which they were made.
func TestOrder(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	var got []int
	for offset := range 4 {
		chiptest.Request(t, c, offset, gpio.LineOptions{Events: func(e gpio.Event) { got = append(got, e.Offset) }})
	}
	var want []int
	for i := range 100 {
		offset := i * 7 % 4
		c.Drive(offset, 1-c.Level(offset))
		want = append(want, offset)
	}
	c.Wait()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
}

// TestDebounceTime wants the edge exactly one period after the last bounce.
func TestDebounceTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChip(t)
		pass := func(d time.Duration) { <-time.After(d) } // by the bubble's clock, in no time
		const period = 10 * time.Millisecond
		var got []gpio.Event
		l := chiptest.Request(t, c, 0, gpio.LineOptions{Debounce: period, Events: func(e gpio.Event) { got = append(got, e) }})
		for i := range 5 {
			c.Drive(0, (i+1)%2)
			pass(period - 1)
		}
		if len(got) != 0 || value(t, l) != 0 {
			t.Errorf("while it bounces: events %v, value %d, want none, 0", got, value(t, l))
		}
		pass(1)
		synctest.Wait()
		if len(got) != 1 || !got[0].Rising || value(t, l) != 1 {
			t.Errorf("one period later: events %v, value %d, want one rising, 1", got, value(t, l))
		}
		c.Drive(0, 0)
		pass(period / 2)
		c.Drive(0, 1)
		pass(time.Second)
		if len(got) != 1 {
			t.Errorf("after a spike: events %v, want no other", got)
		}
		c.Drive(0, 0)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if len(got) != 1 {
			t.Errorf("after close: events %v, want no other", got)
		}
	})
}

func TestHog(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	c.Hog(3, "act-led")
	c.Rename(3, "STATUS_LED")
	_, err := c.Request(3, gpio.LineOptions{})
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), `line 3 (STATUS_LED) of bank: held by "act-led"`) {
		t.Errorf("request of a hogged line: error %v, want EBUSY and the holder", err)
	}
	info, err := c.Info()
	if want := (gpio.LineInfo{Offset: 3, Name: "STATUS_LED", Consumer: "act-led", Used: true}); err != nil || info.Lines[3] != want {
		t.Errorf("info = %+v, %v, want %+v", info.Lines[3], err, want)
	}
	c.Hog(3, "")
	chiptest.Request(t, c, 3, gpio.LineOptions{})
}

// TestOpen has two programs with the same chip.
func TestOpen(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	mine := chiptest.Request(t, c, 0, gpio.LineOptions{Output: true, Value: 1})
	other := c.Open()
	if _, err := other.Request(0, gpio.LineOptions{}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("request of the other one's line: error %v, want EBUSY", err)
	}
	theirs := chiptest.Request(t, other, 1, gpio.LineOptions{Output: true, Value: 1})
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Value(); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("value of a line of the closed chip: error %v, want ErrClosed", err)
	}
	if got := []int{c.Level(0), c.Level(1), value(t, mine)}; !reflect.DeepEqual(got, []int{1, 0, 1}) {
		t.Errorf("levels of mine and theirs, and my value = %v, want 1, 0, 1", got)
	}
}

// TestConcurrent does everything at once; the race detector looks on.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	c := newChip(t)
	defer c.Watch(0, func(gpiotest.Change) { c.Level(1) })()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				offset := (worker + i) % 3
				c.Drive(offset, i%2)
				l, err := c.Request(offset, gpio.LineOptions{Bias: gpio.PullUp, Debounce: time.Microsecond * time.Duration(i%2), Events: func(gpio.Event) { c.Level(2) }})
				if errors.Is(err, syscall.EBUSY) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := l.Value(); err != nil {
					t.Error(err)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	info, err := c.Info()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range info.Lines {
		if l.Used {
			t.Errorf("line %d is still held by %q", l.Offset, l.Consumer)
		}
	}
}
