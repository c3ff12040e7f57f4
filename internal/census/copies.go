package census

import (
	"slices"
	"time"
)

// planCopies decides how often a round asks. Where nobody is expected, more copies cost next to nothing, and more of a burst of losses
// passes in them. Those who are asked late wait for such a round: most of them are the hosts that the others are, who would answer twice.
func (s *Sweep) planCopies(r *round) {
	if len(s.ids) == 0 {
		return
	}
	quiet := s.calm(r)
	pressed := len(s.ids) <= wholeFilter && !s.c.Range // more copies are one datagram each
	switch b := s.requests.bound(); {
	case !quiet && r.number < lateAtLast:
		r.late = 0
		if r.number > 2 && s.stragglers(r) {
			r.late = 1 // so few would answer twice that a burst may as well begin to end
		}
	case s.c.Late && s.unheardLate(s.done) < Delta/4:
		r.late = 0 // they have been asked often enough
	case quiet && s.noneLate() && b < smallLoss:
		r.late = 1 // the other requests of such rounds take longer than these need; with more loss it is the other way round
	case b < 0.05:
		r.late = 2
	case quiet && b > 0.15:
		r.late = 4
	}
	switch {
	case s.blind() && !s.allKnown():
		r.blind = true
		r.requests, r.late = blindCopies, 0
		if pressed {
			r.requests = quietCopies
		}
		if r.replies > 2 {
			r.replies = blindCopies
		}
	case quiet && pressed && s.allKnown():
		r.requests, r.replies = max(s.knownCopies(), LeastAsks-int(s.seq)), quietCopies
	case quiet && pressed:
		r.requests, r.replies = quietCopies, quietCopies
	}
}

// knownCopies returns how often a round asks when all who are known have answered: less often where so many did that hardly anything gets
// lost, and nothing was. Who is not known is seldom alone.
func (s *Sweep) knownCopies() int {
	if s.fresh == 0 && s.requests.lost+s.replies.lost == 0 && s.requests.bound() < smallLoss {
		return fewCopies
	}
	return knownCopies
}

// stragglers reports whether the round is for a few of many.
func (s *Sweep) stragglers(r *round) bool { return r.expected <= float64(len(s.ids))/10 }

// blind reports whether nothing is known of losses, because everyone was asked once.
func (s *Sweep) blind() bool {
	return len(s.done) == 1 && s.done[0].requests == 1 && s.done[0].replies == 1
}

// calm reports whether hardly anybody is expected to answer the round. By way of a relay what gets lost is orders, which nobody hears
// then, and batches of replies: many hosts at once. So rounds there are not pressed together.
func (s *Sweep) calm(r *round) bool { return s.quietly(r) && s.c.Trip == 0 }

func (s *Sweep) quietly(r *round) bool { return r.number > 1 && r.expected < 0.5 && !s.c.Wireless }

// near reports whether nothing but the hosts and a wire is in the way.
func (s *Sweep) near() bool { return !s.c.Wireless && s.c.Trip == 0 }

// soon reports whether the round asks everyone for the first time, and those are so few, and so near, that the next one follows at once.
func (s *Sweep) soon(r *round) bool {
	return r.number == 1 && r.expected <= 2*smallNetwork && s.c.Open && s.near()
}

// spared reports whether a copy is not to be sent because others would be woken for nothing, and the next round asks those alone who are
// not heard then: the second one of the first round where many have answered the first, and those of the next round, which are more than
// it takes, where somebody has answered and so something gets lost.
func (s *Sweep) spared(r *round, d send) bool {
	if r.blind && d.copy >= blindCopies && (r.heard > 0 || r.stirred) { // so many only where there is one filter, see planCopies
		return true
	}
	return d.copy > 0 && s.soon(r) && s.left <= 0 && (len(s.ids) >= crowd || s.answered(r))
}

// enough reports whether the sweep could end with those copies of a round in which nobody is expected that were sent: by its rule, and with
// something to spare, since a round so cut off leaves nothing over.
func (s *Sweep) enough(r *round, d send) bool {
	if d.copy == 0 || d.part < 0 || s.seq < LeastAsks || len(r.parts) > 1 || !s.calm(r) || r.late > d.copy || s.quiet()+1 < s.need() {
		return false
	}
	s.timed(r)
	a := r.asked
	a.requests = d.copy
	return s.unheardAfter(append(slices.Clone(s.done), a)) < Delta/8
}

// held reports whether the second copy is to wait until it is known who has answered the first.
func (s *Sweep) held(r *round, now time.Duration) bool {
	return r.sends[r.next].copy > 0 && s.soon(r) && s.waiting(r) && now < r.sends[0].at+r.window+holdMost
}
