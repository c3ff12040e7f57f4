package agents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The ain agent reads analog inputs: every channel of one device of the kernel's Industrial I/O. Each has its count, what that
// is in volts (or amperes, watts, °C, Ω, where it measures these), and, if its options have a table, a quantity that follows
// from it: the level of a tank, the speed of the wind.

func ainFactory() Factory {
	return Factory{
		Name:    "ain",
		Doc:     "Analog inputs: the channels of an A/D converter, in counts, volts and what they stand for.",
		Wiring:  ainWiring,
		Example: "sim: true\nchannels:\n  tank: {channel: voltage0, unit: \"%\", table: [{at: 0.5, is: 0}, {at: 2.5, is: 100}], clamp: true}\n",
		Defaults: func() Options {
			return &ainOptions{Poll: reports.Duration(time.Second), Buffer: ainBufferOptions{Every: reports.Duration(time.Second)}}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*ainOptions)
			if !ok {
				return nil, fmt.Errorf("ain: options are a %T", o)
			}
			return newAIN(*opts, d)
		},
	}
}

// ainWiring is Factory.Wiring. The overlays and their parameters are meant to be those of /boot/firmware/overlays/README, which was not at hand.
const ainWiring = `A Raspberry Pi has no analog inputs of its own. The kernel drives the usual converters; one line in
/boot/firmware/config.txt (before Debian 12: /boot/config.txt) and a restart make them known to it:

- ADS1115 or ADS1015 on I2C (SDA pin3, SCL pin5, VDD 3.3 V, ADDR to ground):
  ` + "`dtoverlay=ads1115,cha_enable=true,chb_enable=true,chc_enable=true,chd_enable=true`" + `
  (` + "`ads1015`" + ` for that chip; the kernel calls both ads1015; ` + "`dtparam=i2c_arm=on`" + ` must stand before it). Another address: ` + "`addr=0x49`" + `.
- MCP3008 or MCP3208 on SPI (CLK pin23, DOUT pin21, DIN pin19, CS pin24, VDD and VREF 3.3 V): ` + "`dtoverlay=mcp3008,spi0-0-present`" + `;
  for the MCP3208 ` + "`dtoverlay=anyspi,spi0-0,dev=\"microchip,mcp3208\"`" + `, which tells the kernel nothing of VREF: give each channel
  its scale, the millivolts of a count: ` + "`scale: 0.80566`" + ` (3300 mV / 4096).

No input may be above VDD or below ground: divide higher voltages by two resistors, and let the table say so.
` + "`cat /sys/bus/iio/devices/iio:device*/name`" + ` shows what the kernel has found. Reading needs no rights. Two chips of one kind are told
apart by their address, as ` + "`device: 1-0048`" + `.

For the buffer (1,000 samples a second and more), the device must have one (the ADS1115 has; the MCP3008 has none) and the user needs
the right to use it: a udev rule such as ` + "`SUBSYSTEM==\"iio\", RUN+=\"/bin/sh -c 'chgrp -R gpio /sys%p && chmod -R g+w /sys%p'\", GROUP=\"gpio\", MODE=\"0660\"`" + `
in /etc/udev/rules.d/99-iio.rules. A trigger with a rate is made by ` + "`modprobe iio-trig-hrtimer && mkdir /sys/kernel/config/iio/triggers/hrtimer/rollcall`" + `.

That the kernel knows both ADS1015 and ADS1115 as ads1015, has a buffer for them and none for the MCP3008, and knows the name microchip,mcp3208, stands
in Linux 6.1, drivers/iio/adc/ti-ads1015.c and mcp320x.c. The overlays and their parameters were not checked on a board.`

