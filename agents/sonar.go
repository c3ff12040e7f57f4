package agents

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The sonar agent measures a distance with an ultrasonic sensor as the HC-SR04: it sends a pulse of sound and holds its echo line
// high until the sound is back. The kernel times the edges of that line.

func sonarFactory() Factory {
	return Factory{
		Name:    "sonar",
		Doc:     "Distance by an ultrasonic sensor HC-SR04 or SRF04.",
		Wiring:  sonarWiring,
		Example: "sim: true\nsamples: 3\n",
		Defaults: func() Options {
			return &sonarOptions{Driver: sonarDriverGPIO, Samples: 3, Temperature: 20, Poll: reports.Duration(time.Second)}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*sonarOptions)
			if !ok {
				return nil, fmt.Errorf("sonar: options are a %T", o)
			}
			if opts.Sim {
				return newSimulatedSonar(*opts), nil
			}
			return newSonar(*opts, d)
		},
	}
}

const sonarWiring = `VCC to 5 V (pin2), GND to ground (pin6), Trig straight to a line such as GPIO23 (pin16). Echo is a 5 V signal, which a Raspberry Pi does
not stand: through 1 kΩ to a line such as GPIO24 (pin18), and from that line through 2 kΩ to ground. (HC-SR04+ and RCWL-1601 run on
3.3 V and need no resistors.)

- ` + "`driver: gpio`" + ` (default): the user must be in the group that /dev/gpiochip* belong to (gpio).
- ` + "`driver: iio`" + `: the kernel's driver srf04. Raspberry Pi OS has no overlay for it; one of your own has a node with
  ` + "`compatible = \"devantech,srf04\"; trig-gpios = <&gpio 23 0>; echo-gpios = <&gpio 24 0>;`" + ` (Documentation/devicetree/bindings/iio/proximity/devantech-srf04.yaml).

Sound is 0.17 % faster for each °C: give the air's temperature, or with ` + "`temperature_topic`" + ` that of a sensor beside it, as /pizero2/dht22/temperature.`

// The drivers.
const (
	sonarDriverGPIO = "gpio"
	sonarDriverIIO  = "iio"
)

// What an HC-SR04 can do: 2 to 400 cm, one measurement in 60 ms (Elecfreaks, HC-SR04 user guide: "over 60 ms measurement cycle, in
// order to prevent trigger signal to the echo signal").
const (
	sonarLeast = 0.02 // m
	sonarMost  = 4.0  // m
	sonarCycle = 60 * time.Millisecond
)

// Bounds of the options.
const (
	sonarMostSamples  = 9
	sonarLeastCelsius = -40
	sonarMostCelsius  = 85
)

// sonarOptions are the options of the sonar agent.
type sonarOptions struct {
	Driver           string           `yaml:"driver" doc:"who times the echo: gpio (the edges of its line) or iio (the kernel's driver srf04)"`
	Chip             string           `yaml:"chip" doc:"of gpio: the GPIO chip by label, name or path; default: that of the header"`
	Trigger          string           `yaml:"trigger" doc:"of gpio: the line of Trig, as 23, GPIO23 or pin16"`
	Echo             string           `yaml:"echo" doc:"of gpio: the line of Echo, as 24, GPIO24 or pin18"`
	Device           string           `yaml:"device" doc:"of iio: which device; default: the only one"`
	Samples          int              `yaml:"samples" doc:"a value is the median of so many measurements, 60 ms apart"`
	Temperature      float64          `yaml:"temperature" doc:"of the air in °C, where temperature_topic says nothing"`
	TemperatureTopic string           `yaml:"temperature_topic" doc:"topic on this host's broker with the air's temperature in °C, as /pizero2/dht22/temperature"`
	Poll             reports.Duration `yaml:"poll" doc:"how often the distance is measured"`
	Sim              bool             `yaml:"sim" doc:"made-up values instead of hardware; only when asked for"`
}

// Validate checks that the options fit each other.
func (o *sonarOptions) Validate() error {
	if o.Samples < 1 || o.Samples > sonarMostSamples {
		return config.At("samples", "%d is not from 1 to %d", o.Samples, sonarMostSamples)
	}
	if least := o.leastPoll(); time.Duration(o.Poll) < least {
		return config.At("poll", "%s is too often: %d samples of %s need at least %s", o.Poll, o.Samples, sonarCycle, least)
	}
	if !sonarIsAir(o.Temperature) {
		return config.At("temperature", "%v is not from %d to %d °C", o.Temperature, sonarLeastCelsius, sonarMostCelsius)
	}
	if o.TemperatureTopic != "" {
		if err := reports.ValidTopic(o.TemperatureTopic); err != nil {
			return config.At("temperature_topic", "%w", err)
		}
	}
	switch o.Driver {
	case sonarDriverIIO:
		if o.Trigger != "" || o.Echo != "" || o.Chip != "" {
			return config.At("driver", "iio takes no chip, trigger and echo: the kernel knows them")
		}
		return checkDevice(o.Device)
	case sonarDriverGPIO:
	default:
		return config.At("driver", "%q is neither gpio nor iio", o.Driver)
	}
	switch {
	case o.Device != "":
		return config.At("device", "only iio has devices; gpio needs trigger and echo")
	case o.Sim:
	case o.Trigger == "":
		return config.At("trigger", "is missing: the line of Trig, as GPIO23")
	case o.Echo == "":
		return config.At("echo", "is missing: the line of Echo, as GPIO24")
	}
	return checkPins(o.Chip, sensorPin{at: "trigger", pin: o.Trigger}, sensorPin{at: "echo", pin: o.Echo})
}

