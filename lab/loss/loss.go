// Package loss holds the ways in which simulated networks lose datagrams: each by itself, or in bursts after Gilbert and Elliott.
package loss

import (
	"math/rand/v2"
	"time"
)

// Model says whether a datagram of a host is lost; up is the direction from the host to the requester. It keeps state and is not
// safe for concurrent use.
type Model interface {
	Lost(host int, up bool, at time.Duration, rnd *rand.Rand) bool
}

// Independent loses each datagram with this probability, whatever became of the others.
type Independent float64

// Lost is Model.
func (p Independent) Lost(_ int, _ bool, _ time.Duration, rnd *rand.Rand) bool {
	return rnd.Float64() < float64(p)
}

// PacketBursts is Gilbert and Elliott's model by datagrams: each direction of each host's link is good, or bad and loses
// everything, and changes from one datagram to the next.
type PacketBursts struct {
	toBad, toGood float64
	bad           map[[2]int]bool
}

// NewPacketBursts has bursts of so many datagrams on average, and the share of all lost.
func NewPacketBursts(share, mean float64) *PacketBursts {
	toGood := 1 / mean
	return &PacketBursts{toBad: toGood * share / (1 - share), toGood: toGood, bad: map[[2]int]bool{}}
}

// Lost is Model.
func (g *PacketBursts) Lost(host int, up bool, _ time.Duration, rnd *rand.Rand) bool {
	key := [2]int{host, 0}
	if up {
		key[1] = 1
	}
	bad, known := g.bad[key]
	switch {
	case !known:
		bad = rnd.Float64() < g.toBad/(g.toBad+g.toGood)
	case bad:
		bad = rnd.Float64() >= g.toGood
	default:
		bad = rnd.Float64() < g.toBad
	}
	g.bad[key] = bad
	return bad
}

// TimeBursts is the same by time: a bad link loses everything in both directions.
type TimeBursts struct {
	good, bad time.Duration // mean
	links     map[int]*link
}

type link struct {
	bad   bool
	until time.Duration
}

// NewTimeBursts loses such a share of all, in bursts of so long on average.
func NewTimeBursts(share float64, mean time.Duration) *TimeBursts {
	return &TimeBursts{good: time.Duration(float64(mean) * (1 - share) / share), bad: mean, links: map[int]*link{}}
}

// Lost is Model.
func (g *TimeBursts) Lost(host int, _ bool, at time.Duration, rnd *rand.Rand) bool {
	l := g.links[host]
	if l == nil {
		l = &link{bad: rnd.Float64() < float64(g.bad)/float64(g.bad+g.good)}
		g.links[host] = l
		l.until = g.stay(l.bad, rnd)
	}
	for l.until < at {
		l.bad = !l.bad
		l.until += g.stay(l.bad, rnd)
	}
	return l.bad
}

func (g *TimeBursts) stay(bad bool, rnd *rand.Rand) time.Duration {
	mean := g.good
	if bad {
		mean = g.bad
	}
	return time.Duration(rnd.ExpFloat64() * float64(mean))
}
