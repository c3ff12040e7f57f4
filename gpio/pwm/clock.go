package pwm

import "time"

// clock is the time of one goroutine, which alone calls until and close.
type clock interface {
	// until waits for a time, or tells that it ended before because of stop.
	until(t time.Time) bool
	// stop ends the wait at present and all later ones. It may be called from anywhere.
	stop()
	close()
}

// timerClock is the clock of Go's timers. On Linux these are up to a millisecond late, as the runtime waits in whole milliseconds.
type timerClock struct {
	timer   *time.Timer
	stopped chan struct{}
}

func newTimerClock() *timerClock {
	c := &timerClock{timer: time.NewTimer(0), stopped: make(chan struct{})}
	c.timer.Stop()
	return c
}

func (c *timerClock) until(t time.Time) bool {
	c.timer.Reset(time.Until(t))
	select {
	case <-c.timer.C:
		return true
	case <-c.stopped:
		return false
	}
}

func (c *timerClock) stop() { close(c.stopped) }

func (c *timerClock) close() { c.timer.Stop() }
