package agents

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/config"
	"rollcall/reports"
)

// ptr returns a pointer to a duration as the configuration has one.
func ptr(d time.Duration) *reports.Duration { r := reports.Duration(d); return &r }

func floatPoint() reports.Point {
	return reports.Point{Path: "temp", Type: reports.Float, Access: reports.Get, Poll: reports.Duration(time.Second)}
}

func TestRulesFor(t *testing.T) {
	t.Parallel()
	yes, no, digits := true, false, 2
	filters := map[string]config.Filter{
		"*":           {Scale: reports.Ptr(2), OnChange: &no, Poll: ptr(time.Minute), Digits: &digits},
		"te*":         {Scale: reports.Ptr(3), Delta: reports.Ptr(0.5)},
		"temp":        {Offset: reports.Ptr(1), OnChange: &yes},
		"input/*":     {Heartbeat: ptr(time.Hour), Scale: reports.Ptr(4)},
		"events/door": {Heartbeat: ptr(time.Hour), StaleAfter: ptr(time.Hour)},
	}
	tests := []struct {
		name  string
		point reports.Point
		want  rules
	}{
		{"the longer pattern wins, the path wins over all", floatPoint(),
			rules{poll: time.Minute, scale: 3, offset: 1, digits: 2, onChange: true, delta: 0.5, staleAfter: 3 * time.Minute}},
		{"numbers only for numbers", reports.Point{Path: "input/door", Type: reports.Bool, Access: reports.Get},
			rules{scale: 1, digits: -1, onChange: true, heartbeat: time.Hour}},
		{"an event is over once it is published", reports.Point{Path: "events/door", Type: reports.Bool, Access: reports.Event},
			rules{scale: 1, digits: -1, staleSet: true}},
		{"digits only for floats", reports.Point{Path: "n", Type: reports.Int, Access: reports.Get},
			rules{poll: time.Minute, scale: 2, digits: -1, staleAfter: 3 * time.Minute}},
		{"a short poll has ten seconds", reports.Point{Path: "a/b", Type: reports.Int, Access: reports.Get, Poll: reports.Duration(time.Second)},
			rules{poll: time.Second, scale: 1, digits: -1, onChange: true, staleAfter: 10 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(rulesFor(tt.point, filters), tt.want, cmp.AllowUnexported(rules{})); diff != "" {
				t.Errorf("rulesFor(%s): got - want +\n%s", tt.point.Path, diff)
			}
		})
	}
}

func TestDescribeInCalibratedUnits(t *testing.T) {
	t.Parallel()
	p := floatPoint()
	p.Min, p.Max, p.Step = reports.Ptr(0), reports.Ptr(100), reports.Ptr(5)
	r := rulesFor(p, map[string]config.Filter{"temp": {Scale: reports.Ptr(-0.1), Offset: reports.Ptr(1), Max: reports.Ptr(0.5)}})
	got := r.describe(p)
	if *got.Min != -9 || *got.Max != 0.5 || *got.Step != 0.5 {
		t.Errorf("describe = min %v, max %v, step %v, want -9, 0.5, 0.5", *got.Min, *got.Max, *got.Step)
	}
}

