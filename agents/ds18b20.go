package agents

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The ds18b20 agent reads 1-wire thermometers, each known by the address that was burnt into it: the DS18B20 (28-…) and its
// relatives DS18S20 (10-…), DS1822 (22-…), DS1825 (3b-…) and DS28EA00 (42-…). The kernel's w1_therm talks to them
// (Documentation/w1/slaves/w1_therm.rst).
//
// Probes come and go. Each look at the bus adds what is new; a probe that is gone keeps its point, which has no value until it
// is back.

func ds18b20Factory() Factory {
	return Factory{
		Name:     "ds18b20",
		Doc:      "1-wire thermometers (DS18B20, DS18S20, DS1822, DS1825, DS28EA00), each by its address.",
		Wiring:   ds18b20Wiring,
		Example:  "sim: true\nprobes: {boiler: 28-000005e2fdc3, garden: 28-00000463b745}\n",
		Defaults: func() Options { return &ds18b20Options{Driver: ds18b20W1, Poll: reports.Duration(30 * time.Second)} },
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*ds18b20Options)
			if !ok {
				return nil, fmt.Errorf("ds18b20: options are a %T", o)
			}
			return newDS18B20(*opts, d, time.Now)
		},
	}
}

// ds18b20Wiring is Factory.Wiring. The overlay is meant to be that of /boot/firmware/overlays/README, which was not at hand; the supply and the pull-up are of the
// data sheet, 19-7487, "Powering the DS18B20".
const ds18b20Wiring = `All probes hang on the same three wires: VDD (red) on 3.3 V (pin1), GND (black) on ground (pin6), DQ (yellow) on GPIO4 (pin7), and one
resistor of 4.7 kΩ from DQ to 3.3 V. Give long lines three wires too: parasite power is where most of the false 85 °C come from.

` + "`dtoverlay=w1-gpio`" + ` in /boot/firmware/config.txt (before Debian 12: /boot/config.txt) and a restart make the bus known to the kernel; another
line: ` + "`dtoverlay=w1-gpio,gpiopin=17`" + `. ` + "`ls /sys/bus/w1/devices`" + ` shows the addresses. A new probe is found within a minute. Reading needs no rights.

One reading takes 0.75 s (at 12 bits), one probe at a time: with ten probes ` + "`poll`" + ` should be 10 s or more.

What is refused: a wrong checksum, what is out of -55 to 125 °C, a bus that reads all zeros because DQ is shorted, and 85 °C to the
digit, which is what a probe says that has lost its power during the conversion. That is taken only within 5 °C of the value before, if that is no
older than three polls.

The overlay and its parameter were not checked on a board.`

const (
	ds18b20W1    = "w1"
	ds18b20Hwmon = "hwmon"
	// ds18b20LeastPoll is more than a conversion takes: tCONV is 750 ms at most (data sheet 19-7487, AC electrical characteristics).
	ds18b20LeastPoll = time.Second
)

// ds18b20Options are the options of the ds18b20 agent.
type ds18b20Options struct {
	Driver string            `yaml:"driver" doc:"w1 (the kernel's files of the 1-wire bus) or hwmon (the same probes as the kernel's hardware monitoring shows them)"`
	Poll   reports.Duration  `yaml:"poll" doc:"how often each probe is read, and new ones are looked for"`
	Probes map[string]string `yaml:"probes" doc:"names of probes, each with its address; these have a point even while they are not there"`
	Only   bool              `yaml:"only" doc:"report only the probes that stand in probes; default: all"`
	Sim    bool              `yaml:"sim" doc:"made-up values instead of hardware; only when asked for"`
}

// ds18b20Address is a name of a device in /sys/bus/w1/devices: family and serial number (drivers/w1/w1.c, "%02x-%012llx"). The
// families are those of w1_therm.rst.
var ds18b20Address = regexp.MustCompile(`^(10|22|28|3b|42)-[0-9a-f]{12}$`)

// Validate checks the options without the bus.
func (o *ds18b20Options) Validate() error {
	switch {
	case o.Driver != ds18b20W1 && o.Driver != ds18b20Hwmon:
		return config.At("driver", "%.40q is not w1 or hwmon", o.Driver)
	case time.Duration(o.Poll) < ds18b20LeastPoll:
		return config.At("poll", "%s is too often, at least %s is needed", o.Poll, ds18b20LeastPoll)
	case o.Only && len(o.Probes) == 0:
		return config.At("only", "there are no probes to report: probes is empty")
	}
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(o.Probes)) {
		at, address := "probes."+name, o.Probes[name]
		if err := reports.ValidName(name); err != nil {
			return config.At(at, "%w", err)
		}
		if !ds18b20Address.MatchString(address) {
			return config.At(at, "%.40q is no address such as 28-000005e2fdc3, in small letters; the kernel lists them in /sys/bus/w1/devices", address)
		}
		if ds18b20Address.MatchString(name) && name != address {
			return config.At(at, "is the address of another probe than %s", address)
		}
		if other, twice := first[address]; twice {
			return config.At(at, "%s is %s already", address, other)
		}
		first[address] = name
	}
	return nil
}

