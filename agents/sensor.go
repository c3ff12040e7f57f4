package agents

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"rollcall/reports"
)

// sensor is what agents that mostly read are made of: their points, each with what reads it. One that is made up, because
// `sim: true` asked for it in words, says so in its description and in a state.
type sensor struct {
	service reports.Service
	reads   map[string]sensorRead
	closing func() error // nil: nothing is to be closed
}

// sensorRead reads one point. Its error says why, without the path.
type sensorRead func(context.Context) (any, error)

// newSensor returns a sensor without points.
func newSensor(function string, simulated bool) *sensor {
	s := &sensor{service: reports.Service{Function: function, Simulated: simulated}, reads: map[string]sensorRead{}}
	if simulated {
		s.add(simulatedPoint(), func(context.Context) (any, error) { return true, nil })
	}
	return s
}

// simulatedPath is where a service that is made up says so in a state.
const simulatedPath = "simulated"

// simulatedPoint is that state, which is always true.
func simulatedPoint() reports.Point {
	return reports.Point{Path: simulatedPath, Label: "Simulated", Help: "there is no hardware behind this service: its options ask for that in words (sim)",
		Type: reports.Bool, Access: reports.Get, Genre: reports.System, Poll: reports.Duration(time.Hour)}
}

// add adds a point that read reads.
func (s *sensor) add(p reports.Point, read sensorRead) {
	if p.Access == 0 {
		p.Access = reports.Get
	}
	s.service.Points = append(s.service.Points, p)
	s.reads[p.Path] = read
}

// Describe returns the points.
func (s *sensor) Describe() reports.Service {
	out := s.service
	out.Points = slices.Clone(out.Points)
	return out
}

// Sample reads one point.
func (s *sensor) Sample(ctx context.Context, path string) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	read, ok := s.reads[path]
	if !ok {
		return reports.Reading{}, reports.Errorf(reports.CodeUnknown, "%s: no such point", path)
	}
	v, err := read(ctx)
	if err != nil {
		return reports.Reading{}, fmt.Errorf("%s: %w", path, err)
	}
	return reports.Reading{Path: path, Value: v}, nil
}

// Close closes what is open.
func (s *sensor) Close() error {
	if s.closing == nil {
		return nil
	}
	return s.closing()
}

// simulatedWave is the made-up value of a float point: a sine between lo and hi that depends on nothing but the time.
func simulatedWave(lo, hi float64, period time.Duration, now func() time.Time) sensorRead {
	return func(context.Context) (any, error) {
		at := now().UnixNano() % int64(period)
		turn := 2 * math.Pi * float64(at) / float64(period)
		return lo + (hi-lo)*(1+math.Sin(turn))/2, nil
	}
}
