package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

// dht22Read reads a point of an agent as a number.
func dht22Read(t *testing.T, a Agent, path string) float64 {
	t.Helper()
	r, err := a.(Sampler).Sample(t.Context(), path)
	v, ok := r.Value.(float64)
	if n, isInt := r.Value.(int64); isInt {
		v, ok = float64(n), true
	}
	if err != nil || !ok || r.Stale {
		t.Fatalf("%s is %+v, %v, want a number", path, r, err)
	}
	return v
}

// dht22Warm has the first value read, which another read must confirm, and lets the sensor be read again at once.
func dht22Warm(t *testing.T, a Agent) *dht22 {
	t.Helper()
	d := a.(*dht22)
	if r, err := d.Sample(t.Context(), "temperature"); err != nil || !r.Stale || r.Value != nil {
		t.Errorf("the first read: %+v, %v, want no value yet", r, err)
	}
	d.triedAt = time.Time{}
	return d
}

func TestDHT22IIO(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dht22/two")
	a, err := tree.start(dht22Factory(), "device: dht11@11")
	if err != nil {
		t.Fatal(err)
	}
	dht22Warm(t, a)
	for path, want := range map[string]float64{"temperature": -7.3, "humidity": 91.2, "dew_point": -8.5, "reads/good": 2, "reads/bad": 0} {
		if path == "reads/good" { // it counts what the others read, in whatever order this is
			dht22Read(t, a, "temperature")
		}
		if got := dht22Read(t, a, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	// Where the kernel has but one, it need not be named.
	const other = "sys/bus/iio/devices/iio:device1"
	const bme = "sys/bus/iio/devices/iio:device2"
	if _, err := tree.start(dht22Factory(), "{}"); err == nil || !strings.Contains(err.Error(), "3 IIO devices fit") {
		t.Errorf("three devices that fit: error %v, want them listed", err)
	}
	tree.rename(other, "gone/1")
	tree.rename(bme, "gone/2")
	if a, err = tree.start(dht22Factory(), "{}"); err != nil {
		t.Fatal(err)
	}
	dht22Warm(t, a)
	if got := dht22Read(t, a, "temperature"); got != 23.4 {
		t.Errorf("temperature = %v, want 23.4", got)
	}
	tree.rename("sys/bus/iio/devices/iio:device0", "gone/0")
	if _, err := tree.start(dht22Factory(), "{}"); err == nil || !strings.Contains(err.Error(), "dtoverlay=dht11,gpiopin=4") {
		t.Errorf("no device: error %v, want what to do", err)
	}
	tree.rename("gone/2", bme)
	if _, err := tree.start(dht22Factory(), "{}"); err == nil || !strings.Contains(err.Error(), "bme280") || !strings.Contains(err.Error(), "device:") {
		t.Errorf("another sensor only: error %v, want it not taken in silence", err)
	}
}

// TestDHT22IIOUnplugged takes the device away between two reads, and brings it back under another number.
func TestDHT22IIOUnplugged(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dht22/two")
	agent, err := tree.start(dht22Factory(), "device: dht11@4")
	if err != nil {
		t.Fatal(err)
	}
	a := dht22Warm(t, agent)
	now := time.Now()
	a.now = func() time.Time { return now }
	if got := dht22Read(t, a, "temperature"); got != 23.4 {
		t.Errorf("temperature = %v, want 23.4", got)
	}
	tree.rename("sys/bus/iio/devices/iio:device0", "gone/0")
	now = now.Add(time.Minute)
	if r, err := a.Sample(t.Context(), "temperature"); err == nil {
		t.Errorf("unplugged: %+v, want an error", r)
	}
	tree.rename("gone/0", "sys/bus/iio/devices/iio:device7")
	now = now.Add(time.Minute)
	dht22Warm(t, a) // after so long nothing is known any more
	if got := dht22Read(t, a, "temperature"); got != 23.4 {
		t.Errorf("temperature after it is back = %v, want 23.4", got)
	}
	if got := dht22Read(t, a, "reads/bad"); got != 1 {
		t.Errorf("bad reads = %v, want 1", got)
	}
}

func TestDHT22Errno(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{syscall.EIO: true, syscall.ETIMEDOUT: true, syscall.EAGAIN: true, syscall.ENODEV: false, os.ErrPermission: false} {
		got := dht22Errno(fmt.Errorf("read: %w", &os.PathError{Op: "read", Path: "in_temp_input", Err: err}))
		if errors.Is(got, errDHT22Read) != want || !errors.Is(got, err) {
			t.Errorf("%v becomes %v, want one that may not come again: %t", err, got, want)
		}
	}
	for name, want := range map[string]bool{"dht11": true, "dht11@4": true, "dht11@1b": true, "4.dht11": true, "bme280": false, "dht11x": false, "": false} {
		if got := dht22Name(name); got != want {
			t.Errorf("dht22Name(%q) = %t, want %t", name, got, want)
		}
	}
}

// dht22Sensor is a sensor on a line of a chip in memory: it answers who holds the line low for long enough and lets it go. It must
// be used in a synctest bubble, where time passes as the parts of its answer say.
type dht22Sensor struct {
	chip  *gpiotest.Chip
	line  int
	least time.Duration // of the start pulse

	mu    sync.Mutex
	parts []time.Duration // nil: it is mute
	busy  bool
	low   time.Time
	asked []time.Duration // how long the line was held low, each time
}

func (s *dht22Sensor) plug(t *testing.T) {
	s.chip.Drive(s.line, 1) // the resistor
	t.Cleanup(s.chip.Watch(s.line, s.see))
}

func (s *dht22Sensor) see(c gpiotest.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.busy:
		return
	case c.Level == 0:
		s.low = c.Time
		return
	}
	held := c.Time.Sub(s.low)
	s.asked = append(s.asked, held)
	if held < s.least {
		return
	}
	at := time.Duration(0)
	for i, p := range s.parts {
		at += p
		time.AfterFunc(at, func() { s.chip.Drive(s.line, i%2) })
	}
	s.busy = true
	time.AfterFunc(at+time.Microsecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy = false
	})
}

