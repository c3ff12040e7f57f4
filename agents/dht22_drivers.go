package agents

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"rollcall/gpio"
)

// How long the line is held low to ask for values (T_be: AM2302 0.8–20 ms; DHT11 at least 18 ms), how long after the last edge
// the answer of at most 5.5 ms counts as over, since a busy host delivers edges late, and how long it may take in all.
const (
	dht22Start   = 1200 * time.Microsecond
	dht22Start11 = 18 * time.Millisecond
	dht22Quiet   = 20 * time.Millisecond
	dht22Most    = 200 * time.Millisecond
)

// dht22Edges reads a sensor through the edges of its line as the kernel has timed them. The line is held all the time. An idle
// one costs nothing: the kernel looks for edges only while an answer is awaited.
type dht22Edges struct {
	deps  Deps
	o     dht22Options
	start time.Duration
	chip  gpio.Chip
	line  gpio.Line // nil while there is no chip
}

func newDHT22Edges(o dht22Options, d Deps) (*dht22Edges, error) {
	e := &dht22Edges{deps: d, o: o, start: dht22Start}
	if o.Model == dht22Model11 {
		e.start = dht22Start11
	}
	return e, e.open()
}

// open requests the line.
func (e *dht22Edges) open() error {
	chip, err := sensorWires(e.deps, e.o.Chip, sensorWire{pin: e.o.Pin, options: e.idle(), line: &e.line})
	if err != nil {
		return err
	}
	e.chip = chip
	return nil
}

// idle is what the line is between two reads: let go, so that the resistor pulls it up.
func (e *dht22Edges) idle() gpio.LineOptions { return gpio.LineOptions{Bias: gpio.Bias(e.o.Pull)} }

// read asks the sensor. A chip that was unplugged is opened again by the next read.
func (e *dht22Edges) read(ctx context.Context) (v dht22Value, doubt bool, err error) {
	if e.line == nil {
		if err := e.open(); err != nil {
			return v, false, err
		}
	}
	edges, err := e.ask(ctx)
	if errors.Is(err, gpio.ErrGone) {
		return v, false, errors.Join(err, e.close())
	}
	if err != nil {
		return v, false, err
	}
	if len(edges) == 0 {
		return v, false, fmt.Errorf("no sensor answers on %s: look at its wiring, its power and its pull-up resistor", e.o.Pin)
	}
	frame, doubt, err := dht22Decode(edges)
	if err != nil {
		return v, false, err
	}
	v, err = dht22Convert(e.o.Model, frame)
	return v, doubt, err
}

// ask holds the line low, lets it go and takes down what comes. Letting go and looking for edges are one call of the kernel.
func (e *dht22Edges) ask(ctx context.Context) (edges []gpio.Event, err error) {
	if err := e.line.Reconfigure(gpio.LineOptions{Output: true, Bias: gpio.Bias(e.o.Pull)}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.line.Reconfigure(e.idle())) }() // always let go, and no events while idle
	if err := sensorWait(ctx, e.start); err != nil {
		return nil, err
	}
	taken := dht22Taken{more: make(chan struct{}, 1)}
	answer := e.idle()
	answer.Events = taken.add
	if err := e.line.Reconfigure(answer); err != nil {
		return nil, err
	}
	return taken.all(ctx)
}

// close gives line and chip back.
func (e *dht22Edges) close() error {
	if e.chip == nil {
		return nil
	}
	err := e.chip.Close()
	e.chip, e.line = nil, nil
	return err
}

// dht22Taken is what has come of an answer.
type dht22Taken struct {
	mu    sync.Mutex
	edges []gpio.Event
	more  chan struct{}
}

// add takes an edge. Of a line that is never quiet it takes no more than the kernel would keep.
func (t *dht22Taken) add(e gpio.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.edges) < gpio.EventBuffer {
		t.edges = append(t.edges, e)
	}
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// all returns the edges when no more come.
func (t *dht22Taken) all(ctx context.Context) ([]gpio.Event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dht22Most, fmt.Errorf("%w: the line is never quiet", errDHT22Read))
	defer cancel()
	quiet := time.NewTimer(dht22Quiet)
	defer quiet.Stop()
	for {
		select {
		case <-t.more:
			quiet.Reset(dht22Quiet)
		case <-quiet.C:
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.edges, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// The files of the kernel's driver: thousandths of °C and of % (Documentation/ABI/testing/sysfs-bus-iio).
const (
	dht22Celsius = "in_temp_input"
	dht22Percent = "in_humidityrelative_input"
	dht22Milli   = 1000
)

// dht22IIO reads a sensor by the kernel's driver dht11, which knows all models.
type dht22IIO struct {
	model  string
	device *iioDevice
}

func newDHT22IIO(o dht22Options, d Deps) (*dht22IIO, error) {
	search := iioSearch{root: iioRoot(d), want: o.Device, what: "the files of a DHT sensor, " + dht22Celsius + " and " + dht22Percent,
		fits: func(files []string) bool {
			return slices.Contains(files, dht22Celsius) && slices.Contains(files, dht22Percent)
		},
		hint: func(string) string {
			return "the kernel needs the line dtoverlay=dht11,gpiopin=4 in /boot/firmware/config.txt and a restart; without an overlay, say driver: edges"
		}}
	device, err := search.find()
	if err != nil {
		return nil, err
	}
	if o.Device == "" && !dht22Name(device.name) {
		return nil, iioAt(d, "device", "%s is no sensor of the driver dht11; if it is the one to read, name it", device)
	}
	return &dht22IIO{o.Model, device}, nil
}

// dht22Name reports whether the kernel has made the name for a dht11, which is that of its node in the device tree: dht11@4.
func dht22Name(name string) bool {
	return regexp.MustCompile(`^([0-9a-f]+\.)?dht11(@[0-9a-f]+)?$`).MatchString(name)
}

// read reads both files. The first makes the kernel ask the sensor; for 2 s it answers the other from what it knows.
func (d *dht22IIO) read(context.Context) (v dht22Value, doubt bool, err error) {
	if err := d.device.fresh(); err != nil {
		return v, false, err
	}
	celsius, err := d.device.readFloat(dht22Celsius)
	if err != nil {
		return v, false, dht22Errno(err)
	}
	percent, err := d.device.readFloat(dht22Percent)
	if err != nil {
		return v, false, dht22Errno(err)
	}
	return dht22Value{celsius / dht22Milli, percent / dht22Milli}, false, nil
}

// dht22Errno marks what the driver says of a read that may do better the next time: EIO for a wrong checksum or a lost edge,
// ETIMEDOUT for too few edges, EAGAIN for a clock that is too coarse just now (drivers/iio/humidity/dht11.c).
func dht22Errno(err error) error {
	for _, e := range []error{syscall.EIO, syscall.ETIMEDOUT, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", errDHT22Read, err)
		}
	}
	return err
}

func (d *dht22IIO) close() error { return nil }
