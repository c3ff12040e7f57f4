package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"rollcall/reports"
)

// The dac agent sets voltages: by the channels of a D/A converter that the kernel's Industrial I/O drives, or by the duty of a
// PWM output, which a resistor and a capacitor make a voltage of. Each output can be set in volts and in percent of its range.

func dacFactory() Factory {
	return Factory{
		Name:     "dac",
		Doc:      "Analog outputs: voltages of a D/A converter, or of PWM through a filter, set in volts or percent.",
		Wiring:   dacWiring,
		Example:  "sim: true\noutputs:\n  fan: {channel: voltage0, max: 3.3, initial: 0.5, slew: 1}\n",
		Defaults: func() Options { return &dacOptions{Driver: dacIIO, Poll: reports.Duration(time.Second)} },
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*dacOptions)
			if !ok {
				return nil, fmt.Errorf("dac: options are a %T", o)
			}
			return newDAC(*opts, d)
		},
	}
}

// dacWiring is Factory.Wiring.
const dacWiring = `Two ways, named by ` + "`driver`" + `:

- ` + "`iio`" + `: a converter with a driver of the kernel, such as the MCP4725 on I2C (SDA pin3, SCL pin5, VDD 3.3 V, OUT). With
  ` + "`dtparam=i2c_arm=on`" + ` in /boot/firmware/config.txt (before Debian 12: /boot/config.txt), the line
  ` + "`w /sys/bus/i2c/devices/i2c-1/new_device - - - - mcp4725 0x60`" + ` in /etc/tmpfiles.d/mcp4725.conf makes it known at every start. The kernel
  knows nothing of its supply then, so give each output ` + "`scale: 0.80566`" + ` (3300 mV / 4096) and ` + "`max: 3.299`" + `. Setting needs
  the right to write its files: a udev rule such as ` + "`SUBSYSTEM==\"iio\", RUN+=\"/bin/sh -c 'chgrp -R gpio /sys%p && chmod -R g+w /sys%p'\"`" + `
  in /etc/udev/rules.d/99-iio.rules.
- ` + "`pwm`" + `: a PWM channel (` + "`channel: pwmchip0/0`" + `, with ` + "`dtoverlay=pwm,pin=18,func=2`" + ` GPIO18 on header pin12) or, slower and less even, any GPIO line
  (` + "`pin: 18`" + `), each with a resistor of 10 kΩ in series and a capacitor of 10 µF to ground. That settles in half a second, and leaves a ripple of
  about 8 mV at a period of 1 ms; what draws more than some µA needs an amplifier behind it. The user must be in the group gpio.

When the agent stops, a converter is set to the safe value. PWM is switched off, so its safe value is 0 V.

The overlay, its parameters and which number the PWM chip has, which may differ from one model to the next, were not checked on a board.`

// dac is the agent. Its seam is dacHardware.
type dac struct {
	*sensor
	outputs map[string]*dacRamp // by name
	events  chan reports.Reading
	closed  bool
}

func newDAC(o dacOptions, d Deps) (*dac, error) {
	a := &dac{sensor: newSensor("dac", o.Sim || o.Chip == gpioSim), outputs: map[string]*dacRamp{}, events: make(chan reports.Reading, 16*(len(o.Outputs)+1))}
	log := d.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	open, done, err := dacOpener(o, d)
	if err != nil {
		return nil, err
	}
	a.closing = func() error { return errors.Join(a.stop(), done()) }
	names := slices.Sorted(maps.Keys(o.Outputs))
	for _, name := range names {
		options := o.Outputs[name]
		if options.Initial == nil && o.Driver == dacPWM && !o.Sim {
			options.Initial = &options.Min
		}
		hw, err := open(name, options)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("output %s: %w", name, err), a.closing())
		}
		a.outputs[name] = newDACRamp(hw, options, func(at time.Time) { a.tell(name, at) }, log.With("output", name))
		a.describe(name, a.outputs[name], o)
	}
	for _, name := range names { // once all points are there, since a way tells of its end
		if err := a.outputs[name].begin(); err != nil {
			return nil, errors.Join(fmt.Errorf("output %s: %w", name, err), a.closing())
		}
	}
	return a, nil
}

