package census

import (
	"math"
	"slices"
	"time"
)

// round is one round under way.
type round struct {
	asked
	number   uint16
	sample   float64 // in round 0, the share that is asked
	window   time.Duration
	expected float64 // replies
	salt     uint64
	parts    []part
	sends    []send
	next     int           // of sends
	begun    bool          // the first datagram to everyone was sent
	unsent   bool          // one could not be sent to all
	blind    bool          // nothing was known of losses
	from, to time.Duration // when the first and the last datagram to everyone were sent, however late that was
	heard    int           // new hosts
	last     time.Duration // when there was one
	pace     time.Duration // see there
	over     time.Duration // when it would have been, had there been no replies to wait for; 0: there were none
	stirred  bool          // somebody has answered who was not heard, which nobody has looked at yet
}

// part is one range of the hosts, with the filter for it.
type part struct {
	Call
	built bool
}

// send is a datagram to be sent.
type send struct {
	at   time.Duration
	part int
	copy int  // from 0
	late bool // to those too that are asked from round 2 on
	to   ID
}

// Timing of rounds (DISCOVERY.md §5.3).
const (
	copyGap         = 500 * time.Microsecond  // between the copies of a request
	quietCopyGap    = 100 * time.Microsecond  // where hardly anybody is expected: a host looks at all of them in one go
	relayCopyGap    = 1500 * time.Microsecond // by way of a relay: bursts of losses end meanwhile
	wirelessCopyGap = 15 * time.Millisecond
	partGap         = 60 * time.Microsecond // between datagrams at least
	probeGap        = 100 * time.Microsecond
	probeWait       = 15 * time.Millisecond // after the first probes; then four times as long each
	probeWindow     = time.Millisecond      // of round 0
	firstGuard      = 5 * time.Millisecond
	finalGuard      = 5 * time.Millisecond
	crowdGuard      = 40                    // the part of the window that is waited at least
	fewGuard        = 10 * time.Millisecond // the final one where few were heard
	soonest         = 15 * time.Millisecond // that a sweep takes: a host that is flooded may look once in 3 ms only, and not at all requests
	wirelessGuard   = 300 * time.Millisecond
	quietGuard      = 5 * time.Millisecond   // of rounds in which nobody is expected, and that are not the last one
	slowGuard       = 10 * time.Millisecond  // of those that follow when there were many
	paceMost        = 60 * time.Millisecond  // as far ahead is looked for the time when enough of it has passed
	paceStep        = 8 * time.Millisecond   // between rounds that only have to last
	maxGuard        = 250 * time.Millisecond // while nobody answers
	atOnceCopyGap   = 8 * time.Millisecond   // where all answer at once: nobody is to look at the second copy before he has answered
	atOnce          = 64                     // so many may answer at the same time
	smallNetwork    = 254                    // hosts, as many as a /24 holds
	quietCopies     = MaxCopies              // of a request that hardly anybody is expected to answer, and of the reply
	knownCopies     = 4                      // of such a request where all who are known have answered: what is lacking then is time rather than copies
	fewCopies       = 2                      // and so it is all the more where nothing was lost
	smallLoss       = 0.2                    // bound of the losses of which that is so: that of ten hosts that were all heard at once
	holdMost        = 100 * time.Millisecond // that the second copy of the first round waits for replies which are not read yet
	blindCopies     = 4                      // of the reply, where everyone was asked once and nothing is known of losses; of the request, if somebody answers
	crowd           = 8                      // so many answers show how fast they come
	lateAtLast      = 5                      // the round in which those who are asked late are so in any case
	slowFrom        = 8                      // the round after which it is time alone that helps
)

// Filters (DISCOVERY.md §5.4).
const (
	wholeFilter = 600  // hosts up to which there is one filter
	perFilter   = 1400 // hosts in each, if there are several
	bitsPerHost = 32   // at most
	leastFilter = 112  // bytes, of a request that has as many to spare: in less, few hosts would hide others too often for the salt to stay
	maxHashes   = 22
	alike       = 10.4 // measured: a host's bits, each as far from the next, may be another's in part
)

// lateRounds are when hosts whose first ARP request was lost may have sent the next: a second apart (RETRANS_TIME).
var lateRounds = [...]time.Duration{time.Second + lateSlot, 3*time.Second + lateSlot}

