package agents

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
)

func TestSensor(t *testing.T) {
	t.Parallel()
	s := newSensor("test", false)
	s.add(reports.Point{Path: "a", Type: reports.Int}, func(context.Context) (any, error) { return int64(7), nil })
	s.add(reports.Point{Path: "b", Type: reports.Int}, func(context.Context) (any, error) { return nil, errors.New("unplugged") })
	if r, err := s.Sample(t.Context(), "a"); err != nil || r.Path != "a" || r.Value != int64(7) {
		t.Errorf("a is %+v, %v", r, err)
	}
	if _, err := s.Sample(t.Context(), "b"); err == nil || err.Error() != "b: unplugged" {
		t.Errorf("b: %v", err)
	}
	if _, err := s.Sample(t.Context(), "c"); reports.CodeOf(err) != reports.CodeUnknown {
		t.Errorf("c: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sample(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if d := s.Describe(); d.Simulated || len(d.Points) != 2 || d.Points[0].Access != reports.Get {
		t.Errorf("description %+v", d)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A sensor that is made up says so in description and state, and its wave stays within its bounds and is the same at the same time.
func TestSimulatedSensor(t *testing.T) {
	t.Parallel()
	var now time.Time
	s := newSensor("test", true)
	s.add(reports.Point{Path: "temperature", Type: reports.Float}, simulatedWave(10, 30, time.Minute, func() time.Time { return now }))
	if d := s.Describe(); !d.Simulated || !strings.Contains(d.Points[0].Help, "no hardware") {
		t.Errorf("description %+v", d)
	}
	if r, err := s.Sample(t.Context(), "simulated"); err != nil || r.Value != true {
		t.Errorf("simulated is %+v, %v", r, err)
	}
	for at, want := range map[time.Duration]float64{0: 20, 15 * time.Second: 30, 45 * time.Second: 10, 75 * time.Second: 30} {
		now = time.Unix(0, 0).Add(at)
		r, err := s.Sample(t.Context(), "temperature")
		if got, ok := r.Value.(float64); err != nil || !ok || got < want-1e-9 || got > want+1e-9 {
			t.Errorf("after %v: %v, %v, want %v", at, r.Value, err, want)
		}
	}
}
