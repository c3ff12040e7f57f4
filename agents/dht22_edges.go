package agents

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	chip, info, err := sensorChip(e.deps, e.o.Chip)
	if err != nil {
		return err
	}
	line, err := sensorLine(e.deps, chip, info, e.o.Pin, e.idle())
	if err != nil {
		return errors.Join(err, chip.Close())
	}
	e.chip, e.line = chip, line
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
