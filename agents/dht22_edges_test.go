package agents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

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