// ainOptions are the options of the ain agent.
type ainOptions struct {
	Device   string                `yaml:"device" doc:"which IIO device: its name (ads1015, mcp3008), label, address (1-0048, spi0.0), iio:deviceN or path; default: the only one that has channels to read"`
	Poll     reports.Duration      `yaml:"poll" doc:"how often the channels are read"`
	Only     bool                  `yaml:"only" doc:"report only the channels that stand in channels; default: all"`
	Channels map[string]ainChannel `yaml:"channels" doc:"what is known of channels, by the name that their points are to have"`
	Buffer   ainBufferOptions      `yaml:"buffer" doc:"fast samples through the device's buffer, of which statistics are published"`
	Sim      bool                  `yaml:"sim" doc:"made-up values instead of hardware; only when asked for"`
}

// ainChannel is what is known of a channel.
type ainChannel struct {
	Channel string   `yaml:"channel" doc:"the channel as the kernel names it: voltage0, voltage1-voltage2; default: the name itself"`
	Label   string   `yaml:"label" doc:"for people; default: the name"`
	Scale   float64  `yaml:"scale" doc:"millivolts (or the kernel's unit) of a count; default: what the driver says"`
	From    string   `yaml:"from" doc:"volts or raw: what the table is of; default: volts, or what else is measured"`
	Table   []ainRow `yaml:"table" doc:"calibration, two points or more in rising order, with straight lines between them: the channel has a point value then"`
	Clamp   bool     `yaml:"clamp" doc:"hold value at the ends of the table; default: go on in a straight line"`
	Unit    string   `yaml:"unit" doc:"of value"`
	Class   string   `yaml:"class" doc:"of value, as Home Assistant has them: temperature, pressure, distance"`
}

// ainRow is a row of a calibration table.
type ainRow struct {
	At float64 `yaml:"at" doc:"what is measured"`
	Is float64 `yaml:"is" doc:"what value is then"`
}

const (
	ainFromRaw   = "raw"
	ainFromVolts = "volts"
	// ainLeastPoll is about what a converter on I2C takes for one sample of four channels.
	ainLeastPoll = 10 * time.Millisecond
	// ainMost is the most that a number of the options may be, so that all that is reckoned with them is finite.
	ainMost = 1e12
)

// Validate checks the options without the device.
func (o *ainOptions) Validate() error {
	if time.Duration(o.Poll) < ainLeastPoll {
		return config.At("poll", "%s is too often, at least %s is needed; for more there is buffer", o.Poll, ainLeastPoll)
	}
	if err := checkDevice(o.Device); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Channels)) {
		if err := o.Channels[name].validate("channels."+name, name); err != nil {
			return err
		}
	}
	if o.Sim && (o.Device != "" || o.Buffer.on()) {
		return config.At("sim", "no device and no buffer can be made up: take device and buffer away, or sim")
	}
	if o.Only && len(o.Channels) == 0 {
		return config.At("only", "there are no channels to report: channels is empty")
	}
	return o.Buffer.validate()
}

func (c ainChannel) validate(at, name string) error {
	switch err := reports.ValidName(name); {
	case err != nil:
		return config.At(at, "%w", err)
	case name == ainBufferBranch || name == simulatedPath:
		return config.At(at, "%q is the name of other points of this agent", name)
	case !slices.Contains([]string{"", ainFromRaw, ainFromVolts}, c.From):
		return config.At(at+".from", "%.40q is not volts or raw", c.From)
	case !(math.Abs(c.Scale) <= ainMost):
		return config.At(at+".scale", "%v is not a number of at most %v", c.Scale, ainMost)
	case len(c.Table) == 1:
		return config.At(at+".table", "one row makes no line, at least two are needed")
	case len(c.Table) == 0 && (c.Unit != "" || c.Class != "" || c.From != "" || c.Clamp):
		return config.At(at, "unit, class, from and clamp are of the point value, which needs a table")
	}
	for i, r := range c.Table {
		switch row := fmt.Sprintf("%s.table[%d]", at, i); {
		case !(math.Abs(r.At) <= ainMost && math.Abs(r.Is) <= ainMost):
			return config.At(row, "at and is must be numbers of at most %v", ainMost)
		case i > 0 && r.At <= c.Table[i-1].At:
			return config.At(row+".at", "%v is not more than %v, which stands before it", r.At, c.Table[i-1].At)
		case i > 0 && r.At-c.Table[i-1].At < 1/ainMost:
			return config.At(row+".at", "%v is too near to %v, which stands before it", r.At, c.Table[i-1].At)
		}
	}
	return nil
}

