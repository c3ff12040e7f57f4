package agents

import (
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"rollcall/gpio/pwm"
	"rollcall/reports"
)

// dacHardware is an output in counts. It is safe for concurrent use.
type dacHardware interface {
	bounds() dacRange
	write(raw int64) error
	read() (int64, error)
	close() error
}

// dacRange says what the counts of an output mean: volts = (raw + offset) * scale / 1000, in this order, which keeps 255 counts of
// 20 mV at 5.1 V.
type dacRange struct {
	scale, offset float64 // millivolts of a count; counts
	least, most   float64 // volts that may be set
	lo, hi        int64   // the counts of these
	floor, ceil   int64   // the counts that the hardware has
}

// newDACRange returns the range of an output that may be set from least to most. Hardware that has less than that by a count or
// more is an error.
func newDACRange(scale, offset, least, most float64, floor, ceil int64) (dacRange, error) {
	r := dacRange{scale: scale, offset: offset, least: least, most: most, floor: floor, ceil: ceil}
	const rounding = 1e-6 // of a count
	lo, hi := math.Ceil(least*1000/scale-offset-rounding), math.Floor(most*1000/scale-offset+rounding)
	if lo < float64(floor)-1 || hi > float64(ceil)+1 {
		return r, fmt.Errorf("%v V to %v V are asked for, but the hardware makes %.6g V to %.6g V", least, most, r.of(floor), r.of(ceil))
	}
	r.lo, r.hi = max(floor, int64(lo)), min(ceil, int64(hi))
	if r.lo >= r.hi {
		return r, fmt.Errorf("from %v V to %v V the hardware has no two steps", least, most)
	}
	return r, nil
}

// of returns the volts of a count.
func (r dacRange) of(raw int64) float64 { return (float64(raw) + r.offset) * r.scale / 1000 }

// raw returns the count that is nearest to the volts, of those that may be set.
func (r dacRange) raw(volts float64) int64 { return r.nearest(volts, r.lo, r.hi) }

// nearest returns the count from lo to hi that is nearest to the volts.
func (r dacRange) nearest(volts float64, lo, hi int64) int64 {
	v := math.Round(volts*1000/r.scale - r.offset)
	switch {
	case !(v > float64(lo)):
		return lo
	case v >= float64(hi):
		return hi
	}
	return int64(v)
}

// safe returns the count that is nearest to the safe value: of those that the hardware has, not only of those that may be set.
func (r dacRange) safe(c dacOutput) (int64, error) {
	if c.Safe == nil {
		return r.nearest(0, r.floor, r.ceil), nil
	}
	if v := *c.Safe*1000/r.scale - r.offset; !(v > float64(r.floor)-1 && v < float64(r.ceil)+1) {
		return 0, fmt.Errorf("the hardware makes %.6g V to %.6g V", r.of(r.floor), r.of(r.ceil))
	}
	return r.nearest(*c.Safe, r.floor, r.ceil), nil
}

func (r dacRange) percent(volts float64) float64 { return (volts - r.least) / (r.most - r.least) * 100 }

func (r dacRange) volts(percent float64) float64 { return r.least + percent/100*(r.most-r.least) }

// dacRamp is an output that changes no faster than it may. What goes on the way is a goroutine, which ends at the target, at the
// next set or at close. All methods but volts and target are for one goroutine.
type dacRamp struct {
	hw      dacHardware
	options dacOutput
	ended   func(at time.Time) // is called by the goroutine at the target
	log     *slog.Logger
	cancel  chan struct{} // of the way at present; nil: it stands
	done    chan struct{}

	mu   sync.Mutex
	goal float64
	err  error // why the last way did not lead to its target
}

func newDACRamp(hw dacHardware, o dacOutput, ended func(time.Time), log *slog.Logger) *dacRamp {
	return &dacRamp{hw: hw, options: o, ended: ended, log: log}
}

// begin sets the initial value.
func (o *dacRamp) begin() error {
	if o.options.Initial != nil {
		return o.set(*o.options.Initial)
	}
	v, err := o.volts()
	o.goal = v
	return err
}

// volts reads the output back.
func (o *dacRamp) volts() (float64, error) {
	raw, err := o.hw.read()
	return o.hw.bounds().of(raw), err
}

// target returns where the output is going, or why it did not get there.
func (o *dacRamp) target() (float64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.goal, o.err
}

func (o *dacRamp) note(goal float64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.goal, o.err = goal, err
}

// set ends the way at present and begins the one to the volts, from where the output is. Without a limit it is there at once.
func (o *dacRamp) set(volts float64) error {
	o.halt()
	rng := o.hw.bounds()
	if !(volts >= rng.least && volts <= rng.most) {
		return reports.Errorf(reports.CodeOutOfRange, "%v V is not from %v to %v", volts, rng.least, rng.most)
	}
	goal := rng.raw(volts)
	if o.options.Slew <= 0 {
		err := o.arrive(goal)
		o.note(rng.of(goal), err)
		return err
	}
	from, err := o.hw.read()
	if err != nil {
		o.note(rng.of(goal), err)
		return err
	}
	way := dacWay(rng, from, goal, o.options.Slew, time.Now())
	o.note(rng.of(goal), nil)
	o.cancel, o.done = make(chan struct{}), make(chan struct{})
	go o.run(way, from, goal, o.cancel, o.done) // until halt, which waits for it
	return nil
}

// dacWay returns the way from one count to another at so many volts per second.
func dacWay(rng dacRange, from, goal int64, slew float64, start time.Time) pwm.Fade {
	f := pwm.Fade{From: rng.of(from), To: rng.of(goal), Start: start}
	f.For = time.Duration(math.Abs(f.To-f.From) / slew * float64(time.Second))
	return f
}

// run goes the way, in steps at absolute times.
func (o *dacRamp) run(way pwm.Fade, last, goal int64, cancel <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	rng := o.hw.bounds()
	for {
		now := time.Now()
		volts, there := way.At(now)
		var err error
		switch raw := rng.nearest(volts, rng.floor, rng.ceil); {
		case there:
			err = o.arrive(goal)
		case raw != last:
			err, last = o.hw.write(raw), raw
		}
		if err != nil {
			o.note(rng.of(goal), err)
			o.log.Warn("stop on the way to a voltage", "volts", rng.of(goal), "err", err)
			return
		}
		if there {
			o.ended(time.Now())
			return
		}
		timer.Reset(time.Until(dacNext(way, now)))
		select {
		case <-timer.C:
		case <-cancel:
			return
		}
	}
}

// dacNext returns when the next step is due: at a multiple of the interval after the start, or at the end of the way. Steps that
// were missed are left out.
func dacNext(way pwm.Fade, now time.Time) time.Time {
	next := way.Start.Add(now.Sub(way.Start).Truncate(pwm.FadeEvery) + pwm.FadeEvery)
	if end := way.Start.Add(way.For); end.Before(next) {
		return end
	}
	return next
}

// arrive writes a count and reads it back.
func (o *dacRamp) arrive(raw int64) error {
	if err := o.hw.write(raw); err != nil {
		return err
	}
	got, err := o.hw.read()
	if err == nil && got != raw {
		err = reports.Errorf(reports.CodeDevice, "was set to count %d but reads %d: something else sets it, or scale or max is wrong", raw, got)
	}
	return err
}

// halt ends the way at present where it is.
func (o *dacRamp) halt() {
	if o.cancel == nil {
		return
	}
	close(o.cancel)
	<-o.done
	o.cancel = nil
}

// close sets what is safe, at once, and gives the hardware back.
func (o *dacRamp) close() error {
	o.halt()
	return o.hw.close()
}
