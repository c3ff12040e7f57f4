package agents

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/pwm"
	"rollcall/reports"
)

// gpioMod is a modulated output, its defaults in place.
type gpioMod struct {
	servo    *pwm.Servo // nil: a plain one, in percent
	min, max float64    // of what it can be set to
	initial  float64    // NaN: nothing, no pulses
	safe     float64    // percent
	shape    pwm.Shape
	fade     time.Duration // from 0 to 100
	failsafe *gpioFailsafe
}

// gpioFade is a fade that goes on.
type gpioFade struct {
	pwm.Fade
	next time.Time
}

// Default periods: what hardware can do is not seen, what software can do is cheap.
const (
	gpioHardPeriod = time.Millisecond
	gpioSoftPeriod = 10 * time.Millisecond
)

// gpioServoLimits is a servo with its defaults in place.
type gpioServoLimits struct {
	MinAngle, MaxAngle float64
	MinPulse, MaxPulse reports.Duration
	Period             reports.Duration
}

func (s gpioServo) resolved() gpioServoLimits {
	return gpioServoLimits{MinAngle: s.MinAngle, MaxAngle: orDefault(s.MaxAngle, pwm.DefaultMaxAngle),
		MinPulse: cmp.Or(s.MinPulse, reports.Duration(pwm.DefaultMinPulse)), MaxPulse: cmp.Or(s.MaxPulse, reports.Duration(pwm.DefaultMaxPulse)),
		Period: cmp.Or(s.Period, reports.Duration(pwm.DefaultServoPeriod))}
}

// wire makes the line of a modulated output.
func (p gpioPWM) wire(l *gpioLine, info gpio.ChipInfo, root string) error {
	l.mod = &gpioMod{max: 100, initial: p.Initial, safe: p.Safe, shape: pwm.Shape{Min: p.Min, Max: orDefault(p.Max, 100), Gamma: p.Gamma},
		fade: time.Duration(p.Fade), failsafe: p.Failsafe}
	if l.mod.shape.Max == 0 { // which is 100 to a shape
		l.mod.shape = pwm.Shape{Max: math.SmallestNonzeroFloat64}
	}
	if err := l.mod.shape.Validate(); err != nil {
		return &gpioFault{l.at, err}
	}
	return l.wireMod(p.Driver, time.Duration(p.Period), p.Polarity == gpioInverted, info, root)
}

// wire makes the line of a servo.
func (s gpioServo) wire(l *gpioLine, info gpio.ChipInfo, root string) error {
	r := s.resolved()
	servo, err := pwm.Servo{MinPulse: time.Duration(r.MinPulse), MaxPulse: time.Duration(r.MaxPulse), MinAngle: r.MinAngle, MaxAngle: r.MaxAngle,
		Period: time.Duration(r.Period)}.Normal()
	if err != nil {
		return &gpioFault{l.at, err}
	}
	l.mod = &gpioMod{servo: &servo, min: r.MinAngle, max: r.MaxAngle, initial: orDefault(s.Initial, math.NaN())}
	return l.wireMod(s.Driver, servo.Period, false, info, root)
}

// limited reports whether it is a modulated output with a failsafe.
func (l *gpioLine) limited() bool { return l.mod != nil && l.mod.failsafe != nil }

// wireMod decides who makes the pulses.
func (l *gpioLine) wireMod(driver gpioPWMDriver, period time.Duration, inverted bool, info gpio.ChipInfo, root string) error {
	w := &l.wiring
	w.output, w.activeLow, w.drive = true, inverted, gpio.PushPull
	if w.chip, w.channel, w.hardware = driver.channel(); !w.hardware && driver != gpioSoftware {
		w.chip, w.channel, w.hardware = pwm.Find(root, info.Label, w.offset)
		if !w.hardware && driver == gpioHardware {
			return &gpioFault{l.at + ".driver", fmt.Errorf("line %d of %s has no channel of the hardware that the kernel knows", w.offset, info)}
		}
	}
	if w.hardware {
		w.period = cmp.Or(period, gpioHardPeriod)
		if l.mod.safe != 0 {
			return &gpioFault{l.at + ".safe", errors.New("the pin has a channel of the hardware, which always stops at 0; say driver: software")}
		}
		return nil
	}
	w.chip, w.channel = 0, 0
	if w.period = cmp.Or(period, gpioSoftPeriod); w.period < pwm.MinSoftwarePeriod {
		return &gpioFault{l.at + ".period", fmt.Errorf("%s is too short, software needs at least %s", w.period, pwm.MinSoftwarePeriod)}
	}
	return nil
}

// duty returns the duty of a value.
func (m *gpioMod) duty(v float64) float64 {
	switch {
	case math.IsNaN(v):
		return 0
	case m.servo == nil:
		return m.shape.Duty(v)
	}
	d, err := m.servo.Duty(v)
	if err != nil {
		return 0 // it was checked that it is within
	}
	return d
}

