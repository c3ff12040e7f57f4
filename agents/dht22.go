package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/reports"
)

// The dht22 agent reads a DHT22, AM2302 or DHT11: temperature, humidity, and the dew point that follows from them.
//
// Such a sensor is read over one wire by timing pulses of 26 and 70 µs, with nothing but a checksum of eight bits against
// mistakes. So every driver's values pass the same checks: what the model can measure, and that a value which is not that of before,
// but for the sensor's noise, is published only when another read agrees. A bad read now and then is normal: it is counted, and only
// three in a row are an error of the service.

func dht22Factory() Factory {
	return Factory{
		Name:    "dht22",
		Doc:     "Temperature, humidity and dew point by a DHT22, AM2302 or DHT11.",
		Wiring:  dht22Wiring,
		Example: "sim: true\nmodel: dht22\n",
		Defaults: func() Options {
			return &dht22Options{Driver: dht22DriverIIO, Model: dht22Model22, Pull: string(gpio.PullUp), Poll: reports.Duration(10 * time.Second)}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*dht22Options)
			if !ok {
				return nil, fmt.Errorf("dht22: options are a %T", o)
			}
			if opts.Sim {
				return newSimulatedDHT22(*opts), nil
			}
			return newDHT22(*opts, d)
		},
	}
}

const dht22Wiring = `VCC to 3.3 V (pin1), GND to ground (pin6), DATA to a line such as GPIO4 (pin7), with a resistor of 4.7 to 10 kΩ between DATA and
VCC (most modules have it on board). Powered by 5 V, DATA must still be pulled up to 3.3 V. Long cables need a stronger pull-up. A DHT22
answers with what it measured when it was read before: the shorter ` + "`poll`" + `, the fresher the value.

- ` + "`driver: iio`" + ` (default): the kernel times the pulses. One line in /boot/firmware/config.txt (before Debian 12: /boot/config.txt) and a
  restart: ` + "`dtoverlay=dht11,gpiopin=4`" + `; this overlay is for all models. Reading needs no rights. More than one sensor: one such line
  each, and ` + "`device: dht11@4`" + ` says which one, by its pin in hexadecimal, as ` + "`ls -l /sys/bus/iio/devices`" + ` shows it.
- ` + "`driver: edges`" + `: no overlay. The user must be in the group that /dev/gpiochip* belong to (gpio). Needs Linux 5.10 or later. On a busy or
  slow Raspberry Pi more reads fail than with the kernel's driver; ` + "`reads/bad`" + ` counts them.
- ` + "`driver: go-dht`" + `: for old images with Linux 6.1 or earlier, in a build with ` + "`CGO_ENABLED=1 go build -tags godht`" + `. It busy-polls the
  GPIO files of sysfs, which later kernels number otherwise or lack.

Whatever the driver, a value that is not that of before (within the sensor's noise: 0.2 °C and 1 %, of a DHT11 1 °C and 1 %) is published when
another read says the same, or a third one when the values move fast. So is the first one, and the first after a minute without any. That
read follows 2 s later if ` + "`poll`" + ` leaves the time (4s or more), and with the next poll if not. ` + "`reads/bad`" + ` counts what failed and what was not
confirmed.

With ` + "`edges`" + `, a frame is refused before that in which a pulse is neither 0 nor 1 by its length, give or take an edge that was told late. A value
of a frame with a lost edge, or with a pulse more than 5 µs off, is in doubt: none is believed because it is on the way from one to another.

What is left: of all ways to turn two bits of a frame the checksum alone (which is all that ` + "`iio`" + ` and ` + "`go-dht`" + ` have) lets 5.5 % pass, of three
0.9 %. Of 2,000,000 random frames, 1,500,000 of them with one to three pulses of random length (0 to 130 µs), ` + "`edges`" + ` took 115 for another value,
1 in 13,000. As the first value, after one and after others none of them was published that is wrong by more than the sensor's noise. That takes
two in a row that are wrong alike: fewer than 1 in 170,000,000 such pairs. All clean frames were published, the first ones 2 s later.

The overlay and its parameter were not checked on a board.`

// The drivers.
const (
	dht22DriverIIO   = "iio"
	dht22DriverEdges = "edges"
	dht22DriverGoDHT = "go-dht"
)