// ain is the agent. Its seam is ainSource.
type ain struct {
	*sensor
	source ainSource
	looked map[string]ainLooked // the channels by name, during one SampleAll; nil: each point looks by itself
}

func newAIN(o ainOptions, d Deps) (Agent, error) {
	a := &ain{sensor: newSensor("ain", o.Sim)}
	inputs, err := a.open(o, d)
	if err != nil {
		return nil, err
	}
	for _, in := range inputs {
		a.describe(in, o.Poll)
	}
	if o.Buffer.on() {
		return newAINBuffered(a, inputs, o, d)
	}
	return a, nil
}

// describe adds the points of a channel.
func (a *ain) describe(in *ainInput, poll reports.Duration) {
	point := func(tail, label string, t reports.Type) reports.Point {
		return reports.Point{Path: in.name + "/" + tail, Label: in.label + label, Help: "Channel " + in.id, Type: t, Genre: reports.User, Poll: poll}
	}
	add := func(p reports.Point, value func(ainLook) any) {
		a.add(p, func(context.Context) (any, error) {
			l, err := a.look(in)
			if err != nil {
				return nil, err
			}
			return value(l), nil
		})
	}
	if in.counts {
		p := point("raw", ", count", reports.Int)
		p.Genre = reports.System
		add(p, func(l ainLook) any { return l.raw })
	}
	if in.measures {
		p := point(in.unit.point, ", "+in.unit.label, reports.Float)
		p.Unit, p.Class = in.unit.unit, in.unit.class
		add(p, func(l ainLook) any { return l.measured })
	}
	if table := in.options.Table; len(table) > 0 {
		p := point("value", "", reports.Float)
		p.Unit, p.Class, p.Genre = in.options.Unit, in.options.Class, reports.Basic
		if in.options.Clamp {
			lo, hi := ainRange(table)
			p.Min, p.Max = &lo, &hi
		}
		add(p, func(l ainLook) any {
			if in.options.From == ainFromRaw {
				return ainInterpolate(table, float64(l.raw), in.options.Clamp)
			}
			return ainInterpolate(table, l.measured, in.options.Clamp)
		})
	}
}

// ainLooked is a look with what came of it.
type ainLooked struct {
	look ainLook
	err  error
}

// look looks at a channel, once in a SampleAll, so that all its points are of one moment.
func (a *ain) look(in *ainInput) (ainLook, error) {
	if a.looked == nil {
		if err := a.source.fresh(); err != nil {
			return ainLook{}, err
		}
		return a.source.look(in)
	}
	l, ok := a.looked[in.name]
	if !ok {
		l.look, l.err = a.source.look(in)
		a.looked[in.name] = l
	}
	return l.look, l.err
}

// Sample reads one point. One that the buffer has not filled yet is stale.
func (a *ain) Sample(ctx context.Context, path string) (reports.Reading, error) {
	r, err := a.sensor.Sample(ctx, path)
	if errors.Is(err, errAINSoon) {
		return reports.Reading{Path: path, Stale: true}, nil
	}
	return r, err
}

// SampleAll reads the points, each channel once.
func (a *ain) SampleAll(ctx context.Context, paths []string) ([]reports.Reading, error) {
	if err := a.source.fresh(); err != nil && len(paths) > 0 {
		return nil, err
	}
	a.looked = map[string]ainLooked{}
	defer func() { a.looked = nil }()
	var out []reports.Reading
	var errs []error
	for _, p := range paths {
		r, err := a.Sample(ctx, p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}
