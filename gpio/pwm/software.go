package pwm

import (
	"fmt"
	"sync"
	"time"

	"rollcall/gpio"
)

// tolerance is how late an edge may be and the next one still come at its time; see onGrid.
const tolerance = 100 * time.Microsecond

// unknown is the value of a line that could not be driven.
const unknown = -1

// software makes pulses on a line. Its goroutine lives from Software to Close and sleeps where the duty is 0 or 1.
type software struct {
	line   gpio.Line
	period time.Duration
	high   int // the value that is active
	whole  bool
	failed func(error)
	clock  clock
	wake   chan struct{} // 1 deep: on has changed, or it is the end
	done   chan struct{} // closed when the goroutine has ended
	end    error         // of the last edge; to be read once done is closed
	// The goroutine's:
	value int           // that the line was given, or unknown
	since time.Time     // when it got another one
	owed  time.Duration // how long it was active more than it should have been

	mu     sync.Mutex
	on     time.Duration // of a period, from the next on
	err    error         // what the next Set is to return
	closed bool
}

// Software makes pulses on a line that was requested as an output, by a goroutine. Periods begin at absolute times, so that the
// frequency is exact; one that the system lets pass is skipped. A pulse that begins late is as long as it should be, its gap is
// shorter; for one that ends late the next pulses are a little shorter, unless Options.Whole forbids it. The line remains the
// caller's: close the channel first, then the line.
func Software(l gpio.Line, o Options) (Channel, error) { return newSoftware(l, o, newClock) }

func newSoftware(l gpio.Line, o Options, clock func() clock) (Channel, error) {
	o, err := o.normal()
	if err != nil {
		return nil, fmt.Errorf("software pwm: %w", err)
	}
	if o.Period < MinSoftwarePeriod || o.Period > MaxSoftwarePeriod {
		return nil, fmt.Errorf("software pwm: period %v: must be from %v to %v", o.Period, MinSoftwarePeriod, MaxSoftwarePeriod)
	}
	s := &software{
		line: l, period: o.Period, high: 1, whole: o.Whole, failed: o.Failed, value: unknown, on: active(o.Initial, o.Period),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if o.Inverted {
		s.high = 0
	}
	if err := s.drive(s.on > 0); err != nil {
		return nil, fmt.Errorf("software pwm: %w", err)
	}
	if s.on == 0 {
		s.since = time.Time{} // the line has been inactive before
	}
	s.clock = clock()
	go s.run()
	return s, nil
}

// Set gives the channel a new duty.
func (s *software) Set(duty float64) error {
	if err := checkDuty(duty); err != nil {
		return fmt.Errorf("set software pwm: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch err := s.err; {
	case s.closed:
		return fmt.Errorf("set software pwm: %w", gpio.ErrClosed)
	case err != nil:
		s.err = nil
		return fmt.Errorf("set software pwm: %w", err)
	}
	s.on = active(duty, s.period)
	s.poke()
	return nil
}

// Close ends the pulses.
func (s *software) Close() error {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.closed = true
		s.poke()
		s.clock.stop()
	}
	s.mu.Unlock()
	<-s.done
	if closed || s.end == nil {
		return nil
	}
	return fmt.Errorf("close software pwm: %w", s.end)
}

// poke wakes the goroutine if it sleeps; the lock is held.
func (s *software) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // it is to wake already
	}
}

// target returns what the next period is to be.
func (s *software) target() (on time.Duration, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.wake:
	default:
	}
	return s.on, s.closed
}

// run is the goroutine.
func (s *software) run() {
	defer close(s.done)
	defer s.clock.close()
	start := time.Now()
	for {
		on, closed := s.target()
		if closed {
			s.end = s.drive(false)
			return
		}
		var err error
		if steady := on == 0 || on == s.period; steady {
			err = s.drive(on > 0)
		} else if start, err = s.cycle(start, on); err == nil {
			continue
		}
		if err != nil {
			s.fail(err)
		}
		<-s.wake
		start, s.owed = s.boundary(), 0
	}
}

// boundary returns when the period begins that ends a steady duty: now, but no level lasts for less than a period.
func (s *software) boundary() time.Time {
	now := time.Now()
	if end := s.since.Add(s.period); now.Before(end) {
		s.clock.until(end)
		return end
	}
	return now
}

// cycle makes the period that begins at start, or, if that one is over, the one that goes on now, and returns when the next begins:
// a period later, so that the frequency is exact, but no gap is shorter than a quarter of what it should be.
func (s *software) cycle(start time.Time, on time.Duration) (next time.Time, err error) {
	if missed := time.Since(start) / s.period; missed > 0 {
		start = start.Add(missed * s.period)
		s.owe(-missed * on)
	}
	if err := s.drive(true); err != nil {
		return start, err
	}
	rise := s.since
	if rise.Before(start) { // it was active before
		rise = start
	}
	if !s.clock.until(onGrid(start, rise, on).Add(on - s.pay(on))) {
		return start, nil
	}
	if err := s.drive(false); err != nil {
		return start, err
	}
	s.owe(s.since.Sub(rise) - on)
	next = start.Add(s.period)
	if least := s.since.Add((s.period - on) / 4); least.After(next) {
		s.clock.until(least)
	} else {
		s.clock.until(next)
	}
	return next, nil
}

// owe takes note that the line was active for too long or, below 0, not for long enough.
func (s *software) owe(d time.Duration) { s.owed = max(-s.period, min(s.period, s.owed+d)) }

// pay returns by how much the next pulse is to be shorter, or longer, for what late edges have made of those before: half of the
// pulse at the most, or a quarter of the gap, and nothing for less than the usual lateness, which evens out by itself.
func (s *software) pay(on time.Duration) time.Duration {
	if s.whole || s.owed.Abs() <= tolerance {
		return 0
	}
	return max(-(s.period-on)/4, min(on/2, s.owed))
}

// onGrid returns when an edge came that was due and after which the level is to stay for a time: when it was due, if it was not much
// late, so that no drift adds up; or else now, so that the level does not last much shorter than it is to.
func onGrid(due, now time.Time, stay time.Duration) time.Time {
	if now.Sub(due) > min(tolerance, stay/4) {
		return now
	}
	return due
}

// drive makes the line active or inactive.
func (s *software) drive(active bool) error {
	value := s.high
	if !active {
		value = 1 - value
	}
	if value == s.value {
		return nil
	}
	s.value = unknown
	if err := s.line.SetValue(value); err != nil {
		return err
	}
	s.value, s.since = value, time.Now()
	return nil
}

// fail ends the pulses and reports why.
func (s *software) fail(err error) {
	// A line that just failed is not likely to do this, but a line that is left active may be a heater; err says what is wrong.
	_ = s.drive(false)
	if s.failed != nil {
		s.failed(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}