// plan returns the next round.
func (s *Sweep) plan(now time.Duration) *round {
	r := &round{number: s.n, salt: s.c.Salt()}
	s.n++
	switch r.number {
	case 0:
		s.planSample(r)
	case 1:
		r.asked = asked{requests: 2, replies: 1}
		r.expected = s.populace
		r.window = s.spread(s.populace)
		r.parts = []part{{Call: Call{Salt: r.salt}, built: true}}
	default:
		s.planRest(r)
	}
	s.schedule(r, s.startOf(now))
	return r
}

// planSample plans round 0: as many as fit half the socket's buffer even where there are the most hosts that can be.
func (s *Sweep) planSample(r *round) {
	const most = 65_536
	r.sample = min(1.0/16, float64(s.c.Buffer)/2/most)
	r.asked = asked{requests: 1, replies: 1}
	r.window = probeWindow
	r.parts = []part{{Call: Call{Salt: r.salt, Sample: uint64(r.sample * math.MaxUint64)}, built: true}}
}

// planRest plans a round that asks those who were not heard.
func (s *Sweep) planRest(r *round) {
	rest := s.surprise
	if len(s.done) > 0 && (s.requests.lost+s.replies.lost > 0 || s.c.Trip > 0) {
		hosts := max(float64(len(s.ids)), 1)
		if s.allKnown() {
			hosts = float64(s.fresh) + strangers
		}
		likely := expect(hosts, silent(s.done, s.requests, s.likelyReplies()))
		rest = max(rest, min(likely, 4*s.populace+float64(len(s.ids))))
	}
	if len(s.done) == 1 {
		rest = max(rest, float64(len(s.missing)))
	}
	if s.turns == 1 { // hosts are slow to answer, not lost
		rest = max(rest, s.least-float64(len(s.ids)))
	}
	copies := 3
	switch {
	case rest >= 1000:
		copies = 1
	case rest >= 200:
		copies = 2
	}
	r.asked = asked{requests: 3, late: 3, replies: copies}
	r.expected = rest
	s.planCopies(r)
	r.window = s.spread((1.25*rest + 3*math.Sqrt(rest) + 5) * float64(copies))
	n := len(s.ids)
	if n == 0 {
		r.parts = []part{{Call: Call{Salt: r.salt}, built: true}}
		return
	}
	parts := 1
	if n > wholeFilter {
		parts = (n + perFilter - 1) / perFilter
	}
	size := min(s.c.Filter, max(n*bitsPerHost/8/parts+8, leastFilter))
	share := float64(size) * 8 / (float64(n) / float64(parts)) // bits a host
	hashes := min(max(math.Round(share*math.Ln2), 1), maxHashes)
	r.hidden = math.Pow(1-math.Exp(-hashes/share), hashes) + alike/(share*share*float64(n)/float64(parts))
	step := math.MaxUint64/uint64(parts) + 1 // 0 for one part
	for i := range parts {
		c := Call{Lo: uint64(i) * step, Hi: uint64(i+1) * step, Filter: make([]byte, size), Hashes: uint8(hashes)}
		if i == parts-1 {
			c.Hi = 0
		}
		r.parts = append(r.parts, part{Call: c})
	}
	r.window /= time.Duration(parts)
}

// likelyReplies returns the tally of replies by which the next round is sized. After one round with one copy of each nothing is known
// of them: whoever was heard had sent one. Then they are believed to get lost as often as the requests do.
func (s *Sweep) likelyReplies() tally {
	p := s.replies.without(s.drops)
	if len(s.done) == 1 && s.requests.rate() > p.rate() {
		return s.requests
	}
	return p
}

// spread returns over how long so many replies are spread.
func (s *Sweep) spread(replies float64) time.Duration {
	if replies <= atOnce {
		return 0
	}
	return min(time.Duration(replies/s.rate*float64(time.Second)), MaxWindow)
}

// startOf returns when the next round begins: at once, unless it is a late one.
func (s *Sweep) startOf(now time.Duration) time.Duration {
	switch {
	case len(s.done) == 0 || len(s.ids) == 0 || s.left > 0 || s.unheard() >= Delta || s.quiet() < s.need():
		return now
	case s.unprobed():
		return max(s.probing.next, now)
	case !s.stuck():
		return now
	}
	at := lateRounds[min(s.late, len(lateRounds)-1)]
	s.late++
	return max(at, now)
}