// requestMod takes a modulated output with the duty that it had, or is to begin with.
func (a *gpioAgent) requestMod(chip gpio.Chip, l *gpioLine) error {
	h := &gpioHold{duty: l.mod.duty(l.mod.initial)}
	if l.hold != nil { // it is put back
		h.duty = l.hold.duty
	}
	w := l.wiring
	o := pwm.Options{Period: w.period, Initial: h.duty, Whole: l.mod.servo != nil}
	var err error
	if w.hardware {
		// What runs although our set-up has it was left by a run of ours that was killed; later it can be anybody's.
		o.Inverted, o.TakeOver, o.Prepared = w.activeLow, a.unmet != nil, l.prepared
		h.channel, err = pwm.Hardware(a.deps.Root, w.chip, w.channel, o)
	} else {
		h.line, err = chip.Request(w.offset, gpio.LineOptions{Consumer: a.consumer(), Output: true, ActiveLow: w.activeLow, Drive: w.drive})
		if err == nil {
			o.Failed = func(err error) { a.log.Error("pulses have ended", "output", l.path, "err", err) }
			if h.channel, err = pwm.Software(h.line, o); err != nil {
				err = errors.Join(err, h.line.Close())
			}
		}
	}
	if err != nil {
		return fmt.Errorf("take %s: %w", l.path, err)
	}
	l.hold = h
	return nil
}

// beginMod gives a modulated output its value: the one that it has, or the first one.
func (t *gpioTaking) beginMod(l *gpioLine) error {
	old := l.old
	if old == nil || old.hold != l.hold || old.mod == nil || (old.mod.servo == nil) != (l.mod.servo == nil) {
		l.value = l.mod.initial
	} else {
		l.value = old.value
		if is, was := l.mod.failsafe.rule(), old.mod.failsafe.rule(); is != nil && was != nil && is.Action == was.Action {
			l.safe = old.safe
		}
		if !math.IsNaN(l.value) {
			l.value = min(max(l.value, l.mod.min), l.mod.max)
		}
		if old.fade != nil {
			fade := *old.fade
			l.fade = &fade
		}
	}
	if old == nil || old.hold != l.hold {
		return nil
	}
	was := l.hold.duty
	if l.fade != nil || l.mod.duty(l.value) == was {
		return nil
	}
	t.undo = append(t.undo, func() error { return l.hold.modulate(was) })
	return l.hold.modulate(l.mod.duty(l.value))
}

// modulate gives the channel a duty.
func (h *gpioHold) modulate(duty float64) error {
	if err := h.channel.Set(duty); err != nil {
		return err
	}
	h.duty = duty
	return nil
}

// setMod sets a modulated output, at once or by and by. What it is set to is its value from then on, also while it still fades.
func (a *gpioAgent) setMod(path string, v float64, over time.Duration) (reports.Reading, error) {
	l, err := a.present.held(path)
	if err != nil {
		return reports.Reading{}, err
	}
	now := time.Now()
	from := l.value
	if l.fade != nil {
		from, _ = l.fade.At(now)
	}
	if over == gpioOwnFade && !math.IsNaN(from) {
		over = time.Duration(math.Abs(v-from) / 100 * float64(l.mod.fade))
	}
	if l.limited() {
		if err := a.bank.Set(l.name, v > 0, 0, now); err != nil {
			return reports.Reading{}, err
		}
		l.safe = false
	}
	if err := a.modulate(l, from, v, over, now); err != nil {
		return reports.Reading{}, err
	}
	a.drive()
	return reports.Reading{Path: path, Value: v, Time: a.stamp(time.Now())}, nil
}

// modulate begins a fade, or sets the value at once.
func (a *gpioAgent) modulate(l *gpioLine, from, v float64, over time.Duration, now time.Time) error {
	if over > 0 && from != v && !math.IsNaN(from) {
		l.fade = &gpioFade{pwm.Fade{From: from, To: v, Start: now, For: over}, now}
		l.value = v
		return nil
	}
	if err := l.hold.modulate(l.mod.duty(v)); err != nil {
		return a.failed(fmt.Errorf("set %s: %w", l.path, err))
	}
	l.fade, l.value = nil, v
	return nil
}

// fadeOn goes on with a fade.
func (a *gpioAgent) fadeOn(l *gpioLine) {
	now := time.Now()
	if now.Before(l.fade.next) {
		return
	}
	v, done := l.fade.At(now)
	l.fade.next = now.Add(pwm.FadeEvery)
	if err := l.hold.modulate(l.mod.duty(v)); err != nil {
		_ = a.failed(err) // only looked at
		a.log.Error("fade ended", "output", l.path, "err", err)
		l.value, l.fade = v, nil
		a.put(l.path, v, time.Now())
		return
	}
	if done {
		l.fade = nil
	}
}

// failsafes has modulated outputs follow their failsafes.
func (a *gpioAgent) failsafes() {
	for _, l := range a.present.lines {
		if !l.limited() || !l.hold.held() {
			continue
		}
		acted := a.bank.State(l.name).Failsafe
		if acted == l.safe {
			continue
		}
		l.safe = acted
		if !acted || l.mod.failsafe.Value == gpioStay {
			continue
		}
		v := 0.0
		if l.mod.failsafe.Value == gpioWordOn {
			v = 100
		}
		a.log.Warn("output switched", "output", l.name, "percent", v, "why", "failsafe")
		if err := a.modulate(l, v, v, 0, time.Now()); err != nil {
			a.log.Error("output can't be switched", "output", l.name, "err", err)
			continue
		}
		a.put(l.path, v, time.Now())
	}
}

// stopMod leaves a modulated output as it is to be left.
func (l *gpioLine) stopMod() error {
	err := l.hold.channel.Close()
	l.hold.channel = nil
	if l.mod.safe == 100 && l.hold.line != nil {
		err = errors.Join(err, l.hold.line.SetValue(1))
	}
	return err
}

// modValue returns what a modulated output is set to; nil: nothing yet.
func (l *gpioLine) modValue() any {
	if math.IsNaN(l.value) {
		return nil
	}
	return l.value
}
