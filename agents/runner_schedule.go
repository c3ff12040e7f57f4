package agents

import (
	"slices"
	"time"
)

// Back-off of a point that fails, and of an agent that does.
const (
	backoffLeast = time.Second
	backoffMost  = time.Minute
	pollsMost    = 5                // a point that fails is looked at after so many of its polls at the latest …
	pollsLeast   = 10 * time.Second // … or after this, where that is longer
)

// schedule says when which points are sampled. Points of one interval come due together, so that an agent can read them in
// one call, and in step with those of all other schedules of the same beat, so that one wake-up of the processor is enough for all
// services of a process. It knows the time only as it is told.
type schedule struct {
	beat   time.Time      // points come due a whole number of their intervals after it
	jitter func() float64 // in [0,1)
	order  []string
	points map[string]*polled
}

// newBeat returns a beat for a process that starts now: any, so that the hosts of a network that were switched on together are not in step.
func newBeat(now time.Time, jitter float64) time.Time { return now.Add(-part(time.Hour, jitter)) }

// polled is a point in a schedule.
type polled struct {
	every    time.Duration // 0: only until it was read once
	due      time.Time     // zero: not at all
	failures int
}

// batch is a list of points that come due together.
type batch struct {
	every time.Duration
	paths []string
}

func newSchedule(beat time.Time, jitter func() float64) *schedule {
	return &schedule{beat: beat, jitter: jitter, points: map[string]*polled{}}
}

// set samples the point now, and then at the interval.
func (s *schedule) set(path string, every time.Duration, now time.Time) {
	if s.points[path] == nil {
		s.order = append(s.order, path)
	}
	s.points[path] = &polled{every: every, due: now}
}

// due returns what is to be sampled now and reckons when it will be again.
func (s *schedule) due(now time.Time) []batch {
	var out []batch
	for _, path := range s.order {
		p := s.points[path]
		if p.due.IsZero() || p.due.After(now) {
			continue
		}
		i := slices.IndexFunc(out, func(b batch) bool { return b.every == p.every })
		if i < 0 {
			i = len(out)
			out = append(out, batch{every: p.every})
		}
		out[i].paths = append(out[i].paths, path)
		p.due = s.after(p.every, now)
	}
	return out
}

// after returns when the points of an interval come due after now: with the beat, but not before half of the interval is over.
func (s *schedule) after(every time.Duration, now time.Time) time.Time {
	if every == 0 {
		return time.Time{}
	}
	least := now.Add(every / 2)
	return least.Add(every - least.Sub(s.beat)%every)
}

// failed puts the next sample of the point off: twice as long for each failure in a row, ten seconds or five polls at most, and never
// more than a minute or the poll.
func (s *schedule) failed(path string, now time.Time) {
	p := s.points[path]
	if p == nil {
		return
	}
	p.failures++
	p.due = now.Add(backoff(max(p.every, minPoll), p.failures+1, max(pollsMost*p.every, pollsLeast), s.jitter()))
	if p.every == 0 {
		p.due = now.Add(backoff(backoffLeast, p.failures, backoffMost, s.jitter()))
	}
}

// ok puts a point that had failed back in step with the others of its interval. What the others failed for may be over as well: they are
// looked at now.
func (s *schedule) ok(path string, now time.Time) {
	p := s.points[path]
	if p == nil || p.failures == 0 {
		return
	}
	p.failures = 0
	p.due = s.after(p.every, now)
	for _, other := range s.points {
		if other.failures > 0 {
			other.due = earlier(other.due, now)
		}
	}
}

// next returns when something comes due, or the zero time for never.
func (s *schedule) next() time.Time {
	var at time.Time
	for _, p := range s.points {
		if !p.due.IsZero() {
			at = earlier(at, p.due)
		}
	}
	return at
}

// backoff returns how long to wait after the n-th failure in a row (n ≥ 1): least, doubled each time, with a quarter of
// jitter, and never more than most, but for least where that is longer, nor than backoffMost.
func backoff(least time.Duration, n int, most time.Duration, jitter float64) time.Duration {
	most = max(least, min(most, backoffMost))
	d := least
	for range n - 1 {
		if d *= 2; d >= most {
			d = most
			break
		}
	}
	return part(min(d, most), 0.75+0.25*jitter)
}

func part(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }
