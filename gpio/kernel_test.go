//go:build linux

package gpio_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiosim"
	"github.com/warthog618/gpiod"

	"rollcall/gpio"
	"rollcall/gpio/chiptest"
)

// simulated is a chip of gpio-sim: real for all but the kernel.
type simulated struct {
	t    *testing.T
	chip *gpiosim.Chip
}

// Drive pulls a line from outside.
func (s simulated) Drive(offset, value int) {
	s.t.Helper()
	if err := s.chip.SetPull(offset, value); err != nil {
		s.t.Fatal(err)
	}
}

// Level reads a line from outside.
func (s simulated) Level(offset int) int {
	s.t.Helper()
	v, err := s.chip.Level(offset)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// need skips the test where there is no gpio-sim, which is everywhere but in the lab.
func need(t *testing.T) {
	t.Helper()
	_, err := os.Stat("/sys/kernel/config/gpio-sim")
	switch {
	case err == nil && os.Geteuid() == 0:
	case os.Getenv("ROLLCALL_GUEST") == "1":
		t.Fatalf("no gpio-sim in a guest of the lab: %v", err)
	default:
		t.Skip("needs root and the kernel's gpio-sim; run by make lab")
	}
}

// bank makes a chip of gpio-sim with 8 lines and opens it by name.
func bank(t *testing.T) (gpio.Chip, simulated) {
	t.Helper()
	need(t)
	options := []gpiosim.NewBankOption{}
	for i, name := range []string{"GPIO0", "GPIO1", "GPIO2", "GPIO3", "GPIO4", "GPIO5", "GPIO6", "GPIO7"} {
		options = append(options, gpiosim.WithNamedLine(i, name))
	}
	sim := newSim(t, gpiosim.NewBank(t.Name(), 8, options...))
	return openChip(t, sim.Chips[0].ChipName()), simulated{t, &sim.Chips[0]}
}

func newSim(t *testing.T, bank *gpiosim.Bank) *gpiosim.Sim {
	t.Helper()
	sim, err := gpiosim.NewSim(gpiosim.WithBank(bank))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

func openChip(t *testing.T, name string) gpio.Chip {
	t.Helper()
	c, err := gpio.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestKernelConformance(t *testing.T) {
	need(t)
	chiptest.Run(t, func(t *testing.T) (gpio.Chip, chiptest.Board) { return bank(t) })
}

// TestKernelConformanceV1 runs the suite by the interface that kernels before 5.10 have.
func TestKernelConformanceV1(t *testing.T) {
	need(t)
	open := func(t *testing.T) (gpio.Chip, chiptest.Board) {
		_, s := bank(t)
		c, err := gpio.OpenV1(s.chip.DevPath())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c, s
	}
	chiptest.Run(t, open, "debounce", "reconfigure events", "reconfigure debounce")
	c, b := open(t)
	_, err := c.Request(0, gpio.LineOptions{Debounce: time.Second})
	if !errors.Is(err, syscall.EOPNOTSUPP) || gpio.Missing(err) != gpio.FeatureDebounce || !strings.Contains(err.Error(), "debounce needs Linux 5.10 or later") {
		t.Errorf("debounce: error %v, want EOPNOTSUPP, the feature, and the kernel that is needed", err)
	}
	if info, err := c.Info(); err != nil || !slices.Contains(info.Lacks, gpio.FeatureDebounce) {
		t.Errorf("info: lacks %v, %v, want %s in it", info.Lacks, err, gpio.FeatureDebounce)
	}
	wantNotInPlace(t, c, b)
}

// wantNotInPlace asks for what the first version can't change in place, and wants the lines as they were.
func wantNotInPlace(t *testing.T, c gpio.Chip, b chiptest.Board) {
	t.Helper()
	out := chiptest.Request(t, c, 0, gpio.LineOptions{Output: true, Value: 1})
	events := make(chan gpio.Event, 1)
	watched := gpio.LineOptions{Events: func(e gpio.Event) { events <- e }}
	in := chiptest.Request(t, c, 1, watched)
	for _, test := range []struct {
		line gpio.Line
		o    gpio.LineOptions
		want gpio.Feature
	}{
		{out, watched, gpio.FeatureReconfigure},
		{out, gpio.LineOptions{Debounce: time.Second}, gpio.FeatureDebounce},
		{in, gpio.LineOptions{}, gpio.FeatureReconfigure},
	} {
		if err := test.line.Reconfigure(test.o); !errors.Is(err, syscall.EOPNOTSUPP) || gpio.Missing(err) != test.want {
			t.Errorf("Reconfigure(%+v): error %v, want EOPNOTSUPP and %s", test.o, err, test.want)
		}
	}
	if b.Level(0) != 1 || out.SetValue(0) != nil || b.Level(0) != 0 {
		t.Errorf("output after what was refused: level %d, want it to have been 1 and now 0", b.Level(0))
	}
	b.Drive(1, 1)
	if e := nextEvent(t, events); !e.Rising || e.Seq != 1 {
		t.Errorf("event after what was refused = %+v, want rising, seq 1", e)
	}
}

func TestKernelOpen(t *testing.T) {
	_, s := bank(t)
	link := filepath.Join(t.TempDir(), "gpiochip4")
	if err := os.Symlink(s.chip.DevPath(), link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{t.Name(), s.chip.ChipName(), s.chip.DevPath(), "/dev/../dev/" + s.chip.ChipName(), link} {
		info, err := openChip(t, name).Info()
		if err != nil {
			t.Errorf("Open(%q).Info(): %v", name, err)
		}
		if info.Name != s.chip.ChipName() || info.Label != t.Name() || len(info.Lines) != 8 {
			t.Errorf("Open(%q).Info() = %+v, want chip %s, label %s, 8 lines", name, info, s.chip.ChipName(), t.Name())
		}
	}
}

func TestKernelOpenErrors(t *testing.T) {
	_, s := bank(t)
	present := s.chip.ChipName() + " (" + t.Name() + ", 8 lines)"
	for _, test := range []struct{ name, want string }{
		{"", present},
		{"nosuch", present},
		{"gpiochip99", present},
		{"/dev/gpiochip99", present},
		{"/dev/null", "not a GPIO chip"},
		{"/etc/passwd", "not a GPIO chip"},
		{"gpiochip0; rm", present},
	} {
		c, err := gpio.Open(test.name)
		if err == nil {
			t.Errorf("Open(%q) = %v, want an error", test.name, c)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("Open(%q): error %q, want %q in it", test.name, err, test.want)
		}
	}
	if _, err := gpio.Open("nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(nosuch): error %v, want fs.ErrNotExist", err)
	}
}

func TestKernelSameLabel(t *testing.T) {
	need(t)
	var names []string
	for range 2 {
		sim := newSim(t, gpiosim.NewBank("twins", 4))
		names = append(names, sim.Chips[0].ChipName())
	}
	_, err := gpio.Open("twins")
	for _, name := range names {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Open of a label that two chips have: error %v, want %s in it", err, name)
		}
		openChip(t, name)
	}
}

// TestKernelPermission opens a chip on a thread that is not root.
func TestKernelPermission(t *testing.T) {
	_, s := bank(t)
	errs := make(chan error)
	for _, name := range []string{s.chip.ChipName(), t.Name(), "nosuch"} {
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
			const nobody = 65534
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				errs <- errno
				return
			}
			_, err := gpio.Open(name)
			errs <- err
		}()
		err := <-errs
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "group gpio") {
			t.Errorf("Open(%q) without permission: error %v, want fs.ErrPermission and what to do", name, err)
		}
	}
}

