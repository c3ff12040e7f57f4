package census

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	maxRounds  = 64
	maxNeed    = 12          // quiet rounds
	maxMissing = 256         // known hosts that are asked one by one; where more are silent this is another network
	fewHosts   = 50          // heard, below which more care is taken
	patience   = time.Second // how long to wait for the first answer at all
	// namedPatience is how long to wait for addresses that were named, where others have answered.
	namedPatience = 300 * time.Millisecond
	busyPause     = 500 * time.Microsecond // for replies that are not read yet
	lateSlot      = 50 * time.Millisecond  // after the kernel's next ARP request
)

// Sweep is a sweep under way. It is not safe for concurrent use.
type Sweep struct {
	c        Config
	rate     float64
	seq      uint32
	single   uint32 // last sequence number of a unicast datagram, above UnicastSeq
	sent     []time.Duration
	cur      *round
	done     []asked       // the rounds in which everyone was asked
	n        uint16        // number of the next round
	lastSend time.Duration // of the last round
	probe    uint16        // number of the last probe

	claims  map[ID]claim
	firm    int  // of done, how many were asked before anybody was believed who was only claimed
	ids     []ID // heard, in this order
	heard   map[ID]bool
	missing map[ID]bool // known and silent
	probing struct {    // of those who are missing
		turns int           // so far
		next  time.Duration // when they are asked again
	}
	fresh     int  // heard and not known
	left      int  // Singles that have not answered
	resolved  int  // that had to resolve our address
	lateOnes  int  // that can only be asked late, and are not known
	lateHeard bool // one that can only be asked late was heard, known or not
	requests  tally
	replies   tally
	rtt       times
	turns     int     // rounds in which everyone was asked
	populace  float64 // how many there are likely to be, and no more
	least     float64 // how many there are at least, to judge by a sample; 0: there was none
	surprise  float64 // how many came where few were expected
	found     int     // the last round that brought somebody new, from 1
	drops     uint32
	dropsSeen uint32
	unread    bool    // replies are waiting in the socket
	unopened  bool    // or behind it
	late      int     // late rounds so far
	salt      uint64  // of the last filter
	salted    int     // how many were in it
	hidden    float64 // share of the others that it hid
	over      bool
	result    Result
}

// New returns a sweep that begins at time 0.
func New(c Config) *Sweep {
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Buffer == 0 {
		c.Buffer = DefaultBuffer
	}
	s := &Sweep{c: c, rate: c.Rate, heard: map[ID]bool{}, missing: map[ID]bool{}, claims: map[ID]claim{}, left: c.Singles, single: UnicastSeq - 1}
	s.requests.prior, s.replies.prior = priorStruck, priorStruck
	if c.Trip > 0 {
		s.requests.prior, s.replies.prior = farStruck, farStruck
	}
	for _, id := range c.Known {
		s.missing[id] = true
	}
	s.populace = 1.1*float64(len(s.missing)) + 5
	switch {
	case len(s.missing) > 0 || !c.Open:
		s.n = 1
	case c.Most > 0 && c.Most <= smallNetwork:
		// Most of these hold a few: to ask for a sample first would cost them more time than the rest of the sweep, and should there be
		// many, what the socket drops is heard in round 2.
		s.n, s.populace = 1, atOnce
	}
	return s
}

// Next returns what to send now, and when to call again if nothing is heard before. done is true when the sweep is over.
func (s *Sweep) Next(now time.Duration) (out []Ask, wake time.Duration, done bool) {
	for !s.over {
		if now >= s.c.Limit {
			s.end("time is up")
			break
		}
		if s.cur == nil {
			s.cur = s.plan(now)
		}
		r := s.cur
		for r.next < len(r.sends) && (r.sends[r.next].at <= now || s.soon(r) && s.answered(r)) {
			if s.held(r, now) {
				return out, min(now+busyPause, s.c.Limit), false
			}
			a, ok := s.send(r, now)
			if !ok {
				continue
			}
			if out = append(out, a); a.To == (ID{}) && r.next < len(r.sends) {
				return out, now, false // it may take long to send, and then the next one may be needless
			}
		}
		if r.next < len(r.sends) {
			return out, min(r.sends[r.next].at, s.c.Limit), false
		}
		end := s.endOf(r)
		if s.waiting(r) {
			if now >= end && r.over == 0 {
				r.over = now
			}
			end = max(end, now+busyPause)
		}
		if now < end {
			return out, min(end, s.c.Limit), false
		}
		s.cur = nil
		s.finish(r, now)
	}
	return out, now, true
}

// Arrived tells a sweep of which the first request went out before it was known how far away the hosts are that this is known now:
// so far. What was to be sent in between is due now.
func (s *Sweep) Arrived(trip, now time.Duration) {
	s.c.Trip = trip
	if s.cur == nil {
		return
	}
	for i := s.cur.next; i < len(s.cur.sends); i++ {
		s.cur.sends[i].at = max(s.cur.sends[i].at, now)
	}
}