func TestCalibrate(t *testing.T) {
	t.Parallel()
	digits := 1
	type in struct {
		typ    reports.Type
		filter config.Filter
		value  any
	}
	tests := []struct {
		name string
		in   in
		want any
		code string
	}{
		{"as it is", in{reports.Float, config.Filter{}, 1.25}, 1.25, ""},
		{"scale then offset then clamp then digits", in{reports.Float,
			config.Filter{Scale: reports.Ptr(2), Offset: reports.Ptr(0.26), Max: reports.Ptr(100), Digits: &digits}, 1.0}, 2.3, ""},
		{"clamped below", in{reports.Float, config.Filter{Min: reports.Ptr(0)}, -0.1}, 0.0, ""},
		{"clamped above", in{reports.Float, config.Filter{Max: reports.Ptr(3)}, 4.0}, 3.0, ""},
		{"an int stays exact", in{reports.Int, config.Filter{}, int64(1)<<62 + 1}, int64(1)<<62 + 1, ""},
		{"any integer type", in{reports.Int, config.Filter{}, uint64(7)}, int64(7), ""},
		{"an int is rounded", in{reports.Int, config.Filter{Scale: reports.Ptr(0.5)}, 3}, int64(2), ""},
		{"an int for a float", in{reports.Float, config.Filter{}, 3}, 3.0, ""},
		{"no minus zero", in{reports.Float, config.Filter{Digits: &digits}, -0.01}, 0.0, ""},
		{"digits of a huge number", in{reports.Float, config.Filter{Digits: &digits}, math.MaxFloat64}, math.MaxFloat64, ""},
		{"NaN", in{reports.Float, config.Filter{}, math.NaN()}, nil, reports.CodeDevice},
		{"infinite", in{reports.Float, config.Filter{}, math.Inf(1)}, nil, reports.CodeDevice},
		{"infinite by scale", in{reports.Float, config.Filter{Scale: reports.Ptr(10)}, math.MaxFloat64}, nil, reports.CodeDevice},
		{"too large for an int", in{reports.Int, config.Filter{Scale: reports.Ptr(1e19)}, 5}, nil, reports.CodeDevice},
		{"uint64 too large", in{reports.Int, config.Filter{}, uint64(math.MaxUint64)}, nil, reports.CodeDevice},
		{"a float for an int", in{reports.Int, config.Filter{}, 1.5}, nil, reports.CodeDevice},
		{"a word for a bool", in{reports.Bool, config.Filter{}, "ON"}, nil, reports.CodeDevice},
		{"a bool", in{reports.Bool, config.Filter{Scale: reports.Ptr(2)}, true}, true, ""},
		{"an option", in{reports.Enum, config.Filter{}, "a"}, "a", ""},
		{"no option", in{reports.Enum, config.Filter{}, "b"}, nil, reports.CodeDevice},
		{"invalid UTF-8", in{reports.String, config.Filter{}, "\xff"}, nil, reports.CodeDevice},
		{"nothing", in{reports.JSON, config.Filter{}, nil}, nil, reports.CodeDevice},
		{"no JSON", in{reports.JSON, config.Filter{}, math.NaN()}, nil, reports.CodeDevice},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := reports.Point{Path: "p", Type: tt.in.typ, Access: reports.Get, Options: []string{"a"}}
			f := newFilter(p, rulesFor(p, map[string]config.Filter{"p": tt.in.filter}), time.Now())
			got, err := f.calibrate(tt.in.value)
			if got != tt.want || reports.CodeOf(err) != tt.code {
				t.Errorf("calibrate(%v) = %v, %v, want %v, code %q", tt.in.value, got, err, tt.want, tt.code)
			}
			if x, ok := got.(float64); ok && x == 0 && math.Signbit(x) {
				t.Errorf("calibrate(%v) = -0", tt.in.value)
			}
		})
	}
}

func TestUncalibrate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		typ    reports.Type
		filter config.Filter
		value  any
		want   any
	}{
		{"as it is", reports.Float, config.Filter{}, 2.5, 2.5},
		{"the inverse", reports.Float, config.Filter{Scale: reports.Ptr(0.5), Offset: reports.Ptr(1)}, 3.0, 4.0},
		{"held within the agent's bounds", reports.Float, config.Filter{Scale: reports.Ptr(0.1)}, 10.0000000000001, 100.0},
		{"an int", reports.Int, config.Filter{Scale: reports.Ptr(0.1)}, int64(3), int64(30)},
		{"a bool", reports.Bool, config.Filter{Scale: reports.Ptr(0.1)}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := reports.Point{Path: "p", Type: tt.typ, Access: reports.Get | reports.Set, Min: reports.Ptr(0), Max: reports.Ptr(100)}
			f := newFilter(p, rulesFor(p, map[string]config.Filter{"p": tt.filter}), time.Now())
			if got := f.uncalibrate(tt.value); got != tt.want {
				t.Errorf("uncalibrate(%v) = %v, want %v", tt.value, got, tt.want)
			}
		})
	}
}