// say makes the sensor answer with these parts from now on.
func (s *dht22Sensor) say(parts []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = parts
}

func (s *dht22Sensor) asks() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func TestDHT22Edges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		model       string
		least, most time.Duration // of the start pulse
		frame       [5]byte
		want        dht22Value
	}{
		{dht22Model22, 800 * time.Microsecond, 20 * time.Millisecond, dht22Framed(0x02, 0x8c, 0x80, 0x65), dht22Value{-10.1, 65.2}},
		{dht22Model2302, 800 * time.Microsecond, 20 * time.Millisecond, dht22Framed(0x02, 0x8c, 0x01, 0x5f), dht22Value{35.1, 65.2}},
		{dht22Model11, 18 * time.Millisecond, 30 * time.Millisecond, dht22Framed(53, 0, 24, 4), dht22Value{24.4, 53}},
	} {
		t.Run(test.model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := gpiotest.New("pinctrl-bcm2835", 28)
				s := &dht22Sensor{chip: chip, line: 4, least: test.least, parts: dht22Line(test.frame)}
				s.plug(t)
				a := startDHT22Edges(t, chip, "model: "+test.model)
				dht22Warm(t, a)
				pass(a.rest)
				for range 3 { // within one interval, so of one read
					if c, p := dht22Read(t, a, "temperature"), dht22Read(t, a, "humidity"); c != test.want.celsius || p != test.want.percent {
						t.Errorf("%v °C, %v %%, want %+v", c, p, test.want)
					}
				}
				pass(a.rest)
				dht22Read(t, a, "dew_point")
				asked := s.asks()
				if len(asked) != 3 || slices.Min(asked) < test.least || slices.Max(asked) > test.most {
					t.Errorf("the sensor was asked by %v, want 3 of %v to %v", asked, test.least, test.most)
				}
				if good := dht22Read(t, a, "reads/good"); good != 3 {
					t.Errorf("good reads = %v, want 3", good)
				}
				info, err := chip.Info()
				if err != nil || info.Lines[4].Output || info.Lines[4].Bias != gpio.PullUp || info.Lines[4].Consumer != "rollcall-dht22" {
					t.Errorf("idle line %+v, %v, want an input that is pulled up and held", info.Lines[4], err)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// pass lets time pass by the bubble's clock, in no time.
func pass(d time.Duration) { <-time.After(d) }

func startDHT22Edges(t *testing.T, chip *gpiotest.Chip, options string) *dht22 {
	t.Helper()
	d := Deps{Service: "dht22", OpenChip: func(string) (gpio.Chip, error) { return chip.Open(), nil }}
	a, err := iioStart(t, dht22Factory(), "driver: edges\npin: GPIO4\n"+options, d)
	if err != nil {
		t.Fatal(err)
	}
	return a.(*dht22)
}

// TestDHT22EdgesBad has reads fail: the first ones say nothing new and are no error, the third in a row is.
func TestDHT22EdgesBad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chip := gpiotest.New("pinctrl-bcm2835", 28)
		good := dht22Line([5]byte{0x02, 0x8c, 0x01, 0x5f, 0xee})
		bad := dht22Line([5]byte{0x02, 0x8c, 0x01, 0x5f, 0xef})
		s := &dht22Sensor{chip: chip, line: 4, parts: bad}
		s.plug(t)
		a := startDHT22Edges(t, chip, "pull: none")
		if r, err := a.Sample(t.Context(), "humidity"); !errors.Is(err, errDHT22Read) {
			t.Errorf("bad from the start: %+v, %v, want an error", r, err)
		}
		s.say(good)
		pass(dht22Between)
		dht22Warm(t, a)
		pass(dht22Between)
		dht22Read(t, a, "humidity")
		s.say(bad)
		for i := range 5 {
			pass(dht22Between)
			r, err := a.Sample(t.Context(), "humidity")
			if i < dht22BadReads-1 && (err != nil || !r.Stale || r.Value != nil) {
				t.Errorf("%d bad: %+v, %v, want nothing new", i+1, r, err)
			}
			if i >= dht22BadReads-1 && (!errors.Is(err, errDHT22Read) || !strings.Contains(err.Error(), "checksum 0xef, but the sum is 0xee")) {
				t.Errorf("%d bad: %+v, %v, want an error that says why", i+1, r, err)
			}
		}
		s.say(good)
		pass(dht22Between)
		if got := dht22Read(t, a, "temperature"); got != 35.1 {
			t.Errorf("temperature = %v, want 35.1", got)
		}
		if g, b := dht22Read(t, a, "reads/good"), dht22Read(t, a, "reads/bad"); g != 3 || b != 6 {
			t.Errorf("%v good, %v bad reads, want 3, 6", g, b)
		}
		s.say(nil)
		pass(dht22Between)
		if r, err := a.Sample(t.Context(), "temperature"); err == nil || !strings.Contains(err.Error(), "no sensor answers on GPIO4") {
			t.Errorf("unplugged sensor: %+v, %v, want an error at once", r, err)
		}
	})
}