// schedule sets down when each datagram of the round is sent: the parts as far apart as their replies take, so that one part's
// have come before the next part's, and the copies of each a little later.
func (s *Sweep) schedule(r *round, start time.Duration) {
	gap := copyGap
	switch {
	case s.c.Wireless:
		gap = wirelessCopyGap
	case s.calm(r):
		gap = quietCopyGap
	case s.quietly(r):
		gap = relayCopyGap
	case s.soon(r) || r.number == 1 && r.window == 0 && s.c.Open:
		gap = r.window + atOnceCopyGap
	}
	late := r.requests - r.late // the first copy of those
	if s.calm(r) {
		late = 0 // the others may be spared
	}
	for c := range r.requests {
		for i := range r.parts {
			at := start + time.Duration(c)*gap + time.Duration(i)*max(r.window, partGap)
			r.sends = append(r.sends, send{at: at, part: i, copy: c, late: late <= c && c < late+r.late})
		}
	}
	if r.number > 2 && s.unprobed() && start >= s.probing.next {
		s.probeMissing(r, start)
	}
	slices.SortStableFunc(r.sends, func(a, b send) int { return int(a.at - b.at) })
	r.last = start
}

// probeMissing asks known hosts that are silent one by one in the round, and says when they are asked again: later and later, so that who
// is busy with something else, or loses everything for a while, is not missing for it. Behind the last time they have a while to answer.
func (s *Sweep) probeMissing(r *round, start time.Duration) {
	if s.probing.turns < Probes {
		at := start
		for _, id := range s.Result().Missing {
			r.sends = append(r.sends, send{at: at, part: -1, to: id})
			at += probeGap
		}
		s.probing.next = start + probeWait<<(2*s.probing.turns)
	}
	s.probing.turns++
}

// send returns the next datagram of the round, and false if it has become needless.
func (s *Sweep) send(r *round, now time.Duration) (Ask, bool) {
	d := r.sends[r.next]
	if s.spared(r, d) || s.enough(r, d) {
		r.requests = d.copy
		rest := slices.DeleteFunc(r.sends[r.next:], func(d send) bool { return d.part >= 0 })
		r.sends = r.sends[:r.next+len(rest)] // those to single hosts are left
		return Ask{}, false
	}
	r.next++
	if d.part < 0 {
		if !s.missing[d.to] {
			return Ask{}, false // it has answered since
		}
		// Rounds of their own: the host may have answered this round, and the reply was lost.
		round, seq := s.Single()
		return Ask{Round: round, Seq: seq, Copies: 1, To: d.to, Call: Call{Salt: r.salt}}, true
	}
	p := &r.parts[d.part]
	if !p.built {
		s.fill(r)
	}
	s.seq++
	s.sent = append(s.sent, now)
	first := !r.begun
	if first {
		r.begun, r.from = true, now
	}
	r.to, r.last = now, max(r.last, now)
	return Ask{Call: p.Call, Round: r.number, Seq: s.seq, Window: r.window, Copies: uint8(r.replies), Copy: d.copy, First: first, Late: d.late}, true
}

// fill puts everyone who was heard into the filters of the parts that are to be sent still. The salt is another one than that of the last
// filter, so that whom a filter hides it hides once; but where nobody was heard since, and hardly anybody can be hidden, it is the same:
// then hosts know at once that the request is not for them.
func (s *Sweep) fill(r *round) {
	if s.salted == len(s.ids) && (s.unheardEarly(s.done)+strangers)*s.hidden <= Delta/10 {
		r.salt = s.salt
	}
	s.salt, s.salted, s.hidden = r.salt, len(s.ids), r.hidden
	step := math.MaxUint64/uint64(len(r.parts)) + 1
	for _, id := range s.ids {
		sp := SpreadOf(s.c.Sweep, r.salt, id)
		i := 0
		if step != 0 {
			i = min(int(sp.Place/step), len(r.parts)-1)
		}
		r.parts[i].Add(sp)
	}
	for i := range r.parts {
		r.parts[i].Salt, r.parts[i].built = r.salt, true
	}
}