// How often the sensors may be read: the AM2302's manual asks for 2 s between two reads, that of the DHT11 for 1 s.
const (
	dht22Between   = 2 * time.Second
	dht22Between11 = time.Second
)

// dht22Options are the options of the dht22 agent.
type dht22Options struct {
	Driver string           `yaml:"driver" doc:"who times the pulses: iio (the kernel), edges (this program, of the kernel's edges) or go-dht (that library, in builds with it)"`
	Model  string           `yaml:"model" doc:"dht22, am2302 or dht11"`
	Device string           `yaml:"device" doc:"of iio: which device, as dht11@4; default: the only one"`
	Chip   string           `yaml:"chip" doc:"of edges: the GPIO chip by label, name or path; default: that of the header"`
	Pin    string           `yaml:"pin" doc:"of edges and go-dht: the line, as 4, GPIO4 or pin7; go-dht takes a number only"`
	Pull   string           `yaml:"pull" doc:"of edges: up adds the chip's own weak pull-up to the resistor, none does not"`
	Poll   reports.Duration `yaml:"poll" doc:"how often the sensor is read"`
	Sim    bool             `yaml:"sim" doc:"made-up values instead of hardware; only when asked for"`
}

// between is how long the sensor must be left alone.
func (o *dht22Options) between() time.Duration {
	if o.Model == dht22Model11 {
		return dht22Between11
	}
	return dht22Between
}

// rest is how long it is left alone. The kernel's driver answers for 2 s from what it has read, whatever the model
// (DHT11_DATA_VALID_TIME in drivers/iio/humidity/dht11.c): a second opinion would be the first one again.
func (o *dht22Options) rest() time.Duration {
	if o.Driver == dht22DriverIIO {
		return dht22Between
	}
	return o.between()
}

// Validate checks that the options fit each other.
func (o *dht22Options) Validate() error {
	switch o.Model {
	case dht22Model11, dht22Model22, dht22Model2302:
	default:
		return config.At("model", "%q is none of dht22, am2302, dht11", o.Model)
	}
	if time.Duration(o.Poll) < o.between() {
		return config.At("poll", "%s is too often: a %s must be left alone for %s", o.Poll, o.Model, o.between())
	}
	if o.Pull != string(gpio.PullUp) && o.Pull != string(gpio.PullNone) {
		return config.At("pull", "%q is neither up nor none", o.Pull)
	}
	switch o.Driver {
	case dht22DriverIIO:
		if o.Pin != "" || o.Chip != "" {
			return config.At("driver", "iio takes no pin and no chip: the kernel knows them by its line dtoverlay=dht11,gpiopin=4; for a pin say driver: edges")
		}
		return checkDevice(o.Device)
	case dht22DriverEdges, dht22DriverGoDHT:
	default:
		return config.At("driver", "%q is none of iio, edges, go-dht", o.Driver)
	}
	switch {
	case o.Device != "":
		return config.At("device", "only iio has devices; %s needs pin", o.Driver)
	case o.Pin == "" && !o.Sim:
		return config.At("pin", "is missing: %s needs the line of the sensor, as GPIO4", o.Driver)
	case o.Chip != "" && o.Driver == dht22DriverGoDHT:
		return config.At("chip", "go-dht knows only the first one")
	}
	return checkPins(o.Chip, sensorPin{at: "pin", pin: o.Pin})
}

// dht22Driver is the seam to the hardware. A value in doubt may be another than was sent. An error that is errDHT22Read may not come
// again.
type dht22Driver interface {
	read(context.Context) (v dht22Value, doubt bool, err error)
	close() error
}

// dht22BadReads is how many reads in a row must bring nothing to be an error.
const dht22BadReads = 3

type dht22 struct {
	*sensor
	driver dht22Driver
	now    func() time.Time
	model  string
	rest   time.Duration                                // between two reads
	derive map[string]func(dht22Value) (float64, error) // the points that are measured

	belief    dht22Belief
	triedAt   time.Time
	err       error // of the last read
	inRow     int   // reads that brought nothing since the last value
	good, bad int64
}

func newDHT22(o dht22Options, d Deps) (Agent, error) {
	var driver dht22Driver
	var err error
	switch o.Driver {
	case dht22DriverIIO:
		driver, err = newDHT22IIO(o, d)
	case dht22DriverEdges:
		driver, err = newDHT22Edges(o, d)
	default:
		driver, err = newDHT22GoDHT(o, d)
	}
	if err != nil {
		return nil, err
	}
	return dht22With(o, driver, time.Now), nil
}

