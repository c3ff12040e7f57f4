//go:build linux

package gpio_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiosim"
	"github.com/warthog618/gpiod"

	"rollcall/gpio"
	"rollcall/gpio/chiptest"
)

// observer notes what the kernel tells all programs that happens to a line: that it was requested, released, reconfigured.
type observer struct {
	mu   sync.Mutex
	seen []gpiod.LineInfoChangeType
}

// observe begins to note; wait waits for a number of notes and returns them.
func observe(t *testing.T, chip string, offset int) (wait func(n int) []gpiod.LineInfoChangeType) {
	t.Helper()
	device, err := gpiod.NewChip(chip)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() }) // only looks
	var o observer
	more := make(chan struct{}, 1)
	_, err = device.WatchLineInfo(offset, func(e gpiod.LineInfoChangeEvent) {
		o.mu.Lock()
		o.seen = append(o.seen, e.Type)
		o.mu.Unlock()
		select {
		case more <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	return func(n int) []gpiod.LineInfoChangeType {
		t.Helper()
		for {
			o.mu.Lock()
			seen := append([]gpiod.LineInfoChangeType(nil), o.seen...)
			o.mu.Unlock()
			if len(seen) >= n {
				return seen
			}
			select {
			case <-more:
			case <-deadline:
				t.Fatalf("the kernel told of %v, want %d changes", seen, n)
			}
		}
	}
}

// TestKernelInPlace does to a line all that Reconfigure can, looks at sim_gpio's value all the time, and asks the kernel whether
// the line was ever free meanwhile.
func TestKernelInPlace(t *testing.T) {
	c, s := bank(t)
	s.Drive(0, 1)
	wait := observe(t, s.chip.ChipName(), 0)
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			if v, err := s.chip.Level(0); v != 1 || err != nil {
				t.Errorf("level = %d, %v, want 1 at all times", v, err)
			}
			select {
			case <-stop:
				looked <- n
				return
			default:
			}
		}
	}()
	l, err := c.Request(0, gpio.LineOptions{AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 50
	steps := []gpio.LineOptions{
		{Output: true, Value: 1},
		{Output: true, Value: 1, Drive: gpio.OpenSource},
		{Output: true, Value: 0, ActiveLow: true, Bias: gpio.PullDown},
		{Output: true, Value: 1, Bias: gpio.PullUp},
		{Output: true, Value: 1, Drive: gpio.OpenDrain, Bias: gpio.PullUp}, // lets go of a line that is pulled up
		{},
		{Debounce: time.Millisecond},
		{Events: func(e gpio.Event) { t.Errorf("event %+v, want none", e) }},
	}
	for range rounds {
		for _, o := range steps {
			if err := l.Reconfigure(o); err != nil {
				t.Fatalf("Reconfigure(%+v): %v", o, err)
			}
		}
	}
	wait(1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	t.Logf("looked %d times", <-looked)
	l, err = c.Request(0, gpio.LineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the chip's Close would tell
	// The kernel keeps 32 of these for who is slow, so some of the many reconfigurations may be missing, but no other kind.
	counts := map[gpiod.LineInfoChangeType]int{}
	for _, what := range wait(2) {
		counts[what]++
	}
	if counts[gpiod.LineReleased] > 1 || counts[gpiod.LineRequested] > 2 {
		t.Errorf("the kernel told of %v, want one release: that of Close", counts)
	}
}

// TestKernelInPlaceTold is the same with few steps, of which the kernel can tell every one.
func TestKernelInPlaceTold(t *testing.T) {
	c, s := bank(t)
	wait := observe(t, s.chip.ChipName(), 0)
	l, err := c.Request(0, gpio.LineOptions{AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []gpio.LineOptions{{Output: true, Value: 1}, {Output: true, Value: 1, Drive: gpio.OpenDrain}, {Bias: gpio.PullUp, Events: func(gpio.Event) {}}} {
		if err := l.Reconfigure(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	changed := gpiod.LineReconfigured
	want := []gpiod.LineInfoChangeType{gpiod.LineRequested, changed, changed, changed, gpiod.LineReleased}
	got := wait(len(want))
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("the kernel told of %v, want %v", got, want)
		}
	}
}

// TestKernelBurstAfterReconfigure gives a line that was requested without events some, and wants as many to wait as of one that
// was requested with them.
func TestKernelBurstAfterReconfigure(t *testing.T) {
	c, s := bank(t)
	const edges = 40
	release, got := make(chan struct{}), make(chan gpio.Event, edges)
	l := chiptest.Request(t, c, 0, gpio.LineOptions{Consumer: "late-burst"})
	s.Drive(0, 0)
	err := l.Reconfigure(gpio.LineOptions{Events: func(e gpio.Event) {
		<-release
		got <- e
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range edges {
		s.Drive(0, (i+1)%2)
		waitInterrupts(t, "late-burst", i+1)
	}
	close(release)
	for i := range edges {
		if e := nextEvent(t, got); e.Seq != uint32(i+1) || e.Rising != (i%2 == 0) {
			t.Errorf("event %d = %+v, want rising %t, seq %d", i, e, i%2 == 0, i+1)
		}
	}
}

// TestKernelEdgeInReconfigure has edges come after the kernel has begun to look for them, but before Reconfigure has returned, as
// those of a sensor that answers at once. A line that had no events keeps them; one that had drops them with those of before.
func TestKernelEdgeInReconfigure(t *testing.T) {
	c, s := bank(t)
	got := make(chan gpio.Event, 8)
	o := gpio.LineOptions{Events: func(e gpio.Event) { got <- e }}
	l := chiptest.Request(t, c, 0, gpio.LineOptions{Consumer: "at-once", Output: true})
	s.Drive(0, 0)
	if err := gpio.ApplyOnly(l, o); err != nil {
		t.Fatal(err)
	}
	s.Drive(0, 1)
	waitInterrupts(t, "at-once", 1)
	if err := l.Reconfigure(o); err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, got); !e.Rising || e.Seq != 1 {
		t.Errorf("event %+v, want rising, seq 1", e)
	}
	if err := l.Reconfigure(gpio.LineOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := l.Reconfigure(o); err != nil {
		t.Fatal(err)
	}
	s.Drive(0, 0)
	if e := nextEvent(t, got); e.Rising || e.Seq != 1 || len(got) > 0 {
		t.Errorf("event %+v and %d more after events were off, want falling, seq 1", e, len(got))
	}
}

// TestKernelUnplugged takes the chip away while lines are held. The kernel does not refuse that, so that neither may be taken
// for granted: that lines which are held keep a chip, and that a chip which is there stays.
func TestKernelUnplugged(t *testing.T) {
	need(t)
	sim := newSim(t, gpiosim.NewBank("usb", 4))
	s := simulated{t, &sim.Chips[0]}
	c := openChip(t, "usb")
	gone := make(chan int, 8)
	plain := chiptest.Request(t, c, 0, gpio.LineOptions{})
	out := chiptest.Request(t, c, 1, gpio.LineOptions{Output: true, Value: 1})
	lines := []gpio.Line{plain, out}
	for offset := 2; offset < 4; offset++ {
		events := make(chan gpio.Event, 1)
		o := gpio.LineOptions{Events: func(e gpio.Event) { events <- e }, Gone: func() { gone <- offset }}
		lines = append(lines, chiptest.Request(t, c, offset, o))
		s.Drive(offset, 1)
		nextEvent(t, events) // its reader waits for the next one, and not to be started
	}
	select { // by then the readers sleep, and this kernel wakes none of them for a chip that goes
	case offset := <-gone:
		t.Errorf("line %d is said to be gone while it is there", offset)
	case <-time.After(200 * time.Millisecond):
	}
	start := time.Now()
	if err := os.WriteFile(filepath.Join("/sys/kernel/config/gpio-sim", sim.Name, "live"), []byte("0"), 0); err != nil {
		t.Fatalf("take away a chip with lines that are held: %v, want the kernel to do so", err)
	}
	for _, l := range lines {
		if v, err := l.Value(); !errors.Is(err, gpio.ErrGone) || !errors.Is(err, syscall.ENODEV) {
			t.Errorf("Value() of a line that is gone = %d, %v, want ErrGone and ENODEV", v, err)
		}
	}
	if err := out.SetValue(0); !errors.Is(err, gpio.ErrGone) {
		t.Errorf("SetValue() of a line that is gone: error %v, want ErrGone", err)
	}
	if err := out.Reconfigure(gpio.LineOptions{Output: true}); !errors.Is(err, gpio.ErrGone) {
		t.Errorf("Reconfigure() of a line that is gone: error %v, want ErrGone", err)
	}
	if _, err := c.Info(); !errors.Is(err, gpio.ErrGone) {
		t.Errorf("Info() of a chip that is gone: error %v, want ErrGone", err)
	}
	if l, err := c.Request(0, gpio.LineOptions{}); !errors.Is(err, gpio.ErrGone) {
		t.Errorf("Request() from a chip that is gone = %v, %v, want ErrGone", l, err)
	}
	told := map[int]int{}
	for range 2 {
		select {
		case offset := <-gone:
			told[offset]++
		case <-time.After(time.Minute):
			t.Fatalf("told that these are gone after 10 s: %v, want 2 and 3", told)
		}
	}
	t.Logf("told after %v", time.Since(start))
	if told[2] != 1 || told[3] != 1 || len(gone) > 0 {
		t.Errorf("told that these are gone: %v and %d more, want 2 and 3 once", told, len(gone))
	}
	for _, l := range lines {
		if err := l.Close(); err != nil {
			t.Errorf("close of a line that is gone: %v", err)
		}
	}
	if len(gone) > 0 {
		t.Errorf("told again on Close")
	}
}
