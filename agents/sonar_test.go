package agents

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

// sonarSensor is a sensor on lines 23 (Trig) and 24 (Echo) of a chip in memory. It must be used in a synctest bubble, where time
// passes as its echoes say.
type sonarSensor struct {
	chip *gpiotest.Chip

	mu     sync.Mutex
	echoes []time.Duration // the next ones, of which the last stays; negative: it is mute
	high   time.Time
	pulses []gpiotest.Change // of Trig
}

func (s *sonarSensor) plug(t *testing.T) { t.Cleanup(s.chip.Watch(23, s.see)) }

func (s *sonarSensor) see(c gpiotest.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulses = append(s.pulses, c)
	if c.Level == 1 {
		s.high = c.Time
		return
	}
	echo := s.echoes[0]
	if len(s.echoes) > 1 {
		s.echoes = s.echoes[1:]
	}
	if c.Time.Sub(s.high) < 10*time.Microsecond || echo < 0 {
		return
	}
	const burst = 450 * time.Microsecond // 8 periods of 40 kHz and what the sensor takes
	time.AfterFunc(burst, func() {
		s.chip.Drive(24, 1)
		time.AfterFunc(echo, func() { s.chip.Drive(24, 0) })
	})
}

func (s *sonarSensor) say(echoes ...time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.echoes = echoes
}

func startSonar(t *testing.T, options string, d Deps) *sonar {
	t.Helper()
	d.Service = "sonar"
	a, err := iioStart(t, sonarFactory(), options, d)
	if err != nil {
		t.Fatal(err)
	}
	return a.(*sonar)
}

const sonarLines = "{trigger: GPIO23, echo: pin18, samples: %d, temperature: %v}"

// sonarBench is a sensor and its agent in a bubble.
func sonarBench(t *testing.T, samples int, celsius float64) (*sonarSensor, *sonar) {
	t.Helper()
	chip := gpiotest.New("pinctrl-bcm2835", 28)
	s := &sonarSensor{chip: chip, echoes: []time.Duration{-1}}
	s.plug(t)
	return s, startSonar(t, fmt.Sprintf(sonarLines, samples, celsius), Deps{OpenChip: func(string) (gpio.Chip, error) { return chip.Open(), nil }})
}

// tardy is a chip of which the program hears late, as that of a busy host.
type tardy struct{ gpio.Chip }

func (c tardy) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	if told := o.Events; told != nil {
		o.Events = func(e gpio.Event) { time.AfterFunc(70*time.Millisecond, func() { told(e) }) }
	}
	return c.Chip.Request(offset, o)
}

// TestSonarTardy measures on a busy host.
func TestSonarTardy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chip := gpiotest.New("pinctrl-bcm2835", 28)
		s := &sonarSensor{chip: chip, echoes: []time.Duration{5827 * time.Microsecond}}
		s.plug(t)
		a := startSonar(t, fmt.Sprintf(sonarLines, 3, 20), Deps{OpenChip: func(string) (gpio.Chip, error) { return tardy{chip.Open()}, nil }})
		if r, err := a.Sample(t.Context(), "distance"); err != nil || r.Value != 1.0 {
			t.Errorf("%+v, %v, want 1 m", r, err)
		}
	})
}

func TestSonarGPIO(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, a := sonarBench(t, 1, 20)
		for echo, want := range map[time.Duration]float64{ // at 343.2 m/s
			5827 * time.Microsecond: 1, 117 * time.Microsecond: 0.0201, 23300 * time.Microsecond: 3.9985,
		} {
			s.say(echo)
			readings, err := a.SampleAll(t.Context(), []string{"distance", "echo", "temperature"})
			if err != nil || len(readings) != 3 {
				t.Fatalf("%v: %+v, %v", echo, readings, err)
			}
			if got, ok := readings[0].Value.(float64); !ok || math.Abs(got-want) > 0.0001 {
				t.Errorf("%v: distance %v, want %v", echo, readings[0].Value, want)
			}
			if got := readings[1].Value; got != float64(echo.Microseconds()) || readings[2].Value != 20.0 {
				t.Errorf("%v: echo %v µs at %v °C", echo, got, readings[2].Value)
			}
		}
		var last time.Time
		for i := 0; i < len(s.pulses); i += 2 {
			up, down := s.pulses[i], s.pulses[i+1]
			if d := down.Time.Sub(up.Time); d < 10*time.Microsecond || up.Level != 1 {
				t.Errorf("pulse %d took %v, want 10 µs or more", i/2, d)
			}
			if d := up.Time.Sub(last); d < sonarCycle {
				t.Errorf("pulse %d came %v after the one before, want %v or more", i/2, d, sonarCycle)
			}
			last = up.Time
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSonarRange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, a := sonarBench(t, 1, 20)
		told := func() (got string) {
			select {
			case r := <-a.Events():
				got = fmt.Sprintf("%s %v", r.Path, r.Value)
			default:
			}
			return got
		}
		for i, step := range []struct {
			echo  time.Duration
			stale bool
			event string
		}{
			{5 * time.Millisecond, false, ""},
			{38 * time.Millisecond, true, "out_of_range far"},
			{38 * time.Millisecond, true, ""},
			{200 * time.Millisecond, true, ""}, // a copy that gives up late
			{100 * time.Microsecond, true, "out_of_range near"},
			{5 * time.Millisecond, false, ""},
			{100 * time.Microsecond, true, "out_of_range near"},
		} {
			s.say(step.echo)
			r, err := a.Sample(t.Context(), "distance")
			if err != nil || r.Stale != step.stale || (r.Value == nil) != step.stale {
				t.Errorf("step %d: %+v, %v, want one that has no value: %t", i, r, err, step.stale)
			}
			if got := told(); got != step.event {
				t.Errorf("step %d: event %q, want %q", i, got, step.event)
			}
			if step.echo > sonarEdge {
				if r, err := a.Sample(t.Context(), "echo"); err == nil || !strings.Contains(err.Error(), "still waits") {
					t.Errorf("step %d, too soon: %+v, %v, want an error", i, r, err)
				}
				pass(time.Second)
			}
		}
		if r, err := a.Sample(t.Context(), "out_of_range"); err == nil {
			t.Errorf("an event is read as %+v", r)
		}
	})
}