// TestFilterOverTime drives a filter along a timeline: offers at seconds, ticks at whatever next asks for, as the loop does.
func TestFilterOverTime(t *testing.T) {
	t.Parallel()
	no := false
	type at struct {
		second int
		value  float64
	}
	const empty = math.MinInt // stands for "the state is emptied"
	tests := []struct {
		name   string
		filter config.Filter
		offers []at
		until  int
		want   []at
	}{
		{"on change", config.Filter{StaleAfter: ptr(0)}, []at{{0, 1}, {1, 1}, {2, 2}, {3, 2}, {4, 1}}, 5, []at{{0, 1}, {2, 2}, {4, 1}}},
		{"every value", config.Filter{OnChange: &no, StaleAfter: ptr(0)}, []at{{0, 1}, {1, 1}, {2, 1}}, 5, []at{{0, 1}, {1, 1}, {2, 1}}},
		{"delta counts from what was published", config.Filter{Delta: reports.Ptr(1), StaleAfter: ptr(0)},
			[]at{{0, 1}, {1, 1.6}, {2, 2}, {3, 2.9}, {4, 1}}, 5, []at{{0, 1}, {2, 2}, {4, 1}}},
		{"delta bears floating point", config.Filter{Delta: reports.Ptr(0.1), StaleAfter: ptr(0)}, []at{{0, 0.2}, {1, 0.3}}, 5, []at{{0, 0.2}, {1, 0.3}}},
		{"min_interval publishes the last value later", config.Filter{MinInterval: ptr(10 * time.Second), StaleAfter: ptr(0)},
			[]at{{0, 1}, {1, 2}, {3, 3}, {25, 4}}, 40, []at{{0, 1}, {10, 3}, {25, 4}}},
		{"min_interval drops what went back", config.Filter{MinInterval: ptr(10 * time.Second), StaleAfter: ptr(0)},
			[]at{{0, 1}, {1, 2}, {3, 1}}, 40, []at{{0, 1}}},
		{"heartbeat", config.Filter{Heartbeat: ptr(10 * time.Second), StaleAfter: ptr(0)}, []at{{0, 1}, {5, 2}, {9, 2}}, 30,
			[]at{{0, 1}, {5, 2}, {15, 2}, {25, 2}}},
		{"stale without a first value", config.Filter{StaleAfter: ptr(5 * time.Second)}, nil, 30, []at{{5, empty}}},
		{"stale, silent heartbeat, cured", config.Filter{StaleAfter: ptr(5 * time.Second), Heartbeat: ptr(3 * time.Second)},
			[]at{{0, 1}, {20, 1}}, 24, []at{{0, 1}, {3, 1}, {5, empty}, {20, 1}, {23, 1}}},
		{"stale drops what waits", config.Filter{StaleAfter: ptr(5 * time.Second), MinInterval: ptr(20 * time.Second)},
			[]at{{0, 1}, {1, 2}}, 40, []at{{0, 1}, {6, empty}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			p := floatPoint()
			f := newFilter(p, rulesFor(p, map[string]config.Filter{"temp": tt.filter}), start)
			var got []at
			offers := tt.offers
			for s := 0; s <= tt.until; s++ {
				now := start.Add(time.Duration(s) * time.Second)
				if len(offers) > 0 && offers[0].second == s {
					if f.offer(reports.Reading{Path: "temp", Value: offers[0].value}, now) {
						got = append(got, at{s, offers[0].value})
					}
					offers = offers[1:]
				}
				if next := f.next(); next.IsZero() || next.After(now) {
					if v := f.tick(now); v != nothing {
						t.Errorf("second %d: tick = %v before its time, which is %v", s, v, next)
					}
					continue
				}
				switch f.tick(now) {
				case publish:
					got = append(got, at{s, f.last.Value.(float64)})
				case wentStale:
					got = append(got, at{s, empty})
					if !f.last.Stale {
						t.Errorf("second %d: the last reading is not marked stale", s)
					}
				}
			}
			if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(at{})); diff != "" {
				t.Errorf("published: got - want +\n%s", diff)
			}
		})
	}
}

func TestForceIsNeverDelayed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := floatPoint()
	f := newFilter(p, rulesFor(p, map[string]config.Filter{"temp": {MinInterval: ptr(time.Hour)}}), now)
	f.offer(reports.Reading{Value: 1.0}, now)
	f.offer(reports.Reading{Value: 2.0}, now.Add(time.Second)) // waits
	f.force(reports.Reading{Value: 3.0}, now.Add(2*time.Second))
	if f.sent != 3.0 || f.pending {
		t.Errorf("after force: sent %v, pending %v, want 3, false", f.sent, f.pending)
	}
}
