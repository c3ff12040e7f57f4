package census

import (
	"math"
	"slices"
	"time"
)

// tally is what the replies say of how much gets lost in one direction.
type tally struct {
	hosts  float64 // of which a datagram came
	struck float64 // of them, those of which the first one was lost
	lost   float64 // before the first that came, of all
	prior  float64 // struck hosts that are believed in before anything was heard
}

// add counts a host of which so many datagrams were lost before the first that came.
func (t *tally) add(lost float64) {
	t.hosts++
	t.lost += lost
	if lost > 0 {
		t.struck++
	}
}

// without returns the tally without so many datagrams, of which it is known where they were lost.
func (t tally) without(drops uint32) tally {
	t.lost = max(t.lost-float64(drops), 0)
	t.struck = min(t.struck, t.lost)
	return t
}

// prior is what is believed before anything was heard: as if of four datagrams one had been lost. It is gloomy because a sweep
// of one or two hosts learns nothing of the loss, and must hold at 40 % all the same; ten hosts outvote it.
const priorLost, priorHosts = 1, 3

// sigmas is how far above the estimate the bound stands.
const sigmas = 1.5

// rate returns the share that gets lost: the maximum likelihood of the geometric distribution, without bias because each host
// counts up to the first datagram that came through and no further. It is 0 while nothing is known.
func (t tally) rate() float64 {
	if t.hosts == 0 {
		return 0
	}
	return t.lost / (t.lost + t.hosts)
}

// bound returns an upper bound of it.
func (t tally) bound() float64 {
	n := t.lost + t.hosts + priorLost + priorHosts
	p := (t.lost + priorLost) / n
	return min(p+sigmas*math.Sqrt(p*(1-p)/n), 0.95)
}

// Bursts: while nothing else is known they last four datagrams. Over a pause they end by themselves.
const (
	priorStruck = 0.2 // hosts: networks that show no loss at all seldom have bursts
	farStruck   = 0.5 // by way of a relay, where many are struck at once
	priorBursts = 2
	priorBurst  = 8
	burstTime   = 20 * time.Millisecond // after which one of datagrams is likely to have ended
	burstSpan   = 6 * time.Millisecond  // mean length of one that lasts a time, however many datagrams come
)

// burst returns the probability that a host is in a burst of losses, and that the burst holds on from one datagram to the next.
func (t tally) burst() (in, on float64) {
	in = (t.struck + t.prior) / (t.hosts + 1)
	on = (t.lost - t.struck + priorBurst - priorBursts) / (t.lost + priorBurst)
	return in, on
}

// asked is how one round asked a host.
type asked struct {
	requests, replies int           // copies
	late              int           // of the requests, those that went to hosts that are asked late, too
	hidden            float64       // share of the hosts that its filter hides
	pause             time.Duration // since the last datagram of the round before
	span              time.Duration // from its first datagram to its last
}

// silent returns the probability that a host which is there was heard in none of the rounds, if losses are independent.
func silent(rounds []asked, requests, replies tally) float64 {
	q, p := requests.bound(), replies.bound()
	all := 1.0
	for _, a := range rounds {
		all *= 1 - (1-math.Pow(q, float64(a.requests)))*(1-math.Pow(p, float64(a.replies)))*(1-a.hidden)
	}
	return all
}

// stuck returns the probability that all datagrams of a host in one direction were lost in one burst.
func (t tally) stuck(rounds []asked, copies func(asked) int) float64 {
	in, on := t.burst()
	all := in
	for i, a := range rounds {
		if i > 0 {
			all *= min(on, math.Exp(-float64(a.pause)/float64(burstTime)))
		}
		all *= math.Pow(on, float64(copies(a)-1))
	}
	return all
}

// shadowed returns the probability that a host is in a burst that lasted for the whole time.
func (t tally) shadowed(span time.Duration) float64 {
	in, _ := t.burst()
	return in * math.Exp(-float64(span)/float64(burstSpan))
}

// late returns the rounds as those see them who are asked late.
func late(rounds []asked) (out []asked) {
	skipped := time.Duration(0)
	for _, a := range rounds {
		if a.late == 0 {
			skipped += a.pause + a.span
			continue
		}
		a.requests = a.late
		a.pause += skipped
		skipped = 0
		out = append(out, a)
	}
	return out
}

func requestCopies(a asked) int { return a.requests }
func replyCopies(a asked) int   { return a.replies }

// times holds round trip times.
type times struct {
	all    []time.Duration
	sorted bool
}

// maxTimes bounds how many are kept: enough for a 99th percentile.
const maxTimes = 4096

func (t *times) add(d time.Duration) {
	if len(t.all) < maxTimes {
		t.all, t.sorted = append(t.all, max(d, 0)), false
	}
}

// quantile returns the time that a share q of all is not longer than; 0 if there are none.
func (t *times) quantile(q float64) time.Duration {
	if len(t.all) == 0 {
		return 0
	}
	if !t.sorted {
		slices.Sort(t.all)
		t.sorted = true
	}
	return t.all[min(int(q*float64(len(t.all))), len(t.all)-1)]
}
