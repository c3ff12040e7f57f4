package pwm

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

func TestSoftware(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		o    Options
		pass time.Duration
		want []time.Duration
	}{
		{"100 Hz unless said otherwise", Options{Initial: 0.25}, 21 * ms, []time.Duration{0, 2500 * time.Microsecond, 10 * ms, 12500 * time.Microsecond, 20 * ms}},
		{"servo", Options{Period: 20 * ms, Initial: 0.075}, 22 * ms, []time.Duration{0, 1500 * time.Microsecond, 20 * ms, 21500 * time.Microsecond}},
		{"inverted", Options{Initial: 0.25, Inverted: true}, 11 * ms, []time.Duration{0, 0, 2500 * time.Microsecond, 10 * ms}},
		{"inverted and off", Options{Inverted: true}, time.Hour, []time.Duration{0}},
		{"off", Options{}, time.Hour, nil},
		{"full", Options{Initial: 1}, time.Hour, []time.Duration{0}},
		{"less than a nanosecond is off", Options{Initial: 1e-12}, time.Hour, nil},
		{"slowest", Options{Period: MaxSoftwarePeriod, Initial: 0.5}, 12 * time.Second, []time.Duration{0, 5 * time.Second, 10 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tc.o)
				pass(tc.pass)
				r.want(tc.want...)
			})
		})
	}
}

func TestSoftwareChange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		from  float64
		after time.Duration
		to    float64
		want  []time.Duration
	}{
		{"shorter, in the pulse", 0.5, 1 * ms, 0.2, []time.Duration{0, 5 * ms, 10 * ms, 12 * ms, 20 * ms, 22 * ms}},
		{"longer, in the gap", 0.2, 3 * ms, 0.5, []time.Duration{0, 2 * ms, 10 * ms, 15 * ms, 20 * ms, 25 * ms}},
		{"off, in the pulse", 0.5, 1 * ms, 0, []time.Duration{0, 5 * ms}},
		{"full, in the pulse", 0.5, 1 * ms, 1, []time.Duration{0, 5 * ms, 10 * ms}},
		{"full, in the gap", 0.5, 6 * ms, 1, []time.Duration{0, 5 * ms, 10 * ms}},
		{"from off, at once", 0, 3 * ms, 0.5, []time.Duration{3 * ms, 8 * ms, 13 * ms, 18 * ms, 23 * ms, 28 * ms}},
		{"from full, in its first period", 1, 3 * ms, 0.5, []time.Duration{0, 15 * ms, 20 * ms, 25 * ms}},
		{"from full, at once", 1, 13 * ms, 0.5, []time.Duration{0, 18 * ms, 23 * ms, 28 * ms}},
		{"from full to off, in its first period", 1, 3 * ms, 0, []time.Duration{0, 10 * ms}},
		{"from full to off, at once", 1, 13 * ms, 0, []time.Duration{0, 13 * ms}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{Initial: tc.from})
				pass(tc.after)
				r.set(tc.to)
				pass(29*ms - tc.after)
				r.want(tc.want...)
			})
		})
	}
}

// TestSoftwareSteady: off and full cost nothing, however long they last.
func TestSoftwareSteady(t *testing.T) {
	t.Parallel()
	for _, duty := range []float64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{Initial: 0.5})
			pass(25 * ms)
			r.set(duty)
			pass(20 * ms)
			waits, sets := r.clock.waits, r.line.count()
			pass(time.Hour)
			r.set(duty)
			pass(time.Hour)
			if r.clock.waits != waits || r.line.count() != sets {
				t.Errorf("at duty %v: %d waits and %d writes in two hours, want none", duty, r.clock.waits-waits, r.line.count()-sets)
			}
			if got := r.level(); got != int(duty) {
				t.Errorf("at duty %v: level %d", duty, got)
			}
		})
	}
}

func TestSoftwareClose(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		o        Options
		after    time.Duration
		inactive int
	}{
		{Options{Initial: 0.5}, 1 * ms, 0},
		{Options{Initial: 0.5}, 7 * ms, 0},
		{Options{Initial: 0.5, Inverted: true}, 1 * ms, 1},
		{Options{Initial: 1}, time.Second, 0},
		{Options{Initial: 1, Inverted: true}, time.Second, 1},
		{Options{}, time.Second, 0},
		{Options{Period: MaxSoftwarePeriod, Initial: 0.5}, time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, tc.o)
			pass(tc.after)
			before := time.Now()
			for range 2 {
				if err := r.channel.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			}
			if took := time.Since(before); took != 0 || r.level() != tc.inactive {
				t.Errorf("%+v: closed after %v with level %d, want at once with %d", tc.o, took, r.level(), tc.inactive)
			}
			if err := r.channel.Set(0.5); !errors.Is(err, gpio.ErrClosed) {
				t.Errorf("Set after Close: error %v, want ErrClosed", err)
			}
			sets := r.line.count()
			pass(time.Minute)
			if got := r.line.count(); got != sets {
				t.Errorf("%d writes after Close", got-sets)
			}
		})
	}
}

