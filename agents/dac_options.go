package agents

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"rollcall/config"
	"rollcall/gpio/pwm"
	"rollcall/reports"
)

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
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		at, out := "outputs."+name, o.Outputs[name]
		if err := out.validate(at, name, o.Driver); err != nil {
			return err
		}
		place := cmp.Or(out.Pin, out.Channel, name)
		if other, twice := first[place]; twice {
			return config.At(at, "%q is what %s has already", place, other)
		}
		first[place] = name
	}
	return nil
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
