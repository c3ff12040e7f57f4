package agents

import (
	"cmp"
	"math"
	"path"
	"slices"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// minPoll is the shortest interval that a poll can be changed to at run time, the same as in the configuration.
const minPoll = 10 * time.Millisecond

// Staleness where the configuration says nothing: a polled point may miss three polls, and has at least ten seconds.
const (
	stalePolls = 3
	staleLeast = 10 * time.Second
)

// rules are what the runner does with the values of one point, resolved from the point's own description and the
// configuration.
type rules struct {
	poll          time.Duration
	scale, offset float64
	min, max      *float64
	digits        int // -1: as they come
	onChange      bool
	delta         float64
	minInterval   time.Duration
	heartbeat     time.Duration
	staleAfter    time.Duration // 0: never
	staleSet      bool          // staleAfter was configured, so that it stays when the poll changes
}

// rulesFor resolves the rules of a point. Of the filters that match its path a longer pattern goes before a shorter one, key by
// key, and the path itself before every pattern. What only makes sense for numbers is left out for other types.
func rulesFor(p reports.Point, filters map[string]config.Filter) rules {
	r := rules{poll: time.Duration(p.Poll), scale: 1, digits: -1, onChange: p.Access.Has(reports.Get)}
	numeric := p.Type == reports.Int || p.Type == reports.Float
	for _, pattern := range matching(p.Path, filters) {
		f := filters[pattern]
		take(&r.poll, (*time.Duration)(f.Poll))
		take(&r.onChange, f.OnChange)
		take(&r.minInterval, (*time.Duration)(f.MinInterval))
		take(&r.heartbeat, (*time.Duration)(f.Heartbeat))
		if f.StaleAfter != nil {
			r.staleAfter, r.staleSet = time.Duration(*f.StaleAfter), true
		}
		if !numeric {
			continue
		}
		take(&r.scale, f.Scale)
		take(&r.offset, f.Offset)
		take(&r.delta, f.Delta)
		r.min, r.max = cmp.Or(f.Min, r.min), cmp.Or(f.Max, r.max)
		if p.Type == reports.Float {
			take(&r.digits, f.Digits)
		}
	}
	if !p.Access.Has(reports.Get) { // an event is over once it is published
		r.heartbeat, r.staleAfter, r.staleSet = 0, 0, true
	}
	return r.polled(r.poll)
}

// polled returns the rules with another poll interval and the staleness that goes with it.
func (r rules) polled(every time.Duration) rules {
	r.poll = every
	switch {
	case r.staleSet:
	case every == 0:
		r.staleAfter = 0
	default:
		r.staleAfter = max(stalePolls*every, staleLeast)
	}
	return r
}

func take[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// matches reports whether a key of "points" means the path.
func matches(pattern, p string) bool {
	ok, err := path.Match(pattern, p)
	return pattern == p || (err == nil && ok)
}

// matching returns the keys of filters that match the path, the most specific last.
func matching(p string, filters map[string]config.Filter) []string {
	var keys []string
	for k := range filters {
		if matches(k, p) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if (a == p) != (b == p) {
			if a == p {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return keys
}

// describe returns the point as it is published: its poll, and its bounds in calibrated units.
func (r rules) describe(p reports.Point) reports.Point {
	p.Poll, p.Heartbeat = reports.Duration(r.poll), reports.Duration(r.heartbeat)
	if r.heartbeat == 0 && !r.onChange && p.Access.Has(reports.Get) {
		p.Heartbeat = reports.Duration(max(r.poll, r.minInterval))
	}
	if r.scale != 1 || r.offset != 0 {
		low, high := r.bound(p.Min), r.bound(p.Max)
		if r.scale < 0 {
			low, high = high, low
		}
		p.Min, p.Max = low, high
		if p.Step != nil {
			p.Step = reports.Ptr(math.Abs(*p.Step * r.scale))
		}
	}
	if r.min != nil && (p.Min == nil || *p.Min < *r.min) {
		p.Min = r.min
	}
	if r.max != nil && (p.Max == nil || *p.Max > *r.max) {
		p.Max = r.max
	}
	return p
}

func (r rules) bound(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return reports.Ptr(*v*r.scale + r.offset)
}
