package discover

import "time"

// More datagrams a second than this that are good for nothing, over floodSpan, are a flood. A host's share of the sweep of 10,000
// is 1,100 requests a second, few of which are for it.
const (
	floodPace = 2000
	floodSpan = 20 * time.Millisecond
)

// surge notices that a host is flooded.
type surge struct {
	began time.Time
	count int
	on    bool
}

// add counts n datagrams that have come by now and were good for nothing.
func (f *surge) add(n int, now time.Time) {
	f.count += n
	if took := now.Sub(f.began); took < 0 || took >= floodSpan {
		f.on = took > 0 && float64(f.count) > floodPace*took.Seconds()
		f.began, f.count = now, 0
	}
}

// good reports whether the outcome is that a datagram was of use.
func (o outcome) good() bool { return o == answered || o == accepted || o == challenged }