// Sent takes note of when the last datagram to everyone that Next returned had been sent, if that took its time.
func (s *Sweep) Sent(now time.Duration) {
	if s.cur != nil && s.cur.begun {
		s.cur.to = now
	}
}

// Single returns the round and the sequence number for a datagram to a single host that the sweep knows nothing of, such as
// for a further page of its reply.
func (s *Sweep) Single() (round uint16, seq uint32) {
	s.probe++
	s.single++
	return 1<<15 | s.probe, s.single
}

// WasSent reports whether there has been a request of this sequence number.
func (s *Sweep) WasSent(seq uint32) bool {
	return seq != 0 && (seq <= s.seq || seq >= UnicastSeq && seq <= s.single)
}

// Hear takes a reply and returns whether it is the host's first.
func (s *Sweep) Hear(h Heard, now time.Duration) bool {
	c, claimed := s.claims[h.ID]
	switch {
	case claimed:
		delete(s.claims, h.ID)
	case s.heard[h.ID]:
		return false
	default:
		c.known = s.missing[h.ID]
		s.count(h.ID, now)
	}
	s.lateHeard = s.lateHeard || h.Late
	if h.Late && !c.known {
		s.lateOnes++
	}
	if h.Resolved {
		s.resolved++
	}
	if h.First > 0 && h.First <= s.seq {
		s.requests.add(float64(h.First - 1))
	}
	if h.Tx > 0 {
		s.replies.add(float64(h.Tx - 1))
	}
	if h.Seq > 0 && int(h.Seq) <= len(s.sent) {
		s.rtt.add(now - s.sent[h.Seq-1] - h.Delay)
	}
	return true
}

// Answered takes note that one of the Singles has answered.
func (s *Sweep) Answered() { s.left-- }

// Socket takes how many replies the socket has had no room for, and whether there are some that were not read yet, or read and not
// opened: no round ends before they are, but see Claim.
func (s *Sweep) Socket(drops uint32, unread, unopened bool) {
	s.drops, s.unread, s.unopened = drops, unread, unopened
}

// Unsent takes note that a request of the round under way could not be sent to all: who was not heard in it says nothing.
func (s *Sweep) Unsent() {
	if s.cur != nil {
		s.cur.unsent = true
	}
}

