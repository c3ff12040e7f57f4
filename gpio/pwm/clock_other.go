//go:build !linux

package pwm

// newClock returns the best clock of this system.
func newClock() clock { return newTimerClock() }