// TestDHT22EdgesUnplugged takes the chip away, and gives another of its name.
func TestDHT22EdgesUnplugged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chip := gpiotest.New("pinctrl-bcm2835", 28)
		frame := dht22Line([5]byte{0x02, 0x8c, 0x01, 0x5f, 0xee})
		(&dht22Sensor{chip: chip, line: 4, parts: frame}).plug(t)
		present := chip
		d := Deps{Service: "dht22", OpenChip: func(name string) (gpio.Chip, error) {
			if present == nil || name != "pinctrl-bcm2835" {
				return nil, fmt.Errorf("open GPIO chip %q: %w", name, os.ErrNotExist)
			}
			return present.Open(), nil
		}}
		agent, err := iioStart(t, dht22Factory(), "{driver: edges, pin: pin7}", d)
		if err != nil {
			t.Fatal(err)
		}
		a := dht22Warm(t, agent)
		pass(dht22Between)
		dht22Read(t, a, "temperature")
		chip.Unplug()
		present = nil
		for range 2 {
			pass(dht22Between)
			if r, err := a.Sample(t.Context(), "temperature"); err == nil {
				t.Errorf("unplugged: %+v, want an error", r)
			}
		}
		present = gpiotest.New("pinctrl-bcm2835", 28)
		(&dht22Sensor{chip: present, line: 4, parts: frame}).plug(t)
		pass(dht22Between)
		if got := dht22Read(t, a, "temperature"); got != 35.1 {
			t.Errorf("temperature = %v, want 35.1", got)
		}
	})
}