// TestKernelHog wants the name of a driver that holds a line.
func TestKernelHog(t *testing.T) {
	need(t)
	newSim(t, gpiosim.NewBank("hogged", 4, gpiosim.WithHoggedLine(1, "act-led", gpiosim.HogDirectionOutputHigh)))
	_, err := openChip(t, "hogged").Request(1, gpio.LineOptions{})
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), `"act-led"`) {
		t.Errorf("request of a hogged line: error %v, want EBUSY and act-led in it", err)
	}
}

// TestKernelFlags asks the kernel what it has understood.
func TestKernelFlags(t *testing.T) {
	c, s := bank(t)
	device, err := gpiod.NewChip(s.chip.ChipName())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() }) // only reads
	in, out, both := gpiod.LineDirectionInput, gpiod.LineDirectionOutput, gpiod.LineEdgeBoth
	events := func(gpio.Event) {}
	for _, test := range []struct {
		o    gpio.LineOptions
		want gpiod.LineConfig
	}{
		{gpio.LineOptions{}, gpiod.LineConfig{Direction: in}},
		{gpio.LineOptions{Bias: gpio.PullUp}, gpiod.LineConfig{Direction: in, Bias: gpiod.LineBiasPullUp}},
		{gpio.LineOptions{Bias: gpio.PullDown, ActiveLow: true}, gpiod.LineConfig{Direction: in, Bias: gpiod.LineBiasPullDown, ActiveLow: true}},
		{gpio.LineOptions{Bias: gpio.PullNone}, gpiod.LineConfig{Direction: in, Bias: gpiod.LineBiasDisabled}},
		{gpio.LineOptions{Debounce: 1500 * time.Microsecond},
			gpiod.LineConfig{Direction: in, Debounced: true, DebouncePeriod: 1500 * time.Microsecond}},
		{gpio.LineOptions{Events: events}, gpiod.LineConfig{Direction: in, EdgeDetection: both}},
		{gpio.LineOptions{Events: events, Bias: gpio.PullUp, ActiveLow: true},
			gpiod.LineConfig{Direction: in, EdgeDetection: both, Bias: gpiod.LineBiasPullUp, ActiveLow: true}},
		{gpio.LineOptions{Events: events, Bias: gpio.PullDown, Debounce: time.Millisecond},
			gpiod.LineConfig{Direction: in, EdgeDetection: both, Bias: gpiod.LineBiasPullDown, Debounced: true, DebouncePeriod: time.Millisecond}},
		{gpio.LineOptions{Events: events, Bias: gpio.PullNone}, gpiod.LineConfig{Direction: in, EdgeDetection: both, Bias: gpiod.LineBiasDisabled}},
		{gpio.LineOptions{Output: true}, gpiod.LineConfig{Direction: out}},
		{gpio.LineOptions{Output: true, Drive: gpio.OpenDrain, Bias: gpio.PullUp},
			gpiod.LineConfig{Direction: out, Drive: gpiod.LineDriveOpenDrain, Bias: gpiod.LineBiasPullUp}},
		{gpio.LineOptions{Output: true, Drive: gpio.OpenSource, ActiveLow: true},
			gpiod.LineConfig{Direction: out, Drive: gpiod.LineDriveOpenSource, ActiveLow: true}},
	} {
		l, err := c.Request(1, test.o)
		if err != nil {
			t.Errorf("%+v: %v", test.o, err)
			continue
		}
		info, err := device.LineInfo(1)
		if err != nil || info.Config != test.want {
			t.Errorf("%+v: the kernel has %+v, %v, want %+v", test.o, info.Config, err, test.want)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestKernelGlitch takes an output and gives it back over and over, and wants never to see it at another level than it has
// before, meanwhile and after.
func TestKernelGlitch(t *testing.T) {
	c, s := bank(t)
	s.Drive(0, 1)
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
	for range 200 {
		l, err := c.Request(0, gpio.LineOptions{Output: true, Value: 0, ActiveLow: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	t.Logf("looked %d times", <-looked)
}

// TestKernelBurst makes more edges than the 16 that the kernel keeps unless asked while the reader is held up; none may be lost.
func TestKernelBurst(t *testing.T) {
	c, s := bank(t)
	if runtime.NumCPU() > 1 {
		t.Skip("needs one processor, see waitInterrupts; run by make lab")
	}
	const edges = 40
	release, got := make(chan struct{}), make(chan gpio.Event, edges)
	o := gpio.LineOptions{Consumer: "burst", Bias: gpio.PullDown, Events: func(e gpio.Event) {
		<-release
		got <- e
	}}
	l, err := c.Request(0, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range edges {
		s.Drive(0, (i+1)%2)
		waitInterrupts(t, o.Consumer, i+1)
	}
	close(release)
	for i := range edges {
		if e := nextEvent(t, got); e.Seq != uint32(i+1) || e.Rising != (i%2 == 0) {
			t.Errorf("event %d = %+v, want rising %t, seq %d", i, e, i%2 == 0, i+1)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func nextEvent(t *testing.T, events <-chan gpio.Event) gpio.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event after 10 s")
		return gpio.Event{}
	}
}

// waitInterrupts waits until the kernel has counted n interrupts of a line, which in the lab it has queued as edges by then: its
// thread for them goes before all programs, and there is one processor. Pulls that follow one another faster are one edge.
func waitInterrupts(t *testing.T, consumer string, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
		table, err := os.ReadFile("/proc/interrupts")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 2 && f[len(f)-1] == consumer && f[1] == strconv.Itoa(n) {
				return
			}
		}
	}
	t.Fatalf("no %d interrupts of %s", n, consumer)
}

// TestKernelBank finds the bank of the lab's Raspberry Pi.
func TestKernelBank(t *testing.T) {
	need(t)
	if os.Getenv("ROLLCALL_GUEST") != "1" {
		t.Skip("this bank may be a real one; run by make lab")
	}
	c, label, err := gpio.OpenHeader()
	if err != nil || label != "pinctrl-bcm2835" {
		t.Fatalf("OpenHeader() = %s, %v, want pinctrl-bcm2835", label, err)
	}
	defer func() { _ = c.Close() }() // only asked
	info, err := c.Info()
	if err != nil || !info.IsHeader() {
		t.Fatalf("info of the header's chip: %v, IsHeader() = %t, want true", err, info.IsHeader())
	}
	offset, err := info.Find("pin22")
	if err != nil || offset != 25 {
		t.Errorf("Find(pin22) = %d, %v, want 25", offset, err)
	}
}
