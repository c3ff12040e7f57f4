package config

import (
	"math"
	"path"
	"time"

	"rollcall/reports"
)

// Bounds of a point's settings. Zero switches poll, min_interval, heartbeat and stale_after off.
const (
	leastPoll      = 10 * time.Millisecond // 100 readings a second are the most that a broker on a small board should get of one point
	leastHeartbeat = 100 * time.Millisecond
	maxDigits      = 9
)

// filtersOf reads the map from path patterns to filters under "points".
func filtersOf(n Node) (map[string]Filter, error) {
	entries, err := n.Entries()
	if err != nil {
		return nil, err
	}
	out := make(map[string]Filter, len(entries))
	for _, e := range entries {
		if _, err := path.Match(e.Key, ""); err != nil || len(e.Key) > reports.MaxPath {
			return nil, e.Value.Errorf("", "is no path or path pattern of points, such as input/*")
		}
		var f Filter
		if err := e.Value.Decode(&f); err != nil {
			return nil, err
		}
		out[e.Key] = f
	}
	return out, nil
}

// Validate returns the first value that is out of bounds or that contradicts another.
func (f *Filter) Validate() error {
	if err := f.checkNumbers(); err != nil {
		return err
	}
	for _, d := range []struct {
		path  string
		value *reports.Duration
		least time.Duration
	}{
		{"poll", f.Poll, leastPoll}, {"min_interval", f.MinInterval, time.Millisecond},
		{"heartbeat", f.Heartbeat, leastHeartbeat}, {"stale_after", f.StaleAfter, leastHeartbeat},
	} {
		if d.value == nil || *d.value == 0 {
			continue
		}
		if err := checkDuration(d.path, *d.value, d.least); err != nil {
			return err
		}
	}
	if f.Heartbeat != nil && f.MinInterval != nil && *f.Heartbeat != 0 && *f.Heartbeat < *f.MinInterval {
		return At("heartbeat", "%s is shorter than min_interval, %s", shortDuration(*f.Heartbeat), shortDuration(*f.MinInterval))
	}
	if f.StaleAfter != nil && f.Poll != nil && *f.StaleAfter != 0 && *f.StaleAfter < *f.Poll {
		return At("stale_after", "%s is shorter than poll, %s", shortDuration(*f.StaleAfter), shortDuration(*f.Poll))
	}
	return nil
}

func (f *Filter) checkNumbers() error {
	for _, v := range []struct {
		path  string
		value *float64
	}{{"scale", f.Scale}, {"offset", f.Offset}, {"min", f.Min}, {"max", f.Max}, {"delta", f.Delta}} {
		if v.value != nil && (math.IsNaN(*v.value) || math.IsInf(*v.value, 0)) {
			return At(v.path, "%v is not a finite number", *v.value)
		}
	}
	switch {
	case f.Scale != nil && *f.Scale == 0:
		return At("scale", "0 would make every value the same")
	case f.Min != nil && f.Max != nil && *f.Min > *f.Max:
		return At("max", "%s is less than min, %s", reports.FormatValue(*f.Max), reports.FormatValue(*f.Min))
	case f.Delta != nil && *f.Delta < 0:
		return At("delta", "%s is negative", reports.FormatValue(*f.Delta))
	case f.Digits != nil && (*f.Digits < 0 || *f.Digits > maxDigits):
		return At("digits", "%d is not in 0 to %d", *f.Digits, maxDigits)
	}
	return nil
}