// leastPoll is one cycle more than the samples take, and a quarter for the host.
func (o *sonarOptions) leastPoll() time.Duration {
	return time.Duration(o.Samples+1) * sonarCycle * 5 / 4
}

// sonarIsAir reports whether air can be that warm where a sensor works.
func sonarIsAir(celsius float64) bool {
	return celsius >= sonarLeastCelsius && celsius <= sonarMostCelsius
}

// sonarRanger is the seam to the hardware: it sends sound and returns how long the echo line was high. sonarFar instead of an error
// means that no sound came back.
type sonarRanger interface {
	echo(context.Context) (time.Duration, error)
	close() error
}

// Why there is no distance: the values of the event.
const (
	sonarNear = "near"
	sonarFar  = "far"
)

// sonarFarther is the echo of what is too far for any.
const sonarFarther = time.Hour

type sonar struct {
	*sensor
	ranger  sonarRanger
	samples int
	fixed   float64                 // °C
	topic   atomic.Pointer[float64] // what the topic says; nil: nothing
	stop    func()                  // of the topic's subscription
	last    time.Time               // when the latest sound was sent
	events  chan reports.Reading
	out     string // why there is no distance at present, "" if there is one
	closed  bool
}

func newSonar(o sonarOptions, d Deps) (Agent, error) {
	var ranger sonarRanger
	var err error
	if o.Driver == sonarDriverIIO {
		ranger, err = newSonarIIO(o, d)
	} else {
		ranger, err = newSonarGPIO(o, d)
	}
	if err != nil {
		return nil, err
	}
	s := sonarWith(o, ranger)
	if o.TemperatureTopic == "" || d.Link == nil {
		return s, nil
	}
	stop, err := d.Link.Subscribe(o.TemperatureTopic, s.air)
	if err != nil {
		return nil, errors.Join(iioAt(d, "temperature_topic", "%w", err), s.Close())
	}
	s.stop = stop
	return s, nil
}

func sonarWith(o sonarOptions, ranger sonarRanger) *sonar {
	s := &sonar{sensor: newSensor("sonar", false), ranger: ranger, samples: o.Samples, fixed: o.Temperature, events: make(chan reports.Reading, 1), stop: func() {}}
	for _, p := range sonarPoints(o) {
		s.add(p, nil) // SampleAll knows how
	}
	s.add(reports.Point{Path: "out_of_range", Label: "Out of range", Help: "told when there was a distance before: what is there is nearer or farther than the sensor can measure",
		Type: reports.Enum, Options: []string{sonarNear, sonarFar}, Access: reports.Event},
		func(context.Context) (any, error) {
			return nil, errors.New("is told when it happens, and can't be read")
		})
	s.add(reports.Point{Path: "temperature", Label: "Air", Help: "that the speed of sound is reckoned for", Type: reports.Float, Unit: "°C", Class: "temperature",
		Genre: reports.System, Poll: o.Poll}, func(context.Context) (any, error) { return s.celsius(), nil })
	s.least = o.leastPoll()
	return s
}

// sonarPoints are the points that are measured.
func sonarPoints(o sonarOptions) []reports.Point {
	return []reports.Point{
		{Path: "distance", Label: "Distance", Type: reports.Float, Unit: "m", Class: "distance", Min: reports.Ptr(sonarLeast), Max: reports.Ptr(sonarMost), Poll: o.Poll, Janitoo: "rpigpio.sonic/state"},
		{Path: "echo", Label: "Echo", Help: "how long the sound was on its way there and back", Type: reports.Float, Unit: "µs", Class: "duration", Min: reports.Ptr(0), Poll: o.Poll},
	}
}

func newSimulatedSonar(o sonarOptions) *sensor {
	s := newSensor("sonar", true)
	distance := simulatedWave(0.2, 2.5, time.Minute, time.Now)
	echo := func(ctx context.Context) (any, error) {
		v, _ := distance(ctx) // a wave never fails
		return math.Round(2 * v.(float64) / sonarSpeed(o.Temperature) * 1e6), nil
	}
	for i, p := range sonarPoints(o) {
		s.add(p, []sensorRead{distance, echo}[i])
	}
	return s
}

