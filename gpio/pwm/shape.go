package pwm

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// maxGamma is far more than any lamp or eye needs.
const maxGamma = 10

// Shape fits what is wired to a channel: a motor that does not turn below a duty, a lamp that must not have all of it, an eye to
// which half the light is not half as bright. The zero value is the straight line from 0 to 100 %.
type Shape struct {
	Min   float64 // percent duty of the least that is more than off
	Max   float64 // percent duty of 100 %; 0: 100
	Gamma float64 // 1 or 0: linear; 2.2 to 2.8 look even on LEDs
}

// Validate tells what is wrong with the shape.
func (s Shape) Validate() error {
	switch s = s.normal(); {
	case !(s.Min >= 0 && s.Min < 100):
		return fmt.Errorf("min %v: must be from 0 to less than 100 percent", s.Min)
	case !(s.Max > 0 && s.Max <= 100):
		return fmt.Errorf("max %v: must be more than 0 and at most 100 percent", s.Max)
	case s.Min > s.Max:
		return fmt.Errorf("min %v: must not be more than max, which is %v percent", s.Min, s.Max)
	case !(s.Gamma > 0 && s.Gamma <= maxGamma):
		return fmt.Errorf("gamma %v: must be more than 0 and at most %v", s.Gamma, maxGamma)
	}
	return nil
}

func (s Shape) normal() Shape {
	if s.Max == 0 {
		s.Max = 100
	}
	if s.Gamma == 0 {
		s.Gamma = 1
	}
	return s
}

// Duty returns the duty, 0 to 1, of a valid shape at that many percent: 0 % and less is off, whatever Min; 100 % and more is Max.
// It never falls where percent rises. What is not a number is off.
func (s Shape) Duty(percent float64) float64 {
	s = s.normal()
	switch {
	case percent >= 100:
		return s.Max / 100
	case percent > 0:
		part := math.Pow(percent/100, s.Gamma)
		return min(s.Max, s.Min+(s.Max-s.Min)*part) / 100
	}
	return 0
}

// What a Servo's zero values stand for: the limits that every hobby servo keeps to.
const (
	DefaultServoPeriod = 20 * time.Millisecond
	DefaultMinPulse    = time.Millisecond
	DefaultMaxPulse    = 2 * time.Millisecond
	DefaultMaxAngle    = 180.0
)

// Servo is a motor that turns to the angle which the length of a pulse tells it.
type Servo struct {
	MinPulse, MaxPulse time.Duration // 0: DefaultMinPulse, DefaultMaxPulse
	MinAngle, MaxAngle float64       // degrees at these; both 0: 0 to DefaultMaxAngle. Min more than max: it turns the other way
	Period             time.Duration // 0: DefaultServoPeriod
}

// Normal returns the servo with its defaults filled in, or what is wrong with it.
func (s Servo) Normal() (Servo, error) {
	if s.MinPulse == 0 {
		s.MinPulse = DefaultMinPulse
	}
	if s.MaxPulse == 0 {
		s.MaxPulse = DefaultMaxPulse
	}
	if s.MinAngle == 0 && s.MaxAngle == 0 {
		s.MaxAngle = DefaultMaxAngle
	}
	if s.Period == 0 {
		s.Period = DefaultServoPeriod
	}
	switch span := s.MaxAngle - s.MinAngle; {
	case s.MinPulse < 0:
		return s, fmt.Errorf("min pulse %v: must be more than 0", s.MinPulse)
	case s.MinPulse >= s.MaxPulse:
		return s, fmt.Errorf("min pulse %v: must be less than the max pulse, which is %v", s.MinPulse, s.MaxPulse)
	case s.MaxPulse > s.Period:
		return s, fmt.Errorf("max pulse %v: must not be more than the period, which is %v", s.MaxPulse, s.Period)
	case span == 0, math.IsNaN(span), math.IsInf(span, 0):
		return s, fmt.Errorf("angles %v to %v: must be two different numbers", s.MinAngle, s.MaxAngle)
	}
	return s, nil
}

// Duty returns the duty that turns the servo to an angle in degrees. An angle outside of its limits is an error: the servo would run
// against its stop.
func (s Servo) Duty(angle float64) (float64, error) {
	s, err := s.Normal()
	if err != nil {
		return 0, err
	}
	low, high := min(s.MinAngle, s.MaxAngle), max(s.MinAngle, s.MaxAngle)
	if !(angle >= low && angle <= high) {
		return 0, fmt.Errorf("angle %v: must be from %v to %v degrees", angle, low, high)
	}
	part := (angle - s.MinAngle) / (s.MaxAngle - s.MinAngle)
	pulse := float64(s.MinPulse) + part*float64(s.MaxPulse-s.MinPulse)
	return pulse / float64(s.Period), nil
}

// FadeEvery is how often a fade is to be looked at: more steps than this the eye does not see.
const FadeEvery = 20 * time.Millisecond

// Fade goes evenly from one value to another. Let the values be percent, so that a Shape makes them even to the eye.
type Fade struct {
	From, To float64
	Start    time.Time
	For      time.Duration
}

// ErrFade is of a fade that has no end.
var ErrFade = errors.New("fade: must be numbers, and a time of 0 or more")

// Validate tells what is wrong with the fade.
func (f Fade) Validate() error {
	if sum := f.From + f.To; math.IsNaN(sum) || math.IsInf(sum, 0) || f.For < 0 {
		return ErrFade
	}
	return nil
}

// At returns the value of a valid fade at a time, and whether it has come to its end, where the value is To exactly.
func (f Fade) At(now time.Time) (value float64, done bool) {
	passed := now.Sub(f.Start)
	switch {
	case passed >= f.For:
		return f.To, true
	case passed <= 0:
		return f.From, false
	}
	part := float64(passed) / float64(f.For)
	// Not From + part*(To-From), which need not stay between the two.
	return max(min(f.From, f.To), min(max(f.From, f.To), f.From*(1-part)+f.To*part)), false
}