// The points of an output.
const (
	dacVolts   = "volts"
	dacPercent = "percent"
	dacTarget  = "target"
)

// describe adds the points of an output.
func (a *dac) describe(name string, out *dacRamp, o dacOptions) {
	label := cmp.Or(o.Outputs[name].Label, name)
	rng := out.hw.bounds()
	step := rng.scale / 1000
	volts := reports.Point{Path: name + "/" + dacVolts, Label: label, Type: reports.Float, Unit: "V", Class: "voltage", Genre: reports.Basic,
		Access: reports.Get | reports.Set, Poll: o.Poll, Min: &rng.least, Max: &rng.most, Step: &step}
	percent := reports.Point{Path: name + "/" + dacPercent, Label: label + ", percent", Type: reports.Float, Unit: "%", Genre: reports.User,
		Access: reports.Get | reports.Set, Poll: o.Poll, Min: reports.Ptr(0), Max: reports.Ptr(100)}
	a.add(volts, func(context.Context) (any, error) { return out.volts() })
	a.add(percent, func(context.Context) (any, error) {
		v, err := out.volts()
		return rng.percent(v), err
	})
	if out.options.Slew > 0 {
		a.add(reports.Point{Path: name + "/" + dacTarget, Label: label + ", target", Help: "the voltage that it is on the way to", Type: reports.Float,
			Unit: "V", Class: "voltage", Genre: reports.User, Poll: o.Poll}, func(context.Context) (any, error) { return out.target() })
	}
}

// Events returns what an output has become by a set of another point of it, and at the end of its way.
func (a *dac) Events() <-chan reports.Reading { return a.events }

// Apply sets an output and reads it back. With a slew limit that is the beginning of its way.
func (a *dac) Apply(ctx context.Context, c reports.Command) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	v, ok := c.Value.(float64)
	if c.Verb != "set" || !ok {
		return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "dac: %s with a %T is not known", c.Verb, c.Value)
	}
	for name, out := range a.outputs {
		switch c.Path {
		case name + "/" + dacTarget:
			return reports.Reading{}, reports.Errorf(reports.CodeReadOnly, "%s is set by %s/%s", c.Path, name, dacVolts)
		case name + "/" + dacPercent:
			v = out.hw.bounds().volts(v)
		case name + "/" + dacVolts:
		default:
			continue
		}
		if err := out.set(v); err != nil {
			return reports.Reading{}, fmt.Errorf("%s: %w", c.Path, err)
		}
		at := time.Now()
		a.tell(name, at)
		r, err := a.Sample(ctx, c.Path)
		r.Time = at
		return r, err
	}
	return reports.Reading{}, reports.Errorf(reports.CodeUnknown, "%.140q is no output", c.Path)
}

// tell puts what an output is now on the channel of events. Without room it is left to the next poll.
func (a *dac) tell(name string, at time.Time) {
	for _, tail := range []string{dacVolts, dacPercent, dacTarget} {
		read, ok := a.reads[name+"/"+tail]
		if !ok {
			continue
		}
		v, err := read(context.Background())
		if err != nil {
			continue // a poll fails as well, and says why
		}
		select {
		case a.events <- reports.Reading{Path: name + "/" + tail, Value: v, Time: at}:
		default:
		}
	}
}

// stop ends all ways, sets what is safe and gives the hardware back.
func (a *dac) stop() error {
	if a.closed {
		return nil
	}
	a.closed = true
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.outputs)) {
		if err := a.outputs[name].close(); err != nil {
			errs = append(errs, fmt.Errorf("output %s: %w", name, err))
		}
	}
	close(a.events)
	return errors.Join(errs...)
}
