package discover

import (
	"time"

	"rollcall/internal/census"
)

// More datagrams a second than floodPace that are good for nothing, over floodSpan, are a flood. A host's share of the sweep of 10,000
// is 1,100 requests a second, few of which are for it.
const (
	floodPace = 2000
	floodSpan = 20 * time.Millisecond
)

// In a flood of more than shedPace datagrams a second, over shedSpan so that a burst is none, the kernel drops a part of all that comes.
// One of shedMost is read whatever comes, or of shedStrict if that goes for the first requests of sweeps too: see TestShedHost of census.
const (
	shedPace   = 10_000
	shedSpan   = 400 * time.Millisecond
	shedMost   = census.LeastAsks
	shedStrict = 4
	shedTurn   = 100 * time.Millisecond // for which it is the same ones
)

// For how long datagrams gather at most: with 5 ms, sweeps may end before a flooded host has answered, see TestLulledHost of census. If
// fewer of them are read, it must look at them the earlier.
const (
	gatherMost = 3 * time.Millisecond
	shedLull   = 2 * time.Millisecond
)

// surge notices that a host is flooded, and decides how much of a flood is to be read. The zero value reads everything.
type surge struct {
	began time.Time
	count int
	on    bool

	dropped uint64    // by the kernel, when it was last judged
	pace    float64   // of what comes, a second, over shedSpan
	of      uint32    // one of so many is to be read; 0 and 1: all
	turned  time.Time // when it was chosen which one
	strict  bool      // also of the first ones of sweeps: most of the flood says that it is such
}

// add counts n datagrams that have come by now and were good for nothing, and reports whether it is time to judge.
func (f *surge) add(n int, now time.Time) bool {
	f.count += n
	took := now.Sub(f.began)
	return took < 0 || took >= floodSpan
}

// judge decides what is to be read next, and reports whether the kernel is to drop others than before. It is told how many it has dropped
// so far.
func (f *surge) judge(dropped uint64, now time.Time) bool {
	seconds, was := now.Sub(f.began).Seconds(), max(f.of, 1)
	come := float64(f.count)
	if was > 1 {
		come += float64(dropped - f.dropped)
	}
	f.dropped = dropped
	pace := 0.0
	if seconds > 0 {
		pace = come / seconds
	}
	strict := was > 1 && (f.strict || float64(f.count) > 2*come/float64(was)+seconds*floodPace)
	stricter := strict != f.strict
	f.began, f.count, f.strict = now, 0, strict
	f.on = pace > floodPace
	f.pace += (pace - f.pace) * min(1, max(0, seconds)/shedSpan.Seconds())
	most := uint32(shedMost)
	if strict {
		most = shedStrict
	}
	f.of = 1
	if f.pace > shedPace { // what comes now decides how much is dropped, and that all is read as soon as the flood is over
		f.of = min(uint32(min(pace/shedPace, shedMost))+1, most)
	}
	if f.of < was && pace > 0.8*shedPace*float64(was-1) {
		f.of = min(was, most) // it is at the edge
	}
	turn := f.of > 1 && now.Sub(f.turned).Abs() >= shedTurn
	if turn {
		f.turned = now
	}
	return turn || stricter || f.of != was
}

// lull returns for how long datagrams may gather at most.
func (f *surge) lull() time.Duration {
	if f.of > 1 {
		return shedLull
	}
	return gatherMost
}

// good reports whether the outcome is that a datagram was of use.
func (o outcome) good() bool { return o == answered || o == accepted || o == challenged }
