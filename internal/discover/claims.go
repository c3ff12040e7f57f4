package discover

import (
	"encoding/binary"
	"sync"
	"time"
)

// maxClaims is how many hosts are believed in a sweep of which nobody has opened a reply yet: anyone can send in anyone's name.
const maxClaims = 2048

// claims are the hosts in whose names replies have come that are not opened yet, for the second round not to wait for that. It is safe for
// concurrent use; nil believes nobody.
type claims struct {
	sweep uint64

	mu    sync.Mutex
	count int
	fresh []claim // that the sweep has not been told of
}

// full reports whether no more are taken: then what comes has to be opened first.
func (c *claims) full() bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count == maxClaims
}

type claim struct {
	host ID
	at   time.Time
}

// note takes note of the replies among the packets, and marks those of which it did.
func (c *claims) note(list []packet) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		if p := &list[i]; c.count < maxClaims && c.plausible(p) {
			p.claimed = true
			c.count++
			c.fresh = append(c.fresh, claim{p.claimant(), p.at})
		}
	}
}

// plausible reports whether it looks like the first page of a host's reply to the sweep.
func (c *claims) plausible(p *packet) bool {
	b := p.b
	if !isReply(b, c.sweep) || b[offPage] != 0 {
		return false
	}
	switch flags := ReplyFlags(binary.BigEndian.Uint16(b[6:])); {
	case flags&FlagChallenge != 0, flags&FlagSealed != 0 && flags&FlagSigned == 0:
		return false
	}
	return p.way.asked(p.from)
}

// claimant returns the host that a plausible reply names.
func (p *packet) claimant() ID { return ID(p.b[offHost:]) }

// hearClaims has the algorithm know of the claims since the last time.
func (s *sweep) hearClaims() {
	if s.claims == nil {
		return
	}
	s.claims.mu.Lock()
	list := s.claims.fresh
	s.claims.fresh = nil
	s.claims.mu.Unlock()
	for _, c := range list {
		s.census.Claim(c.host, c.at.Sub(s.start))
	}
}
