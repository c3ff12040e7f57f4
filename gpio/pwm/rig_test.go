package pwm

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

const (
	lineOffset = 17
	ms         = time.Millisecond
)

// pass lets time pass by the bubble's clock, and all that is due be done.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// lateClock is a clock of timers that is late at waits of a test's choice, and counts them.
type lateClock struct {
	*timerClock
	waits int
	late  func(wait int) time.Duration
}

func (c *lateClock) until(t time.Time) bool {
	c.waits++
	return c.timerClock.until(t.Add(c.late(c.waits)))
}

// rig is a channel on a line in memory, in the time of a bubble.
type rig struct {
	t       *testing.T
	chip    *gpiotest.Chip
	line    *faulty
	clock   *lateClock
	channel Channel
	start   time.Time
}

// faulty is a line that can fail.
type faulty struct {
	gpio.Line
	mu   sync.Mutex
	err  error
	sets int
}

func (f *faulty) SetValue(v int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sets++
	if f.err != nil {
		return f.err
	}
	return f.Line.SetValue(v)
}

func (f *faulty) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *faulty) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sets
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{t: t, chip: gpiotest.Sim(), start: time.Now()}
	value := 0
	if o.Inverted {
		value = 1
	}
	l, err := r.chip.Request(lineOffset, gpio.LineOptions{Output: true, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	r.line = &faulty{Line: l}
	r.clock = &lateClock{timerClock: newTimerClock(), late: func(int) time.Duration { return 0 }}
	r.channel, err = newSoftware(r.line, o, func() clock { return r.clock })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.channel.Close(), r.chip.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) set(duty float64) {
	r.t.Helper()
	if err := r.channel.Set(duty); err != nil {
		r.t.Fatal(err)
	}
}

// want checks at what times the line has changed so far. It began low.
func (r *rig) want(times ...time.Duration) {
	r.t.Helper()
	var got []time.Duration
	for i, c := range r.chip.History(lineOffset) {
		got = append(got, c.Time.Sub(r.start))
		if c.Level != (i+1)%2 {
			r.t.Errorf("change %d is to %d", i, c.Level)
		}
	}
	if !slices.Equal(got, times) {
		r.t.Errorf("changes at %v, want %v", got, times)
	}
}

func (r *rig) level() int { return r.chip.Level(lineOffset) }

// play sets duties and says what was wrong with the pulses.
func (r *rig) play(steps []step) error {
	pulse, gap := DefaultPeriod, DefaultPeriod
	for _, s := range steps {
		r.set(s.duty)
		if on := active(s.duty, DefaultPeriod); on > 0 && on < DefaultPeriod {
			pulse, gap = min(pulse, on), min(gap, DefaultPeriod-on)
		}
		pass(s.stay)
		if s.duty == 0 || s.duty == 1 {
			pass(DefaultPeriod)
			if got := r.level(); got != int(s.duty) {
				return fmt.Errorf("a period after duty %v: level %d", s.duty, got)
			}
		}
	}
	changes := r.chip.History(lineOffset)
	for i := 1; i < len(changes); i++ {
		level, took := changes[i-1].Level, changes[i].Time.Sub(changes[i-1].Time)
		if least := []time.Duration{gap, pulse}[level]; took < least {
			return fmt.Errorf("change %d: level %d for %v, want at least %v", i, level, took, least)
		}
	}
	return nil
}

// step is a duty that is set, and how long nothing else is.
type step struct {
	duty float64
	stay time.Duration
}
