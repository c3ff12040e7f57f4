package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"rollcall/config"
	"rollcall/gpio/pwm"
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

That ` + "`func=2`" + ` is Alt5, by which GPIO18 is PWM, stands in Linux 6.1, include/dt-bindings/pinctrl/bcm2835.h and arch/arm/boot/dts/bcm2711.dtsi. The
overlay itself, and which number the PWM chip has, which may differ from one model to the next, were not checked on a board.`

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

const (
	dacIIO = "iio"
	dacPWM = "pwm"
	// dacHigh is the level of a Raspberry Pi's line that is high.
	dacHigh      = 3.3
	dacMostVolts = 1000
	// dacLeast is the least that a number other than 0 may be: with less, durations and counts would have no end.
	dacLeast     = 1e-6
	dacLeastPoll = 10 * time.Millisecond
)

// dacOptions are the options of the dac agent.
type dacOptions struct {
	Driver  string               `yaml:"driver" doc:"iio (a D/A converter of the kernel's) or pwm (with a filter behind it)"`
	Device  string               `yaml:"device" doc:"of iio: its name (mcp4725), label, address (1-0060), iio:deviceN or path; default: the only one that has voltages to set"`
	Chip    string               `yaml:"chip" doc:"of pwm on lines: label, name or path of the GPIO chip; sim: one in memory; default: that of a Raspberry Pi's header"`
	Poll    reports.Duration     `yaml:"poll" doc:"how often the outputs are read back"`
	Outputs map[string]dacOutput `yaml:"outputs" doc:"outputs by name"`
	Sim     bool                 `yaml:"sim" doc:"outputs that nothing hangs on instead of hardware; only when asked for"`
}

// dacOutput is an output in the options.
type dacOutput struct {
	Channel string           `yaml:"channel" doc:"of iio: the channel as the kernel names it, voltage0; of pwm: pwmchip0/1; default of iio: the output's name"`
	Pin     string           `yaml:"pin" doc:"of pwm: a GPIO line, which a goroutine switches: 25, GPIO25, pin22 (header position) or the line's name"`
	Period  reports.Duration `yaml:"period" doc:"of pwm; default: 1ms for a channel, 10ms for a line"`
	Label   string           `yaml:"label" doc:"for people; default: the name"`
	Scale   float64          `yaml:"scale" doc:"of iio: millivolts of a count; default: what the driver says"`
	Min     float64          `yaml:"min" doc:"least volts that may be set: 0 %"`
	Max     float64          `yaml:"max" doc:"most volts that may be set: 100 %; default: the most that the hardware can, as far as that is known"`
	High    float64          `yaml:"high" doc:"of pwm: volts of the line when it is high; default: 3.3"`
	Initial *float64         `yaml:"initial" doc:"volts at the start; default: of iio what it is, of pwm min"`
	Safe    *float64         `yaml:"safe" doc:"volts when the agent stops, at once whatever slew says; of pwm only 0; default: 0"`
	Slew    float64          `yaml:"slew" doc:"most volts per second that it changes by; 0: as fast as it can"`
}

// Validate checks the options without the hardware.
func (o *dacOptions) Validate() error {
	switch {
	case o.Driver != dacIIO && o.Driver != dacPWM:
		return config.At("driver", "%.40q is not iio or pwm", o.Driver)
	case o.Driver == dacPWM && o.Device != "":
		return config.At("device", "is of driver iio; with pwm each output has its channel or pin")
	case o.Driver == dacIIO && o.Chip != "":
		return config.At("chip", "is of driver pwm")
	case time.Duration(o.Poll) < dacLeastPoll:
		return config.At("poll", "%s is too often, at least %s is needed", o.Poll, dacLeastPoll)
	case len(o.Outputs) == 0:
		return config.At("outputs", "there are none")
	}
	first := map[string]string{}
	var pins []sensorPin
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		at, out := "outputs."+name, o.Outputs[name]
		if err := out.validate(at, name, o.Driver); err != nil {
			return err
		}
		pins = append(pins, sensorPin{at: at + ".pin", pin: out.Pin})
		place := cmp.Or(out.Pin, out.Channel, name)
		if other, twice := first[place]; twice {
			return config.At(at, "%q is what %s has already", place, other)
		}
		first[place] = name
	}
	if err := checkPins(o.Chip, pins...); err != nil {
		return err
	}
	return checkDevice(o.Device)
}

func (c dacOutput) validate(at, name, driver string) error {
	if err := reports.ValidName(name); err != nil {
		return config.At(at, "%w", err)
	}
	if name == simulatedPath {
		return config.At(at, "%q is the name of another point of this agent", name)
	}
	numbers := map[string]*float64{"scale": &c.Scale, "min": &c.Min, "max": &c.Max, "high": &c.High, "initial": c.Initial, "safe": c.Safe, "slew": &c.Slew}
	for _, key := range slices.Sorted(maps.Keys(numbers)) {
		if v := numbers[key]; v != nil && *v != 0 && !(math.Abs(*v) <= dacMostVolts && math.Abs(*v) >= dacLeast) {
			return config.At(at+"."+key, "%v is out of all bounds", *v)
		}
	}
	if c.Slew < 0 {
		return config.At(at+".slew", "%v is less than 0", c.Slew)
	}
	if c.Max != 0 && c.Max <= c.Min {
		return config.At(at+".max", "%v is not more than min, which is %v", c.Max, c.Min)
	}
	if c.Initial != nil && (*c.Initial < c.Min || c.Max != 0 && *c.Initial > c.Max) {
		return config.At(at+".initial", "%v is not from min to max", *c.Initial)
	}
	if c.Safe != nil && (*c.Safe < min(0, c.Min) || c.Max != 0 && *c.Safe > max(0, c.Max)) {
		return config.At(at+".safe", "%v is not from min or 0 to max", *c.Safe)
	}
	if c.Scale < 0 {
		return config.At(at+".scale", "%v is less than 0", c.Scale)
	}
	if driver == dacPWM {
		return c.validatePWM(at)
	}
	if c.Pin != "" || c.Period != 0 || c.High != 0 {
		return config.At(at, "pin, period and high are of driver pwm")
	}
	return nil
}

func (c dacOutput) validatePWM(at string) error {
	switch d, err := pwm.ParseDriver(c.Channel); {
	case (c.Channel == "") == (c.Pin == ""):
		return config.At(at, "with driver pwm either channel (pwmchip0/1) or pin is needed")
	case c.Channel != "" && (err != nil || d.Kind != pwm.ChannelKind):
		return config.At(at+".channel", "%.40q is no channel as pwmchip0/1; for a line there is pin", c.Channel)
	case c.Scale != 0:
		return config.At(at+".scale", "is of driver iio; pwm has high")
	case c.Min < 0 || c.High < 0:
		return config.At(at, "pwm makes no voltage below 0")
	case c.Max > c.high():
		return config.At(at+".max", "%v is more than high, which is %v", c.Max, c.high())
	case c.Safe != nil && *c.Safe != 0:
		return config.At(at+".safe", "must be 0: a PWM output is off when the agent has stopped")
	case c.Pin != "" && (c.period() < pwm.MinSoftwarePeriod || c.period() > pwm.MaxSoftwarePeriod):
		return config.At(at+".period", "%s is not from %s to %s, which a line can have", c.Period, pwm.MinSoftwarePeriod, pwm.MaxSoftwarePeriod)
	}
	return nil
}

func (c dacOutput) high() float64 { return cmp.Or(c.High, dacHigh) }

func (c dacOutput) period() time.Duration {
	if c.Channel != "" {
		return cmp.Or(time.Duration(c.Period), time.Millisecond)
	}
	return cmp.Or(time.Duration(c.Period), pwm.DefaultPeriod)
}
