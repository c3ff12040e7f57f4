package agents

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"rollcall/reports"
)

// filter stands between the agent and the broker for one point: it calibrates what the agent reads and decides when it is
// published. It does no I/O and knows the time only as it is told.
type filter struct {
	own   reports.Point // as the agent describes it
	point reports.Point // as it is published
	rules rules

	last    reports.Reading // the newest value; Value is nil while there is none
	heard   time.Time       // when it came in; at first, when the filter was made
	sent    any             // what stands at the broker
	sentAt  time.Time
	hasSent bool
	pending bool // last waits for the end of min_interval
	again   bool // the next value is published whatever the rules say: the agent is another, or set up anew
	stale   bool
}

// newFilter returns a filter that has seen nothing.
func newFilter(p reports.Point, r rules, now time.Time) *filter {
	return &filter{own: p, point: r.describe(p), rules: r, heard: now}
}

// calibrate makes the value that is published of one that the agent read: checked against the type, scaled, offset, clamped,
// rounded.
func (f *filter) calibrate(v any) (any, error) {
	switch f.own.Type {
	case reports.Int:
		n, ok := integer(v)
		if !ok {
			return nil, f.wrong(v)
		}
		if f.rules.scale == 1 && f.rules.offset == 0 && f.rules.min == nil && f.rules.max == nil {
			return n, nil
		}
		x := math.Round(f.clamp(float64(n)*f.rules.scale + f.rules.offset))
		if math.Abs(x) >= 1<<63 {
			return nil, reports.Errorf(reports.CodeDevice, "%s: %v does not fit an integer", f.own.Path, x)
		}
		return int64(x), nil
	case reports.Float:
		x, ok := number(v)
		if !ok {
			return nil, f.wrong(v)
		}
		x = f.round(f.clamp(x*f.rules.scale + f.rules.offset))
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, reports.Errorf(reports.CodeDevice, "%s: the device gave %v, which is not a finite number", f.own.Path, x)
		}
		return x + 0, nil // + 0 makes 0 of -0
	case reports.Bool:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case reports.String:
		if s, ok := v.(string); ok && utf8.ValidString(s) {
			return s, nil
		}
	case reports.Enum:
		if s, ok := v.(string); ok && slices.Contains(f.own.Options, s) {
			return s, nil
		}
	case reports.JSON:
		if _, err := json.Marshal(v); err == nil && v != nil {
			return v, nil
		}
	}
	return nil, f.wrong(v)
}

func (f *filter) wrong(v any) error {
	return reports.Errorf(reports.CodeDevice, "%s: the device gave %.40q, which is not a value of type %s", f.own.Path, fmt.Sprint(v), f.own.Type)
}

func (f *filter) clamp(x float64) float64 {
	if f.rules.min != nil {
		x = math.Max(x, *f.rules.min)
	}
	if f.rules.max != nil {
		x = math.Min(x, *f.rules.max)
	}
	return x
}

func (f *filter) round(x float64) float64 {
	if f.rules.digits < 0 {
		return x
	}
	p := math.Pow10(f.rules.digits)
	if rounded := math.Round(x*p) / p; !math.IsInf(rounded, 0) {
		return rounded
	}
	return x // too large to have decimals
}

// uncalibrate makes the value that the agent is told of one that a set names: the inverse of scale and offset, held within the
// agent's own bounds against the last bit of floating-point error.
func (f *filter) uncalibrate(v any) any {
	if f.rules.scale == 1 && f.rules.offset == 0 {
		return v
	}
	x, ok := number(v)
	if !ok {
		return v
	}
	x = (x - f.rules.offset) / f.rules.scale
	if f.own.Min != nil {
		x = math.Max(x, *f.own.Min)
	}
	if f.own.Max != nil {
		x = math.Min(x, *f.own.Max)
	}
	if f.own.Type == reports.Int {
		return int64(math.Round(x))
	}
	return x
}

// take makes a calibrated reading of one that the agent returned.
func (f *filter) take(r reports.Reading, now time.Time) (reports.Reading, error) {
	v, err := f.calibrate(r.Value)
	if err != nil {
		return reports.Reading{}, err
	}
	r.Path, r.Value = f.own.Path, v
	if r.Unit == "" {
		r.Unit = f.own.Unit
	}
	if r.Time.IsZero() {
		r.Time = now
	}
	return r, nil
}

// offer takes a calibrated reading and reports whether it is to be published now.
func (f *filter) offer(r reports.Reading, now time.Time) bool {
	f.last, f.heard, f.stale, f.pending = r, now, false, false
	switch {
	case f.again:
	case !f.passes(r.Value):
		return false
	case f.hasSent && now.Sub(f.sentAt) < f.rules.minInterval:
		f.pending = true
		return false
	}
	f.mark(now)
	return true
}

// force takes a calibrated reading that is published whatever the rules say: what a set read back, what a get asked for.
func (f *filter) force(r reports.Reading, now time.Time) {
	f.last, f.heard, f.stale = r, now, false
	f.mark(now)
}

func (f *filter) mark(now time.Time) {
	f.sent, f.sentAt, f.hasSent, f.pending, f.again = f.last.Value, now, true, false, false
}

// passes reports whether a value is news beside the one that stands at the broker.
func (f *filter) passes(v any) bool {
	if !f.hasSent {
		return true
	}
	if f.rules.delta > 0 {
		a, _ := number(v)
		b, _ := number(f.sent)
		const slack = 1e-9 // 0.3-0.2 is a change of 0.1
		return math.Abs(a-b) >= f.rules.delta*(1-slack)
	}
	return !f.rules.onChange || reports.FormatValue(v) != reports.FormatValue(f.sent)
}

// verdict is what a filter wants at a time.
type verdict int

const (
	nothing   verdict = iota
	publish           // last is to be published
	wentStale         // the state at the broker is to be emptied
)

// tick says what is due. It is called at the time that next returned, and may be called at any other.
func (f *filter) tick(now time.Time) verdict {
	switch {
	case f.rules.staleAfter > 0 && !f.stale && now.Sub(f.heard) >= f.rules.staleAfter:
		f.stale, f.hasSent, f.pending = true, false, false
		f.last.Stale = true
		return wentStale
	case f.pending && now.Sub(f.sentAt) >= f.rules.minInterval,
		f.rules.heartbeat > 0 && f.hasSent && now.Sub(f.sentAt) >= f.rules.heartbeat:
		f.mark(now)
		return publish
	}
	return nothing
}

// next returns when tick is to be called, or the zero time for never.
func (f *filter) next() time.Time {
	var at time.Time
	if f.rules.staleAfter > 0 && !f.stale {
		at = f.heard.Add(f.rules.staleAfter)
	}
	if f.pending {
		at = earlier(at, f.sentAt.Add(f.rules.minInterval))
	}
	if f.rules.heartbeat > 0 && f.hasSent {
		at = earlier(at, f.sentAt.Add(f.rules.heartbeat))
	}
	return at
}

// earlier returns the earlier of two times, of which the zero time means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// integer returns an integer of any Go type as int64.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case uint:
		return int64(v), uint64(v) <= math.MaxInt64
	}
	return 0, false
}

// number returns a number of any Go type as float64.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	}
	n, ok := integer(v)
	return float64(n), ok
}