// TestDHT22EdgesCancelled ends the context while the line is held low, and wants it let go.
func TestDHT22EdgesCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chip := gpiotest.New("pinctrl-bcm2835", 28)
		a := startDHT22Edges(t, chip, "model: dht11")
		chip.Drive(4, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if r, err := a.Sample(ctx, "temperature"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v, %v, want the context's error", r, err)
		}
		if chip.Level(4) != 1 || dht22Read(t, a, "reads/bad") != 0 {
			t.Errorf("level %d, want 1; bad reads %v, want 0", chip.Level(4), dht22Read(t, a, "reads/bad"))
		}
		pass(time.Second)
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() { // a line that is never quiet
			defer close(done)
			for level := 0; ; level = 1 - level {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					chip.Drive(4, level)
				}
			}
		}()
		if r, err := a.Sample(t.Context(), "temperature"); err == nil || !strings.Contains(err.Error(), "never quiet") {
			t.Errorf("%+v, %v, want an error", r, err)
		}
		close(stop)
		<-done
	})
}

// dht22Says is a driver that says what it is told to.
type dht22Says struct {
	value dht22Value
	doubt bool
	err   error
	each  func(dht22Value) dht22Value // what becomes of the value by a read; nil: nothing
}

func (d *dht22Says) read(context.Context) (dht22Value, bool, error) {
	if d.each != nil {
		d.value = d.each(d.value)
	}
	return d.value, d.doubt, d.err
}
func (d *dht22Says) close() error { return nil }

