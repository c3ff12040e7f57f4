package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"rollcall/gpio"
)

// How long Trig is high (at least 10 µs), and how long each edge of Echo is waited for. A sensor begins within a millisecond, and an
// HC-SR04 gives up after 38 ms, some of its copies only after 200 ms; the rest is for a busy host, which may tell late of what the kernel
// has timed.
const (
	sonarTrigger = 20 * time.Microsecond
	sonarEdge    = 100 * time.Millisecond
)

// sonarGPIO is a sensor on two lines.
type sonarGPIO struct {
	deps  Deps
	o     sonarOptions
	chip  gpio.Chip // nil while there is none
	trig  gpio.Line
	line  gpio.Line
	edges chan gpio.Event
}

func newSonarGPIO(o sonarOptions, d Deps) (*sonarGPIO, error) {
	g := &sonarGPIO{deps: d, o: o, edges: make(chan gpio.Event, gpio.EventBuffer)}
	return g, g.open()
}

// open requests the lines.
func (g *sonarGPIO) open() error {
	heard := func(e gpio.Event) {
		select {
		case g.edges <- e:
		default: // a line that is never quiet; the gap in Seq tells
		}
	}
	chip, err := sensorWires(g.deps, g.o.Chip, sensorWire{"trigger", g.o.Trigger, gpio.LineOptions{Output: true}, &g.trig},
		sensorWire{"echo", g.o.Echo, gpio.LineOptions{Events: heard}, &g.line})
	if err != nil {
		return err
	}
	g.chip = chip
	return nil
}

// echo sends sound. A chip that was unplugged is opened again by the next one.
func (g *sonarGPIO) echo(ctx context.Context) (time.Duration, error) {
	if g.chip == nil {
		if err := g.open(); err != nil {
			return 0, err
		}
	}
	echo, err := g.ping(ctx)
	if errors.Is(err, gpio.ErrGone) {
		return 0, errors.Join(err, g.close())
	}
	return echo, err
}

func (g *sonarGPIO) ping(ctx context.Context) (time.Duration, error) {
	level, err := g.line.Value()
	if err != nil {
		return 0, err
	}
	if level == 1 {
		return 0, fmt.Errorf("echo on %s is high before there was any sound: it still waits for the last one, or is wired wrongly", g.o.Echo)
	}
	for len(g.edges) > 0 {
		<-g.edges // of an echo that came too late
	}
	if err := g.pulse(ctx); err != nil {
		return 0, err
	}
	rise, ok, err := g.edge(ctx)
	if ok && !rise.Rising { // the end of an echo that came too late, told late
		rise, ok, err = g.edge(ctx)
	}
	switch {
	case err != nil:
		return 0, err
	case !ok || !rise.Rising:
		return 0, fmt.Errorf("no sensor answers on %s: look at its wiring and its 5 V", g.o.Echo)
	}
	fall, ok, err := g.edge(ctx)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return sonarFarther, nil
	case fall.Rising || fall.Seq != rise.Seq+1:
		return 0, fmt.Errorf("edges of echo on %s were lost", g.o.Echo)
	}
	return fall.Time - rise.Time, nil
}

// pulse makes the pulse of Trig, which is low in the end whatever happens.
func (g *sonarGPIO) pulse(ctx context.Context) error {
	if err := g.trig.SetValue(1); err != nil {
		return err
	}
	err := sensorWait(ctx, sonarTrigger)
	return errors.Join(err, g.trig.SetValue(0))
}

// edge returns the next edge, if one is told in time.
func (g *sonarGPIO) edge(ctx context.Context) (e gpio.Event, ok bool, err error) {
	timer := time.NewTimer(sonarEdge)
	defer timer.Stop()
	select {
	case e = <-g.edges:
		return e, true, nil
	case <-timer.C:
		_, err := g.line.Value() // a chip that is gone makes no edges, and says so here
		return e, false, err
	case <-ctx.Done():
		return e, false, ctx.Err()
	}
}

// close leaves Trig low and gives the lines back.
func (g *sonarGPIO) close() error {
	if g.chip == nil {
		return nil
	}
	err := g.chip.Close()
	g.chip = nil
	return err
}

// The files of the kernel's driver srf04, whose distances are for this speed of sound (drivers/iio/proximity/srf04.c).
const (
	sonarRaw   = "in_distance_raw"
	sonarScale = "in_distance_scale"
	sonarSRF04 = 343.5 // m/s
)

// sonarIIO is a sensor of the kernel.
type sonarIIO struct{ device *iioDevice }

func newSonarIIO(o sonarOptions, d Deps) (*sonarIIO, error) {
	search := iioSearch{root: iioRoot(d), want: o.Device, what: "the files of the driver srf04, " + sonarRaw + " and " + sonarScale,
		fits: func(files []string) bool {
			return slices.Contains(files, sonarRaw) && slices.Contains(files, sonarScale)
		},
		hint: func(string) string {
			return "the kernel needs an overlay with a node for devantech,srf04; without one, say driver: gpio"
		}}
	device, err := search.find()
	if err != nil {
		return nil, err
	}
	if o.Device == "" && device.name != "srf04" {
		return nil, iioAt(d, "device", "%s is no sensor of the driver srf04, for whose speed of sound distances are corrected", device)
	}
	return &sonarIIO{device}, nil
}

// echo has the kernel measure, and takes its speed of sound out of it again.
func (s *sonarIIO) echo(context.Context) (time.Duration, error) {
	if err := s.device.fresh(); err != nil {
		return 0, err
	}
	scale, err := s.device.readFloat(sonarScale)
	if err != nil {
		return 0, err
	}
	raw, err := s.device.readInt(sonarRaw)
	if errors.Is(err, syscall.EIO) {
		return sonarFarther, nil // what the driver says of more than 6.45 m
	}
	if err != nil {
		return 0, err
	}
	return time.Duration(2 * float64(raw) * scale / sonarSRF04 * float64(time.Second)), nil
}

func (s *sonarIIO) close() error { return nil }
