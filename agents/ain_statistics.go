package agents

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"rollcall/reports"
)

// errAINSoon is why a point of the buffer has no value before the first interval has ended.
var errAINSoon = errors.New("no value yet")

// ainStatistics is what is published of an interval.
type ainStatistics struct {
	n                 int
	least, most       float64
	sum, sumOfSquares float64
}

func (s *ainStatistics) add(v float64) {
	if s.n == 0 {
		s.least, s.most = v, v
	}
	s.n++
	s.least, s.most = min(s.least, v), max(s.most, v)
	s.sum += v
	s.sumOfSquares += v * v
}

// of returns one of the numbers by its name.
func (s *ainStatistics) of(name string) float64 {
	switch name {
	case "min":
		return s.least
	case "max":
		return s.most
	case "mean":
		return s.sum / float64(s.n)
	}
	return math.Sqrt(s.sumOfSquares / float64(s.n))
}

// ainStatisticsNames returns the points of the statistics with their labels.
func ainStatisticsNames() [4][2]string {
	return [4][2]string{{"min", "least"}, {"max", "greatest"}, {"mean", "mean"}, {"rms", "effective (rms)"}}
}

// describeBuffer adds the points of the buffer. They have no poll: they come as events.
func (a *ain) describeBuffer(b *ainBuffer) {
	add := func(p reports.Point) {
		p.Type, p.Genre = reports.Float, reports.User
		a.add(p, func(context.Context) (any, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.err != nil {
				return nil, b.err
			}
			if v, ok := b.stats[p.Path]; ok {
				return v, nil
			}
			return nil, errAINSoon
		})
	}
	help := "of the samples of " + b.every.String()
	for _, inputs := range b.inputs {
		for _, in := range inputs {
			for _, n := range ainStatisticsNames() {
				add(reports.Point{Path: in.name + "/" + n[0], Label: in.label + ", " + n[1], Help: n[1] + " " + help, Unit: in.unit.unit, Class: in.unit.class})
			}
		}
	}
	add(reports.Point{Path: ainBufferBranch + "/rate", Label: "Samples a second", Help: "of each channel; less than was asked for: some were lost", Unit: "Hz", Class: "frequency"})
}

// look returns the last sample of a channel that is in the buffer.
func (b *ainBuffer) look(in *ainInput) (ainLook, error) {
	for _, inputs := range b.inputs {
		if !slices.Contains(inputs, in) {
			continue
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if l, ok := b.last[in.name]; ok {
			return l, nil
		}
		return ainLook{}, errAINSoon
	}
	return b.ainDevice.look(in)
}

// ainConversion is how the samples of a channel become what its points are in: measured = raw * gain + zero.
type ainConversion struct{ gain, zero float64 }

// conversions reads scale and offset of the channels, which somebody may have changed. They stand for an interval.
func (b *ainBuffer) conversions() ([][]ainConversion, error) {
	var out [][]ainConversion
	for _, inputs := range b.inputs {
		var list []ainConversion
		for _, in := range inputs {
			zero, err := b.measure(in, 0)
			if err != nil {
				return nil, err
			}
			one, err := b.measure(in, 1)
			if err != nil {
				return nil, err
			}
			list = append(list, ainConversion{one - zero, zero})
		}
		out = append(out, list)
	}
	return out, nil
}

// run reads one interval after the other. Its intervals end at absolute times.
func (b *ainBuffer) run() error {
	data := make([]byte, b.layout.size*1024)
	due := time.Now()
	begin := due
	for {
		due = due.Add(b.every)
		stats, err := b.interval(data, due)
		if err != nil || stats == nil {
			return err
		}
		end := time.Now()
		if stats[0][0].n == 0 {
			return b.silent()
		}
		if !b.publish(stats, end, end.Sub(begin)) {
			return nil
		}
		begin = end
		if end.Sub(due) > b.every {
			due = end // it was suspended
		}
	}
}

// silent returns why no sample has come. A read of a device that is gone is not woken.
func (b *ainBuffer) silent() error {
	if now, err := iioIdentify(b.dir); err != nil || now != b.iioIdentity {
		return fmt.Errorf("%s is gone", b.iioIdentity)
	}
	return fmt.Errorf("no sample has come for %s: the trigger does not run, or somebody else has stopped the buffer", b.every)
}

// interval reads until a time. Without statistics it was stopped.
func (b *ainBuffer) interval(data []byte, end time.Time) ([][]ainStatistics, error) {
	convert, err := b.conversions()
	if err != nil {
		return nil, err
	}
	stats := make([][]ainStatistics, len(b.inputs))
	for i := range stats {
		stats[i] = make([]ainStatistics, len(b.inputs[i]))
	}
	for {
		if err := b.file.SetReadDeadline(end); err != nil {
			return nil, err
		}
		select { // after the deadline was set, so that one that close sets is not lost
		case <-b.stop:
			return nil, nil
		default:
		}
		n, err := b.file.Read(data)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			select {
			case <-b.stop:
				return nil, nil
			default:
				return stats, nil
			}
		case err != nil:
			return nil, err
		}
		b.take(data[:n-n%b.layout.size], convert, stats)
		if !time.Now().Before(end) {
			return stats, nil
		}
	}
}

// take adds whole scans to the statistics.
func (b *ainBuffer) take(data []byte, convert [][]ainConversion, stats [][]ainStatistics) {
	if len(data) == 0 {
		return
	}
	var raw int64
	for i, e := range b.layout.elements {
		for at := 0; at < len(data); at += b.layout.size {
			raw = e.value(data[at+e.offset:])
			for j, c := range convert[i] {
				stats[i][j].add(float64(raw)*c.gain + c.zero)
			}
		}
		b.mu.Lock()
		for j, in := range b.inputs[i] {
			b.last[in.name] = ainLook{raw, float64(raw)*convert[i][j].gain + convert[i][j].zero}
		}
		b.mu.Unlock()
	}
}

// publish gives the statistics of an interval to the runner, unless it is the end.
func (b *ainBuffer) publish(stats [][]ainStatistics, at time.Time, took time.Duration) bool {
	readings := []reports.Reading{{Path: ainBufferBranch + "/rate", Value: float64(stats[0][0].n) / took.Seconds(), Time: at}}
	for i, inputs := range b.inputs {
		for j, in := range inputs {
			for _, n := range ainStatisticsNames() {
				readings = append(readings, reports.Reading{Path: in.name + "/" + n[0], Value: stats[i][j].of(n[0]), Time: at})
			}
		}
	}
	b.mu.Lock()
	for _, r := range readings {
		b.stats[r.Path] = r.Value
	}
	b.mu.Unlock()
	for _, r := range readings {
		select {
		case b.events <- r:
		case <-b.stop:
			return false
		}
	}
	return true
}