// TestSonarMedian has a wrong echo among right ones, and one that does not come.
func TestSonarMedian(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, a := sonarBench(t, 5, 20)
		const right = 5 * time.Millisecond
		s.say(right, 38*time.Millisecond, -1, right+40*time.Microsecond, right-40*time.Microsecond)
		r, err := a.Sample(t.Context(), "echo")
		if got, ok := r.Value.(float64); err != nil || !ok || math.Abs(got-5020) > 1 {
			t.Errorf("echo %+v, %v, want the mean of those in the middle, 5020 µs", r, err)
		}
		s.say(right, -1, -1, -1, right)
		if r, err := a.Sample(t.Context(), "echo"); err == nil || !strings.Contains(err.Error(), "no sensor answers on pin18") {
			t.Errorf("3 of 5 without an answer: %+v, %v, want an error", r, err)
		}
		s.say(right)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if r, err := a.Sample(ctx, "echo"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("too short a time: %+v, %v", r, err)
		}
		if s.chip.Level(23) != 0 {
			t.Error("Trig was left high")
		}
	})
}

func TestSonarUnplugged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chip := gpiotest.New("pinctrl-bcm2835", 28)
		(&sonarSensor{chip: chip, echoes: []time.Duration{5 * time.Millisecond}}).plug(t)
		present := chip
		a := startSonar(t, fmt.Sprintf(sonarLines, 1, 20), Deps{OpenChip: func(string) (gpio.Chip, error) {
			if present == nil {
				return nil, os.ErrNotExist
			}
			return present.Open(), nil
		}})
		if _, err := a.Sample(t.Context(), "distance"); err != nil {
			t.Fatal(err)
		}
		chip.Unplug()
		present = nil
		for range 2 {
			if r, err := a.Sample(t.Context(), "distance"); err == nil {
				t.Errorf("unplugged: %+v, want an error", r)
			}
		}
		present = gpiotest.New("pinctrl-bcm2835", 28)
		(&sonarSensor{chip: present, echoes: []time.Duration{5 * time.Millisecond}}).plug(t)
		if _, err := a.Sample(t.Context(), "distance"); err != nil {
			t.Errorf("after it is back: %v", err)
		}
	})
}

func TestSonarIIO(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "sonar/srf04")
	a := startSonar(t, "{driver: iio, samples: 1, temperature: 0}", Deps{Root: tree.root})
	r, err := a.Sample(t.Context(), "distance")
	if got, ok := r.Value.(float64); err != nil || !ok || math.Abs(got-1.234*331.3/343.5) > 0.0001 {
		t.Errorf("distance %+v, %v, want 1.234 m corrected for 0 °C", r, err)
	}
	tree.rename("sys/bus/iio/devices/iio:device0", "gone/0")
	if r, err := a.Sample(t.Context(), "distance"); err == nil || !strings.Contains(err.Error(), "devantech,srf04") {
		t.Errorf("unplugged: %+v, %v, want an error that says what to do", r, err)
	}
	tree.rename("gone/0", "sys/bus/iio/devices/iio:device3")
	if _, err := a.Sample(t.Context(), "distance"); err != nil {
		t.Errorf("after it is back: %v", err)
	}
	tree.write("sys/devices/platform/proximity/iio:device0/name", "vl53l0x")
	if _, err := tree.start(sonarFactory(), "driver: iio"); err == nil || !strings.Contains(err.Error(), "vl53l0x") {
		t.Errorf("another sensor only: error %v, want it not taken in silence", err)
	}
}

// sonarLink is a connection to a broker on which somebody says the temperature.
type sonarLink struct {
	Link
	topic   string
	say     func([]byte)
	stopped bool
}

