package agents

import (
	"context"
	"errors"
	"fmt"

	"rollcall/reports"
)

// snapshot is a sensor whose points all come from one look at the device: one answer of upsd, one run of a command. SampleAll
// looks once, however many points it is asked for.
type snapshot[T any] struct {
	*sensor
	look func(ctx context.Context, paths []string) (T, error) // paths are those that are asked for; its error says why, without a path
	from map[string]func(T) (any, error)                      // what a look says of a point
}

// errNoValue is what a point gives that has no value now, which is no failure, such as the round trip to a host that does not
// answer. It is neither published nor an error, and the value of before goes stale.
var errNoValue = errors.New("no value now")

func newSnapshot[T any](s *sensor, look func(context.Context, []string) (T, error)) *snapshot[T] {
	return &snapshot[T]{sensor: s, look: look, from: map[string]func(T) (any, error){}}
}

// take adds a point whose value pick takes from a look.
func (s *snapshot[T]) take(p reports.Point, pick func(T) (any, error)) {
	s.add(p, nil) // Sample never comes to the sensor's own
	s.from[p.Path] = pick
}

// Sample reads one point.
func (s *snapshot[T]) Sample(ctx context.Context, path string) (reports.Reading, error) {
	if _, ok := s.from[path]; !ok {
		return s.sensor.Sample(ctx, path)
	}
	readings, err := s.SampleAll(ctx, []string{path})
	if err != nil {
		return reports.Reading{}, err
	}
	return readings[0], nil
}

// SampleAll reads the points with one look.
func (s *snapshot[T]) SampleAll(ctx context.Context, paths []string) ([]reports.Reading, error) {
	var out []reports.Reading
	var errs []error
	var mine []string
	for _, p := range paths {
		if _, ok := s.from[p]; ok {
			mine = append(mine, p)
			continue
		}
		r, err := s.sensor.Sample(ctx, p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	if len(mine) == 0 {
		return out, errors.Join(errs...)
	}
	seen, err := s.look(ctx, mine)
	if err != nil {
		return out, errors.Join(append(errs, err)...)
	}
	for _, p := range mine {
		switch v, err := s.from[p](seen); {
		case errors.Is(err, errNoValue):
			out = append(out, reports.Reading{Path: p, Stale: true})
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
		default:
			out = append(out, reports.Reading{Path: p, Value: v})
		}
	}
	return out, errors.Join(errs...)
}