func dht22With(o dht22Options, driver dht22Driver, now func() time.Time) *dht22 {
	a := &dht22{sensor: newSensor("dht22", false), driver: driver, now: now, model: o.Model, rest: o.rest(), belief: dht22Belief{limits: dht22LimitsOf(o.Model)},
		derive: map[string]func(dht22Value) (float64, error){
			"temperature": func(v dht22Value) (float64, error) { return v.celsius, nil },
			"humidity":    func(v dht22Value) (float64, error) { return v.percent, nil },
			"dew_point":   dht22DewPoint,
		}}
	for _, p := range dht22Points(o) {
		a.add(p, nil) // Sample knows how
	}
	for _, c := range []struct {
		path, label, help string
		count             *int64
	}{
		{"reads/good", "Good reads", "reads whose checksum and values were right, since the start", &a.good},
		{"reads/bad", "Bad reads", "reads that failed, since the start; some are normal", &a.bad},
	} {
		a.add(reports.Point{Path: c.path, Label: c.label, Help: c.help, Type: reports.Int, Genre: reports.System, Poll: o.Poll, Min: reports.Ptr(0), StateClass: reports.TotalIncreasing},
			func(context.Context) (any, error) { return *c.count, nil })
	}
	a.closing, a.least = driver.close, o.between()
	return a
}

// janitoo returns what Janitoo calls the sensor, with its type and pin as Janitoo has them.
func (o dht22Options) janitoo() string {
	model := map[string]string{"dht11": "11", "am2302": "2302"}[o.Model]
	out := "rpibasic.dht;sensor=" + cmp.Or(model, "22")
	if pin := strings.TrimPrefix(o.Pin, "GPIO"); pin != "" && strings.Trim(pin, "0123456789") == "" {
		out += ";pin=" + pin
	}
	return out
}

// dht22Points are the points that are measured.
func dht22Points(o dht22Options) []reports.Point {
	l, janitoo := dht22LimitsOf(o.Model), o.janitoo()
	return []reports.Point{
		{Path: "temperature", Label: "Temperature", Type: reports.Float, Unit: "°C", Class: "temperature",
			Min: reports.Ptr(l.celsiusLeast), Max: reports.Ptr(l.celsiusMost), Poll: o.Poll, Janitoo: janitoo + "/temperature"},
		{Path: "humidity", Label: "Humidity", Help: "relative", Type: reports.Float, Unit: "%", Class: "humidity",
			Min: reports.Ptr(0), Max: reports.Ptr(100), Poll: o.Poll, Janitoo: janitoo + "/humidity"},
		{Path: "dew_point", Label: "Dew point", Help: "what must be colder for water to condense on it", Type: reports.Float, Unit: "°C",
			Class: "temperature", Poll: o.Poll},
	}
}

func newSimulatedDHT22(o dht22Options) *sensor {
	s := newSensor("dht22", true)
	celsius, percent := simulatedWave(18, 26, 10*time.Minute, time.Now), simulatedWave(40, 60, 7*time.Minute, time.Now)
	dew := func(ctx context.Context) (any, error) {
		c, _ := celsius(ctx) // a wave never fails
		p, _ := percent(ctx)
		return dht22DewPoint(dht22Value{c.(float64), p.(float64)})
	}
	for i, p := range dht22Points(o) {
		s.add(p, []sensorRead{celsius, percent, dew}[i])
	}
	return s
}

// Sample reads a point. All that is measured comes of one read of the sensor, which is left alone for as long as it needs.
func (a *dht22) Sample(ctx context.Context, path string) (reports.Reading, error) {
	derive, ok := a.derive[path]
	if !ok {
		return a.sensor.Sample(ctx, path)
	}
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	a.measure(ctx)
	bad := errors.Is(a.err, errDHT22Read) && !a.belief.valueAt.IsZero() || errors.Is(a.err, errDHT22Alone)
	switch {
	case a.err == nil:
	case bad && a.inRow < dht22BadReads:
		return reports.Reading{Path: path, Stale: true, Time: a.triedAt}, nil
	default:
		return reports.Reading{}, fmt.Errorf("%s: %w", path, a.err)
	}
	v, err := derive(a.belief.value)
	if err != nil {
		return reports.Reading{}, fmt.Errorf("%s: %w", path, err)
	}
	return reports.Reading{Path: path, Value: v, Time: a.belief.valueAt}, nil
}

