package discover

import (
	"net/netip"
	"time"
)

// recent remembers values for at least age and at most twice that, cap keys at least and twice that at most. When more come
// than cap in one age, the oldest are forgotten early. It is not safe for concurrent use.
type recent[K comparable, V any] struct {
	age       time.Duration
	cap       int
	cur, prev map[K]V
	since     time.Time
}

func newRecent[K comparable, V any](age time.Duration, cap int) *recent[K, V] {
	return &recent[K, V]{age: age, cap: cap}
}

// turn makes the current generation the previous one when it is old or full.
func (r *recent[K, V]) turn(now time.Time) {
	d := now.Sub(r.since)
	if d >= 0 && d < r.age && len(r.cur) < r.cap {
		return
	}
	r.prev, r.cur = r.cur, map[K]V{}
	if d < 0 || d >= 2*r.age {
		r.prev = nil
	}
	r.since = now
}

// get returns what was put under k.
func (r *recent[K, V]) get(k K, now time.Time) (V, bool) {
	if d := now.Sub(r.since); d < 0 || d >= r.age {
		r.turn(now)
	}
	if v, ok := r.cur[k]; ok {
		return v, true
	}
	v, ok := r.prev[k]
	return v, ok
}

// put remembers v under k from now on.
func (r *recent[K, V]) put(k K, v V, now time.Time) {
	if _, ok := r.cur[k]; !ok {
		r.turn(now)
	}
	r.cur[k] = v
}

// drop forgets k.
func (r *recent[K, V]) drop(k K) {
	delete(r.cur, k)
	delete(r.prev, k)
}

// add puts k and returns true, or returns false if it is there already.
func (r *recent[K, V]) add(k K, v V, now time.Time) bool {
	if _, ok := r.get(k, now); ok {
		return false
	}
	r.put(k, v, now)
	return true
}

// bucket is a token bucket.
type bucket struct {
	tokens float64
	last   time.Time
}

// pace is how fast a bucket fills and how much it holds.
type pace struct {
	rate  float64 // tokens a second
	burst float64
}

// fill returns the bucket as it stands now; the zero bucket is full.
func (p pace) fill(b bucket, now time.Time) bucket {
	if b.last.IsZero() || now.Before(b.last) {
		if b.last.IsZero() {
			b.tokens = p.burst
		}
		b.last = now
		return b
	}
	b.tokens = min(p.burst, b.tokens+p.rate*now.Sub(b.last).Seconds())
	b.last = now
	return b
}

// maxSources is how many sources a limiter tells apart; beyond that, those that were quiet longest begin with a full bucket
// again, and the limit for all together holds.
const maxSources = 1024

// limiter limits each source, and all together. It is not safe for concurrent use.
type limiter struct {
	each, all pace
	total     bucket
	sources   *recent[netip.Addr, bucket]
}

func newLimiter(each, all pace) *limiter {
	refill := time.Duration(each.burst / each.rate * float64(time.Second)) // a bucket this old is full
	return &limiter{each: each, all: all, sources: newRecent[netip.Addr, bucket](refill+time.Second, maxSources)}
}

// allow takes a token of the source's and one of all, or none and returns false.
func (l *limiter) allow(src netip.Addr, now time.Time) bool {
	b, _ := l.sources.get(src, now)
	b = l.each.fill(b, now)
	l.total = l.all.fill(l.total, now)
	ok := b.tokens >= 1 && l.total.tokens >= 1
	if ok {
		b.tokens--
		l.total.tokens--
	}
	l.sources.put(src, b, now)
	return ok
}
