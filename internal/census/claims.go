package census

import (
	"slices"
	"time"
)

// claimMost is for how long after the first request hosts are believed of which nobody has opened a reply: else somebody who sends some in
// other hosts' names could keep the first round from ending.
const claimMost = holdMost

// claim is what came in a host's name and was not looked at yet.
type claim struct {
	replies int
	known   bool // the host
}

// Claim takes note that a reply has come that names this host, and that nobody has looked at yet: to open those of a hundred new hosts
// takes as long as all else of a round. So the second round is not to wait for it: it believes them and has them in its filter. It must
// be told once for each reply, before Hear, and then Settle.
func (s *Sweep) Claim(id ID, now time.Duration) {
	r := s.cur
	switch c, ok := s.claims[id]; {
	case ok:
		c.replies++
		s.claims[id] = c
	case s.heard[id] || r == nil || s.c.Range: // addresses that are asked one by one are asked too seldom to leave one out
	case r.number == 1 && now <= r.sends[0].at+r.window+claimMost:
		s.claims[id] = claim{1, s.missing[id]}
		s.count(id, now)
	case r.number > 1:
		r.stirred = true
	}
}

// Settle takes note that a reply of which Claim was told was looked at, and that Hear was called before if it was good. Where none of a
// host's replies was, somebody else has sent them: the host has not been heard, the rounds that had it in their filters have not asked
// everyone, and that one of them brought nobody says nothing.
func (s *Sweep) Settle(id ID) {
	c, ok := s.claims[id]
	if !ok {
		return
	}
	if c.replies--; c.replies > 0 {
		s.claims[id] = c
		return
	}
	delete(s.claims, id)
	delete(s.heard, id)
	s.ids = slices.DeleteFunc(s.ids, func(o ID) bool { return o == id })
	s.salted = -1 // the filter is another one
	if c.known {
		s.missing[id] = true
	} else {
		s.fresh--
	}
	if s.cur != nil && s.cur.number == 1 {
		s.cur.heard--
		return
	}
	s.done = s.done[:min(len(s.done), s.firm)]
	s.found = s.turns + 1 // the round under way is not a quiet one
	s.Unsent()
}

// Hosts returns how many hosts were heard, with those that were only claimed to be.
func (s *Sweep) Hosts() int { return len(s.ids) }

// count takes note of a host that was not heard before.
func (s *Sweep) count(id ID, now time.Duration) {
	s.heard[id] = true
	s.ids = append(s.ids, id)
	if s.missing[id] {
		delete(s.missing, id)
	} else {
		s.fresh++
	}
	if s.cur != nil {
		s.cur.heard++
		s.cur.last = now
	}
}

// waiting reports whether there are replies that the round is not to end before. The first one does not wait for those that only have to
// be opened, if it is known in whose names they are.
func (s *Sweep) waiting(r *round) bool {
	if r.number == 1 && len(s.claims) > 0 {
		return s.unread
	}
	return s.unread || s.unopened || len(s.claims) > 0
}