// measure reads the sensor, unless it must be left alone: then what it said last stands, good or bad. For a value that another read must
// confirm it is read again as soon as it may be, if ctx has a deadline that leaves the time; if not, the next poll does.
func (a *dht22) measure(ctx context.Context) {
	if !a.triedAt.IsZero() && a.now().Sub(a.triedAt) < a.rest {
		return
	}
	for a.try(ctx); errors.Is(a.err, errDHT22Alone); a.try(ctx) {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) < a.rest+dht22Slowest || sensorWait(ctx, a.rest) != nil {
			return
		}
	}
}

// dht22Slowest is more than any driver takes for a read.
const dht22Slowest = 500 * time.Millisecond

// try reads the sensor.
func (a *dht22) try(ctx context.Context) {
	v, doubt, err := a.driver.read(ctx)
	a.triedAt = a.now()
	if ctx.Err() != nil && err != nil {
		a.err = err // not the sensor's fault
		return
	}
	if err == nil {
		err = v.check(a.model)
	}
	a.inRow++
	if a.err = err; err != nil {
		a.bad++
		return
	}
	believed, refused, err := a.belief.hear(v, doubt, a.triedAt)
	if a.bad += int64(refused); believed > 0 {
		a.good, a.inRow = a.good+int64(believed), 0
	}
	a.err = err
}

// dht22Belief decides which values are published. A checksum of eight bits lets some errors pass, so that what is not as before, but for
// the sensor's noise, needs another read that says the same; if the values move too fast for that, a third one that is not far.
type dht22Belief struct {
	limits  dht22Limits
	value   dht22Value // the last one that was believed
	valueAt time.Time  // zero: there is none yet
	moving  bool       // it was believed for a third read
	waiting []dht22Value
	heardAt time.Time // when the last one was that waits
}

// dht22Memory is how long a value is one to compare the next with.
const dht22Memory = time.Minute

// dht22Opinions is how many reads that are not far from each other make values that are believed.
const dht22Opinions = 3

// errDHT22Alone is why a value is not published yet.
var errDHT22Alone = fmt.Errorf("%w: another read must confirm it", errDHT22Read)

// hear takes a value that was read, and returns how many are believed by it, itself and those that it confirms, and how many no longer
// wait and were wrong. If it is not believed, err says why.
func (b *dht22Belief) hear(v dht22Value, doubt bool, at time.Time) (believed, refused int, err error) {
	if at.Sub(b.heardAt) >= dht22Memory {
		b.waiting = nil // too old to say anything; nobody knows whether they were right
	}
	known := !b.valueAt.IsZero() && at.Sub(b.valueAt) < dht22Memory
	n := len(b.waiting)
	same := func(w dht22Value) bool { return v.near(w, b.limits.celsiusNoise, dht22PercentNoise) }
	isNear := func(w dht22Value) bool { return !doubt && v.near(w, dht22CelsiusStep, dht22PercentStep) }
	third := n == dht22Opinions-1 && isNear(b.waiting[n-1]) && b.waiting[n-1].near(b.waiting[0], dht22CelsiusStep, dht22PercentStep)
	switch {
	case known && same(b.value), known && b.moving && isNear(b.value):
		b.moving = b.moving && !same(b.value)
		believed, refused = 1, n
	case n > 0 && same(b.waiting[n-1]):
		b.moving = false
		believed, refused = 2, n-1
	case third:
		b.moving = true
		believed = dht22Opinions
	default:
		if b.heardAt = at; n == dht22Opinions-1 {
			b.waiting, refused = b.waiting[1:], 1
		}
		b.waiting = append(b.waiting, v)
		if !known {
			return 0, refused, fmt.Errorf("%.1f °C and %.1f %%: %w", v.celsius, v.percent, errDHT22Alone)
		}
		return 0, refused, fmt.Errorf("%.1f °C and %.1f %%, after %.1f °C and %.1f %%: %w", v.celsius, v.percent, b.value.celsius, b.value.percent, errDHT22Alone)
	}
	b.value, b.valueAt, b.waiting = v, at, nil
	return believed, refused, nil
}