// TestDHT22Believe wants a value that is not that of before confirmed by another read, and all of them published when it moves.
func TestDHT22Believe(t *testing.T) {
	t.Parallel()
	type step struct {
		celsius, percent float64
		doubt, want      bool
	}
	for name, test := range map[string]struct {
		model     string
		after     time.Duration // each step, 0: 2 s
		steps     []step
		good, bad int64
	}{
		"noise": {steps: []step{{20, 50, false, false}, {20.1, 50.6, false, true}, {20.3, 51.6, false, true}, {20.1, 50.6, false, true}}, good: 4},
		"one wrong": {steps: []step{{20, 50, false, false}, {20, 50, false, true}, {20.3, 50, false, false}, {20, 50, false, true},
			{20, 51.1, false, false}, {20, 50, false, true}, {-20, 5, false, false}, {20, 50, false, true}}, good: 5, bad: 3},
		"the first is wrong": {steps: []step{{24, 50, false, false}, {20, 50, false, false}, {20, 50, false, true}}, good: 2, bad: 1},
		"a jump":             {steps: []step{{20, 50, false, false}, {20, 50, false, true}, {60, 5, false, false}, {60.1, 5, false, true}, {60, 5, false, true}}, good: 5},
		"a way, up and down": {steps: []step{{20, 50, false, false}, {20, 50, false, true}, {21, 52, false, false}, {22, 54, false, false}, {23, 56, false, true},
			{24, 58, false, true}, {23, 56, false, true}, {23, 56, false, true}, {24, 56, false, false}, {23, 56, false, true}}, good: 9, bad: 1},
		"on the way one is wrong": {steps: []step{{20, 50, false, false}, {21, 52, false, false}, {22, 54, false, true}, {23, 56, false, true}, {40, 58, false, false},
			{25, 60, false, true}}, good: 5, bad: 1},
		"in doubt": {steps: []step{{20, 50, true, false}, {20.2, 51, true, true}, {20.4, 50, true, true}, {21.6, 50, true, false}, {21.6, 50, true, true},
			{22.6, 53, true, false}, {23.6, 53, true, false}, {24.6, 53, true, false}, {24.6, 53, false, true}}, good: 7, bad: 2},
		"never twice the same": {steps: []step{{20, 50, false, false}, {30, 50, false, false}, {20, 50, false, false}, {30, 50, false, false}}, bad: 2},
		"a sensor of whole °C": {model: dht22Model11, steps: []step{{20, 50, false, false}, {21, 51, false, true}, {20, 50, false, true}, {22, 50, false, false}}, good: 3},
		"seldom":               {after: time.Minute, steps: []step{{20, 50, false, false}, {20, 50, false, false}}},
		"what can't be":        {steps: []step{{81, 5, false, false}, {81, 5, false, false}, {81, 5, false, false}, {80, 101, false, false}}, bad: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_800_000_000, 0)
			says := &dht22Says{}
			a := dht22With(dht22Options{Model: cmp.Or(test.model, dht22Model22)}, says, func() time.Time { return now })
			for i, step := range test.steps {
				says.value, says.doubt = dht22Value{step.celsius, step.percent}, step.doubt
				now = now.Add(cmp.Or(test.after, 2*time.Second))
				r, err := a.Sample(t.Context(), "temperature")
				if got := err == nil && !r.Stale && r.Value == step.celsius; got != step.want {
					t.Errorf("step %d: %+v, %v, want it published: %t", i, r, err, step.want)
				}
				if err == nil && !r.Time.Equal(now) {
					t.Errorf("step %d: time %v, want that of the read, %v", i, r.Time, now)
				}
				says.value = dht22Value{-35, 12}
				now = now.Add(time.Second / 2) // too soon: not read at all
				if again, err2 := a.Sample(t.Context(), "temperature"); again != r || (err == nil) != (err2 == nil) {
					t.Errorf("step %d, too soon: %+v, %v, want %+v, %v", i, again, err2, r, err)
				}
			}
			if a.good != test.good || a.bad != test.bad {
				t.Errorf("%d good, %d bad, want %d, %d", a.good, a.bad, test.good, test.bad)
			}
		})
	}
}

// TestDHT22Confirms wants a value that another read must confirm read again as soon as the sensor may be, where there is the time.
func TestDHT22Confirms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		says := &dht22Says{value: dht22Value{20, 50}}
		a := dht22With(dht22Options{Model: dht22Model22}, says, time.Now)
		for _, step := range []struct {
			celsius      float64
			within, took time.Duration
			want         bool
		}{
			{20, 8 * time.Second, 2 * time.Second, true}, // the first
			{20, 8 * time.Second, 0, true},
			{30, 2400 * time.Millisecond, 0, false}, // no time
			{30, 8 * time.Second, 0, true},          // but the next one confirms it
			{40, 8 * time.Second, 2 * time.Second, true},
		} {
			pass(10 * time.Second)
			start := time.Now()
			says.value.celsius = step.celsius
			ctx, cancel := context.WithTimeout(t.Context(), step.within)
			r, err := a.Sample(ctx, "temperature")
			cancel()
			if took := time.Since(start); err != nil || r.Stale == step.want || took != step.took {
				t.Errorf("%v °C: %+v, %v after %v, want it published: %t, after %v", step.celsius, r, err, took, step.want, step.took)
			}
		}
		pass(10 * time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		says.each = func(v dht22Value) dht22Value { v.celsius += 10; return v } // never twice the same
		if r, err := a.Sample(ctx, "temperature"); !errors.Is(err, errDHT22Alone) || time.Since(start) > 6*time.Second {
			t.Errorf("%+v, %v after %v, want an error in time", r, err, time.Since(start))
		}
		pass(10 * time.Second)
		says.err = errors.New("no such device")
		if r, err := a.Sample(ctx, "temperature"); err == nil {
			t.Errorf("an error that stays: %+v, want it at once", r)
		}
	})
}