// ds18b20 is the agent. Its seam is ds18b20Bus.
type ds18b20 struct {
	*sensor
	o     ds18b20Options
	bus   *ds18b20Bus
	log   *slog.Logger
	now   func() time.Time
	known map[string]bool // by address: there is a point

	mu      sync.Mutex // over the description, which rescans change
	renewed bool
}

func newDS18B20(o ds18b20Options, d Deps, now func() time.Time) (*ds18b20, error) {
	a := &ds18b20{sensor: newSensor("ds18b20", o.Sim), o: o, now: now, known: map[string]bool{}, bus: newDS18B20Bus(iioRoot(d), o.Driver), log: d.Log}
	a.least = ds18b20LeastPoll
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.closing = a.bus.close
	names := map[string]string{}
	for name, address := range o.Probes {
		names[address] = name
	}
	named := slices.Sorted(maps.Keys(names))
	if o.Sim {
		if len(named) == 0 {
			named = []string{"28-000000000001", "28-000000000002"}
		}
		for i, address := range named {
			lo := 5 + float64(i%4)*15
			a.addProbe(address, simulatedWave(lo, lo+10, 10*time.Minute, now))
		}
		return a, nil
	}
	a.add(reports.Point{Path: "probes", Label: "Probes", Help: "Probes that the kernel sees on the bus", Type: reports.Int, Min: reports.Ptr(0),
		Genre: reports.System, Poll: o.Poll}, a.rescan)
	for _, address := range named {
		a.addProbe(address, a.reader(address))
	}
	if _, err := a.rescan(context.Background()); err != nil {
		return nil, err
	}
	if len(a.known) == 0 {
		return nil, errDS18B20None
	}
	a.renewed = false
	return a, nil
}

// Describe returns the points: those of the probes with names, and of all that were ever on the bus since the start.
func (a *ds18b20) Describe() reports.Service {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sensor.Describe()
}

// Renewed reports whether there is a probe that was not there when it was last asked.
func (a *ds18b20) Renewed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.renewed
	a.renewed = false
	return was
}

// addProbe adds the point of a probe.
func (a *ds18b20) addProbe(address string, read sensorRead) {
	name := address
	for n, of := range a.o.Probes {
		if of == address {
			name = n
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[address], a.renewed = true, true
	a.add(reports.Point{Path: "temperature/" + name, Label: name, Help: "Probe " + address, Type: reports.Float, Unit: "°C", Class: "temperature",
		Min: reports.Ptr(ds18b20Least), Max: reports.Ptr(ds18b20Most), Genre: reports.Basic, Poll: a.o.Poll,
		Janitoo: "rpi1wire.ds18b20@" + name + ";hexadd=" + address + "/temperature"}, read)
}

// rescan looks at the bus, adds the probes that are new, and counts those that are there.
func (a *ds18b20) rescan(context.Context) (any, error) {
	found, err := a.bus.addresses()
	if err != nil {
		return nil, err
	}
	for _, address := range found {
		if !a.known[address] && !a.o.Only {
			a.log.Info("new probe", "address", address)
			a.addProbe(address, a.reader(address))
		}
	}
	return int64(len(found)), nil
}

// reader returns what reads a probe and refuses what it can't mean.
func (a *ds18b20) reader(address string) sensorRead {
	var last ds18b20Value
	return func(ctx context.Context) (any, error) {
		celsius, err := a.bus.read(ctx, address)
		if err != nil {
			return nil, err
		}
		is := ds18b20Value{celsius: celsius, at: a.now(), ok: true}
		if err := ds18b20Check(last, is, 3*time.Duration(a.o.Poll)); err != nil {
			return nil, err
		}
		last = is
		return celsius, nil
	}
}

// ds18b20Value is what a probe was read as, if it was.
type ds18b20Value struct {
	celsius float64
	at      time.Time
	ok      bool
}

const (
	// The range of the DS18B20 and of all its relatives (data sheet 19-7487, "Absolute maximum ratings" and "Features").
	ds18b20Least, ds18b20Most = -55, 125
	// ds18b20PowerOn is what the scratchpad holds until a conversion has ended (data sheet 19-7487, "Memory", note to figure 9).
	ds18b20PowerOn = 85
	// ds18b20Step is how far a probe that is really at 85 °C may be from the value before.
	ds18b20Step = 5
)

// ds18b20Check refuses what is no temperature: what the chip can't measure, and the value of power-on, unless the last value,
// if it is fresh enough, was near it.
func ds18b20Check(last, is ds18b20Value, fresh time.Duration) error {
	switch c := is.celsius; {
	case c < ds18b20Least || c > ds18b20Most:
		return fmt.Errorf("%v °C is out of %d to %d °C: look at the wires and the supply", c, ds18b20Least, ds18b20Most)
	case c != ds18b20PowerOn:
	case !last.ok || is.at.Sub(last.at) > fresh || math.Abs(last.celsius-ds18b20PowerOn) > ds18b20Step:
		return fmt.Errorf("%d °C is what a probe says that had no power for its conversion, and it was not near that before: look at the supply and the pull-up", ds18b20PowerOn)
	}
	return nil
}
