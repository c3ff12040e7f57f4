package input

import "time"

// Counts is what an input has counted.
type Counts struct {
	Count uint64  // since New
	Total uint64  // since the total was set
	Rate  float64 // Hz over Options.RateWindow, or over the time since New while that is shorter
}

// Count returns what has been counted; nothing without Options.Count.
func (i *Input) Count(now time.Time) Counts {
	return Counts{Count: i.count, Total: i.total, Rate: i.rate.hertz(now.Sub(i.start))}
}

// SetTotal sets the total that counting goes on from.
func (i *Input) SetTotal(n uint64) { i.total = n }

// add counts a rising edge.
func (i *Input) add(t time.Duration, out *Outcome) {
	if !i.o.Count {
		return
	}
	i.count++
	i.total++
	i.rate.add(t)
	out.Counted = true
}

const (
	rateBuckets = 100 // the window moves by a hundredth of itself
	// leastSpan is the shortest time that a rate is taken over, unless the window is shorter: the first edge is no rate of its own.
	leastSpan = time.Second
)

// rate counts the edges of a window of time in buckets: one for each part of it, and one for the part that has begun.
type rate struct {
	width   time.Duration // of a bucket; 0: nothing is counted
	buckets [rateBuckets + 1]uint64
	newest  int64 // the number of the newest bucket since start
}

func newRate(window time.Duration) rate {
	return rate{width: max(window/rateBuckets, 1)}
}

// add counts an edge. Times before start are those of edges that waited to be told of.
func (r *rate) add(t time.Duration) {
	n := int64(max(t, 0) / r.width)
	r.roll(n)
	if n > r.newest-int64(len(r.buckets)) {
		r.buckets[n%int64(len(r.buckets))]++
	}
}

// roll makes bucket n the newest, if it is newer.
func (r *rate) roll(n int64) {
	for k := max(r.newest, n-int64(len(r.buckets))) + 1; k <= n; k++ {
		r.buckets[k%int64(len(r.buckets))] = 0
	}
	r.newest = max(r.newest, n)
}

// hertz returns how many edges a second there were of late.
func (r *rate) hertz(now time.Duration) float64 {
	if r.width == 0 {
		return 0
	}
	now = max(now, time.Duration(r.newest)*r.width)
	r.roll(int64(now / r.width))
	var edges uint64
	for _, n := range r.buckets {
		edges += n
	}
	oldest := time.Duration(max(r.newest-rateBuckets, 0)) * r.width
	span := max(now-oldest, min(leastSpan, r.width*rateBuckets))
	return float64(edges) / span.Seconds()
}