// endOf returns when a round of which everything was sent is over, if nobody new is heard.
func (s *Sweep) endOf(r *round) time.Duration {
	if s.answered(r) {
		return 0
	}
	guard := s.guard(r)
	last := max(r.sends[len(r.sends)-1].at, r.to)
	end := max(last+r.window+guard, r.last+min(guard, firstGuard))
	if r.number == 1 && r.window == 0 && len(s.ids) >= crowd && s.left <= 0 && s.near() {
		// All answer at once, and how long the last took says nothing of how long one alone would: it is over when a while has passed
		// in which nobody answered. Whoever answers later is not lost, but may be asked again.
		end = min(end, r.last+max(firstGuard, (r.last-r.sends[0].at)/4))
	}
	return end
}

// answered reports whether all who are known have answered, the last ones in this round.
func (s *Sweep) answered(r *round) bool {
	return (len(s.c.Known) > 0 || !s.c.Open) && r.heard > 0 && s.left <= 0 && s.complete()
}

// complete reports whether all who are known have answered.
func (s *Sweep) complete() bool { return len(s.missing) == 0 && (s.c.Open || s.left <= 0) }

// allKnown reports the same where there are some.
func (s *Sweep) allKnown() bool { return len(s.c.Known) > 0 && s.complete() }

// guard returns how long after the window replies may still come.
func (s *Sweep) guard(r *round) time.Duration {
	if len(s.ids) == 0 || s.left > 0 {
		first := firstGuard
		if r.number > 0 {
			first = fewGuard << min(len(s.done), 8)
		}
		if s.c.Wireless {
			first = max(first, wirelessGuard/3)
		}
		return min(first, maxGuard) + s.c.Trip*5/4
	}
	g := s.rtt.quantile(0.9)*11/10 + 300*time.Microsecond
	if r.number > 1 && len(s.ids) >= crowd && s.c.Trip == 0 { // what of it is the size of the crowd is less where fewer answer
		g = min(g, s.alone()+time.Duration(r.expected/float64(len(s.ids))*float64(s.rtt.quantile(0.9))))
	}
	if len(s.rtt.all) < 5 {
		g = max(g, firstGuard+s.c.Trip*5/4)
	}
	if r.sample > 0 {
		return g
	}
	// Where many answer, whoever asks the others too early is answered twice: by those whose replies wait to be read.
	g = max(g, min(r.window*time.Duration(len(r.parts))/crowdGuard, firstGuard))
	s.timed(r)
	if s.unheardAfter(append(slices.Clone(s.done), r.asked)) < Delta {
		least := finalGuard
		if len(s.ids) < fewHosts && !s.allKnown() {
			least = fewGuard
		}
		if s.c.Wireless {
			least = wirelessGuard
		}
		if s.calm(r) {
			return max(least, s.alone(), soonest-r.to)
		}
		return max(g, least, s.rtt.quantile(0.99)*5/4+700*time.Microsecond)
	}
	if s.quietly(r) { // whoever answers later is heard in the next round
		switch {
		case r.number > slowFrom || s.c.Trip > 0:
			return min(g, slowGuard)
		case r.heard == 0 && s.quiet() > 0:
			return s.pace(r, min(g, quietGuard))
		}
		return min(g, quietGuard)
	}
	if r.number > 2 && s.stragglers(r) && s.near() {
		return min(g, slowGuard)
	}
	return g
}

// pace returns how long after a round in which nobody is expected the next one begins, not before least, if nothing but time is lacking: so
// that the last one comes when enough of it has passed, and few before it.
func (s *Sweep) pace(r *round, least time.Duration) time.Duration {
	if r.pace > 0 {
		return r.pace
	}
	r.pace = least
	next := asked{requests: r.requests, replies: r.replies, late: max(r.late, 1), hidden: r.hidden, span: r.span}
	for next.pause = least; next.pause <= paceMost; next.pause += time.Millisecond {
		if s.unheardAfter(append(slices.Clone(s.done), r.asked, next)) < Delta {
			r.pace = next.pause / (1 + next.pause/paceStep)
			break
		}
	}
	return r.pace
}

// alone returns how long the reply of one host may take where the others are silent: what makes a host slow now and then, which is
// what the slowest of a crowd have over most of it, but not its size.
func (s *Sweep) alone() time.Duration {
	return (s.rtt.quantile(0.05)+s.rtt.quantile(0.99)-s.rtt.quantile(0.9))*5/4 + 700*time.Microsecond
}