// Result returns how the sweep went, or goes so far.
func (s *Sweep) Result() Result {
	r := s.result
	r.PMiss = min(s.unheard(), 1)
	r.RequestLoss, r.ReplyLoss, r.Rounds, r.Drops = s.requests.rate(), s.replies.rate(), s.turns, s.drops
	for id := range s.missing {
		r.Missing = append(r.Missing, id)
	}
	slices.SortFunc(r.Missing, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return r
}

func (s *Sweep) end(why string) {
	s.over = true
	s.result.Complete, s.result.Why = why == "", why
}

// strangers is how many hosts are there, before anything was heard, that are not among those known: a new one comes in one
// sweep of fifty.
const strangers = 0.02

// fewLate is how many of them can only be asked late, where hosts are known of whom none can: one comes in one sweep of 250.
const fewLate = 0.004

// unheard returns the expected number of hosts, other than those known, that are there and were not heard.
func (s *Sweep) unheard() float64 { return s.unheardAfter(s.done) }

func (s *Sweep) unheardAfter(rounds []asked) float64 {
	if !s.c.Open {
		return float64(max(s.left, 0))
	}
	n := s.unheardEarly(rounds)
	if s.c.Late {
		n += s.unheardLate(rounds)
	}
	return n
}

// unheardEarly returns the same of those who are asked from the first round on.
func (s *Sweep) unheardEarly(rounds []asked) float64 {
	hosts := max(float64(len(s.ids)-s.lateOnes), 1)
	if len(s.c.Known) > 0 {
		hosts = float64(s.fresh-s.lateOnes) + strangers
	}
	return s.unheardOf(hosts, rounds)
}

// unheardLate returns the same of those who are asked late.
func (s *Sweep) unheardLate(rounds []asked) float64 {
	hosts := strangers
	if s.noneLate() {
		hosts = fewLate
	}
	return s.unheardOf(float64(s.lateOnes)+hosts, late(rounds))
}

// noneLate reports whether all who are known have answered, and nobody of those can only be asked late.
func (s *Sweep) noneLate() bool { return s.allKnown() && !s.lateHeard }

// unheardOf returns how many are unheard who were asked so, where so many were heard, or are likely to be there.
func (s *Sweep) unheardOf(hosts float64, rounds []asked) float64 {
	q, p := s.requests, s.replies.without(s.drops)
	span := time.Duration(0)
	for i, a := range rounds {
		if span += a.span; i > 0 {
			span += a.pause
		}
	}
	stuckQ, stuckP := q.stuck(rounds, requestCopies), p.stuck(rounds, replyCopies)
	inQ, _ := q.burst()
	inP, _ := p.burst()
	both := float64(len(rounds)) * max(stuckQ*inP, stuckP*inQ) // a burst of requests up to some round, of replies from there
	return expect(hosts, silent(rounds, q, p)+stuckQ+stuckP+both+max(q.shadowed(span), p.shadowed(span)))
}

// expect returns how many are unheard where so many were heard and each had the probability q to stay so.
func expect(hosts, q float64) float64 {
	if q >= 1 {
		return math.Inf(1)
	}
	return hosts * q / (1 - q)
}

// finish takes a round that is over into account, and ends the sweep if it can.
func (s *Sweep) finish(r *round, now time.Duration) {
	dropped := s.drops - s.dropsSeen
	s.dropsSeen = s.drops
	if dropped > 0 || s.crowded() {
		s.rate = max(s.rate/2, WirelessRate/2)
	}
	if r.sample > 0 {
		k := float64(r.heard) + float64(dropped)
		s.populace = (k + 1.5*math.Sqrt(k) + 1) / r.sample
		h := float64(r.heard) // what was dropped may be anything
		s.least = (h - 1.5*math.Sqrt(h) - 1) / r.sample
		if s.c.Most > 0 {
			s.least = min(s.least, float64(s.c.Most))
		}
		return
	}
	s.turns++
	if r.heard > 0 {
		s.found = s.turns
	}
	s.surprise = float64(dropped)
	if n := float64(r.heard); n > 3*r.expected && !r.blind {
		s.surprise += n
	}
	s.timed(r)
	if s.lastSend = r.to; r.over > 0 {
		s.lastSend += now - r.over // nobody was asked meanwhile, so that bursts of losses can have come and gone unseen
	}
	if dropped == 0 && !r.unsent { // else nobody can say who was not heard
		s.done = append(s.done, r.asked)
	}
	if r.number == 1 {
		s.firm = len(s.done)
	}
	switch why, more := s.unsure(now); {
	case !more:
		s.end(why)
	case s.turns == maxRounds:
		s.end("hosts still turn up after many rounds")
	}
}

// timed notes when a round was sent.
func (s *Sweep) timed(r *round) { r.pause, r.span = r.from-s.lastSend, r.to-r.from }

// crowded reports whether replies, which come in crowds, get lost much more often than requests, which do not.
func (s *Sweep) crowded() bool {
	return s.replies.hosts >= fewHosts && s.replies.rate() > s.requests.rate()+0.15 && s.rate > s.c.Rate/4
}

// unsure reports whether another round is needed; if not, why is empty or what the sweep has to say for being incomplete.
func (s *Sweep) unsure(now time.Duration) (why string, more bool) {
	nobody := len(s.ids) == 0
	switch {
	case !s.c.Open && s.left <= 0:
		return "", false
	case nobody && now < patience && !s.c.Range, s.left > 0 && now < namedPatience:
		return "", true
	case s.c.Range && s.turns < 2 && s.unheard() >= Delta:
		return "", true
	case nobody:
		return "nobody answered", false
	case s.c.Range && s.unheard() >= Delta:
		return fmt.Sprintf("each address was asked %d times, and %.2g hosts may be unheard", RangeCopies, s.unheard()), false
	case !s.c.Open:
		return fmt.Sprintf("%d of the addresses that were asked did not answer", s.left), false
	case s.unheard() >= Delta || s.quiet() < s.need() || s.unprobed():
		return "", true
	case s.stuck() && s.late < len(lateRounds):
		return "", true
	}
	return "", false
}

// quiet returns how many rounds ago somebody new was heard.
func (s *Sweep) quiet() int { return s.turns - s.found }

// need returns how many quiet rounds there must be: losses that come in bursts show as hosts that are found late. A burst that
// outlasts maxNeed rounds is no burst, see the late rounds.
func (s *Sweep) need() int {
	if len(s.ids) >= fewHosts {
		return min(max(1, (s.found-1)/2), maxNeed)
	}
	return min(max(2, s.found-1), maxNeed)
}

// unprobed reports whether known hosts are to be asked by unicast still, or have had no time to answer.
func (s *Sweep) unprobed() bool {
	return len(s.missing) > 0 && len(s.missing) <= maxMissing && s.probing.turns <= Probes
}

// stuck reports whether hosts may be waiting for the requester's hardware address: some had to ask for it, and datagrams get
// lost.
func (s *Sweep) stuck() bool {
	lost := s.requests.lost + s.replies.lost
	return s.resolved > 0 && lost >= 2 && max(s.requests.rate(), s.replies.rate()) >= 0.02
}