func (l *sonarLink) Subscribe(topic string, f func([]byte)) (func(), error) {
	if strings.Contains(topic, "#") {
		return nil, errors.New("topic has a wildcard")
	}
	l.topic, l.say = topic, f
	return func() { l.stopped = true }, nil
}

func TestSonarTemperature(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "sonar/srf04")
	link := &sonarLink{}
	a := startSonar(t, "{driver: iio, temperature: 15, temperature_topic: /pi/dht22/temperature}", Deps{Root: tree.root, Link: link})
	for _, step := range []struct {
		payload string
		want    float64
	}{{"", 15}, {"21.5", 21.5}, {" -10.1\n", -10.1}, {"", 15}, {"30", 30}, {"NaN", 15}, {"30", 30}, {"900", 15}, {"warm", 15}} {
		link.say([]byte(step.payload))
		if r, err := a.Sample(t.Context(), "temperature"); err != nil || r.Value != step.want {
			t.Errorf("after %q: %+v, %v, want %v", step.payload, r, err, step.want)
		}
	}
	if err := a.Close(); err != nil || link.topic != "/pi/dht22/temperature" || !link.stopped {
		t.Errorf("close: %v; subscription of %q stopped: %t", err, link.topic, link.stopped)
	}
	if _, err := iioStart(t, sonarFactory(), "{driver: iio, temperature_topic: '#'}", Deps{Root: tree.root, Link: link}); err == nil || !strings.Contains(err.Error(), "options.yaml:1: temperature_topic") {
		t.Errorf("wildcard: error %v, want it refused with its line", err)
	}
}

func FuzzSonarAir(f *testing.F) {
	for _, s := range []string{"21.5", "", "NaN", "1e3", "-40", "85.0001", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := sonarWith(sonarOptions{Samples: 1, Temperature: 20}, nil)
		s.air(payload)
		if c := s.celsius(); !sonarIsAir(c) {
			t.Errorf("%q makes %v °C", payload, c)
		}
	})
}

// TestSonarSpeed compares with the tables of the speed of sound in dry air.
func TestSonarSpeed(t *testing.T) {
	t.Parallel()
	for celsius, want := range map[float64]float64{-20: 318.9, 0: 331.3, 20: 343.2, 35: 351.9} {
		if got := sonarSpeed(celsius); math.Abs(got-want) > 0.1 {
			t.Errorf("at %v °C: %v m/s, want %v", celsius, got, want)
		}
	}
}

func TestSonarRefused(t *testing.T) {
	t.Parallel()
	chip := gpiotest.New("pinctrl-bcm2835", 28)
	chip.Hog(5, "srf04")
	d := Deps{Service: "sonar", Root: t.TempDir(), OpenChip: func(string) (gpio.Chip, error) { return chip.Open(), nil }}
	for options, want := range map[string]string{
		"{trigger: 23}":                                     "echo: is missing",
		"{echo: 23}":                                        "trigger: is missing",
		"{trigger: 23, echo: 5}":                            `echo: request line 5 (GPIO5) of pinctrl-bcm2835: held by "srf04"`,
		"{trigger: 23, echo: 23}":                           `echo: "23" is line 23, which trigger has already`,
		"{trigger: 23, echo: GPIO23}":                       `echo: "GPIO23" is line 23, which trigger has already`,
		"{chip: x, trigger: 23, echo: GPIO23}":              "held by",
		"{sim: true, temperature_topic: /pi/+/temperature}": "temperature_topic: topic \"/pi/+/temperature\" has a wildcard",
		"{trigger: 23, echo: 24, samples: 0}":               "0 is not from 1 to 9",
		"{trigger: 23, echo: 24, poll: 200ms}":              "3 samples of 60ms need at least 300ms",
		"{trigger: 23, echo: 24, temperature: 99}":          "99 is not from -40 to 85 °C",
		"{trigger: 23, echo: 24, device: srf04}":            "only iio has devices",
		"{driver: iio, echo: 24}":                           "iio takes no chip, trigger and echo",
		"{driver: iio}":                                     "devantech,srf04",
		"driver: HC":                                        `"HC" is neither gpio nor iio`,
	} {
		if _, err := iioStart(t, sonarFactory(), options, d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", options, err, want)
		}
	}
	if info, err := chip.Info(); err != nil || info.Lines[23].Used {
		t.Errorf("after what was refused: line 23 is %+v, %v, want it free", info.Lines[23], err)
	}
	var _ BatchSampler = (*sonar)(nil)
	a, err := iioStart(t, sonarFactory(), "sim: true", Deps{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.(Sampler).Sample(t.Context(), "distance")
	if v, ok := r.Value.(float64); err != nil || !ok || v < 0.2 || v > 2.5 || !a.Describe().Simulated {
		t.Errorf("simulated: %+v, %v", r, err)
	}
	if _, err := a.(Sampler).Sample(t.Context(), "no/such"); reports.CodeOf(err) != reports.CodeUnknown {
		t.Errorf("no such point: %v", err)
	}
}