// Events returns where it is told that something went out of range.
func (s *sonar) Events() <-chan reports.Reading { return s.events }

// Close gives the hardware back and ends the events.
func (s *sonar) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.stop()
	close(s.events)
	return s.ranger.close()
}

// air takes the temperature that the topic says. A topic that is emptied, since its value is stale, says nothing.
func (s *sonar) air(payload []byte) {
	v, err := strconv.ParseFloat(strings.TrimSpace(string(payload)), 64)
	if err != nil || !sonarIsAir(v) {
		s.topic.Store(nil)
		return
	}
	s.topic.Store(&v)
}

// celsius returns the temperature of the air as far as it is known.
func (s *sonar) celsius() float64 {
	if v := s.topic.Load(); v != nil {
		return *v
	}
	return s.fixed
}

// Sample reads one point.
func (s *sonar) Sample(ctx context.Context, path string) (reports.Reading, error) {
	readings, err := s.SampleAll(ctx, []string{path})
	if len(readings) == 0 {
		return reports.Reading{}, err
	}
	return readings[0], err
}

// SampleAll reads points. Distance and echo are of the same sound. While there is nothing in range they have no value, so that
// what was measured before goes stale.
func (s *sonar) SampleAll(ctx context.Context, paths []string) (out []reports.Reading, err error) {
	var errs []error
	var echo time.Duration
	var echoErr error
	measured := false
	for _, path := range paths {
		if path != "distance" && path != "echo" || ctx.Err() != nil {
			r, err := s.sensor.Sample(ctx, path)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = append(out, r)
			continue
		}
		if !measured {
			measured = true
			echo, echoErr = s.measure(ctx)
		}
		switch {
		case echoErr != nil:
			errs = append(errs, fmt.Errorf("%s: %w", path, echoErr))
		case s.out != "":
			out = append(out, reports.Reading{Path: path, Stale: true, Time: s.last})
		case path == "echo":
			out = append(out, reports.Reading{Path: path, Value: float64(echo.Microseconds()), Time: s.last})
		default:
			out = append(out, reports.Reading{Path: path, Value: sonarRound(sonarDistance(echo, s.celsius())), Time: s.last})
		}
	}
	return out, errors.Join(errs...)
}

// measure sends sound as often as the options say, and tells when what is there goes out of range.
func (s *sonar) measure(ctx context.Context) (time.Duration, error) {
	echoes := make([]time.Duration, 0, s.samples)
	var fault error
	for range s.samples {
		if err := sensorWait(ctx, sonarCycle-time.Since(s.last)); err != nil {
			return 0, err
		}
		echo, err := s.ranger.echo(ctx)
		s.last = time.Now()
		switch {
		case ctx.Err() != nil && err != nil:
			return 0, err
		case err != nil:
			fault = err
		default:
			echoes = append(echoes, echo)
		}
	}
	if 2*len(echoes) <= s.samples {
		return 0, fault
	}
	echo := sonarMedian(echoes)
	out := sonarOut(sonarDistance(echo, s.celsius()))
	if out != "" && out != s.out {
		select {
		case s.events <- reports.Reading{Path: "out_of_range", Value: out, Time: s.last}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	s.out = out
	return echo, nil
}

// sonarMedian returns the one in the middle, or of an even number the mean of both. It sorts the echoes.
func sonarMedian(echoes []time.Duration) time.Duration {
	slices.Sort(echoes)
	n := len(echoes)
	return (echoes[(n-1)/2] + echoes[n/2]) / 2
}

// sonarSpeed returns the speed of sound in m/s in dry air, an ideal gas: 331.3 m/s at 0 °C, with the root of the absolute
// temperature (O. Cramer, J. Acoust. Soc. Am. 93, 1993, differs by less than 0.1 % from −20 to 40 °C; humid air by 0.4 % at most).
func sonarSpeed(celsius float64) float64 {
	return 331.3 * math.Sqrt(1+celsius/273.15)
}

// sonarDistance returns how far away in m it is from where the echo came.
func sonarDistance(echo time.Duration, celsius float64) float64 {
	return echo.Seconds() * sonarSpeed(celsius) / 2
}

// sonarRound rounds a distance to tenths of a millimetre: the sensor's own resolution is 3 mm.
func sonarRound(metres float64) float64 { return math.Round(metres*1e4) / 1e4 }

// sonarOut returns why the sensor can't measure a distance, or "".
func sonarOut(metres float64) string {
	switch {
	case metres < sonarLeast:
		return sonarNear
	case metres > sonarMost:
		return sonarFar
	}
	return ""
}
