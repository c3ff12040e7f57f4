package agents

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/gpio/pwm"
)

// dacPulses opens PWM outputs.
type dacPulses struct {
	options dacOptions
	deps    Deps
	chip    gpio.Chip // nil until a line is needed
}

// dacPulse is a PWM output. Its counts are nanoseconds of its period.
type dacPulse struct {
	rng     dacRange
	period  time.Duration
	channel pwm.Channel
	line    gpio.Line // nil: it is a channel of the kernel's
	duty    string    // the file with the duty of a channel

	mu  sync.Mutex
	raw int64 // of a line
	err error // why a line has no pulses
}

func (p *dacPulses) open(name string, c dacOutput) (dacHardware, error) {
	out := &dacPulse{period: c.period()}
	var err error
	if out.rng, err = newDACRange(c.high()*1000/float64(out.period), 0, c.Min, cmp.Or(c.Max, c.high()), 0, int64(out.period)); err != nil {
		return nil, iioAt(p.deps, "outputs."+name, "%w", err)
	}
	o := pwm.Options{Period: out.period, TakeOver: true, Failed: out.fail}
	first := func(present int64) float64 {
		out.raw = present
		if c.Slew == 0 {
			out.raw = out.rng.raw(*c.Initial) // which has a default
		}
		return float64(out.raw) / float64(out.period)
	}
	if c.Channel != "" {
		d, err := pwm.ParseDriver(c.Channel)
		if err != nil {
			return nil, err
		}
		root := iioRoot(p.deps)
		folder := filepath.Join(root, "sys/class/pwm", fmt.Sprintf("pwmchip%d/pwm%d", d.Chip, d.Channel))
		out.duty = filepath.Join(folder, "duty_cycle")
		o.Initial = first(dacPresent(folder, out.period))
		out.channel, err = pwm.Hardware(root, d.Chip, d.Channel, o)
		return out, err
	}
	o.Initial = first(0)
	if out.line, err = p.request(name, c); err != nil {
		return nil, err
	}
	if out.channel, err = pwm.Software(out.line, o); err != nil {
		return nil, errors.Join(err, out.line.Close())
	}
	return out, nil
}

// dacPresent returns what a channel makes that was left running, in counts of the period that it is to have.
func dacPresent(folder string, period time.Duration) int64 {
	var n [3]int64
	for i, file := range []string{"enable", "duty_cycle", "period"} {
		text, err := iioRead(folder, file)
		if err != nil {
			return 0 // it is not exported
		}
		if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return 0
		}
	}
	if n[0] != 1 || n[2] <= 0 || n[1] < 0 || n[1] > n[2] {
		return 0
	}
	return int64(math.Round(float64(n[1]) / float64(n[2]) * float64(period)))
}

// request takes the line of an output.
func (p *dacPulses) request(name string, c dacOutput) (gpio.Line, error) {
	if p.chip == nil {
		chip, err := p.openChip()
		if err != nil {
			return nil, err
		}
		p.chip = chip
	}
	info, err := p.chip.Info()
	if err != nil {
		return nil, err
	}
	offset, err := info.Find(c.Pin)
	if err != nil {
		return nil, iioAt(p.deps, "outputs."+name+".pin", "%w", err)
	}
	return p.chip.Request(offset, gpio.LineOptions{Consumer: "rollcall-" + p.deps.Service, Output: true})
}

// openChip opens the chip that the options name. Only "sim" means the one in memory.
func (p *dacPulses) openChip() (gpio.Chip, error) {
	name := p.options.Chip
	switch {
	case p.deps.OpenChip != nil:
		return p.deps.OpenChip(name)
	case name == gpioSim:
		return gpiotest.Sim(), nil
	}
	return gpio.Open(name)
}

func (p *dacPulses) close() error {
	if p.chip == nil {
		return nil
	}
	return p.chip.Close()
}

func (p *dacPulse) bounds() dacRange { return p.rng }

func (p *dacPulse) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *dacPulse) write(raw int64) error {
	p.mu.Lock()
	p.raw, p.err = raw, nil
	p.mu.Unlock()
	return p.channel.Set(float64(raw) / float64(p.period))
}

// read returns the duty that the kernel has. Of a line there is no such thing to read: it is what it was told, as long as it can be
// driven.
func (p *dacPulse) read() (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.duty == "" {
		return p.raw, p.err
	}
	text, err := iioRead(filepath.Dir(p.duty), filepath.Base(p.duty))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has %.40q, which is no duty", p.duty, text)
	}
	return n, nil
}

func (p *dacPulse) close() error {
	err := p.channel.Close()
	if p.line != nil {
		err = errors.Join(err, p.line.Close())
	}
	return err
}