func TestSoftwareRefuses(t *testing.T) {
	t.Parallel()
	c := gpiotest.Sim()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	output, err := c.Request(1, gpio.LineOptions{Output: true})
	if err != nil {
		t.Fatal(err)
	}
	input, err := c.Request(2, gpio.LineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		line gpio.Line
		o    Options
		want string
	}{
		{output, Options{Period: ms - 1}, "software pwm: period 999.999µs: must be from 1ms to 10s"},
		{output, Options{Period: 10*time.Second + 1}, "software pwm: period 10.000000001s: must be from 1ms to 10s"},
		{output, Options{Period: -1}, "software pwm: period -1ns: must be more than 0"},
		{output, Options{Initial: 1.1}, "software pwm: duty 1.1: must be from 0 to 1"},
		{input, Options{}, "software pwm: set line 2 of sim: operation not permitted"},
	} {
		if _, err := Software(tc.line, tc.o); err == nil || err.Error() != tc.want {
			t.Errorf("Software(%+v): error %v, want %s", tc.o, err, tc.want)
		}
	}
}

// TestSoftwareBadDuty: a duty that is refused changes nothing.
func TestSoftwareBadDuty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Initial: 0.5})
		for _, duty := range []float64{-0.01, 1.01, math.NaN(), math.Inf(1)} {
			if err := r.channel.Set(duty); err == nil || !strings.Contains(err.Error(), "must be from 0 to 1") {
				t.Errorf("Set(%v): error %v, want one that says the range", duty, err)
			}
		}
		pass(14 * ms)
		r.want(0, 5*ms, 10*ms)
	})
}

// TestSoftwareFailed: a failure ends the pulses, is told once, and the next Set begins them again.
func TestSoftwareFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []error
		r := newRig(t, Options{Initial: 0.5, Failed: func(err error) { told = append(told, err) }})
		r.set(0.5) // leaves a wake-up behind, which must not begin the pulses again
		pass(12 * ms)
		r.line.fail(syscall.ENODEV)
		pass(time.Hour)
		sets := r.line.count()
		pass(time.Hour)
		if len(told) != 1 || !errors.Is(told[0], syscall.ENODEV) || r.line.count() != sets {
			t.Errorf("told %v, then %d writes, want ENODEV once, none", told, r.line.count()-sets)
		}
		r.set(0.3)
		pass(time.Hour)
		if len(told) != 2 {
			t.Errorf("after another Set on a line that still fails: told %v, want twice", told)
		}
		r.line.fail(nil)
		start := time.Since(r.start)
		r.set(0.3)
		pass(11 * ms)
		r.want(0, 5*ms, 10*ms, start+3*ms, start+10*ms)
	})
}

// TestSoftwareFailedUnheard: without Failed, the next Set says what has happened, once.
func TestSoftwareFailedUnheard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Initial: 0.5})
		pass(2 * ms)
		r.line.fail(syscall.EIO)
		pass(time.Hour)
		r.line.fail(nil)
		if err := r.channel.Set(0.2); !errors.Is(err, syscall.EIO) {
			t.Errorf("Set after a failure: error %v, want EIO", err)
		}
		pass(time.Hour)
		r.want(0)
		r.set(0.2)
		start := time.Since(r.start)
		pass(3 * ms)
		r.want(0, start+2*ms)
	})
}

// TestSoftwareCloseFails: who closes hears that the line could not be made inactive.
func TestSoftwareCloseFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Initial: 1})
		r.line.fail(syscall.ENODEV)
		if err := r.channel.Close(); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("Close() = %v, want ENODEV", err)
		}
	})
}

// TestSoftwareLate: the system wakes the goroutine late.
func TestSoftwareLate(t *testing.T) {
	t.Parallel()
	const us = time.Microsecond
	for _, tc := range []struct {
		name string
		late map[int]time.Duration
		want []time.Duration
	}{
		{"a little, at every edge: no drift", map[int]time.Duration{1: 60 * us, 2: 90 * us, 3: 10 * us, 4: 100 * us, 5: 70 * us},
			[]time.Duration{0, 2060 * us, 10090 * us, 12010 * us, 20100 * us, 22070 * us, 30 * ms}},
		{"much, at the rise: the pulse is whole, the next comes at its time", map[int]time.Duration{2: 1500 * us},
			[]time.Duration{0, 2 * ms, 11500 * us, 13500 * us, 20 * ms, 22 * ms, 30 * ms}},
		{"much, at the fall: the next pulses pay for it", map[int]time.Duration{1: 450 * us},
			[]time.Duration{0, 2450 * us, 10 * ms, 11550 * us, 20 * ms, 22 * ms, 30 * ms}},
		{"so late that hardly a gap is left: it has a quarter", map[int]time.Duration{1: 6100 * us},
			[]time.Duration{0, 8100 * us, 10100 * us, 11 * ms, 20 * ms, 21 * ms, 30 * ms}},
		{"for periods: they are skipped, and pulses are longer for it", map[int]time.Duration{2: 24 * ms},
			[]time.Duration{0, 2 * ms, 34 * ms, 38 * ms, 40 * ms, 44 * ms, 50 * ms}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{})
				r.clock.late = func(wait int) time.Duration { return tc.late[wait] }
				r.set(0.2)
				pass(tc.want[len(tc.want)-1])
				r.want(tc.want...)
			})
		})
	}
}

