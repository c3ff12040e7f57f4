package agents

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/reports"
)

const (
	gpioSim         = "sim" // the chip in memory
	gpioHeaderLines = 28    // GPIO0 to GPIO27 of a Raspberry Pi's header
)

// Bounds of the times in a set-up.
const (
	gpioLeastScan     = 10 * time.Millisecond
	gpioMostDebounce  = time.Minute
	gpioMostPress     = time.Minute
	gpioLeastFailsafe = 100 * time.Millisecond
	gpioMostFade      = time.Hour
	gpioMostDeadTime  = time.Minute
)

// Validate checks what can be checked without the chip.
func (o *gpioOptions) Validate() error {
	seen := map[string]string{}
	check := func(kind, name string) (at string, err error) {
		at = kind + "." + name
		if err := reports.ValidName(name); err != nil {
			return at, config.At(at, "%w", err)
		}
		if other, twice := seen[name]; twice {
			return at, config.At(at, "there is an %s of the same name", other)
		}
		seen[name] = map[string]string{"outputs": "output", "inputs": "input", "pwm": "entry in pwm", "servos": "entry in servos"}[kind]
		return at, nil
	}
	for _, step := range []func() error{
		func() error { return gpioEach("outputs", o.Outputs, check, gpioOutput.check) },
		func() error { return gpioEach("inputs", o.Inputs, check, gpioInput.check) },
		func() error { return gpioEach("pwm", o.PWM, check, gpioPWM.check) },
		func() error { return gpioEach("servos", o.Servos, check, gpioServo.check) },
		o.checkInterlocks,
		o.checkPins,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// gpioEach checks the entries of a map in the order of their names.
func gpioEach[T any](kind string, entries map[string]T, name func(kind, name string) (string, error), check func(T, string) error) error {
	for _, n := range slices.Sorted(maps.Keys(entries)) {
		at, err := name(kind, n)
		if err == nil {
			err = check(entries[n], at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gpioTime refuses a time that is set and out of its bounds.
func gpioTime(at string, d reports.Duration, least, most time.Duration) error {
	switch {
	case d == 0:
		return nil
	case time.Duration(d) < least:
		return config.At(at, "%s is too short, at least %s is needed", d, least)
	case time.Duration(d) > most:
		return config.At(at, "%s is too long, at most %s is possible", d, most)
	}
	return nil
}

func (o gpioOutput) check(at string) error {
	if err := gpioPinAndPull(at, o.Pin, o.Pull, o.Label); err != nil {
		return err
	}
	r := o.resolved()
	begins := o.Initial == gpioOn || o.Initial == gpioKeep || o.Initial == gpioRestore
	switch {
	case !slices.Contains([]gpioPreset{"", gpioRelay, gpioLED, gpioValve}, o.As):
		return config.At(at+".as", "%.40q is not relay, led or valve", o.As)
	case !slices.Contains([]gpio.Drive{"", gpio.PushPull, gpio.OpenDrain, gpio.OpenSource}, o.Drive):
		return config.At(at+".drive", "%.40q is not push-pull, open-drain or open-source", o.Drive)
	case o.Single && begins:
		return config.At(at+".initial", "a one-shot output (single) begins off")
	case o.limited() && o.Safe != "" && o.Safe != gpioSafeOff:
		return config.At(at+".safe", "%s could leave it on for longer than single or max_on allow: nobody is there to switch it off", o.Safe)
	}
	for _, step := range []error{
		gpioTime(at+".max_on", o.MaxOn, time.Millisecond, gpioMostTime),
		gpioTime(at+".pulse", o.Pulse, time.Millisecond, gpioMostTime),
		o.Failsafe.check(at + ".failsafe"),
	} {
		if step != nil {
			return step
		}
	}
	switch {
	case o.MaxOn == 0 || r.Pulse <= o.MaxOn:
		return nil
	case o.Pulse != 0:
		return config.At(at+".pulse", "%s is longer than the max_on of %s", o.Pulse, o.MaxOn)
	}
	return config.At(at+".single", "its pulse of %s is longer than the max_on of %s", r.Pulse, o.MaxOn)
}

func (f *gpioFailsafe) check(at string) error {
	switch {
	case f == nil:
		return nil
	case f.After == 0:
		return config.At(at, "after is missing")
	case f.Watch != "":
		if err := reports.ValidTopic(f.Watch); err != nil {
			return config.At(at+".watch", "%w", err)
		}
	}
	return gpioTime(at+".after", f.After, gpioLeastFailsafe, gpioMostTime)
}

func (i gpioInput) check(at string) error {
	if err := gpioPinAndPull(at, i.Pin, i.Pull, i.Label); err != nil {
		return err
	}
	r := i.resolved()
	switch {
	case !slices.Contains([]gpioPreset{"", gpioButton, gpioPIR, gpioDoor, gpioLeak, gpioMeter}, i.As):
		return config.At(at+".as", "%.40q is not button, pir, door, leak or meter", i.As)
	case !slices.Contains([]gpioEdge{"", gpioBoth, gpioRising, gpioFalling}, i.Edge):
		return config.At(at+".edge", "%.40q is not both, rising or falling", i.Edge)
	case i.Edge != "" && !r.tell:
		return config.At(at+".edge", "no edge is told of with on_change: false")
	case i.Scan != 0 && time.Duration(i.Scan) < gpioLeastScan:
		return config.At(at+".scan", "%s is too often, at least %s or 0 is needed", i.Scan, gpioLeastScan)
	case r.debounce > gpioMostDebounce:
		return config.At(at+".debounce", "%s is too long, at most %s is possible", r.debounce, gpioMostDebounce)
	}
	if err := i.OnChange.check(); err != nil {
		return config.At(at+".on_change", "%w", err)
	}
	for key, d := range map[string]*reports.Duration{".long_press": i.LongPress, ".double_click": i.DoubleClick} {
		if err := gpioTime(at+key, orDefault(d, 0), time.Millisecond, gpioMostPress); err != nil {
			return err
		}
	}
	return nil
}

func (p gpioPWM) check(at string) error {
	if err := gpioPinAndLabel(at, p.Pin, p.Label); err != nil {
		return err
	}
	most := orDefault(p.Max, 100)
	switch {
	case !gpioPercent(p.Initial):
		return config.At(at+".initial", "%v is not from 0 to 100", p.Initial)
	case p.Safe != 0 && p.Safe != 100:
		return config.At(at+".safe", "%v is not 0 or 100: nobody is there to modulate it", p.Safe)
	case p.Safe != 0 && p.Driver != "" && p.Driver != gpioSoftware:
		return config.At(at+".safe", "a channel of the hardware always stops at 0")
	case !slices.Contains([]gpioPolarity{"", gpioNormal, gpioInverted}, p.Polarity):
		return config.At(at+".polarity", "%.40q is not normal or inverted", p.Polarity)
	case !gpioPercent(most):
		return config.At(at+".max", "%v is not from 0 to 100", most)
	case !gpioPercent(p.Min) || p.Min > most:
		return config.At(at+".min", "%v is not from 0 to the max of %v", p.Min, most)
	case math.IsNaN(p.Gamma) || p.Gamma != 0 && (p.Gamma < 0.1 || p.Gamma > 10):
		return config.At(at+".gamma", "%v is not from 0.1 to 10", p.Gamma)
	}
	for _, err := range []error{
		p.Driver.check(at+".driver", p.Period),
		gpioTime(at+".fade", p.Fade, time.Millisecond, gpioMostFade),
		p.Failsafe.check(at + ".failsafe"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func gpioPercent(v float64) bool { return v >= 0 && v <= 100 }

// Bounds of the periods: what the kernel takes, and what software can do.
const (
	gpioLeastPeriod     = time.Microsecond
	gpioMostPeriod      = 10 * time.Second
	gpioLeastSoftPeriod = time.Millisecond
)

func (d gpioPWMDriver) check(at string, period reports.Duration) error {
	if _, _, named := d.channel(); d != "" && d != gpioHardware && d != gpioSoftware && !named {
		return config.At(at, "%.40q is not hardware, software or a channel like pwmchip0/1", d)
	}
	least := gpioLeastPeriod
	if d == gpioSoftware {
		least = gpioLeastSoftPeriod
	}
	return gpioTime(strings.TrimSuffix(at, "driver")+"period", period, least, gpioMostPeriod)
}

func (s gpioServo) check(at string) error {
	if err := gpioPinAndLabel(at, s.Pin, s.Label); err != nil {
		return err
	}
	r := s.resolved()
	const mostAngle = 3600
	switch {
	case !(math.Abs(s.MinAngle) <= mostAngle):
		return config.At(at+".min_angle", "%v is not from -%d to %d", s.MinAngle, mostAngle, mostAngle)
	case !(math.Abs(r.MaxAngle) <= mostAngle) || r.MaxAngle <= r.MinAngle:
		return config.At(at+".max_angle", "%v is not more than the min_angle of %v and at most %d", r.MaxAngle, r.MinAngle, mostAngle)
	case s.Initial != nil && !(*s.Initial >= r.MinAngle && *s.Initial <= r.MaxAngle):
		return config.At(at+".initial", "%v is not from %v to %v", *s.Initial, r.MinAngle, r.MaxAngle)
	case r.MaxPulse <= r.MinPulse:
		return config.At(at+".max_pulse", "%s is not longer than the min_pulse of %s", r.MaxPulse, r.MinPulse)
	case r.MaxPulse >= r.Period:
		return config.At(at+".max_pulse", "%s is not shorter than the period of %s", r.MaxPulse, r.Period)
	}
	return s.Driver.check(at+".driver", s.Period)
}

// checkInterlocks checks that the groups make sense.
func (o *gpioOptions) checkInterlocks() error {
	if err := gpioTime("dead_time", o.DeadTime, time.Millisecond, gpioMostDeadTime); err != nil {
		return err
	}
	for g, group := range o.Interlocks {
		on, failsafeOn := "", ""
		if len(group) < 2 {
			return config.At(fmt.Sprintf("interlocks[%d]", g), "an interlock needs two outputs at least")
		}
		for i, name := range group {
			at := fmt.Sprintf("interlocks[%d][%d]", g, i)
			out, ok := o.Outputs[name]
			switch out = out.resolved(); {
			case !ok:
				return config.At(at, "%.80q is no output", name)
			case slices.Contains(group[:i], name):
				return config.At(at, "%s stands twice", name)
			case out.Initial == gpioOn && on != "":
				return config.At("outputs."+name+".initial", "is on as that of %s is, with which it is interlocked", on)
			case out.Safe == gpioSafeOn:
				return config.At("outputs."+name+".safe", "is on, but it is interlocked: a stop does not wait until the others are off for their dead_time")
			}
			if out.Failsafe != nil && out.Failsafe.Value == gpioWordOn {
				if failsafeOn != "" {
					return config.At("outputs."+name+".failsafe.value", "is on as that of %s is, with which it is interlocked", failsafeOn)
				}
				failsafeOn = name
			}
			if out.Initial == gpioOn {
				on = name
			}
		}
	}
	return nil
}