func TestDHT22Refused(t *testing.T) {
	t.Parallel()
	chip := gpiotest.New("pinctrl-bcm2835", 28)
	chip.Hog(17, "w1")
	lacking := gpiotest.New("old", 4)
	lacking.Lack(gpio.FeatureEdges)
	d := Deps{Service: "dht22", Root: t.TempDir(), OpenChip: func(name string) (gpio.Chip, error) {
		if name == "old" {
			return lacking.Open(), nil
		}
		return chip.Open(), nil
	}}
	for options, want := range map[string]string{
		"driver: IIO":                 `options.yaml:1: driver: "IIO" is none of iio, edges, go-dht`,
		"model: dht33":                `"dht33" is none of dht22, am2302, dht11`,
		"poll: 1s":                    "poll: 1s is too often: a dht22 must be left alone for 2s",
		"{model: dht11, poll: 999ms}": "must be left alone for 1s",
		"{model: dht11, driver: edges, pin: 4, poll: 999ms}": "must be left alone for 1s",
		"pin: 4":          "say driver: edges",
		"{driver: edges}": "pin: is missing",
		"{driver: edges, pin: 4, device: dht11@4}":    "only iio has devices",
		"{driver: edges, pin: 4, pull: down}":         `"down" is neither up nor none`,
		"{driver: go-dht, pin: 4, chip: gpiochip0}":   "go-dht knows only the first one",
		"{driver: edges, pin: 4, sims: true}":         "sims",
		"{driver: edges, pin: GPIO99}":                "GPIO99",
		"{driver: edges, pin: GPIO17}":                `held by "w1"`,
		"{}":                                          "dtoverlay=dht11",
		"{driver: go-dht, pin: 4}":                    "driver: go-dht",
		"{driver: go-dht, pin: 4, model: x, poll: 1}": "options.yaml:1",
	} {
		_, err := iioStart(t, dht22Factory(), options, d)
		ok := false
		for _, w := range strings.Split(want, "|") {
			ok = ok || err != nil && strings.Contains(err.Error(), w)
		}
		if !ok {
			t.Errorf("%s: error %v, want %q in it", options, err, want)
		}
	}
	a, err := iioStart(t, dht22Factory(), "{driver: edges, chip: old, pin: 3}", d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.(Sampler).Sample(t.Context(), "temperature"); gpio.Missing(err) != gpio.FeatureEdges {
		t.Errorf("a chip without edges: error %v, want it named", err)
	}
}

func TestDHT22Simulated(t *testing.T) {
	t.Parallel()
	a, err := iioStart(t, dht22Factory(), "{sim: true, model: dht11}", Deps{})
	if err != nil {
		t.Fatal(err)
	}
	c, p, dew := dht22Read(t, a, "temperature"), dht22Read(t, a, "humidity"), dht22Read(t, a, "dew_point")
	if !a.Describe().Simulated || c < 18 || c > 26 || p < 40 || p > 60 || dew >= c {
		t.Errorf("%v °C, %v %%, dew point %v °C, simulated %t", c, p, dew, a.Describe().Simulated)
	}
}