// TestSoftwareWhole: no pulse of a servo pays for another.
func TestSoftwareWhole(t *testing.T) {
	t.Parallel()
	const us = time.Microsecond
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Whole: true})
		r.clock.late = func(wait int) time.Duration { return map[int]time.Duration{1: 450 * us}[wait] }
		r.set(0.2)
		pass(30 * ms)
		r.want(0, 2450*us, 10*ms, 12*ms, 20*ms, 22*ms, 30*ms)
	})
}

// TestSoftwareHonest: however late each edge is, no period is stretched, and the line is active for as long as was asked for.
func TestSoftwareHonest(t *testing.T) {
	t.Parallel()
	for _, duty := range []float64{0.1, 0.5, 0.8} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{})
			random := rand.New(rand.NewPCG(1, 2))
			r.clock.late = func(int) time.Duration { return time.Duration(random.ExpFloat64() * float64(300*time.Microsecond)) }
			var rises int
			var active time.Duration
			var rose time.Time
			defer r.chip.Watch(lineOffset, func(c gpiotest.Change) {
				if c.Level == 1 {
					rises, rose = rises+1, c.Time
				} else if !rose.IsZero() {
					active += c.Time.Sub(rose)
				}
			})()
			r.set(duty)
			const periods = 2000
			pass(periods * DefaultPeriod)
			r.chip.Wait()
			if got := active.Seconds() / (periods * DefaultPeriod).Seconds(); math.Abs(got-duty) > 0.002 || rises < periods*99/100 || rises > periods+1 {
				t.Errorf("duty %v is %.4f in %d pulses of %d periods", duty, got, rises, periods)
			}
		})
	}
}

// TestSoftwareShortPulse: a pulse of some microseconds may not lose more than a quarter by a rise that is late.
func TestSoftwareShortPulse(t *testing.T) {
	t.Parallel()
	const us = time.Microsecond
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.clock.late = func(wait int) time.Duration { return map[int]time.Duration{2: 5 * us, 4: 6 * us}[wait] }
		r.set(0.002)
		pass(31 * ms)
		r.want(0, 20*us, 10*ms+5*us, 10*ms+20*us, 20*ms+6*us, 20*ms+26*us, 30*ms, 30*ms+20*us)
	})
}

// TestSoftwareProperties: whatever duties are set at whatever times, no pulse and no gap is shorter than the shortest that was asked
// for, and the level is that of a steady duty one period later.
func TestSoftwareProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				duty: float64(rapid.IntRange(0, 20).Draw(rt, "duty")) / 20,
				stay: time.Duration(rapid.Int64Range(0, int64(3*DefaultPeriod)).Draw(rt, "stay")),
			}
		}), 1, 20).Draw(rt, "steps")
		var problem error
		synctest.Test(t, func(t *testing.T) { problem = newRig(t, Options{}).play(steps) })
		if problem != nil {
			rt.Error(problem)
		}
	})
}

// TestSoftwareRace uses a channel from everywhere at once.
func TestSoftwareRace(t *testing.T) {
	t.Parallel()
	chip := gpiotest.Sim()
	l, err := chip.Request(lineOffset, gpio.LineOptions{Output: true})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := Software(l, Options{Period: ms, Initial: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				if err := ch.Set(float64((i+j)%11) / 10); err != nil && !errors.Is(err, gpio.ErrClosed) {
					t.Error(err)
				}
			}
			if err := ch.Close(); err != nil {
				t.Error(err)
			}
			if got := chip.Level(lineOffset); got != 0 {
				t.Errorf("level %d after Close, want 0", got)
			}
		})
	}
	wg.Wait()
	if err := chip.Close(); err != nil {
		t.Error(err)
	}
}

// TestSoftwareReal makes pulses by the clock of this system. It only looks at what a loaded machine cannot spoil: no pulse is cut
// short by more than half, and the frequency is not too high.
func TestSoftwareReal(t *testing.T) {
	t.Parallel()
	const periods, period, duty = 20, 10 * ms, 0.3
	f := measure(t, gpiotest.Sim(), lineOffset, periods, Options{Period: period, Initial: duty})
	if f.periods != periods {
		t.Errorf("%d periods, want %d", f.periods, periods)
	}
	if least := active(duty, period)/2 - tolerance - 50*time.Microsecond; f.shortest < least {
		t.Errorf("shortest pulse %v, want at least %v", f.shortest, least)
	}
	if f.took < (periods-1)*period {
		t.Errorf("%d periods took %v, want about %v", periods, f.took, periods*period)
	}
}
