// Package pwm makes pulse-width modulated outputs: by a channel of the kernel's PWM chips, where a line has one, or by a goroutine on
// any line that can be driven. Shape, Servo and Fade turn what a user says (percent, angle, time) into duties, without I/O. The
// package knows no agent, no topic and no configuration.
package pwm

import (
	"fmt"
	"math"
	"time"
)

// Channel is an output with a duty. It is safe for concurrent use.
type Channel interface {
	// Set gives the channel a new duty, 0 (never active) to 1 (always active), and does not wait: it begins with the next period.
	// A duty outside of that range is an error and changes nothing, and so is anything after Close: gpio.ErrClosed.
	Set(duty float64) error
	// Close makes the output inactive at once and gives the channel back. Closing again does nothing.
	Close() error
}

// DefaultPeriod is the period where none is given: 100 Hz, which every driver can do.
const DefaultPeriod = 10 * time.Millisecond

// The periods that Software accepts.
const (
	MinSoftwarePeriod = time.Millisecond
	MaxSoftwarePeriod = 10 * time.Second
)

// Options says how a channel works.
type Options struct {
	Period   time.Duration // 0: DefaultPeriod
	Inverted bool          // active is low (of a gpio.Line: 0)
	Initial  float64       // the duty to begin with, so that there is no gap before the first Set
	// TakeOver lets Hardware have a channel that is exported and makes pulses, as a program leaves it that was killed. Set it at
	// start, for what is our own by configuration; without it such a channel is held to be in use by another program.
	TakeOver bool
	// Prepared has Hardware not wait for the files of the channel: Prepare has.
	Prepared bool
	// Whole has Software let no pulse pay for another that ended late: for a servo, to which the length of each one says where to go.
	Whole bool
	// Failed is told when Software could not drive its line, once for a failure, from the channel's goroutine: it must not call
	// Close. The pulses have ended then; the next Set begins them again. Without Failed, the next Set returns the error instead and
	// changes nothing, and the one after it begins them again.
	Failed func(error)
}

// normal fills in the period and checks what all channels have in common.
func (o Options) normal() (Options, error) {
	if o.Period == 0 {
		o.Period = DefaultPeriod
	}
	if o.Period < 0 {
		return o, fmt.Errorf("period %v: must be more than 0", o.Period)
	}
	return o, checkDuty(o.Initial)
}

func checkDuty(duty float64) error {
	if !(duty >= 0 && duty <= 1) { // so written that it refuses what is not a number
		return fmt.Errorf("duty %v: must be from 0 to 1", duty)
	}
	return nil
}

// active returns how long of a period the output is active.
func active(duty float64, period time.Duration) time.Duration {
	return min(period, time.Duration(math.Round(duty*float64(period))))
}
